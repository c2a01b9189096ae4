/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives: opening, the list of them, size, and what QMP asks; see drive.h. Used
 * by the front ends and by the control thread's commands.
 */
#include "vmm/storage/drive.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/machine/machine.h"

/* All drives of the process, in order of creation; control thread. */
static struct list drives = {&drives, &drives};

/* The id that was given, or the first free one of disk0, disk1, ... */
static char *make_id(struct machine *machine, const char *given, bool cdrom)
{
    char id[16];
    if (given)
        return strdup(given);
    for (unsigned n = 0;; n++) {
        snprintf(id, sizeof(id), "%s%u", cdrom ? "cdrom" : "disk", n);
        if (!drive_find(machine, id))
            return strdup(id);
    }
}

static void set_capacity(struct drive *drive, uint64_t size)
{
    __atomic_store_n(&drive->sectors, size / DRIVE_SECTOR, __ATOMIC_RELAXED);
}

static void settle_queue(void *opaque)
{
    struct drive_queue *queue = opaque;
    if (queue->io)
        block_settle(queue->io);
}

/* The guest sees the new size; requests behind it are refused from here on, and what was under way
 * is done. */
static void announce_capacity(struct drive *drive, uint64_t size)
{
    set_capacity(drive, size);
    for (unsigned i = 0; i < drive->queue_count; i++)
        loop_call(drive->queues[i]->loop, settle_queue, drive->queues[i]);
    if (drive->ops->resized)
        drive->ops->resized(drive);
}

struct block_node *drive_node(struct drive *drive)
{
    return drive->root ? block_root_node(drive->root) : NULL;
}

static void learn_name(struct drive *drive, const struct block_node *node)
{
    pthread_mutex_lock(&drive->name_lock);
    snprintf(drive->node_name, sizeof(drive->node_name), "%s", block_node_name(node));
    pthread_mutex_unlock(&drive->name_lock);
}

/* The size may be another one, too. Control thread. */
static void follow_node(void *opaque)
{
    struct drive *drive = opaque;
    struct block_node *node = drive_node(drive);
    if (!node)
        return;
    learn_name(drive, node);
    if (block_get_info(node)->size / DRIVE_SECTOR != drive->sectors)
        announce_capacity(drive, block_get_info(node)->size);
    block_close(node);
}

/* With the graph locked. */
static void node_changed(void *opaque)
{
    struct drive *drive = opaque;
    if (drive->machine)
        loop_post(&drive->machine->loop, &drive->changed);
}

int drive_attach_medium(struct drive *drive, struct block_node *node, bool share_rw,
                        struct kv_error *err)
{
    const struct block_info *info = block_get_info(node);
    bool readonly = info->readonly || drive->cdrom;
    int rc = block_root_create(
        &drive->root, node, drive->id,
        (readonly ? 0 : BLOCK_USE_WRITE) | (share_rw ? BLOCK_USE_SHARE_WRITE : 0), err);
    if (rc < 0)
        return rc;
    drive->readonly = readonly;
    set_capacity(drive, info->size);
    learn_name(drive, node);
    block_root_set_changed(drive->root, node_changed, drive);
    return 0;
}

static int open_node(struct drive *drive, const struct drive_config *config, struct kv_error *err)
{
    const struct block_open_options options = {
        .path = config->path,
        .fd = config->fd,
        /* Never by looking: a guest could write the header of another format into its raw disk. */
        .format = config->format ? config->format : "raw",
        .readonly = config->readonly,
        .cache = drive->cache,
        .aio = drive->aio,
        .discard = config->discard & 1, /* on, unmap */
        .share_rw = config->share_rw,
    };
    struct block_node *node;
    int rc = block_open(&node, &options, err);
    if (rc < 0)
        return rc;
    const struct block_info *info = block_get_info(node);
    rc = drive_attach_medium(drive, node, config->share_rw, err);
    if (rc == 0 && config->logical_block_size && config->logical_block_size < info->logical_block)
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                          "logical-block-size %" PRIu64 " is smaller than the device's %u",
                          config->logical_block_size, info->logical_block);
    drive->default_writeback = info->volatile_cache || drive->cache == BLOCK_CACHE_UNSAFE;
    atomic_store(&drive->writeback, drive->default_writeback);
    block_close(node);
    return rc;
}

static int name_it(struct drive *drive, const struct drive_config *config, struct kv_error *err)
{
    int len = 0;
    drive->id = make_id(drive->machine, config->id, config->cdrom);
    drive->serial = config->serial ? strdup(config->serial) : NULL;
    if (config->path)
        len = asprintf(&drive->path, "%s", config->path);
    else if (config->fd >= 0)
        len = asprintf(&drive->path, "descriptor %d", config->fd);
    if (len < 0)
        drive->path = NULL;
    if (!drive->id || len < 0 || (config->serial && !drive->serial))
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk: out of memory");
    if (drive_find(drive->machine, drive->id))
        return kv_error_set(err, KV_ERR_DEVICE, EEXIST, "there is a device with id '%s' already",
                            drive->id);
    return 0;
}

