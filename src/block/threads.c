/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workers of the block engine: threads that run a request's blocking code and
 * hand the result back to its queue. One pool for the process; a thread is
 * started when a request finds none idle. Called by block.c and uring.c.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/iothread.h"
#include "base/log.h"
#include "block/driver.h"

#define WORKERS_MAX 32

static struct {
    pthread_mutex_t lifetime; /* taken first: nobody comes while the last one goes */
    pthread_mutex_t lock;     /* for everything below */
    pthread_cond_t cond;
    unsigned references;
    unsigned count, idle, waiting;
    bool stopping;
    struct list requests; /* waiting */
    pthread_t threads[WORKERS_MAX];
} pool = {
    .lifetime = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .cond = PTHREAD_COND_INITIALIZER,
    .requests = {&pool.requests, &pool.requests},
};

static void carry_out(struct block_request *request)
{
    request->result = block_execute(request->queue->node, request);
    block_finish_from_worker(request);
}

static void *worker_main(void *opaque)
{
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (list_empty(&pool.requests) && !pool.stopping) {
            pool.idle++;
            pthread_cond_wait(&pool.cond, &pool.lock);
            pool.idle--;
        }
        if (list_empty(&pool.requests))
            break;
        struct block_request *request = list_entry(pool.requests.next, struct block_request, node);
        list_del(&request->node);
        pool.waiting--;
        pthread_mutex_unlock(&pool.lock);
        carry_out(request);
        pthread_mutex_lock(&pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

void workers_get(void)
{
    pthread_mutex_lock(&pool.lifetime);
    pthread_mutex_lock(&pool.lock);
    pool.references++;
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.lifetime);
}

void workers_put(void)
{
    pthread_mutex_lock(&pool.lifetime);
    pthread_mutex_lock(&pool.lock);
    pool.stopping = --pool.references == 0;
    unsigned ending = pool.stopping ? pool.count : 0;
    pthread_cond_broadcast(&pool.cond);
    pthread_mutex_unlock(&pool.lock);

    for (unsigned i = 0; i < ending; i++)
        pthread_join(pool.threads[i], NULL);

    pthread_mutex_lock(&pool.lock);
    pool.count -= ending;
    pool.stopping = false;
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.lifetime);
}

void workers_submit(struct block_request *request)
{
    pthread_mutex_lock(&pool.lock);
    if (pool.waiting >= pool.idle && pool.count < WORKERS_MAX) {
        char name[16];
        snprintf(name, sizeof(name), "block-%u", pool.count);
        int rc = thread_start(&pool.threads[pool.count], THREAD_WORKER, name, worker_main, NULL);
        if (rc == 0) {
            pool.count++;
        } else if (pool.count == 0) {
            /* No thread at all: slow, but right. */
            pthread_mutex_unlock(&pool.lock);
            log_warning("block: no worker thread (errno %d), requests block their loop", -rc);
            carry_out(request);
            return;
        }
    }
    list_add_tail(&pool.requests, &request->node);
    pool.waiting++;
    pthread_cond_signal(&pool.cond);
    pthread_mutex_unlock(&pool.lock);
}
