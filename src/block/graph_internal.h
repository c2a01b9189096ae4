/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What graph.c (names), root.c (who waits) and graph_change.c (what changes) share. */
#ifndef KV_BLOCK_GRAPH_INTERNAL_H
#define KV_BLOCK_GRAPH_INTERNAL_H

#include <pthread.h>

#include "block/driver.h"
#include "block/graph.h"

/* Waits with the graph's lock, which is held once. */
void block_graph_sleep(pthread_cond_t *cond);

/* graph_change.c: as block_graph_insert_filter(), of a driver that descriptions do not know.
 * filter_name may be NULL. The section is the caller's, so that it can connect the filter. */
int block_graph_insert_driver(struct block_node *node, const struct block_driver *driver,
                              const char *filter_name, struct block_node **out,
                              struct kv_error *err);

/* root.c: enters both at once; a job's source and target. */
void block_root_enter_both(struct block_root *a, struct block_root *b);
void block_root_leave_both(struct block_root *a, struct block_root *b);

/* root.c. A queue belongs to its root from its creation until it is freed. */
void block_root_attach(struct block_root *root, struct block_queue *queue);
void block_root_detach(struct block_queue *queue);

#endif
