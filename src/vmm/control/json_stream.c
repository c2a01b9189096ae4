/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values out of a byte stream (RFC 8259); see json_stream.h. */
#include "vmm/control/json_stream.h"

#include <stdio.h>
#include <string.h>

typedef bool json_stream_fn(void *opaque, const json_t *value, const char *error);

void json_stream_init(struct json_stream *stream)
{
    *stream = (struct json_stream){.text = BUFFER_INIT(JSON_STREAM_MAX_BYTES)};
}

void json_stream_free(struct json_stream *stream)
{
    buffer_free(&stream->text);
}

static void restart(struct json_stream *stream)
{
    buffer_consume(&stream->text, stream->text.len);
    stream->depth = 0;
    stream->in_string = stream->escaped = false;
}

static bool fail(struct json_stream *stream, const char *error, json_stream_fn *fn, void *opaque)
{
    restart(stream);
    stream->recovering = true;
    return fn(opaque, NULL, error);
}

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_open(unsigned char c)
{
    return c == '{' || c == '[';
}

/* Bytes that no JSON text contains, inside strings or outside. */
static bool is_impossible(unsigned char c)
{
    return (c < 0x20 && !is_space(c)) || c >= 0xfe;
}

static bool complete(struct json_stream *stream, json_stream_fn *fn, void *opaque)
{
    json_error_t where;
    json_t *value = json_loadb((const char *)buffer_bytes(&stream->text), stream->text.len,
                               JSON_REJECT_DUPLICATES, &where);
    restart(stream);
    if (value) {
        bool go_on = fn(opaque, value, NULL);
        json_decref(value);
        return go_on;
    }
    char error[JSON_ERROR_TEXT_LENGTH + 32];
    snprintf(error, sizeof(error), "JSON parse error, %s", where.text);
    return fn(opaque, NULL, error);
}

static bool stray(struct json_stream *stream, unsigned char c, json_stream_fn *fn, void *opaque)
{
    char error[64];
    if (c > 0x20 && c < 0x7f)
        snprintf(error, sizeof(error), "JSON parse error, stray '%c'", c);
    else
        snprintf(error, sizeof(error), "JSON parse error, stray byte 0x%02x", c);
    bool go_on = fail(stream, error, fn, opaque);
    stream->recovering = !is_impossible(c);
    return go_on;
}

/* Follows strings and brackets. */
static void track(struct json_stream *stream, unsigned char c)
{
    if (stream->in_string) {
        if (stream->escaped)
            stream->escaped = false;
        else if (c == '\\')
            stream->escaped = true;
        else if (c == '"')
            stream->in_string = false;
        return;
    }
    if (c == '"')
        stream->in_string = true;
    else if (is_open(c))
        stream->depth++;
    else if (c == '}' || c == ']')
        stream->depth--;
}

static bool feed_byte(struct json_stream *stream, unsigned char c, json_stream_fn *fn, void *opaque)
{
    if (stream->depth == 0 && !is_open(c)) {
        if (stream->recovering)
            stream->recovering = c != '\n' && !is_impossible(c);
        else if (!is_space(c))
            return stray(stream, c, fn, opaque);
        return true;
    }
    stream->recovering = false;
    if (is_impossible(c)) {
        bool go_on = fail(stream, "JSON parse error, the value breaks off", fn, opaque);
        stream->recovering = false;
        return go_on;
    }
    if (buffer_append(&stream->text, &c, 1) < 0)
        return fail(stream, "JSON parse error, the value is larger than 1 MiB", fn, opaque);
    track(stream, c);
    if (stream->depth > JSON_STREAM_MAX_DEPTH)
        return fail(stream, "JSON parse error, brackets are nested deeper than 64", fn, opaque);
    return stream->depth ? true : complete(stream, fn, opaque);
}

size_t json_stream_feed(struct json_stream *stream, const char *bytes, size_t len,
                        json_stream_fn *fn, void *opaque)
{
    size_t used = 0;
    bool go_on = true;
    while (used < len && go_on)
        go_on = feed_byte(stream, (unsigned char)bytes[used++], fn, opaque);
    return used;
}
