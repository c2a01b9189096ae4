/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Microsoft's VHD images (Virtual PC, Hyper-V, Azure), after the "Virtual Hard
 * Disk Image Format Specification" 1.0: fixed (the disk, then a footer), dynamic
 * (a copy of the footer, a header, a table of blocks, each behind a bitmap of
 * its sectors) and differencing (the bitmap tells which sectors are the
 * parent's). Read only. The head of a fixed image is the disk's own, so it is
 * never found by probing; its format has to be said.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/drivers.h"
#include "block/import.h"

#define DYNAMIC_COOKIE "cxsparse"
#define FREE UINT32_C(0xffffffff)
/* 2040 GiB; and the largest disk that a geometry can express, which stands for "or larger". */
#define SECTORS_MAX UINT64_C(0xff000000)
#define GEOMETRY_MAX ((uint64_t)65535 * 16 * 255)

enum { TYPE_FIXED = 2, TYPE_DYNAMIC = 3, TYPE_DIFFERENCING = 4 };

/* Offsets in the footer, big-endian fields. */
enum {
    AT_DATA_OFFSET = 16,
    AT_CREATOR = 28,
    AT_CURRENT_SIZE = 48,
    AT_CYLINDERS = 56,
    AT_HEADS = 58,
    AT_SECTORS_PER_TRACK = 59,
    AT_TYPE = 60,
    AT_CHECKSUM = 64,
    AT_UUID = 68,
};

/* Offsets in the header of dynamic and differencing images. */
enum {
    AT_TABLE_OFFSET = 16,
    AT_TABLE_ENTRIES = 28,
    AT_BLOCK_SIZE = 32,
    AT_HEADER_CHECKSUM = 36,
    AT_PARENT_UUID = 40,
    AT_PARENT_NAME = 64,
    PARENT_NAME_SIZE = 512,
    AT_LOCATORS = 576,
    LOCATORS = 8,
    LOCATOR_SIZE = 24,
    HEADER_SIZE = 1024,
};

#define LOCATOR_RELATIVE UINT32_C(0x57327275) /* "W2ru": UTF-16LE, relative */
#define LOCATOR_PATH_MAX 4096u
#define RUN_MAX 32768u /* sectors that are looked at in one piece */

struct vpc {
    struct import import;
    uint32_t type;
    uint32_t block_size, bitmap_size; /* bytes; 0 of a fixed image */
    uint64_t table_offset;
    uint8_t uuid[16];
    char *parent; /* as written; NULL: none */
};

/* The complement of the sum of all bytes but the checksum's own. */
static bool checksum_is_good(const uint8_t *bytes, size_t len, size_t at_checksum)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += i < at_checksum || i >= at_checksum + 4 ? bytes[i] : 0;
    return ~sum == load_be(bytes + at_checksum, 4);
}

static bool footer_is_good(const uint8_t *footer)
{
    return memcmp(footer, VPC_COOKIE, 8) == 0 &&
           checksum_is_good(footer, VPC_FOOTER_SIZE, AT_CHECKSUM);
}

/* The copy in front, which fixed images lack, or the one at the end. */
static int read_footer(const struct block_node *node, uint8_t *footer, struct kv_error *err)
{
    uint64_t size = block_size(node->file);
    int rc =
        import_read_header(node, node->file, 0, footer, VPC_FOOTER_SIZE, "the VHD footer", err);
    if (rc < 0 || footer_is_good(footer))
        return rc;
    bool damaged = memcmp(footer, VPC_COOKIE, 8) == 0;
    rc = import_read_header(node, node->file, size - VPC_FOOTER_SIZE, footer, VPC_FOOTER_SIZE,
                            "the VHD footer", err);
    if (rc < 0 || footer_is_good(footer))
        return rc;
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        damaged ? "'%s': the checksum of the VHD footer is wrong, and there is no "
                                  "good copy of it"
                                : "'%s' is no VHD image: there is no footer in its first or last "
                                  "512 bytes",
                        node->name);
}

/* Virtual PC goes by the geometry, which may be smaller than what the footer says; others wrote
 * one and go by the other. */
static uint64_t disk_sectors(const uint8_t *footer)
{
    static const char by_size[][5] = {"win ", "qem2", "d2v ", "tap\0", "CTXS", "wa\0\0"};
    uint64_t geometry =
        load_be(footer + AT_CYLINDERS, 2) * footer[AT_HEADS] * footer[AT_SECTORS_PER_TRACK];
    uint64_t size = load_be(footer + AT_CURRENT_SIZE, 8) / IMPORT_SECTOR;
    for (unsigned i = 0; i < ARRAY_SIZE(by_size); i++) {
        if (memcmp(footer + AT_CREATOR, by_size[i], 4) == 0)
            return size;
    }
    return geometry == GEOMETRY_MAX ? size : geometry;
}

