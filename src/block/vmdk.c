/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver for VMDK images: monolithic and split, sparse and flat, stream
 * optimized, and ESX's. See vmdk.h for its other files.
 */
#include "block/vmdk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "block/drivers.h"

#define DESCRIPTOR_MAX KIB(512)

/* Offsets in the header of a hosted sparse file. */
enum { AT_CAPACITY = 12, AT_DESCRIPTOR = 28, AT_DESCRIPTOR_SIZE = 36, HEADER_SIZE = 512 };

static void vmdk_close(struct block_node *node)
{
    struct vmdk *vmdk = node->state;
    for (size_t i = 0; i < vmdk->count; i++)
        block_close(vmdk->extents[i].child);
    import_destroy(&vmdk->import);
    pthread_mutex_destroy(&vmdk->grain_lock);
    free(vmdk->extents);
    free(vmdk->parent);
    free(vmdk->grain);
    free(vmdk);
}

/* ------------------------------------------------------------------- the descriptor */

static int refuse_part(const struct block_node *node, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        "'%s' is one of the files of a VMDK image; the small file that describes "
                        "them all is what has to be opened",
                        node->name);
}

static int read_descriptor(struct block_node *node, uint64_t offset, uint64_t len,
                           struct vmdk_descriptor *out, struct kv_error *err)
{
    if (len > DESCRIPTOR_MAX)
        return kv_error_set(
            err, KV_ERR_BLOCK, EFBIG, "'%s': a descriptor of %llu bytes; up to %llu are supported",
            node->name, (unsigned long long)len, (unsigned long long)DESCRIPTOR_MAX);
    cleanup_free char *text = calloc(1, len + 1);
    if (!text)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    int rc = import_read_header(node, node->file, offset, text, len, "the VMDK descriptor", err);
    if (rc == 0 && text[0] == '\0')
        rc = refuse_part(node, err);
    return rc < 0 ? rc : vmdk_parse_descriptor(node->name, text, out, err);
}

/* A sparse file on its own: the descriptor lies in it, and describes others if it has no disk
 * itself. */
static int open_sparse(struct block_node *node, struct vmdk *vmdk, struct vmdk_descriptor *out,
                       struct kv_error *err)
{
    uint8_t header[HEADER_SIZE];
    int rc =
        import_read_header(node, node->file, 0, header, sizeof(header), "the VMDK header", err);
    if (rc < 0)
        return rc;
    uint64_t at = load_le(header + AT_DESCRIPTOR, 8), len = load_le(header + AT_DESCRIPTOR_SIZE, 8);
    if (memcmp(header, VMDK_MAGIC, 4) != 0 || at == 0 || len == 0)
        return refuse_part(node, err);
    uint64_t end = IMPORT_SIZE_MAX / IMPORT_SECTOR;
    if (at > end || len > end)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': the VMDK descriptor lies beyond the end of the file",
                            node->name);
    rc = read_descriptor(node, at * IMPORT_SECTOR, len * IMPORT_SECTOR, out, err);
    if (rc < 0)
        return rc;
    return load_le(header + AT_CAPACITY, 8) ? vmdk_open_single(node, vmdk, err)
                                            : vmdk_open_lines(node, vmdk, out, err);
}

static int open_image(struct block_node *node, struct vmdk *vmdk, struct vmdk_descriptor *out,
                      struct kv_error *err)
{
    uint8_t magic[4];
    int rc = import_read_header(node, node->file, 0, magic, sizeof(magic), "the VMDK image", err);
    if (rc < 0)
        return rc;
    if (memcmp(magic, VMDK_MAGIC, 4) == 0 || memcmp(magic, VMDK_COWD_MAGIC, 4) == 0)
        return open_sparse(node, vmdk, out, err);
    rc = read_descriptor(node, 0, block_size(node->file), out, err);
    return rc < 0 ? rc : vmdk_open_lines(node, vmdk, out, err);
}

/* --------------------------------------------------------------------------- parent */

static int open_parent(struct block_node *node, struct vmdk *vmdk,
                       const struct block_open_options *options, const char *path,
                       struct kv_error *err)
{
    if (!path[0] && vmdk->parent_cid == VMDK_NO_PARENT)
        return 0;
    if (!path[0])
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' has a parent (CID %08x), but does not say where", node->name,
                            vmdk->parent_cid);
    vmdk->parent = strdup(path);
    if (!vmdk->parent)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    int rc = import_open_parent(node, options, path, "vmdk", err);
    if (rc < 0 || !node->backing || node->backing->driver != &block_vmdk_driver)
        return rc;
    const struct vmdk *parent = node->backing->state;
    if (parent->cid != vmdk->parent_cid)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': its parent had CID %08x, '%s' has %08x: it is another image, or "
                            "was changed since",
                            node->name, vmdk->parent_cid, node->backing->name, parent->cid);
    return 0;
}

