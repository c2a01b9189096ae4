/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing to a qcow2 image. What is allocated and not shared is written in
 * place. Else as many clusters as possible are allocated in one go, what the
 * request leaves out of the first and last one is copied along (copy-on-
 * write), all in one write, and the L2 entries change when it is done. The
 * lock is held only in between; two requests on the same new cluster wait for
 * each other by their ranges in flight.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2_crypto.h"

#define MAX_PIECE MIB(64)

/* One piece of a request: clusters of the same way of being written. */
struct piece {
    uint64_t guest, len;          /* bytes to write */
    uint64_t iov_offset;          /* of them in the request */
    uint64_t first, count;        /* guest clusters */
    uint64_t host;                /* of the first cluster */
    uint64_t copy_from, copy_end; /* guest range that is written, with what is copied */
    bool allocated;               /* host clusters are new, refcounted by us */
    bool fresh;                   /* they read as zeros */
    bool whole;                   /* all subclusters become allocated */
    struct qcow2_inflight inflight;
    struct qcow2_l2_ref ref;
};

/* How one cluster is written. */
enum way {
    WAY_IN_PLACE, /* all of it is there */
    WAY_REUSE,    /* its host cluster is ours, but (partly) not in use yet */
    WAY_NEW,      /* a new host cluster; what is around comes from below or is zero */
    WAY_REPLACE,  /* a new host cluster; the old one is shared or compressed */
};

int qcow2_data_write(struct qcow2 *s, uint64_t host, const struct iovec *iov, unsigned count,
                     uint64_t iov_offset, uint64_t len, unsigned flags)
{
    if (s->crypto)
        return qcow2_crypto_write(s, host, len, iov, count, iov_offset, flags & BLOCK_FUA);
    return block_pwrite_slice(s->data, host, iov, count, iov_offset, len, flags & BLOCK_FUA);
}

/* ---------------------------------------------------------------- choosing */

static enum way choose(const struct qcow2 *s, uint64_t entry, uint64_t bitmap, uint64_t wanted)
{
    bool has_host = (entry & QCOW2_OFFSET_MASK) || (s->has_data_file && (entry & QCOW2_COPIED));
    if (entry & QCOW2_COMPRESSED)
        return WAY_REPLACE;
    if (!has_host)
        return WAY_NEW;
    if (!(entry & QCOW2_COPIED))
        /* A zero cluster that keeps shared space has nothing to copy, but a place to give up. */
        return entry & QCOW2_ZERO ? WAY_NEW : WAY_REPLACE;
    if (s->extended_l2 ? (bitmap & wanted) == wanted : !(entry & QCOW2_ZERO))
        return WAY_IN_PLACE;
    return WAY_REUSE;
}

static enum way way_of(const struct qcow2 *s, const struct piece *p, unsigned i)
{
    uint64_t start = (p->first + i) << s->cluster_bits;
    uint64_t wanted = s->extended_l2 ? qcow2_subclusters(s, start, p->guest, p->guest + p->len) : 0;
    return choose(s, qcow2_l2_entry(s, &p->ref, i), qcow2_l2_bitmap(s, &p->ref, i), wanted);
}

/* How many clusters from the first on go the same way. */
static uint64_t same_way(const struct qcow2 *s, const struct piece *p, enum way way, uint64_t max)
{
    uint64_t n = 1;
    uint64_t host = qcow2_l2_entry(s, &p->ref, 0) & QCOW2_OFFSET_MASK;
    for (; n < max && way_of(s, p, (unsigned)n) == way; n++) {
        if (way == WAY_REUSE && (qcow2_l2_entry(s, &p->ref, (unsigned)n) & QCOW2_OFFSET_MASK) !=
                                    host + (n << s->cluster_bits))
            break;
    }
    return n;
}

/* An image that was made to have its own metadata written to. Under lock. */
static int check_place(struct qcow2 *s, uint64_t guest, uint64_t host, uint64_t len)
{
    const char *what = s->has_data_file ? NULL : qcow2_metadata_at(s, host, len);
    return what ? qcow2_corruption(s, "a write to guest offset %#llx would hit %s",
                                   (unsigned long long)guest, what)
                : 0;
}

