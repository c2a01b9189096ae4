/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of a queue that wait for a throttle group's limits; see queue_throttle.h. */
#include "block/queue_throttle.h"

#include "block/drivers.h"
#include "block/throttle.h"

/* The limits may be others meanwhile. */
#define LOOK_AGAIN_NS INT64_C(500000000)

static __thread const struct block_node *admitted;

static unsigned direction_of(const struct block_request *request)
{
    return request->op != BLOCK_READ;
}

void queue_throttle_init(struct block_queue *queue)
{
    for (unsigned i = 0; i < BLOCK_QUEUE_DIRECTIONS; i++) {
        list_init(&queue->throttled[i]);
        queue->throttle_timers[i] = (struct loop_timer){0};
    }
    queue_throttle_renew(queue);
}

void queue_throttle_renew(struct block_queue *queue)
{
    struct block_node *node = queue->node;
    while (node && node->driver->is_filter && node->driver != &block_throttle_driver)
        node = node->file;
    queue->throttle = node && node->driver == &block_throttle_driver ? node : NULL;
}

void queue_throttle_destroy(struct block_queue *queue)
{
    for (unsigned i = 0; i < BLOCK_QUEUE_DIRECTIONS; i++)
        loop_timer_cancel(&queue->throttle_timers[i]);
}

static void go_on_reading(void *opaque);
static void go_on_writing(void *opaque);

static void wait_for(struct block_queue *queue, unsigned direction, int64_t ns)
{
    loop_timer_arm(queue->loop, &queue->throttle_timers[direction], MIN(ns, LOOK_AGAIN_NS),
                   direction ? go_on_writing : go_on_reading, queue);
}

static void go_on(struct block_queue *queue, unsigned direction)
{
    struct list *waiting = &queue->throttled[direction];
    /* Held: who releases the queue calls again. */
    while (!list_empty(waiting) && block_queue_enter(queue)) {
        struct block_request *request = list_entry(waiting->next, struct block_request, node);
        int64_t ns =
            queue->throttle ? throttle_take(queue->throttle->state, request->op, request->len) : 0;
        if (ns) {
            block_queue_leave(queue);
            wait_for(queue, direction, ns);
            break;
        }
        list_del(&request->node);
        block_start(request);
    }
    block_kick(queue);
}

void queue_throttle_go_on(struct block_queue *queue)
{
    for (unsigned i = 0; i < BLOCK_QUEUE_DIRECTIONS; i++)
        go_on(queue, i);
}

static void go_on_reading(void *opaque)
{
    go_on(opaque, 0);
}

static void go_on_writing(void *opaque)
{
    go_on(opaque, 1);
}

bool queue_throttle_admit(struct block_queue *queue, struct block_request *request)
{
    if (!queue->throttle || request->op == BLOCK_FLUSH)
        return true;
    unsigned direction = direction_of(request);
    if (list_empty(&queue->throttled[direction])) {
        int64_t ns = throttle_take(queue->throttle->state, request->op, request->len);
        if (ns == 0)
            return true;
        wait_for(queue, direction, ns);
    }
    list_add_tail(&queue->throttled[direction], &request->node);
    return false;
}

void queue_throttle_release(struct block_queue *queue)
{
    for (unsigned i = 0; i < BLOCK_QUEUE_DIRECTIONS; i++) {
        loop_timer_cancel(&queue->throttle_timers[i]);
        while (!list_empty(&queue->throttled[i]) && block_queue_enter(queue)) {
            struct block_request *request =
                list_entry(queue->throttled[i].next, struct block_request, node);
            list_del(&request->node);
            block_start(request);
        }
    }
}

void queue_throttle_enter(const struct block_request *request)
{
    admitted = request->queue ? request->queue->throttle : NULL;
}

void queue_throttle_leave(void)
{
    admitted = NULL;
}

bool queue_throttle_is_admitted(const struct block_node *node)
{
    return node == admitted;
}
