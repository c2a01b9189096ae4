/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rate limits of a disk: bytes and requests a second, reads and writes apart or
 * together, with bursts. The buckets belong to the disk and are shared by its
 * queues; each queue keeps what must wait, in order, reads and writes apart, so
 * that a limit on one does not hold up the other. Called by blk.c and
 * blk_request.c.
 */
#include <errno.h>

#include "base/util.h"
#include "vmm/virtio/blk_internal.h"

static const char *const limit_names[BLK_LIMIT_COUNT] = {
    [BLK_BPS_TOTAL] = "bps-total",   [BLK_BPS_READ] = "bps-read",   [BLK_BPS_WRITE] = "bps-write",
    [BLK_IOPS_TOTAL] = "iops-total", [BLK_IOPS_READ] = "iops-read", [BLK_IOPS_WRITE] = "iops-write",
};

int blk_throttle_init(struct blk *blk, const struct blk_config *config, struct kv_error *err)
{
    for (unsigned i = 0; i < BLK_LIMIT_COUNT; i++) {
        unsigned total = i < BLK_IOPS_TOTAL ? BLK_BPS_TOTAL : BLK_IOPS_TOTAL;
        if (config->limit_max[i] && config->limit_max[i] < config->limit[i])
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s-max is smaller than %s",
                                limit_names[i], limit_names[i]);
        if (config->limit_max[i] && !config->limit[i])
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s-max needs %s", limit_names[i],
                                limit_names[i]);
        if (i != total && config->limit[i] && config->limit[total])
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s and %s exclude each other",
                                limit_names[total], limit_names[i]);
        blk->limit[i] = config->limit[i];
        blk->limit_max[i] = config->limit_max[i];
        blk->throttled |= config->limit[i] != 0;
        ratelimit_init(&blk->limits[i], config->limit[i], config->limit_max[i]);
    }
    return 0;
}

static enum blk_direction direction(const struct blk_request *request)
{
    return request->io.op == BLOCK_READ ? BLK_DIRECTION_READ : BLK_DIRECTION_WRITE;
}

/* Takes from all buckets that apply, or from none. 0, or how many nanoseconds to wait. */
static int64_t take(struct blk *blk, const struct blk_request *request)
{
    static const enum blk_limit which[BLK_DIRECTIONS][4] = {
        {BLK_BPS_TOTAL, BLK_BPS_READ, BLK_IOPS_TOTAL, BLK_IOPS_READ},
        {BLK_BPS_TOTAL, BLK_BPS_WRITE, BLK_IOPS_TOTAL, BLK_IOPS_WRITE},
    };
    const enum blk_limit *limits = which[direction(request)];
    uint64_t bytes = request->io.op == BLOCK_DISCARD ? 0 : request->io.len;
    const uint64_t amount[4] = {bytes, bytes, 1, 1};
    int64_t now = clock_monotonic_ns(), wait = 0;

    pthread_mutex_lock(&blk->throttle_lock);
    for (unsigned i = 0; i < 4 && wait == 0; i++) {
        wait = ratelimit_take(&blk->limits[limits[i]], amount[i], now);
        for (unsigned j = 0; wait && j < i; j++)
            ratelimit_return(&blk->limits[limits[j]], amount[j]);
    }
    pthread_mutex_unlock(&blk->throttle_lock);
    return wait;
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
    if (!queue->blk->throttled || request->io.op == BLOCK_FLUSH)
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
