/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What VNC's compressed rectangles hold is read back as a viewer would: ZRLE and Tight, in several
 * forms of pixels, of pictures that make every kind of tile. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/util.h"
#include "unit.h"
#include "vmm/display/vnc_client.h"

#define WIDTH 150
#define HEIGHT 70
#define TILE 64

static const struct vnc_format formats[] = {
    {4, 24, false, {255, 255, 255}, {16, 8, 0}},  {4, 24, true, {255, 255, 255}, {16, 8, 0}},
    {4, 24, false, {255, 255, 255}, {24, 16, 8}}, {4, 24, true, {255, 255, 255}, {0, 8, 24}},
    {4, 32, false, {255, 255, 255}, {0, 8, 16}},  {2, 16, false, {31, 63, 31}, {11, 5, 0}},
    {1, 8, false, {7, 7, 3}, {0, 3, 6}},
};

static uint32_t pixels[HEIGHT * WIDTH];
static const struct display display = {.width = WIDTH, .height = HEIGHT, .pixels = pixels};
static uint8_t unpacked[HEIGHT * WIDTH * 5];

/* What a viewer reads, from both ends. */
struct reader {
    const struct vnc_format *format;
    const uint8_t *at;
    z_stream stream;
};

/* One colour, two, nine, a hundred, runs of many, and noise. */
static void draw(unsigned kind)
{
    for (unsigned i = 0; i < WIDTH * HEIGHT; i++) {
        const uint32_t values[] = {
            0x123456,           i % 7 ? 0 : 0xffffff, i % 9 * 0x1c1c1c,
            i % 100 * 0x020202, i / 11 * 0x010203,    (uint32_t)rand() & 0xffffff,
        };
        pixels[i] = values[kind];
    }
}
#define KINDS 6

/* A pixel as it is once it went through the format. */
static uint32_t rounded(const struct vnc_format *format, uint32_t pixel)
{
    uint8_t bytes[4];
    uint32_t value = 0;
    vnc_put_pixel(bytes, format, pixel);
    for (unsigned i = 0; i < format->bytes; i++)
        value |= (uint32_t)bytes[format->big_endian ? format->bytes - 1U - i : i] << 8 * i;
    return value;
}

static uint32_t take_whole(struct reader *reader)
{
    const struct vnc_format *format = reader->format;
    uint32_t value = 0;
    for (unsigned i = 0; i < format->bytes; i++)
        value |= (uint32_t)reader->at[format->big_endian ? format->bytes - 1U - i : i] << 8 * i;
    reader->at += format->bytes;
    return value;
}

