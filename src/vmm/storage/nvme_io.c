/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O commands of an NVMe controller (NVM Express 1.4, 6) and the guest's
 * buffers, which are pages that it lists (PRPs, 4.3).
 */
#include <stdlib.h>

#include "vmm/storage/nvme_internal.h"

#define LIST_ENTRIES (NVME_PAGE / 8)
#define FORCE_UNIT_ACCESS BIT(30)
#define DEALLOCATE BIT(25)
#define DSM_DEALLOCATE BIT(2)

/* ------------------------------------------------------------------- buffers */

/* len lies in one page. False: it is not memory. */
static bool add_page(struct nvme_request *request, uint64_t address, uint64_t len)
{
    uint8_t *at = guest_mem_range(request->nvme->mem, address, len);
    struct iovec *last = request->iov_count ? &request->iov[request->iov_count - 1] : NULL;
    if (!at)
        return false;
    if (last && (uint8_t *)last->iov_base + last->iov_len == at)
        last->iov_len += len;
    else
        request->iov[request->iov_count++] = (struct iovec){at, len};
    return true;
}

/* Entries from address to the end of its page, of which the last leads to the next list if there is
 * more. */
static unsigned map_list(struct nvme_request *request, uint64_t address, uint64_t len)
{
    while (len) {
        uint64_t entries[LIST_ENTRIES];
        uint64_t pages = (len + NVME_PAGE - 1) / NVME_PAGE;
        unsigned room = (unsigned)(NVME_PAGE - (address & (NVME_PAGE - 1))) / 8;
        unsigned count = (unsigned)MIN(pages, (uint64_t)room), data = count;
        if (address & 7)
            return NVME_INVALID_PRP_OFFSET | NVME_DNR;
        if (pages > room)
            data = room - 1;
        if (guest_mem_read(request->nvme->mem, address, entries, count * sizeof(*entries)) < 0)
            return NVME_TRANSFER_ERROR;
        for (unsigned i = 0; i < data; i++) {
            uint64_t n = MIN(len, (uint64_t)NVME_PAGE);
            if (entries[i] & (NVME_PAGE - 1))
                return NVME_INVALID_PRP_OFFSET | NVME_DNR;
            if (!add_page(request, entries[i], n))
                return NVME_TRANSFER_ERROR;
            len -= n;
        }
        /* A list of nothing but the way to the next one would have no end. */
        if (len && (entries[count - 1] & (NVME_PAGE - 1)))
            return NVME_INVALID_PRP_OFFSET | NVME_DNR;
        address = entries[count - 1];
    }
    return NVME_OK;
}

unsigned nvme_map(struct nvme_request *request, const struct nvme_command *command, uint64_t len)
{
    uint64_t offset = command->prp1 & (NVME_PAGE - 1), first = MIN(len, NVME_PAGE - offset);
    if (len > NVME_TRANSFER_MAX)
        return NVME_INVALID_FIELD | NVME_DNR;
    if (offset & 3)
        return NVME_INVALID_PRP_OFFSET | NVME_DNR;
    if (!add_page(request, command->prp1, first))
        return NVME_TRANSFER_ERROR;
    len -= first;
    if (len > NVME_PAGE)
        return map_list(request, command->prp2, len);
    if (len && command->prp2 & (NVME_PAGE - 1))
        return NVME_INVALID_PRP_OFFSET | NVME_DNR;
    return len && !add_page(request, command->prp2, len) ? NVME_TRANSFER_ERROR : NVME_OK;
}

unsigned nvme_reply(struct nvme_request *request, const struct nvme_command *command,
                    const void *data, uint32_t len)
{
    const uint8_t *from = data;
    unsigned status = nvme_map(request, command, len);
    request->to_guest = true;
    for (unsigned i = 0; status == NVME_OK && i < request->iov_count; i++) {
        memcpy(request->iov[i].iov_base, from, request->iov[i].iov_len);
        from += request->iov[i].iov_len;
    }
    return status;
}

/* ------------------------------------------------------------------ requests */

static void io_done(struct drive_request *io, bool failed)
{
    struct nvme_request *request = container_of(io, struct nvme_request, io);
    unsigned status = io->io.op == BLOCK_READ ? NVME_READ_ERROR : NVME_WRITE_FAULT;
    nvme_end(request, failed ? status : NVME_OK, 0);
}

static void submit(struct nvme_request *request, enum block_op op, enum drive_stat_kind kind,
                   uint64_t block, uint64_t count)
{
    struct nvme_namespace *ns = request->ns;
    struct drive_request *io = &request->io;
    bool transfers = op == BLOCK_READ || op == BLOCK_WRITE;
    io->queue = &ns->queue;
    io->io.op = op;
    io->io.offset = block << ns->shift;
    io->io.len = count << ns->shift;
    io->io.iov = transfers ? request->iov : NULL;
    io->io.iov_count = transfers ? request->iov_count : 0;
    io->io.fua = op != BLOCK_READ && op != BLOCK_FLUSH &&
                 !atomic_load_explicit(&ns->drive.writeback, memory_order_relaxed);
    io->io.unmap = false;
    io->kind = kind;
    io->start_ns = clock_monotonic_ns();
    io->done = io_done;
}

static unsigned refuse(const struct nvme_request *request, enum drive_stat_kind kind,
                       unsigned status)
{
    drive_count_invalid(&request->ns->queue, kind);
    return status | NVME_DNR;
}

