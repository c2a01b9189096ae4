/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The refcount map of a qcow2 image, and the atomic switch from one set of
 * top-level tables to another. Called by qcow2_snapshot.c and qcow2_check.c.
 */
#include "block/qcow2_refmap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define BLOCKS_MAX (QCOW2_MAX_REFTABLE_BYTES / 8)
#define ROOM_MIN MIB(32)
#define ROOM_SHARE 32 /* a refcount takes an eighth of a cluster's 512 bytes at most */
#define HEADER_AT 24u /* the first of the header's fields that are switched */
#define HEADER_LEN 48u

static uint64_t refs_per_block(const struct qcow2 *s)
{
    return BIT(s->refblock_bits);
}

int qcow2_refmap_init(struct qcow2_refmap *map, struct qcow2 *s, bool backed, struct kv_error *err)
{
    int64_t allocated = block_allocated_size(s->file);
    *map = (struct qcow2_refmap){.s = s, .backed = backed, .count = s->reftable_entries};
    map->room = ROOM_MIN + (allocated > 0 ? (uint64_t)allocated / ROOM_SHARE : 0) * 2;
    map->blocks = calloc(MAX(map->count, 1u), sizeof(*map->blocks));
    return map->blocks
               ? 0
               : kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
}

static void free_block(struct qcow2_refblock *block)
{
    if (block)
        free(block->held);
    free(block);
}

void qcow2_refmap_free(struct qcow2_refmap *map)
{
    /* Also of a change that failed: what it wrote behind the image's end is no longer zero. */
    if (map->s && map->s->fresh_from != UINT64_MAX)
        map->s->fresh_from = MAX(map->s->fresh_from, map->end);
    for (uint64_t i = 0; i < map->count && map->blocks; i++)
        free_block(map->blocks[i]);
    free(map->blocks);
    *map = (struct qcow2_refmap){0};
}

/* ------------------------------------------------------------------- blocks */

static int grow(struct qcow2_refmap *map, uint64_t count)
{
    if (count > BLOCKS_MAX)
        return -EFBIG;
    count = MIN(MAX(count, map->count + map->count / 2), BLOCKS_MAX);
    struct qcow2_refblock **blocks = realloc(map->blocks, count * sizeof(*blocks));
    if (!blocks)
        return -ENOMEM;
    memset(blocks + map->count, 0, (count - map->count) * sizeof(*blocks));
    map->blocks = blocks;
    map->count = count;
    return 0;
}

/* Where the image has a block; 0: nowhere. */
static int place_on_disk(const struct qcow2_refmap *map, uint64_t index, uint64_t *place)
{
    const struct qcow2 *s = map->s;
    *place =
        map->backed && index < s->reftable_entries ? s->reftable[index] & QCOW2_REFTABLE_MASK : 0;
    return qcow2_in_cluster(s, *place) || *place > INT64_MAX ? -EIO : 0;
}

/* *out NULL: there is none, all its refcounts are 0 (not with create). */
static int get_block(struct qcow2_refmap *map, uint64_t index, bool create,
                     struct qcow2_refblock **out)
{
    struct qcow2 *s = map->s;
    uint64_t place;
    *out = index < map->count ? map->blocks[index] : NULL;
    if (*out)
        return 0;
    int rc = place_on_disk(map, index, &place);
    if (rc < 0 || (!place && !create))
        return rc;
    if (index >= map->count)
        rc = grow(map, index + 1);
    if (rc < 0)
        return rc;
    if (map->bytes + s->cluster_size > map->room)
        return -ENOMEM;
    struct qcow2_refblock *block = calloc(1, sizeof(*block) + s->cluster_size);
    if (!block)
        return -ENOMEM;
    block->place = place;
    rc = place ? qcow2_file_read(s->file, place, block->data, s->cluster_size) : 0;
    if (rc < 0) {
        free_block(block);
        return rc;
    }
    map->bytes += s->cluster_size;
    *out = map->blocks[index] = block;
    return 0;
}

static bool is_held(const struct qcow2_refblock *block, uint64_t i)
{
    return block->held && (block->held[i / 8] >> (i % 8) & 1);
}

static int hold(const struct qcow2 *s, struct qcow2_refblock *block, uint64_t i)
{
    if (!block->held)
        block->held = calloc(1, refs_per_block(s) / 8 + 1);
    if (!block->held)
        return -ENOMEM;
    block->held[i / 8] |= (uint8_t)(1u << (i % 8));
    return 0;
}

/* ---------------------------------------------------------------- refcounts */

int qcow2_refmap_get(struct qcow2_refmap *map, uint64_t cluster, uint64_t *refcount)
{
    const struct qcow2 *s = map->s;
    struct qcow2_refblock *block;
    int rc = get_block(map, cluster >> s->refblock_bits, false, &block);
    *refcount = rc == 0 && block ? qcow2_refcount_load(block->data, s->refcount_order,
                                                       cluster & (refs_per_block(s) - 1))
                                 : 0;
    return rc;
}

