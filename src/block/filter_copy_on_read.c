/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "copy-on-read": what is read from the backing chain of the image
 * under it is written to the image, so that it is there the next time. Pieces
 * are whole clusters of the image. A piece that is being copied keeps writers
 * out, so that nothing older replaces what they wrote.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/drivers.h"
#include "block/filter.h"

#define PIECE_MAX MIB(1)
#define GRANULE_MIN KIB(64)

struct copy_on_read {
    /* Writers share it, a copy has it alone. */
    pthread_rwlock_t lock;
    uint64_t granule; /* bytes: a cluster, or so many of them that it is worth it */
};

static int copy_open(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    if (node->file->info.readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "'%s': copy-on-read writes to the image, which is open read-only",
                            node->name);
    struct copy_on_read *copy = calloc(1, sizeof(*copy));
    if (!copy)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    pthread_rwlock_init(&copy->lock, NULL);
    copy->granule = MIN(MAX(node->file->info.cluster_size, GRANULE_MIN), PIECE_MAX);
    node->state = copy;
    node->info = node->file->info;
    return 0;
}

static void copy_close(struct block_node *node)
{
    struct copy_on_read *copy = node->state;
    pthread_rwlock_destroy(&copy->lock);
    free(copy);
}

/* Part of [offset, offset + len) that is still to be copied, from *at on. 0: none. */
static int find_missing(struct block_node *file, uint64_t offset, uint64_t len, uint64_t *at,
                        uint64_t *missing)
{
    for (uint64_t done = 0; done < len;) {
        struct block_extent extent;
        int rc = block_status(file, offset + done, len - done, &extent);
        if (rc < 0)
            return rc;
        if (!(extent.flags & BLOCK_STATUS_ALLOCATED)) {
            *at = offset + done;
            *missing = extent.len;
            return 0;
        }
        done += extent.len;
    }
    *missing = 0;
    return 0;
}

/* The lock is held for writing. Nobody else writes, so what is missing stays so meanwhile. */
static int copy_piece(struct block_node *node, uint64_t offset, uint64_t len, uint8_t *buffer)
{
    uint64_t at = offset, end = offset + len, missing;
    while (at < end) {
        int rc = find_missing(node->file, at, end - at, &at, &missing);
        if (rc < 0 || missing == 0)
            return rc;
        rc = block_pread(node->file, at, buffer, missing);
        if (rc == 0 && buffer_is_zero(buffer, missing))
            rc = block_write_zeroes(node->file, at, missing, 0);
        else if (rc == 0)
            rc = block_pwrite(node->file, at, buffer, missing, 0);
        if (rc < 0)
            return rc;
        at += missing;
    }
    return 0;
}

static int copy_range(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct copy_on_read *copy = node->state;
    uint64_t at = offset / copy->granule * copy->granule;
    uint64_t end = MIN(ALIGN_UP(offset + len, copy->granule), block_size(node->file));
    cleanup_free uint8_t *buffer = NULL;
    while (at < end) {
        uint64_t piece = MIN(end - at, PIECE_MAX), where, missing;
        int rc = find_missing(node->file, at, piece, &where, &missing);
        if (rc == 0 && missing) {
            if (!buffer && !(buffer = malloc(PIECE_MAX)))
                return -ENOMEM;
            pthread_rwlock_wrlock(&copy->lock);
            rc = copy_piece(node, at, piece, buffer);
            pthread_rwlock_unlock(&copy->lock);
        }
        if (rc < 0)
            return rc;
        at += piece;
    }
    return 0;
}

/* Reading goes on where the copy cannot be made: the image may be full, the data is there. */
static int copy_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count)
{
    copy_range(node, offset, len);
    return block_preadv(node->file, offset, len, iov, count);
}

static int copy_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                        const struct iovec *iov, unsigned count, unsigned flags)
{
    struct copy_on_read *copy = node->state;
    pthread_rwlock_rdlock(&copy->lock);
    int rc = block_pwritev(node->file, offset, len, iov, count, flags);
    pthread_rwlock_unlock(&copy->lock);
    return rc;
}

static int copy_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    struct copy_on_read *copy = node->state;
    pthread_rwlock_rdlock(&copy->lock);
    int rc = block_write_zeroes(node->file, offset, len, flags);
    pthread_rwlock_unlock(&copy->lock);
    return rc;
}

static int copy_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct copy_on_read *copy = node->state;
    pthread_rwlock_rdlock(&copy->lock);
    int rc = block_discard(node->file, offset, len);
    pthread_rwlock_unlock(&copy->lock);
    return rc;
}

const struct block_driver block_copy_on_read_driver = {
    .name = "copy-on-read",
    .is_filter = true,
    .open = copy_open,
    .close = copy_close,
    .get_size = filter_get_size,
    .resize = filter_resize,
    .preadv = copy_preadv,
    .pwritev = copy_pwritev,
    .write_zeroes = copy_write_zeroes,
    .discard = copy_discard,
    .flush = filter_flush,
    .flush_is_deep = true,
    .status = filter_status,
};
