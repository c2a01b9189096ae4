/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of deflate for ZRLE and Tight, which last as long as their viewer. zlib is loaded with
 * the server, before the jail; without it viewers are not offered these encodings. See
 * vnc_encode.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/library.h"
#include "vmm/display/vnc_encode.h"

#define LEVEL 1 /* a screen is to be seen at once; the better levels take several times as long */
#define WINDOW_BITS 14
#define MEMORY_LEVEL 7 /* with that window 128 KiB a stream */
#define PIECE 16384

static __typeof__(deflateInit2_) *deflate_init;
static __typeof__(deflate) *deflate_some;
static __typeof__(deflateEnd) *deflate_end;

static const struct library_symbol symbols[] = {
    {"deflateInit2_", &deflate_init},
    {"deflate", &deflate_some},
    {"deflateEnd", &deflate_end},
    {NULL, NULL},
};

static struct library library =
    LIBRARY("libz.so.1", "zlib1g", "compressed pictures for viewers", symbols);

int vnc_zlib_load(struct kv_error *err)
{
    return library_open(&library, err);
}

bool vnc_zlib_is_there(void)
{
    return library_is_open(&library);
}

static int open_stream(struct vnc_zlib *zlib)
{
    z_stream *stream = calloc(1, sizeof(*stream));
    if (stream && deflate_init(stream, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                               Z_DEFAULT_STRATEGY, ZLIB_VERSION, (int)sizeof(*stream)) == Z_OK) {
        zlib->stream = stream;
        return 0;
    }
    free(stream);
    return -ENOMEM;
}

int vnc_zlib_put(struct vnc_zlib *zlib, struct buffer *out)
{
    uint8_t piece[PIECE];
    if (!zlib->stream && open_stream(zlib) < 0)
        return -ENOMEM;
    z_stream *stream = zlib->stream;
    stream->next_in = buffer_bytes(&zlib->plain);
    stream->avail_in = (unsigned)zlib->plain.len;
    do {
        stream->next_out = piece;
        stream->avail_out = sizeof(piece);
        deflate_some(stream, Z_SYNC_FLUSH); /* a viewer can read up to here */
        if (buffer_append(out, piece, sizeof(piece) - stream->avail_out) < 0)
            return -ENOMEM;
    } while (stream->avail_out == 0);
    buffer_consume(&zlib->plain, zlib->plain.len);
    return 0;
}

void vnc_zlib_end(struct vnc_zlib *zlib)
{
    if (zlib->stream)
        deflate_end(zlib->stream);
    free(zlib->stream);
    buffer_free(&zlib->plain);
}
