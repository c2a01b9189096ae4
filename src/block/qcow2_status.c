/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block status of a qcow2 image: what a range consists of and where it lies.
 * Where the file takes clearly less space than its clusters (preallocated
 * metadata), the holes of the file are zeros of the guest's.
 */
#include <errno.h>

#include "block/qcow2.h"

/* Clusters that are looked at: a file may claim any size. */
#define SCAN_MAX (UINT64_C(1) << 24)

/* As QEMU decides it: more clusters with a refcount than a tenth over the space on the host. */
static bool detect_sparse(struct qcow2 *s)
{
    int64_t allocated = block_allocated_size(s->file);
    if (allocated < 0 || s->reftable_doubled)
        return false;
    uint64_t real = qcow2_clusters(s, (uint64_t)allocated), used = 0;
    uint64_t limit = MAX(real * 10 / 9, real + 2);
    uint64_t clusters = MIN(qcow2_clusters(s, block_size(s->file)), SCAN_MAX);
    for (uint64_t i = 0; i < clusters && used < limit; i++) {
        uint64_t refcount, block = i >> s->refblock_bits;
        if (block >= s->reftable_entries)
            break;
        if (!s->reftable[block]) {
            i = ((block + 1) << s->refblock_bits) - 1; /* none of its clusters is used */
            continue;
        }
        if (qcow2_refcount_get(s, i, &refcount) < 0)
            return false;
        used += refcount != 0;
    }
    return used >= limit;
}

/* Under lock. */
static bool is_sparse(struct qcow2 *s)
{
    if (!s->sparse_known) {
        s->sparse = !s->has_data_file && detect_sparse(s);
        s->sparse_known = true;
    }
    return s->sparse;
}

static void look_for_hole(const struct qcow2 *s, struct block_extent *out)
{
    struct block_extent file;
    if (block_status(s->data, out->host_offset, out->len, &file) < 0)
        return;
    out->len = file.len;
    if (file.flags & BLOCK_STATUS_ZERO)
        out->flags |= BLOCK_STATUS_ZERO;
}

/* Under lock. */
static void tell(struct qcow2 *s, const struct qcow2_run *run, struct block_extent *out)
{
    static const unsigned flags[] = {
        [QCOW2_UNALLOCATED] = 0,
        [QCOW2_ZEROS] = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_ZERO,
        [QCOW2_COMPRESSED_CLUSTER] =
            BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_DATA | BLOCK_STATUS_COMPRESSED,
        [QCOW2_NORMAL] = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_DATA,
    };
    *out = (struct block_extent){.len = run->len, .flags = flags[run->kind]};
    if (run->kind == QCOW2_UNALLOCATED && !s->node->backing)
        out->flags |= BLOCK_STATUS_ZERO;
    /* Unallocated subclusters have a place, too. */
    if (!run->has_host || s->crypto)
        return;
    out->flags |= BLOCK_STATUS_OFFSET;
    out->host_offset = run->host;
    out->file = s->data;
    if (run->kind == QCOW2_NORMAL && is_sparse(s))
        look_for_hole(s, out);
}

static bool continues(const struct block_extent *out, const struct block_extent *next)
{
    return next->flags == out->flags && (!(next->flags & BLOCK_STATUS_OFFSET) ||
                                         next->host_offset == out->host_offset + out->len);
}

int qcow2_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out)
{
    struct qcow2 *s = qcow2_of(node);
    uint64_t done = 0;
    int rc = 0;
    pthread_rwlock_rdlock(&s->gate);
    pthread_mutex_lock(&s->lock);
    while (done < len) {
        struct qcow2_run run;
        struct block_extent next;
        rc = qcow2_lookup(s, offset + done, len - done, &run);
        if (rc < 0)
            break;
        tell(s, &run, &next);
        if (done == 0)
            *out = next;
        else if (continues(out, &next))
            out->len += next.len;
        else
            break;
        done += next.len;
    }
    pthread_mutex_unlock(&s->lock);
    pthread_rwlock_unlock(&s->gate);
    return done ? 0 : rc;
}
