/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bitmap directory of a qcow2 image and the tables it points to: read, checked, written. */
#include "block/qcow2_bitmap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2_refmap.h"

#define DIRECTORY_MAX MIB(64)
#define TABLE_MAX MIB(8) /* bytes */
#define NAME_MAX_LEN 1023u
#define GRANULARITY_MIN 9u
#define GRANULARITY_MAX 31u
#define TYPE_DIRTY 1u
#define ENTRY_RESERVED UINT64_C(0xff000000000001fe)
#define FLAGS_KNOWN (QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA_COMPATIBLE)

struct disk_bitmap {
    uint64_t table_offset;
    uint32_t table_size, flags;
    uint8_t type, granularity_bits;
    uint16_t name_len;
    uint32_t extra_len;
} __attribute__((packed));

_Static_assert(sizeof(struct disk_bitmap) == 24, "qcow2 bitmap directory entry");

bool qcow2_bitmaps_valid(const struct qcow2 *s)
{
    return s->bitmap_count && (s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS);
}

bool qcow2_bitmap_entry_valid(const struct qcow2 *s, uint64_t entry)
{
    uint64_t place = entry & QCOW2_OFFSET_MASK;
    return !(entry & ENTRY_RESERVED) && !qcow2_in_cluster(s, place) &&
           !(place && (entry & QCOW2_BITMAP_ALL_ONES));
}

static void clear(struct qcow2_bitmap *bitmap)
{
    free(bitmap->name);
    free(bitmap->extra);
}

void qcow2_bitmaps_free(struct qcow2_bitmap_list *list)
{
    for (uint32_t i = 0; i < list->count && list->bitmaps; i++)
        clear(&list->bitmaps[i]);
    free(list->bitmaps);
    *list = (struct qcow2_bitmap_list){0};
}

static int check_bitmap(const struct qcow2 *s, const struct qcow2_bitmap *b, struct kv_error *err)
{
    /* Of one that is refused below for its granularity, any number will do. */
    uint64_t bits = BIT(MIN(b->granularity_bits, GRANULARITY_MAX));
    uint64_t bytes = (s->header.size + bits * 8 - 1) / (bits * 8);
    const char *wrong = NULL;
    if (b->table_offset == 0 || qcow2_in_cluster(s, b->table_offset) || b->table_offset > INT64_MAX)
        wrong = "its table is not at a cluster's start";
    else if (b->table_size == 0 || b->table_size > TABLE_MAX / 8)
        wrong = "its table has a size that is not supported";
    else if (b->granularity_bits < GRANULARITY_MIN || b->granularity_bits > GRANULARITY_MAX)
        wrong = "its granularity is not 512 bytes to 2 GiB";
    else if ((b->flags & ~FLAGS_KNOWN) || b->type != TYPE_DIRTY)
        wrong = "its type or flags are unknown";
    else if (!(b->flags & QCOW2_BITMAP_IN_USE) && b->table_size != qcow2_clusters(s, bytes))
        wrong = "its table does not fit the disk's size";
    if (!wrong)
        return 0;
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': bitmap '%s': %s", s->node->name, b->name,
                        wrong);
}

/* The entry at *at of the directory's len bytes. */
static int take_bitmap(const struct qcow2 *s, const uint8_t *directory, uint64_t len, uint64_t *at,
                       struct qcow2_bitmap *out, struct kv_error *err)
{
    struct disk_bitmap disk;
    if (len - *at < sizeof(disk))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': the bitmap directory is too short",
                            s->node->name);
    memcpy(&disk, directory + *at, sizeof(disk));
    uint32_t name_len = be16toh(disk.name_len), extra_len = be32toh(disk.extra_len);
    uint64_t size = sizeof(disk) + (uint64_t)extra_len + name_len;
    if (name_len == 0 || name_len > NAME_MAX_LEN || size > len - *at)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': an entry of the bitmap directory has a name of %" PRIu32
                            " bytes and %" PRIu32 " bytes more, in %" PRIu64 " bytes",
                            s->node->name, name_len, extra_len, len - *at);
    const uint8_t *extra = directory + *at + sizeof(disk);
    *out = (struct qcow2_bitmap){
        .name = strndup((const char *)extra + extra_len, name_len),
        .table_offset = be64toh(disk.table_offset),
        .table_size = be32toh(disk.table_size),
        .flags = be32toh(disk.flags),
        .type = disk.type,
        .granularity_bits = disk.granularity_bits,
        .extra = extra_len ? malloc(extra_len) : NULL,
        .extra_len = extra_len,
    };
    if (out->extra)
        memcpy(out->extra, extra, extra_len);
    if (!out->name || (extra_len && !out->extra))
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    *at = MIN(*at + ALIGN_UP(size, (uint64_t)8), len);
    return check_bitmap(s, out, err);
}