/* Host clusters for the piece; shortens it to what there is in a row. Under lock. */
static int place_piece(struct qcow2 *s, struct piece *p, enum way way)
{
    if (way == WAY_REUSE || s->has_data_file) {
        p->host = s->has_data_file ? p->first << s->cluster_bits
                                   : qcow2_l2_entry(s, &p->ref, 0) & QCOW2_OFFSET_MASK;
        return check_place(s, p->guest, p->host, p->count << s->cluster_bits);
    }
    p->allocated = true;
    return qcow2_alloc(s, &p->count, &p->host, &p->fresh);
}

/* Finds out what to do with the clusters at p->guest. 0, or 1: they can be written in place at
 * p->host. Under lock, which it drops now and then. */
static int prepare(struct qcow2 *s, struct piece *p)
{
    struct qcow2_run run;
    uint64_t busy;
    int rc = qcow2_lookup(s, p->guest, p->len, &run);
    while (rc == 0 && !(run.kind == QCOW2_NORMAL && run.writable)) {
        p->first = p->guest >> s->cluster_bits;
        p->count = ((p->guest + p->len - 1) >> s->cluster_bits) - p->first + 1;
        busy = qcow2_inflight_free(s, p->first, p->count);
        if (busy) {
            p->count = busy;
            break;
        }
        pthread_cond_wait(&s->inflight_cond, &s->lock);
        rc = qcow2_lookup(s, p->guest, p->len, &run);
    }
    if (rc < 0)
        return rc;
    if (run.kind == QCOW2_NORMAL && run.writable) {
        p->len = run.len;
        p->host = run.host;
        rc = check_place(s, p->guest, run.host, run.len);
        return rc < 0 ? rc : 1;
    }
    qcow2_inflight_begin(s, &p->inflight, p->first, p->count);
    rc = qcow2_l2_get(s, p->guest, true, &p->ref);
    if (rc == 0) {
        enum way way = way_of(s, p, 0);
        p->count = same_way(s, p, way, MIN(p->count, p->ref.count));
        p->whole = !s->extended_l2 || way == WAY_REPLACE;
        rc = place_piece(s, p, way);
    }
    if (rc < 0) {
        qcow2_l2_put(s, &p->ref);
        qcow2_inflight_end(s, &p->inflight);
        return rc;
    }
    uint64_t end = (p->first + p->count) << s->cluster_bits;
    uint64_t granule = p->whole ? s->cluster_size : UINT64_C(1) << s->subcluster_bits;
    p->len = MIN(p->len, end - p->guest);
    p->copy_from = ALIGN_DOWN(p->guest, granule);
    p->copy_end = ALIGN_UP(p->guest + p->len, granule);
    return 0;
}

/* ---------------------------------------------------------------- copying */

/* The present content of a guest range. *zero: all of it is zeros by its mapping, nothing was
 * read. Not under lock. */
static int read_old(struct qcow2 *s, uint64_t from, uint64_t end, uint8_t *buffer, bool *zero)
{
    const struct iovec iov = {.iov_base = buffer, .iov_len = end - from};
    const struct block_node *backing = s->node->backing;
    int rc = 0;
    *zero = true;
    for (uint64_t at = from; rc == 0 && at < end;) {
        struct qcow2_run run = {0};
        pthread_mutex_lock(&s->lock);
        rc = qcow2_lookup(s, at, end - at, &run);
        pthread_mutex_unlock(&s->lock);
        if (rc < 0)
            break;
        bool zeros = run.kind == QCOW2_ZEROS ||
                     (run.kind == QCOW2_UNALLOCATED && (!backing || at >= block_size(backing)));
        *zero &= zeros;
        rc = qcow2_read_run(s, &run, at, &iov, 1, at - from);
        at += run.len;
    }
    return rc;
}

/* Memory for the copied part in front or behind; NULL: there is none to write. */
static int copy_part(struct qcow2 *s, const struct piece *p, uint64_t from, uint64_t end,
                     uint8_t **buffer)
{
    bool zero;
    *buffer = NULL;
    if (from == end)
        return 0;
    if (posix_memalign((void **)buffer, 4096, end - from))
        return -ENOMEM;
    int rc = read_old(s, from, end, *buffer, &zero);
    if (rc < 0 || (zero && p->fresh && !s->crypto)) {
        free(*buffer);
        *buffer = NULL;
    }
    return rc;
}

