/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside virtio-blk: blk.c makes and describes the device, blk_request.c
 * carries requests from ring to drive and back.
 */
#ifndef KV_VMM_VIRTIO_BLK_INTERNAL_H
#define KV_VMM_VIRTIO_BLK_INTERNAL_H

#include <linux/virtio_blk.h>

#include "vmm/virtio/blk.h"
#include "vmm/virtio/virtio.h"

#define BLK_SEG_MAX 254u
/* Header and status beside the data; and room for a buffer that crosses a border between regions
 * of guest memory. */
#define BLK_IOV_MAX (BLK_SEG_MAX + 4)
/* Sectors in one discard or write-zeroes request. */
#define BLK_RANGE_MAX ((1u << 22) - 1)

struct blk_queue;

/* One request of the guest; from a queue's preallocated array. */
struct blk_request {
    struct drive_request drive; /* its node is in the queue's free list when it is not in use */
    struct virtqueue_chain chain;
    struct blk_queue *queue;
    uint8_t *status;   /* in guest memory: the last byte that the device writes */
    uint32_t written;  /* bytes the device writes when it succeeds */
    struct iovec *cut; /* the data buffer that the status byte was cut off from, or NULL */
};

/* Belongs to its loop's thread. */
struct blk_queue {
    struct drive_queue drive;
    struct blk *blk;
    struct virtio_queue *virtio;
    struct blk_request *requests; /* size_max of them; touched in order, when needed */
    struct iovec *iov;            /* BLK_IOV_MAX for each request */
    unsigned touched;
    struct list free;        /* the last one used first */
    struct loop_timer again; /* more to do, after the other devices */
};

struct blk {
    struct virtio_device virtio; /* first */
    struct drive drive;
    struct virtio_blk_config config;
    bool range_unmap; /* write zeroes may unmap */
    struct blk_queue *queues;
};

/* blk_request.c; all on the queue's loop. */
void blk_kick(struct virtio_device *dev, struct virtio_queue *queue);
void blk_queue_start(struct virtio_device *dev, struct virtio_queue *queue);
void blk_queue_stop(struct virtio_device *dev, struct virtio_queue *queue);
/* Forgets what was held; nothing is in flight. */
void blk_queue_forget(struct blk_queue *queue);
void blk_batch_done(void *opaque);

static inline bool blk_is_writeback(const struct blk *blk)
{
    if (virtio_has(&blk->virtio, VIRTIO_BLK_F_CONFIG_WCE))
        return atomic_load_explicit(&blk->drive.writeback, memory_order_relaxed);
    return virtio_has(&blk->virtio, VIRTIO_BLK_F_FLUSH);
}

#endif
