/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A raw file or block device as a node: what file.c (open, size) and file_io.c (requests) share. */
#ifndef KV_BLOCK_FILE_H
#define KV_BLOCK_FILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "block/driver.h"

struct file_state {
    int fd;
    bool is_device, direct;
    uint32_t align;     /* of offsets and lengths; 1 without O_DIRECT */
    uint32_t mem_align; /* of buffers; 1 without O_DIRECT */
    /* Learned from refusals; any thread. */
    atomic_bool no_punch, no_zero_range, no_device_zeroes;
    /* Held while a block is read, changed and written back. */
    pthread_mutex_t partial_lock;
};

int file_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                unsigned count);
int file_pwritev(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                 unsigned count, unsigned flags);
int file_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags);
int file_discard(struct block_node *node, uint64_t offset, uint64_t len);
int file_flush(struct block_node *node);
int file_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out);
bool file_is_fast(const struct block_node *node, const struct block_request *request,
                  uint64_t host_offset);

#endif
