/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iSCSI: the protocol driver "iscsi". Requests become SCSI commands, cut to the
 * unit's limits; what is not made of whole blocks is read, changed and written.
 */
#include "block/iscsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/drivers.h"

#define SECTOR 512u
#define IOV_MAX_ELEMENTS 64u

static uint64_t block_bytes(const struct iscsi_disk *disk)
{
    return disk->unit.block;
}

/* ----------------------------------------------------------------- transferring */

/* Whole blocks, cut to what a command takes. */
static int transfer(struct iscsi_disk *disk, enum iscsi_command command, uint64_t offset,
                    uint64_t len, const struct iovec *iov, unsigned count)
{
    uint64_t done = 0, block = block_bytes(disk);
    while (done < len) {
        struct iovec part[IOV_MAX_ELEMENTS];
        uint64_t bytes = MIN(len - done, disk->unit.transfer_max * block);
        unsigned n = iov_slice(iov, count, done, bytes, part, IOV_MAX_ELEMENTS);
        uint64_t described = 0;
        for (unsigned i = 0; i < n; i++)
            described += part[i].iov_len;
        bytes = ALIGN_DOWN(described, block);
        cleanup_free uint8_t *whole = NULL;
        if (bytes == 0) { /* pieces so small that they make no block */
            bytes = block;
            whole = malloc(block);
            if (!whole)
                return -ENOMEM;
            if (command == ISCSI_WRITE)
                iov_to_buffer(iov, count, done, whole, block);
            part[0] = (struct iovec){.iov_base = whole, .iov_len = block};
            n = 1;
        } else if (bytes < described) {
            n = iov_slice(iov, count, done, bytes, part, IOV_MAX_ELEMENTS);
        }
        struct iscsi_op op = {.command = command,
                              .lba = (offset + done) / block,
                              .blocks = bytes / block,
                              .iov = part,
                              .count = n};
        int rc = iscsi_run(disk, &op);
        if (rc < 0)
            return rc;
        if (whole && command == ISCSI_READ)
            iov_from_buffer(iov, count, done, whole, block);
        done += bytes;
    }
    return 0;
}

/* The whole blocks around a range, in memory. */
static int read_around(struct iscsi_disk *disk, uint64_t offset, uint64_t len, uint8_t **whole,
                       uint64_t *start, uint64_t *bytes)
{
    uint64_t block = block_bytes(disk);
    *start = ALIGN_DOWN(offset, block);
    *bytes = ALIGN_UP(offset + len, block) - *start;
    *whole = malloc(*bytes);
    if (!*whole)
        return -ENOMEM;
    const struct iovec iov = {.iov_base = *whole, .iov_len = *bytes};
    return transfer(disk, ISCSI_READ, *start, *bytes, &iov, 1);
}

static int disk_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count)
{
    struct iscsi_disk *disk = node->state;
    uint64_t start, bytes;
    cleanup_free uint8_t *whole = NULL;
    if (IS_ALIGNED(offset | len, block_bytes(disk)))
        return transfer(disk, ISCSI_READ, offset, len, iov, count);
    int rc = read_around(disk, offset, len, &whole, &start, &bytes);
    if (rc == 0)
        iov_from_buffer(iov, count, 0, whole + (offset - start), len);
    return rc;
}

static int disk_flush(struct block_node *node)
{
    struct iscsi_op op = {.command = ISCSI_SYNC};
    int rc = iscsi_run(node->state, &op);
    return rc == -ENOTSUP ? 0 : rc; /* a unit without a cache */
}

static int disk_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                        const struct iovec *iov, unsigned count, unsigned flags)
{
    struct iscsi_disk *disk = node->state;
    int rc;
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    if (IS_ALIGNED(offset | len, block_bytes(disk))) {
        rc = transfer(disk, ISCSI_WRITE, offset, len, iov, count);
    } else {
        uint64_t start, bytes;
        cleanup_free uint8_t *whole = NULL;
        pthread_mutex_lock(&disk->partial_lock);
        rc = read_around(disk, offset, len, &whole, &start, &bytes);
        if (rc == 0) {
            const struct iovec all = {.iov_base = whole, .iov_len = bytes};
            iov_to_buffer(iov, count, 0, whole + (offset - start), len);
            rc = transfer(disk, ISCSI_WRITE, start, bytes, &all, 1);
        }
        pthread_mutex_unlock(&disk->partial_lock);
    }
    return rc == 0 && block_is_durable(node, flags & BLOCK_FUA) ? disk_flush(node) : rc;
}

static int run_range(struct iscsi_disk *disk, struct iscsi_op *op, uint64_t offset, uint64_t end,
                     uint64_t max)
{
    uint64_t block = block_bytes(disk), lba = offset / block, last = end / block;
    int rc = 0;
    for (; rc == 0 && lba < last; lba += op->blocks) {
        op->lba = lba;
        op->blocks = MIN(last - lba, max);
        rc = iscsi_run(disk, op);
    }
    return rc;
}

static int disk_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    struct iscsi_disk *disk = node->state;
    struct iscsi_op op = {
        .command = ISCSI_SAME,
        .may_unmap = (flags & BLOCK_UNMAP) && disk->unit.unmap_by_same && disk->unit.zeroes,
    };
    if (!IS_ALIGNED(offset | len, block_bytes(disk)) || atomic_load(&disk->no_same) ||
        ((flags & BLOCK_NO_FALLBACK) && !op.may_unmap))
        return -ENOTSUP;
    int rc = run_range(disk, &op, offset, offset + len, disk->unit.same_max);
    if (rc == -ENOTSUP)
        atomic_store(&disk->no_same, true);
    return rc == 0 && block_is_durable(node, flags & BLOCK_FUA) ? disk_flush(node) : rc;
}