int drive_init(struct drive *drive, struct machine *machine, const struct drive_config *config,
               const struct drive_ops *ops, struct kv_error *err)
{
    *drive = (struct drive){
        .machine = machine,
        .ops = ops,
        .cdrom = config->cdrom,
        .readonly = config->cdrom,
        .cache = (enum block_cache)config->cache,
        .aio = (enum block_aio)config->aio,
        .werror = (enum drive_policy)config->werror,
        .rerror = (enum drive_policy)config->rerror,
        .changed = {.fn = follow_node, .opaque = drive},
    };
    pthread_mutex_init(&drive->name_lock, NULL);
    list_init(&drive->node);
    int rc = drive_check_config(config, err);
    if (rc == 0)
        rc = name_it(drive, config, err);
    if (rc == 0)
        rc = drive_throttle_init(drive, config, err);
    if (rc == 0 && (config->path || config->fd >= 0))
        rc = open_node(drive, config, err);
    if (rc < 0)
        drive_destroy(drive);
    else
        list_add_tail(&drives, &drive->node);
    return rc;
}

void drive_destroy(struct drive *drive)
{
    block_root_free(drive->root);
    drive->root = NULL;
    if (drive->machine)
        loop_unpost(&drive->machine->loop, &drive->changed);
    drive_throttle_destroy(drive);
    pthread_mutex_destroy(&drive->name_lock);
    list_del(&drive->node);
    free(drive->id);
    free(drive->path);
    free(drive->serial);
}

struct drive *drive_next(struct machine *machine, struct drive *previous)
{
    struct list *pos = previous ? previous->node.next : drives.next;
    for (; pos != &drives; pos = pos->next) {
        struct drive *drive = list_entry(pos, struct drive, node);
        if (drive->machine == machine)
            return drive;
    }
    return NULL;
}

struct drive *drive_find(struct machine *machine, const char *id)
{
    struct drive *drive = NULL;
    while ((drive = drive_next(machine, drive)) && strcmp(drive->id, id) != 0)
        continue;
    return drive;
}

struct drive *drive_of_node(struct machine *machine, const struct block_node *wanted)
{
    struct drive *drive = NULL;
    bool found = false;
    while (!found && (drive = drive_next(machine, drive))) {
        struct block_node *node = drive_node(drive);
        found = node && node == wanted;
        block_close(node);
    }
    return drive;
}

int drive_resize(struct drive *drive, uint64_t size, struct kv_error *err)
{
    struct block_node *node = drive_node(drive);
    if (!node)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEDIUM, "Device '%s' has no medium", drive->id);
    uint64_t old = block_get_info(node)->size;
    if (size < old && size % DRIVE_SECTOR == 0 && !block_get_info(node)->readonly)
        announce_capacity(drive, size);
    int rc = block_resize(node, size, err);
    uint64_t now = block_get_info(node)->size;
    if (now / DRIVE_SECTOR != drive->sectors)
        announce_capacity(drive, now);
    block_close(node);
    return rc < 0 ? kv_error_prefix(err, "disk '%s'", drive->id) : 0;
}

int drive_refresh(struct drive *drive, struct kv_error *err)
{
    struct block_node *node = drive_node(drive);
    if (!node)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEDIUM, "Device '%s' has no medium", drive->id);
    int rc = block_refresh(node, err);
    if (rc == 0)
        announce_capacity(drive, block_get_info(node)->size);
    block_close(node);
    return rc;
}

void drive_get_stats(const struct drive *drive, struct drive_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    uint64_t *sum = (uint64_t *)stats;
    for (unsigned i = 0; i < drive->queue_count; i++) {
        const uint64_t *add = (const uint64_t *)&drive->queues[i]->stats;
        for (size_t j = 0; j < sizeof(*stats) / sizeof(uint64_t); j++)
            sum[j] += __atomic_load_n(&add[j], __ATOMIC_RELAXED);
    }
}

static const char *const kind_names[DRIVE_STAT_KINDS] = {
    [DRIVE_STAT_READ] = "read",       [DRIVE_STAT_WRITE] = "write",   [DRIVE_STAT_FLUSH] = "flush",
    [DRIVE_STAT_DISCARD] = "discard", [DRIVE_STAT_ZEROES] = "zeroes",
};

json_t *drive_describe_stats(const struct drive *drive)
{
    struct drive_stats stats;
    json_t *out = json_object();
    drive_get_stats(drive, &stats);
    for (unsigned i = 0; i < DRIVE_STAT_KINDS; i++) {
        __typeof__(&stats.kind[0]) kind = &stats.kind[i];
        json_t *latency = json_array();
        for (unsigned j = 0; j < DRIVE_LATENCY_BUCKETS; j++)
            json_array_append_new(latency, json_integer((json_int_t)kind->latency[j]));
        json_object_set_new(out, kind_names[i],
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "operations",
                                      (json_int_t)kind->ops, "bytes", (json_int_t)kind->bytes,
                                      "nanoseconds", (json_int_t)kind->nanoseconds, "failed",
                                      (json_int_t)kind->failed, "invalid",
                                      (json_int_t)kind->invalid, "latency_us_log2", latency));
    }
    return out;
}
