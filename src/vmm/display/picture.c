/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pictures as files: PPM (netpbm's P6) and PNG (ISO/IEC 15948) with a deflate
 * stream (RFC 1951) of one kind of match only: a byte that goes on. Together
 * with the filter "up" this packs screens well, and needs no library in a
 * process that cannot load any more. Called for screenshots.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/display/display.h"

#define RUN_MAX 258
#define RUN_MIN 3
#define FILTER_UP 2
#define END_OF_BLOCK 256

struct writer {
    uint8_t *data;
    size_t len, capacity;
    bool failed;
    uint64_t bits; /* not whole bytes yet, the first at the bottom */
    unsigned bit_count;
    uint32_t adler_a, adler_b; /* of what was compressed */
    int last;                  /* the byte that a run goes on with; -1: none yet */
    unsigned run;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
    if (w->failed)
        return;
    if (len > w->capacity - w->len) {
        size_t capacity = MAX(2 * w->capacity, w->len + len + 4096);
        uint8_t *grown = realloc(w->data, capacity);
        if (!grown) {
            w->failed = true;
            return;
        }
        w->data = grown;
        w->capacity = capacity;
    }
    memcpy(w->data + w->len, bytes, len);
    w->len += len;
}

static void put_be32(struct writer *w, uint32_t value)
{
    const uint8_t bytes[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                             (uint8_t)value};
    put(w, bytes, sizeof(bytes));
}

/* ---------------------------------------------------------------- deflate */

static void put_bits(struct writer *w, uint32_t value, unsigned count)
{
    w->bits |= (uint64_t)value << w->bit_count;
    w->bit_count += count;
    while (w->bit_count >= 8) {
        uint8_t byte = (uint8_t)w->bits;
        put(w, &byte, 1);
        w->bits >>= 8;
        w->bit_count -= 8;
    }
}

/* Huffman codes go with their highest bit first. */
static void put_code(struct writer *w, uint32_t code, unsigned count)
{
    uint32_t reversed = 0;
    for (unsigned i = 0; i < count; i++)
        reversed |= (code >> i & 1) << (count - 1 - i);
    put_bits(w, reversed, count);
}

/* The fixed code of RFC 1951 3.2.6. */
static void put_symbol(struct writer *w, unsigned symbol)
{
    if (symbol < 144)
        put_code(w, 0x30 + symbol, 8);
    else if (symbol < 256)
        put_code(w, 0x190 + symbol - 144, 9);
    else if (symbol < 280)
        put_code(w, symbol - 256, 7);
    else
        put_code(w, 0xc0 + symbol - 280, 8);
}

/* A length of 3 to 258 as its symbol and extra bits (3.2.5), at distance 1. */
static void put_match(struct writer *w, unsigned length)
{
    if (length == RUN_MAX) {
        put_symbol(w, 285);
    } else if (length < 11) {
        put_symbol(w, 254 + length);
    } else {
        unsigned value = length - 3, extra = 29 - (unsigned)__builtin_clz(value);
        put_symbol(w, 257 + 4 * extra + (value >> extra));
        put_bits(w, value & ((1U << extra) - 1), extra);
    }
    put_code(w, 0, 5);
}

static void end_run(struct writer *w)
{
    while (w->run) {
        unsigned length = MIN(w->run, (unsigned)RUN_MAX);
        if (length < RUN_MIN) {
            put_symbol(w, (unsigned)w->last);
            length = 1;
        } else {
            put_match(w, length);
        }
        w->run -= length;
    }
}

static void compress(struct writer *w, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        w->adler_a = (w->adler_a + bytes[i]) % 65521;
        w->adler_b = (w->adler_b + w->adler_a) % 65521;
        if (bytes[i] == w->last) {
            w->run++;
            continue;
        }
        end_run(w);
        put_symbol(w, bytes[i]);
        w->last = bytes[i];
    }
}

/* ---------------------------------------------------------------- PNG */

