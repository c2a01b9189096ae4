/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queues: each request of a device is checked once and sent the fast way
 * (io_uring) or the slow way (a worker). Completions of both come together
 * here on the queue's loop.
 */
#include "block/block.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "block/driver.h"
#include "block/queue_throttle.h"

void block_end_batch(struct block_queue *queue)
{
    while (queue->batch_pending && queue->batch_fn && !queue->in_batch) {
        queue->batch_pending = false;
        queue->in_batch = true;
        queue->batch_fn(queue->batch_opaque);
        queue->in_batch = false;
    }
}

/* Completes what workers finished. Returns whether there was anything. */
static bool take_done(struct block_queue *queue)
{
    bool any = false;
    pthread_mutex_lock(&queue->lock);
    while (!list_empty(&queue->done)) {
        struct block_request *request = list_entry(queue->done.next, struct block_request, node);
        list_del(&request->node);
        pthread_mutex_unlock(&queue->lock);
        block_complete(request, request->result);
        any = true;
        pthread_mutex_lock(&queue->lock);
    }
    pthread_mutex_unlock(&queue->lock);
    return any;
}

static void done_arrived(void *opaque)
{
    struct block_queue *queue = opaque;
    take_done(queue);
    block_end_batch(queue);
}

/* All of it under the lock: block_drain() needs that to see the request, and the queue may be freed
 * as soon as it did. */
void block_finish_from_worker(struct block_request *request)
{
    struct block_queue *queue = request->queue;
    pthread_mutex_lock(&queue->lock);
    list_add_tail(&queue->done, &request->node);
    pthread_cond_signal(&queue->cond);
    loop_post(queue->loop, &queue->done_work);
    pthread_mutex_unlock(&queue->lock);
}

/* The protocol node that all maps on the way down lead to; NULL: there is none. */
static struct block_node *mapped_leaf(struct block_node *node)
{
    while (node && !node->driver->is_protocol)
        node = node->driver->map ? node->file : NULL;
    return node && node->driver->ring_fd && node->driver->ring_fd(node) >= 0 ? node : NULL;
}

int block_queue_create(struct block_queue **out, struct block_node *node, struct loop *loop,
                       unsigned depth, struct kv_error *err)
{
    struct block_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    queue->node = node;
    queue->loop = loop;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->cond, NULL);
    list_init(&queue->done);
    queue->done_work = (struct loop_work){.fn = done_arrived, .opaque = queue};
    queue_throttle_init(queue);

    workers_get();
    queue->leaf = mapped_leaf(node);
    /* The jail lets no further io_uring be made. */
    if (queue->leaf && node->options.aio != BLOCK_AIO_THREADS && !block_is_sealed()) {
        int rc =
            uring_create(&queue->ring, queue, queue->leaf->driver->ring_fd(queue->leaf), depth);
        if (rc < 0 && node->options.aio == BLOCK_AIO_IO_URING) {
            block_queue_free(queue);
            return kv_error_errno(err, KV_ERR_BLOCK, -rc,
                                  "'%s': aio=io_uring: the host does not allow it (aio=threads "
                                  "and aio=auto work)",
                                  node->name);
        }
        if (rc < 0)
            log_info("disk '%s': no io_uring here (errno %d), using threads", node->name, -rc);
    }
    *out = queue;
    return 0;
}

void block_queue_set_batch(struct block_queue *queue, void (*fn)(void *opaque), void *opaque)
{
    queue->batch_fn = fn;
    queue->batch_opaque = opaque;
}

