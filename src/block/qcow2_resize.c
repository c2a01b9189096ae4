/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another virtual size. Growing makes the L1 table longer where needed and
 * hides what a longer backing file has in the new part; shrinking gives up
 * the clusters and L2 tables beyond the new end. The header says the new size
 * last (growing) or first (shrinking), so that a power cut leaves the old or
 * the new image.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2_bitmap.h"

#define FAIL(s, err, code, ...) kv_error_errno(err, KV_ERR_BLOCK, code, __VA_ARGS__)

static int write_l1(struct qcow2 *s, uint64_t offset, const uint64_t *table, uint64_t entries,
                    uint64_t clusters)
{
    cleanup_free uint64_t *raw = calloc(clusters, s->cluster_size);
    if (!raw)
        return -ENOMEM;
    for (uint64_t i = 0; i < entries; i++)
        raw[i] = htobe64(table[i]);
    return qcow2_file_write(s, offset, raw, clusters << s->cluster_bits);
}

/* Makes room in memory and on disk and points the header there. Under lock with all of the old
 * table written. */
static int move_l1(struct qcow2 *s, uint64_t entries, uint64_t clusters, uint64_t offset,
                   struct kv_error *err)
{
    struct qcow2_header *h = &s->header;
    uint64_t old_offset = h->l1_offset, old_clusters = qcow2_clusters(s, (uint64_t)h->l1_size * 8);
    uint32_t old_size = h->l1_size;
    cleanup_free uint64_t *table = calloc(entries, 8);
    cleanup_free uint8_t *flags = calloc(1, entries / 64 + 1);
    if (!table || !flags)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    memcpy(table, s->l1, (size_t)h->l1_size * 8);
    int rc = write_l1(s, offset, table, h->l1_size, clusters);
    if (rc == 0)
        rc = block_flush(s->file);
    if (rc < 0)
        return FAIL(s, err, -rc, "'%s': writing the L1 table", s->node->name);
    h->l1_offset = offset;
    h->l1_size = (uint32_t)entries;
    rc = qcow2_header_write(s, err);
    if (rc == 0 && (rc = block_flush(s->file)) < 0)
        FAIL(s, err, -rc, "'%s': writing the header", s->node->name);
    if (rc < 0) {
        h->l1_offset = old_offset;
        h->l1_size = old_size;
        return rc;
    }
    free(s->l1);
    free(s->l1_dirty);
    s->l1 = take_ptr(table);
    s->l1_dirty = take_ptr(flags);
    if (old_offset && old_clusters)
        qcow2_refcount_add(s, old_offset >> s->cluster_bits, old_clusters, -1);
    return 0;
}

int qcow2_l1_grow(struct qcow2 *s, uint64_t entries, struct kv_error *err)
{
    if (entries <= s->header.l1_size)
        return 0;
    if (entries > QCOW2_MAX_L1_BYTES / 8)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG,
                            "'%s': the L1 table would have %" PRIu64 " entries; up to %" PRIu64
                            " are supported, a larger cluster size needs fewer",
                            s->node->name, entries, QCOW2_MAX_L1_BYTES / 8);
    uint64_t clusters = qcow2_clusters(s, entries * 8), offset;
    /* So that nothing in memory is ahead of the old table. */
    int rc = qcow2_flush(s);
    if (rc < 0)
        return FAIL(s, err, -rc, "'%s': writing back", s->node->name);
    pthread_mutex_lock(&s->lock);
    rc = qcow2_alloc_exact(s, clusters, &offset);
    pthread_mutex_unlock(&s->lock);
    if (rc < 0)
        return FAIL(s, err, -rc, "'%s': space for the L1 table", s->node->name);
    /* Refcounts of the new table, and the refcount table where it knows new blocks. */
    int counted = qcow2_flush(s);
    pthread_mutex_lock(&s->lock);
    if (counted < 0)
        rc = FAIL(s, err, -counted, "'%s': writing refcounts", s->node->name);
    if (rc < 0)
        qcow2_refcount_add(s, offset >> s->cluster_bits, clusters, -1);
    else if ((rc = move_l1(s, entries, clusters, offset, err)) < 0)
        qcow2_refcount_add(s, offset >> s->cluster_bits, clusters, -1);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int set_size(struct qcow2 *s, uint64_t size, struct kv_error *err)
{
    uint64_t raw = htobe64(size);
    pthread_mutex_lock(&s->lock);
    int rc = qcow2_file_write(s, 24, &raw, sizeof(raw));
    if (rc == 0)
        rc = block_flush(s->file);
    if (rc == 0) {
        s->header.size = size;
        block_set_size(s->node, size);
    }
    pthread_mutex_unlock(&s->lock);
    return rc == 0 ? 0 : FAIL(s, err, -rc, "'%s': writing the new size", s->node->name);
}

