/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See hex_state.h. */
#include "vmm/hex_state.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

/* Most of a state is zero: that much of it is passed over at once. */
#define STEP 8
#define ZEROES UINT64_C(0x3030303030303030) /* "00000000" */

static bool is_zero(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, STEP);
    return value == 0;
}

static bool are_zeroes(const uint8_t *hex)
{
    uint64_t first, second;
    memcpy(&first, hex, STEP);
    memcpy(&second, hex + STEP, STEP);
    return first == ZEROES && second == ZEROES;
}

json_t *hex_state_save(const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    char *text = malloc(2 * len + 1);
    if (!text)
        return NULL;
    memset(text, '0', 2 * len);
    for (size_t i = 0; i < len; i++) {
        if (i % STEP == 0 && len - i >= STEP && is_zero(from + i)) {
            i += STEP - 1;
            continue;
        }
        text[2 * i] = digits[from[i] >> 4];
        text[2 * i + 1] = digits[from[i] & 15];
    }
    json_t *value = json_stringn(text, 2 * len);
    free(text);
    return value;
}

/* Of each digit its value and this bit; of everything else nothing. */
#define DIGIT 0x10
static const uint8_t values[256] = {
    ['0'] = DIGIT | 0,  ['1'] = DIGIT | 1,  ['2'] = DIGIT | 2,  ['3'] = DIGIT | 3,
    ['4'] = DIGIT | 4,  ['5'] = DIGIT | 5,  ['6'] = DIGIT | 6,  ['7'] = DIGIT | 7,
    ['8'] = DIGIT | 8,  ['9'] = DIGIT | 9,  ['a'] = DIGIT | 10, ['b'] = DIGIT | 11,
    ['c'] = DIGIT | 12, ['d'] = DIGIT | 13, ['e'] = DIGIT | 14, ['f'] = DIGIT | 15,
};

bool hex_state_load(const json_t *text, void *bytes, size_t len)
{
    const uint8_t *hex = (const uint8_t *)json_string_value(text);
    uint8_t *to = bytes, digits_only = DIGIT;
    if (!hex || json_string_length(text) != 2 * len)
        return false;
    memset(to, 0, len);
    for (size_t i = 0; i < len; i++) {
        if (i % STEP == 0 && len - i >= STEP && are_zeroes(hex + 2 * i)) {
            i += STEP - 1;
            continue;
        }
        uint8_t high = values[hex[2 * i]], low = values[hex[2 * i + 1]];
        digits_only &= high & low;
        to[i] = (uint8_t)(high << 4 | (low & 15));
    }
    return digits_only;
}