static int add_one(struct qcow2_refmap *map, uint64_t cluster, int delta)
{
    const struct qcow2 *s = map->s;
    uint64_t i = cluster & (refs_per_block(s) - 1);
    struct qcow2_refblock *block;
    int rc = get_block(map, cluster >> s->refblock_bits, !map->backed, &block);
    if (rc < 0 || !block)
        return rc < 0 ? rc : -EIO;
    uint64_t now = qcow2_refcount_load(block->data, s->refcount_order, i);
    if (delta > 0 ? now == 0 && map->backed : now == 0)
        return -EIO;
    if (delta > 0 && now == s->refcount_max)
        return -ERANGE;
    if (delta < 0 && now == 1 && map->backed)
        rc = hold(s, block, i);
    if (rc < 0)
        return rc;
    qcow2_refcount_store(block->data, s->refcount_order, i, delta > 0 ? now + 1 : now - 1);
    block->dirty = true;
    return 0;
}

int qcow2_refmap_add(struct qcow2_refmap *map, uint64_t cluster, uint64_t count, int delta)
{
    int rc = 0;
    for (uint64_t i = 0; i < count && rc == 0; i++)
        rc = add_one(map, cluster + i, delta);
    return rc;
}

int qcow2_refmap_release(struct qcow2_refmap *map, uint64_t offset, uint64_t bytes)
{
    return qcow2_refmap_add(map, offset >> map->s->cluster_bits, qcow2_clusters(map->s, bytes), -1);
}

/* --------------------------------------------------------------- allocation */

/* 1: free; 0: in use. */
static int is_free(struct qcow2_refmap *map, uint64_t cluster)
{
    const struct qcow2 *s = map->s;
    uint64_t i = cluster & (refs_per_block(s) - 1);
    struct qcow2_refblock *block;
    int rc = get_block(map, cluster >> s->refblock_bits, false, &block);
    if (rc < 0 || !block)
        return rc < 0 ? rc : 1;
    return qcow2_refcount_load(block->data, s->refcount_order, i) == 0 && !is_held(block, i);
}