static int check_header(const struct block_node *node, const uint8_t *header, uint64_t sectors,
                        struct kv_error *err)
{
    uint64_t block = load_be(header + AT_BLOCK_SIZE, 4);
    uint64_t entries = load_be(header + AT_TABLE_ENTRIES, 4);
    if (memcmp(header, DYNAMIC_COOKIE, 8) != 0 ||
        !checksum_is_good(header, HEADER_SIZE, AT_HEADER_CHECKSUM))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': the header of the dynamic VHD image is missing or its checksum "
                            "is wrong",
                            node->name);
    if (!is_power_of_two(block) || block < IMPORT_SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHD header: block size %" PRIu64
                            "; powers of two from 512 on are supported",
                            node->name, block);
    if (entries * block < sectors * IMPORT_SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHD header: a table of %" PRIu64 " blocks of %" PRIu64
                            " bytes is too small for a disk of %" PRIu64,
                            node->name, entries, block, sectors * IMPORT_SECTOR);
    if (!range_within(load_be(header + AT_TABLE_OFFSET, 8), entries * 4, 0, block_size(node->file)))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHD header: the table of %" PRIu64
                            " blocks lies beyond the end of the file",
                            node->name, entries);
    return 0;
}

/* ------------------------------------------------------------------ parents */

/* From the relative locator, else the last part of the name that the parent had. */
static char *read_parent_path(const struct block_node *node, const uint8_t *header)
{
    for (unsigned i = 0; i < LOCATORS; i++) {
        uint8_t text[LOCATOR_PATH_MAX];
        const uint8_t *locator = header + AT_LOCATORS + i * LOCATOR_SIZE;
        uint64_t len = load_be(locator + 8, 4), offset = load_be(locator + 16, 8);
        if (load_be(locator, 4) != LOCATOR_RELATIVE || len > sizeof(text) ||
            import_read_header(node, node->file, offset, text, len, "", NULL) < 0)
            continue;
        char *path = import_windows_path(text, len, false);
        if (path)
            return path;
    }
    char *path = import_windows_path(header + AT_PARENT_NAME, PARENT_NAME_SIZE, true);
    const char *last = path ? strrchr(path, '/') : NULL;
    if (last && last[1])
        memmove(path, last + 1, strlen(last + 1) + 1);
    return path;
}

static int open_parent(struct block_node *node, struct vpc *vpc, const uint8_t *header,
                       const struct block_open_options *options, struct kv_error *err)
{
    vpc->parent = read_parent_path(node, header);
    if (!vpc->parent)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' is a differencing VHD image that names no parent", node->name);
    int rc = import_open_parent(node, options, vpc->parent, "vpc", err);
    if (rc < 0 || !node->backing || node->backing->driver != &block_vpc_driver)
        return rc;
    const struct vpc *parent = node->backing->state;
    if (memcmp(parent->uuid, header + AT_PARENT_UUID, 16) != 0)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': its parent has another UUID than '%s' now has: it is another "
                            "image, or was changed since",
                            node->name, node->backing->name);
    return 0;
}

/* --------------------------------------------------------------------- find */

static int find_fixed(struct block_node *node, uint64_t offset, struct import_extent *out)
{
    *out = (struct import_extent){.kind = IMPORT_DATA,
                                  .whole_file = true,
                                  .len = block_size(node) - offset,
                                  .host = offset,
                                  .file = node->file};
    return 0;
}

static int find_in_block(struct block_node *node, uint64_t offset, struct import_extent *out)
{
    struct vpc *vpc = node->state;
    uint8_t entry[4];
    uint64_t block = offset / vpc->block_size, in_block = offset % vpc->block_size;
    int rc = import_read_table(&vpc->import, node->file, vpc->table_offset + block * 4, entry, 4);
    if (rc < 0)
        return rc;
    uint64_t sector = load_be(entry, 4);
    out->len = vpc->block_size - in_block;
    out->kind = vpc->type == TYPE_DIFFERENCING ? IMPORT_ABSENT : IMPORT_ZERO;
    if (sector == FREE)
        return 0;
    uint64_t bitmap = sector * IMPORT_SECTOR;
    if (vpc->type == TYPE_DIFFERENCING) {
        bool here = false;
        uint64_t run = 0, first = in_block / IMPORT_SECTOR;
        uint64_t end = MIN(vpc->block_size / IMPORT_SECTOR, first + RUN_MAX);
        rc = import_bit_run(&vpc->import, node->file, bitmap, first, end, true, &here, &run);
        if (rc < 0)
            return rc;
        out->len = (first + run) * IMPORT_SECTOR - in_block;
        if (!here)
            return 0;
    }
    out->kind = IMPORT_DATA;
    out->file = node->file;
    out->host = bitmap + vpc->bitmap_size + in_block;
    return 0;
}

