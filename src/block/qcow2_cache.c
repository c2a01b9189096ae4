/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two metadata caches of a qcow2 image: slices of L2 tables and of
 * refcount blocks, found by their place in the file, least recently used ones
 * evicted first. L2 slices that changed are written only by qcow2_flush.c,
 * which knows the order; refcount slices may be written at any time, because
 * in memory they never hold a decrease that something on disk contradicts.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2.h"

static unsigned bucket_of(const struct qcow2 *s, const struct qcow2_cache *cache, uint64_t offset)
{
    uint64_t hash = (offset >> s->slice_bits) * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(hash >> 32) & (cache->bucket_count - 1);
}

int qcow2_cache_init(struct qcow2 *s, struct qcow2_cache *cache, uint64_t bytes)
{
    cache->limit = MAX(bytes >> s->slice_bits, UINT64_C(16));
    cache->bucket_count = 64;
    while (cache->bucket_count < cache->limit && cache->bucket_count < 1u << 16)
        cache->bucket_count *= 2;
    cache->buckets = calloc(cache->bucket_count, sizeof(struct qcow2_slice *));
    list_init(&cache->lru);
    return cache->buckets ? 0 : -ENOMEM;
}

static struct qcow2_slice **find(const struct qcow2 *s, const struct qcow2_cache *cache,
                                 uint64_t offset)
{
    struct qcow2_slice **at = &cache->buckets[bucket_of(s, cache, offset)];
    while (*at && (*at)->offset != offset)
        at = &(*at)->chain;
    return at;
}

static void unlink_slice(struct qcow2 *s, struct qcow2_cache *cache, struct qcow2_slice *slice)
{
    *find(s, cache, slice->offset) = slice->chain;
    list_del(&slice->lru);
    cache->dirty -= slice->dirty;
    slice->dirty = false;
    cache->count--;
    slice->gone = true;
    if (slice->pins == 0 && !slice->writing)
        free(slice);
}

void qcow2_cache_free(struct qcow2_cache *cache)
{
    if (!cache->buckets)
        return;
    list_for_each_safe (at, &cache->lru)
        free(list_entry(at, struct qcow2_slice, lru));
    free(cache->buckets);
    *cache = (struct qcow2_cache){0};
}

void qcow2_cache_forget(struct qcow2 *s, struct qcow2_cache *cache, uint64_t offset, uint64_t len)
{
    /* By address where the range is short, else by looking at everything. */
    if (len >> s->slice_bits <= cache->count) {
        for (uint64_t at = offset; at - offset < len; at += s->slice_size) {
            struct qcow2_slice *slice = *find(s, cache, at);
            if (slice)
                unlink_slice(s, cache, slice);
        }
        return;
    }
    list_for_each_safe (at, &cache->lru) {
        struct qcow2_slice *slice = list_entry(at, struct qcow2_slice, lru);
        if (slice->offset - offset < len)
            unlink_slice(s, cache, slice);
    }
}

/* A refcount slice is written under the lock to make room. */
static int write_now(struct qcow2 *s, struct qcow2_cache *cache, struct qcow2_slice *slice)
{
    int rc = qcow2_file_write(s, slice->offset, slice->data, s->slice_size);
    if (rc == 0) {
        slice->dirty = false;
        cache->dirty--;
        s->refcount_barrier = true;
    }
    return rc;
}

/* Evicts until the limit holds. What cannot go stays; qcow2_balance() bounds that. */
static void make_room(struct qcow2 *s, struct qcow2_cache *cache)
{
    list_for_each_safe (at, &cache->lru) {
        struct qcow2_slice *slice = list_entry(at, struct qcow2_slice, lru);
        if (cache->count < cache->limit)
            return;
        if (slice->pins || slice->loading || slice->writing)
            continue;
        if (slice->dirty && (cache == &s->l2 || write_now(s, cache, slice) < 0))
            continue;
        unlink_slice(s, cache, slice);
    }
}

static struct qcow2_slice *insert(struct qcow2 *s, struct qcow2_cache *cache, uint64_t offset)
{
    /* Most of a full L2 cache being dirty would make each look for room a long one. */
    if (cache->count >= cache->limit && cache->dirty < cache->limit)
        make_room(s, cache);
    struct qcow2_slice *slice = calloc(1, sizeof(*slice) + s->slice_size);
    if (!slice)
        return NULL;
    slice->offset = offset;
    slice->pins = 1;
    slice->loading = true;
    struct qcow2_slice **at = find(s, cache, offset);
    slice->chain = *at;
    *at = slice;
    list_add_tail(&cache->lru, &slice->lru);
    cache->count++;
    return slice;
}

static void touch(struct qcow2_cache *cache, struct qcow2_slice *slice)
{
    if (cache->lru.prev == &slice->lru)
        return;
    list_del(&slice->lru);
    list_add_tail(&cache->lru, &slice->lru);
}

static int load(struct qcow2 *s, struct qcow2_cache *cache, struct qcow2_slice *slice)
{
    bool unlocked = cache == &s->l2;
    if (unlocked)
        pthread_mutex_unlock(&s->lock);
    int rc = qcow2_file_read(s->file, slice->offset, slice->data, s->slice_size);
    if (unlocked)
        pthread_mutex_lock(&s->lock);
    slice->loading = false;
    slice->failed = rc < 0;
    pthread_cond_broadcast(&s->cache_cond);
    if (rc < 0 && !slice->gone)
        unlink_slice(s, cache, slice);
    return rc;
}

int qcow2_cache_get(struct qcow2 *s, struct qcow2_cache *cache, uint64_t offset,
                    struct qcow2_slice **out)
{
    struct qcow2_slice *slice = *find(s, cache, offset);
    int rc = 0;
    if (slice) {
        slice->pins++;
        while (slice->loading)
            pthread_cond_wait(&s->cache_cond, &s->lock);
        if (!slice->gone)
            touch(cache, slice);
        rc = slice->failed ? -EIO : 0;
    } else {
        slice = insert(s, cache, offset);
        if (!slice)
            return -ENOMEM;
        rc = load(s, cache, slice);
    }
    if (rc < 0) {
        qcow2_cache_put(cache, slice);
        return rc;
    }
    *out = slice;
    return 0;
}

struct qcow2_slice *qcow2_cache_peek(struct qcow2 *s, struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_slice *slice = *find(s, cache, offset);
    if (!slice || slice->loading)
        return NULL;
    touch(cache, slice);
    return slice;
}

void qcow2_cache_put(struct qcow2_cache *cache, struct qcow2_slice *slice)
{
    if (--slice->pins == 0 && slice->gone && !slice->writing)
        free(slice);
}
