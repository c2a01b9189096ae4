/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots of a qcow2 image: taken, gone back to, removed, listed
 * (spec "Snapshots"). Each works on a copy of the metadata that it changes: new
 * L1 and L2 tables where needed, a new snapshot table, refcounts in a map; one
 * write of the header's sector makes all of it the image. What is on disk
 * before and after has right refcounts and COPIED flags, whenever power fails.
 */
#include "block/qcow2_snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "block/qcow2_bitmap.h"

/* One operation. */
struct change {
    struct qcow2 *s;
    struct qcow2_refmap map;
    struct qcow2_header header;       /* what it will be */
    struct qcow2_snapshot *snapshots; /* the same; header.nb_snapshots */
    uint64_t *l2;                     /* one L2 table, big-endian */
    uint64_t *l1;                     /* the new active L1 table, host order; header.l1_size */
};

static int say(const struct qcow2 *s, int rc, const char *what, struct kv_error *err)
{
    if (rc == -EIO)
        return kv_error_set(err, KV_ERR_BLOCK, EIO,
                            "'%s': %s: the image's refcounts or tables are damaged, or cannot be "
                            "read; see 'kvasir-img check'",
                            s->node->name, what);
    if (rc == -ERANGE)
        return kv_error_set(err, KV_ERR_BLOCK, ERANGE,
                            "'%s': %s: refcounts of %u bits are too narrow for one more snapshot",
                            s->node->name, what, 1u << s->refcount_order);
    return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': %s", s->node->name, what);
}

/* ------------------------------------------------------------- what is reached */

static int read_l1(struct qcow2 *s, uint64_t offset, uint32_t entries, uint64_t **out)
{
    uint64_t *l1 = malloc(MAX((uint64_t)entries * 8, (uint64_t)8));
    int rc = l1 ? qcow2_file_read(s->file, offset, l1, (uint64_t)entries * 8) : -ENOMEM;
    if (rc < 0) {
        free(l1);
        return rc;
    }
    for (uint32_t i = 0; i < entries; i++)
        l1[i] = be64toh(l1[i]);
    *out = l1;
    return 0;
}

/* Into c->l2; *table: its place, 0: none. */
static int read_l2(struct change *c, uint64_t l1_entry, uint64_t *table)
{
    *table = l1_entry & QCOW2_OFFSET_MASK;
    if (qcow2_in_cluster(c->s, *table) || (l1_entry & QCOW2_L1_RESERVED))
        return -EIO;
    return *table ? qcow2_file_read(c->s->file, *table, c->l2, c->s->cluster_size) : 0;
}

static uint64_t l2_words(const struct qcow2 *s)
{
    return s->cluster_size / 8;
}

/* Host clusters of an L2 entry. */
static int entry_clusters(const struct qcow2 *s, uint64_t entry, uint64_t *first, uint64_t *count)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK, len = s->cluster_size;
    *count = 0;
    if (entry & QCOW2_COMPRESSED)
        qcow2_compressed_place(s, entry, &offset, &len);
    else if (!offset)
        return 0;
    else if (qcow2_in_cluster(s, offset))
        return -EIO;
    *first = offset >> s->cluster_bits;
    *count = ((offset + len - 1) >> s->cluster_bits) - *first + 1;
    return 0;
}

/* References of all entries of c->l2. */
static int add_l2_entries(struct change *c, int delta)
{
    const struct qcow2 *s = c->s;
    int rc = 0;
    for (uint64_t i = 0; i < l2_words(s) && rc == 0; i += s->l2_entry_size / 8) {
        uint64_t first, count;
        rc = entry_clusters(s, be64toh(c->l2[i]), &first, &count);
        if (rc == 0 && count)
            rc = qcow2_refmap_add(&c->map, first, count, delta);
    }
    return rc;
}

/* All that an L1 table reaches loses a reference. */
static int drop_l1(struct change *c, const uint64_t *l1, uint32_t entries)
{
    int rc = 0;
    for (uint32_t i = 0; i < entries && rc == 0; i++) {
        uint64_t table;
        rc = read_l2(c, l1[i], &table);
        if (rc < 0 || !table)
            continue;
        rc = add_l2_entries(c, -1);
        if (rc == 0)
            rc = qcow2_refmap_release(&c->map, table, c->s->cluster_size);
    }
    return rc;
}

