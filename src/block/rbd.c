/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of a Ceph cluster: the protocol driver "rbd" over librados and librbd,
 * whose calls block, may come from any thread, and find their way back to a
 * cluster by themselves.
 */
#include <errno.h>
#include <inttypes.h>
#include <rbd/librbd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/description.h"
#include "block/drivers.h"
#include "block/library.h"
#include "block/rbd.h"

#define SECTOR 512u
#define TRANSFER_MAX MIB(64)

/* clang-format off */
#define RADOS_LIBRARY(X) \
    X(rados_create) X(rados_conf_read_file) X(rados_conf_set) X(rados_connect) \
    X(rados_shutdown) X(rados_ioctx_create) X(rados_ioctx_destroy) X(rados_ioctx_set_namespace)
#define RBD_LIBRARY(X) \
    X(rbd_open) X(rbd_open_read_only) X(rbd_close) X(rbd_get_size) X(rbd_read) X(rbd_write) \
    X(rbd_discard) X(rbd_flush) X(rbd_resize) X(rbd_write_zeroes) X(rbd_diff_iterate2)
/* clang-format on */

static struct {
#define X(name) __typeof__(name) *name;
    RADOS_LIBRARY(X) RBD_LIBRARY(X)
#undef X
} lib;

#define X(function) {#function, &lib.function},
static const struct library_symbol rados_symbols[] = {RADOS_LIBRARY(X){NULL, NULL}};
static const struct library_symbol rbd_symbols[] = {RBD_LIBRARY(X){NULL, NULL}};
#undef X

static struct library rados_library =
    LIBRARY("librados.so.2", "librados2", "Images of Ceph", rados_symbols);
static struct library rbd_library =
    LIBRARY("librbd.so.1", "librbd1", "Images of Ceph", rbd_symbols);

struct rbd_disk {
    struct rbd_address address;
    rados_t cluster;
    rados_ioctx_t pool;
    rbd_image_t image;
    atomic_bool written; /* since the last flush */
};

/* --------------------------------------------------------------------------- requests */

static int transfer(const struct rbd_disk *disk, bool write, uint64_t offset, char *buffer,
                    uint64_t len)
{
    while (len) {
        size_t part = MIN(len, TRANSFER_MAX);
        ssize_t n = write ? lib.rbd_write(disk->image, offset, part, buffer)
                          : lib.rbd_read(disk->image, offset, part, buffer);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return -EIO;
        offset += (uint64_t)n;
        buffer += n;
        len -= (uint64_t)n;
    }
    return 0;
}

/* An image may have any number of bytes; ours is rounded up. */
static uint64_t there(const struct rbd_disk *disk, uint64_t offset, uint64_t len)
{
    uint64_t size = 0;
    if (lib.rbd_get_size(disk->image, &size) < 0 || offset >= size)
        return 0;
    return MIN(len, size - offset);
}

static int rbd_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                      const struct iovec *iov, unsigned count)
{
    const struct rbd_disk *disk = node->state;
    uint64_t part = there(disk, offset, len);
    cleanup_free char *buffer = malloc(part + 1);
    int rc = buffer ? transfer(disk, false, offset, buffer, part) : -ENOMEM;
    if (rc == 0)
        iov_from_buffer(iov, count, 0, buffer, part);
    if (rc == 0 && part < len)
        iov_from_buffer(iov, count, part, NULL, len - part);
    return rc;
}

static int rbd_driver_flush(struct block_node *node)
{
    struct rbd_disk *disk = node->state;
    return atomic_exchange(&disk->written, false) ? lib.rbd_flush(disk->image) : 0;
}

static int after_write(struct block_node *node, int rc, unsigned flags)
{
    struct rbd_disk *disk = node->state;
    atomic_store(&disk->written, true);
    return rc == 0 && block_is_durable(node, flags & BLOCK_FUA) ? rbd_driver_flush(node) : rc;
}

