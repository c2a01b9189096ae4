/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cache lines fetched ahead of their use, for reading or for writing. Any address is harmless. */
#ifndef KV_BASE_PREFETCH_H
#define KV_BASE_PREFETCH_H

#define CACHE_LINE 64

static inline void prefetch_read(const void *p)
{
    __builtin_prefetch(p);
}

/* Takes the line from other processors' caches at once. Compilers make a fetch for reading of
 * __builtin_prefetch(p, 1) where they do not know the processor, and the write waits again; the
 * instruction does nothing on those x86-64 processors that lack it. */
static inline void prefetch_write(void *p)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

#endif