/* The image must not be told that its own metadata is free. */
static int check_place(struct qcow2_refmap *map, uint64_t offset, uint64_t len)
{
    struct qcow2 *s = map->s;
    if (!map->backed)
        return 0; /* counted, not believed */
    pthread_mutex_lock(&s->lock);
    int rc = qcow2_check_overlap(s, offset, len);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int take(struct qcow2_refmap *map, uint64_t first, uint64_t count)
{
    struct qcow2 *s = map->s;
    for (uint64_t c = first; c < first + count; c++) {
        struct qcow2_refblock *block;
        int rc = get_block(map, c >> s->refblock_bits, true, &block);
        if (rc < 0)
            return rc;
        qcow2_refcount_store(block->data, s->refcount_order, c & (refs_per_block(s) - 1), 1);
        block->dirty = true;
    }
    uint64_t end = (first + count) << s->cluster_bits;
    map->end = MAX(map->end, end);
    if (end > block_size(s->file) && !s->file->info.growable)
        return block_resize(s->file, end, NULL);
    return 0;
}

int qcow2_refmap_alloc(struct qcow2_refmap *map, uint64_t count, uint64_t *offset)
{
    const struct qcow2 *s = map->s;
    uint64_t run = 0;
    bool passed_free = false;
    for (uint64_t c = map->hint; c <= QCOW2_MAX_HOST_OFFSET >> s->cluster_bits; c++) {
        int rc = is_free(map, c);
        if (rc < 0)
            return rc;
        passed_free |= rc > 0;
        if (!passed_free)
            map->hint = c + 1;
        run = rc ? run + 1 : 0;
        if (run < count)
            continue;
        uint64_t first = c + 1 - count;
        *offset = first << s->cluster_bits;
        rc = check_place(map, *offset, count << s->cluster_bits);
        return rc < 0 ? rc : take(map, first, count);
    }
    return -EFBIG;
}

/* ------------------------------------------------------------------- commit */

struct new_table {
    uint64_t offset, clusters; /* of the refcount table */
    bool placed;
};

/* Gives a changed block a place that the disk does not use. */
static int move_block(struct qcow2_refmap *map, struct qcow2_refblock *block)
{
    uint64_t place;
    int rc = qcow2_refmap_alloc(map, 1, &place);
    if (rc == 0 && block->place)
        rc = qcow2_refmap_release(map, block->place, map->s->cluster_size);
    block->place = place;
    block->moved = true;
    return rc;
}

/* Placing changes refcounts, so that other blocks must be placed, until all are. */
static int place_all(struct qcow2_refmap *map, struct new_table *table)
{
    struct qcow2 *s = map->s;
    unsigned entry_bits = s->cluster_bits - 3;
    bool again = true;
    int rc = 0;
    while (again && rc == 0) {
        again = false;
        for (uint64_t i = 0; i < map->count && rc == 0; i++) {
            struct qcow2_refblock *block = map->blocks[i];
            if (!block || !block->dirty || block->moved)
                continue;
            rc = move_block(map, block);
            again = true;
        }
        /* The table last, when it is known how many blocks there are; with some to spare. */
        if (rc < 0 || again || (table->placed && table->clusters << entry_bits >= map->count))
            continue;
        if (table->placed)
            return -EFBIG;
        uint64_t entries = MIN(map->count + map->count / 8 + 8, BLOCKS_MAX);
        table->clusters = (entries + BIT(entry_bits) - 1) >> entry_bits;
        rc = qcow2_refmap_alloc(map, table->clusters, &table->offset);
        if (rc == 0 && map->backed)
            rc = qcow2_refmap_release(map, s->header.reftable_offset,
                                      (uint64_t)s->header.reftable_clusters << s->cluster_bits);
        table->placed = again = true;
    }
    return rc;
}

static int write_blocks(struct qcow2_refmap *map)
{
    int rc = 0;
    for (uint64_t i = 0; i < map->count && rc == 0; i++) {
        const struct qcow2_refblock *block = map->blocks[i];
        if (block && block->dirty)
            rc = qcow2_file_write(map->s, block->place, block->data, map->s->cluster_size);
    }
    return rc;
}

static int write_table(struct qcow2_refmap *map, const struct new_table *table)
{
    struct qcow2 *s = map->s;
    uint64_t bytes = table->clusters << s->cluster_bits;
    cleanup_free uint64_t *entries = calloc(1, bytes);
    if (!entries)
        return -ENOMEM;
    for (uint64_t i = 0; i < map->count; i++) {
        uint64_t place = 0;
        if (map->blocks[i])
            place = map->blocks[i]->place;
        else if (place_on_disk(map, i, &place) < 0)
            return -EIO;
        if (i < bytes / 8)
            entries[i] = htobe64(place);
    }
    return qcow2_file_write(s, table->offset, entries, bytes);
}

/* The switch: one sector. */
static int write_header(struct qcow2 *s, const struct qcow2_header *h)
{
    struct {
        uint64_t size;
        uint32_t crypt_method, l1_size;
        uint64_t l1_offset, reftable_offset;
        uint32_t reftable_clusters, nb_snapshots;
        uint64_t snapshots_offset;
    } __attribute__((packed))
    fields = {htobe64(h->size),         htobe32(h->crypt_method),    htobe32(h->l1_size),
              htobe64(h->l1_offset),    htobe64(h->reftable_offset), htobe32(h->reftable_clusters),
              htobe32(h->nb_snapshots), htobe64(h->snapshots_offset)};
    _Static_assert(sizeof(fields) == HEADER_LEN, "qcow2 header, bytes 24 to 71");
    int rc = block_flush(s->file);
    if (rc == 0)
        rc = qcow2_file_write(s, HEADER_AT, &fields, sizeof(fields));
    return rc < 0 ? rc : block_flush(s->file);
}

/* Down to the last block that there is. */
static void trim_count(struct qcow2_refmap *map)
{
    const struct qcow2 *s = map->s;
    while (map->count && !map->blocks[map->count - 1] &&
           (!map->backed || map->count > s->reftable_entries || !s->reftable[map->count - 1]))
        map->count--;
}

int qcow2_refmap_commit(struct qcow2_refmap *map, const struct qcow2_header *header,
                        struct kv_error *err)
{
    struct qcow2 *s = map->s;
    struct qcow2_header h = *header;
    struct new_table table = {0};
    trim_count(map);
    int rc = place_all(map, &table);
    if (rc == 0)
        rc = write_blocks(map);
    if (rc == 0)
        rc = write_table(map, &table);
    h.reftable_offset = table.offset;
    h.reftable_clusters = (uint32_t)table.clusters;
    if (rc == 0)
        rc = write_header(s, &h);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': the new metadata cannot be written",
                              s->node->name);
    uint64_t fresh_from = s->fresh_from;
    s->header = h;
    rc = qcow2_reload(s, err);
    if (s->file->info.growable && fresh_from != UINT64_MAX)
        s->fresh_from = MAX(fresh_from, map->end);
    return rc;
}

int qcow2_settle(struct qcow2 *s)
{
    bool lazy = s->lazy;
    int rc = 0;
    s->lazy = false;
    /* What the first round frees, the second writes. */
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = qcow2_flush(s);
    s->lazy = lazy;
    return rc;
}
