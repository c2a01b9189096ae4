/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The border of the block engine: opens nodes, checks each request once, and
 * sends it the fast way (io_uring) or the slow way (a worker). Completions
 * of both come together here on the queue's loop.
 */
#include "block/block.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "block/driver.h"

int block_open(struct block_node **out, const struct block_open_options *options,
               struct kv_error *err)
{
    struct block_node *node = calloc(1, sizeof(*node));
    if (!node)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "disk: out of memory");
    node->driver = &block_file_driver;
    node->options = *options;
    node->options.path = NULL;
    int rc = options->path ? asprintf(&node->name, "%s", options->path)
                           : asprintf(&node->name, "descriptor %d", options->fd);
    if (rc < 0) {
        free(node);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "disk: out of memory");
    }
    rc = node->driver->open(node, options, err);
    if (rc < 0) {
        free(node->name);
        free(node);
        return rc;
    }
    workers_get();
    *out = node;
    return 0;
}

void block_close(struct block_node *node)
{
    if (!node)
        return;
    workers_put();
    node->driver->close(node);
    free(node->name);
    free(node);
}

const struct block_info *block_get_info(const struct block_node *node)
{
    return &node->info;
}

int block_refresh(struct block_node *node, struct kv_error *err)
{
    uint64_t size;
    int rc = node->driver->get_size(node, &size, err);
    if (rc == 0)
        __atomic_store_n(&node->info.size, size, __ATOMIC_RELEASE);
    return rc;
}

int block_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    if (node->info.readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EACCES, "'%s' is read-only and cannot be resized",
                            node->name);
    if (size % 512 || size > INT64_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': size %" PRIu64 " is not a multiple of 512 up to 2^63",
                            node->name, size);
    int rc = node->driver->resize(node, size, err);
    return rc < 0 ? rc : block_refresh(node, err);
}

int64_t block_allocated_size(const struct block_node *node)
{
    return node->driver->allocated_size(node);
}

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

    if (node->options.aio != BLOCK_AIO_THREADS) {
        int rc = uring_create(&queue->ring, queue, node->driver->ring_fd(node), depth);
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
    uring_free(queue->ring);
    pthread_cond_destroy(&queue->cond);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void block_complete(struct block_request *request, int result)
{
    struct block_queue *queue = request->queue;
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

void block_submit(struct block_queue *queue, struct block_request *request)
{
    const struct block_node *node = queue->node;
    request->queue = queue;
    request->progress = 0;
    list_init(&request->node);
    queue->inflight++;

    int rc = check(node, request);
    if (rc <= 0)
        block_complete(request, rc);
    else if (!queue->ring || !node->driver->is_fast(node, request) ||
             !uring_submit(queue->ring, request))
        workers_submit(request);
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
