/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that a VMDK image consists of: flat ones, hosted sparse ones
 * ("KDMV", compressed or not), ESX's copy-on-write ones ("COWD") and SESparse.
 * A descriptor may name files beside itself only: it comes from outside, and a
 * path to elsewhere would make a disk of any file that we may read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/vmdk.h"

#define GRAIN_SECTORS_MAX UINT64_C(0x200000)
#define COMPRESSED_GRAIN_MAX MIB(2)
#define TABLE_ENTRIES_MAX 512u
#define AT_END UINT64_MAX

enum { FLAG_REDUNDANT = 1 << 1, FLAG_ZERO_GRAINS = 1 << 2, FLAG_MARKERS = 1 << 17 };
enum { COMPRESSION_NONE, COMPRESSION_DEFLATE };
enum { MARKER_END_OF_STREAM = 0, MARKER_FOOTER = 3 };

/* Offsets in the header of a hosted sparse file. */
enum {
    AT_VERSION = 4,
    AT_FLAGS = 8,
    AT_CAPACITY = 12,
    AT_GRAIN_SIZE = 20,
    AT_TABLE_ENTRIES = 44,
    AT_REDUNDANT_DIRECTORY = 48,
    AT_DIRECTORY = 56,
    AT_OVERHEAD = 64,
    AT_COMPRESSION = 77,
    HEADER_SIZE = 512,
};

static int invalid(const char *file, struct kv_error *err, const char *what, uint64_t found)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': VMDK header: %s %" PRIu64 " is not valid",
                        file, what, found);
}

/* ------------------------------------------------------------- sparse, in general */

/* Grain, table and directory are checked in sectors and kept in bytes. */
static int set_tables(struct vmdk_extent *extent, uint64_t grain, uint64_t entries,
                      uint64_t directory, unsigned entry_size, struct kv_error *err)
{
    const char *name = extent->file->name;
    uint64_t size = block_size(extent->file);
    if (grain == 0 || grain > GRAIN_SECTORS_MAX)
        return invalid(name, err, "grain of sectors", grain);
    extent->grain_size = grain * IMPORT_SECTOR;
    extent->table_grains = entries;
    uint64_t table_bytes = extent->grain_size * entries;
    uint64_t tables = extent->len / table_bytes + (extent->len % table_bytes != 0);
    if (directory > size / IMPORT_SECTOR ||
        !range_within(directory * IMPORT_SECTOR, tables * entry_size, 0, size))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': the grain directory of %" PRIu64 " entries at sector %" PRIu64
                            " is not inside the file of %" PRIu64 " bytes",
                            name, tables, directory, size);
    extent->directory = directory * IMPORT_SECTOR;
    return 0;
}

/* The disk's part that the descriptor gives to the extent; the file may be made for more. */
static int check_capacity(struct vmdk_extent *extent, uint64_t sectors, struct kv_error *err)
{
    if (sectors > IMPORT_SIZE_MAX / IMPORT_SECTOR)
        return invalid(extent->file->name, err, "capacity of sectors", sectors);
    if (extent->len == 0)
        extent->len = sectors * IMPORT_SECTOR;
    if (extent->len > sectors * IMPORT_SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' holds %" PRIu64
                            " sectors, but the descriptor says that it has %" PRIu64,
                            extent->file->name, sectors, extent->len / IMPORT_SECTOR);
    return 0;
}

/* ----------------------------------------------------------------- hosted sparse */

/* Stream-optimized files have the directory, and a header that knows where it is, at the end: a
 * marker, the header, and the marker of the end, a sector each. */
static int read_footer(const struct block_node *node, struct block_node *file, uint8_t *header,
                       struct kv_error *err)
{
    uint8_t footer[3 * HEADER_SIZE];
    uint64_t size = block_size(file);
    if (size < sizeof(footer))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': the VMDK footer is missing",
                            file->name);
    int rc = import_read_header(node, file, size - sizeof(footer), footer, sizeof(footer),
                                "the VMDK footer", err);
    if (rc < 0)
        return rc;
    const uint8_t *end = footer + 2 * HEADER_SIZE;
    if (load_le(footer + 8, 4) != 0 || load_le(footer + 12, 4) != MARKER_FOOTER ||
        memcmp(footer + HEADER_SIZE, VMDK_MAGIC, 4) != 0 || load_le(end, 8) != 0 ||
        load_le(end + 8, 4) != 0 || load_le(end + 12, 4) != MARKER_END_OF_STREAM)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': the VMDK footer is malformed; was the file truncated?",
                            file->name);
    memcpy(header, footer + HEADER_SIZE, HEADER_SIZE);
    return 0;
}