int qcow2_bitmaps_load(struct qcow2 *s, struct qcow2_bitmap_list *out, struct kv_error *err)
{
    uint64_t len = s->bitmap_directory_size, at = 0;
    *out = (struct qcow2_bitmap_list){0};
    if (!qcow2_bitmaps_valid(s))
        return 0;
    if (len > DIRECTORY_MAX || len < (uint64_t)s->bitmap_count * sizeof(struct disk_bitmap))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': a bitmap directory of %" PRIu64 " bytes for %" PRIu32 " bitmaps",
                            s->node->name, len, s->bitmap_count);
    cleanup_free uint8_t *directory = malloc(len);
    out->bitmaps = calloc(s->bitmap_count, sizeof(*out->bitmaps));
    if (!directory || !out->bitmaps) {
        qcow2_bitmaps_free(out);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    }
    int rc = qcow2_file_read(s->file, s->bitmap_directory_offset, directory, len);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': the bitmap directory cannot be read",
                       s->node->name);
    while (rc == 0 && out->count < s->bitmap_count)
        rc = take_bitmap(s, directory, len, &at, &out->bitmaps[out->count++], err);
    if (rc < 0)
        qcow2_bitmaps_free(out);
    return rc;
}

int qcow2_bitmap_read_table(struct qcow2 *s, const struct qcow2_bitmap *bitmap, uint64_t **table)
{
    uint64_t bytes = (uint64_t)bitmap->table_size * 8;
    uint64_t *entries = malloc(bytes);
    int rc = entries ? qcow2_file_read(s->file, bitmap->table_offset, entries, bytes) : -ENOMEM;
    if (rc < 0) {
        free(entries);
        return rc;
    }
    for (uint32_t i = 0; i < bitmap->table_size; i++)
        entries[i] = be64toh(entries[i]);
    *table = entries;
    return 0;
}

/* ------------------------------------------------------------------- writing */

uint64_t qcow2_bitmap_count(const struct qcow2 *s, unsigned granularity_bits)
{
    uint64_t size = s->header.size, granularity = BIT(granularity_bits);
    return size / granularity + (size % granularity != 0);
}

static int alloc_clusters(struct qcow2 *s, uint64_t bytes, uint64_t *offset)
{
    pthread_mutex_lock(&s->lock);
    int rc = qcow2_alloc_exact(s, qcow2_clusters(s, bytes), offset);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* Nothing on disk points there. */
static void drop_clusters(struct qcow2 *s, uint64_t offset, uint64_t bytes)
{
    pthread_mutex_lock(&s->lock);
    if (offset && bytes)
        qcow2_refcount_add(s, offset >> s->cluster_bits, qcow2_clusters(s, bytes), -1);
    pthread_mutex_unlock(&s->lock);
}

void qcow2_bitmap_release(struct qcow2 *s, const struct qcow2_bitmap *bitmap)
{
    cleanup_free uint64_t *table = NULL;
    if (qcow2_bitmap_read_table(s, bitmap, &table) < 0)
        return; /* they leak */
    for (uint32_t i = 0; i < bitmap->table_size; i++) {
        if (qcow2_bitmap_entry_valid(s, table[i]))
            drop_clusters(s, table[i] & QCOW2_OFFSET_MASK, s->cluster_size);
    }
    drop_clusters(s, bitmap->table_offset, (uint64_t)bitmap->table_size * 8);
}

/* A cluster of bits; *place 0: it is all clear and needs none. */
static int write_bits(struct qcow2 *s, const uint8_t *bits, uint64_t len, uint64_t *place)
{
    *place = 0;
    if (buffer_is_zero(bits, len))
        return 0;
    cleanup_free uint8_t *cluster = calloc(1, s->cluster_size);
    if (!cluster)
        return -ENOMEM;
    memcpy(cluster, bits, len);
    int rc = alloc_clusters(s, s->cluster_size, place);
    return rc < 0 ? rc : qcow2_file_write(s, *place, cluster, s->cluster_size);
}

static int write_table(struct qcow2 *s, struct qcow2_bitmap *bitmap, const uint8_t *bits,
                       uint64_t len)
{
    uint64_t entries = MAX(qcow2_clusters(s, len), (uint64_t)1);
    uint64_t bytes = qcow2_clusters(s, entries * 8) << s->cluster_bits;
    if (entries > TABLE_MAX / 8)
        return -EFBIG;
    cleanup_free uint64_t *table = calloc(1, bytes);
    int rc = table ? 0 : -ENOMEM;
    for (uint64_t i = 0; i < entries && bits && rc == 0; i++) {
        uint64_t at = i << s->cluster_bits, place;
        rc = write_bits(s, bits + at, MIN(s->cluster_size, len - at), &place);
        if (rc == 0)
            table[i] = htobe64(place);
    }
    bitmap->table_size = (uint32_t)entries;
    if (rc == 0)
        rc = alloc_clusters(s, bytes, &bitmap->table_offset);
    return rc < 0 ? rc : qcow2_file_write(s, bitmap->table_offset, table, bytes);
}

int qcow2_bitmap_write(struct qcow2 *s, struct qcow2_bitmap *bitmap, const uint8_t *bits,
                       struct kv_error *err)
{
    uint64_t len = (qcow2_bitmap_count(s, bitmap->granularity_bits) + 7) / 8;
    int rc = write_table(s, bitmap, bits, len);
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': bitmap '%s' cannot be written",
                                   s->node->name, bitmap->name)
                  : 0;
}

