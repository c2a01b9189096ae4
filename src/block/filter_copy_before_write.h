/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the filter "copy-before-write" shares with "snapshot-access", which shows
 * the disk as it was when the filter came, and with the job "backup".
 */
#ifndef KV_BLOCK_FILTER_COPY_BEFORE_WRITE_H
#define KV_BLOCK_FILTER_COPY_BEFORE_WRITE_H

#include <stdatomic.h>

#include "block/dirty_bitmap.h"
#include "block/driver.h"
#include "block/range_lock.h"

struct copy_before_write {
    atomic_uint refs;
    struct range_locks locks;
    struct dirty_bitmap *todo; /* pieces whose old content is still in the source only */
    uint64_t cluster;          /* bytes: a piece */
    struct block_node *target; /* the filter's; lives as long as it */
    unsigned write_flags;      /* BLOCK_COMPRESSED */
    bool stored_zeros;         /* see struct job_copy */
    bool break_snapshot;       /* a failed copy breaks the snapshot, not the guest's write */
    atomic_int broken;         /* -errno since then */
};

/* The state of such a filter; NULL: it is none. */
struct copy_before_write *copy_before_write_of(const struct block_node *node);
void copy_before_write_put(struct copy_before_write *cbw);

/* Copies what is still to do of a range (a piece, or few) from source. Done by guests and by jobs.
 * buffer: JOB_COPY_PIECE bytes. */
int copy_before_write_copy(struct copy_before_write *cbw, struct block_node *source,
                           uint64_t offset, uint64_t len, uint8_t *buffer, bool *is_read);

#endif
