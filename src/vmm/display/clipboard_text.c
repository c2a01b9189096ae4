/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forms of a copied text; see clipboard.h. */
#include <stdlib.h>
#include <string.h>

#include "vmm/display/clipboard.h"

char *clipboard_text_to_crlf(const char *text, size_t len, size_t *out_len)
{
    size_t lines = 0;
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    char *out = malloc(len + lines + 1), *to = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n')
            *to++ = '\r';
        *to++ = text[i];
    }
    *out_len = (size_t)(to - out);
    return out;
}

char *clipboard_text_from_crlf(const char *text, size_t len, size_t *out_len)
{
    char *out = malloc(len + 1), *to = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\r' || i + 1 == len || text[i + 1] != '\n')
            *to++ = text[i];
    }
    *out_len = (size_t)(to - out);
    return out;
}

char *clipboard_text_from_latin1(const uint8_t *text, size_t len, size_t *out_len)
{
    char *out = malloc(2 * len + 1), *to = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] & 0x80) {
            *to++ = (char)(0xc0 | text[i] >> 6);
            *to++ = (char)(0x80 | (text[i] & 0x3f));
        } else {
            *to++ = (char)text[i];
        }
    }
    *out_len = (size_t)(to - out);
    return out;
}

/* One character at the beginning of len bytes. Its bytes; 0: there is none (RFC 3629, 4). */
static unsigned decode(const uint8_t *bytes, size_t len, uint32_t *character)
{
    static const struct {
        uint8_t mask, head;
        uint32_t least;
    } forms[] = {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (unsigned more = 0; more < 4; more++) {
        if ((bytes[0] & forms[more].mask) != forms[more].head || more >= len)
            continue;
        uint32_t c = bytes[0] & (uint8_t)~forms[more].mask;
        for (unsigned i = 1; i <= more; i++) {
            if ((bytes[i] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (bytes[i] & 0x3f);
        }
        *character = c;
        bool surrogate = c >= 0xd800 && c < 0xe000;
        return c < forms[more].least || c > 0x10ffff || surrogate ? 0 : more + 1;
    }
    return 0;
}

bool clipboard_text_is_utf8(const void *text, size_t len)
{
    const uint8_t *bytes = text;
    uint32_t character;
    for (size_t at = 0; at < len;) {
        unsigned n = decode(bytes + at, len - at, &character);
        if (!n)
            return false;
        at += n;
    }
    return true;
}

char *clipboard_text_to_latin1(const char *text, size_t len, size_t *out_len)
{
    const uint8_t *bytes = (const uint8_t *)text;
    char *out = malloc(len + 1), *to = out;
    if (!out)
        return NULL;
    for (size_t at = 0; at < len;) {
        uint32_t character = '?';
        unsigned n = decode(bytes + at, len - at, &character);
        at += n ? n : 1;
        *to++ = character <= 0xff ? (char)character : '?';
    }
    *out_len = (size_t)(to - out);
    return out;
}