/* The COPIED flags of c->l2 as the map's refcounts want them. *differ: some were not so. */
static int set_flags(struct change *c, bool *differ)
{
    const struct qcow2 *s = c->s;
    *differ = false;
    for (uint64_t i = 0; i < l2_words(s); i += s->l2_entry_size / 8) {
        uint64_t entry = be64toh(c->l2[i]), wanted = entry & ~QCOW2_COPIED, refcount;
        if (!(entry & QCOW2_COMPRESSED) && (entry & QCOW2_OFFSET_MASK)) {
            uint64_t cluster = (entry & QCOW2_OFFSET_MASK) >> s->cluster_bits;
            int rc = qcow2_refmap_get(&c->map, cluster, &refcount);
            if (rc < 0)
                return rc;
            wanted |= refcount == 1 ? QCOW2_COPIED : 0;
        }
        *differ |= wanted != entry;
        c->l2[i] = htobe64(wanted);
    }
    return 0;
}

/* c->l2 gets a new place instead of *table. */
static int move_l2(struct change *c, uint64_t *table)
{
    uint64_t place;
    int rc = qcow2_refmap_alloc(&c->map, 1, &place);
    if (rc == 0)
        rc = qcow2_file_write(c->s, place, c->l2, c->s->cluster_size);
    if (rc == 0)
        rc = qcow2_refmap_release(&c->map, *table, c->s->cluster_size);
    *table = place;
    return rc;
}

/* ------------------------------------------------------------- new top-level tables */

static int write_l1(struct change *c, const uint64_t *l1, uint32_t entries, uint64_t *offset)
{
    uint64_t bytes = (uint64_t)entries * 8;
    *offset = 0;
    if (entries == 0)
        return 0;
    cleanup_free uint64_t *disk = malloc(bytes);
    if (!disk)
        return -ENOMEM;
    for (uint32_t i = 0; i < entries; i++)
        disk[i] = htobe64(l1[i]);
    int rc = qcow2_refmap_alloc(&c->map, qcow2_clusters(c->s, bytes), offset);
    return rc < 0 ? rc : qcow2_file_write(c->s, *offset, disk, bytes);
}

/* The active L1 table's place changes, so that header and table change at once. */
static int replace_active_l1(struct change *c)
{
    const struct qcow2_header *old = &c->s->header;
    int rc = qcow2_refmap_release(&c->map, old->l1_offset, (uint64_t)old->l1_size * 8);
    return rc < 0 ? rc : write_l1(c, c->l1, c->header.l1_size, &c->header.l1_offset);
}

static int replace_snapshot_table(struct change *c)
{
    const struct qcow2 *s = c->s;
    int rc = qcow2_refmap_release(&c->map, s->header.snapshots_offset,
                                  qcow2_snapshots_size(s->snapshots, s->header.nb_snapshots));
    return rc < 0 ? rc
                  : qcow2_snapshots_write(&c->map, c->snapshots, c->header.nb_snapshots,
                                          &c->header.snapshots_offset);
}

/* ------------------------------------------------------------- begin, end */

static void change_free(struct change *c)
{
    qcow2_refmap_free(&c->map);
    qcow2_snapshots_free(c->snapshots, c->header.nb_snapshots);
    free(c->l1);
    free(c->l2);
}

/* After this the image belongs to the caller, until change_end(). */
static int change_begin(struct change *c, struct qcow2 *s, struct kv_error *err)
{
    *c = (struct change){.s = s};
    if (s->has_data_file)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': images with an external data file have no internal snapshots",
                            s->node->name);
    int rc = qcow2_prepare_write(s);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be written to", s->node->name);
    qcow2_exclusive_begin(s);
    rc = qcow2_settle(s);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': metadata cannot be written", s->node->name);
    if (rc == 0)
        rc = qcow2_snapshots_load(s, err);
    if (rc == 0)
        rc = qcow2_refmap_init(&c->map, s, true, err);
    if (rc == 0) {
        c->header = s->header;
        c->l2 = malloc(s->cluster_size);
        if (!c->l2 || qcow2_snapshots_copy(s, &c->snapshots) < 0)
            rc = kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    }
    if (rc < 0) {
        c->header.nb_snapshots = c->snapshots ? c->header.nb_snapshots : 0;
        change_free(c);
        qcow2_exclusive_end(s);
    }
    return rc;
}

/* rc: how the work went so far; 0: what was prepared becomes the image. */
static int change_end(struct change *c, int rc, const char *what, struct kv_error *err)
{
    struct qcow2 *s = c->s;
    uint32_t before = s->header.nb_snapshots;
    if (rc < 0) {
        say(s, rc, what, err);
    } else {
        rc = qcow2_refmap_commit(&c->map, &c->header, err);
        if (s->header.snapshots_offset == c->header.snapshots_offset) { /* it is the image */
            struct qcow2_snapshot *old = s->snapshots;
            s->snapshots = take_ptr(c->snapshots);
            qcow2_snapshots_free(old, before);
            block_set_size(s->node, ALIGN_UP(s->header.size, (uint64_t)512));
        }
    }
    change_free(c);
    qcow2_exclusive_end(s);
    return rc;
}