static unsigned transfer(struct nvme_request *request, const struct nvme_command *command,
                         enum block_op op)
{
    struct nvme_namespace *ns = request->ns;
    enum drive_stat_kind kind = op == BLOCK_READ ? DRIVE_STAT_READ : DRIVE_STAT_WRITE;
    uint64_t block = command->cdw10 | (uint64_t)command->cdw11 << 32;
    uint64_t count = (command->cdw12 & 0xffff) + UINT64_C(1);
    if (!range_within(block, count, 0, nvme_blocks(ns)))
        return refuse(request, kind, NVME_LBA_OUT_OF_RANGE);
    if (op == BLOCK_WRITE && ns->drive.readonly)
        return refuse(request, kind, NVME_WRITE_PROTECTED);
    unsigned status = nvme_map(request, command, count << ns->shift);
    if (status != NVME_OK)
        return refuse(request, kind, status);
    request->to_guest = op == BLOCK_READ;
    submit(request, op, kind, block, count);
    if (op == BLOCK_WRITE && command->cdw12 & FORCE_UNIT_ACCESS)
        request->io.io.fua = true;
    drive_submit(&request->io);
    return NVME_LATER;
}

static unsigned io_read(struct nvme_request *request, const struct nvme_command *command)
{
    return transfer(request, command, BLOCK_READ);
}

static unsigned io_write(struct nvme_request *request, const struct nvme_command *command)
{
    return transfer(request, command, BLOCK_WRITE);
}

static unsigned io_flush(struct nvme_request *request, const struct nvme_command *command)
{
    submit(request, BLOCK_FLUSH, DRIVE_STAT_FLUSH, 0, 0);
    drive_submit(&request->io);
    return NVME_LATER;
}

static unsigned io_write_zeroes(struct nvme_request *request, const struct nvme_command *command)
{
    struct nvme_namespace *ns = request->ns;
    uint64_t block = command->cdw10 | (uint64_t)command->cdw11 << 32;
    uint64_t count = (command->cdw12 & 0xffff) + UINT64_C(1);
    if (!ns->can_write_zeroes)
        return NVME_INVALID_OPCODE | NVME_DNR;
    if (!range_within(block, count, 0, nvme_blocks(ns)))
        return refuse(request, DRIVE_STAT_ZEROES, NVME_LBA_OUT_OF_RANGE);
    if (ns->drive.readonly)
        return refuse(request, DRIVE_STAT_ZEROES, NVME_WRITE_PROTECTED);
    submit(request, BLOCK_WRITE_ZEROES, DRIVE_STAT_ZEROES, block, count);
    request->io.io.unmap = ns->can_discard && command->cdw12 & DEALLOCATE;
    drive_submit(&request->io);
    return NVME_LATER;
}

/* ------------------------------------------------------------------- giving back */

static void next_range(struct nvme_request *request);

static void range_done(struct drive_request *io, bool failed)
{
    struct nvme_request *request = container_of(io, struct nvme_request, io);
    if (failed)
        nvme_end(request, NVME_WRITE_FAULT, 0);
    else
        next_range(request);
}

/* Goes on behind what was done; ranges were checked, but the disk may have become smaller since. */
static void next_range(struct nvme_request *request)
{
    while (request->range < request->range_count) {
        const uint8_t *range = request->ranges + (size_t)NVME_RANGE * request->range++;
        uint64_t count = load_le(range + 4, 4), block = load_le(range + 8, 8);
        if (count == 0 || !range_within(block, count, 0, nvme_blocks(request->ns)))
            continue;
        submit(request, BLOCK_DISCARD, DRIVE_STAT_DISCARD, block, count);
        request->io.done = range_done;
        drive_submit(&request->io);
        drive_kick(&request->ns->queue);
        return;
    }
    nvme_end(request, NVME_OK, 0);
}

static unsigned io_dataset(struct nvme_request *request, const struct nvme_command *command)
{
    uint64_t blocks = nvme_blocks(request->ns);
    unsigned count = (command->cdw10 & 0xff) + 1;
    uint32_t len = count * NVME_RANGE;
    if (request->ns->drive.readonly)
        return refuse(request, DRIVE_STAT_DISCARD, NVME_WRITE_PROTECTED);
    /* The other attributes are hints. */
    if (!(command->cdw11 & DSM_DEALLOCATE) || !request->ns->can_discard)
        return NVME_OK;
    unsigned status = nvme_map(request, command, len);
    if (status != NVME_OK)
        return refuse(request, DRIVE_STAT_DISCARD, status);
    request->ranges = malloc(len);
    if (!request->ranges)
        return NVME_INTERNAL_ERROR;
    uint8_t *to = request->ranges;
    for (unsigned i = 0; i < request->iov_count; i++)
        to = (uint8_t *)memcpy(to, request->iov[i].iov_base, request->iov[i].iov_len) +
             request->iov[i].iov_len;
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *range = request->ranges + (size_t)NVME_RANGE * i;
        if (!range_within(load_le(range + 8, 8), load_le(range + 4, 4), 0, blocks))
            return refuse(request, DRIVE_STAT_DISCARD, NVME_LBA_OUT_OF_RANGE);
    }
    request->range = 0;
    request->range_count = count;
    next_range(request);
    return NVME_LATER;
}

unsigned nvme_io(struct nvme_request *request, const struct nvme_command *command)
{
    static const struct {
        uint8_t opcode;
        unsigned (*run)(struct nvme_request *request, const struct nvme_command *command);
    } commands[] = {
        {0x00, io_flush},        {0x01, io_write},   {0x02, io_read},
        {0x08, io_write_zeroes}, {0x09, io_dataset},
    };
    request->ns = nvme_find(request->nvme, command->nsid);
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].opcode == command->opcode)
            return request->ns ? commands[i].run(request, command)
                               : NVME_INVALID_NAMESPACE | NVME_DNR;
    }
    return NVME_INVALID_OPCODE | NVME_DNR;
}
