/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rate limits of a disk, those of a throttle group (block/throttle.h) that
 * several disks may share. Each queue keeps what must wait, in order, reads and
 * writes apart, so that a limit on one does not hold up the other. Called by
 * blk.c and blk_request.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "vmm/virtio/blk_internal.h"

static enum blk_direction direction(const struct blk_request *request)
{
    return request->io.op == BLOCK_READ ? BLK_DIRECTION_READ : BLK_DIRECTION_WRITE;
}

/* 0: it may go, or how many nanoseconds to wait. A group is let go of only after every queue's
 * loop has passed by. */
static int64_t take(struct blk *blk, const struct blk_request *request)
{
    struct throttle_group *group = atomic_load(&blk->throttle);
    return group ? throttle_take(group, request->io.op, request->io.len) : 0;
}

static void serve_waiting(struct blk_queue *queue, enum blk_direction dir);

static void serve_reads(void *opaque)
{
    serve_waiting(opaque, BLK_DIRECTION_READ);
}

static void serve_writes(void *opaque)
{
    serve_waiting(opaque, BLK_DIRECTION_WRITE);
}

static void arm(struct blk_queue *queue, enum blk_direction dir, int64_t wait)
{
    loop_timer_arm(queue->virtio->loop, &queue->throttle_timer[dir], wait,
                   dir == BLK_DIRECTION_READ ? serve_reads : serve_writes, queue);
}

static void serve_waiting(struct blk_queue *queue, enum blk_direction dir)
{
    struct list *waiting = &queue->throttled[dir];
    while (!list_empty(waiting)) {
        struct blk_request *request = list_entry(waiting->next, struct blk_request, node);
        int64_t wait = take(queue->blk, request);
        if (wait) {
            arm(queue, dir, wait);
            break;
        }
        list_del(&request->node);
        blk_request_submit(request);
    }
    block_kick(queue->io);
}

bool blk_throttle_admit(struct blk_request *request)
{
    struct blk_queue *queue = request->queue;
    if (!atomic_load(&queue->blk->throttle) || request->io.op == BLOCK_FLUSH)
        return true;
    enum blk_direction dir = direction(request);
    if (list_empty(&queue->throttled[dir])) {
        int64_t wait = take(queue->blk, request);
        if (wait == 0)
            return true;
        arm(queue, dir, wait);
    }
    list_add_tail(&queue->throttled[dir], &request->node);
    return false;
}

void blk_throttle_flush(struct blk_queue *queue)
{
    for (unsigned dir = 0; dir < BLK_DIRECTIONS; dir++) {
        struct list *waiting = &queue->throttled[dir];
        loop_timer_cancel(&queue->throttle_timer[dir]);
        while (!list_empty(waiting)) {
            struct blk_request *request = list_entry(waiting->next, struct blk_request, node);
            list_del(&request->node);
            blk_request_submit(request);
        }
    }
}

/* On the queue's loop: the limits are others now. */
static void look_again(void *opaque)
{
    for (unsigned dir = 0; dir < BLK_DIRECTIONS; dir++)
        serve_waiting(opaque, (enum blk_direction)dir);
}

void blk_throttle_changed(struct blk *blk)
{
    for (unsigned i = 0; i < blk->virtio.queue_count; i++)
        loop_call(blk->virtio.queues[i].loop, look_again, &blk->queues[i]);
}

int blk_set_throttle(struct blk *blk, const char *name, struct kv_error *err)
{
    struct throttle_group *group = name ? throttle_group_get(name) : NULL;
    char *copy = name ? strdup(name) : NULL;
    if (name && (!group || !copy)) {
        throttle_group_put(group);
        free(copy);
        return kv_error_set(err, KV_ERR_DEVICE, group ? ENOMEM : ENOENT,
                            "disk '%s': no throttle group '%s'", blk->id, name);
    }
    struct throttle_group *old = atomic_exchange(&blk->throttle, group);
    free(blk->throttle_name);
    blk->throttle_name = copy;
    if (blk->queues)
        blk_throttle_changed(blk);
    throttle_group_put(old);
    return 0;
}

int blk_throttle_init(struct blk *blk, const struct blk_config *config, struct kv_error *err)
{
    const char *name = config->throttle_group ? config->throttle_group : blk->id;
    struct throttle_limits known;
    bool limited = false;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++)
        limited |= config->limits.limits[i].average || config->limits.limits[i].max;
    if (!limited && !config->throttle_group)
        return 0;
    /* The first disk of a group says its limits. */
    if (limited || throttle_group_limits(name, &known) < 0) {
        int rc = throttle_group_set(name, &config->limits, err);
        if (rc < 0)
            return kv_error_prefix(err, "disk '%s'", blk->id);
    }
    return blk_set_throttle(blk, name, err);
}

void blk_throttle_destroy(struct blk *blk)
{
    throttle_group_put(atomic_load(&blk->throttle));
    free(blk->throttle_name);
}
