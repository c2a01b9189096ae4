/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What amend changes beyond the header: the width of refcounts, and the way
 * back to version 2. New structures are written beside the old ones and the
 * header, in one sector, switches to them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2_create.h"

/* ---------------------------------------------------------------- refcounts of another width */

/* The new blocks and, behind them, the new table; all behind what is in use. */
struct plan {
    unsigned order;
    uint64_t start;         /* host cluster index */
    uint64_t blocks, table; /* clusters of each */
};

static uint64_t div_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* One behind the last host cluster with a refcount. Under lock. */
static int find_end(struct qcow2 *s, uint64_t *end)
{
    uint64_t blocks = s->reftable_entries, refcount = 0;
    while (blocks && !s->reftable[blocks - 1])
        blocks--;
    /* What lies behind the end of the file is not in use whatever its refcount. */
    *end = MIN(blocks << s->refblock_bits, qcow2_clusters(s, block_size(s->file)));
    while (*end) {
        int rc = qcow2_refcount_get(s, *end - 1, &refcount);
        if (rc < 0 || refcount)
            return rc;
        --*end;
    }
    return 0;
}

static int make_plan(struct qcow2 *s, unsigned order, struct plan *p)
{
    uint64_t per_block = s->cluster_size * 8 >> order;
    *p = (struct plan){.order = order, .blocks = 1, .table = 1};
    int rc = find_end(s, &p->start);
    if (rc < 0)
        return rc;
    for (;;) {
        uint64_t blocks = div_up(p->start + p->blocks + p->table, per_block);
        uint64_t table = div_up(blocks * 8, s->cluster_size);
        if (blocks == p->blocks && table == p->table)
            break;
        p->blocks = blocks;
        p->table = table;
    }
    return p->table << s->cluster_bits > QCOW2_MAX_REFTABLE_BYTES ? -EFBIG : 0;
}

static int new_refcount(struct qcow2 *s, const struct plan *p, uint64_t cluster, uint64_t *out)
{
    uint64_t max = p->order == 6 ? UINT64_MAX : BIT(1u << p->order) - 1;
    *out = cluster < p->start + p->blocks + p->table;
    int rc = cluster < p->start ? qcow2_refcount_get(s, cluster, out) : 0;
    return rc == 0 && *out > max ? -ERANGE : rc;
}

/* Under lock. */
static int write_plan(struct qcow2 *s, const struct plan *p)
{
    uint64_t per_block = s->cluster_size * 8 >> p->order;
    cleanup_free uint8_t *block = malloc(s->cluster_size);
    cleanup_free uint64_t *table = calloc(p->table, s->cluster_size);
    if (!block || !table)
        return -ENOMEM;
    uint64_t place = p->start << s->cluster_bits;
    int rc = qcow2_file_grow(s->file, (p->start + p->blocks + p->table) << s->cluster_bits);
    for (uint64_t i = 0; rc == 0 && i < p->blocks; i++) {
        memset(block, 0, s->cluster_size);
        for (uint64_t j = 0; rc == 0 && j < per_block; j++) {
            uint64_t refcount;
            rc = new_refcount(s, p, i * per_block + j, &refcount);
            qcow2_refcount_store(block, p->order, j, refcount);
        }
        table[i] = htobe64(place + (i << s->cluster_bits));
        if (rc == 0)
            rc = qcow2_file_write(s, place + (i << s->cluster_bits), block, s->cluster_size);
    }
    if (rc == 0)
        rc = qcow2_file_write(s, place + (p->blocks << s->cluster_bits), table,
                              p->table << s->cluster_bits);
    return rc == 0 ? block_flush(s->file) : rc;
}

static void set_width(struct qcow2 *s, unsigned order)
{
    s->refcount_order = s->header.refcount_order = order;
    s->refcount_max = order == 6 ? UINT64_MAX : BIT(1u << order) - 1;
    s->refblock_bits = s->cluster_bits + 3 - order;
}

