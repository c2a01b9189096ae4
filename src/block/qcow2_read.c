/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a qcow2 image: requests piece by piece of one kind.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2_crypto.h"

static int read_compressed(struct qcow2 *s, uint64_t entry, uint64_t guest, uint64_t len,
                           const struct iovec *iov, unsigned count, uint64_t iov_offset)
{
    cleanup_free uint8_t *buffer = malloc(s->cluster_size);
    if (!buffer)
        return -ENOMEM;
    int rc = qcow2_read_compressed(s, entry, buffer);
    if (rc == 0)
        iov_from_buffer(iov, count, iov_offset, buffer + qcow2_in_cluster(s, guest), len);
    return rc;
}

/* A shorter file below reads as zeros beyond its end. */
static int read_below(struct block_node *below, uint64_t offset, uint64_t len,
                      const struct iovec *iov, unsigned count, uint64_t iov_offset)
{
    uint64_t size = !below ? 0 : below->info.growable ? UINT64_MAX : block_size(below);
    uint64_t there = offset >= size ? 0 : MIN(len, size - offset);
    if (there < len)
        iov_from_buffer(iov, count, iov_offset + there, NULL, len - there);
    return there ? block_pread_slice(below, offset, iov, count, iov_offset, there) : 0;
}

int qcow2_read_run(struct qcow2 *s, const struct qcow2_run *run, uint64_t guest,
                   const struct iovec *iov, unsigned count, uint64_t iov_offset)
{
    switch (run->kind) {
    case QCOW2_NORMAL:
        if (s->crypto)
            return qcow2_crypto_read(s, run->host, run->len, iov, count, iov_offset);
        return read_below(s->data, run->host, run->len, iov, count, iov_offset);
    case QCOW2_UNALLOCATED:
        return read_below(s->node->backing, guest, run->len, iov, count, iov_offset);
    case QCOW2_COMPRESSED_CLUSTER:
        return read_compressed(s, run->entry, guest, run->len, iov, count, iov_offset);
    case QCOW2_ZEROS:
        break;
    }
    iov_from_buffer(iov, count, iov_offset, NULL, run->len);
    return 0;
}

int qcow2_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                 unsigned count)
{
    struct qcow2 *s = qcow2_of(node);
    int rc = 0;
    pthread_rwlock_rdlock(&s->gate);
    unsigned epoch = qcow2_enter(s);
    for (uint64_t done = 0; rc == 0 && done < len;) {
        struct qcow2_run run = {0};
        pthread_mutex_lock(&s->lock);
        rc = qcow2_lookup(s, offset + done, len - done, &run);
        pthread_mutex_unlock(&s->lock);
        if (rc == 0)
            rc = qcow2_read_run(s, &run, offset + done, iov, count, done);
        done += run.len;
    }
    qcow2_leave(s, epoch);
    pthread_rwlock_unlock(&s->gate);
    return rc;
}
