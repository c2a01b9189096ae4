/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scattered memory: slices of an iovec, copies between it and plain buffers. Used by all drivers.
 */
#include <string.h>

#include "base/util.h"
#include "block/driver.h"

#define SLICE_BATCH 64

unsigned iov_slice(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t len,
                   struct iovec *out, unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; i < count && n < max && len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t part = MIN(iov[i].iov_len - offset, len);
        out[n++] = (struct iovec){.iov_base = (char *)iov[i].iov_base + offset, .iov_len = part};
        len -= part;
        offset = 0;
    }
    return n;
}

/* Calls for each piece of memory of a range. */
static void each_piece(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t len,
                       void (*fn)(void *piece, uint8_t *at, size_t bytes), uint8_t *at)
{
    for (unsigned i = 0; i < count && len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t part = MIN(iov[i].iov_len - offset, len);
        fn((char *)iov[i].iov_base + offset, at, part);
        if (at)
            at += part;
        len -= part;
        offset = 0;
    }
}

static void copy_in(void *piece, uint8_t *at, size_t bytes)
{
    if (at)
        memcpy(piece, at, bytes);
    else
        memset(piece, 0, bytes);
}

static void copy_out(void *piece, uint8_t *at, size_t bytes)
{
    memcpy(at, piece, bytes);
}

void iov_from_buffer(const struct iovec *iov, unsigned count, uint64_t offset, const void *buffer,
                     uint64_t len)
{
    each_piece(iov, count, offset, len, copy_in, (uint8_t *)buffer);
}

void iov_to_buffer(const struct iovec *iov, unsigned count, uint64_t offset, void *buffer,
                   uint64_t len)
{
    each_piece(iov, count, offset, len, copy_out, buffer);
}

/* Not constant, so that it takes no place in the program's file; nobody writes to it. */
const uint8_t *block_zeros(void)
{
    static uint8_t zeros[BLOCK_ZEROS_SIZE] __attribute__((aligned(4096)));
    return zeros;
}

/* A slice of more pieces than fit the batch is transferred in several steps. */
static int transfer_slice(struct block_node *node, bool write, uint64_t offset,
                          const struct iovec *iov, unsigned count, uint64_t iov_offset,
                          uint64_t len, unsigned flags)
{
    while (len) {
        struct iovec part[SLICE_BATCH];
        unsigned n = iov_slice(iov, count, iov_offset, len, part, SLICE_BATCH);
        uint64_t bytes = 0;
        for (unsigned i = 0; i < n; i++)
            bytes += part[i].iov_len;
        int rc = write ? block_pwritev(node, offset, bytes, part, n, flags)
                       : block_preadv(node, offset, bytes, part, n);
        if (rc < 0)
            return rc;
        offset += bytes;
        iov_offset += bytes;
        len -= bytes;
    }
    return 0;
}

int block_pread_slice(struct block_node *node, uint64_t offset, const struct iovec *iov,
                      unsigned count, uint64_t iov_offset, uint64_t len)
{
    return transfer_slice(node, false, offset, iov, count, iov_offset, len, 0);
}

int block_pwrite_slice(struct block_node *node, uint64_t offset, const struct iovec *iov,
                       unsigned count, uint64_t iov_offset, uint64_t len, unsigned flags)
{
    return transfer_slice(node, true, offset, iov, count, iov_offset, len, flags);
}

/* Comparing a buffer with itself, shifted: all bytes equal the first. memcmp() is as fast as the
 * machine allows. */
bool buffer_is_zero(const void *buffer, size_t len)
{
    const uint8_t *bytes = buffer;
    size_t head = MIN(len, (size_t)16);
    for (size_t i = 0; i < head; i++) {
        if (bytes[i])
            return false;
    }
    return len <= 16 || memcmp(bytes, bytes + 16, len - 16) == 0;
}
