/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zeros and discards: changes of the mapping alone for whole clusters (or
 * subclusters), written zeros for the rest. What each kind of cluster turns
 * into is QEMU's choice: a discarded cluster reads as zeros where the format
 * can say so.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2.h"

#define ALL_ZERO (UINT64_C(0xffffffff) << 32)
#define EMPTY_PIECE GIB(1) /* bytes between two looks at how much metadata is dirty */

enum purpose { ZERO_KEEP, ZERO_UNMAP, DISCARD, DISCARD_FULLY };

static bool below_is_empty(const struct qcow2 *s)
{
    return !s->node->backing && !s->backing_path;
}

struct change {
    uint64_t entry, bitmap;
    bool free_old;
};

/* What becomes of a whole cluster. */
static struct change change_cluster(const struct qcow2 *s, uint64_t entry, uint64_t bitmap,
                                    enum purpose purpose)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK;
    bool compressed = entry & QCOW2_COMPRESSED;
    bool has_host = !compressed && (host || (s->has_data_file && (entry & QCOW2_COPIED)));
    bool empty = !compressed && !has_host && !(entry & QCOW2_ZERO) && !bitmap;
    struct change same = {entry, bitmap, false}, none = {0, 0, true};
    struct change zero = {s->extended_l2 ? 0 : QCOW2_ZERO, ALL_ZERO, true};

    if (purpose == DISCARD_FULLY)
        return none;
    if (empty && below_is_empty(s))
        return same;
    if (purpose == DISCARD && !s->v3)
        return none;
    if (has_host && (purpose == ZERO_KEEP || s->has_data_file)) {
        zero.entry |= entry & (QCOW2_OFFSET_MASK | QCOW2_COPIED);
        zero.free_old = false;
    }
    return zero;
}

/* Subclusters alone; the host cluster stays. */
static struct change change_subclusters(uint64_t entry, uint64_t bitmap, uint64_t bits)
{
    return (struct change){entry, (bitmap & ~bits) | bits << 32, false};
}

static uint64_t range_bits(const struct qcow2 *s, uint64_t from, uint64_t to)
{
    uint64_t first = from >> s->subcluster_bits, end = to >> s->subcluster_bits;
    return (BIT(end) - 1) & ~(BIT(first) - 1);
}

/* Entries of one slice. Under lock with the range in flight. */
static void change_entries(struct qcow2 *s, const struct qcow2_l2_ref *ref, uint64_t offset,
                           uint64_t end, enum purpose purpose)
{
    unsigned i = 0;
    for (uint64_t at = offset; at < end; i++) {
        uint64_t start = ALIGN_DOWN(at, s->cluster_size), stop = MIN(end, start + s->cluster_size);
        uint64_t entry = qcow2_l2_entry(s, ref, i), bitmap = qcow2_l2_bitmap(s, ref, i);
        bool whole = at == start && stop == start + s->cluster_size;
        struct change to =
            whole ? change_cluster(s, entry, bitmap, purpose)
                  : change_subclusters(entry, bitmap, range_bits(s, at - start, stop - start));
        if (to.entry != entry || (s->extended_l2 && to.bitmap != bitmap)) {
            qcow2_l2_set(s, ref, i, to.entry, to.bitmap);
            if (to.free_old)
                qcow2_free_entry(s, entry, purpose != ZERO_KEEP);
        }
        at = stop;
    }
}

/* A part of a subcluster range must not hit a compressed cluster: those are written. */
static bool is_compressed(struct qcow2 *s, const struct qcow2_l2_ref *ref)
{
    return qcow2_l2_entry(s, ref, 0) & QCOW2_COMPRESSED;
}

/* offset and end are multiples of the granule. *done: bytes that were changed, or need not be.
 * 1: they must be written instead. */
static int change_piece(struct qcow2 *s, uint64_t offset, uint64_t end, enum purpose purpose,
                        uint64_t *done)
{
    struct qcow2_l2_ref ref;
    uint64_t first = offset >> s->cluster_bits;
    uint64_t table_end =
        ALIGN_DOWN(offset, BIT(s->cluster_bits + s->l2_bits)) + BIT(s->cluster_bits + s->l2_bits);
    bool makes = purpose <= ZERO_UNMAP || (purpose == DISCARD && s->v3);
    int rc = 0;

    pthread_mutex_lock(&s->lock);
    if (!(s->l1[qcow2_l1_index(s, offset)] & QCOW2_OFFSET_MASK) && (below_is_empty(s) || !makes)) {
        /* The range may be in flight, but not in a way that counts: it was not written before. */
        *done = MIN(end, table_end) - offset;
        pthread_mutex_unlock(&s->lock);
        return 0;
    }
    struct qcow2_inflight inflight;
    uint64_t per_slice = (uint64_t)(s->slice_size / s->l2_entry_size) << s->cluster_bits;
    end = MIN(end, ALIGN_DOWN(offset, per_slice) + per_slice);
    if (qcow2_in_cluster(s, offset) || end < offset + s->cluster_size)
        end = MIN(end, ALIGN_DOWN(offset, s->cluster_size) + s->cluster_size);
    else
        end = ALIGN_DOWN(end, s->cluster_size);
    qcow2_inflight_begin(s, &inflight, first, ((end - 1) >> s->cluster_bits) - first + 1);
    rc = qcow2_l2_get(s, offset, true, &ref);
    if (rc == 0) {
        bool part = end - offset < s->cluster_size;
        if (part && is_compressed(s, &ref))
            rc = 1;
        else
            change_entries(s, &ref, offset, end, purpose);
        qcow2_l2_put(s, &ref);
    }
    qcow2_inflight_end(s, &inflight);
    pthread_mutex_unlock(&s->lock);
    *done = end - offset;
    return rc;
}

