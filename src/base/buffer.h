/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A byte queue that grows up to a bound: appended at the end, consumed at the
 * front. Not thread-safe; belongs to whoever embeds it.
 */
#ifndef KV_BASE_BUFFER_H
#define KV_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buffer {
    uint8_t *data; /* allocation; valid bytes are data[start .. start + len) */
    size_t start, len, capacity;
    size_t max; /* bytes it may hold at most; 0: no bound */
};

#define BUFFER_INIT(bound) \
    (struct buffer)        \
    {                      \
        .max = (bound)     \
    }

int buffer_append_slowly(struct buffer *b, const void *bytes, size_t len);

/* Appends all of it, or nothing: -ENOBUFS past the bound, -ENOMEM. */
static inline int buffer_append(struct buffer *b, const void *bytes, size_t len)
{
    size_t end = b->start + b->len;
    if (len >= b->capacity - end || (b->max && len > b->max - b->len))
        return buffer_append_slowly(b, bytes, len);
    if (len) /* else bytes may be NULL */
        memcpy(b->data + end, bytes, len);
    b->len += len;
    return 0;
}

/* Appends as much as the bound allows; returns how much. */
size_t buffer_append_some(struct buffer *b, const void *bytes, size_t len);

int buffer_printf(struct buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* First valid byte; b->len of them follow. May be NULL while there are none. */
static inline uint8_t *buffer_bytes(const struct buffer *b)
{
    return b->data ? b->data + b->start : NULL;
}

/* Bytes that can still be appended (SIZE_MAX without a bound). */
size_t buffer_room(const struct buffer *b);

/* Drops the first len bytes (at most all). Gives memory back once empty and large. */
void buffer_consume(struct buffer *b, size_t len);

void buffer_free(struct buffer *b);

#endif
