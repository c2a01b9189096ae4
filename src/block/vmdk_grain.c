/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the grains of a VMDK image lie: its extent, then the entry of the grain
 * directory, then that of the grain table; and the unpacking of compressed ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "block/library.h"
#include "block/vmdk.h"

#define MARKER_SIZE 12u /* of a compressed grain: sector (8 bytes), length (4 bytes) */

static __typeof__(uncompress2) *zlib_uncompress2;

static const struct library_symbol zlib_symbols[] = {{"uncompress2", &zlib_uncompress2},
                                                     {NULL, NULL}};
static struct library zlib = LIBRARY("libz.so.1", "zlib1g", "compressed VMDK images", zlib_symbols);

int vmdk_prepare_compressed(struct kv_error *err)
{
    return library_load(&zlib, err);
}

static const struct vmdk_extent *extent_at(const struct vmdk *vmdk, uint64_t offset)
{
    size_t low = 0, high = vmdk->count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (vmdk->extents[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return &vmdk->extents[low];
}

/* Entry of 32 bits: a sector, 0 for none. */
static int find_sparse(struct vmdk *vmdk, const struct vmdk_extent *extent, uint64_t table,
                       uint64_t in_table, struct import_extent *out)
{
    uint8_t entry[4];
    int rc =
        import_read_table(&vmdk->import, extent->file, extent->directory + table * 4, entry, 4);
    if (rc < 0)
        return rc;
    uint64_t sector = load_le(entry, 4);
    out->kind = IMPORT_ABSENT;
    if (sector == 0)
        return 0;
    rc = import_read_table(&vmdk->import, extent->file, sector * IMPORT_SECTOR + in_table * 4,
                           entry, 4);
    if (rc < 0)
        return rc;
    sector = load_le(entry, 4);
    out->len = extent->grain_size - out->skip;
    if (sector == 0)
        return 0;
    out->kind = extent->zero_grains && sector == 1 ? IMPORT_ZERO
                : extent->compressed               ? IMPORT_PACKED
                                                   : IMPORT_DATA;
    out->host = sector * IMPORT_SECTOR;
    return 0;
}

/* Entries of 64 bits, whose highest four say what they are. */
static int find_sesparse(struct vmdk *vmdk, const struct vmdk_extent *extent, uint64_t table,
                         uint64_t in_table, struct import_extent *out)
{
    uint8_t bytes[8];
    int rc =
        import_read_table(&vmdk->import, extent->file, extent->directory + table * 8, bytes, 8);
    if (rc < 0)
        return rc;
    uint64_t entry = load_le(bytes, 8);
    out->kind = IMPORT_ABSENT;
    if (entry == 0)
        return 0;
    if (entry >> 32 != 0x10000000)
        return -EIO;
    uint64_t at = extent->tables + ((entry & 0xffffffff) * extent->table_grains + in_table) * 8;
    rc = import_read_table(&vmdk->import, extent->file, at, bytes, 8);
    if (rc < 0)
        return rc;
    entry = load_le(bytes, 8);
    out->len = extent->grain_size - out->skip;
    switch (entry >> 60) {
    case 0:
        return entry ? -EIO : 0;
    case 1: /* unmapped by the guest */
    case 2:
        out->kind = IMPORT_ZERO;
        return 0;
    case 3: {
        /* The number's lowest twelve bits stand above the others. */
        uint64_t number = (entry >> 48 & 0xfff) | (entry & 0xffffffffffff) << 12;
        out->kind = IMPORT_DATA;
        if (number > IMPORT_SIZE_MAX / extent->grain_size)
            return -EIO;
        out->host = extent->grains + number * extent->grain_size;
        return 0;
    }
    default:
        return -EIO;
    }
}

int vmdk_find(struct block_node *node, uint64_t offset, struct import_extent *out)
{
    struct vmdk *vmdk = node->state;
    const struct vmdk_extent *extent = extent_at(vmdk, offset);
    uint64_t in_extent = offset - extent->start;
    out->file = extent->file;
    out->len = extent->len - in_extent;
    if (extent->kind == VMDK_ZERO) {
        out->kind = IMPORT_ZERO;
        return 0;
    }
    if (extent->kind == VMDK_FLAT) {
        out->kind = IMPORT_DATA;
        out->whole_file = true;
        out->host = extent->offset + in_extent;
        return 0;
    }
    uint64_t rest = out->len, grain = in_extent / extent->grain_size;
    uint64_t table = grain / extent->table_grains, in_table = grain % extent->table_grains;
    out->skip = in_extent % extent->grain_size;
    /* To the end of the table, unless there is an entry. */
    out->len = (extent->table_grains - in_table) * extent->grain_size - out->skip;
    int rc = extent->kind == VMDK_SESPARSE ? find_sesparse(vmdk, extent, table, in_table, out)
                                           : find_sparse(vmdk, extent, table, in_table, out);
    out->len = MIN(out->len, rest);
    if (out->kind == IMPORT_DATA)
        out->host += out->skip;
    return rc;
}

/* ------------------------------------------------------------------- compressed */

/* The packed bytes; *len: how many there may be. */
static int read_packed_bytes(const struct vmdk_extent *extent, uint64_t host, uint8_t *packed,
                             uint64_t room, uint64_t *len)
{
    uint8_t marker[MARKER_SIZE];
    uint64_t size = block_size(extent->file);
    *len = room;
    if (extent->markers) {
        if (!range_within(host, MARKER_SIZE, 0, size))
            return -EIO;
        int rc = block_pread(extent->file, host, marker, MARKER_SIZE);
        if (rc < 0)
            return rc;
        host += MARKER_SIZE;
        *len = load_le(marker + 8, 4);
    }
    if (host >= size || *len == 0 || *len > room || (extent->markers && *len > size - host))
        return -EIO;
    *len = MIN(*len, size - host);
    return block_pread(extent->file, host, packed, *len);
}

/* The unpacked grain into *out, allocated; *len bytes, which may be fewer than a grain. */
static int unpack(const struct vmdk_extent *extent, uint64_t host, uint8_t **out, uint64_t *len)
{
    uint64_t room = extent->grain_size * 2, packed_len;
    cleanup_free uint8_t *packed = malloc(room), *grain = malloc(extent->grain_size);
    if (!packed || !grain)
        return -ENOMEM;
    int rc = read_packed_bytes(extent, host, packed, room, &packed_len);
    if (rc < 0)
        return rc;
    uLongf unpacked = extent->grain_size;
    uLong consumed = packed_len;
    if (zlib_uncompress2(grain, &unpacked, packed, &consumed) != Z_OK)
        return -EIO;
    *len = unpacked;
    *out = take_ptr(grain);
    return 0;
}

/* From the grain that was unpacked last. False: that was another. */
static bool read_kept(struct vmdk *vmdk, const struct import_extent *from, const struct iovec *iov,
                      unsigned count, uint64_t iov_offset, uint64_t len)
{
    pthread_mutex_lock(&vmdk->grain_lock);
    bool kept = vmdk->grain && vmdk->grain_file == from->file && vmdk->grain_host == from->host &&
                range_within(from->skip, len, 0, vmdk->grain_len);
    if (kept)
        iov_from_buffer(iov, count, iov_offset, vmdk->grain + from->skip, len);
    pthread_mutex_unlock(&vmdk->grain_lock);
    return kept;
}

static void keep(struct vmdk *vmdk, const struct import_extent *from, uint8_t *grain, uint64_t len)
{
    pthread_mutex_lock(&vmdk->grain_lock);
    uint8_t *old = vmdk->grain;
    vmdk->grain = grain;
    vmdk->grain_len = len;
    vmdk->grain_file = from->file;
    vmdk->grain_host = from->host;
    pthread_mutex_unlock(&vmdk->grain_lock);
    free(old);
}

int vmdk_read_packed(struct block_node *node, const struct import_extent *from,
                     const struct iovec *iov, unsigned count, uint64_t iov_offset, uint64_t len)
{
    struct vmdk *vmdk = node->state;
    uint8_t *grain;
    uint64_t grain_len;
    if (read_kept(vmdk, from, iov, count, iov_offset, len))
        return 0;
    size_t i = 0;
    while (vmdk->extents[i].file != from->file)
        i++;
    int rc = unpack(&vmdk->extents[i], from->host, &grain, &grain_len);
    if (rc < 0)
        return rc;
    bool enough = range_within(from->skip, len, 0, grain_len);
    if (enough)
        iov_from_buffer(iov, count, iov_offset, grain + from->skip, len);
    keep(vmdk, from, grain, grain_len);
    return enough ? 0 : -EIO;
}
