/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent dirty bitmaps of a qcow2 image as they lie in the file (spec
 * "Bitmaps"): a directory, for each bitmap a table, clusters of bits. Under the
 * image's gate; nothing here is cached.
 */
#ifndef KV_BLOCK_QCOW2_BITMAP_H
#define KV_BLOCK_QCOW2_BITMAP_H

#include "block/qcow2.h"

#define QCOW2_BITMAP_IN_USE BIT(0)
#define QCOW2_BITMAP_AUTO BIT(1)
#define QCOW2_BITMAP_EXTRA_COMPATIBLE BIT(2)
#define QCOW2_BITMAP_ALL_ONES BIT(0) /* a table entry without a cluster */

struct qcow2_bitmap {
    char *name;
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;      /* QCOW2_BITMAP_* */
    uint8_t type, granularity_bits;
    uint8_t *extra; /* kept */
    uint32_t extra_len;
};

struct qcow2_bitmap_list {
    struct qcow2_bitmap *bitmaps;
    uint32_t count;
};

/* There are bitmaps, and whoever wrote to the image last knew of them. */
bool qcow2_bitmaps_valid(const struct qcow2 *s);
/* Reads and checks the directory. */
int qcow2_bitmaps_load(struct qcow2 *s, struct qcow2_bitmap_list *out, struct kv_error *err);
void qcow2_bitmaps_free(struct qcow2_bitmap_list *list);
/* *table: entries in host byte order, for free(). */
int qcow2_bitmap_read_table(struct qcow2 *s, const struct qcow2_bitmap *bitmap, uint64_t **table);
bool qcow2_bitmap_entry_valid(const struct qcow2 *s, uint64_t entry);

/* Writes the list as the new directory, makes it the image's and frees the old one; durable. An
 * empty list: there are no bitmaps any more. Under qcow2_exclusive_begin(). */
int qcow2_bitmaps_store(struct qcow2 *s, const struct qcow2_bitmap_list *list,
                        struct kv_error *err);
/* A new table in the bitmap for these bits (NULL: all clear), in new clusters. The old ones stay
 * allocated. Under qcow2_exclusive_begin(). */
int qcow2_bitmap_write(struct qcow2 *s, struct qcow2_bitmap *bitmap, const uint8_t *bits,
                       struct kv_error *err);
/* Frees table and data that the image no longer points to. */
void qcow2_bitmap_release(struct qcow2 *s, const struct qcow2_bitmap *bitmap);
/* Bits that a bitmap of this granularity has. */
uint64_t qcow2_bitmap_count(const struct qcow2 *s, unsigned granularity_bits);

/* Marks those that are not in use (the enabled ones, or all) as in use, in the directory; durable.
 */
int qcow2_bitmaps_mark_in_use(struct qcow2 *s, const struct qcow2_bitmap_list *list, bool disabled);

/* qcow2_bitmap_track.c */

/* Stores what is tracked and stops tracking until the next write. Under qcow2_exclusive_begin(), or
 * when nobody else has the image. */
int qcow2_bitmaps_rest(struct qcow2 *s, struct kv_error *err);
/* The bits of a bitmap as they are in memory now. 1: out is filled; 0: it is not tracked. Under
 * gate. */
int qcow2_bitmap_tracked(struct qcow2 *s, const char *name, struct block_bitmap_bits *out);
/* Before the size changes: all that can be used are in memory and marked in use afterwards, the
 * disabled ones, too. Under qcow2_exclusive_begin(). */
int qcow2_bitmaps_take_all(struct qcow2 *s, struct kv_error *err);
/* The size changed: new parts are clean, parts that are gone are forgotten. */
int qcow2_bitmaps_resized(struct qcow2 *s);
/* Stops without storing. */
void qcow2_bitmaps_forget(struct qcow2 *s);

/* qcow2_bitmap_ops.c: of the driver's table. */
extern const struct block_bitmap_ops qcow2_bitmap_ops;
json_t *qcow2_bitmaps_info(struct block_node *node);

/* qcow2_bitmap_read.c. The bits of one that is not in use. Under gate. */
int qcow2_bitmap_load_bits(struct qcow2 *s, const struct qcow2_bitmap *bitmap,
                           struct block_bitmap_bits *out, struct kv_error *err);
/* Of the driver's table. Takes the gate. */
int qcow2_bitmap_read(struct block_node *node, const char *name, struct block_bitmap_bits *out,
                      struct kv_error *err);

#endif