static int write_with_copies(struct qcow2 *s, const struct piece *p, const struct iovec *iov,
                             unsigned count)
{
    cleanup_free uint8_t *head = NULL;
    cleanup_free uint8_t *tail = NULL;
    uint64_t end = p->guest + p->len, start = p->first << s->cluster_bits;
    int rc = copy_part(s, p, p->copy_from, p->guest, &head);
    if (rc == 0)
        rc = copy_part(s, p, end, p->copy_end, &tail);
    if (rc < 0)
        return rc;
    if (!head && !tail)
        return qcow2_data_write(s, p->host + (p->guest - start), iov, count, p->iov_offset, p->len,
                                0);
    cleanup_free struct iovec *all = malloc((count + 2) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    unsigned n = 0;
    uint64_t from = p->guest, len = p->len;
    if (head) {
        from = p->copy_from;
        len += p->guest - from;
        all[n++] = (struct iovec){.iov_base = head, .iov_len = p->guest - from};
    }
    n += iov_slice(iov, count, p->iov_offset, p->len, all + n, count);
    if (tail) {
        len += p->copy_end - end;
        all[n++] = (struct iovec){.iov_base = tail, .iov_len = p->copy_end - end};
    }
    return qcow2_data_write(s, p->host + (from - start), all, n, 0, len, 0);
}

/* ---------------------------------------------------------------- linking */

/* The L2 entries point to the new data. Under lock. */
static void link_piece(struct qcow2 *s, struct piece *p)
{
    uint64_t start = p->first << s->cluster_bits, end = start + (p->count << s->cluster_bits);
    /* Without memory to remember it, an old cluster leaks. */
    for (unsigned i = 0; p->allocated && i < p->count; i++)
        qcow2_free_entry(s, qcow2_l2_entry(s, &p->ref, i), false);
    if (p->whole)
        qcow2_link(s, &p->ref, (unsigned)p->count, p->first, p->host, start, end);
    else
        qcow2_link(s, &p->ref, (unsigned)p->count, p->first, p->host, p->copy_from, p->copy_end);
    s->data_barrier = true;
}

/* Ends a piece that was prepared. */
static void finish(struct qcow2 *s, struct piece *p, bool written)
{
    pthread_mutex_lock(&s->lock);
    if (written)
        link_piece(s, p);
    else if (p->allocated)
        qcow2_refcount_add(s, p->host >> s->cluster_bits, p->count, -1);
    qcow2_l2_put(s, &p->ref);
    qcow2_inflight_end(s, &p->inflight);
    pthread_mutex_unlock(&s->lock);
}

int qcow2_write_range(struct qcow2 *s, uint64_t offset, uint64_t len, const struct iovec *iov,
                      unsigned count, unsigned flags, bool *linked)
{
    int rc = 0;
    for (uint64_t done = 0; rc == 0 && done < len;) {
        struct piece p = {
            .guest = offset + done, .len = MIN(len - done, MAX_PIECE), .iov_offset = done};
        pthread_mutex_lock(&s->lock);
        int way = prepare(s, &p);
        pthread_mutex_unlock(&s->lock);
        if (way < 0)
            return way;
        if (way == 1) {
            rc = qcow2_data_write(s, p.host, iov, count, done, p.len, flags);
        } else {
            rc = write_with_copies(s, &p, iov, count);
            finish(s, &p, rc == 0);
            *linked = true;
        }
        done += p.len;
    }
    return rc;
}

int qcow2_pwritev(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count, unsigned flags)
{
    struct qcow2 *s = qcow2_of(node);
    bool linked = false;
    if (flags & BLOCK_COMPRESSED)
        return qcow2_write_compressed(node, offset, len, iov, count);
    int rc = qcow2_prepare_write(s);
    if (rc == 0)
        rc = qcow2_balance(s);
    if (rc < 0)
        return rc;
    pthread_rwlock_rdlock(&s->gate);
    unsigned epoch = qcow2_enter(s);
    rc = qcow2_track(s, offset, len);
    if (rc == 0)
        rc = qcow2_write_range(s, offset, len, iov, count, flags, &linked);
    qcow2_leave(s, epoch);
    if (rc == 0 && linked && block_is_durable(node, flags & BLOCK_FUA))
        rc = qcow2_flush(s);
    pthread_rwlock_unlock(&s->gate);
    return rc;
}
