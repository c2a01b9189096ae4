/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk (virtio 1.2, 5.2) as the rest of the monitor sees it: the device
 * class "disk", its configuration, and what QMP asks of a disk. Functions are
 * for the control thread.
 */
#ifndef KV_VMM_VIRTIO_BLK_H
#define KV_VMM_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "block/block.h"
#include "block/throttle.h"
#include "vmm/device.h"

struct blk;
struct guest_mem;
struct loop;
struct virtio_device;

/* What happens to a request that the host could not carry out. */
enum blk_policy {
    BLK_POLICY_REPORT, /* the guest sees an error */
    BLK_POLICY_STOP,   /* the machine stops; the request is tried again when it goes on */
    BLK_POLICY_IGNORE, /* the guest sees success */
    BLK_POLICY_ENOSPC, /* STOP when the host is full, else REPORT */
};

struct blk_config {
    char *path;
    char *format; /* name of a block driver; NULL: raw */
    int fd;       /* instead of a path; -1: none */
    char *id, *serial;
    uint64_t slot; /* of PCI bus 0; 0: the first free one */
    uint64_t bootindex;
    bool readonly, share_rw;
    int cache;   /* enum block_cache */
    int aio;     /* enum block_aio */
    int discard; /* index into off, on, ignore, unmap */
    int werror, rerror;
    uint64_t queues; /* 0: one a vCPU */
    uint64_t queue_size;
    uint64_t logical_block_size; /* 0: the host's */
    char *throttle_group;        /* disks of one group share its limits; NULL: its own */
    struct throttle_limits limits;
};

/* Makes the device without a transport, for tests and fuzzers too: machine may be NULL. queue_loop
 * gives each queue its loop. */
int blk_create(struct virtio_device **out, struct machine *machine, struct guest_mem *mem,
               const struct blk_config *config,
               struct loop *(*queue_loop)(void *opaque, unsigned index), void *opaque,
               struct kv_error *err);

/* The first disk (previous NULL) or the one after; NULL at the end. In order of creation. */
struct blk *blk_next(struct machine *machine, struct blk *previous);
struct blk *blk_find(struct machine *machine, const char *id);
/* The disk whose root the node is; NULL: none. */
struct blk *blk_of_node(struct machine *machine, const struct block_node *node);
/* The node that it stands on now; a new reference. */
struct block_node *blk_node(struct blk *blk);

/* Puts it into a group (NULL: out of any), made or changed before by throttle_group_set(). */
int blk_set_throttle(struct blk *blk, const char *group, struct kv_error *err);
/* The limits of its group are others: what waits is looked at again. */
void blk_throttle_changed(struct blk *blk);

/* block_resize: the file grows or shrinks and the guest is told. */
int blk_resize(struct blk *blk, uint64_t size, struct kv_error *err);

/* Rereads the size of a file or device that was resized from outside. */
int blk_refresh(struct blk *blk, struct kv_error *err);

enum blk_io_status {
    BLK_STATUS_OK,
    BLK_STATUS_FAILED,
    BLK_STATUS_NOSPACE,
};

/* For query-block. Strings live as long as the disk. */
struct blk_info {
    const char *id, *path, *serial; /* path: of the file, or "descriptor N" */
    bool writeback;                 /* as the guest sees and set it */
    enum blk_io_status io_status;   /* since the machine went on last */
    unsigned queue_count;
    const char *throttle_group; /* NULL: no limits */
};
void blk_get_info(const struct blk *blk, struct blk_info *info);

enum blk_stat_kind {
    BLK_STAT_READ,
    BLK_STAT_WRITE,
    BLK_STAT_FLUSH,
    BLK_STAT_DISCARD,
    BLK_STAT_ZEROES,
    BLK_STAT_KINDS,
};

#define BLK_LATENCY_BUCKETS 24 /* bucket n: below 2^n microseconds; the last: all above */

/* For query-blockstats: sums over the queues. */
struct blk_stats {
    struct {
        uint64_t ops, bytes, nanoseconds;
        uint64_t failed;  /* by the host */
        uint64_t invalid; /* by the guest: outside the disk, malformed */
        uint64_t latency[BLK_LATENCY_BUCKETS];
    } kind[BLK_STAT_KINDS];
};
void blk_get_stats(const struct blk *blk, struct blk_stats *stats);

#endif