/* Zeros where the old end's cluster or a longer backing file would show something. */
static int hide_old_bytes(struct qcow2 *s, uint64_t old, uint64_t size, struct kv_error *err)
{
    uint64_t end = ALIGN_UP(old, s->cluster_size);
    if (s->node->backing)
        end = MAX(end, block_size(s->node->backing));
    end = MIN(end, size);
    if (end <= old)
        return 0;
    int rc = qcow2_zero_range(s, old, end, true);
    return rc == 0 ? 0 : FAIL(s, err, -rc, "'%s': writing zeros to the new part", s->node->name);
}

static int grow(struct qcow2 *s, uint64_t old, uint64_t size, struct kv_error *err)
{
    int rc = qcow2_l1_grow(s, qcow2_l1_entries(s, size), err);
    if (rc == 0 && s->has_data_file && block_size(s->data) < size)
        rc = block_resize(s->data, size, err);
    if (rc < 0)
        return rc;
    /* The new part is written to before the header tells of it. */
    block_set_size(s->node, size);
    rc = hide_old_bytes(s, old, size, err);
    if (rc == 0 && (rc = qcow2_flush(s)) < 0)
        FAIL(s, err, -rc, "'%s': writing back", s->node->name);
    if (rc == 0)
        rc = set_size(s, size, err);
    if (rc < 0)
        block_set_size(s->node, old);
    return rc;
}

/* L2 tables beyond the end, whose entries are all empty by now. Under lock. */
static int drop_tables(struct qcow2 *s, uint64_t first)
{
    int rc = 0;
    for (uint64_t i = first; i < s->header.l1_size; i++) {
        uint64_t table = s->l1[i] & QCOW2_OFFSET_MASK;
        if (!table)
            continue;
        s->l1[i] = 0;
        s->l1_dirty[i / 64] = 1;
        s->l1_dirty_any = true;
        /* A snapshot may go on using it. */
        uint64_t refcount = 0;
        rc = qcow2_refcount_get(s, table >> s->cluster_bits, &refcount);
        if (rc == 0 && refcount == 1)
            qcow2_cache_forget(s, &s->l2, table, s->cluster_size);
        if (rc == 0)
            rc = qcow2_free(s, table, 1, false);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int shrink(struct qcow2 *s, uint64_t old, uint64_t size, struct kv_error *err)
{
    int rc = set_size(s, size, err);
    if (rc < 0)
        return rc;
    rc = qcow2_discard_range(s, ALIGN_UP(size, s->cluster_size), ALIGN_UP(old, s->cluster_size),
                             true);
    if (rc == 0) {
        pthread_mutex_lock(&s->lock);
        rc = drop_tables(s, qcow2_l1_entries(s, size));
        pthread_mutex_unlock(&s->lock);
    }
    if (rc == 0)
        rc = qcow2_flush(s);
    if (rc < 0)
        return FAIL(s, err, -rc, "'%s': giving up clusters beyond the end", s->node->name);
    return s->has_data_file ? block_resize(s->data, size, err) : 0;
}

static int refuse(const struct qcow2 *s, struct kv_error *err)
{
    if (!s->v3 && s->header.nb_snapshots)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "Can't resize a v2 image which has snapshots");
    return 0;
}

int qcow2_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    int rc = refuse(s, err);
    if (rc == 0 && (rc = qcow2_prepare_write(s)) < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be written to", node->name);
    if (rc < 0)
        return rc;
    qcow2_exclusive_begin(s);
    uint64_t old = block_size(node);
    bool bitmaps = size != old && qcow2_bitmaps_valid(s);
    rc = bitmaps ? qcow2_bitmaps_take_all(s, err) : 0;
    if (rc == 0)
        rc = size > old ? grow(s, old, size, err) : size < old ? shrink(s, old, size, err) : 0;
    if (bitmaps) {
        int failed = qcow2_bitmaps_resized(s);
        rc = rc < 0 || failed == 0 ? rc
                                   : FAIL(s, err, -failed, "'%s': its dirty bitmaps", node->name);
    }
    qcow2_exclusive_end(s);
    return rc;
}
