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

/* qcow2_bitmap_read.c: of the driver's table. Takes the gate. */
int qcow2_bitmap_read(struct block_node *node, const char *name, struct block_bitmap_bits *out,
                      struct kv_error *err);

#endif
