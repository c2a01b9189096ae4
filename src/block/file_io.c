/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on a raw file or block device as blocking code, run by a worker:
 * whole transfers whatever the kernel returns in pieces, reads past the end
 * filled with zeros, O_DIRECT with buffers or offsets that are not aligned (by
 * way of an aligned buffer), discarding and zeroing by the best means the host
 * has. Also says which requests io_uring may take as they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/file.h"

#define IOV_BATCH 128
#define BOUNCE_SIZE KIB(512)
#define BOUNCE_ALIGN 4096
#define FAST_MAX GIB(1)
#define ZERO_BATCH 16

static const uint8_t zeros[KIB(64)] __attribute__((aligned(BOUNCE_ALIGN)));

static bool iov_is_aligned(const struct iovec *iov, unsigned count, uint32_t align)
{
    uintptr_t bits = 0;
    for (unsigned i = 0; i < count; i++)
        bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
    return (bits & (align - 1)) == 0;
}

static bool is_aligned(const struct file_state *file, const struct block_request *request)
{
    return file->align == 1 ||
           (IS_ALIGNED(request->offset | request->len | request->progress, file->align) &&
            iov_is_aligned(request->iov, request->iov_count, file->mem_align));
}

bool file_is_fast(const struct block_node *node, const struct block_request *request)
{
    switch (request->op) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return is_aligned(node->state, request) && request->len <= FAST_MAX;
    case BLOCK_FLUSH:
        return true;
    default:
        return false;
    }
}

/* Up to max elements that describe iov from byte offset on. Returns how many. */
static unsigned iov_slice(const struct iovec *iov, unsigned count, uint64_t offset,
                          struct iovec *out, unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; i < count && n < max; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        out[n++] = (struct iovec){.iov_base = (char *)iov[i].iov_base + offset,
                                  .iov_len = iov[i].iov_len - offset};
        offset = 0;
    }
    return n;
}

enum copy_direction {
    COPY_TO_IOV,
    COPY_FROM_IOV,
};

/* buffer NULL: zeros into the iov. */
static void iov_copy(const struct block_request *request, uint64_t offset, uint8_t *buffer,
                     uint64_t len, enum copy_direction direction)
{
    while (len) {
        struct iovec part[IOV_BATCH];
        unsigned n = iov_slice(request->iov, request->iov_count, offset, part, ARRAY_SIZE(part));
        for (unsigned i = 0; i < n && len; i++) {
            size_t bytes = MIN(part[i].iov_len, len);
            if (!buffer)
                memset(part[i].iov_base, 0, bytes);
            else if (direction == COPY_TO_IOV)
                memcpy(part[i].iov_base, buffer, bytes);
            else
                memcpy(buffer, part[i].iov_base, bytes);
            if (buffer)
                buffer += bytes;
            offset += bytes;
            len -= bytes;
        }
        if (n == 0)
            return;
    }
}

static int read_rest(struct file_state *file, struct block_request *request)
{
    while (request->progress < request->len) {
        struct iovec part[IOV_BATCH];
        unsigned n =
            iov_slice(request->iov, request->iov_count, request->progress, part, ARRAY_SIZE(part));
        ssize_t got = preadv(file->fd, part, (int)n, (off_t)(request->offset + request->progress));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0) {
            iov_copy(request, request->progress, NULL, request->len - request->progress,
                     COPY_TO_IOV);
            return 0;
        }
        request->progress += (uint64_t)got;
    }
    return 0;
}

static int write_rest(struct file_state *file, struct block_request *request, bool durable)
{
    while (request->progress < request->len) {
        struct iovec part[IOV_BATCH];
        unsigned n =
            iov_slice(request->iov, request->iov_count, request->progress, part, ARRAY_SIZE(part));
        ssize_t put = pwritev2(file->fd, part, (int)n, (off_t)(request->offset + request->progress),
                               durable ? RWF_DSYNC : 0);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        if (put == 0)
            return -EIO;
        request->progress += (uint64_t)put;
    }
    return 0;
}