/* Its index, or -ENOENT. An id first, else a name. */
static int find(const struct qcow2 *s, const char *id_or_name, struct kv_error *err)
{
    for (int by_name = 0; by_name < 2; by_name++) {
        for (uint32_t i = 0; i < s->header.nb_snapshots; i++) {
            const struct qcow2_snapshot *sn = &s->snapshots[i];
            if (strcmp(by_name ? sn->name : sn->id, id_or_name) == 0)
                return (int)i;
        }
    }
    return kv_error_set(err, KV_ERR_BLOCK, ENOENT, "'%s': there is no snapshot '%s'", s->node->name,
                        id_or_name);
}

static int check_snapshot_l1(struct qcow2 *s, const struct qcow2_snapshot *sn, struct kv_error *err)
{
    return qcow2_check_table(s, "L1 table of the snapshot", sn->l1_offset, sn->l1_size, 8,
                             QCOW2_MAX_L1_BYTES, err);
}

/* change_begin() for what is done with a snapshot that exists. Its index, or -errno and nothing
 * began. */
static int change_begin_at(struct change *c, struct qcow2 *s, const char *id_or_name,
                           struct kv_error *err)
{
    int rc = change_begin(c, s, err);
    if (rc < 0)
        return rc;
    int index = find(s, id_or_name, err);
    rc = index < 0 ? index : check_snapshot_l1(s, &s->snapshots[index], err);
    if (rc == 0)
        return index;
    change_free(c);
    qcow2_exclusive_end(s);
    return rc;
}

/* ------------------------------------------------------------- create */

/* Both disks share all L2 tables: those with COPIED flags are written anew without. */
static int share_l2_tables(struct change *c)
{
    const struct qcow2 *s = c->s;
    int rc = 0;
    c->l1 = calloc(MAX(s->header.l1_size, 1u), 8);
    if (!c->l1)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->header.l1_size && rc == 0; i++) {
        uint64_t table;
        bool differ;
        rc = read_l2(c, s->l1[i], &table);
        if (rc < 0 || !table)
            continue;
        rc = add_l2_entries(c, 1);
        if (rc == 0)
            rc = set_flags(c, &differ);
        if (rc == 0 && differ)
            rc = move_l2(c, &table);
        if (rc == 0)
            rc = qcow2_refmap_add(&c->map, table >> s->cluster_bits, 1, 1);
        c->l1[i] = table;
    }
    return rc;
}

static uint64_t next_id(const struct qcow2 *s)
{
    uint64_t highest = 0;
    for (uint32_t i = 0; i < s->header.nb_snapshots; i++)
        highest = MAX(highest, strtoull(s->snapshots[i].id, NULL, 10));
    return highest + 1;
}

static int describe(struct change *c, struct block_snapshot *wanted)
{
    struct qcow2_snapshot *sn = &c->snapshots[c->header.nb_snapshots++];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!wanted->id[0])
        snprintf(wanted->id, sizeof(wanted->id), "%" PRIu64, next_id(c->s));
    if (!wanted->date_sec) {
        wanted->date_sec = (uint64_t)now.tv_sec;
        wanted->date_nsec = (uint32_t)now.tv_nsec;
    }
    wanted->disk_size = c->s->header.size;
    *sn = (struct qcow2_snapshot){
        .l1_size = c->s->header.l1_size,
        .id = strdup(wanted->id),
        .name = strdup(wanted->name),
        .date_sec = (uint32_t)wanted->date_sec,
        .date_nsec = wanted->date_nsec,
        .vm_clock_nsec = wanted->vm_clock_nsec,
        .vm_state_size = wanted->vm_state_size,
        .disk_size = wanted->disk_size,
        .icount = wanted->icount,
    };
    return sn->id && sn->name ? 0 : -ENOMEM;
}

static int create(struct block_node *node, struct block_snapshot *wanted, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    struct change c;
    int rc = change_begin(&c, s, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < s->header.nb_snapshots && rc == 0; i++) {
        if (strcmp(s->snapshots[i].id, wanted->id) == 0)
            rc = -EEXIST;
    }
    if (rc == 0 && s->header.nb_snapshots >= QCOW2_MAX_SNAPSHOTS)
        rc = -EFBIG;
    if (rc == 0)
        rc = describe(&c, wanted);
    if (rc == 0)
        rc = share_l2_tables(&c);
    if (rc == 0)
        rc =
            write_l1(&c, c.l1, c.header.l1_size, &c.snapshots[c.header.nb_snapshots - 1].l1_offset);
    if (rc == 0)
        rc = replace_active_l1(&c);
    if (rc == 0)
        rc = replace_snapshot_table(&c);
    return change_end(&c, rc, "no snapshot can be taken", err);
}

