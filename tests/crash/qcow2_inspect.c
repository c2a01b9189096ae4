/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An independent look at a qcow2 image; see qcow2_inspect.h. */
#include "qcow2_inspect.h"

#include <endian.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXTENSION_BITMAPS 0x23852875u
#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define COPIED (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

struct image {
    const uint8_t *bytes;
    size_t len;
    unsigned bits; /* of a cluster */
    unsigned order;
    bool extended;
    uint64_t clusters;
    uint32_t *references;
    struct qcow2_findings *out;
};

static void corrupt(struct image *image, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void corrupt(struct image *image, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (image->out->corruptions++ == 0)
        vsnprintf(image->out->first, sizeof(image->out->first), format, args);
    va_end(args);
}

static uint64_t load(const struct image *image, uint64_t offset, unsigned len)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < len; i++)
        value = value << 8 | (offset + i < image->len ? image->bytes[offset + i] : 0);
    return value;
}

static void refer(struct image *image, const char *what, uint64_t offset, uint64_t len)
{
    if (len == 0)
        return;
    uint64_t first = offset >> image->bits, last = (offset + len - 1) >> image->bits;
    for (uint64_t i = first; i <= last; i++) {
        if (i >= image->clusters) {
            corrupt(image, "%s at 0x%" PRIx64 " lies beyond the end of the file", what, offset);
            return;
        }
        image->references[i]++;
    }
}

static uint64_t refcount(const struct image *image, uint64_t cluster)
{
    uint64_t per_block = (UINT64_C(8) << image->bits) >> image->order;
    uint64_t table = load(image, 48, 8), clusters = load(image, 56, 4);
    uint64_t index = cluster / per_block, at = cluster % per_block;
    if (index >= clusters << (image->bits - 3))
        return 0;
    uint64_t block = load(image, table + 8 * index, 8) & ~UINT64_C(0x1ff);
    if (!block)
        return 0;
    if (image->order >= 3)
        return load(image, block + (at << (image->order - 3)), 1u << (image->order - 3));
    unsigned width = 1u << image->order, per_byte = 8 / width;
    return load(image, block + at / per_byte, 1) >> at % per_byte * width & ((1u << width) - 1);
}

static void walk_l2(struct image *image, uint64_t l2, bool active)
{
    unsigned entry_bytes = image->extended ? 16 : 8;
    uint64_t entries = (UINT64_C(1) << image->bits) / entry_bytes;
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t entry = load(image, l2 + i * entry_bytes, 8);
        if (entry & COMPRESSED) {
            unsigned sector_bits = image->bits - 8;
            unsigned offset_bits = 62 - sector_bits;
            uint64_t offset = entry & ((UINT64_C(1) << offset_bits) - 1);
            uint64_t sectors = (entry & (COMPRESSED - 1)) >> offset_bits;
            uint64_t end = (offset & ~UINT64_C(511)) + (sectors + 1) * 512;
            refer(image, "compressed cluster", offset,
                  (end < image->len ? end : image->len) - offset);
            continue;
        }
        uint64_t offset = entry & OFFSET_MASK;
        if (!offset)
            continue;
        if (offset & ((UINT64_C(1) << image->bits) - 1))
            corrupt(image, "data cluster 0x%" PRIx64 " is not aligned", offset);
        refer(image, "data cluster", offset, 1);
        if (active && !(entry & COPIED) != (refcount(image, offset >> image->bits) != 1))
            corrupt(image, "COPIED of data cluster 0x%" PRIx64 " is wrong (refcount %" PRIu64 ")",
                    offset, refcount(image, offset >> image->bits));
    }
}

static void walk_l1(struct image *image, uint64_t l1, uint64_t entries, bool active)
{
    refer(image, "L1 table", l1, entries * 8);
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t entry = load(image, l1 + 8 * i, 8), l2 = entry & OFFSET_MASK;
        if (!l2)
            continue;
        refer(image, "L2 table", l2, 1);
        if (active && !(entry & COPIED) != (refcount(image, l2 >> image->bits) != 1))
            corrupt(image, "COPIED of L2 table 0x%" PRIx64 " is wrong (refcount %" PRIu64 ")", l2,
                    refcount(image, l2 >> image->bits));
        if (l2 >> image->bits < image->clusters)
            walk_l2(image, l2, active);
    }
}

