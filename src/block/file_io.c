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

static bool iov_is_aligned(const struct iovec *iov, unsigned count, uint32_t align)
{
    uintptr_t bits = 0;
    for (unsigned i = 0; i < count; i++)
        bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
    return (bits & (align - 1)) == 0;
}

/* A read or write under way. */
struct transfer {
    bool write;
    uint64_t offset, len; /* bytes */
    const struct iovec *iov;
    unsigned iov_count;
    uint64_t progress; /* bytes that are done */
};

static bool is_aligned(const struct file_state *file, const struct transfer *request)
{
    return file->align == 1 ||
           (IS_ALIGNED(request->offset | request->len | request->progress, file->align) &&
            iov_is_aligned(request->iov, request->iov_count, file->mem_align));
}

bool file_is_fast(const struct block_node *node, const struct block_request *request,
                  uint64_t host_offset)
{
    const struct file_state *file = node->state;
    if (request->op == BLOCK_FLUSH)
        return true;
    return request->len <= FAST_MAX &&
           (file->align == 1 ||
            (IS_ALIGNED(host_offset | request->len, file->align) &&
             iov_is_aligned(request->iov, request->iov_count, file->mem_align)));
}

static int read_rest(struct file_state *file, struct transfer *request)
{
    while (request->progress < request->len) {
        struct iovec part[IOV_BATCH];
        unsigned n = iov_slice(request->iov, request->iov_count, request->progress,
                               request->len - request->progress, part, ARRAY_SIZE(part));
        ssize_t got = preadv(file->fd, part, (int)n, (off_t)(request->offset + request->progress));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0) {
            iov_from_buffer(request->iov, request->iov_count, request->progress, NULL,
                            request->len - request->progress);
            return 0;
        }
        request->progress += (uint64_t)got;
    }
    return 0;
}

