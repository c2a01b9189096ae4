/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing a file whose sectors are encrypted, at any alignment. */
#ifndef KV_BLOCK_CRYPTO_IO_H
#define KV_BLOCK_CRYPTO_IO_H

#include <pthread.h>

#include "block/crypto.h"
#include "block/driver.h"

struct crypto_io {
    struct crypto_cipher *cipher; /* owned; NULL: there is no key, everything is -EACCES */
    /* Read: writes of whole sectors; write: those that keep a part of what is there. */
    pthread_rwlock_t parts;
};

void crypto_io_init(struct crypto_io *io);
void crypto_io_free(struct crypto_io *io);

/* len bytes of the sectors that begin at base of file, from offset on, to or from iov at
 * iov_offset. Sectors are numbered from base. 0 or -errno. */
int crypto_io_read(struct crypto_io *io, struct block_node *file, uint64_t base, uint64_t offset,
                   uint64_t len, const struct iovec *iov, unsigned count, uint64_t iov_offset);
int crypto_io_write(struct crypto_io *io, struct block_node *file, uint64_t base, uint64_t offset,
                    uint64_t len, const struct iovec *iov, unsigned count, uint64_t iov_offset,
                    unsigned flags);

#endif
