/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing metadata back in the order that survives a power cut (see qcow2.h),
 * and giving freed clusters back when neither the disk nor a request under way
 * refers to them any more.
 *
 * A write-back works on copies: what is dirty when it begins is copied under
 * the lock, written without it, so that requests go on meanwhile. An L2 slice
 * and the refcounts it relies on are copied in the same moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "block/qcow2.h"

#define SECTOR 512u
#define ENTRIES_PER_SECTOR (SECTOR / 8)
#define FREED_MAX_BYTES MIB(256)
#define FREED_MAX_CLUSTERS 16384u
#define POLL_NS 50000

/* ---------------------------------------------------------------- epochs */

unsigned qcow2_enter(struct qcow2 *s)
{
    for (;;) {
        unsigned epoch = atomic_load(&s->epoch);
        atomic_fetch_add(&s->users[epoch & 1], 1);
        if (atomic_load(&s->epoch) == epoch)
            return epoch;
        atomic_fetch_sub(&s->users[epoch & 1], 1);
    }
}

void qcow2_leave(struct qcow2 *s, unsigned epoch)
{
    atomic_fetch_sub(&s->users[epoch & 1], 1);
}

void qcow2_exclusive_begin(struct qcow2 *s)
{
    pthread_rwlock_wrlock(&s->gate);
    atomic_store(&s->exclusive, true);
    /* Mapped requests are with the kernel and come back by themselves. */
    while (atomic_load(&s->users[0]) || atomic_load(&s->users[1]))
        nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
}

void qcow2_exclusive_end(struct qcow2 *s)
{
    atomic_store(&s->exclusive, false);
    pthread_rwlock_unlock(&s->gate);
}

/* ---------------------------------------------------------------- copies of slices */

struct copies {
    struct qcow2_slice **slices;
    uint8_t *bytes;
    size_t count, capacity;
};

static int copies_init(const struct qcow2 *s, struct copies *copies, size_t capacity)
{
    *copies = (struct copies){.capacity = capacity};
    if (capacity == 0)
        return 0;
    copies->slices = malloc(capacity * sizeof(struct qcow2_slice *));
    if (!copies->slices || posix_memalign((void **)&copies->bytes, 4096, capacity << s->slice_bits))
        return -ENOMEM;
    return 0;
}

static void copies_free(struct copies *copies)
{
    free(copies->slices);
    free(copies->bytes);
}

