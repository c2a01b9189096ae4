/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A piece of a disk copied from node to node, as mirror, commit and backup do it. */
#ifndef KV_BLOCK_JOB_COPY_H
#define KV_BLOCK_JOB_COPY_H

#include "block/dirty_bitmap.h"
#include "block/driver.h"

#define JOB_COPY_PIECE (1u << 20)

struct job_copy {
    struct block_node *source, *target;
    uint8_t *buffer;      /* JOB_COPY_PIECE bytes, aligned */
    unsigned write_flags; /* BLOCK_COMPRESSED */
    bool stored_zeros;    /* the target will stand on something: zeros must be its own */
    bool keep_zeros;      /* zeros are written as data areas */
    uint64_t align;       /* writes are whole units of so many bytes, but at the end; 0: any */
};

/* Zeros become zeros, those that the target has itself stay. len: up to JOB_COPY_PIECE. 0 or
 * -errno; *is_read says which side failed. */
int job_copy_piece(const struct job_copy *copy, uint64_t offset, uint64_t len, bool *is_read);
/* How much of it needs no copy: zeros on both sides. */
uint64_t job_skip_zeros(const struct job_copy *copy, uint64_t offset, uint64_t len);
/* Marks what layers above base have (base NULL: everything) at offset, for *done bytes that are
 * alike, up to len. Where target (may be NULL) has zeros itself, zeros are left out. */
int job_mark_allocated(struct block_node *source, struct block_node *base,
                       struct block_node *target, uint64_t offset, uint64_t len,
                       struct dirty_bitmap *bits, uint64_t *done);
/* An aligned buffer of JOB_COPY_PIECE bytes for free(); NULL: out of memory. */
uint8_t *job_copy_buffer(void);

#endif
