/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which parts of a disk were written: one bit for each granule of it, in
 * memory. Any thread may mark and look at any time; nothing blocks.
 */
#ifndef KV_BLOCK_DIRTY_BITMAP_H
#define KV_BLOCK_DIRTY_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

struct dirty_bitmap;

/* size: of the disk, bytes; granularity: bytes, a power of two. All clear. NULL: out of memory. */
struct dirty_bitmap *dirty_bitmap_create(uint64_t size, uint64_t granularity);
/* NULL is fine. */
void dirty_bitmap_free(struct dirty_bitmap *bitmap);

/* Every granule that the range touches; what lies beyond the disk is left out. */
void dirty_bitmap_set(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t len);
/* Every granule that the range touches. */
void dirty_bitmap_clear(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t len);
/* What is dirty in the other one, of any granularity, becomes dirty. */
void dirty_bitmap_merge(struct dirty_bitmap *bitmap, const struct dirty_bitmap *from);
/* Dirty bytes; the last granule counts as far as the disk goes. */
uint64_t dirty_bitmap_count(const struct dirty_bitmap *bitmap);
/* The first dirty range that ends behind from. False: there is none. */
bool dirty_bitmap_next(const struct dirty_bitmap *bitmap, uint64_t from, uint64_t *offset,
                       uint64_t *len);

/* As bytes, bit n % 8 of byte n / 8 for granule n. */
uint64_t dirty_bitmap_bytes(const struct dirty_bitmap *bitmap);
void dirty_bitmap_load(struct dirty_bitmap *bitmap, const uint8_t *bits);
void dirty_bitmap_store(const struct dirty_bitmap *bitmap, uint8_t *bits);

#endif