/* ----------------------------------------------------------------------------- open */

static uint32_t common_grain_size(const struct vmdk *vmdk)
{
    uint64_t size = vmdk->extents[0].grain_size;
    for (size_t i = 1; i < vmdk->count; i++)
        size = vmdk->extents[i].grain_size == size ? size : 0;
    return (uint32_t)size;
}

static const struct import_ops vmdk_ops = {.find = vmdk_find, .read_packed = vmdk_read_packed};

static int vmdk_open(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct vmdk_descriptor descriptor = {0};
    struct vmdk *vmdk = calloc(1, sizeof(*vmdk));
    if (!vmdk)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    import_init(&vmdk->import, &vmdk_ops);
    pthread_mutex_init(&vmdk->grain_lock, NULL);
    node->state = vmdk;
    int rc = open_image(node, vmdk, &descriptor, err);
    if (rc == 0) {
        const struct vmdk_extent *last = &vmdk->extents[vmdk->count - 1];
        memcpy(vmdk->create_type, descriptor.create_type, sizeof(vmdk->create_type));
        vmdk->cid = descriptor.cid;
        vmdk->parent_cid = descriptor.parent_cid;
        rc = import_set_info(node, last->start + last->len, common_grain_size(vmdk), err);
    }
    if (rc == 0)
        rc = open_parent(node, vmdk, options, descriptor.parent, err);
    free(descriptor.lines);
    if (rc < 0)
        vmdk_close(node);
    return rc;
}

/* -------------------------------------------------------------------------- answers */

static int64_t vmdk_allocated_size(const struct block_node *node)
{
    const struct vmdk *vmdk = node->state;
    int64_t sum = block_allocated_size(node->file);
    for (size_t i = 0; i < vmdk->count && sum >= 0; i++) {
        int64_t size = vmdk->extents[i].child ? block_allocated_size(vmdk->extents[i].child) : 0;
        sum = size < 0 ? size : sum + size;
    }
    return sum;
}

/* Members stand in the order in which qemu-img prints them. */
static json_t *extent_info(const struct block_node *node, const struct vmdk_extent *extent)
{
    json_t *info = json_object();
    const char *name = extent->child ? extent->child->name : extent->file ? node->file->name : "";
    if (extent->compressed)
        json_object_set_new(info, "compressed", json_true());
    json_object_set_new(info, "virtual-size", json_integer((json_int_t)extent->len));
    json_object_set_new(info, "filename", json_string(name));
    if (extent->grain_size)
        json_object_set_new(info, "cluster-size", json_integer((json_int_t)extent->grain_size));
    json_object_set_new(info, "format", json_string(extent->type));
    return info;
}

static json_t *vmdk_specific_info(struct block_node *node)
{
    const struct vmdk *vmdk = node->state;
    json_t *info = json_object(), *extents = json_array();
    json_object_set_new(info, "cid", json_integer(vmdk->cid));
    json_object_set_new(info, "parent-cid", json_integer(vmdk->parent_cid));
    json_object_set_new(info, "create-type", json_string(vmdk->create_type));
    for (size_t i = 0; i < vmdk->count; i++)
        json_array_append_new(extents, extent_info(node, &vmdk->extents[i]));
    json_object_set_new(info, "extents", extents);
    return info;
}

static const char *vmdk_backing_path(const struct block_node *node)
{
    const struct vmdk *vmdk = node->state;
    return vmdk->parent;
}

static const char *vmdk_backing_format(const struct block_node *node)
{
    return vmdk_backing_path(node) ? "vmdk" : NULL;
}

static const struct block_key vmdk_keys[] = {{"backing", BLOCK_KEY_ANY}, {NULL, 0}};

const struct block_driver block_vmdk_driver = {
    .name = "vmdk",
    .keys = vmdk_keys,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .get_size = import_get_size,
    .allocated_size = vmdk_allocated_size,
    .preadv = import_preadv,
    .status = import_status,
    .specific_info = vmdk_specific_info,
    .backing_path = vmdk_backing_path,
    .backing_format = vmdk_backing_format,
};
