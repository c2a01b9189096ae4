/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk (virtio 1.2, 5.2): the device, its options, configuration space
 * and what QMP asks. Requests are in blk_request.c. A disk has one queue a vCPU
 * unless told otherwise; queues are dealt out to the I/O threads, and all of a
 * queue's requests stay on one.
 */
#include "vmm/virtio/blk.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/blk_internal.h"
#include "vmm/virtio/classes.h"

#define QUEUES_MAX 64
#define QUEUE_SIZE_DEFAULT 256

static const char *const cache_names[] = {
    [BLOCK_CACHE_WRITEBACK] = "writeback",
    [BLOCK_CACHE_NONE] = "none",
    [BLOCK_CACHE_WRITETHROUGH] = "writethrough",
    [BLOCK_CACHE_DIRECTSYNC] = "directsync",
    [BLOCK_CACHE_UNSAFE] = "unsafe",
    NULL,
};
static const char *const aio_names[] = {"auto", "io_uring", "threads", NULL};
static const char *const discard_names[] = {"off", "on", "ignore", "unmap", NULL};
/* The last one is for writes only. */
static const char *const policy_names[] = {"report", "stop", "ignore", "enospc", NULL};
static const char *const read_policy_names[] = {"report", "stop", "ignore", NULL};

#define LIMIT(name_, kind_)                                                           \
    OPTION_NAMED(name_, SIZE, struct blk_config, limits.limits[kind_].average,        \
                 .help = "per second"),                                               \
        OPTION_NAMED(name_ "-max", SIZE, struct blk_config, limits.limits[kind_].max, \
                     .help = "what may go at once after a pause")

static const struct option_spec blk_options[] = {
    OPTION(STRING, struct blk_config, path, .help = "image or block device"),
    OPTION(STRING, struct blk_config, format, .help = "format of the image (raw)"),
    OPTION(FD, struct blk_config, fd, .help = "open descriptor instead of a path"),
    OPTION(STRING, struct blk_config, id, .help = "name of the disk"),
    OPTION(UINT, struct blk_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION(UINT, struct blk_config, bootindex, .min = 1, .max = BOOT_INDEX_MAX,
           .help = BOOT_INDEX_HELP),
    OPTION(BOOL, struct blk_config, readonly, .help = "the guest cannot write"),
    OPTION(ENUM, struct blk_config, cache, .values = cache_names,
           .help = "host page cache and durability"),
    OPTION(ENUM, struct blk_config, aio, .values = aio_names, .help = "how I/O is done"),
    OPTION(ENUM, struct blk_config, discard, .values = discard_names,
           .help = "give discarded space back to the host"),
    OPTION(STRING, struct blk_config, serial, .help = "up to 20 bytes"),
    OPTION(UINT, struct blk_config, queues, .min = 1, .max = QUEUES_MAX,
           .help = "default: one a vCPU"),
    OPTION_NAMED("queue-size", UINT, struct blk_config, queue_size, .min = 16, .max = 1024,
                 .help = "requests a queue holds, a power of two; default 256"),
    OPTION(ENUM, struct blk_config, werror, .values = policy_names,
           .help = "when a write fails; default enospc: stop if the host is full, else report"),
    OPTION(ENUM, struct blk_config, rerror, .values = read_policy_names,
           .help = "when a read fails"),
    OPTION_NAMED("logical-block-size", SIZE, struct blk_config, logical_block_size, .min = 512,
                 .max = 4096, .help = "what the guest sees; default 512 or the device's"),
    OPTION_NAMED("share-rw", BOOL, struct blk_config, share_rw,
                 .help = "others may write at the same time"),
    LIMIT("bps-total", THROTTLE_BPS_TOTAL),
    LIMIT("bps-read", THROTTLE_BPS_READ),
    LIMIT("bps-write", THROTTLE_BPS_WRITE),
    LIMIT("iops-total", THROTTLE_IOPS_TOTAL),
    LIMIT("iops-read", THROTTLE_IOPS_READ),
    LIMIT("iops-write", THROTTLE_IOPS_WRITE),
    OPTION_NAMED("throttle-group", STRING, struct blk_config, throttle_group,
                 .help = "disks of one group share its limits"),
    OPTION_END,
};

static void blk_defaults(void *config)
{
    *(struct blk_config *)config = (struct blk_config){
        .fd = -1,
        .werror = BLK_POLICY_ENOSPC,
        .queue_size = QUEUE_SIZE_DEFAULT,
    };
}

/* All disks of the process, in order of creation; control thread. */
static struct list disks = {&disks, &disks};

static void set_capacity(struct blk *blk, uint64_t size)
{
    uint64_t sectors = size / BLK_SECTOR;
    __atomic_store_n(&blk->sectors, sectors, __ATOMIC_RELAXED);
    blk->config.capacity = sectors;
}

static void fill_config(struct blk *blk, const struct blk_config *config,
                        const struct block_info *info, unsigned queues)
{
    uint32_t logical =
        config->logical_block_size ? (uint32_t)config->logical_block_size : info->logical_block;
    uint32_t physical = MAX(info->physical_block, logical);
    set_capacity(blk, info->size);
    blk->default_writeback = info->volatile_cache || blk->cache == BLOCK_CACHE_UNSAFE;
    blk->range_unmap = info->can_discard;
    struct virtio_blk_config *c = &blk->config;
    c->seg_max = MIN(BLK_SEG_MAX, (uint32_t)config->queue_size - 2);
    c->blk_size = logical;
    c->physical_block_exp = (uint8_t)__builtin_ctz(physical / logical);
    c->min_io_size = (uint16_t)(physical / logical);
    c->wce = blk->default_writeback;
    c->num_queues = (uint16_t)queues;
    c->max_discard_sectors = BLK_RANGE_MAX;
    c->max_discard_seg = 1;
    c->discard_sector_alignment = MAX(info->discard_alignment, logical) / BLK_SECTOR;
    c->max_write_zeroes_sectors = BLK_RANGE_MAX;
    c->max_write_zeroes_seg = 1;
    c->write_zeroes_may_unmap = blk->range_unmap;
}

static uint64_t offered_features(const struct block_info *info, unsigned queues)
{
    uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
                        BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH) |
                        BIT(VIRTIO_BLK_F_CONFIG_WCE);
    if (queues > 1)
        features |= BIT(VIRTIO_BLK_F_MQ);
    if (info->readonly)
        features |= BIT(VIRTIO_BLK_F_RO);
    if (info->can_discard)
        features |= BIT(VIRTIO_BLK_F_DISCARD);
    if (info->can_write_zeroes)
        features |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
    return features;
}

