/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base64 both ways, for values of secrets. */
#include "cli/base64.h"

#include <ctype.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(struct cli *cli, const char *bytes, size_t len)
{
    char *out = cli_alloc(cli, (len + 2) / 3 * 4 + 1), *to = out;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)(unsigned char)bytes[i] << 16;
        if (i + 1 < len)
            group |= (uint32_t)(unsigned char)bytes[i + 1] << 8;
        if (i + 2 < len)
            group |= (unsigned char)bytes[i + 2];
        *to++ = letters[group >> 18];
        *to++ = letters[group >> 12 & 63];
        *to++ = i + 1 < len ? letters[group >> 6 & 63] : '=';
        *to++ = i + 2 < len ? letters[group & 63] : '=';
    }
    return out;
}

char *base64_decode(struct cli *cli, const char *text, size_t *len)
{
    char *out = cli_alloc(cli, strlen(text) / 4 * 3 + 3), *to = out;
    uint32_t group = 0;
    unsigned n = 0, padding = 0;
    for (; *text; text++) {
        if (isspace((unsigned char)*text))
            continue;
        const char *letter = strchr(letters, *text);
        if (*text == '=')
            padding++;
        else if (!letter || padding)
            return NULL;
        group = group << 6 | (letter && *text != '=' ? (uint32_t)(letter - letters) : 0);
        if (++n % 4 == 0) {
            *to++ = (char)(group >> 16);
            *to++ = (char)(group >> 8);
            *to++ = (char)group;
            group = 0;
        }
    }
    if (n % 4 || padding > 2)
        return NULL;
    *len = (size_t)(to - out) - padding;
    return out;
}