static uint64_t entry_size(const struct qcow2_bitmap *bitmap)
{
    return ALIGN_UP(sizeof(struct disk_bitmap) + bitmap->extra_len + strlen(bitmap->name),
                    (uint64_t)8);
}

static void put_bitmap(uint8_t *at, const struct qcow2_bitmap *bitmap)
{
    struct disk_bitmap disk = {
        .table_offset = htobe64(bitmap->table_offset),
        .table_size = htobe32(bitmap->table_size),
        .flags = htobe32(bitmap->flags),
        .type = bitmap->type,
        .granularity_bits = bitmap->granularity_bits,
        .name_len = htobe16((uint16_t)strlen(bitmap->name)),
        .extra_len = htobe32(bitmap->extra_len),
    };
    memcpy(at, &disk, sizeof(disk));
    if (bitmap->extra_len)
        memcpy(at + sizeof(disk), bitmap->extra, bitmap->extra_len);
    memcpy(at + sizeof(disk) + bitmap->extra_len, bitmap->name, strlen(bitmap->name));
}

static int write_directory(struct qcow2 *s, const struct qcow2_bitmap_list *list, uint64_t size,
                           uint64_t *offset)
{
    uint64_t at = 0;
    *offset = 0;
    if (list->count == 0)
        return 0;
    cleanup_free uint8_t *directory = calloc(1, size);
    if (!directory)
        return -ENOMEM;
    for (uint32_t i = 0; i < list->count; i++) {
        put_bitmap(directory + at, &list->bitmaps[i]);
        at += entry_size(&list->bitmaps[i]);
    }
    int rc = alloc_clusters(s, size, offset);
    return rc < 0 ? rc : qcow2_file_write(s, *offset, directory, size);
}

int qcow2_bitmaps_store(struct qcow2 *s, const struct qcow2_bitmap_list *list, struct kv_error *err)
{
    uint64_t size = 0, offset;
    bool had = qcow2_bitmaps_valid(s);
    uint64_t old_offset = s->bitmap_directory_offset, old_size = s->bitmap_directory_size;
    for (uint32_t i = 0; i < list->count; i++)
        size += entry_size(&list->bitmaps[i]);
    int rc = size > DIRECTORY_MAX ? -EFBIG : write_directory(s, list, size, &offset);
    /* New clusters have their references on disk before the header points there. */
    if (rc == 0)
        rc = qcow2_settle(s);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': the bitmap directory", s->node->name);
    s->bitmap_count = list->count;
    s->bitmap_directory_size = size;
    s->bitmap_directory_offset = offset;
    s->header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    s->header.autoclear |= list->count ? QCOW2_AUTOCLEAR_BITMAPS : 0;
    rc = qcow2_header_write(s, err);
    if (rc < 0)
        return rc;
    rc = block_flush(s->file);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': the header", s->node->name);
    if (had)
        drop_clusters(s, old_offset, old_size);
    return 0;
}

int qcow2_bitmaps_mark_in_use(struct qcow2 *s, const struct qcow2_bitmap_list *list, bool disabled)
{
    uint64_t at = s->bitmap_directory_offset;
    int rc = 0;
    for (uint32_t i = 0; i < list->count && rc == 0; i++) {
        const struct qcow2_bitmap *bitmap = &list->bitmaps[i];
        uint32_t flags = htobe32(bitmap->flags | QCOW2_BITMAP_IN_USE);
        if ((disabled || (bitmap->flags & QCOW2_BITMAP_AUTO)) &&
            !(bitmap->flags & QCOW2_BITMAP_IN_USE))
            rc = qcow2_file_write(s, at + offsetof(struct disk_bitmap, flags), &flags,
                                  sizeof(flags));
        at += entry_size(bitmap);
    }
    return rc < 0 ? rc : block_flush(s->file);
}
