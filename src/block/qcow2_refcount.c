/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refcounts of host clusters, of any width from 1 to 64 bits, and the
 * allocator on top of them (spec "Host cluster management"). The search for
 * free clusters goes upwards from free_hint, so that an image that grows pays
 * for each refcount once. All under the image's lock, which is kept.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "block/qcow2.h"

#define OVERLAP_SCAN_MAX 4096u

uint64_t qcow2_refcount_load(const void *block, unsigned order, uint64_t index)
{
    const uint8_t *p = block;
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;
    switch (order) {
    case 3:
        return p[index];
    case 4:
        memcpy(&v16, p + index * 2, sizeof(v16));
        return be16toh(v16);
    case 5:
        memcpy(&v32, p + index * 4, sizeof(v32));
        return be32toh(v32);
    case 6:
        memcpy(&v64, p + index * 8, sizeof(v64));
        return be64toh(v64);
    default: {
        unsigned shift = (unsigned)(index << order) & 7;
        return (unsigned)(p[index >> (3 - order)] >> shift) & ((1u << (1u << order)) - 1);
    }
    }
}

void qcow2_refcount_store(void *block, unsigned order, uint64_t index, uint64_t value)
{
    uint8_t *p = block;
    uint16_t v16 = htobe16((uint16_t)value);
    uint32_t v32 = htobe32((uint32_t)value);
    uint64_t v64 = htobe64(value);
    switch (order) {
    case 3:
        p[index] = (uint8_t)value;
        break;
    case 4:
        memcpy(p + index * 2, &v16, sizeof(v16));
        break;
    case 5:
        memcpy(p + index * 4, &v32, sizeof(v32));
        break;
    case 6:
        memcpy(p + index * 8, &v64, sizeof(v64));
        break;
    default: {
        unsigned shift = (unsigned)(index << order) & 7;
        unsigned mask = ((1u << (1u << order)) - 1) << shift;
        uint8_t *at = p + (index >> (3 - order));
        *at = (uint8_t)((*at & ~mask) | (((unsigned)value << shift) & mask));
    }
    }
}

/* Where the refcounts around a cluster are. */
struct place {
    struct qcow2_slice *slice; /* pinned */
    uint64_t index, end;       /* of the cluster, and the number of refcounts in the slice */
};

static int check_refblock(struct qcow2 *s, uint64_t block, uint64_t entry)
{
    if ((entry & ~QCOW2_REFTABLE_MASK) || qcow2_in_cluster(s, entry) || entry > INT64_MAX)
        return qcow2_corruption(s, "refcount table entry %" PRIu64 " is %#" PRIx64, block, entry);
    return 0;
}

/* Where in a refcount block; returns the offset of its slice. */
static uint64_t slice_place(const struct qcow2 *s, uint64_t cluster, uint64_t refblock,
                            struct place *out)
{
    unsigned bits = s->slice_bits + 3 - s->refcount_order;
    uint64_t in_block = cluster & (BIT(s->refblock_bits) - 1);
    out->index = in_block & (BIT(bits) - 1);
    out->end = BIT(bits);
    return refblock + ((in_block >> bits) << s->slice_bits);
}

/* 1: there is no refcount block; all its refcounts are 0. */
static int find_place(struct qcow2 *s, uint64_t cluster, struct place *out)
{
    uint64_t block = cluster >> s->refblock_bits;
    if (block >= s->reftable_entries || s->reftable[block] == 0)
        return 1;
    uint64_t entry = s->reftable[block];
    int rc = check_refblock(s, block, entry);
    if (rc < 0)
        return rc;
    return qcow2_cache_get(s, &s->refcounts, slice_place(s, cluster, entry, out), &out->slice);
}

static int make_place(struct qcow2 *s, uint64_t cluster, struct place *out)
{
    int rc = find_place(s, cluster, out);
    if (rc == 1) {
        rc = qcow2_refblock_create(s, cluster >> s->refblock_bits);
        if (rc == 0)
            rc = find_place(s, cluster, out);
    }
    return rc == 1 ? -EIO : rc;
}

static uint64_t load_ref(const struct qcow2 *s, const struct place *place, uint64_t index)
{
    return qcow2_refcount_load(place->slice->data, s->refcount_order, index);
}

static void store_ref(struct qcow2 *s, const struct place *place, uint64_t index, uint64_t value)
{
    qcow2_refcount_store(place->slice->data, s->refcount_order, index, value);
    qcow2_cache_dirty(&s->refcounts, place->slice);
}

int qcow2_refcount_get(struct qcow2 *s, uint64_t cluster, uint64_t *refcount)
{
    struct place place;
    *refcount = 0;
    int rc = find_place(s, cluster, &place);
    if (rc)
        return MIN(rc, 0);
    *refcount = load_ref(s, &place, place.index);
    qcow2_cache_put(&s->refcounts, place.slice);
    return 0;
}