static const struct import_ops fixed_ops = {.find = find_fixed};
static const struct import_ops dynamic_ops = {.find = find_in_block};

/* --------------------------------------------------------------------- open */

static void vpc_close(struct block_node *node)
{
    struct vpc *vpc = node->state;
    import_destroy(&vpc->import);
    free(vpc->parent);
    free(vpc);
}

static int open_dynamic(struct block_node *node, struct vpc *vpc, const uint8_t *footer,
                        const struct block_open_options *options, struct kv_error *err)
{
    uint8_t header[HEADER_SIZE];
    int rc = import_read_header(node, node->file, load_be(footer + AT_DATA_OFFSET, 8), header,
                                sizeof(header), "the VHD header", err);
    if (rc == 0)
        rc = check_header(node, header, disk_sectors(footer), err);
    if (rc < 0)
        return rc;
    vpc->block_size = (uint32_t)load_be(header + AT_BLOCK_SIZE, 4);
    vpc->bitmap_size = ALIGN_UP((vpc->block_size / IMPORT_SECTOR + 7) / 8, IMPORT_SECTOR);
    vpc->table_offset = load_be(header + AT_TABLE_OFFSET, 8);
    return vpc->type == TYPE_DIFFERENCING ? open_parent(node, vpc, header, options, err) : 0;
}

static int open_fixed(const struct block_node *node, const uint8_t *footer, struct kv_error *err)
{
    uint64_t bytes = disk_sectors(footer) * IMPORT_SECTOR, size = block_size(node->file);
    if (bytes <= size - VPC_FOOTER_SIZE)
        return 0;
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        "'%s': the VHD footer says a disk of %" PRIu64
                        " bytes, but the file has %" PRIu64 " in front of it",
                        node->name, bytes, size - VPC_FOOTER_SIZE);
}

static int open_typed(struct block_node *node, struct vpc *vpc, const uint8_t *footer,
                      const struct block_open_options *options, struct kv_error *err)
{
    uint64_t sectors = disk_sectors(footer);
    if (sectors > SECTORS_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG,
                            "'%s': the VHD footer says a disk of %" PRIu64
                            " sectors; VHD has up to %" PRIu64,
                            node->name, sectors, (uint64_t)SECTORS_MAX);
    int rc;
    switch (vpc->type) {
    case TYPE_FIXED:
        rc = open_fixed(node, footer, err);
        break;
    case TYPE_DYNAMIC:
    case TYPE_DIFFERENCING:
        rc = open_dynamic(node, vpc, footer, options, err);
        break;
    default:
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': VHD type %" PRIu32
                            "; 2 (fixed), 3 (dynamic) and 4 (differencing) are supported",
                            node->name, vpc->type);
    }
    return rc < 0 ? rc : import_set_info(node, sectors * IMPORT_SECTOR, vpc->block_size, err);
}

static int vpc_open(struct block_node *node, const struct block_open_options *options,
                    struct kv_error *err)
{
    uint8_t footer[VPC_FOOTER_SIZE];
    int rc = read_footer(node, footer, err);
    if (rc < 0)
        return rc;
    struct vpc *vpc = calloc(1, sizeof(*vpc));
    if (!vpc)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    vpc->type = (uint32_t)load_be(footer + AT_TYPE, 4);
    memcpy(vpc->uuid, footer + AT_UUID, sizeof(vpc->uuid));
    import_init(&vpc->import, vpc->type == TYPE_FIXED ? &fixed_ops : &dynamic_ops);
    node->state = vpc;
    rc = open_typed(node, vpc, footer, options, err);
    if (rc < 0)
        vpc_close(node);
    return rc;
}

static const char *vpc_backing_path(const struct block_node *node)
{
    const struct vpc *vpc = node->state;
    return vpc->parent;
}

static const char *vpc_backing_format(const struct block_node *node)
{
    return vpc_backing_path(node) ? "vpc" : NULL;
}

static const struct block_key vpc_keys[] = {{"backing", BLOCK_KEY_ANY}, {NULL, 0}};

const struct block_driver block_vpc_driver = {
    .name = "vpc",
    .keys = vpc_keys,
    .probe = vpc_probe,
    .open = vpc_open,
    .close = vpc_close,
    .get_size = import_get_size,
    .preadv = import_preadv,
    .status = import_status,
    .backing_path = vpc_backing_path,
    .backing_format = vpc_backing_format,
};
