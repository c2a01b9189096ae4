/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges that one thread has for itself; see range_lock.h. */
#include "block/range_lock.h"

void range_locks_init(struct range_locks *locks)
{
    pthread_mutex_init(&locks->lock, NULL);
    pthread_cond_init(&locks->cond, NULL);
    list_init(&locks->held);
}

void range_locks_destroy(struct range_locks *locks)
{
    pthread_cond_destroy(&locks->cond);
    pthread_mutex_destroy(&locks->lock);
}

/* Somebody who came before has some of it. */
static bool must_wait(const struct range_locks *locks, const struct range_lock *range)
{
    for (const struct list *pos = range->node.prev; pos != &locks->held; pos = pos->prev) {
        const struct range_lock *other = list_entry(pos, struct range_lock, node);
        if (other->offset < range->end && range->offset < other->end)
            return true;
    }
    return false;
}

void range_lock(struct range_locks *locks, struct range_lock *range, uint64_t offset, uint64_t len)
{
    range->offset = offset;
    range->end = offset + len;
    pthread_mutex_lock(&locks->lock);
    list_add_tail(&locks->held, &range->node);
    while (must_wait(locks, range))
        pthread_cond_wait(&locks->cond, &locks->lock);
    pthread_mutex_unlock(&locks->lock);
}

void range_unlock(struct range_locks *locks, struct range_lock *range)
{
    pthread_mutex_lock(&locks->lock);
    list_del(&range->node);
    pthread_cond_broadcast(&locks->cond);
    pthread_mutex_unlock(&locks->lock);
}
