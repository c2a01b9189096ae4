/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of deflate for ZRLE and Tight, which last as long as their viewer, and for the texts of
 * the extended clipboard. zlib is loaded with the server, before the jail; without it viewers are
 * not offered these. See vnc_encode.h.
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
static __typeof__(inflateInit_) *inflate_init;
static __typeof__(inflate) *inflate_some;
static __typeof__(inflateEnd) *inflate_end;

static const struct library_symbol symbols[] = {
    {"deflateInit2_", &deflate_init},
    {"deflate", &deflate_some},
    {"deflateEnd", &deflate_end},
    {"inflateInit_", &inflate_init},
    {"inflate", &inflate_some},
    {"inflateEnd", &inflate_end},
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

static int put(struct vnc_zlib *zlib, struct buffer *out, int flush)
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
        deflate_some(stream, flush);
        if (buffer_append(out, piece, sizeof(piece) - stream->avail_out) < 0)
            return -ENOMEM;
    } while (stream->avail_out == 0);
    buffer_consume(&zlib->plain, zlib->plain.len);
    return 0;
}

int vnc_zlib_put(struct vnc_zlib *zlib, struct buffer *out)
{
    return put(zlib, out, Z_SYNC_FLUSH); /* a viewer can read up to here */
}

int vnc_zlib_finish(struct vnc_zlib *zlib, struct buffer *out)
{
    return put(zlib, out, Z_FINISH);
}

void vnc_zlib_end(struct vnc_zlib *zlib)
{
    if (zlib->stream)
        deflate_end(zlib->stream);
    free(zlib->stream);
    buffer_free(&zlib->plain);
}

int vnc_zlib_unpack(const uint8_t *bytes, size_t len, struct buffer *out)
{
    uint8_t piece[PIECE];
    z_stream stream = {.next_in = (uint8_t *)bytes, .avail_in = (unsigned)len};
    if (inflate_init(&stream, ZLIB_VERSION, (int)sizeof(stream)) != Z_OK)
        return -ENOMEM;
    int rc = 0, state = Z_OK;
    while (rc == 0 && state == Z_OK) {
        stream.next_out = piece;
        stream.avail_out = sizeof(piece);
        state = inflate_some(&stream, Z_SYNC_FLUSH);
        rc = buffer_append(out, piece, sizeof(piece) - stream.avail_out);
    }
    inflate_end(&stream);
    /* A stream that was only flushed has no end: then nothing goes on without more bytes. */
    return rc < 0 || state == Z_STREAM_END || state == Z_BUF_ERROR ? rc : -EINVAL;
}