static int rbd_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count, unsigned flags)
{
    struct rbd_disk *disk = node->state;
    uint64_t part = there(disk, offset, len);
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    cleanup_free char *buffer = malloc(len);
    if (!buffer)
        return -ENOMEM;
    iov_to_buffer(iov, count, 0, buffer, len);
    if (!buffer_is_zero(buffer + part, len - part))
        return -ENOSPC;
    return after_write(node, transfer(disk, true, offset, buffer, part), flags);
}

static int rbd_driver_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len,
                                   unsigned flags)
{
    struct rbd_disk *disk = node->state;
    uint64_t part = there(disk, offset, len);
    int how = flags & BLOCK_UNMAP ? 0 : RBD_WRITE_ZEROES_FLAG_THICK_PROVISION;
    if ((flags & BLOCK_NO_FALLBACK) && how)
        return -ENOTSUP;
    int rc = 0;
    while (part && rc == 0) {
        size_t step = MIN(part, (uint64_t)UINT32_MAX / 2);
        ssize_t n = lib.rbd_write_zeroes(disk->image, offset, step, how, 0);
        rc = n < 0 ? (int)n : 0;
        offset += step;
        part -= step;
    }
    return after_write(node, rc, flags);
}

static int rbd_driver_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct rbd_disk *disk = node->state;
    uint64_t part = there(disk, offset, len);
    int rc = 0;
    while (part && rc >= 0) {
        uint64_t step = MIN(part, (uint64_t)INT32_MAX);
        rc = lib.rbd_discard(disk->image, offset, step);
        offset += step;
        part -= step;
    }
    atomic_store(&disk->written, true);
    return rc < 0 ? rc : 0;
}

/* The first piece that the cluster has something of. */
struct first_piece {
    uint64_t offset, len;
    bool found, exists;
};

static int take_piece(uint64_t offset, size_t len, int exists, void *opaque)
{
    struct first_piece *first = opaque;
    if (first->found)
        return -ECANCELED; /* enough */
    *first = (struct first_piece){.offset = offset, .len = len, .found = true, .exists = exists};
    return 0;
}

static int rbd_driver_status(struct block_node *node, uint64_t offset, uint64_t len,
                             struct block_extent *out)
{
    const struct rbd_disk *disk = node->state;
    struct first_piece first = {0};
    uint64_t part = there(disk, offset, len);
    out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET;
    out->host_offset = offset;
    out->file = node;
    int rc =
        part ? lib.rbd_diff_iterate2(disk->image, NULL, offset, part, 1, 0, take_piece, &first) : 0;
    if (rc < 0 && rc != -ECANCELED)
        return rc;
    bool data = first.found && first.exists && first.offset <= offset;
    out->flags |= data ? BLOCK_STATUS_DATA : BLOCK_STATUS_ZERO;
    out->len = !first.found   ? len
               : data         ? MIN(len, first.offset + first.len - offset)
               : first.exists ? MIN(len, first.offset - offset)
                              : MIN(len, first.offset + first.len - offset);
    return out->len ? 0 : -EIO;
}

/* ------------------------------------------------------------------------ open, close */

static int connect_cluster(struct rbd_disk *disk, struct kv_error *err)
{
    const struct rbd_address *a = &disk->address;
    int rc = lib.rados_create(&disk->cluster, a->user);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "rbd: error initializing");
    /* Without a file of its own the library's places; that there is none is fine. */
    rc = lib.rados_conf_read_file(disk->cluster, a->conf);
    if (rc < 0 && a->conf)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "rbd: error reading conf file %s", a->conf);
    for (unsigned i = 0; i < a->setting_count; i++) {
        rc = lib.rados_conf_set(disk->cluster, a->settings[i].name, a->settings[i].value);
        if (rc < 0)
            return kv_error_errno(err, KV_ERR_BLOCK, -rc, "rbd: invalid conf option %s",
                                  a->settings[i].name);
    }
    rc = lib.rados_connect(disk->cluster);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "rbd: error connecting");
    rc = lib.rados_ioctx_create(disk->cluster, a->pool, &disk->pool);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "rbd: error opening pool %s", a->pool);
    if (a->namespace)
        lib.rados_ioctx_set_namespace(disk->pool, a->namespace);
    return 0;
}

