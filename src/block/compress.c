/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters, for qcow2: deflate by zlib, zstd by libzstd. Working
 * memory of the libraries is kept in small pools between clusters: setting it
 * up costs as much as compressing a cluster of zeros.
 *
 * Deflate is written with a window of 4 KiB, the largest that every reader of
 * qcow2 images is sure to have, and read with any window.
 */
#include "block/compress.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/util.h"
#include "block/library.h"

#define WRITE_WINDOW_BITS 12
#define DEFLATE_LEVEL 4 /* one and a half times as fast as 6, 1.5 percent larger */
#define DEFLATE_MEMORY 9
#define ZSTD_LEVEL 3
#define POOL_SIZE 8 /* idle contexts of a kind that are kept */

const char *const compress_type_names[] = {"zlib", "zstd", NULL};

static struct {
    __typeof__(deflateInit2_) *deflate_init;
    __typeof__(deflate) *deflate;
    __typeof__(deflateReset) *deflate_reset;
    __typeof__(deflateEnd) *deflate_end;
    __typeof__(inflateInit2_) *inflate_init;
    __typeof__(inflate) *inflate;
    __typeof__(inflateReset) *inflate_reset;
    __typeof__(inflateEnd) *inflate_end;
} z;

static const struct library_symbol z_symbols[] = {
    {"deflateInit2_", &z.deflate_init},
    {"deflate", &z.deflate},
    {"deflateReset", &z.deflate_reset},
    {"deflateEnd", &z.deflate_end},
    {"inflateInit2_", &z.inflate_init},
    {"inflate", &z.inflate},
    {"inflateReset", &z.inflate_reset},
    {"inflateEnd", &z.inflate_end},
    {NULL, NULL},
};

static struct {
    __typeof__(ZSTD_createCCtx) *create_c;
    __typeof__(ZSTD_freeCCtx) *free_c;
    __typeof__(ZSTD_compressCCtx) *compress;
    __typeof__(ZSTD_createDCtx) *create_d;
    __typeof__(ZSTD_freeDCtx) *free_d;
    __typeof__(ZSTD_decompressDCtx) *decompress;
    __typeof__(ZSTD_findFrameCompressedSize) *frame_size;
    __typeof__(ZSTD_isError) *is_error;
} zs;

static const struct library_symbol zs_symbols[] = {
    {"ZSTD_createCCtx", &zs.create_c},
    {"ZSTD_freeCCtx", &zs.free_c},
    {"ZSTD_compressCCtx", &zs.compress},
    {"ZSTD_createDCtx", &zs.create_d},
    {"ZSTD_freeDCtx", &zs.free_d},
    {"ZSTD_decompressDCtx", &zs.decompress},
    {"ZSTD_findFrameCompressedSize", &zs.frame_size},
    {"ZSTD_isError", &zs.is_error},
    {NULL, NULL},
};

static struct library libraries[COMPRESS_TYPES] = {
    [COMPRESS_DEFLATE] = LIBRARY("libz.so.1", "zlib1g", "clusters compressed with zlib", z_symbols),
    [COMPRESS_ZSTD] =
        LIBRARY("libzstd.so.1", "libzstd1", "clusters compressed with zstd", zs_symbols),
};

int compress_prepare(enum compress_type type, struct kv_error *err)
{
    return library_load(&libraries[type], err);
}

/* ------------------------------------------------------------------ pools */

struct pool {
    void *(*create)(void);
    void (*destroy)(void *context);
    pthread_mutex_t lock;
    void *idle[POOL_SIZE];
    unsigned count;
};

#define POOL(create_, destroy_)                                                       \
    {                                                                                 \
        .create = (create_), .destroy = (destroy_), .lock = PTHREAD_MUTEX_INITIALIZER \
    }

static void *pool_get(struct pool *pool)
{
    void *context = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->count > 0)
        context = pool->idle[--pool->count];
    pthread_mutex_unlock(&pool->lock);
    return context ? context : pool->create();
}

static void pool_put(struct pool *pool, void *context)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->count < POOL_SIZE) {
        pool->idle[pool->count++] = context;
        context = NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    if (context)
        pool->destroy(context);
}

/* ---------------------------------------------------------------- deflate */

static void *create_deflate(void)
{
    z_stream *stream = calloc(1, sizeof(*stream));
    if (stream &&
        z.deflate_init(stream, DEFLATE_LEVEL, Z_DEFLATED, -WRITE_WINDOW_BITS, DEFLATE_MEMORY,
                       Z_DEFAULT_STRATEGY, ZLIB_VERSION, (int)sizeof(*stream)) != Z_OK) {
        free(stream);
        return NULL;
    }
    return stream;
}

static void destroy_deflate(void *context)
{
    z.deflate_end(context);
    free(context);
}

