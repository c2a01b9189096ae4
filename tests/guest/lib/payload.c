/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text, results and memory functions of payloads; see payload.h. */
#include "payload.h"

#include <stdarg.h>

#define COM1 0x3f8
#define PM1_CONTROL 0x604
#define SLEEP_ENABLE (1 << 13)
#define SLEEP_TYPE_S5 0

void *memset(void *p, int c, size_t n)
{
    uint8_t *b = p;
    while (n--)
        *b++ = (uint8_t)c;
    return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;
    while (n--)
        *t++ = *f++;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (; n; n--, x++, y++) {
        if (*x != *y)
            return *x - *y;
    }
    return 0;
}

static void put(char c)
{
    outb(COM1, (uint8_t)c);
}

static void put_text(const char *s)
{
    while (*s)
        put(*s++);
}

static void put_number(uint64_t v, unsigned base)
{
    char digits[24];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    while (n)
        put(digits[--n]);
}

void print(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            put(*fmt);
            continue;
        }
        fmt++;
        if (*fmt == 's')
            put_text(va_arg(ap, const char *));
        else if (*fmt == 'u')
            put_number(va_arg(ap, unsigned), 10);
        else if (*fmt == 'x')
            put_number(va_arg(ap, unsigned), 16);
        else if (*fmt == 'p')
            put_number(va_arg(ap, uint64_t), 16);
    }
    va_end(ap);
}

void result(const char *name, bool ok, const char *why)
{
    if (ok)
        print("ok %s\n", name);
    else
        print("not ok %s: %s\n", name, why);
}

void finish(void)
{
    print("done\n");
    outw(PM1_CONTROL, SLEEP_ENABLE | SLEEP_TYPE_S5 << 10);
    for (;;)
        __asm__ volatile("hlt");
}

void pause_us(unsigned n)
{
    while (n--)
        inb(0x80);
}
