/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cuts a stream of concatenated JSON values into values, whatever lies between
 * them and however the bytes arrive. Bounded in size and depth. What is no
 * JSON gives one error, and reading goes on at the next line, the next opening
 * bracket, or the next byte that cannot occur in JSON (a client sends 0xff to
 * get back into step).
 */
#ifndef KV_VMM_CONTROL_JSON_STREAM_H
#define KV_VMM_CONTROL_JSON_STREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

#define JSON_STREAM_MAX_BYTES ((size_t)1 << 20) /* of one value */
#define JSON_STREAM_MAX_DEPTH 64

struct json_stream {
    struct buffer text; /* the value begun */
    unsigned depth;     /* open brackets; 0 between values */
    bool in_string, escaped;
    bool recovering; /* skipping what follows an error */
};

void json_stream_init(struct json_stream *stream);
void json_stream_free(struct json_stream *stream);

/* Calls fn for each value that became complete (it owns nothing of it), or with value NULL and
 * what is wrong; fn returns whether to go on. Returns how many bytes were used. */
size_t json_stream_feed(struct json_stream *stream, const char *bytes, size_t len,
                        bool (*fn)(void *opaque, const json_t *value, const char *error),
                        void *opaque);

#endif