static int write_rest(struct file_state *file, struct transfer *request, bool durable)
{
    while (request->progress < request->len) {
        struct iovec part[IOV_BATCH];
        unsigned n = iov_slice(request->iov, request->iov_count, request->progress,
                               request->len - request->progress, part, ARRAY_SIZE(part));
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
static int cut_tail(const struct block_node *node, uint64_t end, uint64_t wanted)
{
    const struct file_state *file = node->state;
    uint64_t size = MAX(block_size(node), wanted);
    if (file->is_device || end <= size)
        return 0;
    return ftruncate(file->fd, (off_t)size) < 0 ? -errno : 0;
}

/* One window of a request through an aligned buffer: the part that both have in common. */
static int bounce_window(struct block_node *node, struct transfer *request, uint8_t *buffer,
                         uint64_t window, uint64_t window_len)
{
    struct file_state *file = node->state;
    uint64_t first = MAX(window, request->offset);
    uint64_t last = MIN(window + window_len, request->offset + request->len);
    uint8_t *at = buffer + (first - window);

    if (!request->write) {
        int rc = read_aligned(file, buffer, window, window_len);
        if (rc == 0)
            iov_from_buffer(request->iov, request->iov_count, first - request->offset, at,
                            last - first);
        return rc;
    }

    bool partial = first > window || last < window + window_len;
    int rc = 0;
    if (partial) {
        pthread_mutex_lock(&file->partial_lock);
        rc = read_aligned(file, buffer, window, window_len);
    }
    if (rc == 0) {
        iov_to_buffer(request->iov, request->iov_count, first - request->offset, at, last - first);
        rc = write_aligned(file, buffer, window, window_len);
    }
    if (rc == 0)
        rc = cut_tail(node, window + window_len, request->offset + request->len);
    if (partial)
        pthread_mutex_unlock(&file->partial_lock);
    return rc;
}

static int bounce(struct block_node *node, struct transfer *request, bool durable)
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

static int transfer(struct block_node *node, struct transfer *request, bool durable)
{
    struct file_state *file = node->state;
    if (!is_aligned(file, request))
        return bounce(node, request, durable);
    int rc = request->write ? write_rest(file, request, durable) : read_rest(file, request);
    /* A piece that ended inside a block: the rest is no longer aligned. */
    if (rc == -EINVAL && !is_aligned(file, request))
        return bounce(node, request, durable);
    return rc;
}

int file_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                unsigned count)
{
    struct transfer request = {.offset = offset, .len = len, .iov = iov, .iov_count = count};
    return transfer(node, &request, false);
}

int file_pwritev(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                 unsigned count, unsigned flags)
{
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    struct transfer request = {
        .write = true, .offset = offset, .len = len, .iov = iov, .iov_count = count};
    return transfer(node, &request, block_is_durable(node, flags & BLOCK_FUA));
}

static bool is_unsupported(int code)
{
    return code == EOPNOTSUPP || code == ENOTTY || code == ENOSYS || code == ENODEV;
}

/* Tries one way; *refused remembers that the host does not have it. 1: it does not. */
static int try_fallocate(struct file_state *file, int mode, uint64_t offset, uint64_t len,
                         atomic_bool *refused)
{
    if (atomic_load(refused))
        return 1;
    int rc;
    do {
        rc = fallocate(file->fd, mode, (off_t)offset, (off_t)len);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return 0;
    if (!is_unsupported(errno))
        return -errno;
    atomic_store(refused, true);
    return 1;
}

static int try_device_zeroes(const struct block_node *node, uint64_t offset, uint64_t len)
{
    struct file_state *file = node->state;
    uint64_t range[2] = {offset, len};
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

static int sync_if_durable(const struct block_node *node, unsigned flags)
{
    const struct file_state *file = node->state;
    return block_is_durable(node, flags & BLOCK_FUA) && fdatasync(file->fd) < 0 ? -errno : 0;
}

int file_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    struct file_state *file = node->state;
    /* The file gets longer by zeros as well; what is allocated there is none. */
    int keep = offset + len > block_size(node) ? 0 : FALLOC_FL_KEEP_SIZE;
    int rc = 1;
    if ((flags & BLOCK_UNMAP) && !file->is_device && keep)
        rc = try_fallocate(file, FALLOC_FL_PUNCH_HOLE | keep, offset, len, &file->no_punch);
    if (rc == 1 && file->is_device)
        rc = try_device_zeroes(node, offset, len);
    if (rc == 1 && !file->is_device)
        rc = try_fallocate(file, FALLOC_FL_ZERO_RANGE | keep, offset, len, &file->no_zero_range);
    if (rc == 1)
        return -ENOTSUP;
    return rc < 0 ? rc : sync_if_durable(node, flags);
}

/* A hint: a host that cannot do it has not failed, and pieces of blocks at its ends are kept. */
int file_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct file_state *file = node->state;
    if (!file->is_device) {
        int rc = try_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len,
                               &file->no_punch);
        return rc < 0 ? rc : sync_if_durable(node, 0);
    }
    uint64_t start = ALIGN_UP(offset, node->info.logical_block);
    uint64_t end = ALIGN_DOWN(offset + len, node->info.logical_block);
    if (start >= end)
        return 0;
    uint64_t range[2] = {start, end - start};
    if (ioctl(file->fd, BLKDISCARD, range) < 0 && !is_unsupported(errno))
        return -errno;
    return sync_if_durable(node, 0);
}

int file_flush(struct block_node *node)
{
    const struct file_state *file = node->state;
    return fdatasync(file->fd) < 0 ? -errno : 0;
}

/* Where the next hole or data begins (SEEK_DATA, SEEK_HOLE); a file system that does not know says
 * that all is data. */
int file_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out)
{
    const struct file_state *file = node->state;
    out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET | BLOCK_STATUS_DATA;
    out->host_offset = offset;
    out->file = node;
    if (file->is_device)
        return 0;
    off_t data = lseek(file->fd, (off_t)offset, SEEK_DATA);
    if (data < 0 && errno != ENXIO)
        return 0;
    if (data < 0 || (uint64_t)data > offset) {
        out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET | BLOCK_STATUS_ZERO;
        out->len = data < 0 ? len : (uint64_t)data - offset;
        return 0;
    }
    off_t hole = lseek(file->fd, (off_t)offset, SEEK_HOLE);
    if (hole > (off_t)offset)
        out->len = (uint64_t)hole - offset;
    return 0;
}
