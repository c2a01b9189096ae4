/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trackers note in a dirty bitmap what is written to a node, on the slow way
 * (io.c) and on the fast one (queue.c): after the write and before it is told to
 * be done, whether it succeeded or not. They are put on and taken off while the
 * roots above the node are held; so nobody locks anything.
 */
#ifndef KV_BLOCK_TRACKER_H
#define KV_BLOCK_TRACKER_H

#include "block/dirty_bitmap.h"
#include "block/driver.h"

struct block_tracker {
    struct block_tracker *next;
    char *name; /* of a dirty bitmap; NULL: a job's own */
    struct dirty_bitmap *bits;
    uint32_t granularity; /* bytes */
    atomic_bool enabled;
    bool busy; /* a job uses it */
};

/* size: the node's. NULL: out of memory. */
struct block_tracker *block_tracker_create(const struct block_node *node, const char *name,
                                           uint32_t granularity);
void block_tracker_free(struct block_tracker *tracker);
/* Held, or at the start of a held section of their own. */
void block_tracker_attach(struct block_node *node, struct block_tracker *tracker);
void block_tracker_detach(struct block_node *node, struct block_tracker *tracker);
/* The dirty bitmap of that name in memory; NULL: none. */
struct block_tracker *block_tracker_find(const struct block_node *node, const char *name);
/* All of a node that is being closed. */
void block_trackers_free(struct block_node *node);

void block_track_all(const struct block_node *node, uint64_t offset, uint64_t len);

/* node was written to. */
static inline void block_track(const struct block_node *node, uint64_t offset, uint64_t len)
{
    if (node->trackers)
        block_track_all(node, offset, len);
}

/* A queue's write went past the nodes' functions: all where offsets are the queue's note it. */
static inline void block_track_mapped(const struct block_node *node, uint64_t offset, uint64_t len)
{
    for (; node->driver->is_filter; node = node->file)
        block_track(node, offset, len);
    block_track(node, offset, len);
}

#endif