/* The one field that a driver may write is the cache mode (5.2.5.1). */
static void blk_config_write(struct virtio_device *dev, unsigned offset, const void *data,
                             unsigned len)
{
    struct blk *blk = container_of(dev, struct blk, virtio);
    unsigned wce = offsetof(struct virtio_blk_config, wce);
    if (!virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE) || offset > wce || wce - offset >= len)
        return;
    uint8_t value = ((const uint8_t *)data)[wce - offset];
    __atomic_store_n(&blk->config.wce, value & 1, __ATOMIC_RELAXED);
}

static void blk_reset(struct virtio_device *dev)
{
    struct blk *blk = container_of(dev, struct blk, virtio);
    for (unsigned i = 0; i < dev->queue_count; i++)
        blk_queue_forget(&blk->queues[i]);
    __atomic_store_n(&blk->config.wce, blk->default_writeback, __ATOMIC_RELAXED);
}

static const char *const kind_names[BLK_STAT_KINDS] = {
    [BLK_STAT_READ] = "read",       [BLK_STAT_WRITE] = "write",   [BLK_STAT_FLUSH] = "flush",
    [BLK_STAT_DISCARD] = "discard", [BLK_STAT_ZEROES] = "zeroes",
};

static void blk_metrics(struct virtio_device *dev, json_t *out)
{
    const struct blk *blk = container_of(dev, struct blk, virtio);
    struct blk_stats stats;
    blk_get_stats(blk, &stats);
    for (unsigned i = 0; i < BLK_STAT_KINDS; i++) {
        __typeof__(&stats.kind[0]) kind = &stats.kind[i];
        json_t *latency = json_array();
        for (unsigned j = 0; j < BLK_LATENCY_BUCKETS; j++)
            json_array_append_new(latency, json_integer((json_int_t)kind->latency[j]));
        json_object_set_new(out, kind_names[i],
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "operations",
                                      (json_int_t)kind->ops, "bytes", (json_int_t)kind->bytes,
                                      "nanoseconds", (json_int_t)kind->nanoseconds, "failed",
                                      (json_int_t)kind->failed, "invalid",
                                      (json_int_t)kind->invalid, "latency_us_log2", latency));
    }
}

