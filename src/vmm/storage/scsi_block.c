/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI commands that read, write and give back blocks (SBC-3 5): of disks, and
 * reading of CD-ROMs. Every range and every length is checked here, once.
 */
#include <stdlib.h>

#include "base/util.h"
#include "vmm/storage/scsi.h"

#define UNMAP_HEADER 8u
#define UNMAP_RANGE 16u
#define UNMAP_RANGES_MAX 256u
#define WRITE_SAME_MAX MIB(1024) /* bytes in one command */

static void io_done(struct drive_request *request, bool failed)
{
    struct scsi_task *task = container_of(request, struct scsi_task, request);
    if (failed) {
        scsi_fail(task, request->io.op == BLOCK_READ ? SENSE_READ_ERROR : SENSE_WRITE_ERROR);
        return;
    }
    if (request->io.op == BLOCK_READ || request->io.op == BLOCK_WRITE)
        task->transferred = request->io.len;
    scsi_good(task);
}

static void submit(struct scsi_task *task, enum block_op op, enum drive_stat_kind kind,
                   uint64_t offset, uint64_t len)
{
    struct drive_request *request = &task->request;
    request->io.op = op;
    request->io.offset = offset;
    request->io.len = len;
    request->io.iov = NULL;
    request->io.iov_count = 0;
    request->io.unmap = false;
    request->io.fua = op != BLOCK_READ && op != BLOCK_FLUSH &&
                      !atomic_load_explicit(&task->unit->drive.writeback, memory_order_relaxed);
    request->kind = kind;
    request->start_ns = clock_monotonic_ns();
    request->done = io_done;
}

static void refuse(struct scsi_task *task, enum drive_stat_kind kind, uint32_t sense)
{
    drive_count_invalid(&task->unit->queue, kind);
    scsi_fail(task, sense);
}

/* Block and count of the CDB, whose first byte's top bits say its layout (SPC-4 4.2.5). */
static uint64_t range_of(const uint8_t *cdb, uint64_t *count)
{
    switch (cdb[0] >> 5) {
    case 0:
        *count = cdb[4] ? cdb[4] : 256;
        return scsi_be(cdb + 1, 3) & 0x1fffff;
    case 4:
        *count = scsi_be(cdb + 10, 4);
        return scsi_be(cdb + 2, 8);
    case 5:
        *count = scsi_be(cdb + 6, 4);
        return scsi_be(cdb + 2, 4);
    default:
        *count = scsi_be(cdb + 7, 2);
        return scsi_be(cdb + 2, 4);
    }
}

/* The list of buffers ends where the transfer does. */
static void cut(struct scsi_task *task, uint64_t len)
{
    unsigned n = 0;
    while (len) {
        task->iov[n].iov_len = MIN(task->iov[n].iov_len, len);
        len -= task->iov[n++].iov_len;
    }
    task->iov_count = n;
}

static void transfer(struct scsi_task *task, enum block_op op)
{
    struct scsi_unit *unit = task->unit;
    enum drive_stat_kind kind = op == BLOCK_READ ? DRIVE_STAT_READ : DRIVE_STAT_WRITE;
    uint64_t count, block = range_of(task->cdb, &count);
    if (!range_within(block, count, 0, scsi_blocks(unit))) {
        refuse(task, kind, SENSE_LBA_OUT_OF_RANGE);
        return;
    }
    if (count == 0) {
        scsi_good(task);
        return;
    }
    uint64_t len = count * unit->block; /* both are below 2^33 */
    if (len > task->len || task->to_device != (op == BLOCK_WRITE)) {
        refuse(task, kind, SENSE_INVALID_FIELD);
        return;
    }
    if (op == BLOCK_WRITE && unit->drive.readonly) {
        refuse(task, kind, SENSE_WRITE_PROTECTED);
        return;
    }
    cut(task, len);
    submit(task, op, kind, block * unit->block, len);
    task->request.io.iov = task->iov;
    task->request.io.iov_count = task->iov_count;
    /* Force unit access; 6-byte commands have no such bit. */
    if (op == BLOCK_WRITE && task->cdb[0] >> 5 && task->cdb[1] & 0x08)
        task->request.io.fua = true;
    drive_submit(&task->request);
}

static void read_blocks(struct scsi_task *task)
{
    transfer(task, BLOCK_READ);
}

static void write_blocks(struct scsi_task *task)
{
    transfer(task, BLOCK_WRITE);
}

/* What is on the medium is there: without a comparison there is nothing to do. */
static void verify(struct scsi_task *task)
{
    uint64_t count, block = range_of(task->cdb, &count);
    if (task->cdb[1] & 0x06)
        scsi_fail(task, SENSE_INVALID_FIELD);
    else if (!range_within(block, count, 0, scsi_blocks(task->unit)))
        scsi_fail(task, SENSE_LBA_OUT_OF_RANGE);
    else
        scsi_good(task);
}

static void synchronize(struct scsi_task *task)
{
    submit(task, BLOCK_FLUSH, DRIVE_STAT_FLUSH, 0, 0);
    drive_submit(&task->request);
}

/* ------------------------------------------------------------------ giving back */

static void next_range(struct scsi_task *task);

static void range_done(struct drive_request *request, bool failed)
{
    struct scsi_task *task = container_of(request, struct scsi_task, request);
    if (!failed) {
        next_range(task);
        return;
    }
    free(task->ranges);
    scsi_fail(task, SENSE_WRITE_ERROR);
}

