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

int file_execute(struct block_node *node, struct block_request *request);
bool file_is_fast(const struct block_node *node, const struct block_request *request);

#endif
