/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest clusters to host clusters (spec "Cluster mapping", "Extended L2
 * Entries"): walking L1 and L2, making and unsharing L2 tables, and telling
 * what a guest range consists of. Also who waits for whom when two requests
 * change the mapping of the same clusters.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2.h"

static uint64_t l2_index(const struct qcow2 *s, uint64_t guest)
{
    return (guest >> s->cluster_bits) & (BIT(s->l2_bits) - 1);
}

static void set_l1(struct qcow2 *s, uint64_t index, uint64_t entry)
{
    s->l1[index] = entry;
    s->l1_dirty[index / 64] = 1;
    s->l1_dirty_any = true;
}

static int l2_table_new(struct qcow2 *s, uint64_t l1_index)
{
    uint64_t count = 1, offset;
    bool fresh;
    int rc = qcow2_alloc(s, &count, &offset, &fresh);
    if (rc < 0)
        return rc;
    if (!fresh)
        rc = block_write_zeroes(s->file, offset, s->cluster_size, 0);
    if (rc < 0) {
        qcow2_refcount_add(s, offset >> s->cluster_bits, 1, -1);
        return rc;
    }
    qcow2_cache_forget(s, &s->l2, offset, s->cluster_size);
    set_l1(s, l1_index, offset | QCOW2_COPIED);
    return 0;
}

/* A snapshot has the table too: this disk gets its own copy. */
static int l2_table_copy(struct qcow2 *s, uint64_t l1_index, uint64_t old)
{
    uint64_t count = 1, offset;
    bool fresh;
    cleanup_free uint8_t *table = malloc(s->cluster_size);
    if (!table)
        return -ENOMEM;
    int rc = qcow2_alloc(s, &count, &offset, &fresh);
    if (rc < 0)
        return rc;
    rc = qcow2_file_read(s->file, old, table, s->cluster_size);
    for (uint64_t at = 0; at < s->cluster_size; at += s->slice_size) {
        const struct qcow2_slice *slice = qcow2_cache_peek(s, &s->l2, old + at);
        if (slice)
            memcpy(table + at, slice->data, s->slice_size);
    }
    if (rc == 0)
        rc = qcow2_file_write(s, offset, table, s->cluster_size);
    if (rc < 0) {
        qcow2_refcount_add(s, offset >> s->cluster_bits, 1, -1);
        return rc;
    }
    qcow2_cache_forget(s, &s->l2, offset, s->cluster_size);
    set_l1(s, l1_index, offset | QCOW2_COPIED);
    return qcow2_free(s, old, 1, false);
}

static int check_l1_entry(struct qcow2 *s, uint64_t index, uint64_t entry)
{
    uint64_t table = entry & QCOW2_OFFSET_MASK;
    if ((entry & QCOW2_L1_RESERVED) || qcow2_in_cluster(s, table))
        return qcow2_corruption(s, "L1 entry %" PRIu64 " is %#" PRIx64, index, entry);
    return 0;
}

/* Where the slice for a guest offset lies; fills the indexes of ref. */
static uint64_t slice_place(const struct qcow2 *s, uint64_t table, uint64_t guest,
                            struct qcow2_l2_ref *ref)
{
    uint64_t byte = l2_index(s, guest) * s->l2_entry_size;
    ref->index = (unsigned)(byte & (s->slice_size - 1)) / s->l2_entry_size;
    ref->count = s->slice_size / s->l2_entry_size - ref->index;
    return table + ALIGN_DOWN(byte, (uint64_t)s->slice_size);
}

int qcow2_l2_get(struct qcow2 *s, uint64_t guest, bool write, struct qcow2_l2_ref *ref)
{
    uint64_t i = qcow2_l1_index(s, guest);
    *ref = (struct qcow2_l2_ref){0};
    if (i >= s->header.l1_size)
        return -EINVAL;
    for (;;) {
        uint64_t entry = s->l1[i], table = entry & QCOW2_OFFSET_MASK;
        int rc = check_l1_entry(s, i, entry);
        if (rc < 0)
            return rc;
        uint64_t offset = slice_place(s, table, guest, ref);
        if (!table && !write)
            return 0;
        if (write && (!table || !(entry & QCOW2_COPIED))) {
            rc = table ? l2_table_copy(s, i, table) : l2_table_new(s, i);
            if (rc < 0)
                return rc;
            continue;
        }
        rc = qcow2_cache_get(s, &s->l2, offset, &ref->slice);
        if (rc < 0) {
            ref->slice = NULL;
            return rc;
        }
        if (s->l1[i] == entry && !ref->slice->gone)
            return 0;
        qcow2_l2_put(s, ref);
    }
}

void qcow2_l2_put(struct qcow2 *s, struct qcow2_l2_ref *ref)
{
    if (ref->slice)
        qcow2_cache_put(&s->l2, ref->slice);
    ref->slice = NULL;
}

void qcow2_l2_set(struct qcow2 *s, const struct qcow2_l2_ref *ref, unsigned i, uint64_t entry,
                  uint64_t bitmap)
{
    uint8_t *at = ref->slice->data + (size_t)(ref->index + i) * s->l2_entry_size;
    uint64_t raw = htobe64(entry);
    memcpy(at, &raw, sizeof(raw));
    if (s->extended_l2) {
        raw = htobe64(bitmap);
        memcpy(at + 8, &raw, sizeof(raw));
    }
    qcow2_cache_dirty(&s->l2, ref->slice);
}

uint64_t qcow2_subclusters(const struct qcow2 *s, uint64_t start, uint64_t from, uint64_t end)
{
    uint64_t first = from > start ? (from - start) >> s->subcluster_bits : 0;
    uint64_t last = MIN(end - start, s->cluster_size) - 1;
    return (BIT((last >> s->subcluster_bits) + 1) - 1) & ~(BIT(first) - 1);
}

void qcow2_link(struct qcow2 *s, const struct qcow2_l2_ref *ref, unsigned count, uint64_t first,
                uint64_t host, uint64_t from, uint64_t end)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t start = (first + i) << s->cluster_bits, bitmap = qcow2_l2_bitmap(s, ref, i);
        uint64_t bits = qcow2_subclusters(s, start, from, end);
        qcow2_l2_set(s, ref, i, (host + ((uint64_t)i << s->cluster_bits)) | QCOW2_COPIED,
                     (bitmap | bits) & ~(bits << 32));
    }
}