static void free_queue_io(void *opaque)
{
    struct blk_queue *queue = opaque;
    block_queue_free(queue->io);
}

static void free_queue(struct blk_queue *queue)
{
    if (queue->io)
        loop_call(queue->virtio->loop, free_queue_io, queue);
    free(queue->requests);
    free(queue->iov);
}

/* Everything but the virtio device. */
static void blk_destroy(struct blk *blk)
{
    for (unsigned i = 0; blk->queues && i < blk->virtio.queue_count; i++)
        free_queue(&blk->queues[i]);
    free(blk->queues);
    block_root_free(blk->root);
    if (blk->changed.opaque && blk->virtio.machine)
        loop_unpost(&blk->virtio.machine->loop, &blk->changed);
    blk_throttle_destroy(blk);
    pthread_mutex_destroy(&blk->name_lock);
    list_del(&blk->node);
    free(blk->id);
    free(blk->path);
    free(blk->serial);
}

static void blk_free(struct virtio_device *dev)
{
    struct blk *blk = container_of(dev, struct blk, virtio);
    virtio_device_stop(dev);
    blk_destroy(blk);
    virtio_device_destroy(dev);
    free(blk);
}

static const struct virtio_device_ops blk_ops = {
    .device_id = VIRTIO_ID_BLOCK,
    .config_write = blk_config_write,
    .queue_start = blk_queue_start,
    .queue_stop = blk_queue_stop,
    .kick = blk_kick,
    .reset = blk_reset,
    .metrics = blk_metrics,
    .free = blk_free,
};

static int init_queue(struct blk *blk, unsigned index, struct loop *loop, struct kv_error *err)
{
    struct blk_queue *queue = &blk->queues[index];
    struct virtio_queue *virtio = &blk->virtio.queues[index];
    virtio->loop = loop;
    queue->blk = blk;
    queue->virtio = virtio;
    list_init(&queue->free);
    list_init(&queue->held);
    for (unsigned i = 0; i < BLK_DIRECTIONS; i++)
        list_init(&queue->throttled[i]);
    /* Large enough that the pages stay untouched until they are used. */
    queue->requests = calloc(virtio->size_max, sizeof(*queue->requests));
    queue->iov = calloc(virtio->size_max, BLK_IOV_MAX * sizeof(*queue->iov));
    if (!queue->requests || !queue->iov)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk '%s': out of memory", blk->id);
    int rc = block_root_queue(&queue->io, blk->root, loop, virtio->size_max, err);
    if (rc == 0)
        block_queue_set_batch(queue->io, blk_batch_done, queue);
    return rc;
}

static int check_config(const struct blk_config *config, struct kv_error *err)
{
    if (!config->path == (config->fd < 0))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "exactly one of path and fd is needed");
    if (config->queue_size & (config->queue_size - 1))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "queue-size %" PRIu64 " is not a power of two", config->queue_size);
    if (config->logical_block_size & (config->logical_block_size - 1))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "logical-block-size %" PRIu64 " is not a power of two",
                            config->logical_block_size);
    if (config->serial && strlen(config->serial) > VIRTIO_BLK_ID_BYTES)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "serial '%s' has %zu bytes; at most %d are possible", config->serial,
                            strlen(config->serial), VIRTIO_BLK_ID_BYTES);
    return 0;
}

/* The id that was given, or the first free one of disk0, disk1, ... */
static char *make_id(struct machine *machine, const char *given)
{
    char id[16];
    if (given)
        return strdup(given);
    for (unsigned n = 0;; n++) {
        snprintf(id, sizeof(id), "disk%u", n);
        if (!blk_find(machine, id))
            return strdup(id);
    }
}

static void settle_queue(void *opaque)
{
    struct blk_queue *queue = opaque;
    block_settle(queue->io);
}

/* The guest sees the new size; requests behind it are refused from here on, and what was under way
 * is done. */
static void announce_capacity(struct blk *blk, uint64_t size)
{
    set_capacity(blk, size);
    for (unsigned i = 0; i < blk->virtio.queue_count; i++)
        loop_call(blk->virtio.queues[i].loop, settle_queue, &blk->queues[i]);
    virtio_config_changed(&blk->virtio);
}

struct block_node *blk_node(struct blk *blk)
{
    return block_root_node(blk->root);
}