static int write_zeros(struct qcow2 *s, uint64_t offset, uint64_t len, bool *linked)
{
    int rc = 0;
    len = MIN(len, block_size(s->node) - MIN(offset, block_size(s->node)));
    while (rc == 0 && len) {
        const struct iovec iov = {.iov_base = (void *)block_zeros(),
                                  .iov_len = MIN(len, BLOCK_ZEROS_SIZE)};
        rc = qcow2_write_range(s, offset, iov.iov_len, &iov, 1, 0, linked);
        offset += iov.iov_len;
        len -= iov.iov_len;
    }
    return rc;
}

/* What is at an end of the range and no whole granule; nothing to do where it reads as zeros. */
static int zero_part(struct qcow2 *s, uint64_t offset, uint64_t end, bool *linked)
{
    int rc = 0;
    while (rc == 0 && offset < end) {
        struct qcow2_run run = {0};
        pthread_mutex_lock(&s->lock);
        rc = qcow2_lookup(s, offset, end - offset, &run);
        pthread_mutex_unlock(&s->lock);
        bool zeros = run.kind == QCOW2_ZEROS ||
                     (run.kind == QCOW2_UNALLOCATED && !s->node->backing && !s->backing_path);
        if (rc == 0 && !zeros)
            rc = write_zeros(s, offset, run.len, linked);
        offset += run.len;
    }
    return rc;
}

static int zero_range(struct qcow2 *s, uint64_t offset, uint64_t end, enum purpose purpose,
                      bool *linked)
{
    uint64_t granule = UINT64_C(1) << s->subcluster_bits;
    bool to_the_end = end == block_size(s->node);
    uint64_t from = ALIGN_UP(offset, granule);
    uint64_t to = to_the_end ? ALIGN_UP(end, granule) : ALIGN_DOWN(end, granule);
    /* Without a zero flag an unallocated cluster must do, if nothing shines through. */
    bool by_mapping = s->v3 || (purpose == ZERO_UNMAP && below_is_empty(s));
    if (!by_mapping || from >= to)
        return zero_part(s, offset, end, linked);
    int rc = zero_part(s, offset, from, linked);
    while (rc >= 0 && from < to) {
        uint64_t done = 0;
        rc = change_piece(s, from, to, s->v3 ? purpose : DISCARD, &done);
        if (rc == 1)
            rc = write_zeros(s, from, done, linked);
        from += done;
    }
    return rc < 0 || to >= end ? rc : zero_part(s, to, end, linked);
}

int qcow2_zero_range(struct qcow2 *s, uint64_t offset, uint64_t end, bool unmap)
{
    bool linked;
    unsigned epoch = qcow2_enter(s);
    int rc = zero_range(s, offset, end, unmap ? ZERO_UNMAP : ZERO_KEEP, &linked);
    qcow2_leave(s, epoch);
    return rc;
}

int qcow2_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    struct qcow2 *s = qcow2_of(node);
    int rc = qcow2_prepare_write(s);
    if (rc == 0)
        rc = qcow2_balance(s);
    if (rc == 0 && s->data_file_raw)
        rc = block_write_zeroes(s->data, offset, len, flags);
    if (rc < 0)
        return rc;
    pthread_rwlock_rdlock(&s->gate);
    rc = qcow2_track(s, offset, len);
    if (rc == 0)
        rc = qcow2_zero_range(s, offset, offset + len, flags & BLOCK_UNMAP);
    if (rc == 0 && block_is_durable(node, flags & BLOCK_FUA))
        rc = qcow2_flush(s);
    pthread_rwlock_unlock(&s->gate);
    return rc;
}

int qcow2_discard_range(struct qcow2 *s, uint64_t offset, uint64_t end, bool fully)
{
    int rc = 0;
    while (rc == 0 && offset < end) {
        uint64_t done = 0;
        rc = change_piece(s, offset, end, fully ? DISCARD_FULLY : DISCARD, &done);
        offset += done;
    }
    return rc;
}

int qcow2_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct qcow2 *s = qcow2_of(node);
    /* Version 2 could only show the backing file's old data; a raw data file is to stay as it is.
     */
    if (s->data_file_raw || (!s->v3 && !below_is_empty(s)))
        return 0;
    uint64_t from = ALIGN_UP(offset, s->cluster_size), end = offset + len;
    end =
        end == block_size(node) ? ALIGN_UP(end, s->cluster_size) : ALIGN_DOWN(end, s->cluster_size);
    if (from >= end)
        return 0;
    int rc = qcow2_prepare_write(s);
    if (rc == 0)
        rc = qcow2_balance(s);
    if (rc < 0)
        return rc;
    pthread_rwlock_rdlock(&s->gate);
    rc = qcow2_track(s, from, end - from);
    if (rc == 0)
        rc = qcow2_discard_range(s, from, end, false);
    if (rc == 0 && block_is_durable(node, false))
        rc = qcow2_flush(s);
    pthread_rwlock_unlock(&s->gate);
    return rc;
}

int qcow2_make_empty(struct block_node *node, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    uint64_t end = ALIGN_UP(block_size(node), s->cluster_size);
    int rc = s->has_data_file ? -ENOTSUP : qcow2_prepare_write(s);
    for (uint64_t at = 0; rc == 0 && at < end; at += MIN(EMPTY_PIECE, end - at)) {
        rc = qcow2_balance(s);
        if (rc < 0)
            break;
        pthread_rwlock_rdlock(&s->gate);
        rc = qcow2_discard_range(s, at, at + MIN(EMPTY_PIECE, end - at), true);
        pthread_rwlock_unlock(&s->gate);
    }
    if (rc == 0)
        rc = block_flush(node);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be emptied", node->name);
    return 0;
}
