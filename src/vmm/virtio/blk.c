/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk (virtio 1.2, 5.2): the device and its configuration space. Requests are in
 * blk_request.c. A disk has one queue a vCPU unless told otherwise; queues are dealt out to the I/O
 * threads, and all of a queue's requests stay on one.
 */
#include "vmm/virtio/blk.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/blk_internal.h"

#define QUEUES_MAX 64

static void fill_config(struct blk *blk, const struct drive_config *config,
                        const struct block_info *info, unsigned queues)
{
    uint32_t logical =
        config->logical_block_size ? (uint32_t)config->logical_block_size : info->logical_block;
    uint32_t physical = drive_physical_block(config, info, logical);
    blk->config.capacity = drive_sectors(&blk->drive);
    blk->range_unmap = info->can_discard;
    struct virtio_blk_config *c = &blk->config;
    c->seg_max = MIN(BLK_SEG_MAX, (uint32_t)config->queue_size - 2);
    c->blk_size = logical;
    c->physical_block_exp = (uint8_t)__builtin_ctz(physical / logical);
    c->min_io_size = (uint16_t)(physical / logical);
    c->wce = blk->drive.default_writeback;
    c->num_queues = (uint16_t)queues;
    c->max_discard_sectors = BLK_RANGE_MAX;
    c->max_discard_seg = 1;
    c->discard_sector_alignment = MAX(info->discard_alignment, logical) / DRIVE_SECTOR;
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

static void set_writeback(struct blk *blk, bool writeback)
{
    __atomic_store_n(&blk->config.wce, writeback, __ATOMIC_RELAXED);
    atomic_store_explicit(&blk->drive.writeback, writeback, memory_order_relaxed);
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
    set_writeback(blk, value & 1);
}

static void blk_reset(struct virtio_device *dev)
{
    struct blk *blk = container_of(dev, struct blk, virtio);
    for (unsigned i = 0; i < dev->queue_count; i++)
        blk_queue_forget(&blk->queues[i]);
    set_writeback(blk, blk->drive.default_writeback);
}

static void blk_metrics(struct virtio_device *dev, json_t *out)
{
    const struct blk *blk = container_of(dev, struct blk, virtio);
    json_t *stats = drive_describe_stats(&blk->drive);
    json_object_update(out, stats);
    json_decref(stats);
}

static void free_queue(struct blk_queue *queue)
{
    if (queue->drive.loop)
        drive_queue_destroy(&queue->drive);
    free(queue->requests);
    free(queue->iov);
}

/* Everything but the virtio device. */
static void blk_destroy(struct blk *blk)
{
    for (unsigned i = 0; blk->queues && i < blk->virtio.queue_count; i++)
        free_queue(&blk->queues[i]);
    free(blk->queues);
    free(blk->drive.queues);
    drive_destroy(&blk->drive);
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
    .removable = true,
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
    blk->drive.queues[index] = &queue->drive;
    list_init(&queue->free);
    /* Large enough that the pages stay untouched until they are used. */
    queue->requests = calloc(virtio->size_max, sizeof(*queue->requests));
    queue->iov = calloc(virtio->size_max, BLK_IOV_MAX * sizeof(*queue->iov));
    if (!queue->requests || !queue->iov)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk '%s': out of memory", blk->drive.id);
    return drive_queue_init(&queue->drive, &blk->drive, loop, virtio->size_max, blk_batch_done,
                            queue, err);
}

static void resized(struct drive *drive)
{
    struct blk *blk = container_of(drive, struct blk, drive);
    blk->config.capacity = drive_sectors(drive);
    virtio_config_changed(&blk->virtio);
}

static const struct drive_ops drive_ops = {.resized = resized};

static int init_virtio(struct blk *blk, struct machine *machine, struct guest_mem *mem,
                       const struct drive_config *config, unsigned queues, struct loop *loop,
                       struct kv_error *err)
{
    uint16_t sizes[QUEUES_MAX];
    for (unsigned i = 0; i < queues; i++)
        sizes[i] = (uint16_t)config->queue_size;
    struct block_node *node = drive_node(&blk->drive);
    const struct block_info *info = block_get_info(node);
    fill_config(blk, config, info, queues);
    int rc =
        virtio_device_init(&blk->virtio, &blk_ops, "virtio-blk", offered_features(info, queues),
                           &blk->config, sizeof(blk->config), queues, sizes, mem, loop, err);
    block_close(node);
    blk->virtio.machine = machine;
    return rc;
}

static int init_queues(struct blk *blk, struct loop *first,
                       struct loop *(*queue_loop)(void *opaque, unsigned index), void *opaque,
                       struct kv_error *err)
{
    unsigned count = blk->virtio.queue_count;
    int rc = 0;
    blk->queues = calloc(count, sizeof(*blk->queues));
    blk->drive.queues = calloc(count, sizeof(struct drive_queue *));
    if (!blk->queues || !blk->drive.queues)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk '%s': out of memory", blk->drive.id);
    for (unsigned i = 0; i < count && rc == 0; i++)
        rc = init_queue(blk, i, i ? queue_loop(opaque, i) : first, err);
    if (rc == 0)
        blk->drive.queue_count = count;
    return rc;
}

int blk_create(struct virtio_device **out, struct machine *machine, struct guest_mem *mem,
               const struct drive_config *config,
               struct loop *(*queue_loop)(void *opaque, unsigned index), void *opaque,
               struct kv_error *err)
{
    struct blk *blk = calloc(1, sizeof(*blk));
    if (!blk)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk: out of memory");
    unsigned queues = config->queues ? (unsigned)config->queues : 1;
    struct loop *loop = queue_loop(opaque, 0);
    int rc = drive_init(&blk->drive, machine, config, &drive_ops, err);
    if (rc < 0) {
        free(blk);
        return rc;
    }
    rc = init_virtio(blk, machine, mem, config, queues, loop, err);
    if (rc < 0) {
        blk_destroy(blk);
        free(blk);
        return rc;
    }
    rc = init_queues(blk, loop, queue_loop, opaque, err);
    if (rc < 0) {
        blk_free(&blk->virtio);
        return rc;
    }
    *out = &blk->virtio;
    return 0;
}

struct loop_choice {
    struct machine *machine;
    struct loop *loop; /* NULL: any */
};

static struct loop *choose_loop(void *opaque, unsigned index)
{
    const struct loop_choice *choice = opaque;
    return choice->loop ? choice->loop : machine_pick_loop(choice->machine);
}

int blk_attach(struct machine *machine, const struct drive_config *given, struct kv_error *err)
{
    struct drive_config config = *given;
    struct virtio_device *dev;
    if (config.cdrom)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "bus=virtio: a CD-ROM's bus is sata or scsi");
    if (config.controller || config.unit != DRIVE_NO_UNIT)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "controller and unit are for disks with bus=sata or bus=scsi");
    if (!config.queues)
        config.queues = MIN(MAX(machine->vcpu_count, 1u), QUEUES_MAX);
    struct loop_choice choice = {.machine = machine};
    if (config.iothread && !(choice.loop = machine_find_loop(machine, config.iothread, err)))
        return -EINVAL;
    int rc = blk_create(&dev, machine, &machine->mem, &config, choose_loop, &choice, err);
    if (rc < 0)
        return rc;
    dev->boot_index = (unsigned)config.bootindex;
    return virtio_pci_create(machine, dev, container_of(dev, struct blk, virtio)->drive.id,
                             config.slot, err);
}
