/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of a view: given out in pieces, freed together. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

#define BLOCK_SIZE 4000

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) uint8_t bytes[];
};

struct model_arena {
    struct arena_block *blocks;
};

struct model_arena *arena_new(void)
{
    return calloc(1, sizeof(struct model_arena));
}

void arena_free(struct model_arena *arena)
{
    if (!arena)
        return;
    for (struct arena_block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

void *arena_alloc(struct model_arena *arena, size_t size)
{
    size = ALIGN_UP(size, (size_t)16);
    struct arena_block *b = arena->blocks;
    if (!b || b->size - b->used < size) {
        size_t room = MAX(size, (size_t)BLOCK_SIZE);
        b = malloc(sizeof(*b) + room);
        if (!b)
            return NULL;
        b->next = arena->blocks;
        b->used = 0;
        b->size = room;
        arena->blocks = b;
    }
    void *p = b->bytes + b->used;
    b->used += size;
    return memset(p, 0, size);
}

char *arena_printf(struct model_arena *arena, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = n < 0 ? NULL : arena_alloc(arena, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}