static void unpack(struct reader *reader, const uint8_t *packed, size_t len)
{
    reader->stream.next_in = (uint8_t *)packed;
    reader->stream.avail_in = (unsigned)len;
    reader->stream.next_out = unpacked;
    reader->stream.avail_out = sizeof(unpacked);
    assert_int_equal(inflate(&reader->stream, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(reader->stream.avail_in, 0);
    reader->at = unpacked;
}

/* ---------------------------------------------------------------- ZRLE */

/* Which of a pixel's bytes are there follows from the shifts (RFC 6143 7.7.5). */
static uint32_t take_compact(struct reader *reader)
{
    const struct vnc_format *format = reader->format;
    bool low = format->shift[0] < 24 && format->shift[1] < 24 && format->shift[2] < 24;
    bool high = format->shift[0] >= 8 && format->shift[1] >= 8 && format->shift[2] >= 8;
    if (format->bytes != 4 || format->depth > 24 || (!low && !high))
        return take_whole(reader);
    uint32_t value = 0;
    for (unsigned i = 0; i < 3; i++)
        value |= (uint32_t)reader->at[format->big_endian ? 2 - i : i] << 8 * i;
    reader->at += 3;
    return low ? value : value << 8;
}

static void take_indices(struct reader *reader, uint32_t *tile, unsigned width, unsigned height,
                         const uint32_t *palette, unsigned count)
{
    unsigned bits = count == 2 ? 1 : count <= 4 ? 2 : 4;
    for (unsigned y = 0; y < height; y++) {
        for (unsigned x = 0; x < width; x++) {
            unsigned shift = 8 - bits - x * bits % 8;
            tile[y * width + x] = palette[reader->at[x * bits / 8] >> shift & ((1u << bits) - 1)];
        }
        reader->at += (width * bits + 7) / 8;
    }
}

static void take_runs(struct reader *reader, uint32_t *tile, unsigned count)
{
    for (unsigned i = 0; i < count;) {
        uint32_t pixel = take_compact(reader);
        unsigned length = 1;
        do
            length += *reader->at;
        while (*reader->at++ == 255);
        assert_true(length <= count - i);
        for (unsigned end = i + length; i < end; i++)
            tile[i] = pixel;
    }
}

static unsigned take_tile(struct reader *reader, uint32_t *tile, unsigned width, unsigned height)
{
    unsigned kind = *reader->at++, colors = kind && kind <= 16 ? kind : 0;
    uint32_t palette[16];
    for (unsigned i = 0; i < colors; i++)
        palette[i] = take_compact(reader);
    if (kind == 1)
        for (unsigned i = 0; i < width * height; i++)
            tile[i] = palette[0];
    else if (colors)
        take_indices(reader, tile, width, height, palette, colors);
    else if (kind == 128)
        take_runs(reader, tile, width * height);
    else
        for (unsigned i = 0; i < width * height; i++)
            tile[i] = take_compact(reader);
    assert_true(kind <= 16 || kind == 128);
    return kind;
}

static void what_zrle_holds_is_the_picture(void **state)
{
    uint32_t tile[TILE * TILE];
    bool seen[129] = {false};
    for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
        struct vnc_zlib zlib = {0};
        const struct vnc_source source = {&display, &formats[f], &zlib};
        const struct display_rect rect = {3, 2, WIDTH - 5, HEIGHT - 2};
        struct reader reader = {.format = &formats[f]};
        assert_int_equal(inflateInit(&reader.stream), Z_OK);
        for (unsigned kind = 0; kind < KINDS; kind++) {
            struct buffer out = {0};
            draw(kind);
            assert_int_equal(vnc_put_zrle(&out, &source, &rect), 0);
            assert_int_equal(vnc_be32(buffer_bytes(&out)), out.len - 4);
            unpack(&reader, buffer_bytes(&out) + 4, out.len - 4);
            for (unsigned y = 0; y < rect.height; y += TILE)
                for (unsigned x = 0; x < rect.width; x += TILE) {
                    unsigned width = MIN(TILE, rect.width - x), height = MIN(TILE, rect.height - y);
                    seen[take_tile(&reader, tile, width, height)] = true;
                    for (unsigned i = 0; i < width * height; i++)
                        assert_int_equal(
                            tile[i],
                            rounded(
                                &formats[f],
                                pixels[(rect.y + y + i / width) * WIDTH + rect.x + x + i % width]));
                }
            assert_ptr_equal(reader.at, reader.stream.next_out);
            buffer_free(&out);
        }
        inflateEnd(&reader.stream);
        vnc_zlib_end(&zlib);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[9] && seen[128]);
}

/* ---------------------------------------------------------------- Tight */

static uint32_t take_color(struct reader *reader)
{
    const struct vnc_format *format = reader->format;
    if (format->bytes != 4 || format->depth != 24)
        return take_whole(reader);
    uint32_t rgb = (uint32_t)reader->at[0] << 16 | reader->at[1] << 8 | reader->at[2];
    reader->at += 3;
    return rounded(format, rgb);
}

/* The plain bytes of a rectangle, however they came. */
static void take_data(struct reader *reader, const uint8_t *end, size_t plain)
{
    if (plain < 12) {
        assert_int_equal(end - reader->at, plain);
        return;
    }
    size_t len = 0;
    for (unsigned i = 0, more = 1; more && i < 3; i++) {
        more = i < 2 && *reader->at & 0x80;
        len |= (size_t)(*reader->at++ & (i < 2 ? 0x7f : 0xff)) << 7 * i;
    }
    assert_int_equal(end - reader->at, len);
    unpack(reader, reader->at, len);
    assert_int_equal(reader->stream.next_out - unpacked, plain);
}

static unsigned take_tight(struct reader *reader, const uint8_t *end, unsigned width,
                           unsigned height, uint32_t *picture)
{
    unsigned control = *reader->at++, count = 0;
    uint32_t palette[256];
    if (control == 0x80) {
        palette[0] = take_color(reader);
        for (unsigned i = 0; i < width * height; i++)
            picture[i] = palette[0];
        assert_ptr_equal(reader->at, end);
        return control;
    }
    if (control == 0x40) {
        assert_int_equal(*reader->at++, 1);
        count = *reader->at++ + 1u;
        for (unsigned i = 0; i < count; i++)
            palette[i] = take_color(reader);
    }
    unsigned line = count == 2 ? (width + 7) / 8 : width;
    size_t color =
        reader->format->bytes == 4 && reader->format->depth == 24 ? 3 : reader->format->bytes;
    take_data(reader, end, line * height * (count ? 1 : color));
    for (unsigned y = 0; y < height; y++) {
        for (unsigned x = 0; x < width; x++) {
            uint32_t *to = &picture[y * width + x];
            if (count == 2)
                *to = palette[reader->at[x / 8] >> (7 - x % 8) & 1];
            else
                *to = count ? palette[reader->at[x]] : take_color(reader);
        }
        reader->at += count ? line : 0;
    }
    return count == 2 ? 2 : control;
}

static void what_tight_holds_is_the_picture(void **state)
{
    static const struct display_rect rects[] = {
        {3, 2, WIDTH - 5, HEIGHT - 2}, {0, 0, WIDTH, HEIGHT}, {1, 1, 3, 1}};
    static uint32_t picture[WIDTH * HEIGHT];
    bool seen[256] = {false};
    for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
        struct vnc_zlib zlib = {0};
        const struct vnc_source source = {&display, &formats[f], &zlib};
        struct reader reader = {.format = &formats[f]};
        assert_int_equal(inflateInit(&reader.stream), Z_OK);
        for (unsigned kind = 0; kind < KINDS * ARRAY_SIZE(rects); kind++) {
            const struct display_rect *rect = &rects[kind / KINDS];
            struct buffer out = {0};
            draw(kind % KINDS);
            assert_int_equal(vnc_put_tight(&out, &source, rect), 0);
            reader.at = buffer_bytes(&out);
            seen[take_tight(&reader, reader.at + out.len, rect->width, rect->height, picture)] =
                true;
            for (unsigned i = 0; i < rect->width * rect->height; i++)
                assert_int_equal(
                    picture[i],
                    rounded(
                        &formats[f],
                        pixels[(rect->y + i / rect->width) * WIDTH + rect->x + i % rect->width]));
            buffer_free(&out);
        }
        inflateEnd(&reader.stream);
        vnc_zlib_end(&zlib);
    }
    assert_true(seen[0] && seen[2] && seen[0x40] && seen[0x80]);
}

static int load_zlib(void **state)
{
    return vnc_zlib_load(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_zrle_holds_is_the_picture),
        cmocka_unit_test(what_tight_holds_is_the_picture),
    };
    return cmocka_run_group_tests_name("vnc_encode", tests, load_zlib, NULL);
}
