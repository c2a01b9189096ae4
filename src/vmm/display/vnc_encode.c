/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pixels as viewers want them: raw and hextile (RFC 6143 7.7.1, 7.7.4). See vnc_encode.h. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vmm/display/vnc_encode.h"

#define TILE 16
#define TILE_PIXELS (TILE * TILE)
#define HEXTILE_RAW 1
#define HEXTILE_BACKGROUND 2
#define HEXTILE_FOREGROUND 4
#define HEXTILE_SUBRECTS 8
#define SUBRECTS_MAX 255

uint8_t *vnc_put_pixel(uint8_t *to, const struct vnc_format *format, uint32_t pixel)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t part = pixel >> (16 - 8 * i) & 0xff;
        value |= (part * format->max[i] / 255) << format->shift[i];
    }
    for (unsigned i = 0; i < format->bytes; i++)
        to[i] = (uint8_t)(value >> 8 * (format->big_endian ? format->bytes - 1U - i : i));
    return to + format->bytes;
}

int vnc_put_pixels(struct buffer *out, const struct vnc_format *format, const uint32_t *pixels,
                   unsigned count)
{
    uint8_t piece[256 * 4];
    for (unsigned x = 0; x < count; x += 256) {
        uint8_t *end = piece;
        for (unsigned i = x; i < MIN(count, x + 256); i++)
            end = vnc_put_pixel(end, format, pixels[i]);
        if (buffer_append(out, piece, (size_t)(end - piece)) < 0)
            return -ENOMEM;
    }
    return 0;
}

int vnc_put_raw(struct buffer *out, const struct vnc_source *source,
                const struct display_rect *rect)
{
    for (unsigned y = 0; y < rect->height; y++) {
        if (vnc_put_pixels(out, source->format, vnc_row(source, rect->x, rect->y + y),
                           rect->width) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* A tile of two colours: runs of the second one over the first. The bytes' end, or NULL when that
 * takes more than raw pixels. */
static uint8_t *put_runs(uint8_t *to, const uint8_t *limit, const struct vnc_source *source,
                         const struct display_rect *tile, uint32_t background)
{
    uint8_t *count = to++;
    *count = 0;
    for (unsigned y = 0; y < tile->height; y++) {
        const uint32_t *row = vnc_row(source, tile->x, tile->y + y);
        for (unsigned x = 0; x < tile->width;) {
            unsigned start = x;
            while (x < tile->width && row[x] != background)
                x++;
            if (x == start) {
                x++;
                continue;
            }
            if (*count == SUBRECTS_MAX || to + 2 > limit)
                return NULL;
            *to++ = (uint8_t)(start << 4 | y);
            *to++ = (uint8_t)((x - start - 1) << 4);
            ++*count;
        }
    }
    return to;
}

/* How many colours there are, up to three; the first two are told. */
static unsigned count_colors(const struct vnc_source *source, const struct display_rect *tile,
                             uint32_t colors[2])
{
    unsigned count = 0;
    for (unsigned y = 0; y < tile->height; y++) {
        const uint32_t *row = vnc_row(source, tile->x, tile->y + y);
        for (unsigned x = 0; x < tile->width; x++) {
            if ((count > 0 && row[x] == colors[0]) || (count > 1 && row[x] == colors[1]))
                continue;
            if (count == 2)
                return 3;
            colors[count++] = row[x];
        }
    }
    return count;
}

static int put_tile(struct buffer *out, const struct vnc_source *source,
                    const struct display_rect *tile)
{
    const struct vnc_format *format = source->format;
    uint8_t bytes[1 + 2 * 4 + 1 + TILE_PIXELS * 4], *end = bytes + 1;
    const uint8_t *limit = bytes + 1 + tile->width * tile->height * format->bytes;
    uint32_t colors[2] = {0, 0};
    unsigned count = count_colors(source, tile, colors);
    if (count <= 2) {
        bytes[0] = HEXTILE_BACKGROUND;
        end = vnc_put_pixel(end, format, colors[0]);
    }
    if (count == 2) {
        bytes[0] |= HEXTILE_FOREGROUND | HEXTILE_SUBRECTS;
        end = vnc_put_pixel(end, format, colors[1]);
        end = put_runs(end, limit, source, tile, colors[0]);
    }
    if (count <= 2 && end)
        return buffer_append(out, bytes, (size_t)(end - bytes));
    bytes[0] = HEXTILE_RAW;
    int rc = buffer_append(out, bytes, 1);
    return rc < 0 ? rc : vnc_put_raw(out, source, tile);
}

int vnc_put_hextile(struct buffer *out, const struct vnc_source *source,
                    const struct display_rect *rect)
{
    for (unsigned y = 0; y < rect->height; y += TILE) {
        for (unsigned x = 0; x < rect->width; x += TILE) {
            struct display_rect tile = {rect->x + x, rect->y + y, MIN(TILE, rect->width - x),
                                        MIN(TILE, rect->height - y)};
            if (put_tile(out, source, &tile) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}
