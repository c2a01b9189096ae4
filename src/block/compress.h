/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compression of one cluster of a qcow2 image at a time: deflate without a
 * wrapper, and zstd frames. Any thread, several at once. Compressed bytes come
 * from images and are hostile: what they make is bounded by the cluster.
 */
#ifndef KV_BLOCK_COMPRESS_H
#define KV_BLOCK_COMPRESS_H

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* The numbers are those of the qcow2 header's compression_type. */
enum compress_type {
    COMPRESS_DEFLATE = 0,
    COMPRESS_ZSTD = 1,
    COMPRESS_TYPES,
};

/* "zlib", "zstd": as in qemu-img's -o compression_type. NULL at the end. */
extern const char *const compress_type_names[];

/* Loads the library; before the first use of the type in this process. */
int compress_prepare(enum compress_type type, struct kv_error *err);

/* Bytes written to dst; -ENOSPC: dst_len are not enough, dst is undefined; -ENOMEM; -EIO. */
ssize_t compress_cluster(enum compress_type type, void *dst, size_t dst_len, const void *src,
                         size_t src_len);

/* Exactly dst_len bytes out of the beginning of src; what follows in src is ignored. 0; -EIO: src
 * is damaged or makes less; -ENOMEM. */
int decompress_cluster(enum compress_type type, void *dst, size_t dst_len, const void *src,
                       size_t src_len);

#endif