/* ------------------------------------------------------------- apply */

/* Flags in a snapshot's table mean nothing until it is active: they are cleared in place. */
static int clear_flags_in_place(struct change *c, uint64_t table)
{
    struct qcow2 *s = c->s;
    bool differ;
    int rc = set_flags(c, &differ);
    if (rc < 0 || !differ)
        return rc;
    pthread_mutex_lock(&s->lock);
    rc = qcow2_check_overlap(s, table, s->cluster_size);
    pthread_mutex_unlock(&s->lock);
    return rc < 0 ? rc : qcow2_file_write(s, table, c->l2, s->cluster_size);
}

/* The snapshot's tables become those of the disk too. */
static int adopt_l2_tables(struct change *c, const uint64_t *from, uint32_t entries)
{
    int rc = 0;
    for (uint32_t i = 0; i < entries && rc == 0; i++) {
        uint64_t table;
        rc = read_l2(c, from[i], &table);
        if (rc < 0 || !table)
            continue;
        c->l1[i] = table;
        rc = add_l2_entries(c, 1);
        if (rc == 0)
            rc = qcow2_refmap_add(&c->map, table >> c->s->cluster_bits, 1, 1);
    }
    return rc;
}

static int clear_adopted_flags(struct change *c)
{
    int rc = 0;
    for (uint32_t i = 0; i < c->header.l1_size && rc == 0; i++) {
        uint64_t table;
        rc = read_l2(c, c->l1[i], &table);
        if (rc == 0 && table)
            rc = clear_flags_in_place(c, table);
    }
    return rc;
}

static int go_back(struct change *c, const struct qcow2_snapshot *sn)
{
    struct qcow2 *s = c->s;
    cleanup_free uint64_t *from = NULL;
    uint64_t entries = MAX(qcow2_l1_entries(s, sn->disk_size), (uint64_t)sn->l1_size);
    if (sn->disk_size > INT64_MAX - s->cluster_size || entries > QCOW2_MAX_L1_BYTES / 8)
        return -EFBIG;
    c->header.size = sn->disk_size;
    c->header.l1_size = (uint32_t)entries;
    c->l1 = calloc(MAX(entries, (uint64_t)1), 8);
    if (!c->l1)
        return -ENOMEM;
    int rc = read_l1(s, sn->l1_offset, sn->l1_size, &from);
    if (rc == 0)
        rc = adopt_l2_tables(c, from, sn->l1_size);
    if (rc == 0)
        rc = drop_l1(c, s->l1, s->header.l1_size);
    if (rc == 0)
        rc = clear_adopted_flags(c);
    return rc < 0 ? rc : replace_active_l1(c);
}

static int apply(struct block_node *node, const char *id_or_name, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    struct change c;
    int index = change_begin_at(&c, s, id_or_name, err), rc;
    if (index < 0)
        return index;
    /* All of the disk may be different then. */
    rc = qcow2_track(s, 0, s->header.size);
    c.header.autoclear = s->header.autoclear;
    if (rc == 0 && qcow2_bitmaps_valid(s) && s->snapshots[index].disk_size != s->header.size)
        rc = -ENOTSUP;
    if (rc == 0)
        rc = go_back(&c, &s->snapshots[index]);
    return change_end(&c, rc, "the snapshot cannot be gone back to", err);
}

/* ------------------------------------------------------------- remove */

/* What only the disk has left gets its COPIED flag; tables that change are written anew. */
static int own_what_is_left(struct change *c)
{
    const struct qcow2 *s = c->s;
    int rc = 0;
    c->l1 = calloc(MAX(s->header.l1_size, 1u), 8);
    if (!c->l1)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->header.l1_size && rc == 0; i++) {
        uint64_t table, refcount = 0;
        bool differ = false;
        rc = read_l2(c, s->l1[i], &table);
        if (rc < 0 || !table)
            continue;
        rc = set_flags(c, &differ);
        if (rc == 0 && differ)
            rc = move_l2(c, &table);
        if (rc == 0)
            rc = qcow2_refmap_get(&c->map, table >> s->cluster_bits, &refcount);
        c->l1[i] = table | (refcount == 1 ? QCOW2_COPIED : 0);
    }
    return rc;
}