static int set_compression(struct vmdk_extent *extent, const uint8_t *header, struct kv_error *err)
{
    uint64_t method = load_le(header + AT_COMPRESSION, 2);
    if (method > COMPRESSION_DEFLATE)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': VMDK compression %" PRIu64 "; 0 (none) and 1 (deflate) are "
                            "supported",
                            extent->file->name, method);
    extent->compressed = method == COMPRESSION_DEFLATE;
    extent->markers = load_le(header + AT_FLAGS, 4) & FLAG_MARKERS;
    if (extent->compressed && extent->grain_size > COMPRESSED_GRAIN_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': compressed grains of %" PRIu64 " bytes; up to %" PRIu64
                            " are supported",
                            extent->file->name, extent->grain_size, COMPRESSED_GRAIN_MAX);
    return extent->compressed ? vmdk_prepare_compressed(err) : 0;
}

static int open_hosted(const struct block_node *node, struct vmdk_extent *extent, uint8_t *header,
                       struct kv_error *err)
{
    int rc = 0;
    const char *name = extent->file->name;
    if (load_le(header + AT_DIRECTORY, 8) == AT_END)
        rc = read_footer(node, extent->file, header, err);
    if (rc < 0)
        return rc;
    uint64_t version = load_le(header + AT_VERSION, 4), flags = load_le(header + AT_FLAGS, 4);
    uint64_t entries = load_le(header + AT_TABLE_ENTRIES, 4);
    uint64_t grain = load_le(header + AT_GRAIN_SIZE, 8);
    if (version < 1 || version > 3)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': VMDK version %" PRIu64 "; versions 1 to 3 are supported", name,
                            version);
    if (entries == 0 || entries > TABLE_ENTRIES_MAX)
        return invalid(name, err, "number of entries of a grain table", entries);
    if (load_le(header + AT_OVERHEAD, 8) > block_size(extent->file) / IMPORT_SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' is truncated: its tables alone take %" PRIu64 " sectors", name,
                            load_le(header + AT_OVERHEAD, 8));
    rc = check_capacity(extent, load_le(header + AT_CAPACITY, 8), err);
    if (rc == 0)
        rc = set_tables(extent, grain, entries, load_le(header + AT_DIRECTORY, 8), 4, err);
    if (rc < 0 && extent->grain_size && (flags & FLAG_REDUNDANT))
        rc =
            set_tables(extent, grain, entries, load_le(header + AT_REDUNDANT_DIRECTORY, 8), 4, err);
    extent->zero_grains = flags & FLAG_ZERO_GRAINS;
    return rc < 0 ? rc : set_compression(extent, header, err);
}

/* ----------------------------------------------------------------- ESX's formats */

static int open_cowd(struct vmdk_extent *extent, const uint8_t *header, struct kv_error *err)
{
    int rc = check_capacity(extent, load_le(header + 12, 4), err);
    return rc < 0
               ? rc
               : set_tables(extent, load_le(header + 16, 4), 4096, load_le(header + 20, 4), 4, err);
}

/* There is no public description of it; only what is known to be like this is taken. */
static int open_sesparse(const struct block_node *node, struct vmdk_extent *extent,
                         const uint8_t *header, struct kv_error *err)
{
    static const struct {
        uint64_t at, value;
    } fixed[] = {{0, 0xcafebabe}, {8, 0x200000001}, {24, 8}, {32, 64}, {40, 0}};
    uint8_t changing[HEADER_SIZE];
    const char *name = extent->file->name;
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++) {
        if (load_le(header + fixed[i].at, 8) != fixed[i].value)
            return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                                "'%s': SESparse header has %#" PRIx64 " at byte %" PRIu64
                                "; %#" PRIx64 " is supported",
                                name, load_le(header + fixed[i].at, 8), fixed[i].at,
                                fixed[i].value);
    }
    uint64_t at = load_le(header + 80, 8);
    if (at > IMPORT_SIZE_MAX / IMPORT_SECTOR)
        return invalid(name, err, "sector of the volatile header", at);
    int rc = import_read_header(node, extent->file, at * IMPORT_SECTOR, changing, sizeof(changing),
                                "the volatile SESparse header", err);
    if (rc < 0)
        return rc;
    if (load_le(changing, 8) != 0xcafecafe || load_le(changing + 24, 8) != 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': the SESparse journal must be replayed first, which ESX does "
                            "when it opens the disk",
                            name);
    extent->tables = load_le(header + 144, 8);
    extent->grains = load_le(header + 192, 8);
    if (extent->tables > IMPORT_SIZE_MAX / IMPORT_SECTOR ||
        extent->grains > IMPORT_SIZE_MAX / IMPORT_SECTOR)
        return invalid(name, err, "sector of the tables or grains",
                       MAX(extent->tables, extent->grains));
    extent->tables *= IMPORT_SECTOR;
    extent->grains *= IMPORT_SECTOR;
    rc = check_capacity(extent, load_le(header + 16, 8), err);
    return rc < 0 ? rc
                  : set_tables(extent, 8, 64 * IMPORT_SECTOR / 8, load_le(header + 128, 8), 8, err);
}

