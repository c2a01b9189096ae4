/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters: refused. Called by qcow2_read.c and qcow2_write.c. */
#include <errno.h>

#include "block/qcow2.h"

int qcow2_read_compressed(struct qcow2 *s, uint64_t entry, uint8_t *buffer)
{
    return -ENOTSUP;
}

int qcow2_write_compressed(struct block_node *node, uint64_t offset, uint64_t len,
                           const struct iovec *iov, unsigned count)
{
    return -ENOTSUP;
}