static void walk_snapshots(struct image *image)
{
    uint64_t at = load(image, 64, 8), count = load(image, 60, 4), start = at;
    for (uint64_t i = 0; i < count; i++) {
        walk_l1(image, load(image, at, 8), load(image, at + 8, 4), false);
        uint64_t size =
            40 + load(image, at + 36, 4) + load(image, at + 12, 2) + load(image, at + 14, 2);
        at += (size + 7) & ~UINT64_C(7);
    }
    refer(image, "snapshot table", start, count ? at - start : 0);
}

static void walk_refcounts(struct image *image)
{
    uint64_t table = load(image, 48, 8), clusters = load(image, 56, 4);
    refer(image, "refcount table", table, clusters << image->bits);
    for (uint64_t i = 0; i < clusters << (image->bits - 3); i++) {
        uint64_t block = load(image, table + 8 * i, 8) & ~UINT64_C(0x1ff);
        if (block)
            refer(image, "refcount block", block, 1);
    }
}

static void walk_bitmap_table(struct image *image, uint64_t table, uint64_t entries)
{
    refer(image, "bitmap table", table, entries * 8);
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t offset = load(image, table + 8 * i, 8) & OFFSET_MASK;
        if (offset)
            refer(image, "bitmap cluster", offset, 1);
    }
}

static void walk_bitmaps(struct image *image, uint64_t extension)
{
    uint64_t count = load(image, extension, 4), size = load(image, extension + 8, 8);
    uint64_t at = load(image, extension + 16, 8);
    refer(image, "bitmap directory", at, size);
    for (uint64_t i = 0; i < count; i++) {
        walk_bitmap_table(image, load(image, at, 8), load(image, at + 8, 4));
        uint64_t bytes = 24 + load(image, at + 20, 4) + load(image, at + 18, 2);
        at += (bytes + 7) & ~UINT64_C(7);
    }
}

/* Bitmaps of an image that was written to without them are none (autoclear bit). */
static void walk_extensions(struct image *image)
{
    uint64_t at = load(image, 4, 4) > 2 ? load(image, 100, 4) : image->len;
    while (at < UINT64_C(1) << image->bits && load(image, at, 4)) {
        if (load(image, at, 4) == EXTENSION_BITMAPS && (load(image, 88, 8) & 1))
            walk_bitmaps(image, at + 8);
        at += 8 + ((load(image, at + 4, 4) + 7) & ~UINT64_C(7));
    }
}

void qcow2_inspect(const uint8_t *bytes, size_t len, struct qcow2_findings *out)
{
    struct image image = {.bytes = bytes, .len = len, .out = out};
    *out = (struct qcow2_findings){0};
    if (len < 104 || memcmp(bytes, "QFI\xfb", 4) != 0) {
        corrupt(&image, "no header");
        return;
    }
    image.bits = (unsigned)load(&image, 20, 4);
    image.order = load(&image, 4, 4) == 2 ? 4 : (unsigned)load(&image, 96, 4);
    image.extended = load(&image, 4, 4) > 2 && load(&image, 72, 8) & 16;
    image.clusters = (len + (UINT64_C(1) << image.bits) - 1) >> image.bits;
    image.references = calloc(image.clusters, sizeof(*image.references));
    if (!image.references)
        abort();
    refer(&image, "header", 0, 1);
    walk_refcounts(&image);
    walk_l1(&image, load(&image, 40, 8), load(&image, 36, 4), true);
    walk_snapshots(&image);
    walk_extensions(&image);
    for (uint64_t i = 0; i < image.clusters; i++) {
        uint64_t count = refcount(&image, i);
        if (count < image.references[i])
            corrupt(&image, "cluster %" PRIu64 " has refcount %" PRIu64 " and %u references", i,
                    count, image.references[i]);
        else if (count > image.references[i])
            out->leaks++;
    }
    free(image.references);
}
