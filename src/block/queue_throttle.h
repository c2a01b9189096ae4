/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queues over a node that is throttled: what has to wait is kept by the queue,
 * in order, reads apart from all else, and goes on from a timer of the queue's
 * loop. Called by queue.c; on the loop's thread, except for the last two.
 */
#ifndef KV_BLOCK_QUEUE_THROTTLE_H
#define KV_BLOCK_QUEUE_THROTTLE_H

#include "block/driver.h"

/* Finds the throttle filter at the top of the queue's node, if there is one. */
void queue_throttle_init(struct block_queue *queue);
void queue_throttle_destroy(struct block_queue *queue);
/* The queue has another node: what waits stays, for the limits of that one. */
void queue_throttle_renew(struct block_queue *queue);
/* Nothing waits. */
static inline bool queue_throttle_is_empty(const struct block_queue *queue)
{
    return list_empty(&queue->throttled[0]) && list_empty(&queue->throttled[1]);
}
/* What waited while the queue was held tries again. */
void queue_throttle_go_on(struct block_queue *queue);
/* True: the request may go on now. False: it waits, block_start() is called when its time came. */
bool queue_throttle_admit(struct block_queue *queue, struct block_request *request);
/* Lets everything go that waits: somebody wants the queue empty. */
void queue_throttle_release(struct block_queue *queue);

/* While a worker carries out a request of a queue, its throttle filter lets it pass. */
void queue_throttle_enter(const struct block_request *request);
void queue_throttle_leave(void);
bool queue_throttle_is_admitted(const struct block_node *node);

#endif