static int by_offset(const void *a, const void *b)
{
    const struct qcow2_slice *x = *(struct qcow2_slice *const *)a,
                             *y = *(struct qcow2_slice *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Under lock. */
static void copies_take(struct qcow2 *s, struct qcow2_cache *cache, struct copies *copies)
{
    size_t left = cache->dirty;
    list_for_each (at, &cache->lru) {
        struct qcow2_slice *slice = list_entry(at, struct qcow2_slice, lru);
        if (left == 0 || copies->count == copies->capacity)
            break;
        if (!slice->dirty)
            continue;
        left--;
        copies->slices[copies->count++] = slice;
        slice->dirty = false;
        slice->writing = true;
        cache->dirty--;
    }
    if (copies->count > 1)
        qsort(copies->slices, copies->count, sizeof(struct qcow2_slice *), by_offset);
    for (size_t i = 0; i < copies->count; i++)
        memcpy(copies->bytes + (i << s->slice_bits), copies->slices[i]->data, s->slice_size);
}

/* Neighbours go in one write. Not under lock. */
static int copies_write(struct qcow2 *s, const struct copies *copies)
{
    for (size_t i = 0, n; i < copies->count; i += n) {
        uint64_t offset = copies->slices[i]->offset;
        for (n = 1; i + n < copies->count; n++) {
            if (copies->slices[i + n]->offset != offset + ((uint64_t)n << s->slice_bits))
                break;
        }
        int rc = qcow2_file_write(s, offset, copies->bytes + (i << s->slice_bits),
                                  (uint64_t)n << s->slice_bits);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Under lock. written false: they are dirty again. */
static void copies_release(struct qcow2 *s, struct qcow2_cache *cache, struct copies *copies,
                           bool written)
{
    for (size_t i = 0; i < copies->count; i++) {
        struct qcow2_slice *slice = copies->slices[i];
        slice->writing = false;
        if (!written && !slice->gone)
            qcow2_cache_dirty(cache, slice);
        if (slice->gone && slice->pins == 0)
            free(slice);
    }
    copies->count = 0;
    pthread_cond_broadcast(&s->cache_cond);
}

int qcow2_refcounts_write(struct qcow2 *s)
{
    list_for_each (at, &s->refcounts.lru) {
        struct qcow2_slice *slice = list_entry(at, struct qcow2_slice, lru);
        if (!slice->dirty && !slice->writing)
            continue;
        int rc = qcow2_file_write(s, slice->offset, slice->data, s->slice_size);
        if (rc < 0)
            return rc;
        s->refcount_barrier = true;
        /* An older copy may still be on its way to the same place: then it is written again. */
        if (slice->writing) {
            qcow2_cache_dirty(&s->refcounts, slice);
        } else {
            slice->dirty = false;
            s->refcounts.dirty--;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- tables */

/* Copies of the changed sectors of L1 or the refcount table. */
struct sectors {
    uint64_t table_offset;
    uint64_t *bytes;
    uint32_t *numbers;
    size_t count;
};

static void sectors_free(struct sectors *sectors)
{
    free(sectors->bytes);
    free(sectors->numbers);
}

/* Under lock. */
static int sectors_take(struct sectors *out, uint64_t table_offset, const uint64_t *table,
                        uint64_t entries, uint8_t *flags, bool *any)
{
    *out = (struct sectors){.table_offset = table_offset};
    if (!*any)
        return 0;
    size_t all = entries / ENTRIES_PER_SECTOR + (entries % ENTRIES_PER_SECTOR != 0), dirty = 0;
    for (size_t i = 0; i < all; i++)
        dirty += flags[i];
    out->bytes = calloc(dirty ? dirty : 1, SECTOR);
    out->numbers = calloc(dirty ? dirty : 1, sizeof(uint32_t));
    if (!out->bytes || !out->numbers)
        return -ENOMEM;
    for (size_t i = 0; i < all; i++) {
        if (!flags[i])
            continue;
        flags[i] = 0;
        uint64_t first = i * ENTRIES_PER_SECTOR;
        for (uint64_t j = 0; j < ENTRIES_PER_SECTOR && first + j < entries; j++)
            out->bytes[out->count * ENTRIES_PER_SECTOR + j] = htobe64(table[first + j]);
        out->numbers[out->count++] = (uint32_t)i;
    }
    *any = false;
    return 0;
}

/* They were not written: under lock. */
static void mark_sectors(const struct sectors *sectors, uint64_t table_offset, uint8_t *flags,
                         bool *any)
{
    for (size_t i = 0; sectors->table_offset == table_offset && i < sectors->count; i++) {
        flags[sectors->numbers[i]] = 1;
        *any = true;
    }
}

/* Under lock, so that the table does not move meanwhile; if it did, all of it was written. */
static int sectors_write(struct qcow2 *s, struct sectors *sectors, uint64_t table_offset,
                         uint64_t entries, uint8_t *flags, bool *any)
{
    int rc = 0;
    if (sectors->table_offset != table_offset)
        return 0;
    for (size_t i = 0; i < sectors->count; i++) {
        uint64_t first = (uint64_t)sectors->numbers[i] * ENTRIES_PER_SECTOR;
        uint64_t bytes = MIN(entries - first, (uint64_t)ENTRIES_PER_SECTOR) * 8;
        if (rc == 0)
            rc = qcow2_file_write(s, table_offset + first * 8,
                                  sectors->bytes + i * ENTRIES_PER_SECTOR, bytes);
        if (rc < 0) {
            flags[sectors->numbers[i]] = 1;
            *any = true;
        }
    }
    return rc;
}

/* ---------------------------------------------------------------- one write-back */

/* What belongs together: refcounts and refcount table before the L2 slices. */
struct batch {
    struct copies refcounts, l2;
    struct sectors reftable;
    bool data_barrier, refcount_barrier; /* needed in front of the L2 slices */
};

static int batch_take(struct qcow2 *s, struct batch *batch)
{
    *batch = (struct batch){0};
    bool with_refcounts = !s->lazy;
    int rc = copies_init(s, &batch->l2, s->l2.dirty);
    if (rc == 0)
        rc = copies_init(s, &batch->refcounts, with_refcounts ? s->refcounts.dirty : 0);
    if (rc == 0 && with_refcounts)
        rc = sectors_take(&batch->reftable, s->header.reftable_offset, s->reftable,
                          s->reftable_entries, s->reftable_dirty, &s->reftable_dirty_any);
    if (rc < 0)
        return rc;
    copies_take(s, &s->l2, &batch->l2);
    copies_take(s, &s->refcounts, &batch->refcounts);
    if (batch->l2.count == 0)
        return 0;
    batch->data_barrier = s->data_barrier;
    batch->refcount_barrier =
        with_refcounts && (s->refcount_barrier || batch->refcounts.count || batch->reftable.count);
    s->data_barrier = s->refcount_barrier = false;
    return 0;
}

static int sync_data(struct qcow2 *s)
{
    int rc = s->data != s->file ? block_flush(s->data) : 0;
    return rc < 0 ? rc : block_flush(s->file);
}

/* The reference side of a batch, up to the barrier. */
static int write_refcounts(struct qcow2 *s, struct batch *batch)
{
    int rc = copies_write(s, &batch->refcounts);
    if (rc == 0 && batch->reftable.count) {
        rc = block_flush(s->file);
        pthread_mutex_lock(&s->lock);
        if (rc == 0)
            rc = sectors_write(s, &batch->reftable, s->header.reftable_offset, s->reftable_entries,
                               s->reftable_dirty, &s->reftable_dirty_any);
        pthread_mutex_unlock(&s->lock);
    }
    if (rc == 0 && (batch->data_barrier || batch->refcount_barrier))
        rc = sync_data(s);
    return rc;
}

/* All that is dirty now, but L1. In the one write-back, under lock, which is dropped meanwhile. */
static int write_batch(struct qcow2 *s)
{
    struct batch batch;
    int rc = batch_take(s, &batch);
    if (rc == 0) {
        pthread_mutex_unlock(&s->lock);
        rc = write_refcounts(s, &batch);
        bool counted = rc == 0;
        if (rc == 0)
            rc = copies_write(s, &batch.l2);
        pthread_mutex_lock(&s->lock);
        if (!counted) {
            s->refcount_barrier |= batch.refcount_barrier;
            s->data_barrier |= batch.data_barrier;
        }
        /* Without L2 slices there was no barrier behind them. */
        s->refcount_barrier |= batch.l2.count == 0 && batch.refcounts.count;
        copies_release(s, &s->refcounts, &batch.refcounts, counted);
        copies_release(s, &s->l2, &batch.l2, rc == 0);
        if (!counted)
            mark_sectors(&batch.reftable, s->header.reftable_offset, s->reftable_dirty,
                         &s->reftable_dirty_any);
    }
    copies_free(&batch.refcounts);
    copies_free(&batch.l2);
    sectors_free(&batch.reftable);
    return rc;
}

/* A barrier for all that was written before. In the one write-back, under lock, which is dropped.
 */
static int sync_all(struct qcow2 *s)
{
    bool data = s->data_barrier, refcounts = s->refcount_barrier;
    s->data_barrier = s->refcount_barrier = false;
    pthread_mutex_unlock(&s->lock);
    int rc = sync_data(s);
    pthread_mutex_lock(&s->lock);
    if (rc < 0) {
        s->data_barrier |= data;
        s->refcount_barrier |= refcounts;
    }
    return rc;
}

static int write_l1(struct qcow2 *s, struct sectors *l1)
{
    if (l1->count == 0)
        return 0;
    int rc = sync_all(s);
    if (rc == 0)
        rc = sectors_write(s, l1, s->header.l1_offset, s->header.l1_size, s->l1_dirty,
                           &s->l1_dirty_any);
    else
        mark_sectors(l1, s->header.l1_offset, s->l1_dirty, &s->l1_dirty_any);
    return rc;
}

/* ---------------------------------------------------------------- freed clusters */

/* Punches out what of a range is about to be free. In the one write-back, under lock, which is
 * dropped meanwhile; the clusters still have their reference, so nobody takes them. */
static void discard_unshared(struct qcow2 *s, const struct qcow2_freed *item)
{
    uint64_t first = item->offset >> s->cluster_bits, start = 0, refcount;
    for (uint64_t i = 0; i <= item->count; i++) {
        bool sole =
            i < item->count && qcow2_refcount_get(s, first + i, &refcount) == 0 && refcount == 1;
        if (sole)
            continue;
        if (i > start) {
            pthread_mutex_unlock(&s->lock);
            block_discard(s->file, item->offset + (start << s->cluster_bits),
                          (i - start) << s->cluster_bits);
            pthread_mutex_lock(&s->lock);
        }
        start = i + 1;
    }
}

static void release_items(struct qcow2 *s, struct qcow2_freed *items)
{
    while (items) {
        struct qcow2_freed *next = items->next;
        if (items->discard && s->file->info.can_discard)
            discard_unshared(s, items);
        if (qcow2_refcount_add(s, items->offset >> s->cluster_bits, items->count, -1) < 0)
            qcow2_corruption(s, "freed clusters at %#llx were not in use",
                             (unsigned long long)items->offset);
        s->freed_clusters -= items->count;
        free(items);
        items = next;
    }
}

static void append(struct qcow2_freed **list, struct qcow2_freed *items)
{
    while (*list)
        list = &(*list)->next;
    *list = items;
}

/* In the one write-back, under lock. */
static void reclaim(struct qcow2 *s)
{
    while (s->grace || s->settled) {
        if (!s->grace) {
            s->grace = take_ptr(s->settled);
            atomic_fetch_add(&s->epoch, 1);
        }
        if (atomic_load(&s->users[(atomic_load(&s->epoch) & 1) ^ 1]))
            return;
        release_items(s, take_ptr(s->grace));
    }
}

/* ---------------------------------------------------------------- border */

static bool is_clean(const struct qcow2 *s)
{
    return !s->l2.dirty && !s->l1_dirty_any && !s->freed && !s->settled && !s->grace &&
           (s->lazy || (!s->refcounts.dirty && !s->reftable_dirty_any));
}

static int flush_locked(struct qcow2 *s)
{
    struct sectors l1;
    struct qcow2_freed *freed = take_ptr(s->freed);
    int rc = sectors_take(&l1, s->header.l1_offset, s->l1, s->header.l1_size, s->l1_dirty,
                          &s->l1_dirty_any);
    if (rc == 0) {
        rc = write_batch(s);
        if (rc == 0)
            rc = write_l1(s, &l1);
        else
            mark_sectors(&l1, s->header.l1_offset, s->l1_dirty, &s->l1_dirty_any);
    }
    sectors_free(&l1);
    if (rc == 0)
        rc = sync_all(s);
    append(rc == 0 ? &s->settled : &s->freed, freed);
    if (rc == 0)
        reclaim(s);
    return rc;
}

static int flush_alone(struct qcow2 *s)
{
    pthread_mutex_lock(&s->lock);
    bool clean = is_clean(s);
    int rc = clean ? 0 : flush_locked(s);
    pthread_mutex_unlock(&s->lock);
    return clean ? sync_data(s) : rc;
}

/*
 * Who comes while a write-back runs waits for the next one, together with all who came: that one
 * begins after their requests were done, so it is theirs as well. An error of a later one is told
 * too, which is safe.
 */
int qcow2_flush(struct qcow2 *s)
{
    struct qcow2_flush *flush = &s->flush;
    pthread_mutex_lock(&s->flush_lock);
    uint64_t mine = flush->begun + 1;
    while (flush->running && flush->ended < mine)
        pthread_cond_wait(&flush->cond, &s->flush_lock);
    if (flush->ended < mine) {
        flush->running = true;
        flush->begun++;
        pthread_mutex_unlock(&s->flush_lock);
        int rc = flush_alone(s);
        pthread_mutex_lock(&s->flush_lock);
        if (rc < 0) {
            flush->failed = mine;
            flush->error = rc;
        }
        flush->ended = mine;
        flush->running = false;
        pthread_cond_broadcast(&flush->cond);
    }
    int rc = flush->failed >= mine ? flush->error : 0;
    pthread_mutex_unlock(&s->flush_lock);
    return rc;
}

int qcow2_balance(struct qcow2 *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t freed_max = MAX(FREED_MAX_BYTES >> s->cluster_bits, (uint64_t)16);
    bool needed = s->l2.dirty > s->l2.limit / 2 || s->refcounts.dirty > s->refcounts.limit ||
                  s->freed_clusters > MIN(freed_max, (uint64_t)FREED_MAX_CLUSTERS);
    pthread_mutex_unlock(&s->lock);
    return needed ? qcow2_flush(s) : 0;
}
