/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bits of dirty bitmaps by name, in memory or in an image, for jobs; see graph.h for the rest.
 */
#ifndef KV_BLOCK_TRACKER_BITMAPS_H
#define KV_BLOCK_TRACKER_BITMAPS_H

#include "block/dirty_bitmap.h"
#include "block/driver.h"

/* A copy of them; out->bits for free(). */
int block_bitmap_get(struct block_node *node, const char *name, struct block_bitmap_bits *out,
                     struct kv_error *err);
/* What is dirty in from becomes dirty in it. */
int block_bitmap_mark(struct block_node *node, const char *name,
                      const struct block_bitmap_bits *from, struct kv_error *err);
void block_bits_to_dirty(const struct block_bitmap_bits *from, struct dirty_bitmap *to);

#endif
