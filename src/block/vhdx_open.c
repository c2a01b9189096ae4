/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens a VHDX image: the newer of its two headers ([MS-VHDX] 2.2), its log,
 * the region table, and the metadata items (2.6) with the parent's locator.
 * What is marked as required and not known is refused by its GUID.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "block/vhdx.h"

#define HEADER_SIZE 4096u
#define TABLE_SIZE 65536u
#define ENTRY_SIZE 32u
#define ENTRIES_MAX ((TABLE_SIZE - ENTRY_SIZE) / ENTRY_SIZE)
#define ITEM_SIZE_MAX 65536u
#define DISK_SIZE_MAX (UINT64_C(64) << 40)
#define CHUNK_SECTORS (UINT64_C(1) << 23)

static const uint64_t header_offsets[] = {KIB(64), KIB(128)};
static const uint64_t region_table_offsets[] = {KIB(192), KIB(256)};

/* As text, in the order in which it is written: three little-endian numbers, eight bytes. */
#define GUID_TEXT_SIZE 37

static void guid_text(const uint8_t *guid, char text[GUID_TEXT_SIZE])
{
    snprintf(text, GUID_TEXT_SIZE, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             (unsigned)load_le(guid, 4), (unsigned)load_le(guid + 4, 2),
             (unsigned)load_le(guid + 6, 2), guid[8], guid[9], guid[10], guid[11], guid[12],
             guid[13], guid[14], guid[15]);
}

static int refuse(const struct block_node *node, struct kv_error *err, const char *what)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': VHDX: %s", node->name, what);
}

/* The checksum at byte 4 counts as zero itself. */
static bool checksum_is_good(uint8_t *bytes, size_t len)
{
    uint32_t wanted = (uint32_t)load_le(bytes + 4, 4);
    memset(bytes + 4, 0, 4);
    return crc32c(0, bytes, len) == wanted;
}

/* ------------------------------------------------------------------- headers */

/* The good one with the higher sequence number. */
static int read_header(const struct block_node *node, uint8_t out[HEADER_SIZE],
                       struct kv_error *err)
{
    bool found = false;
    for (unsigned i = 0; i < ARRAY_SIZE(header_offsets); i++) {
        uint8_t header[HEADER_SIZE];
        int rc = import_read_header(node, node->file, header_offsets[i], header, sizeof(header),
                                    "the VHDX header", err);
        if (rc < 0)
            return rc;
        if (memcmp(header, "head", 4) != 0 || !checksum_is_good(header, sizeof(header)) ||
            (found && load_le(header + 8, 8) <= load_le(out + 8, 8)))
            continue;
        memcpy(out, header, sizeof(header));
        found = true;
    }
    if (!found)
        return refuse(node, err, "neither of the two headers has a good checksum");
    if (load_le(out + 66, 2) != 1)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': VHDX header says version %u; version 1 is supported", node->name,
                            (unsigned)load_le(out + 66, 2));
    return 0;
}

static int replay_log(const struct block_node *node, struct vhdx *vhdx, const uint8_t *header,
                      struct kv_error *err)
{
    const uint8_t *guid = header + 48;
    if (buffer_is_zero(guid, 16))
        return 0;
    if (load_le(header + 64, 2) != 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': VHDX log of version %u; version 0 is supported", node->name,
                            (unsigned)load_le(header + 64, 2));
    return vhdx_replay_log(node, vhdx, guid, load_le(header + 72, 8), load_le(header + 68, 4), err);
}

/* ------------------------------------------------------------------- regions */

struct region {
    const char *guid;
    uint64_t offset, len; /* in the file; 0: not found */
};

enum { REGION_BAT, REGION_METADATA, REGIONS };

static int take_region(const struct block_node *node, const uint8_t *entry, struct region *regions,
                       struct kv_error *err)
{
    char text[GUID_TEXT_SIZE];
    uint64_t offset = load_le(entry + 16, 8), len = load_le(entry + 24, 4);
    guid_text(entry, text);
    for (unsigned i = 0; i < REGIONS; i++) {
        if (strcmp(text, regions[i].guid) != 0)
            continue;
        if (offset < MIB(1) || !range_within(offset, len, 0, block_size(node->file)))
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': VHDX region %s of %" PRIu64 " bytes at %" PRIu64
                                " is not inside the file",
                                node->name, text, len, offset);
        regions[i].offset = offset;
        regions[i].len = len;
        return 0;
    }
    if (!(load_le(entry + 28, 4) & 1))
        return 0;
    return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                        "'%s': VHDX region %s is required and not known", node->name, text);
}

