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
#include "block/graph_internal.h"
#include "block/queue_throttle.h"
#include "block/tracker.h"

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

static void may_resume(void *opaque);

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
    return node && (node->driver->lanes ||
                    (node->driver->ring_fd && node->driver->ring_fd(node) >= 0))
               ? node
               : NULL;
}

static void close_lane(struct block_queue *queue)
{
    if (queue->lane)
        queue->lane_ops->close(queue->lane);
    queue->lane = NULL;
}

/* The lane or ring for the node's leaf, made or turned to it. Without, workers do everything. The
 * jail lets no further io_uring be made. */
static int aim(struct block_queue *queue)
{
    const struct block_node *node = queue->node;
    int rc = 0;
    close_lane(queue);
    queue->leaf = node->options.aio != BLOCK_AIO_THREADS ? mapped_leaf(queue->node) : NULL;
    if (!queue->leaf)
        return 0;
    if (queue->leaf->driver->lanes) {
        queue->lane_ops = queue->leaf->driver->lanes;
        if (queue->lane_ops->open(&queue->lane, queue->leaf, queue) < 0)
            queue->leaf = NULL;
        return 0;
    }
    int fd = queue->leaf->driver->ring_fd(queue->leaf);
    if (queue->ring)
        rc = uring_set_file(queue->ring, fd);
    else if (!block_is_sealed())
        rc = uring_create(&queue->ring, queue, fd, queue->depth);
    if (rc < 0 || !queue->ring)
        queue->leaf = NULL;
    return rc;
}

/* The first time. -errno: the node asks for io_uring and there is none. */
static int aim_first(struct block_queue *queue, struct kv_error *err)
{
    const struct block_node *node = queue->node;
    queue_throttle_init(queue);
    int rc = aim(queue);
    if (rc < 0 && node->options.aio == BLOCK_AIO_IO_URING)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc,
                              "'%s': aio=io_uring: the host does not allow it (aio=threads and "
                              "aio=auto work)",
                              node->name);
    if (rc < 0)
        log_info("disk '%s': no io_uring here (errno %d), using threads", node->name, -rc);
    return 0;
}

int block_root_queue(struct block_queue **out, struct block_root *root, struct loop *loop,
                     unsigned depth, struct kv_error *err)
{
    struct block_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "disk: out of memory");
    queue->loop = loop;
    queue->depth = depth;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->cond, NULL);
    list_init(&queue->done);
    list_init(&queue->waiting);
    queue->done_work = (struct loop_work){.fn = done_arrived, .opaque = queue};
    queue->resume_work = (struct loop_work){.fn = may_resume, .opaque = queue};
    workers_get();
    block_root_enter(root);
    block_root_attach(root, queue);
    int rc = aim_first(queue, err);
    block_root_leave(root);
    if (rc < 0) {
        block_queue_free(queue);
        return rc;
    }
    *out = queue;
    return 0;
}

int block_queue_create(struct block_queue **out, struct block_node *node, struct loop *loop,
                       unsigned depth, struct kv_error *err)
{
    struct block_root *root;
    int rc = block_root_create(&root, node, NULL, 0, err);
    if (rc < 0)
        return rc;
    rc = block_root_queue(out, root, loop, depth, err);
    if (rc == 0)
        (*out)->own_root = true;
    else
        block_root_free(root);
    return rc;
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
    block_root_detach(queue);
    loop_unpost(queue->loop, &queue->resume_work);
    if (queue->own_root)
        block_root_free(queue->root);
    queue_throttle_destroy(queue);
    close_lane(queue);
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
    if (request->op == BLOCK_WRITE)
        block_track_mapped(queue->node, request->offset, request->len);
    block_queue_leave(queue);
    queue->inflight--;
    queue->batch_pending = true;
    request->done(request, result);
}

/* ------------------------------------------------------------ while the graph changes */

/*
 * The queue counts itself busy, then looks whether it is held; who holds it
 * marks it, then looks whether it is busy. Both are sequentially consistent, so
 * one of the two sees the other.
 */
bool block_queue_enter(struct block_queue *queue)
{
    atomic_fetch_add(&queue->busy, 1);
    if (atomic_load(&queue->held)) {
        block_queue_leave(queue);
        return false;
    }
    if (queue->stale) {
        queue->stale = false;
        queue_throttle_renew(queue);
        aim(queue);
    }
    return true;
}

void block_queue_leave(struct block_queue *queue)
{
    if (atomic_fetch_sub(&queue->busy, 1) == 1 && atomic_load(&queue->held))
        block_graph_wake();
}

void block_queue_hold(struct block_queue *queue)
{
    atomic_store(&queue->held, true);
}