static void learn_name(struct blk *blk, const struct block_node *node)
{
    pthread_mutex_lock(&blk->name_lock);
    snprintf(blk->node_name, sizeof(blk->node_name), "%s", block_node_name(node));
    pthread_mutex_unlock(&blk->name_lock);
}

/* The size may be another one, too. Control thread. */
static void follow_node(void *opaque)
{
    struct blk *blk = opaque;
    struct block_node *node = blk_node(blk);
    learn_name(blk, node);
    if (block_get_info(node)->size / BLK_SECTOR != blk->sectors)
        announce_capacity(blk, block_get_info(node)->size);
    block_close(node);
}

/* With the graph locked. */
static void node_changed(void *opaque)
{
    struct blk *blk = opaque;
    if (blk->virtio.machine)
        loop_post(&blk->virtio.machine->loop, &blk->changed);
}

static int open_node(struct blk *blk, const struct blk_config *config, struct kv_error *err)
{
    const struct block_open_options options = {
        .path = config->path,
        .fd = config->fd,
        /* Never by looking: a guest could write the header of another format into its raw disk. */
        .format = config->format ? config->format : "raw",
        .readonly = config->readonly,
        .cache = (enum block_cache)config->cache,
        .aio = (enum block_aio)config->aio,
        .discard = config->discard & 1, /* on, unmap */
        .share_rw = config->share_rw,
    };
    struct block_node *node;
    int rc = block_open(&node, &options, err);
    if (rc < 0)
        return rc;
    const struct block_info *info = block_get_info(node);
    blk->readonly = info->readonly;
    rc = block_root_create(&blk->root, node, blk->id,
                           (info->readonly ? 0 : BLOCK_USE_WRITE) |
                               (config->share_rw ? BLOCK_USE_SHARE_WRITE : 0),
                           err);
    if (rc == 0 && config->logical_block_size && config->logical_block_size < info->logical_block)
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                          "logical-block-size %" PRIu64 " is smaller than the device's %u",
                          config->logical_block_size, info->logical_block);
    learn_name(blk, node);
    block_close(node);
    if (rc == 0)
        block_root_set_changed(blk->root, node_changed, blk);
    return rc;
}

/* Everything but the virtio device itself. */
static int prepare(struct blk *blk, struct machine *machine, const struct blk_config *config,
                   struct kv_error *err)
{
    pthread_mutex_init(&blk->name_lock, NULL);
    list_init(&blk->node);
    blk->changed = (struct loop_work){.fn = follow_node, .opaque = blk};
    blk->cache = (enum block_cache)config->cache;
    blk->werror = (enum blk_policy)config->werror;
    blk->rerror = (enum blk_policy)config->rerror;
    blk->id = make_id(machine, config->id);
    blk->serial = config->serial ? strdup(config->serial) : NULL;
    int len = config->path ? asprintf(&blk->path, "%s", config->path)
                           : asprintf(&blk->path, "descriptor %d", config->fd);
    if (len < 0)
        blk->path = NULL;
    if (!blk->id || !blk->path || (config->serial && !blk->serial))
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk: out of memory");
    int rc = blk_throttle_init(blk, config, err);
    return rc < 0 ? rc : open_node(blk, config, err);
}

static int init_virtio(struct blk *blk, struct machine *machine, struct guest_mem *mem,
                       const struct blk_config *config, unsigned queues, struct loop *loop,
                       struct kv_error *err)
{
    uint16_t sizes[QUEUES_MAX];
    for (unsigned i = 0; i < queues; i++)
        sizes[i] = (uint16_t)config->queue_size;
    struct block_node *node = blk_node(blk);
    const struct block_info *info = block_get_info(node);
    fill_config(blk, config, info, queues);
    int rc =
        virtio_device_init(&blk->virtio, &blk_ops, "virtio-blk", offered_features(info, queues),
                           &blk->config, sizeof(blk->config), queues, sizes, mem, loop, err);
    block_close(node);
    blk->virtio.machine = machine;
    return rc;
}