static int read_regions(const struct block_node *node, struct vhdx *vhdx, struct region *regions,
                        struct kv_error *err)
{
    cleanup_free uint8_t *table = malloc(TABLE_SIZE);
    if (!table)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    bool good = false;
    for (unsigned i = 0; i < ARRAY_SIZE(region_table_offsets) && !good; i++) {
        int rc = import_read_table(&vhdx->import, vhdx->file, region_table_offsets[i], table,
                                   TABLE_SIZE);
        good = rc == 0 && memcmp(table, "regi", 4) == 0 && checksum_is_good(table, TABLE_SIZE);
    }
    uint64_t count = load_le(table + 8, 4);
    if (!good || count > ENTRIES_MAX)
        return refuse(node, err, "neither of the two region tables is good");
    for (uint64_t i = 0; i < count; i++) {
        int rc = take_region(node, table + 16 + i * ENTRY_SIZE, regions, err);
        if (rc < 0)
            return rc;
    }
    for (unsigned i = 0; i < REGIONS; i++) {
        if (regions[i].len == 0)
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': VHDX: region %s is missing",
                                node->name, regions[i].guid);
    }
    return 0;
}

/* ------------------------------------------------------------------ metadata */

static int parse_parameters(const struct block_node *node, struct vhdx *vhdx, const uint8_t *item,
                            size_t len, struct kv_error *err)
{
    vhdx->block_size = (uint32_t)load_le(item, 4);
    vhdx->has_parent = load_le(item + 4, 4) & 2;
    if (!is_power_of_two(vhdx->block_size) || vhdx->block_size < MIB(1) ||
        vhdx->block_size > MIB(256))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHDX block size %" PRIu32
                            "; powers of two from 1 MiB to 256 MiB are valid",
                            node->name, vhdx->block_size);
    return 0;
}

static int parse_size(const struct block_node *node, struct vhdx *vhdx, const uint8_t *item,
                      size_t len, struct kv_error *err)
{
    vhdx->disk_size = load_le(item, 8);
    if (vhdx->disk_size > DISK_SIZE_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG,
                            "'%s': VHDX disk of %" PRIu64 " bytes; 64 TiB is the largest",
                            node->name, vhdx->disk_size);
    return 0;
}

static int parse_sector_size(const struct block_node *node, struct vhdx *vhdx, const uint8_t *item,
                             size_t len, struct kv_error *err)
{
    vhdx->sector_size = (uint32_t)load_le(item, 4);
    if (vhdx->sector_size != 512 && vhdx->sector_size != 4096)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHDX sector size %" PRIu32 "; 512 and 4096 are valid",
                            node->name, vhdx->sector_size);
    return 0;
}

/* Pairs of text; only where the parent lies from here is of use outside Windows. */
static int parse_locator(const struct block_node *node, struct vhdx *vhdx, const uint8_t *item,
                         size_t len, struct kv_error *err)
{
    char type[GUID_TEXT_SIZE];
    guid_text(item, type);
    if (strcmp(type, "b04aefb7-d19e-4a81-b789-25b8e9445913") != 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': VHDX parent locator of type %s is not known", node->name, type);
    uint64_t count = load_le(item + 18, 2);
    for (uint64_t i = 0; i < count && 20 + (i + 1) * 12 <= len; i++) {
        const uint8_t *pair = item + 20 + i * 12;
        uint64_t key_at = load_le(pair, 4), value_at = load_le(pair + 4, 4);
        uint64_t key_len = load_le(pair + 8, 2), value_len = load_le(pair + 10, 2);
        if (!range_within(key_at, key_len, 0, len) || !range_within(value_at, value_len, 0, len))
            return refuse(node, err, "a text of the parent locator lies outside of it");
        cleanup_free char *key = import_windows_path(item + key_at, key_len, false);
        char **to = !key                                 ? NULL
                    : strcmp(key, "relative_path") == 0  ? &vhdx->parent
                    : strcmp(key, "parent_linkage") == 0 ? &vhdx->parent_linkage
                                                         : NULL;
        if (to && !*to)
            *to = import_windows_path(item + value_at, value_len, false);
    }
    return 0;
}

static int ignore(const struct block_node *node, struct vhdx *vhdx, const uint8_t *item, size_t len,
                  struct kv_error *err)
{
    return 0;
}

static const struct item {
    const char *guid, *name;
    size_t min_len;
    bool needed;
    int (*parse)(const struct block_node *node, struct vhdx *vhdx, const uint8_t *item, size_t len,
                 struct kv_error *err);
} items[] = {
    {"caa16737-fa36-4d43-b3b6-33f0aa44e76b", "file parameters", 8, true, parse_parameters},
    {"2fa54224-cd1b-4876-b211-5dbed83bf4b8", "virtual disk size", 8, true, parse_size},
    {"8141bf1d-a96f-4709-ba47-f233a8faab5f", "logical sector size", 4, true, parse_sector_size},
    {"cda348c7-445d-4471-9cc9-e9885251c556", "physical sector size", 4, false, ignore},
    {"beca12ab-b2e6-4523-93ef-c309e000c746", "page 83 data", 16, false, ignore},
    {"a8d35f2d-b30b-454d-abf7-d3d84834ab0c", "parent locator", 20, false, parse_locator},
};

static int take_item(const struct block_node *node, struct vhdx *vhdx, const struct region *region,
                     const uint8_t *entry, unsigned *found, struct kv_error *err)
{
    char text[GUID_TEXT_SIZE];
    uint64_t offset = load_le(entry + 16, 4), len = load_le(entry + 20, 4);
    unsigned i = 0;
    guid_text(entry, text);
    while (i < ARRAY_SIZE(items) && strcmp(items[i].guid, text) != 0)
        i++;
    if (i == ARRAY_SIZE(items)) {
        if (!(load_le(entry + 24, 4) & 4))
            return 0;
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': VHDX metadata item %s is required and not known", node->name,
                            text);
    }
    if (len < items[i].min_len || len > ITEM_SIZE_MAX || !range_within(offset, len, 0, region->len))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHDX metadata item '%s' of %" PRIu64 " bytes at %" PRIu64
                            " is not inside its region or has a wrong length",
                            node->name, items[i].name, len, offset);
    if (*found & 1u << i)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHDX metadata item '%s' is there twice", node->name,
                            items[i].name);
    *found |= 1u << i;
    cleanup_free uint8_t *item = malloc(len);
    if (!item || import_read_table(&vhdx->import, vhdx->file, region->offset + offset, item, len))
        return refuse(node, err, "the metadata cannot be read");
    return items[i].parse(node, vhdx, item, len, err);
}

