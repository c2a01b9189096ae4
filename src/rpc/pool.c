/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The workers; see pool.h. */
#include "rpc/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum kind {
    ORDINARY,
    PRIORITY,
    KINDS,
};

struct pool {
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t work[KINDS];
    pthread_cond_t ended;    /* a worker, or while draining a job */
    struct list jobs[KINDS]; /* ORDINARY: those that only ordinary workers may take */
    uint64_t turn;
    unsigned waiting;
    unsigned workers[KINDS], free[KINDS];
    struct pool_limits limits;
    bool ending, draining;
};

struct worker {
    struct pool *pool;
    enum kind kind;
};

static unsigned bound(const struct pool *pool, enum kind kind)
{
    return kind == ORDINARY ? pool->limits.max : pool->limits.priority;
}

static struct pool_job *first(struct list *jobs)
{
    return list_empty(jobs) ? NULL : list_entry(jobs->next, struct pool_job, node);
}

/* Whose turn it is among what a worker of the kind may do. */
static struct pool_job *take(struct pool *pool, enum kind kind)
{
    struct pool_job *job = first(&pool->jobs[PRIORITY]);
    struct pool_job *other = kind == ORDINARY ? first(&pool->jobs[ORDINARY]) : NULL;
    if (!job || (other && other->turn < job->turn))
        job = other;
    if (!job)
        return NULL;
    list_del(&job->node);
    pool->waiting--;
    return job;
}

static void *work(void *opaque)
{
    struct worker self = *(struct worker *)opaque;
    struct pool *pool = self.pool;
    free(opaque);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct pool_job *job = take(pool, self.kind);
        if (job) {
            pool->free[self.kind]--;
            pthread_mutex_unlock(&pool->lock);
            job->run(job);
            pthread_mutex_lock(&pool->lock);
            pool->free[self.kind]++;
            if (pool->draining)
                pthread_cond_broadcast(&pool->ended);
            continue;
        }
        if (pool->ending || pool->workers[self.kind] > bound(pool, self.kind))
            break;
        pthread_cond_wait(&pool->work[self.kind], &pool->lock);
    }
    pool->free[self.kind]--;
    pool->workers[self.kind]--;
    pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* With the lock. Signals are the main thread's. */
static void add_worker(struct pool *pool, enum kind kind)
{
    struct worker *worker = malloc(sizeof(*worker));
    if (!worker)
        return;
    *worker = (struct worker){pool, kind};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_t thread;
    if (pthread_create(&thread, &attributes, work, worker) == 0) {
        pool->workers[kind]++;
        pool->free[kind]++;
    } else {
        free(worker);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

static int check(const struct pool_limits *limits, struct kv_error *err)
{
    if (limits->max == 0 || limits->min > limits->max)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "workers: at least %u and at most %u; at most has to be 1 or more and "
                            "not below at least",
                            limits->min, limits->max);
    if (limits->max > POOL_WORKERS_MAX || limits->priority > POOL_WORKERS_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "workers: %u and %u with priority; %u are possible", limits->max,
                            limits->priority, POOL_WORKERS_MAX);
    return 0;
}

/* With the lock. */
static void apply(struct pool *pool, const struct pool_limits *limits)
{
    pool->limits = *limits;
    while (pool->workers[ORDINARY] < limits->min) {
        unsigned before = pool->workers[ORDINARY];
        add_worker(pool, ORDINARY);
        if (pool->workers[ORDINARY] == before)
            break;
    }
    for (int kind = 0; kind < KINDS; kind++)
        pthread_cond_broadcast(&pool->work[kind]);
}

int pool_new(struct pool **out, const struct pool_limits *limits, struct kv_error *err)
{
    int r = check(limits, err);
    if (r < 0)
        return r;
    struct pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "workers");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->ended, NULL);
    for (int kind = 0; kind < KINDS; kind++) {
        pthread_cond_init(&pool->work[kind], NULL);
        list_init(&pool->jobs[kind]);
    }
    pthread_mutex_lock(&pool->lock);
    apply(pool, limits);
    pthread_mutex_unlock(&pool->lock);
    *out = pool;
    return 0;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    for (int kind = 0; kind < KINDS; kind++)
        pthread_cond_broadcast(&pool->work[kind]);
    while (pool->workers[ORDINARY] || pool->workers[PRIORITY])
        pthread_cond_wait(&pool->ended, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    for (int kind = 0; kind < KINDS; kind++)
        pthread_cond_destroy(&pool->work[kind]);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void pool_drain(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->draining = true;
    while (pool->waiting || pool->free[ORDINARY] < pool->workers[ORDINARY] ||
           pool->free[PRIORITY] < pool->workers[PRIORITY])
        pthread_cond_wait(&pool->ended, &pool->lock);
    pool->draining = false;
    pthread_mutex_unlock(&pool->lock);
}

void pool_submit(struct pool *pool, struct pool_job *job, bool priority)
{
    enum kind kind = priority ? PRIORITY : ORDINARY;
    pthread_mutex_lock(&pool->lock);
    job->turn = pool->turn++;
    list_add_tail(&pool->jobs[kind], &job->node);
    pool->waiting++;
    if (pool->free[ORDINARY] < pool->waiting) {
        if (pool->workers[ORDINARY] < pool->limits.max)
            add_worker(pool, ORDINARY);
        else if (priority && !pool->free[PRIORITY] &&
                 pool->workers[PRIORITY] < pool->limits.priority)
            add_worker(pool, PRIORITY);
    }
    pthread_cond_signal(&pool->work[ORDINARY]);
    if (priority && pool->free[PRIORITY])
        pthread_cond_signal(&pool->work[PRIORITY]);
    pthread_mutex_unlock(&pool->lock);
}

int pool_set_limits(struct pool *pool, const struct pool_limits *limits, struct kv_error *err)
{
    int r = check(limits, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&pool->lock);
    apply(pool, limits);
    pthread_mutex_unlock(&pool->lock);
    return 0;
}

void pool_get_figures(struct pool *pool, struct pool_figures *out)
{
    pthread_mutex_lock(&pool->lock);
    *out = (struct pool_figures){
        .limits = pool->limits,
        .workers = pool->workers[ORDINARY],
        .free = pool->free[ORDINARY],
        .priority_workers = pool->workers[PRIORITY],
        .waiting = pool->waiting,
    };
    pthread_mutex_unlock(&pool->lock);
}
