/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bits of a persistent bitmap of a qcow2 image, in one piece (spec "Bitmap table", "Bitmap
 * data"). For those who show a bitmap to others; called through the driver's table. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "block/qcow2_bitmap.h"

/* Bytes of bits; at the smallest granularity, 512, that is a disk of 1 TiB. */
#define BITS_MAX MIB(256)

/* One entry of the table: zeros, ones, or a cluster of bits. */
static int read_entry(struct qcow2 *s, uint64_t entry, uint8_t *to, uint64_t len)
{
    uint64_t place = entry & QCOW2_OFFSET_MASK;
    if (!qcow2_bitmap_entry_valid(s, entry))
        return -EIO;
    if (place)
        return qcow2_file_read(s->file, place, to, len);
    memset(to, entry & QCOW2_BITMAP_ALL_ONES ? 0xff : 0, len);
    return 0;
}

static int read_bits(struct qcow2 *s, const struct qcow2_bitmap *bitmap,
                     struct block_bitmap_bits *out)
{
    cleanup_free uint64_t *table = NULL;
    uint64_t len = (out->count + 7) / 8, cluster = BIT(s->cluster_bits);
    int rc = qcow2_bitmap_read_table(s, bitmap, &table);
    if (rc < 0)
        return rc;
    out->bits = malloc(len + 1);
    if (!out->bits)
        return -ENOMEM;
    for (uint64_t at = 0, i = 0; at < len && rc == 0; at += cluster, i++)
        rc = i < bitmap->table_size
                 ? read_entry(s, table[i], out->bits + at, MIN(cluster, len - at))
                 : -EIO;
    if (rc < 0) {
        free(out->bits);
        out->bits = NULL;
    }
    return rc;
}

int qcow2_bitmap_load_bits(struct qcow2 *s, const struct qcow2_bitmap *bitmap,
                           struct block_bitmap_bits *out, struct kv_error *err)
{
    uint64_t size = s->header.size;
    *out = (struct block_bitmap_bits){
        .granularity = BIT(bitmap->granularity_bits),
        .enabled = bitmap->flags & QCOW2_BITMAP_AUTO,
    };
    out->count = size / out->granularity + !!(size % out->granularity);
    if (bitmap->flags & QCOW2_BITMAP_IN_USE)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Bitmap '%s' is inconsistent and cannot be used", bitmap->name);
    if (out->count / 8 > BITS_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG,
                            "Bitmap '%s' has %" PRIu64 " bits; at most %" PRIu64 " are supported",
                            bitmap->name, out->count, BITS_MAX * 8);
    int rc = read_bits(s, bitmap, out);
    return rc < 0
               ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "Bitmap '%s' cannot be read", bitmap->name)
               : 0;
}

int qcow2_bitmap_read(struct block_node *node, const char *name, struct block_bitmap_bits *out,
                      struct kv_error *err)
{
    struct qcow2 *s = node->state;
    struct qcow2_bitmap_list list;
    pthread_rwlock_rdlock(&s->gate);
    int rc = qcow2_bitmap_tracked(s, name, out);
    bool in_memory = rc != 0;
    if (rc < 0)
        kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory");
    if (!in_memory)
        rc = qcow2_bitmaps_load(s, &list, err);
    if (rc == 0) {
        uint32_t i = 0;
        while (i < list.count && strcmp(list.bitmaps[i].name, name) != 0)
            i++;
        rc = i < list.count
                 ? qcow2_bitmap_load_bits(s, &list.bitmaps[i], out, err)
                 : kv_error_set(err, KV_ERR_BLOCK, ENOENT, "Dirty bitmap '%s' not found", name);
        qcow2_bitmaps_free(&list);
    }
    pthread_rwlock_unlock(&s->gate);
    return MIN(rc, 0);
}
