/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the block engine: what a format or protocol gives to be a node, and
 * what a queue is made of. A driver has one blocking function that carries out
 * any request as plain sequential code, run by a worker; and, where it can say
 * at once what a request becomes, a fast path into the queue's io_uring.
 */
#ifndef KV_BLOCK_DRIVER_H
#define KV_BLOCK_DRIVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "block/block.h"

struct uring;

struct block_driver {
    const char *name;
    /* Fills node->info and node->state. */
    int (*open)(struct block_node *node, const struct block_open_options *options,
                struct kv_error *err);
    void (*close)(struct block_node *node);
    /* The current size in bytes, a multiple of 512, into *size. */
    int (*get_size)(struct block_node *node, uint64_t *size, struct kv_error *err);
    int (*resize)(struct block_node *node, uint64_t size, struct kv_error *err);
    int64_t (*allocated_size)(const struct block_node *node);
    /* Carries out what is left of a checked request (from progress on). Any thread; may block.
     * 0 or -errno. */
    int (*execute)(struct block_node *node, struct block_request *request);
    /* The descriptor that fast requests go to. */
    int (*ring_fd)(const struct block_node *node);
    /* True: this request may go to ring_fd as it is. */
    bool (*is_fast)(const struct block_node *node, const struct block_request *request);
};

extern const struct block_driver block_file_driver;

struct block_node {
    const struct block_driver *driver;
    struct block_info info; /* size: atomic, see block_size() */
    struct block_open_options options;
    char *name; /* for messages: the path, or "descriptor N" */
    void *state;
};

struct block_queue {
    struct block_node *node;
    struct loop *loop;
    unsigned inflight;
    struct uring *ring; /* NULL: everything goes to the workers */
    bool batch_pending; /* completions since batch_fn was called */
    bool in_batch;      /* batch_fn is running */
    void (*batch_fn)(void *opaque);
    void *batch_opaque;

    pthread_mutex_t lock;
    pthread_cond_t cond; /* something came into done */
    struct list done;    /* requests that workers finished; under lock */
    struct loop_work done_work;
};

static inline uint64_t block_size(const struct block_node *node)
{
    return __atomic_load_n(&node->info.size, __ATOMIC_ACQUIRE);
}

/* True when writes must be durable before they are done. */
static inline bool block_is_durable(const struct block_node *node,
                                    const struct block_request *request)
{
    return node->options.cache != BLOCK_CACHE_UNSAFE &&
           (request->fua || !node->info.volatile_cache);
}

/* block.c: ends a request. On the queue's loop. */
void block_complete(struct block_request *request, int result);

/* block.c: calls the batch function if requests ended since it was last called. */
void block_end_batch(struct block_queue *queue);

/* block.c: from a worker; result is in the request. */
void block_finish_from_worker(struct block_request *request);

/* threads.c: the workers, shared by all nodes of the process. Each open node holds a reference;
 * threads start when they are needed and end with the last reference. */
void workers_get(void);
void workers_put(void);
/* Has request->queue->node->driver->execute() run. */
void workers_submit(struct block_request *request);

/* uring.c. -errno when the host does not allow it. */
int uring_create(struct uring **out, struct block_queue *queue, int fd, unsigned depth);
void uring_free(struct uring *ring);
/* READ, WRITE or FLUSH; sent by uring_kick(). False: no room, take another way. */
bool uring_submit(struct uring *ring, struct block_request *request);
/* Sends what is queued and completes what is done. */
void uring_kick(struct uring *ring);
/* Waits for a completion. False: none in flight. */
bool uring_wait(struct uring *ring);

/* lock.c: OFD locks on an image, compatible with QEMU's. -EAGAIN with err filled when another
 * process uses the image in a way that excludes ours. */
int image_lock(int fd, const char *name, bool readonly, bool share_rw, struct kv_error *err);
void image_unlock(int fd);

#endif
