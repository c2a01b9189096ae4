/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encrypted sectors of a file: read and decrypted, encrypted and written, in
 * chunks through a buffer. Called by luks_driver.c and qcow2_crypto.c.
 */
#include "block/crypto_io.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

#define SECTOR CRYPTO_SECTOR
#define CHUNK MIB(1) /* bytes en- or decrypted at a time */
#define BUFFER_ALIGN 4096

/* A request on its way. */
struct transfer {
    struct crypto_io *io;
    struct block_node *file;
    uint64_t base;
    const struct iovec *iov;
    unsigned count;
    uint8_t *data;
    uint64_t room; /* bytes of data, whole sectors */
};

void crypto_io_init(struct crypto_io *io)
{
    io->cipher = NULL;
    pthread_rwlock_init(&io->parts, NULL);
}

void crypto_io_free(struct crypto_io *io)
{
    crypto_cipher_free(io->cipher);
    pthread_rwlock_destroy(&io->parts);
}

static int begin(struct transfer *t, uint64_t len)
{
    t->room = MIN(ALIGN_UP(len, SECTOR) + SECTOR, CHUNK);
    if (!t->io->cipher)
        return -EACCES;
    return posix_memalign((void **)&t->data, BUFFER_ALIGN, t->room) ? -ENOMEM : 0;
}

/* Whole sectors, decrypted. */
static int read_sectors(const struct transfer *t, uint64_t offset, uint8_t *data, uint64_t len)
{
    int rc = block_pread(t->file, t->base + offset, data, len);
    return rc < 0 ? rc : crypto_decrypt(t->io->cipher, offset / SECTOR, data, len);
}

int crypto_io_read(struct crypto_io *io, struct block_node *file, uint64_t base, uint64_t offset,
                   uint64_t len, const struct iovec *iov, unsigned count, uint64_t iov_offset)
{
    struct transfer t = {.io = io, .file = file, .base = base, .iov = iov, .count = count};
    int rc = begin(&t, len);
    for (uint64_t done = 0; done < len && rc == 0;) {
        uint64_t start = ALIGN_DOWN(offset + done, SECTOR), skip = offset + done - start;
        uint64_t part = MIN(len - done, t.room - skip);
        rc = read_sectors(&t, start, t.data, ALIGN_UP(skip + part, SECTOR));
        if (rc == 0)
            iov_from_buffer(iov, count, iov_offset + done, t.data + skip, part);
        done += part;
    }
    free(t.data);
    return rc;
}

/* What surrounds the bytes in the first and last of the sectors at start. */
static int read_edges(const struct transfer *t, uint64_t start, uint64_t skip, uint64_t part)
{
    uint64_t end = skip + part, last = ALIGN_DOWN(end, SECTOR);
    int rc = 0;
    if (skip || end < SECTOR)
        rc = read_sectors(t, start, t->data, SECTOR);
    if (rc == 0 && last < end && last > 0)
        rc = read_sectors(t, start + last, t->data + last, SECTOR);
    return rc;
}

static int write_chunk(const struct transfer *t, uint64_t offset, uint64_t part,
                       uint64_t iov_offset, unsigned flags)
{
    uint64_t start = ALIGN_DOWN(offset, SECTOR), skip = offset - start;
    uint64_t len = ALIGN_UP(skip + part, SECTOR);
    bool whole = skip == 0 && part == len;
    if (whole)
        pthread_rwlock_rdlock(&t->io->parts);
    else
        pthread_rwlock_wrlock(&t->io->parts);
    int rc = whole ? 0 : read_edges(t, start, skip, part);
    if (rc == 0) {
        iov_to_buffer(t->iov, t->count, iov_offset, t->data + skip, part);
        rc = crypto_encrypt(t->io->cipher, start / SECTOR, t->data, len);
    }
    if (rc == 0)
        rc = block_pwrite(t->file, t->base + start, t->data, len, flags);
    pthread_rwlock_unlock(&t->io->parts);
    return rc;
}

int crypto_io_write(struct crypto_io *io, struct block_node *file, uint64_t base, uint64_t offset,
                    uint64_t len, const struct iovec *iov, unsigned count, uint64_t iov_offset,
                    unsigned flags)
{
    struct transfer t = {.io = io, .file = file, .base = base, .iov = iov, .count = count};
    int rc = begin(&t, len);
    for (uint64_t done = 0; done < len && rc == 0;) {
        uint64_t part = MIN(len - done, t.room - (offset + done) % SECTOR);
        rc = write_chunk(&t, offset + done, part, iov_offset + done, flags);
        done += part;
    }
    free(t.data);
    return rc;
}
