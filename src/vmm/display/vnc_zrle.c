/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ZRLE (RFC 6143 7.7.6): tiles of one colour, of a palette, of runs or of pixels, and deflate over
 * all of it. See vnc_encode.h.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vmm/display/vnc_encode.h"

#define TILE 64
#define PALETTE_MAX 16
#define TILE_RAW 0
#define TILE_SOLID 1
#define TILE_RUNS 128
#define RUN_STEP 255 /* of a run's length in one byte */

struct tile {
    uint32_t pixels[TILE * TILE];
    unsigned width, height, count;
    uint32_t palette[PALETTE_MAX];
    unsigned colors; /* more than PALETTE_MAX: too many */
    unsigned runs;
};

/* Which bytes of a pixel are written: three where the colours have no part in the fourth. */
struct compact {
    unsigned skip, bytes;
};

static struct compact compact_of(const struct vnc_format *format)
{
    uint32_t used = 0;
    for (unsigned i = 0; i < 3; i++)
        used |= (uint32_t)format->max[i] << format->shift[i];
    bool low = !(used & 0xff000000), high = !(used & 0xff);
    if (format->bytes != 4 || format->depth > 24 || (!low && !high))
        return (struct compact){0, format->bytes};
    return (struct compact){low == format->big_endian, 3};
}

static uint8_t *put_compact(uint8_t *to, const struct vnc_format *format, struct compact compact,
                            uint32_t pixel)
{
    uint8_t bytes[4];
    vnc_put_pixel(bytes, format, pixel);
    memcpy(to, bytes + compact.skip, compact.bytes);
    return to + compact.bytes;
}

static unsigned index_of(const struct tile *tile, uint32_t pixel)
{
    unsigned i = 0;
    while (i < tile->colors && tile->palette[i] != pixel)
        i++;
    return i;
}

static void read_tile(struct tile *tile, const struct vnc_source *source,
                      const struct display_rect *rect)
{
    tile->width = rect->width;
    tile->height = rect->height;
    tile->count = rect->width * rect->height;
    tile->colors = tile->runs = 0;
    for (unsigned y = 0; y < rect->height; y++)
        memcpy(tile->pixels + (size_t)y * rect->width, vnc_row(source, rect->x, rect->y + y),
               rect->width * sizeof(*tile->pixels));
    for (unsigned i = 0; i < tile->count; i++) {
        if (i && tile->pixels[i] == tile->pixels[i - 1])
            continue;
        tile->runs++;
        if (tile->colors > PALETTE_MAX || index_of(tile, tile->pixels[i]) < tile->colors)
            continue;
        if (tile->colors < PALETTE_MAX)
            tile->palette[tile->colors] = tile->pixels[i];
        tile->colors++;
    }
}

/* Indices of 1, 2 or 4 bits, rows padded to bytes. */
static uint8_t *put_indices(uint8_t *to, const struct tile *tile)
{
    unsigned bits = tile->colors <= 2 ? 1 : tile->colors <= 4 ? 2 : 4;
    for (unsigned y = 0; y < tile->height; y++) {
        unsigned byte = 0, filled = 0;
        for (unsigned x = 0; x < tile->width; x++) {
            byte = byte << bits | index_of(tile, tile->pixels[y * tile->width + x]);
            filled += bits;
            if (filled < 8)
                continue;
            *to++ = (uint8_t)byte;
            byte = filled = 0;
        }
        if (filled)
            *to++ = (uint8_t)(byte << (8 - filled));
    }
    return to;
}

static uint8_t *put_runs(uint8_t *to, const struct tile *tile, const struct vnc_format *format,
                         struct compact compact)
{
    for (unsigned i = 0; i < tile->count;) {
        unsigned end = i + 1;
        while (end < tile->count && tile->pixels[end] == tile->pixels[i])
            end++;
        to = put_compact(to, format, compact, tile->pixels[i]);
        for (i++; end - i >= RUN_STEP; i += RUN_STEP)
            *to++ = RUN_STEP;
        *to++ = (uint8_t)(end - i);
        i = end;
    }
    return to;
}

static int put_tile(struct buffer *out, const struct tile *tile, const struct vnc_format *format,
                    struct compact compact)
{
    /* Runs are written where they take less than pixels. */
    uint8_t bytes[1 + PALETTE_MAX * 4 + TILE * TILE * 4], *end = bytes + 1;
    unsigned runs = tile->runs * (compact.bytes + 1) + tile->count / RUN_STEP;
    if (tile->colors <= PALETTE_MAX) {
        bytes[0] = (uint8_t)tile->colors; /* of one colour: TILE_SOLID */
        for (unsigned i = 0; i < tile->colors; i++)
            end = put_compact(end, format, compact, tile->palette[i]);
        if (tile->colors != TILE_SOLID)
            end = put_indices(end, tile);
    } else if (runs < tile->count * compact.bytes) {
        bytes[0] = TILE_RUNS;
        end = put_runs(end, tile, format, compact);
    } else {
        bytes[0] = TILE_RAW;
        for (unsigned i = 0; i < tile->count; i++)
            end = put_compact(end, format, compact, tile->pixels[i]);
    }
    return buffer_append(out, bytes, (size_t)(end - bytes));
}

int vnc_put_zrle(struct buffer *out, const struct vnc_source *source,
                 const struct display_rect *rect)
{
    struct compact compact = compact_of(source->format);
    struct tile tile;
    for (unsigned y = 0; y < rect->height; y += TILE) {
        for (unsigned x = 0; x < rect->width; x += TILE) {
            struct display_rect part = {rect->x + x, rect->y + y, MIN(TILE, rect->width - x),
                                        MIN(TILE, rect->height - y)};
            read_tile(&tile, source, &part);
            if (put_tile(&source->zlib->plain, &tile, source->format, compact) < 0)
                return -ENOMEM;
        }
    }
    uint32_t length = 0;
    size_t start = out->len;
    if (buffer_append(out, &length, sizeof(length)) < 0 || vnc_zlib_put(source->zlib, out) < 0)
        return -ENOMEM;
    length = htobe32((uint32_t)(out->len - start - sizeof(length)));
    memcpy(buffer_bytes(out) + start, &length, sizeof(length));
    return 0;
}
