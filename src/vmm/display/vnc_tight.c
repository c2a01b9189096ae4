/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tight (community protocol specification, 7.7.6), without JPEG and gradients: a rectangle of one
 * colour, of a palette, or of pixels, over one stream of deflate. See vnc_encode.h.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vmm/display/vnc_encode.h"

/* Of the control byte; the stream is number 0. */
#define CONTROL_PIXELS 0x00
#define CONTROL_FILTER 0x40
#define CONTROL_FILL 0x80
#define FILTER_PALETTE 1
#define PALETTE_MAX 128
#define HASH_SIZE 512
#define PLAIN_MAX 12 /* fewer bytes than that are not compressed, and have no length */

struct palette {
    uint32_t colors[PALETTE_MAX];
    unsigned count;           /* more than PALETTE_MAX: too many */
    int16_t slots[HASH_SIZE]; /* of colors; -1: free */
};

static unsigned hash(uint32_t pixel)
{
    return pixel * 2654435761u >> 23; /* 9 bits */
}

/* Where the colour is, or would be. */
static int16_t *slot_of(struct palette *palette, uint32_t pixel)
{
    unsigned at = hash(pixel);
    while (palette->slots[at] >= 0 && palette->colors[palette->slots[at]] != pixel)
        at = (at + 1) % HASH_SIZE;
    return &palette->slots[at];
}

static void read_palette(struct palette *palette, const struct vnc_source *source,
                         const struct display_rect *rect)
{
    palette->count = 0;
    memset(palette->slots, 0xff, sizeof(palette->slots));
    for (unsigned y = 0; y < rect->height; y++) {
        const uint32_t *row = vnc_row(source, rect->x, rect->y + y);
        for (unsigned x = 0; x < rect->width; x++) {
            int16_t *slot = x && row[x] == row[x - 1] ? NULL : slot_of(palette, row[x]);
            if (!slot || *slot >= 0)
                continue;
            if (palette->count == PALETTE_MAX) {
                palette->count++;
                return;
            }
            *slot = (int16_t)palette->count;
            palette->colors[palette->count++] = row[x];
        }
    }
}

/* Red, green, blue where the viewer's pixels are of that kind. */
static uint8_t *put_color(uint8_t *to, const struct vnc_format *format, uint32_t pixel)
{
    bool rgb = format->bytes == 4 && format->depth == 24 && format->max[0] == 255 &&
               format->max[1] == 255 && format->max[2] == 255;
    if (!rgb)
        return vnc_put_pixel(to, format, pixel);
    to[0] = (uint8_t)(pixel >> 16);
    to[1] = (uint8_t)(pixel >> 8);
    to[2] = (uint8_t)pixel;
    return to + 3;
}

static int put_pixels(struct buffer *out, const struct vnc_source *source,
                      const struct display_rect *rect)
{
    uint8_t bytes[VNC_TIGHT_WIDTH * 4];
    for (unsigned y = 0; y < rect->height; y++) {
        const uint32_t *row = vnc_row(source, rect->x, rect->y + y);
        uint8_t *end = bytes;
        for (unsigned x = 0; x < rect->width; x++)
            end = put_color(end, source->format, row[x]);
        if (buffer_append(out, bytes, (size_t)(end - bytes)) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Two colours: a bit each, rows padded to bytes; more: a byte each. */
static int put_indices(struct buffer *out, const struct vnc_source *source,
                       const struct display_rect *rect, struct palette *palette)
{
    uint8_t bytes[VNC_TIGHT_WIDTH];
    bool bits = palette->count == 2;
    for (unsigned y = 0; y < rect->height; y++) {
        const uint32_t *row = vnc_row(source, rect->x, rect->y + y);
        memset(bytes, 0, sizeof(bytes));
        for (unsigned x = 0; x < rect->width; x++) {
            uint8_t index = (uint8_t)*slot_of(palette, row[x]);
            if (bits)
                bytes[x / 8] |= (uint8_t)(index << (7 - x % 8));
            else
                bytes[x] = index;
        }
        if (buffer_append(out, bytes, bits ? (rect->width + 7) / 8 : rect->width) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Seven bits a byte, the least significant first; the third has eight. */
static unsigned put_length(uint8_t *to, size_t length)
{
    unsigned count = length < BIT(7) ? 1 : length < BIT(14) ? 2 : 3;
    for (unsigned i = 0; i < count; i++)
        to[i] = (uint8_t)((length >> 7 * i & (i < 2 ? 0x7f : 0xff)) | (i + 1 < count ? 0x80 : 0));
    return count;
}

static int put_compressed(struct buffer *out, struct vnc_zlib *zlib)
{
    uint8_t length[3];
    struct buffer packed = {0};
    if (zlib->plain.len < PLAIN_MAX) {
        int rc = buffer_append(out, buffer_bytes(&zlib->plain), zlib->plain.len);
        buffer_consume(&zlib->plain, zlib->plain.len);
        return rc;
    }
    int rc = vnc_zlib_put(zlib, &packed);
    if (rc == 0)
        rc = buffer_append(out, length, put_length(length, packed.len));
    if (rc == 0)
        rc = buffer_append(out, buffer_bytes(&packed), packed.len);
    buffer_free(&packed);
    return rc;
}

int vnc_put_tight(struct buffer *out, const struct vnc_source *source,
                  const struct display_rect *rect)
{
    struct palette palette;
    uint8_t head[3 + PALETTE_MAX * 4] = {CONTROL_PIXELS}, *end = head + 1;
    read_palette(&palette, source, rect);
    bool filter = palette.count > 1 && palette.count <= PALETTE_MAX;
    if (palette.count == 1) {
        head[0] = CONTROL_FILL;
        end = put_color(end, source->format, palette.colors[0]);
    } else if (filter) {
        head[0] = CONTROL_FILTER;
        *end++ = FILTER_PALETTE;
        *end++ = (uint8_t)(palette.count - 1);
        for (unsigned i = 0; i < palette.count; i++)
            end = put_color(end, source->format, palette.colors[i]);
    }
    int rc = buffer_append(out, head, (size_t)(end - head));
    if (rc < 0 || palette.count == 1)
        return rc;
    struct buffer *plain = &source->zlib->plain;
    rc = filter ? put_indices(plain, source, rect, &palette) : put_pixels(plain, source, rect);
    return rc < 0 ? rc : put_compressed(out, source->zlib);
}
