/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New refcount blocks, and a longer refcount table when it has no entry left.
 * A new block lies at the start of the range whose refcounts it holds, where
 * all is free because there was no block; it counts itself. A longer table
 * lies in such a range as well, with the blocks for itself in front of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2.h"

/* Room in the file from offset on, reading as zeros. */
static int make_zeros(struct qcow2 *s, uint64_t offset, uint64_t len)
{
    int rc = qcow2_check_overlap(s, offset, len);
    if (rc == 0 && offset + len > block_size(s->file)) {
        rc = qcow2_file_grow(s->file, offset + len);
        s->grown = true;
    }
    if (rc == 0 && offset < s->fresh_from)
        rc = block_write_zeroes(s->file, offset, len, 0);
    if (rc == 0)
        s->fresh_from = MAX(s->fresh_from, offset + len);
    return rc == -ENOTSUP ? -ENOSPC : rc;
}

/* The layout of a longer table. */
struct growth {
    uint64_t first_block; /* index of the first new block */
    uint64_t blocks;      /* refcount blocks for blocks and table */
    uint64_t entries;     /* of the new table */
    uint64_t table_clusters;
    uint64_t offset; /* of the blocks; the table follows */
};

static int plan(const struct qcow2 *s, uint64_t block, struct growth *g)
{
    uint64_t per_cluster = s->cluster_size / 8;
    g->first_block = MAX(block, s->reftable_entries);
    g->blocks = 1;
    for (;;) {
        uint64_t need =
            MAX(g->first_block + g->blocks, s->reftable_entries + s->reftable_entries / 2);
        g->table_clusters = need / per_cluster + (need % per_cluster != 0);
        g->entries = g->table_clusters * per_cluster;
        uint64_t all = g->blocks + g->table_clusters;
        uint64_t blocks = (all + BIT(s->refblock_bits) - 1) >> s->refblock_bits;
        if (blocks == g->blocks)
            break;
        g->blocks = blocks;
    }
    g->offset = g->first_block << (s->refblock_bits + s->cluster_bits);
    return g->entries > QCOW2_MAX_REFTABLE_BYTES / 8 ? -EFBIG : 0;
}