void block_queue_release(struct block_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    atomic_store(&queue->held, false);
    pthread_cond_signal(&queue->cond);
    loop_post(queue->loop, &queue->resume_work);
    pthread_mutex_unlock(&queue->lock);
}

static void begin(struct block_queue *queue, struct block_request *request);

/* What came while the queue was held. Returns whether there was anything. */
static bool resume(struct block_queue *queue)
{
    struct list come;
    list_init(&come);
    while (!list_empty(&queue->waiting)) {
        struct list *node = queue->waiting.next;
        list_del(node);
        list_add_tail(&come, node);
    }
    bool any = !list_empty(&come);
    while (!list_empty(&come)) {
        struct block_request *request = list_entry(come.next, struct block_request, node);
        list_del(&request->node);
        begin(queue, request);
    }
    return any;
}

static void may_resume(void *opaque)
{
    struct block_queue *queue = opaque;
    /* A node that is gone must not be kept open by the ring. */
    if (block_queue_enter(queue)) {
        block_queue_leave(queue);
        queue_throttle_go_on(queue);
        resume(queue);
    }
    block_kick(queue);
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
    bool transfer = request->op == BLOCK_READ || request->op == BLOCK_WRITE, below_top = false;
    request->host_offset = request->offset;
    if (!transfer && (request->op != BLOCK_FLUSH || queue->node->driver->flush_is_deep))
        return false;
    for (struct block_node *node = queue->node; transfer && node != queue->leaf;
         node = node->file) {
        struct block_mapping mapping = {.kind = BLOCK_MAP_SLOW};
        if (below_top && node->trackers)
            return false;
        below_top |= !node->driver->is_filter;
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
    if (below_top && queue->leaf->trackers)
        return false;
    if (queue->lane)
        return queue->lane_ops->submit(queue->lane, request);
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
    if (!request->queue->leaf || !go_fast(request->queue, request))
        block_go_slow(request);
}

/* A request that waits for its throttle group does not keep the graph from changing. */
static void begin(struct block_queue *queue, struct block_request *request)
{
    if (!block_queue_enter(queue)) {
        list_add_tail(&queue->waiting, &request->node);
        return;
    }
    int rc = check(queue->node, request);
    if (rc <= 0)
        block_complete(request, rc);
    else if (queue_throttle_admit(queue, request))
        block_start(request);
    else
        block_queue_leave(queue);
}

void block_submit(struct block_queue *queue, struct block_request *request)
{
    request->queue = queue;
    request->progress = 0;
    request->fast_token = NULL;
    list_init(&request->node);
    queue->inflight++;
    begin(queue, request);
}

void block_kick(struct block_queue *queue)
{
    if (queue->ring)
        uring_kick(queue->ring);
    if (queue->lane && block_queue_enter(queue)) {
        if (queue->lane)
            queue->lane_ops->kick(queue->lane);
        block_queue_leave(queue);
    }
    block_end_batch(queue);
}

unsigned block_inflight(const struct block_queue *queue)
{
    return queue->inflight;
}

void block_settle(struct block_queue *queue)
{
    while (atomic_load(&queue->busy)) {
        bool any = take_done(queue);
        if (queue->ring && atomic_load(&queue->busy))
            any |= uring_wait(queue->ring);
        if (!any && atomic_load(&queue->busy)) {
            pthread_mutex_lock(&queue->lock);
            while (list_empty(&queue->done))
                pthread_cond_wait(&queue->cond, &queue->lock);
            pthread_mutex_unlock(&queue->lock);
        }
        block_end_batch(queue);
    }
}

void block_stop(struct block_queue *queue)
{
    struct list *const lists[] = {&queue->waiting, &queue->throttled[0], &queue->throttled[1]};
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
        while (!list_empty(lists[i])) {
            struct block_request *request = list_entry(lists[i]->next, struct block_request, node);
            list_del(&request->node);
            queue->inflight--;
            request->done(request, -ECANCELED);
        }
    }
    block_settle(queue);
}

void block_drain(struct block_queue *queue)
{
    while (queue->inflight) {
        queue_throttle_release(queue);
        bool any = take_done(queue);
        if (!atomic_load(&queue->held))
            any |= resume(queue);
        if (queue->ring && queue->inflight)
            any |= uring_wait(queue->ring);
        if (queue->lane && queue->inflight)
            any |= queue->lane_ops->wait(queue->lane);
        if (!any && queue->inflight) {
            pthread_mutex_lock(&queue->lock);
            while (list_empty(&queue->done) &&
                   (atomic_load(&queue->held) ||
                    (list_empty(&queue->waiting) && queue_throttle_is_empty(queue))))
                pthread_cond_wait(&queue->cond, &queue->lock);
            pthread_mutex_unlock(&queue->lock);
        }
        block_end_batch(queue);
    }
}
