/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See hex_state.h. */
#include "vmm/hex_state.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

json_t *hex_state_save(const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    char *text = malloc(2 * len + 1);
    if (!text)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[from[i] >> 4];
        text[2 * i + 1] = digits[from[i] & 15];
    }
    json_t *value = json_stringn(text, 2 * len);
    free(text);
    return value;
}

static int digit(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool hex_state_load(const json_t *text, void *bytes, size_t len)
{
    const char *hex = json_string_value(text);
    uint8_t *to = bytes;
    if (!hex || strlen(hex) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