static int read_items(const struct block_node *node, struct vhdx *vhdx, const struct region *region,
                      struct kv_error *err)
{
    unsigned found = 0;
    cleanup_free uint8_t *table = malloc(TABLE_SIZE);
    if (!table || region->len < TABLE_SIZE ||
        import_read_table(&vhdx->import, vhdx->file, region->offset, table, TABLE_SIZE) < 0 ||
        memcmp(table, "metadata", 8) != 0)
        return refuse(node, err, "there is no metadata table in the metadata region");
    uint64_t count = load_le(table + 10, 2);
    if (count > ENTRIES_MAX)
        return refuse(node, err, "the metadata table has more entries than fit it");
    for (uint64_t i = 0; i < count; i++) {
        int rc = take_item(node, vhdx, region, table + (i + 1) * ENTRY_SIZE, &found, err);
        if (rc < 0)
            return rc;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(items); i++) {
        if (items[i].needed && !(found & 1u << i))
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': VHDX metadata item '%s' is missing", node->name,
                                items[i].name);
    }
    return 0;
}

/* The table has an entry a payload block and, after each chunk of them, one of a sector bitmap. */
static int check_bat(const struct block_node *node, struct vhdx *vhdx, struct kv_error *err)
{
    if (vhdx->disk_size % vhdx->sector_size)
        return refuse(node, err, "the disk's size is not a multiple of its sector size");
    vhdx->chunk_blocks = CHUNK_SECTORS * vhdx->sector_size / vhdx->block_size;
    uint64_t blocks = (vhdx->disk_size + vhdx->block_size - 1) / vhdx->block_size;
    uint64_t chunks = (blocks + vhdx->chunk_blocks - 1) / vhdx->chunk_blocks;
    uint64_t entries = vhdx->has_parent ? chunks * (vhdx->chunk_blocks + 1)
                       : blocks         ? blocks + (blocks - 1) / vhdx->chunk_blocks
                                        : 0;
    if (entries * 8 > vhdx->bat_size)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHDX: a block table of %" PRIu64
                            " bytes is too small for a disk of %" PRIu64
                            " bytes, which needs %" PRIu64 " entries",
                            node->name, vhdx->bat_size, vhdx->disk_size, entries);
    return 0;
}

int vhdx_read_metadata(const struct block_node *node, struct vhdx *vhdx, struct kv_error *err)
{
    uint8_t header[HEADER_SIZE], signature[8];
    struct region regions[REGIONS] = {
        [REGION_BAT] = {.guid = "2dc27766-f623-4200-9d64-115e9bfd4a08"},
        [REGION_METADATA] = {.guid = "8b7ca206-4790-4b9a-b8fe-575f050f886e"},
    };
    int rc = import_read_header(node, node->file, 0, signature, sizeof(signature),
                                "the VHDX signature", err);
    if (rc == 0 && memcmp(signature, VHDX_SIGNATURE, 8) != 0)
        rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                          "'%s' is no VHDX image: it does not begin with 'vhdxfile'", node->name);
    if (rc == 0)
        rc = read_header(node, header, err);
    if (rc == 0)
        rc = replay_log(node, vhdx, header, err);
    if (rc == 0)
        rc = read_regions(node, vhdx, regions, err);
    if (rc == 0)
        rc = read_items(node, vhdx, &regions[REGION_METADATA], err);
    if (rc < 0)
        return rc;
    memcpy(vhdx->data_guid, header + 32, sizeof(vhdx->data_guid));
    vhdx->bat_offset = regions[REGION_BAT].offset;
    vhdx->bat_size = regions[REGION_BAT].len;
    return check_bat(node, vhdx, err);
}

bool vhdx_guid_is(const uint8_t guid[16], const char *braced)
{
    char text[GUID_TEXT_SIZE];
    guid_text(guid, text);
    return braced[0] == '{' && strncasecmp(braced + 1, text, strlen(text)) == 0 &&
           strcmp(braced + 1 + strlen(text), "}") == 0;
}