int blk_create(struct virtio_device **out, struct machine *machine, struct guest_mem *mem,
               const struct blk_config *config,
               struct loop *(*queue_loop)(void *opaque, unsigned index), void *opaque,
               struct kv_error *err)
{
    int rc = check_config(config, err);
    if (rc < 0)
        return rc;
    struct blk *blk = calloc(1, sizeof(*blk));
    if (!blk)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk: out of memory");
    unsigned queues = config->queues ? (unsigned)config->queues : 1;
    struct loop *loop = queue_loop(opaque, 0);
    rc = prepare(blk, machine, config, err);
    if (rc == 0)
        rc = init_virtio(blk, machine, mem, config, queues, loop, err);
    if (rc < 0) {
        blk_destroy(blk);
        free(blk);
        return rc;
    }
    blk->queues = calloc(queues, sizeof(*blk->queues));
    if (!blk->queues)
        rc = kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk '%s': out of memory", blk->id);
    for (unsigned i = 0; i < queues && rc == 0; i++)
        rc = init_queue(blk, i, i ? queue_loop(opaque, i) : loop, err);
    if (rc < 0) {
        blk_free(&blk->virtio);
        return rc;
    }
    list_add_tail(&disks, &blk->node);
    *out = &blk->virtio;
    return 0;
}

static struct loop *pick_loop(void *opaque, unsigned index)
{
    return machine_pick_loop(opaque);
}

static int blk_class_create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    struct blk_config config = *(const struct blk_config *)opaque;
    struct virtio_device *dev;
    if (!config.queues)
        config.queues = MIN(MAX(machine->vcpu_count, 1u), QUEUES_MAX);
    int rc = blk_create(&dev, machine, &machine->mem, &config, pick_loop, machine, err);
    if (rc < 0)
        return rc;
    dev->boot_index = (unsigned)config.bootindex;
    return virtio_pci_create(machine, dev, container_of(dev, struct blk, virtio)->id, config.slot,
                             err);
}

const struct device_class virtio_blk_class = {
    .option = "disk",
    .implied = "path",
    .help = "a disk (virtio-blk)",
    .options = blk_options,
    .config_size = sizeof(struct blk_config),
    .defaults = blk_defaults,
    .create = blk_class_create,
};

struct blk *blk_next(struct machine *machine, struct blk *previous)
{
    struct list *pos = previous ? previous->node.next : disks.next;
    for (; pos != &disks; pos = pos->next) {
        struct blk *blk = list_entry(pos, struct blk, node);
        if (blk->virtio.machine == machine)
            return blk;
    }
    return NULL;
}

struct blk *blk_find(struct machine *machine, const char *id)
{
    struct blk *blk = NULL;
    while ((blk = blk_next(machine, blk)) && strcmp(blk->id, id) != 0)
        continue;
    return blk;
}

int blk_resize(struct blk *blk, uint64_t size, struct kv_error *err)
{
    struct block_node *node = blk_node(blk);
    uint64_t old = block_get_info(node)->size;
    if (size < old && size % BLK_SECTOR == 0 && !block_get_info(node)->readonly)
        announce_capacity(blk, size);
    int rc = block_resize(node, size, err);
    uint64_t now = block_get_info(node)->size;
    if (now / BLK_SECTOR != blk->sectors)
        announce_capacity(blk, now);
    block_close(node);
    return rc < 0 ? kv_error_prefix(err, "disk '%s'", blk->id) : 0;
}

int blk_refresh(struct blk *blk, struct kv_error *err)
{
    struct block_node *node = blk_node(blk);
    int rc = block_refresh(node, err);
    if (rc == 0)
        announce_capacity(blk, block_get_info(node)->size);
    block_close(node);
    return rc;
}

struct blk *blk_of_node(struct machine *machine, const struct block_node *wanted)
{
    struct blk *blk = NULL;
    bool found = false;
    while (!found && (blk = blk_next(machine, blk))) {
        struct block_node *node = blk_node(blk);
        found = node == wanted;
        block_close(node);
    }
    return blk;
}

void blk_get_info(const struct blk *blk, struct blk_info *info)
{
    *info = (struct blk_info){
        .id = blk->id,
        .path = blk->path,
        .serial = blk->serial,
        .writeback = __atomic_load_n(&blk->config.wce, __ATOMIC_RELAXED),
        .io_status = (enum blk_io_status)atomic_load(&blk->io_status),
        .queue_count = blk->virtio.queue_count,
        .throttle_group = blk->throttle_name,
    };
}

void blk_get_stats(const struct blk *blk, struct blk_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    uint64_t *sum = (uint64_t *)stats;
    for (unsigned i = 0; i < blk->virtio.queue_count; i++) {
        const uint64_t *add = (const uint64_t *)&blk->queues[i].stats;
        for (size_t j = 0; j < sizeof(*stats) / sizeof(uint64_t); j++)
            sum[j] += __atomic_load_n(&add[j], __ATOMIC_RELAXED);
    }
}
