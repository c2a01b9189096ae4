/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VirtualBox's VDI images, version 1.1, dynamic and static: a header, a map of
 * 32-bit block numbers, blocks in any order. Read only. Differencing images are
 * refused: they name their parents by UUID, which only VirtualBox can find.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/drivers.h"
#include "block/import.h"

#define VERSION_1_1 0x00010001u
#define BLOCK_FREE UINT32_C(0xffffffff)
#define BLOCK_ZERO UINT32_C(0xfffffffe)
#define BLOCK_SIZE_MAX (UINT32_C(256) << 20)

enum { TYPE_DYNAMIC = 1, TYPE_STATIC = 2 };

/* Offsets in the header, little-endian fields. */
enum {
    AT_VERSION = 68,
    AT_TYPE = 76,
    AT_MAP_OFFSET = 340,
    AT_DATA_OFFSET = 344,
    AT_SECTOR_SIZE = 360,
    AT_DISK_SIZE = 368,
    AT_BLOCK_SIZE = 376,
    AT_BLOCK_EXTRA = 380,
    AT_BLOCKS = 384,
    AT_LINK_UUID = 424,
    AT_PARENT_UUID = 440,
};

struct vdi {
    struct import import;
    uint64_t map_offset, data_offset; /* bytes in the file */
    uint32_t block_size;
    bool fixed;
};

static uint32_t field(const uint8_t *header, unsigned at)
{
    return (uint32_t)load_le(header + at, 4);
}

static int refuse(const struct block_node *node, struct kv_error *err, const char *what,
                  uint64_t found, const char *accepted)
{
    return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP, "'%s': VDI header: %s %" PRIu64 "; %s",
                        node->name, what, found, accepted);
}

static int check_header(const struct block_node *node, const uint8_t *header, struct kv_error *err)
{
    uint64_t disk = load_le(header + AT_DISK_SIZE, 8);
    uint64_t block = field(header, AT_BLOCK_SIZE), blocks = field(header, AT_BLOCKS);
    uint32_t type = field(header, AT_TYPE), version = field(header, AT_VERSION);
    if (field(header, VDI_AT_SIGNATURE) != VDI_SIGNATURE)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' is no VDI image: its signature is 0x%08" PRIx32, node->name,
                            field(header, VDI_AT_SIGNATURE));
    if (version != VERSION_1_1)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': VDI version %u.%u; version 1.1 is supported", node->name,
                            version >> 16, version & 0xffff);
    if (!buffer_is_zero(header + AT_LINK_UUID, 16) || !buffer_is_zero(header + AT_PARENT_UUID, 16))
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s' is a differencing VDI image, whose parent only VirtualBox can "
                            "find; 'VBoxManage clonemedium' makes one image of the two",
                            node->name);
    if (type != TYPE_DYNAMIC && type != TYPE_STATIC)
        return refuse(node, err, "image type", type, "1 (dynamic) and 2 (static) are supported");
    if (field(header, AT_SECTOR_SIZE) != IMPORT_SECTOR)
        return refuse(node, err, "sector size", field(header, AT_SECTOR_SIZE), "512 is supported");
    if (!is_power_of_two(block) || block < IMPORT_SECTOR || block > BLOCK_SIZE_MAX)
        return refuse(node, err, "block size", block,
                      "powers of two from 512 to 268435456 are supported");
    if (field(header, AT_BLOCK_EXTRA))
        return refuse(node, err, "extra bytes in front of a block", field(header, AT_BLOCK_EXTRA),
                      "0 is supported");
    if (disk > blocks * block)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VDI header: a disk of %" PRIu64 " bytes, but a map of %" PRIu64
                            " blocks of %" PRIu64,
                            node->name, disk, blocks, block);
    if (!range_within(field(header, AT_MAP_OFFSET), blocks * 4, 0, block_size(node->file)))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VDI header: the map of %" PRIu64
                            " blocks lies beyond the end of the file",
                            node->name, blocks);
    return 0;
}

static void vdi_close(struct block_node *node)
{
    struct vdi *vdi = node->state;
    import_destroy(&vdi->import);
    free(vdi);
}

static int vdi_find(struct block_node *node, uint64_t offset, struct import_extent *out)
{
    struct vdi *vdi = node->state;
    uint8_t entry[4];
    uint64_t block = offset / vdi->block_size, in_block = offset % vdi->block_size;
    int rc = import_read_table(&vdi->import, node->file, vdi->map_offset + block * 4, entry, 4);
    if (rc < 0)
        return rc;
    uint64_t number = load_le(entry, 4);
    out->len = vdi->block_size - in_block;
    if (number == BLOCK_FREE || number == BLOCK_ZERO) {
        out->kind = IMPORT_ZERO;
        return 0;
    }
    out->kind = IMPORT_DATA;
    out->whole_file = vdi->fixed;
    out->file = node->file;
    out->host = vdi->data_offset + number * vdi->block_size + in_block;
    return 0;
}

static const struct import_ops vdi_ops = {.find = vdi_find};

static int vdi_open(struct block_node *node, const struct block_open_options *options,
                    struct kv_error *err)
{
    uint8_t header[VDI_HEADER_SIZE];
    int rc = import_read_header(node, node->file, 0, header, sizeof(header), "the VDI header", err);
    if (rc == 0)
        rc = check_header(node, header, err);
    if (rc == 0)
        rc = import_set_info(node, load_le(header + AT_DISK_SIZE, 8), field(header, AT_BLOCK_SIZE),
                             err);
    if (rc < 0)
        return rc;
    struct vdi *vdi = calloc(1, sizeof(*vdi));
    if (!vdi)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    import_init(&vdi->import, &vdi_ops);
    vdi->map_offset = field(header, AT_MAP_OFFSET);
    vdi->data_offset = field(header, AT_DATA_OFFSET);
    vdi->block_size = field(header, AT_BLOCK_SIZE);
    vdi->fixed = field(header, AT_TYPE) == TYPE_STATIC;
    node->state = vdi;
    return 0;
}

const struct block_driver block_vdi_driver = {
    .name = "vdi",
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .get_size = import_get_size,
    .preadv = import_preadv,
    .status = import_status,
};