/* Aligned; what lies past the end reads as zeros. */
static int read_aligned(const struct file_state *file, uint8_t *buffer, uint64_t offset,
                        uint64_t len)
{
    uint64_t done = 0;
    while (done < len) {
        ssize_t got = pread(file->fd, buffer + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        done += (uint64_t)got;
        if (got == 0 || !IS_ALIGNED((uint64_t)got, file->align)) {
            memset(buffer + done, 0, len - done);
            return 0;
        }
    }
    return 0;
}

static int write_aligned(const struct file_state *file, const uint8_t *buffer, uint64_t offset,
                         uint64_t len)
{
    uint64_t done = 0;
    while (done < len) {
        ssize_t put = pwrite(file->fd, buffer + done, len - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        if (put == 0 || !IS_ALIGNED((uint64_t)put, file->align))
            return -EIO;
        done += (uint64_t)put;
    }
    return 0;
}

/* Writing whole blocks at the end of a file may have made it longer than it is to be. */
static int cut_tail(const struct block_node *node, uint64_t end)
{
    const struct file_state *file = node->state;
    uint64_t size = block_size(node);
    if (file->is_device || end <= size)
        return 0;
    return ftruncate(file->fd, (off_t)size) < 0 ? -errno : 0;
}

/* One window of a request through an aligned buffer: the part that both have in common. */
static int bounce_window(struct block_node *node, struct block_request *request, uint8_t *buffer,
                         uint64_t window, uint64_t window_len)
{
    struct file_state *file = node->state;
    uint64_t first = MAX(window, request->offset);
    uint64_t last = MIN(window + window_len, request->offset + request->len);
    uint8_t *at = buffer + (first - window);

    if (request->op == BLOCK_READ) {
        int rc = read_aligned(file, buffer, window, window_len);
        if (rc == 0)
            iov_copy(request, first - request->offset, at, last - first, COPY_TO_IOV);
        return rc;
    }

    bool partial = first > window || last < window + window_len;
    int rc = 0;
    if (partial) {
        pthread_mutex_lock(&file->partial_lock);
        rc = read_aligned(file, buffer, window, window_len);
    }
    if (rc == 0) {
        iov_copy(request, first - request->offset, at, last - first, COPY_FROM_IOV);
        rc = write_aligned(file, buffer, window, window_len);
    }
    if (rc == 0)
        rc = cut_tail(node, window + window_len);
    if (partial)
        pthread_mutex_unlock(&file->partial_lock);
    return rc;
}

static int bounce(struct block_node *node, struct block_request *request, bool durable)
{
    const struct file_state *file = node->state;
    uint64_t start = ALIGN_DOWN(request->offset + request->progress, file->align);
    uint64_t end = ALIGN_UP(request->offset + request->len, file->align);
    cleanup_free void *buffer = NULL;
    if (posix_memalign(&buffer, MAX(BOUNCE_ALIGN, file->mem_align), MIN(end - start, BOUNCE_SIZE)))
        return -ENOMEM;
    for (uint64_t at = start; at < end; at += BOUNCE_SIZE) {
        int rc = bounce_window(node, request, buffer, at, MIN(end - at, BOUNCE_SIZE));
        if (rc < 0)
            return rc;
    }
    return durable && fdatasync(file->fd) < 0 ? -errno : 0;
}

static int transfer(struct block_node *node, struct block_request *request)
{
    struct file_state *file = node->state;
    bool durable = request->op == BLOCK_WRITE && block_is_durable(node, request);
    if (!is_aligned(file, request))
        return bounce(node, request, durable);
    int rc =
        request->op == BLOCK_READ ? read_rest(file, request) : write_rest(file, request, durable);
    /* A piece that ended inside a block: the rest is no longer aligned. */
    if (rc == -EINVAL && !is_aligned(file, request))
        return bounce(node, request, durable);
    return rc;
}

static bool is_unsupported(int code)
{
    return code == EOPNOTSUPP || code == ENOTTY || code == ENOSYS || code == ENODEV;
}

/* Tries one way; *refused remembers that the host does not have it. 1: it does not. */
static int try_fallocate(struct file_state *file, int mode, const struct block_request *request,
                         atomic_bool *refused)
{
    if (atomic_load(refused))
        return 1;
    int rc;
    do {
        rc = fallocate(file->fd, mode, (off_t)request->offset, (off_t)request->len);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return 0;
    if (!is_unsupported(errno))
        return -errno;
    atomic_store(refused, true);
    return 1;
}

static int try_device_zeroes(const struct block_node *node, const struct block_request *request)
{
    struct file_state *file = node->state;
    uint64_t range[2] = {request->offset, request->len};
    if (atomic_load(&file->no_device_zeroes) ||
        !IS_ALIGNED(range[0] | range[1], node->info.logical_block))
        return 1;
    if (ioctl(file->fd, BLKZEROOUT, range) == 0)
        return 0;
    if (!is_unsupported(errno) && errno != EINVAL)
        return -errno;
    atomic_store(&file->no_device_zeroes, true);
    return 1;
}

static int write_zeros_by_hand(struct block_node *node, const struct block_request *request)
{
    struct iovec iov[ZERO_BATCH];
    struct block_request piece = {.op = BLOCK_WRITE, .queue = request->queue, .iov = iov};
    for (uint64_t done = 0; done < request->len; done += piece.len) {
        piece.offset = request->offset + done;
        piece.len = 0;
        piece.progress = 0;
        piece.iov_count = 0;
        while (piece.iov_count < ZERO_BATCH && done + piece.len < request->len) {
            size_t part = MIN(sizeof(zeros), request->len - done - piece.len);
            iov[piece.iov_count++] = (struct iovec){.iov_base = (void *)zeros, .iov_len = part};
            piece.len += part;
        }
        int rc = transfer(node, &piece);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_zeroes(struct block_node *node, const struct block_request *request)
{
    struct file_state *file = node->state;
    int rc = 1;
    if (request->unmap && node->info.can_discard)
        rc = try_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, request,
                           &file->no_punch);
    if (rc == 1 && file->is_device)
        rc = try_device_zeroes(node, request);
    if (rc == 1 && !file->is_device)
        rc = try_fallocate(file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, request,
                           &file->no_zero_range);
    return rc == 1 ? write_zeros_by_hand(node, request) : rc;
}

/* A hint: a host that cannot do it has not failed, and pieces of blocks at its ends are kept. */
static int discard(struct block_node *node, const struct block_request *request)
{
    struct file_state *file = node->state;
    if (!file->is_device)
        return MIN(0, try_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, request,
                                    &file->no_punch));
    uint64_t start = ALIGN_UP(request->offset, node->info.logical_block);
    uint64_t end = ALIGN_DOWN(request->offset + request->len, node->info.logical_block);
    if (start >= end)
        return 0;
    uint64_t range[2] = {start, end - start};
    return ioctl(file->fd, BLKDISCARD, range) == 0 || is_unsupported(errno) ? 0 : -errno;
}

int file_execute(struct block_node *node, struct block_request *request)
{
    const struct file_state *file = node->state;
    int rc = 0;
    switch (request->op) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return transfer(node, request);
    case BLOCK_DISCARD:
        rc = discard(node, request);
        break;
    case BLOCK_WRITE_ZEROES:
        rc = write_zeroes(node, request);
        break;
    case BLOCK_FLUSH:
        break;
    }
    if (rc == 0 && (request->op == BLOCK_FLUSH || block_is_durable(node, request)) &&
        fdatasync(file->fd) < 0)
        rc = -errno;
    return rc;
}