void block_queue_free(struct block_queue *queue)
{
    if (!queue)
        return;
    /* block_drain() may have taken the requests that this work was posted for. */
    loop_unpost(queue->loop, &queue->done_work);
    queue_throttle_destroy(queue);
    uring_free(queue->ring);
    workers_put();
    pthread_cond_destroy(&queue->cond);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void block_complete(struct block_request *request, int result)
{
    struct block_queue *queue = request->queue;
    if (request->fast_token)
        queue->node->driver->mapped_done(queue->node, request->fast_token, result);
    request->fast_token = NULL;
    queue->inflight--;
    queue->batch_pending = true;
    request->done(request, result);
}

/* What can be answered at once: 0 and -errno are results, 1 means it has to be carried out. */
static int check(const struct block_node *node, const struct block_request *request)
{
    if (request->op == BLOCK_FLUSH)
        return node->options.cache == BLOCK_CACHE_UNSAFE || node->info.readonly ? 0 : 1;
    if (!range_within(request->offset, request->len, 0, block_size(node)))
        return -EINVAL;
    if (request->op != BLOCK_READ && node->info.readonly)
        return -EROFS;
    if (request->op == BLOCK_DISCARD && !node->info.can_discard)
        return 0;
    return request->len ? 1 : 0;
}

static void zero_result(struct block_request *request)
{
    iov_from_buffer(request->iov, request->iov_count, 0, NULL, request->len);
    block_complete(request, 0);
}

/* Formats over formats do not occur on a leaf's way but for raw, which has no token. */
static bool go_fast(struct block_queue *queue, struct block_request *request)
{
    struct block_request below = *request;
    bool transfer = request->op == BLOCK_READ || request->op == BLOCK_WRITE;
    request->host_offset = request->offset;
    if (!transfer && (request->op != BLOCK_FLUSH || queue->node->driver->flush_is_deep))
        return false;
    for (struct block_node *node = queue->node; transfer && node != queue->leaf;
         node = node->file) {
        struct block_mapping mapping = {.kind = BLOCK_MAP_SLOW};
        node->driver->map(node, &below, &mapping);
        if (mapping.token)
            request->fast_token = mapping.token;
        if (mapping.kind == BLOCK_MAP_ZERO) {
            zero_result(request);
            return true;
        }
        if (mapping.kind == BLOCK_MAP_SLOW)
            return false;
        below.offset = request->host_offset = mapping.host_offset;
    }
    return queue->leaf->driver->is_fast(queue->leaf, request, request->host_offset) &&
           uring_submit(queue->ring, request);
}

/* A worker does not keep what a map promised: it maps, and transfers, anew. */
void block_go_slow(struct block_request *request)
{
    const struct block_queue *queue = request->queue;
    if (request->fast_token) {
        queue->node->driver->mapped_done(queue->node, request->fast_token, -ECANCELED);
        request->fast_token = NULL;
        request->progress = 0;
    }
    workers_submit(request);
}

void block_start(struct block_request *request)
{
    if (!request->queue->ring || !go_fast(request->queue, request))
        block_go_slow(request);
}

void block_submit(struct block_queue *queue, struct block_request *request)
{
    const struct block_node *node = queue->node;
    request->queue = queue;
    request->progress = 0;
    request->fast_token = NULL;
    list_init(&request->node);
    queue->inflight++;

    int rc = check(node, request);
    if (rc <= 0)
        block_complete(request, rc);
    else if (queue_throttle_admit(queue, request))
        block_start(request);
}

void block_kick(struct block_queue *queue)
{
    if (queue->ring)
        uring_kick(queue->ring);
    block_end_batch(queue);
}

unsigned block_inflight(const struct block_queue *queue)
{
    return queue->inflight;
}

void block_drain(struct block_queue *queue)
{
    while (queue->inflight) {
        queue_throttle_release(queue);
        bool any = take_done(queue);
        if (queue->ring && queue->inflight)
            any |= uring_wait(queue->ring);
        if (!any && queue->inflight) {
            pthread_mutex_lock(&queue->lock);
            while (list_empty(&queue->done))
                pthread_cond_wait(&queue->cond, &queue->lock);
            pthread_mutex_unlock(&queue->lock);
        }
        block_end_batch(queue);
    }
}