static uint32_t crc32_of(const uint8_t *bytes, size_t len)
{
    uint32_t crc = UINT32_MAX, table[256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (unsigned bit = 0; bit < 8; bit++)
            value = value & 1 ? 0xedb88320 ^ value >> 1 : value >> 1;
        table[i] = value;
    }
    for (size_t i = 0; i < len; i++)
        crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

/* The length comes before the type, its checksum behind the data. */
static size_t begin_chunk(struct writer *w, const char *type)
{
    put_be32(w, 0);
    put(w, type, 4);
    return w->len;
}

static void end_chunk(struct writer *w, size_t start)
{
    if (w->failed)
        return;
    uint32_t len = (uint32_t)(w->len - start);
    for (unsigned i = 0; i < 4; i++)
        w->data[start - 8 + i] = (uint8_t)(len >> (24 - 8 * i));
    put_be32(w, crc32_of(w->data + start - 4, len + 4));
}

static void row_bytes(uint8_t *to, const uint32_t *row, unsigned width)
{
    for (unsigned x = 0; x < width; x++) {
        *to++ = (uint8_t)(row[x] >> 16);
        *to++ = (uint8_t)(row[x] >> 8);
        *to++ = (uint8_t)row[x];
    }
}

static void write_png(struct writer *w, unsigned width, unsigned height, const uint32_t *pixels)
{
    static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t rgb_of_8_bits[] = {8, 2, 0, 0, 0}, zlib_header[] = {0x78, 0x01};
    size_t row = 3 * (size_t)width;
    uint8_t *lines = calloc(3, row + 1), *above = lines, *line = lines + row + 1,
            *filtered = lines + 2 * (row + 1);
    w->failed = !lines;
    put(w, signature, sizeof(signature));
    size_t chunk = begin_chunk(w, "IHDR");
    put_be32(w, width);
    put_be32(w, height);
    put(w, rgb_of_8_bits, sizeof(rgb_of_8_bits));
    end_chunk(w, chunk);
    chunk = begin_chunk(w, "IDAT");
    put(w, zlib_header, sizeof(zlib_header));
    put_bits(w, 3, 3); /* the last block, fixed codes */
    for (unsigned y = 0; y < height && !w->failed; y++) {
        row_bytes(line, pixels + (size_t)y * width, width);
        filtered[0] = FILTER_UP;
        for (size_t i = 0; i < row; i++)
            filtered[i + 1] = (uint8_t)(line[i] - above[i]);
        compress(w, filtered, row + 1);
        uint8_t *swap = above;
        above = line;
        line = swap;
    }
    end_run(w);
    put_symbol(w, END_OF_BLOCK);
    put_bits(w, 0, (8 - w->bit_count) & 7);
    put_be32(w, w->adler_b << 16 | w->adler_a);
    end_chunk(w, chunk);
    end_chunk(w, begin_chunk(w, "IEND"));
    free(lines);
}

static void write_ppm(struct writer *w, unsigned width, unsigned height, const uint32_t *pixels)
{
    char head[64];
    int len = snprintf(head, sizeof(head), "P6\n%u %u\n255\n", width, height);
    uint8_t *line = malloc(3 * (size_t)width);
    w->failed = !line;
    put(w, head, (size_t)len);
    for (unsigned y = 0; y < height && !w->failed; y++) {
        row_bytes(line, pixels + (size_t)y * width, width);
        put(w, line, 3 * (size_t)width);
    }
    free(line);
}

uint8_t *picture_write(enum picture_format format, unsigned width, unsigned height,
                       const uint32_t *pixels, size_t *size)
{
    struct writer w = {.adler_a = 1, .last = -1};
    if (format == PICTURE_PNG)
        write_png(&w, width, height, pixels);
    else
        write_ppm(&w, width, height, pixels);
    if (w.failed) {
        free(w.data);
        return NULL;
    }
    *size = w.len;
    return w.data;
}
