/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying for jobs: piece by piece, holes stay holes; see job_copy.h. */
#include "block/job_copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define BUFFER_ALIGN 4096u

uint8_t *job_copy_buffer(void)
{
    void *buffer;
    return posix_memalign(&buffer, BUFFER_ALIGN, JOB_COPY_PIECE) ? NULL : buffer;
}

/* How much of it, from offset on, the node shows as zeros without its bytes being read. */
static uint64_t zeros_at(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct block_extent extent;
    if (block_status_above(node, NULL, offset, len, &extent) < 0)
        return 0;
    return extent.flags & BLOCK_STATUS_ZERO ? extent.len : 0;
}

/* The same of a target: zeros that come from below it do not count, for what is below may change;
 * stored: nor those that are there because nothing is below. */
static uint64_t own_zeros_at(struct block_node *node, bool stored, uint64_t offset, uint64_t len)
{
    struct block_extent extent;
    const struct block_node *image = node;
    while (image->driver->is_filter)
        image = image->file;
    unsigned wanted = BLOCK_STATUS_ZERO | (image->backing || stored ? BLOCK_STATUS_ALLOCATED : 0);
    if (block_status_above(node, image->backing, offset, len, &extent) < 0)
        return 0;
    return (extent.flags & wanted) == wanted ? extent.len : 0;
}

static int zero_piece(const struct job_copy *copy, uint64_t offset, uint64_t len)
{
    uint64_t there = own_zeros_at(copy->target, copy->stored_zeros, offset, len);
    if (there >= len)
        return 0;
    int rc = block_write_zeroes(copy->target, offset, len, copy->keep_zeros ? 0 : BLOCK_UNMAP);
    if (rc < 0 || !copy->stored_zeros || own_zeros_at(copy->target, true, offset, len) >= len)
        return rc;
    /* An image with nothing below it keeps no zeros by itself. */
    memset(copy->buffer, 0, len);
    return block_pwrite(copy->target, offset, copy->buffer, len, 0);
}

/* Zeros in whole units, or the piece of data that is read at once. */
static uint64_t choose_part(const struct job_copy *copy, uint64_t offset, uint64_t len, bool *zero)
{
    uint64_t align = MAX(copy->align, UINT64_C(1));
    struct block_extent extent;
    uint64_t part = zeros_at(copy->source, offset, len);
    if (part < len)
        part = ALIGN_DOWN(part, align);
    *zero = part;
    if (part || block_status_above(copy->source, NULL, offset, len, &extent) < 0)
        return part ? part : len;
    return MIN(ALIGN_UP(extent.len, align), len);
}

int job_copy_piece(const struct job_copy *copy, uint64_t offset, uint64_t len, bool *is_read)
{
    while (len) {
        bool zero;
        uint64_t part = choose_part(copy, offset, len, &zero);
        int rc = zero ? 0 : block_pread(copy->source, offset, copy->buffer, part);
        *is_read = rc < 0;
        if (rc == 0 && (zero || buffer_is_zero(copy->buffer, part)))
            rc = zero_piece(copy, offset, part);
        else if (rc == 0)
            rc = block_pwrite(copy->target, offset, copy->buffer, part, copy->write_flags);
        if (rc < 0)
            return rc;
        offset += part;
        len -= part;
    }
    return 0;
}

uint64_t job_skip_zeros(const struct job_copy *copy, uint64_t offset, uint64_t len)
{
    uint64_t here = zeros_at(copy->source, offset, len);
    uint64_t there = here ? own_zeros_at(copy->target, copy->stored_zeros, offset, here) : 0;
    return ALIGN_DOWN(there, MAX(copy->align, UINT64_C(1)));
}

int job_mark_allocated(struct block_node *source, struct block_node *base,
                       struct block_node *target, uint64_t offset, uint64_t len,
                       struct dirty_bitmap *bits, uint64_t *done)
{
    struct block_extent extent;
    int rc = block_status_above(source, base, offset, len, &extent);
    *done = rc < 0 ? 0 : extent.len;
    if (rc < 0)
        return rc;
    bool mark = base ? extent.flags & BLOCK_STATUS_ALLOCATED : true;
    if (mark && target && (extent.flags & BLOCK_STATUS_ZERO)) {
        uint64_t there = own_zeros_at(target, false, offset, extent.len);
        mark = there == 0;
        *done = there ? there : extent.len;
    }
    if (mark)
        dirty_bitmap_set(bits, offset, *done);
    return 0;
}
