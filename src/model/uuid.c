/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See uuid.h. */
#include "model/uuid.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uuid_parse(const char *text, uint8_t uuid[16])
{
    uint8_t bytes[16];
    const char *p = text + strspn(text, " \t\r\n");
    for (unsigned i = 0; i < 16; i++) {
        p += *p == '-';
        int high = digit_of(p[0]), low = high < 0 ? -1 : digit_of(p[1]);
        if (low < 0)
            return -EINVAL;
        bytes[i] = (uint8_t)(high << 4 | low);
        p += 2;
    }
    if (p[strspn(p, " \t\r\n")])
        return -EINVAL;
    memcpy(uuid, bytes, sizeof(bytes));
    return 0;
}

void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *p = text;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = digits[uuid[i] >> 4];
        *p++ = digits[uuid[i] & 15];
    }
    *p = '\0';
}

void uuid_generate(uint8_t uuid[16])
{
    if (getrandom(uuid, 16, 0) != 16)
        abort(); /* cannot fail for 16 bytes once the kernel's generator is seeded */
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}