/* The header points to the new structures; the old ones become free. Not under lock. */
static int switch_plan(struct qcow2 *s, const struct plan *p, struct kv_error *err)
{
    struct qcow2_header *h = &s->header;
    const struct qcow2_header before = *h;
    uint64_t old_blocks = s->reftable_entries;
    cleanup_free uint64_t *old = malloc(old_blocks * 8);
    if (!old)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    memcpy(old, s->reftable, old_blocks * 8);
    h->reftable_offset = (p->start + p->blocks) << s->cluster_bits;
    h->reftable_clusters = (uint32_t)p->table;
    h->refcount_order = p->order;
    int rc = qcow2_header_write(s, err);
    if (rc == 0)
        rc = block_flush(s->file);
    if (rc < 0) {
        *h = before;
        return rc;
    }
    set_width(s, p->order);
    rc = qcow2_reload(s, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    for (uint64_t i = 0; rc == 0 && i < old_blocks; i++) {
        if (old[i])
            rc = qcow2_refcount_add(s, old[i] >> s->cluster_bits, 1, -1);
    }
    if (rc == 0)
        rc = qcow2_refcount_add(s, before.reftable_offset >> s->cluster_bits,
                                before.reftable_clusters, -1);
    pthread_mutex_unlock(&s->lock);
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': the old refcounts' space leaks",
                                   s->node->name)
                  : 0;
}

int qcow2_change_refcounts(struct qcow2 *s, unsigned order, struct kv_error *err)
{
    struct plan plan = {0};
    if (order == s->refcount_order)
        return 0;
    /* Twice: clusters that the first one makes free have a refcount to lose. */
    int rc = qcow2_flush(s);
    if (rc == 0)
        rc = qcow2_flush(s);
    if (rc == 0) {
        pthread_mutex_lock(&s->lock);
        rc = make_plan(s, order, &plan);
        if (rc == 0)
            rc = write_plan(s, &plan);
        pthread_mutex_unlock(&s->lock);
    }
    if (rc == -ERANGE)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Cannot decrease refcount entry width to %u bits: a cluster's refcount "
                            "is too large",
                            1u << order);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': writing new refcounts", s->node->name);
    return switch_plan(s, &plan, err);
}

/* ---------------------------------------------------------------- back to version 2 */

static int refuse_downgrade(const struct qcow2 *s, struct kv_error *err)
{
    const struct {
        bool refused;
        const char *why;
    } rules[] = {
        {s->refcount_order != 4, "compat=0.10 requires refcount_bits=16"},
        {s->has_data_file, "Cannot downgrade an image with a data file"},
        {s->header.nb_snapshots, "Internal snapshots prevent downgrade of image"},
        {s->header.incompatible & ~QCOW2_INCOMPAT_DIRTY,
         "Cannot downgrade an image with incompatible features set"},
        {s->bitmap_count, "Cannot downgrade an image with bitmaps"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        if (rules[i].refused)
            return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP, "%s", rules[i].why);
    }
    return 0;
}

/* Version 2 has no zero flag: such clusters become unallocated, or zeros over a backing file. */
static int expand_zeros(struct qcow2 *s, uint64_t at, uint64_t len)
{
    bool linked;
    int rc = 0;
    if (!s->backing_path && !s->node->backing)
        return qcow2_discard_range(s, at, ALIGN_UP(at + len, s->cluster_size), true);
    for (uint64_t end = at + len; rc == 0 && at < end;) {
        const struct iovec iov = {.iov_base = (void *)block_zeros(),
                                  .iov_len = MIN(end - at, BLOCK_ZEROS_SIZE)};
        rc = qcow2_write_range(s, at, iov.iov_len, &iov, 1, 0, &linked);
        at += iov.iov_len;
    }
    return rc;
}

int qcow2_downgrade(struct qcow2 *s, struct kv_error *err)
{
    int rc = refuse_downgrade(s, err);
    if (rc < 0 || !s->v3)
        return rc;
    for (uint64_t at = 0; rc == 0 && at < s->header.size;) {
        struct qcow2_run run = {0};
        pthread_mutex_lock(&s->lock);
        rc = qcow2_lookup(s, at, s->header.size - at, &run);
        pthread_mutex_unlock(&s->lock);
        if (rc == 0 && run.kind == QCOW2_ZEROS)
            rc = expand_zeros(s, at, run.len);
        if (rc == 0)
            rc = qcow2_balance(s);
        at += run.len;
    }
    s->lazy = false;
    if (rc == 0)
        rc = qcow2_flush(s);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': writing out zero clusters",
                              s->node->name);
    const struct qcow2_header before = s->header;
    s->header.version = 2;
    s->header.length = QCOW2_V2_HEADER;
    s->header.incompatible = s->header.compatible = s->header.autoclear = 0;
    rc = qcow2_header_write(s, err);
    if (rc < 0) {
        s->header = before;
        return rc;
    }
    s->v3 = false;
    return block_flush(s->file);
}
