/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arithmetic and small macros used everywhere. */
#ifndef KV_BASE_UTIL_H
#define KV_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#ifndef MIN /* <sys/param.h> has them, too */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif
#define BIT(n) (UINT64_C(1) << (n))
#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a) ALIGN_DOWN((x) + (__typeof__(x))(a)-1, a)
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a)-1)) == 0)
#define container_of(ptr, type, member) \
    ((type *)((char *)(1 ? (ptr) : &((type *)0)->member) - offsetof(type, member)))

/* True when [start, start + len) lies inside [base, base + size); never overflows. */
static inline bool range_within(uint64_t start, uint64_t len, uint64_t base, uint64_t size)
{
    return start >= base && start - base <= size && len <= size - (start - base);
}

/* True when the two ranges share at least one byte. */
static inline bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
    return alen && blen && (a >= b ? a - b < blen : b - a < alen);
}

/* Little-endian access to unaligned memory of the given width, 1 to 8 bytes (x86 and PCI order). */
static inline uint64_t load_le(const void *p, unsigned len)
{
    uint64_t v = 0;
    memcpy(&v, p, len);
    return v;
}

static inline void store_le(void *p, uint64_t v, unsigned len)
{
    memcpy(p, &v, len);
}

/* Big-endian, as networks have it. */
static inline uint64_t load_be(const void *p, unsigned len)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < len; i++)
        v = v << 8 | ((const uint8_t *)p)[i];
    return v;
}

static inline void store_be(void *p, uint64_t v, unsigned len)
{
    for (unsigned i = len; i-- > 0; v >>= 8)
        ((uint8_t *)p)[i] = (uint8_t)v;
}

#endif