static void *create_inflate(void)
{
    z_stream *stream = calloc(1, sizeof(*stream));
    if (stream && z.inflate_init(stream, -MAX_WBITS, ZLIB_VERSION, (int)sizeof(*stream)) != Z_OK) {
        free(stream);
        return NULL;
    }
    return stream;
}

static void destroy_inflate(void *context)
{
    z.inflate_end(context);
    free(context);
}

static struct pool deflaters = POOL(create_deflate, destroy_deflate);
static struct pool inflaters = POOL(create_inflate, destroy_inflate);

static void set_buffers(z_stream *stream, void *dst, size_t dst_len, const void *src,
                        size_t src_len)
{
    stream->next_in = (Bytef *)(uintptr_t)src;
    stream->avail_in = (uInt)src_len;
    stream->next_out = dst;
    stream->avail_out = (uInt)dst_len;
}

static ssize_t deflate_cluster(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    z_stream *stream = pool_get(&deflaters);
    if (!stream)
        return -ENOMEM;
    z.deflate_reset(stream);
    set_buffers(stream, dst, dst_len, src, src_len);
    int r = z.deflate(stream, Z_FINISH);
    ssize_t written = (ssize_t)(dst_len - stream->avail_out);
    pool_put(&deflaters, stream);
    if (r == Z_STREAM_END)
        return written;
    return r == Z_OK || r == Z_BUF_ERROR ? -ENOSPC : -EIO;
}

static int inflate_cluster(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    z_stream *stream = pool_get(&inflaters);
    if (!stream)
        return -ENOMEM;
    z.inflate_reset(stream);
    set_buffers(stream, dst, dst_len, src, src_len);
    int r = z.inflate(stream, Z_FINISH);
    bool full = stream->avail_out == 0;
    pool_put(&inflaters, stream);
    if (r == Z_MEM_ERROR)
        return -ENOMEM;
    /* A stream that could go on is as good: the cluster is there. */
    return full && (r == Z_STREAM_END || r == Z_OK || r == Z_BUF_ERROR) ? 0 : -EIO;
}

/* ------------------------------------------------------------------- zstd */

static void *create_zstd_c(void)
{
    return zs.create_c();
}

static void destroy_zstd_c(void *context)
{
    zs.free_c(context);
}

static void *create_zstd_d(void)
{
    return zs.create_d();
}

static void destroy_zstd_d(void *context)
{
    zs.free_d(context);
}

static struct pool zstd_compressors = POOL(create_zstd_c, destroy_zstd_c);
static struct pool zstd_decompressors = POOL(create_zstd_d, destroy_zstd_d);

static ssize_t zstd_compress_cluster(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ZSTD_CCtx *context = pool_get(&zstd_compressors);
    if (!context)
        return -ENOMEM;
    size_t r = zs.compress(context, dst, dst_len, src, src_len, ZSTD_LEVEL);
    pool_put(&zstd_compressors, context);
    /* Room is the only thing that a compressor of a whole buffer can lack. */
    return zs.is_error(r) ? -ENOSPC : (ssize_t)r;
}

/*
 * Whole frames into the cluster itself: no window is allocated, whatever a frame's header says.
 * Where the frame ends is found first, as garbage of the last sector follows it.
 */
static int zstd_decompress_cluster(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ZSTD_DCtx *context = pool_get(&zstd_decompressors);
    if (!context)
        return -ENOMEM;
    size_t in = 0, out = 0;
    while (out < dst_len && in < src_len) {
        size_t frame = zs.frame_size((const char *)src + in, src_len - in);
        if (zs.is_error(frame))
            break;
        size_t made =
            zs.decompress(context, (char *)dst + out, dst_len - out, (const char *)src + in, frame);
        if (zs.is_error(made))
            break;
        in += frame;
        out += made;
    }
    pool_put(&zstd_decompressors, context);
    return out == dst_len ? 0 : -EIO;
}

/* ---------------------------------------------------------------- by type */

static const struct {
    ssize_t (*compress)(void *dst, size_t dst_len, const void *src, size_t src_len);
    int (*decompress)(void *dst, size_t dst_len, const void *src, size_t src_len);
} codecs[COMPRESS_TYPES] = {
    [COMPRESS_DEFLATE] = {deflate_cluster, inflate_cluster},
    [COMPRESS_ZSTD] = {zstd_compress_cluster, zstd_decompress_cluster},
};

ssize_t compress_cluster(enum compress_type type, void *dst, size_t dst_len, const void *src,
                         size_t src_len)
{
    return codecs[type].compress(dst, dst_len, src, src_len);
}

int decompress_cluster(enum compress_type type, void *dst, size_t dst_len, const void *src,
                       size_t src_len)
{
    return codecs[type].decompress(dst, dst_len, src, src_len);
}