/* Goes on behind what was done; ranges were checked. */
static void next_range(struct scsi_task *task)
{
    while (task->range < task->range_count) {
        const uint8_t *range = task->ranges + UNMAP_RANGE * (size_t)task->range++;
        uint64_t block = scsi_be(range, 8), count = scsi_be(range + 8, 4);
        /* The unit may have become smaller since. */
        if (count == 0 || !range_within(block, count, 0, scsi_blocks(task->unit)))
            continue;
        submit(task, BLOCK_DISCARD, DRIVE_STAT_DISCARD, block * task->unit->block,
               count * task->unit->block);
        task->request.done = range_done;
        drive_submit(&task->request);
        drive_kick(&task->unit->queue);
        return;
    }
    free(task->ranges);
    scsi_good(task);
}

static void unmap(struct scsi_task *task)
{
    uint8_t header[UNMAP_HEADER];
    size_t len = scsi_be(task->cdb + 7, 2);
    uint64_t blocks = scsi_blocks(task->unit);
    if (task->unit->drive.readonly || !task->unit->can_discard) {
        scsi_fail(task, task->unit->drive.readonly ? SENSE_WRITE_PROTECTED : SENSE_INVALID_OPCODE);
        return;
    }
    if (len == 0) {
        scsi_good(task);
        return;
    }
    if (len < sizeof(header) || scsi_take(task, header, sizeof(header)) < sizeof(header)) {
        scsi_fail(task, SENSE_PARAMETER_LENGTH);
        return;
    }
    size_t ranges_len = ALIGN_DOWN(scsi_be(header + 2, 2), UNMAP_RANGE);
    if (ranges_len > UNMAP_RANGES_MAX * UNMAP_RANGE || ranges_len + UNMAP_HEADER > len) {
        scsi_fail(task, SENSE_INVALID_PARAMETER);
        return;
    }
    uint8_t *list = malloc(UNMAP_HEADER + ranges_len);
    if (!list || scsi_take(task, list, UNMAP_HEADER + ranges_len) < UNMAP_HEADER + ranges_len) {
        free(list);
        scsi_fail(task, SENSE_PARAMETER_LENGTH);
        return;
    }
    memmove(list, list + UNMAP_HEADER, ranges_len);
    for (size_t at = 0; at < ranges_len; at += UNMAP_RANGE) {
        if (!range_within(scsi_be(list + at, 8), scsi_be(list + at + 8, 4), 0, blocks)) {
            free(list);
            refuse(task, DRIVE_STAT_DISCARD, SENSE_LBA_OUT_OF_RANGE);
            return;
        }
    }
    task->transferred = UNMAP_HEADER + ranges_len;
    task->ranges = list;
    task->range = 0;
    task->range_count = (unsigned)(ranges_len / UNMAP_RANGE);
    next_range(task);
}

/* One block for all of a range: zeros, with or without giving the space back (SBC-3 5.42). */
static void write_same(struct scsi_task *task)
{
    struct scsi_unit *unit = task->unit;
    uint8_t pattern[4096];
    uint64_t count, block = range_of(task->cdb, &count), blocks = scsi_blocks(unit);
    bool no_data = task->cdb[0] == 0x93 && task->cdb[1] & 0x01;
    if (unit->drive.readonly) {
        refuse(task, DRIVE_STAT_ZEROES, SENSE_WRITE_PROTECTED);
        return;
    }
    if (count == 0 && block < blocks)
        count = blocks - block;
    if (!range_within(block, count, 0, blocks)) {
        refuse(task, DRIVE_STAT_ZEROES, SENSE_LBA_OUT_OF_RANGE);
        return;
    }
    bool zeros = no_data;
    if (!no_data && scsi_take(task, pattern, unit->block) == unit->block)
        zeros = pattern[0] == 0 && memcmp(pattern, pattern + 1, unit->block - 1) == 0;
    if (!zeros || count * unit->block > WRITE_SAME_MAX || !unit->can_write_zeroes) {
        refuse(task, DRIVE_STAT_ZEROES, SENSE_INVALID_FIELD);
        return;
    }
    task->transferred = no_data ? 0 : unit->block;
    submit(task, BLOCK_WRITE_ZEROES, DRIVE_STAT_ZEROES, block * unit->block, count * unit->block);
    task->request.io.unmap = unit->can_discard && task->cdb[1] & 0x08;
    drive_submit(&task->request);
}

const struct scsi_command scsi_block_commands[] = {
    {0x28, SCSI_ANY, SCSI_NEEDS_MEDIUM, read_blocks},
    {0x2a, SCSI_DISK, SCSI_NEEDS_MEDIUM, write_blocks},
    {0x88, SCSI_ANY, SCSI_NEEDS_MEDIUM, read_blocks},
    {0x8a, SCSI_DISK, SCSI_NEEDS_MEDIUM, write_blocks},
    {0xa8, SCSI_ANY, SCSI_NEEDS_MEDIUM, read_blocks},
    {0xaa, SCSI_DISK, SCSI_NEEDS_MEDIUM, write_blocks},
    {0x08, SCSI_ANY, SCSI_NEEDS_MEDIUM, read_blocks},
    {0x0a, SCSI_DISK, SCSI_NEEDS_MEDIUM, write_blocks},
    {0x2f, SCSI_ANY, SCSI_NEEDS_MEDIUM, verify},
    {0x8f, SCSI_DISK, SCSI_NEEDS_MEDIUM, verify},
    {0xaf, SCSI_ANY, SCSI_NEEDS_MEDIUM, verify},
    {0x35, SCSI_ANY, SCSI_NEEDS_MEDIUM, synchronize},
    {0x91, SCSI_DISK, SCSI_NEEDS_MEDIUM, synchronize},
    {0x42, SCSI_DISK, SCSI_NEEDS_MEDIUM, unmap},
    {0x41, SCSI_DISK, SCSI_NEEDS_MEDIUM, write_same},
    {0x93, SCSI_DISK, SCSI_NEEDS_MEDIUM, write_same},
    {0, 0, 0, NULL},
};