/* -------------------------------------------------------------------- the extents */

static int open_sparse(const struct block_node *node, struct vmdk_extent *extent,
                       struct kv_error *err)
{
    uint8_t header[HEADER_SIZE];
    int rc =
        import_read_header(node, extent->file, 0, header, sizeof(header), "the VMDK header", err);
    if (rc < 0)
        return rc;
    if (extent->kind == VMDK_SESPARSE)
        return open_sesparse(node, extent, header, err);
    if (memcmp(header, VMDK_MAGIC, 4) == 0)
        return open_hosted(node, extent, header, err);
    if (memcmp(header, VMDK_COWD_MAGIC, 4) == 0)
        return open_cowd(extent, header, err);
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s' is no sparse VMDK file",
                        extent->file->name);
}

static int check_flat(const struct vmdk_extent *extent, struct kv_error *err)
{
    if (range_within(extent->offset, extent->len, 0, block_size(extent->file)))
        return 0;
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        "'%s' has %" PRIu64 " bytes; the descriptor wants %" PRIu64 " at %" PRIu64,
                        extent->file->name, block_size(extent->file), extent->len, extent->offset);
}

/* A file beside the descriptor, in its folder or a folder in it. */
static bool is_beside(const char *name)
{
    if (name[0] == '/' || strchr(name, ':'))
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return name[0] != '\0';
}

static int open_line(struct block_node *node, struct vmdk_extent *extent,
                     const struct vmdk_extent_line *line, struct kv_error *err)
{
    static const struct {
        const char *type;
        enum vmdk_kind kind;
    } types[] = {
        {"FLAT", VMDK_FLAT},     {"VMFS", VMDK_FLAT},         {"ZERO", VMDK_ZERO},
        {"SPARSE", VMDK_SPARSE}, {"VMFSSPARSE", VMDK_SPARSE}, {"SESPARSE", VMDK_SESPARSE},
    };
    unsigned i = 0;
    while (i < ARRAY_SIZE(types) && strcmp(types[i].type, line->type) != 0)
        i++;
    if (i == ARRAY_SIZE(types) || strcmp(line->access, "NOACCESS") == 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': extent '%s' of type %s and access %s; FLAT, VMFS, ZERO, SPARSE, "
                            "VMFSSPARSE and SESPARSE are supported, with access RW and RDONLY",
                            node->name, line->name, line->type, line->access);
    extent->kind = types[i].kind;
    extent->len = line->sectors * IMPORT_SECTOR;
    extent->offset = line->offset * IMPORT_SECTOR;
    memcpy(extent->type, line->type, sizeof(extent->type));
    if (extent->kind == VMDK_ZERO)
        return 0;
    if (!is_beside(line->name))
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "'%s': extent '%s' is not a file beside the descriptor, and others are "
                            "not opened",
                            node->name, line->name);
    int rc = block_open_child(&extent->child, node, NULL, line->name, "raw", true, err);
    if (rc < 0)
        return kv_error_prefix(err, "'%s': extent '%s'", node->name, line->name);
    extent->file = block_file_child(extent->child);
    return extent->kind == VMDK_FLAT ? check_flat(extent, err) : open_sparse(node, extent, err);
}

int vmdk_open_lines(struct block_node *node, struct vmdk *vmdk,
                    const struct vmdk_descriptor *descriptor, struct kv_error *err)
{
    uint64_t at = 0;
    if (descriptor->count == 0)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': the descriptor names no extent",
                            node->name);
    vmdk->extents = calloc(descriptor->count, sizeof(*vmdk->extents));
    if (!vmdk->extents)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    for (size_t i = 0; i < descriptor->count; i++) {
        struct vmdk_extent *extent = &vmdk->extents[vmdk->count++];
        extent->start = at;
        int rc = open_line(node, extent, &descriptor->lines[i], err);
        if (rc < 0)
            return rc;
        at += extent->len;
        if (at > IMPORT_SIZE_MAX)
            return kv_error_set(err, KV_ERR_BLOCK, EFBIG,
                                "'%s': the extents together are larger than %" PRIu64 " bytes",
                                node->name, (uint64_t)IMPORT_SIZE_MAX);
    }
    return 0;
}

int vmdk_open_single(struct block_node *node, struct vmdk *vmdk, struct kv_error *err)
{
    vmdk->extents = calloc(1, sizeof(*vmdk->extents));
    if (!vmdk->extents)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    vmdk->count = 1;
    vmdk->extents->kind = VMDK_SPARSE;
    vmdk->extents->file = node->file;
    return open_sparse(node, vmdk->extents, err);
}
