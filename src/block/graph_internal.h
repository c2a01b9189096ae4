/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What graph.c (names), root.c (who waits) and graph_change.c (what changes) share. */
#ifndef KV_BLOCK_GRAPH_INTERNAL_H
#define KV_BLOCK_GRAPH_INTERNAL_H

#include <pthread.h>

#include "block/driver.h"
#include "block/graph.h"

/* Waits with the graph's lock, which is held once. */
void block_graph_sleep(pthread_cond_t *cond);

/* root.c. A queue belongs to its root from its creation until it is freed. */
void block_root_attach(struct block_root *root, struct block_queue *queue);
void block_root_detach(struct block_queue *queue);

#endif
