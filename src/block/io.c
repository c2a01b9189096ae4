/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocking requests on nodes: checked once, here, then given to the driver.
 * Writing zeros falls back to writing them by hand; the status of a range can
 * be asked through the backing chain.
 */
#include <errno.h>

#include "base/util.h"
#include "block/driver.h"
#include "block/queue_throttle.h"
#include "block/tracker.h"

#define ZERO_BATCH 16

static int check_range(const struct block_node *node, uint64_t offset, uint64_t len)
{
    if (node->info.growable)
        return range_within(offset, len, 0, INT64_MAX) ? 0 : -EINVAL;
    return range_within(offset, len, 0, block_size(node)) ? 0 : -EINVAL;
}

static int check_write(const struct block_node *node, uint64_t offset, uint64_t len)
{
    if (node->info.readonly || !node->driver->pwritev)
        return -EROFS;
    return check_range(node, offset, len);
}

/* After a successful write. */
static void note_growth(struct block_node *node, uint64_t end)
{
    uint64_t size = block_size(node);
    end = ALIGN_UP(end, 512u);
    while (node->info.growable && end > size &&
           !__atomic_compare_exchange_n(&node->info.size, &size, end, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
        ;
}

int block_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                 unsigned count)
{
    int rc = check_range(node, offset, len);
    return rc < 0 || len == 0 ? rc : node->driver->preadv(node, offset, len, iov, count);
}

int block_pwritev(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count, unsigned flags)
{
    int rc = check_write(node, offset, len);
    if (rc < 0 || len == 0)
        return rc;
    rc = node->driver->pwritev(node, offset, len, iov, count, flags);
    block_track(node, offset, len);
    if (rc == 0)
        note_growth(node, offset + len);
    return rc;
}

int block_pread(struct block_node *node, uint64_t offset, void *buffer, uint64_t len)
{
    const struct iovec iov = {.iov_base = buffer, .iov_len = len};
    return block_preadv(node, offset, len, &iov, 1);
}

int block_pwrite(struct block_node *node, uint64_t offset, const void *buffer, uint64_t len,
                 unsigned flags)
{
    const struct iovec iov = {.iov_base = (void *)buffer, .iov_len = len};
    return block_pwritev(node, offset, len, &iov, 1, flags);
}

static int write_zeros_by_hand(struct block_node *node, uint64_t offset, uint64_t len,
                               unsigned flags)
{
    while (len) {
        struct iovec iov[ZERO_BATCH];
        unsigned count = 0;
        uint64_t bytes = 0;
        while (count < ZERO_BATCH && bytes < len) {
            size_t part = MIN(BLOCK_ZEROS_SIZE, len - bytes);
            iov[count++] = (struct iovec){.iov_base = (void *)block_zeros(), .iov_len = part};
            bytes += part;
        }
        int rc = node->driver->pwritev(node, offset, bytes, iov, count, flags);
        if (rc < 0)
            return rc;
        offset += bytes;
        len -= bytes;
    }
    return 0;
}

int block_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    int rc = check_write(node, offset, len);
    if (rc < 0 || len == 0)
        return rc;
    rc = node->driver->write_zeroes ? node->driver->write_zeroes(node, offset, len, flags)
                                    : -ENOTSUP;
    if (rc == -ENOTSUP && !(flags & BLOCK_NO_FALLBACK))
        rc = write_zeros_by_hand(node, offset, len, flags & BLOCK_FUA);
    block_track(node, offset, len);
    if (rc == 0)
        note_growth(node, offset + len);
    return rc;
}

int block_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    int rc = check_write(node, offset, len);
    if (rc < 0 || len == 0 || !node->driver->discard || !node->info.can_discard)
        return rc;
    rc = node->driver->discard(node, offset, len);
    block_track(node, offset, len);
    return rc;
}

int block_flush(struct block_node *node)
{
    if (node->info.readonly || !node->driver->flush || node->options.cache == BLOCK_CACHE_UNSAFE)
        return 0;
    return node->driver->flush(node);
}

static void status_default(struct block_node *node, uint64_t offset, struct block_extent *out)
{
    out->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED;
    if (!node->file)
        return;
    out->flags |= BLOCK_STATUS_OFFSET;
    out->host_offset = offset;
    out->file = node->file;
}

int block_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out)
{
    int rc = check_range(node, offset, len);
    *out = (struct block_extent){.len = len};
    if (rc < 0 || len == 0)
        return len ? rc : -EINVAL;
    if (node->driver->status)
        rc = node->driver->status(node, offset, len, out);
    else
        status_default(node, offset, out);
    if (rc == 0)
        out->len = MIN(MAX(out->len, (uint64_t)1), len);
    return rc;
}

/* A filter has no layer of its own. */
static struct block_node *skip_filters(struct block_node *node, const struct block_node *base)
{
    while (node && node != base && node->driver->is_filter)
        node = node->file;
    return node;
}

int block_status_above(struct block_node *node, struct block_node *base, uint64_t offset,
                       uint64_t len, struct block_extent *out)
{
    unsigned depth = 0;
    node = skip_filters(node, base);
    for (; node && node != base; node = skip_filters(node->backing, base), depth++) {
        uint64_t size = block_size(node);
        if (offset >= size) {
            /* A shorter layer reads as zeros beyond its end; the layers under it are not seen. */
            *out = (struct block_extent){
                .len = len, .flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED, .depth = depth};
            return 0;
        }
        uint64_t part = MIN(len, size - offset);
        int rc = block_status(node, offset, part, out);
        if (rc < 0)
            return rc;
        out->depth = depth;
        if (out->flags & BLOCK_STATUS_ALLOCATED)
            return 0;
        len = out->len;
        /* Nobody further down has it: the zeros are this layer's, which has no bytes for them. */
        if (!base && (!node->backing || offset >= block_size(node->backing))) {
            out->flags |= BLOCK_STATUS_ZERO;
            return 0;
        }
    }
    *out = (struct block_extent){.len = len, .flags = base ? 0 : BLOCK_STATUS_ZERO, .depth = depth};
    return 0;
}

static int execute(struct block_node *node, struct block_request *request)
{
    uint64_t offset = request->offset + request->progress, len = request->len - request->progress;
    unsigned fua = request->fua ? BLOCK_FUA : 0;
    switch (request->op) {
    case BLOCK_READ:
        return block_pread_slice(node, offset, request->iov, request->iov_count, request->progress,
                                 len);
    case BLOCK_WRITE:
        return block_pwrite_slice(node, offset, request->iov, request->iov_count, request->progress,
                                  len, fua);
    case BLOCK_WRITE_ZEROES:
        return block_write_zeroes(node, offset, len, fua | (request->unmap ? BLOCK_UNMAP : 0));
    case BLOCK_DISCARD:
        return block_discard(node, offset, len);
    case BLOCK_FLUSH:
        break;
    }
    return block_flush(node);
}

int block_execute(struct block_node *node, struct block_request *request)
{
    queue_throttle_enter(request);
    int rc = execute(node, request);
    queue_throttle_leave();
    return rc;
}