int qcow2_refcount_set(struct qcow2 *s, uint64_t cluster, uint64_t refcount)
{
    struct place place;
    int rc = refcount ? make_place(s, cluster, &place) : find_place(s, cluster, &place);
    if (rc)
        return MIN(rc, 0);
    store_ref(s, &place, place.index, refcount);
    if (refcount == 0)
        s->free_hint = MIN(s->free_hint, cluster);
    qcow2_cache_put(&s->refcounts, place.slice);
    return 0;
}

/* What fits into one slice; *done counts. */
static int add_in_slice(struct qcow2 *s, uint64_t cluster, uint64_t count, int64_t delta,
                        uint64_t *done)
{
    struct place place;
    uint64_t amount = delta < 0 ? -(uint64_t)delta : (uint64_t)delta;
    int rc = delta > 0 ? make_place(s, cluster, &place) : find_place(s, cluster, &place);
    if (rc == 1)
        return -EIO;
    if (rc < 0)
        return rc;
    for (uint64_t i = place.index; rc == 0 && i < place.end && *done < count; i++) {
        uint64_t now = load_ref(s, &place, i);
        if (delta > 0 && now > s->refcount_max - amount)
            rc = -ERANGE;
        else if (delta < 0 && now < amount)
            rc = -EIO;
        else
            store_ref(s, &place, i, delta > 0 ? now + amount : now - amount);
        if (rc == 0 && delta < 0 && now == amount)
            s->free_hint = MIN(s->free_hint, cluster + (i - place.index));
        *done += rc == 0;
    }
    qcow2_cache_put(&s->refcounts, place.slice);
    return rc;
}

