/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies the content of nodes to another node by several threads: kvasir-img
 * convert and commit. Holes of the source stay holes, runs of zeros become
 * some; file systems that can share blocks are asked to.
 */
#ifndef KV_BLOCK_CONVERT_H
#define KV_BLOCK_CONVERT_H

#include "block/block.h"

#define CONVERT_MAX_WORKERS 16u

struct block_convert {
    struct block_node *const *sources; /* one after the other in the target */
    unsigned source_count;
    struct block_node *target; /* at least as large as all of them */

    unsigned workers;    /* 1 to CONVERT_MAX_WORKERS requests at the same time */
    uint32_t sparse;     /* zeros in a row, bytes, that become a hole; 0: everything is written */
    bool target_is_zero; /* it reads as zeros now */
    /* What no layer of the (only) source above base holds stays as it is in the target. */
    bool keep_unallocated;
    struct block_node *base;
    bool compress;     /* whole clusters of the target, compressed */
    bool out_of_order; /* writes need not come in the order of offsets; compressed ones never do */
    bool offload;      /* copy_file_range between files, without a look for zeros */
    bool salvage;      /* what cannot be read becomes zeros */
    uint64_t rate;     /* bytes per second; 0: no limit */

    /* Any of the threads, one at a time. May be NULL. */
    void (*progress)(void *opaque, uint64_t done, uint64_t total);
    void (*read_failed)(void *opaque, uint64_t offset, int error); /* salvage; error: errno */
    void *opaque;

    /* After a failure. */
    bool failed_writing;
    uint64_t failed_offset;
};

/* 0 or -errno. The target is not flushed. */
int block_convert(struct block_convert *convert);

#endif
