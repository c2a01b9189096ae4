/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bitmap directory of a qcow2 image and the tables it points to: read and checked. */
#include "block/qcow2_bitmap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"

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
    uint64_t bits = BIT(MIN(b->granularity_bits, 62u));
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
