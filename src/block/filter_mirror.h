/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filters that jobs put over a node whose guest goes on writing: of a mirror
 * whose guest writes go to the target too (copy-mode write-blocking; what the
 * target did not take is left to the job), and of a stream, where they only
 * keep out of what is being copied.
 */
#ifndef KV_BLOCK_FILTER_MIRROR_H
#define KV_BLOCK_FILTER_MIRROR_H

#include "block/dirty_bitmap.h"
#include "block/driver.h"
#include "block/range_lock.h"

struct mirror_sync {
    struct range_locks locks;   /* of guest writes, and of what the job copies */
    struct dirty_bitmap *dirty; /* with a target */
};

/* The filter, opened over its node, is connected. Held. Takes no reference to sync, one to target
 * (NULL: none). */
void filter_mirror_connect(struct block_node *filter, struct block_node *target,
                           struct mirror_sync *sync);

#endif