static void disk_free(struct rbd_disk *disk)
{
    if (disk->image)
        lib.rbd_close(disk->image);
    if (disk->pool)
        lib.rados_ioctx_destroy(disk->pool);
    if (disk->cluster)
        lib.rados_shutdown(disk->cluster);
    rbd_address_free(&disk->address);
    free(disk);
}

static void rbd_driver_close(struct block_node *node)
{
    if (!node->info.readonly && node->options.cache != BLOCK_CACHE_UNSAFE)
        rbd_driver_flush(node);
    disk_free(node->state);
}

static int rbd_driver_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    const struct rbd_disk *disk = node->state;
    int rc = lib.rbd_get_size(disk->image, size);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': size of the image", node->name);
    if (*size > INT64_MAX - SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG, "'%s' has %" PRIu64 " bytes", node->name,
                            *size);
    *size = ALIGN_UP(*size, (uint64_t)SECTOR);
    return 0;
}

static int rbd_driver_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    const struct rbd_disk *disk = node->state;
    int rc = lib.rbd_resize(disk->image, size);
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be made %" PRIu64 " bytes",
                                   node->name, size)
                  : 0;
}

static int64_t rbd_allocated_size(const struct block_node *node)
{
    return -ENOTSUP;
}

static int open_image(struct block_node *node, struct rbd_disk *disk,
                      const struct block_open_options *options, struct kv_error *err)
{
    const struct rbd_address *a = &disk->address;
    if (a->snapshot && !options->readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EROFS,
                            "rbd: a snapshot is read-only; it can be opened so");
    int rc = connect_cluster(disk, err);
    if (rc < 0)
        return rc;
    rc = options->readonly ? lib.rbd_open_read_only(disk->pool, a->image, &disk->image, a->snapshot)
                           : lib.rbd_open(disk->pool, a->image, &disk->image, NULL);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "rbd: error reading header from %s",
                              a->image);
    return rbd_driver_get_size(node, &node->info.size, err);
}

static int rbd_driver_open(struct block_node *node, const struct block_open_options *options,
                           struct kv_error *err)
{
    struct rbd_disk *disk = calloc(1, sizeof(*disk));
    if (!disk)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    node->state = disk;
    int rc = rbd_address_parse(&disk->address, options, err);
    if (rc == 0)
        rc = library_load(&rados_library, err);
    if (rc == 0)
        rc = library_load(&rbd_library, err);
    if (rc == 0)
        rc = open_image(node, disk, options, err);
    if (rc < 0) {
        disk_free(disk);
        return rc;
    }
    node->info = (struct block_info){
        .size = node->info.size,
        .request_alignment = 1,
        .logical_block = SECTOR,
        .physical_block = 4096,
        .readonly = options->readonly,
        .can_discard = options->discard && !options->readonly,
        .can_write_zeroes = !options->readonly,
        .discard_alignment = 4096,
        .volatile_cache =
            options->cache == BLOCK_CACHE_WRITEBACK || options->cache == BLOCK_CACHE_NONE,
    };
    return 0;
}

static const char *const prefixes[] = {"rbd:", NULL};

const struct block_driver block_rbd_driver = {
    .name = "rbd",
    .keys = rbd_keys,
    .is_protocol = true,
    .prefixes = prefixes,
    .open = rbd_driver_open,
    .close = rbd_driver_close,
    .get_size = rbd_driver_get_size,
    .resize = rbd_driver_resize,
    .allocated_size = rbd_allocated_size,
    .preadv = rbd_preadv,
    .pwritev = rbd_pwritev,
    .write_zeroes = rbd_driver_write_zeroes,
    .discard = rbd_driver_discard,
    .flush = rbd_driver_flush,
    .status = rbd_driver_status,
};
