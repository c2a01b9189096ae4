/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For fuzz targets: an input that numbers are taken from until it is used up; then they are 0. */
#ifndef KV_TESTS_FUZZ_INPUT_H
#define KV_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
    const uint8_t *data;
    size_t left;
};

/* The next bytes, most significant first. */
static inline uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t value = 0;
    for (; bytes && in->left; bytes--, in->left--)
        value = value << 8 | *in->data++;
    return value;
}

#endif
