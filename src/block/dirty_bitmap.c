/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps in memory: words that are changed by atomic operations. */
#include "block/dirty_bitmap.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/util.h"

#define WORD 64u

struct dirty_bitmap {
    uint64_t size, count; /* bytes of the disk, granules */
    unsigned shift;       /* log2 of the granularity */
    _Atomic uint64_t words[];
};

struct dirty_bitmap *dirty_bitmap_create(uint64_t size, uint64_t granularity)
{
    uint64_t count = size / granularity + (size % granularity != 0);
    struct dirty_bitmap *bitmap = calloc(1, sizeof(*bitmap) + (count / WORD + 1) * 8);
    if (!bitmap)
        return NULL;
    bitmap->size = size;
    bitmap->count = count;
    bitmap->shift = (unsigned)__builtin_ctzll(granularity);
    return bitmap;
}

void dirty_bitmap_free(struct dirty_bitmap *bitmap)
{
    free(bitmap);
}

static void change(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t len, bool dirty)
{
    if (len == 0 || offset >= bitmap->size)
        return;
    uint64_t end = len > bitmap->size - offset ? bitmap->size : offset + len;
    uint64_t first = offset >> bitmap->shift, last = (end - 1) >> bitmap->shift;
    for (uint64_t w = first / WORD; w <= last / WORD; w++) {
        uint64_t mask = UINT64_MAX;
        if (w == first / WORD)
            mask &= UINT64_MAX << (first % WORD);
        if (w == last / WORD)
            mask &= UINT64_MAX >> (WORD - 1 - last % WORD);
        /* Most writes find their bits set: they must not take the cache line from others. */
        uint64_t is = atomic_load(&bitmap->words[w]) & mask;
        if (dirty && is != mask)
            atomic_fetch_or(&bitmap->words[w], mask);
        else if (!dirty && is)
            atomic_fetch_and(&bitmap->words[w], ~mask);
    }
}

void dirty_bitmap_set(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t len)
{
    change(bitmap, offset, len, true);
}

void dirty_bitmap_clear(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t len)
{
    change(bitmap, offset, len, false);
}

void dirty_bitmap_merge(struct dirty_bitmap *bitmap, const struct dirty_bitmap *from)
{
    uint64_t offset = 0, len = 0;
    for (; dirty_bitmap_next(from, offset, &offset, &len); offset += len)
        dirty_bitmap_set(bitmap, offset, len);
}

uint64_t dirty_bitmap_count(const struct dirty_bitmap *bitmap)
{
    uint64_t sum = 0, offset = 0, len = 0;
    for (; dirty_bitmap_next(bitmap, offset, &offset, &len); offset += len)
        sum += len;
    return sum;
}

/* The first granule from n on that is dirty (or clean); count: there is none. */
static uint64_t find(const struct dirty_bitmap *bitmap, uint64_t n, bool dirty)
{
    while (n < bitmap->count) {
        uint64_t word = atomic_load(&bitmap->words[n / WORD]);
        word = (dirty ? word : ~word) >> (n % WORD);
        if (word)
            return MIN(n + (unsigned)__builtin_ctzll(word), bitmap->count);
        n = (n / WORD + 1) * WORD;
    }
    return bitmap->count;
}

bool dirty_bitmap_next(const struct dirty_bitmap *bitmap, uint64_t from, uint64_t *offset,
                       uint64_t *len)
{
    if (from >= bitmap->size) /* possibly within the last granule */
        return false;
    uint64_t first = find(bitmap, from >> bitmap->shift, true);
    if (first >= bitmap->count)
        return false;
    uint64_t end = find(bitmap, first, false);
    *offset = MAX(first << bitmap->shift, from);
    *len = (end == bitmap->count ? bitmap->size : end << bitmap->shift) - *offset;
    return true;
}

uint64_t dirty_bitmap_bytes(const struct dirty_bitmap *bitmap)
{
    return bitmap->count / 8 + (bitmap->count % 8 != 0);
}

void dirty_bitmap_load(struct dirty_bitmap *bitmap, const uint8_t *bits)
{
    for (uint64_t n = 0; n < bitmap->count; n += 8) {
        uint64_t left = bitmap->count - n;
        uint64_t byte = bits[n / 8] & (left < 8 ? (1u << left) - 1 : 0xffu);
        atomic_fetch_or(&bitmap->words[n / WORD], byte << (n % WORD));
    }
}

void dirty_bitmap_store(const struct dirty_bitmap *bitmap, uint8_t *bits)
{
    for (uint64_t n = 0; n < bitmap->count; n += 8)
        bits[n / 8] = (uint8_t)(atomic_load(&bitmap->words[n / WORD]) >> (n % WORD));
}