static int disk_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct iscsi_disk *disk = node->state;
    uint64_t block = block_bytes(disk), end = ALIGN_DOWN(offset + len, block);
    struct iscsi_op op = {.command = ISCSI_UNMAP};
    offset = ALIGN_UP(offset, block);
    if (!disk->unit.unmap || offset >= end)
        return 0;
    int rc = run_range(disk, &op, offset, end, disk->unit.unmap_max);
    return rc == -ENOTSUP ? 0 : rc;
}

static int disk_status(struct block_node *node, uint64_t offset, uint64_t len,
                       struct block_extent *out)
{
    struct iscsi_disk *disk = node->state;
    uint64_t block = block_bytes(disk);
    out->len = len;
    out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET | BLOCK_STATUS_DATA;
    out->host_offset = offset;
    out->file = node;
    if (!disk->unit.thin || !disk->unit.zeroes)
        return 0;
    struct iscsi_op op = {.command = ISCSI_STATUS,
                          .lba = offset / block,
                          .blocks =
                              (ALIGN_UP(offset + len, block) - ALIGN_DOWN(offset, block)) / block};
    int rc = iscsi_run(disk, &op);
    if (rc == -ENOTSUP) /* all is data, then */
        return 0;
    if (rc < 0)
        return rc;
    out->len = MIN(len, (op.lba + op.blocks) * block - offset);
    if (!op.mapped)
        out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET | BLOCK_STATUS_ZERO;
    return 0;
}

/* ------------------------------------------------------------------ open, close */

static int disk_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    const struct iscsi_disk *disk = node->state;
    *size = disk->unit.blocks * disk->unit.block;
    return 0;
}

static int64_t disk_allocated_size(const struct block_node *node)
{
    return -ENOTSUP;
}

static void disk_free(struct iscsi_disk *disk)
{
    iscsi_address_free(&disk->address);
    pthread_mutex_destroy(&disk->partial_lock);
    free(disk->zeros);
    free(disk);
}

static void disk_close(struct block_node *node)
{
    struct iscsi_disk *disk = node->state;
    if (!node->info.readonly && node->options.cache != BLOCK_CACHE_UNSAFE)
        disk_flush(node);
    iscsi_session_close(disk);
    disk_free(disk);
}

static int fill_info(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    const struct iscsi_disk *disk = node->state;
    const struct iscsi_unit *unit = &disk->unit;
    if (unit->write_protected && !options->readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "'%s': the unit is write protected; it can be opened read-only",
                            node->name);
    node->info = (struct block_info){
        .size = unit->blocks * unit->block,
        .request_alignment = unit->block,
        .logical_block = unit->block,
        .physical_block = MAX(unit->block, 4096u),
        .readonly = options->readonly,
        .can_discard = options->discard && !options->readonly && unit->unmap,
        .can_write_zeroes = !options->readonly,
        .discard_alignment = MAX(unit->block, SECTOR),
        .volatile_cache =
            options->cache == BLOCK_CACHE_WRITEBACK || options->cache == BLOCK_CACHE_NONE,
    };
    return 0;
}

static int disk_open(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct iscsi_disk *disk = calloc(1, sizeof(*disk));
    if (!disk)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    node->state = disk;
    pthread_mutex_init(&disk->partial_lock, NULL);
    int rc = iscsi_library_get(&disk->lib, err);
    if (rc == 0)
        rc = iscsi_address_parse(&disk->address, disk->lib, options, err);
    if (rc == 0)
        rc = iscsi_session_open(disk, err);
    if (rc < 0) {
        disk_free(disk);
        return rc;
    }
    disk->zeros = calloc(1, disk->unit.block);
    rc = disk->zeros ? fill_info(node, options, err)
                     : kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    if (rc < 0) {
        iscsi_session_close(disk);
        disk_free(disk);
    }
    return rc;
}

static const char *const prefixes[] = {"iscsi:", NULL};

static const struct block_key iscsi_keys[] = {
    {"header-digest", BLOCK_KEY_TEXT}, {"initiator-name", BLOCK_KEY_TEXT},
    {"lun", BLOCK_KEY_NUMBER},         {"password-secret", BLOCK_KEY_TEXT},
    {"portal", BLOCK_KEY_TEXT},        {"target", BLOCK_KEY_TEXT},
    {"timeout", BLOCK_KEY_NUMBER},     {"transport", BLOCK_KEY_TEXT},
    {"user", BLOCK_KEY_TEXT},          {NULL, 0},
};

const struct block_driver block_iscsi_driver = {
    .name = "iscsi",
    .keys = iscsi_keys,
    .is_protocol = true,
    .prefixes = prefixes,
    .open = disk_open,
    .close = disk_close,
    .get_size = disk_get_size,
    .allocated_size = disk_allocated_size,
    .preadv = disk_preadv,
    .pwritev = disk_pwritev,
    .write_zeroes = disk_write_zeroes,
    .discard = disk_discard,
    .flush = disk_flush,
    .status = disk_status,
};