static int remove_at(struct change *c, uint32_t index)
{
    struct qcow2 *s = c->s;
    cleanup_free uint64_t *l1 = NULL;
    const struct qcow2_snapshot *sn = &s->snapshots[index];
    int rc = read_l1(s, sn->l1_offset, sn->l1_size, &l1);
    if (rc == 0)
        rc = drop_l1(c, l1, sn->l1_size);
    if (rc == 0)
        rc = qcow2_refmap_release(&c->map, sn->l1_offset, (uint64_t)sn->l1_size * 8);
    if (rc < 0)
        return rc;
    qcow2_snapshot_clear(&c->snapshots[index]);
    c->header.nb_snapshots--;
    memmove(&c->snapshots[index], &c->snapshots[index + 1],
            (c->header.nb_snapshots - index) * sizeof(*c->snapshots));
    rc = own_what_is_left(c);
    if (rc == 0)
        rc = replace_active_l1(c);
    return rc < 0 ? rc : replace_snapshot_table(c);
}

static int remove_snapshot(struct block_node *node, const char *id_or_name, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    struct change c;
    int index = change_begin_at(&c, s, id_or_name, err), rc;
    if (index < 0)
        return index;
    rc = remove_at(&c, (uint32_t)index);
    return change_end(&c, rc, "the snapshot cannot be removed", err);
}

/* ------------------------------------------------------------- list */

static int list(struct block_node *node, struct block_snapshot **out, unsigned *count,
                struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    qcow2_exclusive_begin(s);
    int rc = qcow2_snapshots_load(s, err);
    struct block_snapshot *all =
        rc < 0 ? NULL : calloc(MAX(s->header.nb_snapshots, 1u), sizeof(*all));
    if (rc == 0 && !all)
        rc = kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    for (uint32_t i = 0; rc == 0 && i < s->header.nb_snapshots; i++) {
        const struct qcow2_snapshot *sn = &s->snapshots[i];
        all[i] = (struct block_snapshot){
            .vm_state_size = sn->vm_state_size,
            .date_sec = sn->date_sec,
            .date_nsec = sn->date_nsec,
            .vm_clock_nsec = sn->vm_clock_nsec,
            .disk_size = sn->disk_size,
            .icount = sn->icount,
        };
        snprintf(all[i].id, sizeof(all[i].id), "%s", sn->id);
        snprintf(all[i].name, sizeof(all[i].name), "%s", sn->name);
    }
    if (rc == 0) {
        *out = all;
        *count = s->header.nb_snapshots;
    }
    qcow2_exclusive_end(s);
    return rc;
}

/* ------------------------------------------------------------- load */

/* The snapshot's L1 table and size in place of the disk's, in memory only. Under gate (write). */
static int show(struct qcow2 *s, const struct qcow2_snapshot *sn)
{
    cleanup_free uint64_t *from = NULL;
    uint64_t entries = MAX(qcow2_l1_entries(s, sn->disk_size), (uint64_t)sn->l1_size);
    if (sn->disk_size > INT64_MAX - s->cluster_size || entries > QCOW2_MAX_L1_BYTES / 8)
        return -EFBIG;
    uint64_t *l1 = calloc(MAX(entries, (uint64_t)1), 8);
    int rc = l1 ? read_l1(s, sn->l1_offset, sn->l1_size, &from) : -ENOMEM;
    if (rc < 0) {
        free(l1);
        return rc;
    }
    memcpy(l1, from, (size_t)sn->l1_size * 8);
    pthread_mutex_lock(&s->lock);
    free(s->l1);
    s->l1 = l1;
    s->header.l1_size = (uint32_t)entries;
    s->header.size = sn->disk_size;
    pthread_mutex_unlock(&s->lock);
    block_set_size(s->node, ALIGN_UP(sn->disk_size, (uint64_t)512));
    return 0;
}

static int load(struct block_node *node, const char *id_or_name, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    if (!s->readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': a snapshot is shown of images that are open for reading only",
                            node->name);
    qcow2_exclusive_begin(s);
    int rc = qcow2_snapshots_load(s, err);
    int index = rc < 0 ? rc : find(s, id_or_name, err);
    rc = index < 0 ? index : check_snapshot_l1(s, &s->snapshots[index], err);
    if (rc == 0) {
        rc = show(s, &s->snapshots[index]);
        if (rc < 0)
            say(s, rc, "the snapshot cannot be shown", err);
    }
    qcow2_exclusive_end(s);
    return rc;
}

const struct block_snapshot_ops qcow2_snapshot_ops = {
    .create = create,
    .apply = apply,
    .remove = remove_snapshot,
    .list = list,
    .load = load,
};