int qcow2_refcount_add(struct qcow2 *s, uint64_t cluster, uint64_t count, int64_t delta)
{
    if (delta == 0)
        return 0;
    for (uint64_t done = 0; done < count;) {
        uint64_t before = done, part = 0;
        int rc = add_in_slice(s, cluster + done, count - done, delta, &part);
        done = before + part;
        if (rc < 0) {
            if (done)
                qcow2_refcount_add(s, cluster, done, -delta);
            return rc;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- allocating */

static bool hits(uint64_t offset, uint64_t len, uint64_t other, uint64_t other_len)
{
    return other && ranges_overlap(offset, len, other, other_len);
}

static bool hits_entry(const uint64_t *table, uint64_t entries, uint64_t mask, uint64_t offset,
                       uint64_t len)
{
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t at = table[i] & mask;
        if (at && at - offset < len)
            return true;
    }
    return false;
}

const char *qcow2_metadata_at(const struct qcow2 *s, uint64_t offset, uint64_t len)
{
    const struct qcow2_header *h = &s->header;
    if (offset < s->cluster_size)
        return "the header";
    if (hits(offset, len, h->l1_offset, (uint64_t)h->l1_size * 8))
        return "the L1 table";
    if (hits(offset, len, h->reftable_offset, (uint64_t)h->reftable_clusters << s->cluster_bits))
        return "the refcount table";
    if (h->nb_snapshots && hits(offset, len, h->snapshots_offset, s->cluster_size))
        return "the snapshot table";
    return NULL;
}

/* What the tables in memory point to; tables too long to look through are left out. */
static const char *tables_at(const struct qcow2 *s, uint64_t offset, uint64_t len)
{
    if (s->reftable_entries <= OVERLAP_SCAN_MAX * 4 &&
        hits_entry(s->reftable, s->reftable_entries, QCOW2_REFTABLE_MASK, offset, len))
        return "a refcount block";
    if (s->header.l1_size <= OVERLAP_SCAN_MAX &&
        hits_entry(s->l1, s->header.l1_size, QCOW2_OFFSET_MASK, offset, len))
        return "an L2 table";
    return NULL;
}

int qcow2_check_overlap(struct qcow2 *s, uint64_t offset, uint64_t len)
{
    const char *what = qcow2_metadata_at(s, offset, len);
    if (!what)
        what = tables_at(s, offset, len);
    return what ? qcow2_corruption(s, "a write at %#" PRIx64 " would hit %s", offset, what) : 0;
}

/* Clusters just claimed: makes the file long enough, says whether they are fresh. */
static int claim(struct qcow2 *s, uint64_t cluster, uint64_t count, bool *fresh)
{
    uint64_t offset = cluster << s->cluster_bits, len = count << s->cluster_bits;
    int rc = qcow2_check_overlap(s, offset, len);
    if (rc == 0 && offset + len > block_size(s->file)) {
        rc = qcow2_file_grow(s->file, offset + len);
        s->grown = true;
    }
    if (rc < 0) {
        qcow2_refcount_add(s, cluster, count, -1);
        return rc == -ENOTSUP ? -ENOSPC : rc;
    }
    *fresh = offset >= s->fresh_from;
    s->fresh_from = MAX(s->fresh_from, offset + len);
    return 0;
}

/* The first free clusters from *cluster on, up to *count within a slice of refcounts; now 1. */
static int take_from(struct qcow2 *s, uint64_t *cluster, uint64_t *count)
{
    if (s->reftable_doubled)
        return qcow2_corruption(s, "two refcount table entries name one block");
    for (uint64_t at = *cluster; at <= QCOW2_MAX_HOST_OFFSET >> s->cluster_bits;) {
        struct place place;
        int rc = make_place(s, at, &place);
        if (rc < 0)
            return rc;
        uint64_t i = place.index, n = 0;
        while (i < place.end && load_ref(s, &place, i))
            i++;
        for (; n < *count && i + n < place.end && load_ref(s, &place, i + n) == 0; n++)
            store_ref(s, &place, i + n, 1);
        at += i - place.index;
        qcow2_cache_put(&s->refcounts, place.slice);
        if (n) {
            *cluster = at;
            *count = n;
            return 0;
        }
    }
    return -EFBIG;
}

int qcow2_alloc(struct qcow2 *s, uint64_t *count, uint64_t *offset, bool *fresh)
{
    uint64_t cluster = s->free_hint;
    int rc = take_from(s, &cluster, count);
    if (rc < 0)
        return rc;
    s->free_hint = cluster + *count;
    *offset = cluster << s->cluster_bits;
    return claim(s, cluster, *count, fresh);
}

bool qcow2_alloc_cached(struct qcow2 *s, uint64_t count, bool fresh_only, uint64_t *offset)
{
    struct place place = {0};
    uint64_t cluster = s->free_hint, block = cluster >> s->refblock_bits, i, n = 0;
    if (block >= s->reftable_entries || !s->reftable[block] || s->reftable_doubled)
        return false;
    place.slice =
        qcow2_cache_peek(s, &s->refcounts, slice_place(s, cluster, s->reftable[block], &place));
    if (!place.slice)
        return false;
    for (i = place.index; i < place.end && load_ref(s, &place, i);)
        i++;
    while (n < count && i + n < place.end && load_ref(s, &place, i + n) == 0)
        n++;
    cluster += i - place.index;
    uint64_t at = cluster << s->cluster_bits, len = count << s->cluster_bits;
    if (n < count || at + len > block_size(s->file) || (fresh_only && at < s->fresh_from) ||
        qcow2_metadata_at(s, at, len) || tables_at(s, at, len))
        return false;
    for (n = 0; n < count; n++)
        store_ref(s, &place, i + n, 1);
    s->free_hint = cluster + count;
    s->fresh_from = MAX(s->fresh_from, at + len);
    *offset = at;
    return true;
}

/* Free clusters right at a place, up to *count; now 1. */
static int take_at(struct qcow2 *s, uint64_t cluster, uint64_t *count)
{
    uint64_t done = 0;
    while (done < *count) {
        struct place place;
        int rc = make_place(s, cluster + done, &place);
        if (rc < 0) {
            if (done)
                qcow2_refcount_add(s, cluster, done, -1);
            return rc;
        }
        uint64_t i = place.index;
        for (; done < *count && i < place.end && load_ref(s, &place, i) == 0; i++, done++)
            store_ref(s, &place, i, 1);
        qcow2_cache_put(&s->refcounts, place.slice);
        if (i < place.end)
            break;
    }
    *count = done;
    return 0;
}

int qcow2_alloc_at(struct qcow2 *s, uint64_t offset, uint64_t *count, bool *fresh)
{
    uint64_t cluster = offset >> s->cluster_bits;
    if (cluster + *count > QCOW2_MAX_HOST_OFFSET >> s->cluster_bits)
        return -EFBIG;
    int rc = take_at(s, cluster, count);
    if (rc < 0 || *count == 0)
        return rc;
    if (s->free_hint == cluster)
        s->free_hint = cluster + *count;
    return claim(s, cluster, *count, fresh);
}

int qcow2_alloc_exact(struct qcow2 *s, uint64_t count, uint64_t *offset)
{
    uint64_t from = s->free_hint;
    if (count >= BIT(s->refblock_bits))
        return qcow2_alloc_with_blocks(s, count, offset);
    for (;;) {
        uint64_t got = count, more;
        int rc = take_from(s, &from, &got);
        if (rc < 0)
            return rc;
        more = count - got;
        if (more)
            rc = take_at(s, from + got, &more);
        if (rc == 0 && got + more == count) {
            bool fresh;
            if (s->free_hint == from)
                s->free_hint = from + count;
            *offset = from << s->cluster_bits;
            return claim(s, from, count, &fresh);
        }
        qcow2_refcount_add(s, from, got + (rc == 0 ? more : 0), -1);
        if (rc < 0)
            return rc;
        from += got + more;
    }
}

int qcow2_free(struct qcow2 *s, uint64_t offset, uint64_t count, bool discard)
{
    struct qcow2_freed *last = s->freed;
    s->freed_clusters += count;
    /* What is going away takes no more compressed bytes. */
    if (s->packing && range_within(s->packing - 1, 1, offset, count << s->cluster_bits))
        s->packing = 0;
    if (last && last->discard == discard &&
        last->offset + (last->count << s->cluster_bits) == offset) {
        last->count += count;
        return 0;
    }
    struct qcow2_freed *item = malloc(sizeof(*item));
    if (!item)
        return -ENOMEM; /* they leak */
    *item = (struct qcow2_freed){last, offset, count, discard};
    s->freed = item;
    return 0;
}
