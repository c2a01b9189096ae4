/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside virtio-blk: blk.c makes and describes the device, blk_request.c
 * carries requests from ring to block engine and back, blk_throttle.c holds
 * them back when limits are set.
 */
#ifndef KV_VMM_VIRTIO_BLK_INTERNAL_H
#define KV_VMM_VIRTIO_BLK_INTERNAL_H

#include <linux/virtio_blk.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/log.h"
#include "block/graph.h"
#include "block/throttle.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/virtio.h"

#define BLK_SECTOR 512u
#define BLK_SEG_MAX 254u
/* Header and status beside the data; and room for a buffer that crosses a border between regions
 * of guest memory. */
#define BLK_IOV_MAX (BLK_SEG_MAX + 4)
/* Sectors in one discard or write-zeroes request. */
#define BLK_RANGE_MAX ((1u << 22) - 1)

enum blk_direction {
    BLK_DIRECTION_READ,
    BLK_DIRECTION_WRITE,
    BLK_DIRECTIONS,
};

struct blk_queue;

/* One request of the guest; from a queue's preallocated array. */
struct blk_request {
    struct block_request io;
    struct virtqueue_chain chain;
    struct blk_queue *queue;
    struct list node;  /* in the queue's free, held or throttled list */
    uint8_t *status;   /* in guest memory: the last byte that the device writes */
    uint32_t written;  /* bytes the device writes when it succeeds */
    struct iovec *cut; /* the data buffer that the status byte was cut off from, or NULL */
    enum blk_stat_kind kind;
    int64_t start_ns;
};

/* Belongs to its loop's thread. */
struct blk_queue {
    struct blk *blk;
    struct virtio_queue *virtio;
    struct block_queue *io;
    struct blk_request *requests; /* size_max of them; touched in order, when needed */
    struct iovec *iov;            /* BLK_IOV_MAX for each request */
    unsigned touched;
    struct list free; /* the last one used first */
    struct list held; /* waiting for the machine to go on: failed, or not begun */
    bool stopping;
    struct list throttled[BLK_DIRECTIONS]; /* waiting for the limits */
    struct loop_timer throttle_timer[BLK_DIRECTIONS];
    struct loop_timer again; /* more to do, after the other devices */
    int64_t now_ns;          /* of the batch being completed; 0: not read yet */
    struct log_limit error_events;
    struct blk_stats stats; /* written here, read anywhere */
};

struct blk {
    struct virtio_device virtio; /* first */
    struct list node;            /* of all disks; control thread */
    struct block_root *root;     /* what it has of the graph of nodes */
    bool readonly;               /* as the guest was told */
    char *id, *path, *serial;
    pthread_mutex_t name_lock;
    char node_name[BLOCK_NODE_NAME_MAX + 1]; /* of the root's node, for events; under name_lock */
    struct loop_work changed;                /* the root has got another node */
    enum block_cache cache;
    enum blk_policy werror, rerror;
    struct virtio_blk_config config;
    uint64_t sectors; /* capacity; atomic */
    bool default_writeback;
    bool range_unmap; /* write zeroes may unmap */
    atomic_int io_status;
    struct blk_queue *queues;

    _Atomic(struct throttle_group *) throttle; /* NULL: no limits */
    char *throttle_name;                       /* of the group; control thread */
};

/* blk_request.c; all on the queue's loop. */
void blk_kick(struct virtio_device *dev, struct virtio_queue *queue);
void blk_queue_start(struct virtio_device *dev, struct virtio_queue *queue);
void blk_queue_stop(struct virtio_device *dev, struct virtio_queue *queue);
/* Forgets what was held; nothing is in flight. */
void blk_queue_forget(struct blk_queue *queue);
void blk_request_submit(struct blk_request *request);
void blk_batch_done(void *opaque);

/* blk_throttle.c. */
int blk_throttle_init(struct blk *blk, const struct blk_config *config, struct kv_error *err);
void blk_throttle_destroy(struct blk *blk);
/* True: go on with it. False: it waits and is submitted later. */
bool blk_throttle_admit(struct blk_request *request);
/* Submits all that wait, limits or not. */
void blk_throttle_flush(struct blk_queue *queue);

static inline bool blk_is_writeback(const struct blk *blk)
{
    if (virtio_has(&blk->virtio, VIRTIO_BLK_F_CONFIG_WCE))
        return __atomic_load_n(&blk->config.wce, __ATOMIC_RELAXED);
    return virtio_has(&blk->virtio, VIRTIO_BLK_F_FLUSH);
}

#endif
