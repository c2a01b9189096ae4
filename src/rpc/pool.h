/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Worker threads. Ordinary workers take any job in the order of arrival; priority workers only
 * jobs that never wait for a monitor, so that these get through when all others wait. Workers
 * are made when there is more to do than workers are free, up to the bound.
 */
#ifndef KV_RPC_POOL_H
#define KV_RPC_POOL_H

#include <stdbool.h>

#include "base/error.h"
#include "base/list.h"

struct pool;

/* Embedded in what is to be done. */
struct pool_job {
    struct list node;
    void (*run)(struct pool_job *job);
    uint64_t turn; /* the pool's */
};

struct pool_limits {
    unsigned min, max; /* ordinary workers that there always are, and at most are */
    unsigned priority; /* priority workers */
};

struct pool_figures {
    struct pool_limits limits;
    unsigned workers, free, priority_workers, waiting;
};

#define POOL_WORKERS_MAX 1024

int pool_new(struct pool **out, const struct pool_limits *limits, struct kv_error *err);

/* Waits until all jobs are done, those that still wait too, and ends the threads. */
void pool_free(struct pool *pool);

/* Waits until nothing is being done nor waits. */
void pool_drain(struct pool *pool);

/* Any thread. Never fails: without threads to be had, those there are do it. */
void pool_submit(struct pool *pool, struct pool_job *job, bool priority);

/* -EINVAL for limits that contradict each other or are above POOL_WORKERS_MAX. */
int pool_set_limits(struct pool *pool, const struct pool_limits *limits, struct kv_error *err);

void pool_get_figures(struct pool *pool, struct pool_figures *out);

#endif
