/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts the references to every host cluster of a qcow2 image: header, L1 and
 * L2 tables of the disk and its snapshots, snapshot table, refcount table and
 * blocks, encryption header, bitmaps. Tables are hostile here: nothing is
 * believed but what the file's length allows. Called by qcow2_check.c; the
 * lines it says are those of qemu-img check.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2_bitmap.h"
#include "block/qcow2_check.h"
#include "block/qcow2_snapshot.h"

#define REFTABLE_RESERVED UINT64_C(0x1ff)

/* One L1 table on its way. */
struct walk {
    struct qcow2_check *check;
    struct qcow2_refmap *counted;
    uint64_t *l2; /* a cluster */
    bool active;  /* of the disk, not of a snapshot */
    uint64_t next_offset;
};

static int count_range(struct qcow2_check *check, struct qcow2_refmap *counted, uint64_t offset,
                       uint64_t len)
{
    const struct qcow2 *s = check->s;
    if (len == 0)
        return 0;
    if (offset > INT64_MAX - len ||
        (offset + len > check->file_len && offset + len - check->file_len >= s->cluster_size)) {
        qcow2_check_say(check,
                        "ERROR: counting reference for region exceeding the end of the file by one "
                        "cluster or more: offset 0x%" PRIx64 " size 0x%" PRIx64,
                        offset, len);
        check->result->corruptions++;
        return 0;
    }
    uint64_t last = (offset + len - 1) >> s->cluster_bits;
    for (uint64_t c = offset >> s->cluster_bits; c <= last; c++) {
        int rc = qcow2_refmap_add(counted, c, 1, 1);
        if (rc == -ERANGE) {
            qcow2_check_say(check, "ERROR: overflow cluster offset=0x%" PRIx64,
                            c << s->cluster_bits);
            qcow2_check_say(check, "Use qemu-img amend to increase the refcount entry width or "
                                   "qemu-img convert to create a clean copy if the image cannot be "
                                   "opened for writing");
            check->result->corruptions++;
        } else if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int count(struct walk *w, uint64_t offset, uint64_t len)
{
    return count_range(w->check, w->counted, offset, len);
}

static void corruption(struct walk *w)
{
    w->check->result->corruptions++;
}

/* ---------------------------------------------------------------- L2 entries */

static int count_compressed(struct walk *w, uint64_t index, uint64_t entry, uint64_t bitmap)
{
    struct qcow2_check *check = w->check;
    uint64_t offset, len;
    qcow2_compressed_place(check->s, entry, &offset, &len);
    if (entry & QCOW2_COPIED) {
        qcow2_check_say(check,
                        "ERROR: coffset=0x%" PRIx64
                        ": copied flag must never be set for compressed clusters",
                        offset);
        corruption(w);
    }
    if (check->s->has_data_file || bitmap) {
        qcow2_check_say(check, "ERROR compressed cluster %" PRIu64 " with %s, entry=0x%" PRIx64,
                        index, bitmap ? "non-zero subcluster allocation bitmap" : "data file",
                        entry & ~QCOW2_COPIED);
        corruption(w);
        return 0;
    }
    if (w->active) {
        check->result->allocated_clusters++;
        check->result->compressed_clusters++;
        check->result->fragmented_clusters++; /* they are never in one piece */
    }
    return count(w, offset, len);
}

/* An entry whose space holds no data becomes one without space. Returns whether it did. */
static bool zero_entry(struct walk *w, uint64_t table, uint64_t word)
{
    struct qcow2 *s = w->check->s;
    uint64_t entry[2] = {htobe64(s->extended_l2 ? 0 : QCOW2_ZERO),
                         htobe64(UINT64_C(0xffffffff) << 32)};
    if (!(w->check->fix & BLOCK_FIX_ERRORS) || qcow2_metadata_at(s, table, s->cluster_size))
        return false;
    if (qcow2_file_write(s, table + word * 8, entry, s->l2_entry_size) < 0) {
        w->check->result->check_errors++;
        return false;
    }
    w->l2[word] = entry[0];
    w->check->result->corruptions--;
    w->check->result->corruptions_fixed++;
    return true;
}

static int count_standard(struct walk *w, uint64_t table, uint64_t word, uint64_t entry,
                          uint64_t bitmap)
{
    struct qcow2_check *check = w->check;
    const struct qcow2 *s = check->s;
    uint64_t offset = entry & QCOW2_OFFSET_MASK;
    if ((bitmap >> 32) & bitmap) {
        qcow2_check_say(check,
                        "ERROR offset=%" PRIx64
                        ": Allocated cluster has corrupted subcluster allocation bitmap",
                        offset);
        corruption(w);
    }
    if (qcow2_in_cluster(s, offset)) {
        bool data = s->extended_l2 ? (uint32_t)bitmap != 0 : !(entry & QCOW2_ZERO);
        corruption(w);
        qcow2_check_say(
            check, "%s offset=%" PRIx64 ": %s cluster is not properly aligned; L2 entry corrupted.",
            !data && (check->fix & BLOCK_FIX_ERRORS) ? "Repairing" : "ERROR", offset,
            data ? "Data" : "Preallocated");
        if (!data && zero_entry(w, table, word))
            return 0;
    }
    if (w->active) {
        check->result->allocated_clusters++;
        check->result->fragmented_clusters += w->next_offset && offset != w->next_offset;
        w->next_offset = offset + s->cluster_size;
    }
    return s->has_data_file ? 0 : count(w, offset, s->cluster_size);
}

static int count_l2(struct walk *w, uint64_t table)
{
    struct qcow2_check *check = w->check;
    const struct qcow2 *s = check->s;
    unsigned step = s->l2_entry_size / 8;
    w->next_offset = 0;
    int rc = qcow2_file_read(s->file, table, w->l2, s->cluster_size);
    if (rc < 0) {
        qcow2_check_say(check, "ERROR: I/O error in check_refcounts_l2");
        check->result->check_errors++;
        return 0;
    }
    for (uint64_t word = 0; word < s->cluster_size / 8 && rc == 0; word += step) {
        uint64_t entry = be64toh(w->l2[word]);
        uint64_t bitmap = s->extended_l2 ? be64toh(w->l2[word + 1]) : 0;
        if (entry & QCOW2_COMPRESSED) {
            rc = count_compressed(w, word / step, entry, bitmap);
            continue;
        }
        if (entry & QCOW2_L2_RESERVED) {
            qcow2_check_say(check, "ERROR found l2 entry with reserved bits set: %" PRIx64, entry);
            corruption(w);
        }
        if ((entry & QCOW2_OFFSET_MASK) || (s->has_data_file && (entry & QCOW2_COPIED))) {
            rc = count_standard(w, table, word, entry, bitmap);
        } else if ((uint32_t)bitmap) {
            qcow2_check_say(check, "ERROR: Unallocated cluster has non-zero subcluster allocation "
                                   "map");
            corruption(w);
        }
    }
    return rc;
}

/* ---------------------------------------------------------------- L1 tables */

/* Tables that lie over others would make the work endless. */
static bool is_over_others(struct walk *w, uint64_t offset)
{
    uint64_t refcount;
    if (qcow2_refmap_get(w->counted, offset >> w->check->s->cluster_bits, &refcount) == 0 &&
        refcount <= 1)
        return false;
    qcow2_check_say(w->check, "ERROR: the L1 table at 0x%" PRIx64 " lies over other metadata",
                    offset);
    corruption(w);
    w->check->result->check_errors++;
    return true;
}

static int count_l1_entries(struct walk *w, const uint64_t *l1, uint32_t entries)
{
    struct qcow2_check *check = w->check;
    const struct qcow2 *s = check->s;
    uint64_t tables = 0;
    int rc = 0;
    for (uint32_t i = 0; i < entries && rc == 0; i++) {
        uint64_t entry = be64toh(l1[i]), table = entry & QCOW2_OFFSET_MASK;
        if (!entry)
            continue;
        if (entry & QCOW2_L1_RESERVED) {
            qcow2_check_say(check, "ERROR found L1 entry with reserved bits set: %" PRIx64, entry);
            corruption(w);
        }
        rc = count(w, table, s->cluster_size);
        if (qcow2_in_cluster(s, table)) {
            qcow2_check_say(check,
                            "ERROR l2_offset=%" PRIx64
                            ": Table is not cluster aligned; L1 entry corrupted",
                            table);
            corruption(w);
        }
        if (++tables > qcow2_clusters(s, check->file_len) + 1) {
            qcow2_check_say(check, "ERROR: an L1 table has more L2 tables than there are clusters");
            check->result->check_errors++;
            break;
        }
        if (rc == 0 && table < check->file_len)
            rc = count_l2(w, table);
    }
    return rc;
}

static int count_l1(struct qcow2_check *check, struct qcow2_refmap *counted, uint64_t offset,
                    uint32_t entries, bool active)
{
    const struct qcow2 *s = check->s;
    uint64_t bytes = (uint64_t)entries * 8;
    if (entries == 0)
        return 0;
    cleanup_free uint64_t *l2 = malloc(s->cluster_size);
    cleanup_free uint64_t *l1 = malloc(bytes);
    if (!l1 || !l2)
        return -ENOMEM;
    struct walk w = {.check = check, .counted = counted, .l2 = l2, .active = active};
    int rc = count_range(check, counted, offset, bytes);
    if (rc < 0 || is_over_others(&w, offset))
        return rc;
    if (qcow2_file_read(s->file, offset, l1, bytes) < 0) {
        qcow2_check_say(check, "ERROR: I/O error in check_refcounts_l1");
        check->result->check_errors++;
        return 0;
    }
    return count_l1_entries(&w, l1, entries);
}

/* ---------------------------------------------------------------- the rest */

static int count_snapshots(struct qcow2_check *check, struct qcow2_refmap *counted)
{
    struct qcow2 *s = check->s;
    struct kv_error why = {0};
    int rc = qcow2_snapshots_load(s, &why);
    if (rc < 0) {
        qcow2_check_say(check, "ERROR failed to read the snapshot table: %s", why.message);
        check->result->check_errors++;
        return rc == -ENOMEM ? rc : 0;
    }
    for (uint32_t i = 0; i < s->header.nb_snapshots && rc == 0; i++) {
        const struct qcow2_snapshot *sn = &s->snapshots[i];
        bool unaligned = qcow2_in_cluster(s, sn->l1_offset);
        if (unaligned || sn->l1_size > QCOW2_MAX_L1_BYTES / 8) {
            qcow2_check_say(check,
                            "ERROR snapshot %s (%s) %s=%#" PRIx64
                            ": L1 table is %s; snapshot table entry corrupted",
                            sn->id, sn->name, unaligned ? "l1_offset" : "l1_size",
                            unaligned ? sn->l1_offset : sn->l1_size,
                            unaligned ? "not cluster aligned" : "too large");
            check->result->corruptions++;
            continue;
        }
        rc = count_l1(check, counted, sn->l1_offset, sn->l1_size, false);
    }
    if (rc == 0 && s->header.nb_snapshots)
        rc = count_range(check, counted, s->header.snapshots_offset,
                         qcow2_snapshots_size(s->snapshots, s->header.nb_snapshots));
    return rc;
}

/* What is wrong with a refcount table entry; NULL: nothing. */
static bool refblock_is_bad(struct qcow2_check *check, uint64_t index, uint64_t entry)
{
    const struct qcow2 *s = check->s;
    uint64_t place = entry & QCOW2_REFTABLE_MASK;
    if (entry & REFTABLE_RESERVED)
        qcow2_check_say(check, "ERROR refcount table entry %" PRIu64 " has reserved bits set",
                        index);
    else if (qcow2_in_cluster(s, place))
        qcow2_check_say(check,
                        "ERROR refcount block %" PRIu64
                        " is not cluster aligned; refcount table entry corrupted",
                        index);
    else if (place >> s->cluster_bits >= qcow2_clusters(s, check->file_len))
        qcow2_check_say(check, "ERROR refcount block %" PRIu64 " is outside image", index);
    else
        return false;
    check->result->corruptions++;
    check->rebuild = true;
    return true;
}

static int count_refblocks(struct qcow2_check *check, struct qcow2_refmap *counted)
{
    const struct qcow2 *s = check->s;
    int rc = count_range(check, counted, s->header.reftable_offset,
                         (uint64_t)s->header.reftable_clusters << s->cluster_bits);
    for (uint64_t i = 0; i < s->reftable_entries && rc == 0; i++) {
        uint64_t place = s->reftable[i] & QCOW2_REFTABLE_MASK, refcount;
        if (s->reftable[i] == 0 || refblock_is_bad(check, i, s->reftable[i]))
            continue;
        rc = count_range(check, counted, place, s->cluster_size);
        if (rc == 0)
            rc = qcow2_refmap_get(counted, place >> s->cluster_bits, &refcount);
        if (rc == 0 && refcount != 1) {
            qcow2_check_say(check, "ERROR refcount block %" PRIu64 " refcount=%" PRIu64, i,
                            refcount);
            check->result->corruptions++;
            check->rebuild = true;
        }
    }
    return rc;
}

static int count_bitmaps(struct qcow2_check *check, struct qcow2_refmap *counted)
{
    struct qcow2 *s = check->s;
    struct qcow2_bitmap_list bitmaps = {0};
    struct kv_error why = {0};
    if (!qcow2_bitmaps_valid(s))
        return 0;
    int rc = count_range(check, counted, s->bitmap_directory_offset, s->bitmap_directory_size);
    if (rc == 0 && qcow2_bitmaps_load(s, &bitmaps, &why) < 0) {
        qcow2_check_say(check, "ERROR: bitmap directory: %s", why.message);
        check->result->corruptions++;
        check->result->check_errors++;
        return 0;
    }
    for (uint32_t i = 0; i < bitmaps.count && rc == 0; i++) {
        const struct qcow2_bitmap *bitmap = &bitmaps.bitmaps[i];
        uint64_t *table = NULL;
        rc = count_range(check, counted, bitmap->table_offset, (uint64_t)bitmap->table_size * 8);
        if (rc == 0)
            rc = qcow2_bitmap_read_table(s, bitmap, &table);
        for (uint32_t k = 0; k < bitmap->table_size && rc == 0; k++) {
            uint64_t place = table[k] & QCOW2_OFFSET_MASK;
            if (!qcow2_bitmap_entry_valid(s, table[k]))
                check->result->corruptions++;
            else if (place)
                rc = count_range(check, counted, place, s->cluster_size);
        }
        free(table);
    }
    qcow2_bitmaps_free(&bitmaps);
    return rc;
}

int qcow2_count(struct qcow2_check *check, struct qcow2_refmap *counted, bool refblocks)
{
    const struct qcow2 *s = check->s;
    const struct qcow2_header *h = &s->header;
    check->result->total_clusters = qcow2_clusters(s, h->size);
    int rc = count_range(check, counted, 0, s->cluster_size);
    if (rc == 0)
        rc = count_l1(check, counted, h->l1_offset, h->l1_size, true);
    if (rc == 0)
        rc = count_snapshots(check, counted);
    if (rc == 0 && s->crypto_offset)
        rc = count_range(check, counted, s->crypto_offset, s->crypto_len);
    if (rc == 0)
        rc = count_bitmaps(check, counted);
    return rc == 0 && refblocks ? count_refblocks(check, counted) : rc;
}