/* ---------------------------------------------------------------- telling what there is */

static int check_entry(struct qcow2 *s, uint64_t guest, uint64_t entry, uint64_t bitmap)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK;
    uint32_t allocated = (uint32_t)bitmap, zero = (uint32_t)(bitmap >> 32);
    bool bad;
    if (entry & QCOW2_COMPRESSED) {
        bad = s->has_data_file;
    } else {
        bool no_place = !host && !(s->has_data_file && (entry & QCOW2_COPIED));
        bad = qcow2_in_cluster(s, host) || (s->extended_l2 && (allocated & zero)) ||
              (s->extended_l2 && allocated && no_place) ||
              ((entry & QCOW2_ZERO) && (!s->v3 || s->extended_l2)) ||
              (s->has_data_file && host && host != ALIGN_DOWN(guest, s->cluster_size));
    }
    if (!bad)
        return 0;
    return qcow2_corruption(s, "L2 entry of guest offset %#" PRIx64 " is %#" PRIx64 ", %#" PRIx64,
                            guest, entry, bitmap);
}

/* What the subcluster at a guest offset is; len: up to the end of what is alike. */
static void classify(const struct qcow2 *s, uint64_t guest, uint64_t entry, uint64_t bitmap,
                     struct qcow2_run *run)
{
    uint64_t in_cluster = qcow2_in_cluster(s, guest);
    *run = (struct qcow2_run){.len = s->cluster_size - in_cluster, .entry = entry};
    if (entry & QCOW2_COMPRESSED) {
        run->kind = QCOW2_COMPRESSED_CLUSTER;
        return;
    }
    uint64_t host = entry & QCOW2_OFFSET_MASK;
    run->has_host = host || (s->has_data_file && (entry & QCOW2_COPIED));
    run->host = host + in_cluster;
    run->writable = run->has_host && (entry & QCOW2_COPIED);
    if (!s->extended_l2) {
        run->kind = entry & QCOW2_ZERO ? QCOW2_ZEROS
                    : run->has_host    ? QCOW2_NORMAL
                                       : QCOW2_UNALLOCATED;
        return;
    }
    unsigned first = (unsigned)(in_cluster >> s->subcluster_bits), last = first;
    uint64_t alike = bitmap >> first & (BIT(0) | BIT(32));
    while (last + 1 < QCOW2_SUBCLUSTERS && (bitmap >> (last + 1) & (BIT(0) | BIT(32))) == alike)
        last++;
    run->kind = alike & BIT(0) ? QCOW2_NORMAL : alike & BIT(32) ? QCOW2_ZEROS : QCOW2_UNALLOCATED;
    run->len = ((uint64_t)(last + 1) << s->subcluster_bits) - in_cluster;
}

static bool continues(const struct qcow2_run *run, const struct qcow2_run *next)
{
    return run->kind != QCOW2_COMPRESSED_CLUSTER && next->kind == run->kind &&
           next->has_host == run->has_host && next->writable == run->writable &&
           (!run->has_host || next->host == run->host + run->len);
}

