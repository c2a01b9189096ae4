/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trackers of what is written to a node; see tracker.h. */
#include "block/tracker.h"

#include <stdlib.h>
#include <string.h>

#include "block/graph.h"

struct block_tracker *block_tracker_create(const struct block_node *node, const char *name,
                                           uint32_t granularity)
{
    struct block_tracker *tracker = calloc(1, sizeof(*tracker));
    if (!tracker)
        return NULL;
    tracker->granularity = granularity;
    atomic_store(&tracker->enabled, true);
    tracker->bits = dirty_bitmap_create(block_size(node), granularity);
    tracker->name = name ? strdup(name) : NULL;
    if (!tracker->bits || (name && !tracker->name)) {
        block_tracker_free(tracker);
        return NULL;
    }
    return tracker;
}

void block_tracker_free(struct block_tracker *tracker)
{
    if (!tracker)
        return;
    dirty_bitmap_free(tracker->bits);
    free(tracker->name);
    free(tracker);
}

void block_tracker_attach(struct block_node *node, struct block_tracker *tracker)
{
    block_graph_begin(&node, 1);
    tracker->next = node->trackers;
    node->trackers = tracker;
    block_graph_end();
}

void block_tracker_detach(struct block_node *node, struct block_tracker *tracker)
{
    block_graph_begin(&node, 1);
    struct block_tracker **at = &node->trackers;
    while (*at && *at != tracker)
        at = &(*at)->next;
    if (*at)
        *at = tracker->next;
    block_graph_end();
}

struct block_tracker *block_tracker_find(const struct block_node *node, const char *name)
{
    struct block_tracker *tracker = node->trackers;
    while (tracker && (!tracker->name || strcmp(tracker->name, name) != 0))
        tracker = tracker->next;
    return tracker;
}

void block_trackers_free(struct block_node *node)
{
    while (node->trackers) {
        struct block_tracker *next = node->trackers->next;
        block_tracker_free(node->trackers);
        node->trackers = next;
    }
}

void block_track_all(const struct block_node *node, uint64_t offset, uint64_t len)
{
    for (struct block_tracker *t = node->trackers; t; t = t->next) {
        if (atomic_load_explicit(&t->enabled, memory_order_relaxed))
            dirty_bitmap_set(t->bits, offset, len);
    }
}
