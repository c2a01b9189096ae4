/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver for VHDX images: where a block lies after the block allocation
 * table ([MS-VHDX] 2.5), and of differencing images which of its sectors are
 * the parent's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/drivers.h"
#include "block/vhdx.h"

#define RUN_MAX 32768u /* sectors that are looked at in one piece */

/* States of payload blocks; what is not present, undefined or unmapped reads as zeros. */
enum {
    BLOCK_NOT_PRESENT = 0,
    BLOCK_UNDEFINED = 1,
    BLOCK_ZERO = 2,
    BLOCK_UNMAPPED = 3,
    BLOCK_UNMAPPED_095 = 5, /* of the specification's draft 0.95 */
    BLOCK_FULLY_PRESENT = 6,
    BLOCK_PARTIALLY_PRESENT = 7,
    BITMAP_PRESENT = 6,
};

static int read_bat(struct vhdx *vhdx, uint64_t index, unsigned *state, uint64_t *offset)
{
    uint8_t entry[8];
    int rc = import_read_table(&vhdx->import, vhdx->file, vhdx->bat_offset + index * 8, entry, 8);
    if (rc < 0)
        return rc;
    *state = load_le(entry, 8) & 7;
    *offset = ALIGN_DOWN(load_le(entry, 8), MIB(1));
    return 0;
}

/* Shortens the extent to sectors that all are here or all are the parent's. */
static int find_sectors(struct vhdx *vhdx, uint64_t offset, struct import_extent *out, bool *here)
{
    unsigned state;
    uint64_t bitmap, run = 0;
    uint64_t chunk_bytes = vhdx->chunk_blocks * vhdx->block_size, chunk = offset / chunk_bytes;
    int rc = read_bat(vhdx, chunk * (vhdx->chunk_blocks + 1) + vhdx->chunk_blocks, &state, &bitmap);
    if (rc < 0)
        return rc;
    if (state != BITMAP_PRESENT)
        return -EIO;
    uint64_t first = offset % chunk_bytes / vhdx->sector_size;
    uint64_t end = (offset % chunk_bytes + out->len) / vhdx->sector_size;
    rc = import_bit_run(&vhdx->import, vhdx->file, bitmap, first, MIN(end, first + RUN_MAX), false,
                        here, &run);
    out->len = run * vhdx->sector_size - offset % vhdx->sector_size;
    return rc;
}

static int vhdx_find(struct block_node *node, uint64_t offset, struct import_extent *out)
{
    struct vhdx *vhdx = node->state;
    unsigned state;
    uint64_t host;
    bool here = true;
    uint64_t block = offset / vhdx->block_size, in_block = offset % vhdx->block_size;
    int rc = read_bat(vhdx, block + block / vhdx->chunk_blocks, &state, &host);
    if (rc < 0)
        return rc;
    out->len = vhdx->block_size - in_block;
    switch (state) {
    case BLOCK_NOT_PRESENT:
        out->kind = vhdx->has_parent ? IMPORT_ABSENT : IMPORT_ZERO;
        return 0;
    case BLOCK_UNDEFINED:
    case BLOCK_ZERO:
    case BLOCK_UNMAPPED:
    case BLOCK_UNMAPPED_095:
        out->kind = IMPORT_ZERO;
        return 0;
    case BLOCK_PARTIALLY_PRESENT:
        if (!vhdx->has_parent)
            return -EIO;
        rc = find_sectors(vhdx, offset, out, &here);
        break;
    case BLOCK_FULLY_PRESENT:
        break;
    default:
        return -EIO;
    }
    out->kind = here ? IMPORT_DATA : IMPORT_ABSENT;
    out->file = node->file;
    out->host = host + in_block;
    /* In front of that lie the headers. */
    return rc < 0 ? rc : host < MIB(1) ? -EIO : 0;
}

static const struct import_ops vhdx_ops = {
    .find = vhdx_find,
    .patch = vhdx_patch,
    .is_patched = vhdx_is_patched,
};

static void vhdx_close(struct block_node *node)
{
    struct vhdx *vhdx = node->state;
    import_destroy(&vhdx->import);
    for (size_t i = 0; i < vhdx->patch_count; i++)
        free(vhdx->patches[i].data);
    free(vhdx->patches);
    free(vhdx->parent);
    free(vhdx->parent_linkage);
    free(vhdx);
}

static int open_parent(struct block_node *node, struct vhdx *vhdx,
                       const struct block_open_options *options, struct kv_error *err)
{
    if (!vhdx->parent)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' is a differencing VHDX image that does not say where its parent "
                            "lies from it",
                            node->name);
    int rc = import_open_parent(node, options, vhdx->parent, "vhdx", err);
    if (rc < 0 || !node->backing || node->backing->driver != &block_vhdx_driver)
        return rc;
    const struct vhdx *parent = node->backing->state;
    if (!vhdx->parent_linkage || !vhdx_guid_is(parent->data_guid, vhdx->parent_linkage))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': its parent was written with identity %s, which '%s' does not "
                            "have: it is another image, or was changed since",
                            node->name, vhdx->parent_linkage ? vhdx->parent_linkage : "none",
                            node->backing->name);
    return 0;
}

static int vhdx_open(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct vhdx *vhdx = calloc(1, sizeof(*vhdx));
    if (!vhdx)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    import_init(&vhdx->import, &vhdx_ops);
    vhdx->file = node->file;
    node->state = vhdx;
    int rc = vhdx_read_metadata(node, vhdx, err);
    if (rc == 0)
        rc = import_set_info(node, vhdx->disk_size, vhdx->block_size, err);
    if (rc == 0 && vhdx->has_parent)
        rc = open_parent(node, vhdx, options, err);
    if (rc < 0) {
        vhdx_close(node);
        return rc;
    }
    node->info.logical_block = vhdx->sector_size;
    node->info.physical_block = MAX(node->info.physical_block, vhdx->sector_size);
    return 0;
}

static const char *vhdx_backing_path(const struct block_node *node)
{
    const struct vhdx *vhdx = node->state;
    return vhdx->has_parent ? vhdx->parent : NULL;
}

static const char *vhdx_backing_format(const struct block_node *node)
{
    return vhdx_backing_path(node) ? "vhdx" : NULL;
}

static const struct block_key vhdx_keys[] = {{"backing", BLOCK_KEY_ANY}, {NULL, 0}};

const struct block_driver block_vhdx_driver = {
    .name = "vhdx",
    .keys = vhdx_keys,
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .get_size = import_get_size,
    .preadv = import_preadv,
    .status = import_status,
    .backing_path = vhdx_backing_path,
    .backing_format = vhdx_backing_format,
};
