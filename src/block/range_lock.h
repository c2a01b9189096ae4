/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges of a disk that one thread has for itself: what a job copies stays as
 * it is meanwhile, and a guest's write is not overtaken. First come, first
 * served; a thread holds one range at a time. Used by the filters of jobs.
 */
#ifndef KV_BLOCK_RANGE_LOCK_H
#define KV_BLOCK_RANGE_LOCK_H

#include <pthread.h>
#include <stdint.h>

#include "base/list.h"

struct range_locks {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct list held; /* and waiting, in order */
};

/* On the stack of who holds it. */
struct range_lock {
    struct list node;
    uint64_t offset, end; /* bytes */
};

void range_locks_init(struct range_locks *locks);
/* Nothing is held. */
void range_locks_destroy(struct range_locks *locks);
/* Waits until nobody who came before has any of it. */
void range_lock(struct range_locks *locks, struct range_lock *range, uint64_t offset, uint64_t len);
void range_unlock(struct range_locks *locks, struct range_lock *range);

#endif