static int write_blocks(struct qcow2 *s, const struct growth *g)
{
    cleanup_free uint8_t *block = malloc(s->cluster_size);
    if (!block)
        return -ENOMEM;
    uint64_t left = g->blocks + g->table_clusters;
    for (uint64_t i = 0; i < g->blocks; i++) {
        memset(block, 0, s->cluster_size);
        uint64_t here = MIN(left, BIT(s->refblock_bits));
        for (uint64_t j = 0; j < here; j++)
            qcow2_refcount_store(block, s->refcount_order, j, 1);
        left -= here;
        int rc =
            block_pwrite(s->file, g->offset + (i << s->cluster_bits), block, s->cluster_size, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_table(struct qcow2 *s, const struct growth *g, const uint64_t *table)
{
    cleanup_free uint64_t *raw = malloc(g->entries * 8);
    if (!raw)
        return -ENOMEM;
    for (uint64_t i = 0; i < g->entries; i++)
        raw[i] = htobe64(table[i]);
    return block_pwrite(s->file, g->offset + (g->blocks << s->cluster_bits), raw, g->entries * 8,
                        0);
}

/* Bytes 48 to 59 of the header. */
static int point_header(struct qcow2 *s, uint64_t offset, uint32_t clusters)
{
    uint8_t raw[12];
    uint64_t offset_be = htobe64(offset);
    uint32_t clusters_be = htobe32(clusters);
    memcpy(raw, &offset_be, 8);
    memcpy(raw + 8, &clusters_be, 4);
    int rc = block_pwrite(s->file, 48, raw, sizeof(raw), 0);
    return rc < 0 ? rc : block_flush(s->file);
}

static int grow_table(struct qcow2 *s, uint64_t block)
{
    struct growth g = {0};
    int rc = plan(s, block, &g);
    if (rc < 0)
        return rc;
    cleanup_free uint64_t *table = calloc(g.entries, 8);
    cleanup_free uint8_t *flags = calloc(1, g.entries / 64 + 1);
    if (!table || !flags)
        return -ENOMEM;
    memcpy(table, s->reftable, s->reftable_entries * 8);
    for (uint64_t i = 0; i < g.blocks; i++)
        table[g.first_block + i] = g.offset + (i << s->cluster_bits);

    uint64_t table_offset = g.offset + (g.blocks << s->cluster_bits);
    rc = make_zeros(s, g.offset, (g.blocks + g.table_clusters) << s->cluster_bits);
    /* The new table names blocks that the old one on disk may not have yet. */
    if (rc == 0)
        rc = qcow2_refcounts_write(s);
    if (rc == 0)
        rc = write_blocks(s, &g);
    if (rc == 0)
        rc = write_table(s, &g, table);
    if (rc == 0)
        rc = block_flush(s->file);
    if (rc == 0)
        rc = point_header(s, table_offset, (uint32_t)g.table_clusters);
    if (rc < 0)
        return rc;

    uint64_t old_offset = s->header.reftable_offset, old_clusters = s->header.reftable_clusters;
    s->header.reftable_offset = table_offset;
    s->header.reftable_clusters = (uint32_t)g.table_clusters;
    free(s->reftable);
    free(s->reftable_dirty);
    s->reftable = take_ptr(table);
    s->reftable_dirty = take_ptr(flags);
    s->reftable_dirty_any = false;
    s->reftable_entries = g.entries;
    /* The header on disk no longer points there. */
    return qcow2_refcount_add(s, old_offset >> s->cluster_bits, old_clusters, -1);
}

int qcow2_refblock_create(struct qcow2 *s, uint64_t block)
{
    if (block >= s->reftable_entries) {
        int rc = grow_table(s, block);
        if (rc < 0 || s->reftable[block])
            return rc;
    }
    uint64_t cluster = block << s->refblock_bits, offset = cluster << s->cluster_bits;
    int rc = make_zeros(s, offset, s->cluster_size);
    if (rc < 0)
        return rc;
    qcow2_cache_forget(s, &s->refcounts, offset, s->cluster_size);
    s->reftable[block] = offset;
    s->reftable_dirty[block / 64] = 1;
    s->reftable_dirty_any = true;
    return qcow2_refcount_set(s, cluster, 1);
}

/* The first block index behind all that have a block. */
static uint64_t first_unused(const struct qcow2 *s)
{
    uint64_t n = s->reftable_entries;
    while (n && !s->reftable[n - 1])
        n--;
    return n;
}

int qcow2_alloc_with_blocks(struct qcow2 *s, uint64_t count, uint64_t *offset)
{
    uint64_t blocks = 1, per_block = BIT(s->refblock_bits), first;
    while (((blocks + count + per_block - 1) >> s->refblock_bits) > blocks)
        blocks = (blocks + count + per_block - 1) >> s->refblock_bits;
    while ((first = first_unused(s)) + blocks > s->reftable_entries) {
        int rc = grow_table(s, first + blocks);
        if (rc < 0)
            return rc;
    }
    uint64_t cluster = first << s->refblock_bits, start = cluster << s->cluster_bits;
    if (cluster + blocks + count > QCOW2_MAX_HOST_OFFSET >> s->cluster_bits)
        return -EFBIG;
    int rc = make_zeros(s, start, (blocks + count) << s->cluster_bits);
    if (rc < 0)
        return rc;
    qcow2_cache_forget(s, &s->refcounts, start, blocks << s->cluster_bits);
    for (uint64_t i = 0; i < blocks; i++) {
        s->reftable[first + i] = start + (i << s->cluster_bits);
        s->reftable_dirty[(first + i) / 64] = 1;
        s->reftable_dirty_any = true;
    }
    *offset = start + (blocks << s->cluster_bits);
    return qcow2_refcount_add(s, cluster, blocks + count, 1);
}
