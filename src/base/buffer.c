/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A bounded byte queue; see buffer.h. */
#include "base/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

#define KEEP_CAPACITY 65536

size_t buffer_room(const struct buffer *b)
{
    return b->max ? b->max - b->len : SIZE_MAX - b->len;
}

static int reserve(struct buffer *b, size_t len)
{
    if (b->start + b->len + len <= b->capacity)
        return 0;
    if (b->start) {
        memmove(b->data, b->data + b->start, b->len);
        b->start = 0;
    }
    if (b->len + len <= b->capacity)
        return 0;
    size_t want = MAX(b->capacity * 2, MAX(b->len + len, (size_t)256));
    uint8_t *grown = realloc(b->data, want);
    if (!grown)
        return -ENOMEM;
    b->data = grown;
    b->capacity = want;
    return 0;
}

int buffer_append_slowly(struct buffer *b, const void *bytes, size_t len)
{
    if (len > buffer_room(b))
        return -ENOBUFS;
    if (len == 0)
        return 0;
    int rc = reserve(b, len);
    if (rc < 0)
        return rc;
    memcpy(b->data + b->start + b->len, bytes, len);
    b->len += len;
    return 0;
}

size_t buffer_append_some(struct buffer *b, const void *bytes, size_t len)
{
    len = MIN(len, buffer_room(b));
    return buffer_append(b, bytes, len) < 0 ? 0 : len;
}

int buffer_printf(struct buffer *b, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return -ENOMEM;
    int rc = buffer_append(b, text, (size_t)n);
    free(text);
    return rc;
}

void buffer_consume(struct buffer *b, size_t len)
{
    len = MIN(len, b->len);
    b->start += len;
    b->len -= len;
    if (b->len)
        return;
    b->start = 0;
    if (b->capacity > KEEP_CAPACITY)
        buffer_free(b);
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    b->data = NULL;
    b->start = b->len = b->capacity = 0;
}