/* As far as the slice goes. */
static int describe(struct qcow2 *s, const struct qcow2_l2_ref *ref, uint64_t guest, uint64_t len,
                    struct qcow2_run *run)
{
    unsigned i = 0;
    *run = (struct qcow2_run){0};
    for (uint64_t at = guest; at - guest < len && i < ref->count;) {
        struct qcow2_run part;
        uint64_t entry = qcow2_l2_entry(s, ref, i), bitmap = qcow2_l2_bitmap(s, ref, i);
        int rc = check_entry(s, at, entry, bitmap);
        if (rc < 0)
            return rc;
        classify(s, at, entry, bitmap, &part);
        if (at == guest)
            *run = part;
        else if (continues(run, &part))
            run->len += part.len;
        else
            break;
        at += part.len;
        i += qcow2_in_cluster(s, at) == 0;
    }
    run->len = MIN(run->len, len);
    return 0;
}

/* No L2 table: nothing is allocated as far as the L1 entry goes. */
static void describe_hole(const struct qcow2 *s, uint64_t guest, uint64_t len,
                          struct qcow2_run *run)
{
    uint64_t span = BIT(s->cluster_bits + s->l2_bits);
    *run = (struct qcow2_run){.kind = QCOW2_UNALLOCATED, .len = MIN(len, span - guest % span)};
}

int qcow2_lookup(struct qcow2 *s, uint64_t guest, uint64_t len, struct qcow2_run *run)
{
    struct qcow2_l2_ref ref;
    int rc = qcow2_l2_get(s, guest, false, &ref);
    if (rc < 0)
        return rc;
    if (ref.slice)
        rc = describe(s, &ref, guest, len, run);
    else
        describe_hole(s, guest, len, run);
    qcow2_l2_put(s, &ref);
    return rc;
}

/* The table's place, if it is known to be sound; 0: there is none. Under lock. */
static bool find_table(const struct qcow2 *s, uint64_t guest, uint64_t *entry)
{
    uint64_t i = qcow2_l1_index(s, guest);
    if (i >= s->header.l1_size)
        return false;
    *entry = s->l1[i];
    return !(*entry & QCOW2_L1_RESERVED) && !qcow2_in_cluster(s, *entry & QCOW2_OFFSET_MASK);
}

bool qcow2_l2_peek(struct qcow2 *s, uint64_t guest, struct qcow2_l2_ref *ref)
{
    uint64_t entry;
    *ref = (struct qcow2_l2_ref){0};
    if (!find_table(s, guest, &entry) || !(entry & QCOW2_COPIED) || !(entry & QCOW2_OFFSET_MASK))
        return false;
    uint64_t offset = slice_place(s, entry & QCOW2_OFFSET_MASK, guest, ref);
    ref->slice = qcow2_cache_peek(s, &s->l2, offset);
    if (ref->slice)
        ref->slice->pins++;
    return ref->slice;
}

bool qcow2_lookup_cached(struct qcow2 *s, uint64_t guest, uint64_t len, struct qcow2_run *run)
{
    struct qcow2_l2_ref ref = {0};
    uint64_t entry;
    if (!find_table(s, guest, &entry))
        return false;
    uint64_t table = entry & QCOW2_OFFSET_MASK;
    if (!table) {
        describe_hole(s, guest, len, run);
        return true;
    }
    ref.slice = qcow2_cache_peek(s, &s->l2, slice_place(s, table, guest, &ref));
    return ref.slice && describe(s, &ref, guest, len, run) == 0;
}

/* ---------------------------------------------------------------- changes under way */

uint64_t qcow2_inflight_free(const struct qcow2 *s, uint64_t first, uint64_t count)
{
    list_for_each (at, &s->inflight) {
        const struct qcow2_inflight *other = list_entry(at, struct qcow2_inflight, node);
        if (!ranges_overlap(first, count, other->first, other->count))
            continue;
        if (other->first <= first)
            return 0;
        count = other->first - first;
    }
    return count;
}

void qcow2_inflight_begin(struct qcow2 *s, struct qcow2_inflight *inflight, uint64_t first,
                          uint64_t count)
{
    while (qcow2_inflight_free(s, first, count) != count)
        pthread_cond_wait(&s->inflight_cond, &s->lock);
    inflight->first = first;
    inflight->count = count;
    list_add_tail(&s->inflight, &inflight->node);
}

void qcow2_inflight_end(struct qcow2 *s, struct qcow2_inflight *inflight)
{
    list_del(&inflight->node);
    pthread_cond_broadcast(&s->inflight_cond);
}

int qcow2_free_entry(struct qcow2 *s, uint64_t entry, bool discard)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK, len;
    if (entry & QCOW2_COMPRESSED) {
        qcow2_compressed_place(s, entry, &offset, &len);
        uint64_t first = offset >> s->cluster_bits, last = (offset + len - 1) >> s->cluster_bits;
        return qcow2_free(s, first << s->cluster_bits, last - first + 1, discard);
    }
    return offset && !s->has_data_file ? qcow2_free(s, offset, 1, discard) : 0;
}
