/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The raw format: the bytes of its file as they are, or a window of them
 * (offset and size, as QEMU's raw driver has them in a description).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/description.h"
#include "block/drivers.h"

#define SECTOR 512u

struct raw_state {
    uint64_t offset, size;
    bool bounded; /* size was given: the end of the file does not matter */
};

struct raw_create {
    uint64_t size;
    int preallocation;
};

static int read_window(const struct block_node *node, const json_t *description,
                       struct raw_state *raw, struct kv_error *err)
{
    uint64_t file = block_size(node->file);
    raw->offset = 0;
    description_number(description, "offset", &raw->offset);
    if (raw->offset > file)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': offset %" PRIu64 " lies beyond the end of %" PRIu64 " bytes",
                            node->name, raw->offset, file);
    raw->size = file - raw->offset;
    raw->bounded = description_number(description, "size", &raw->size);
    if (raw->size % SECTOR || (raw->offset && raw->offset % SECTOR))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': offset and size of a raw window are multiples of 512",
                            node->name);
    if (raw->size > file - raw->offset)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': a window of %" PRIu64 " bytes at %" PRIu64
                            " reaches beyond the end of %" PRIu64 " bytes",
                            node->name, raw->size, raw->offset, file);
    return 0;
}

static int raw_open(struct block_node *node, const struct block_open_options *options,
                    struct kv_error *err)
{
    struct raw_state window = {0};
    int rc = read_window(node, options->description, &window, err);
    if (rc < 0)
        return rc;
    struct raw_state *raw = malloc(sizeof(*raw));
    if (!raw)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    *raw = window;
    node->state = raw;
    node->info = node->file->info;
    node->info.size = raw->size;
    return 0;
}

static void raw_close(struct block_node *node)
{
    free(node->state);
}

static int raw_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    struct raw_state *raw = node->state;
    if (!raw->bounded) {
        int rc = block_refresh(node->file, err);
        if (rc < 0)
            return rc;
        uint64_t file = block_size(node->file);
        __atomic_store_n(&raw->size, file - MIN(raw->offset, file), __ATOMIC_RELEASE);
    }
    *size = __atomic_load_n(&raw->size, __ATOMIC_ACQUIRE);
    return 0;
}

static int raw_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    const struct raw_state *raw = node->state;
    if (raw->bounded)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s' is a window of fixed size and cannot be resized", node->name);
    return block_resize(node->file, raw->offset + size, err);
}

static int raw_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                      const struct iovec *iov, unsigned count)
{
    const struct raw_state *raw = node->state;
    return block_preadv(node->file, raw->offset + offset, len, iov, count);
}

static int raw_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count, unsigned flags)
{
    const struct raw_state *raw = node->state;
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    return block_pwritev(node->file, raw->offset + offset, len, iov, count, flags);
}

static int raw_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    const struct raw_state *raw = node->state;
    return block_write_zeroes(node->file, raw->offset + offset, len, flags);
}

static int raw_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    const struct raw_state *raw = node->state;
    return block_discard(node->file, raw->offset + offset, len);
}

static int raw_flush(struct block_node *node)
{
    return block_flush(node->file);
}

static int raw_status(struct block_node *node, uint64_t offset, uint64_t len,
                      struct block_extent *out)
{
    const struct raw_state *raw = node->state;
    int rc = block_status(node->file, raw->offset + offset, len, out);
    if (rc == 0) {
        out->flags |= BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET;
        out->host_offset = raw->offset + offset;
        out->file = node->file;
    }
    return rc;
}

static void raw_map(struct block_node *node, const struct block_request *request,
                    struct block_mapping *out)
{
    const struct raw_state *raw = node->state;
    out->kind = BLOCK_MAP_HOST;
    out->host_offset = raw->offset + request->offset;
}

enum preallocation { PREALLOCATION_OFF, PREALLOCATION_FALLOC, PREALLOCATION_FULL };

static const char *const preallocation_names[] = {"off", "falloc", "full", NULL};

static const struct option_spec raw_options[] = {
    OPTION(SIZE, struct raw_create, size, .help = "Virtual disk size"),
    OPTION(ENUM, struct raw_create, preallocation, .values = preallocation_names,
           .help = "Preallocation mode (allowed values: off, falloc, full)"),
    OPTION_END,
};

static int write_zeros(int fd, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pwrite(fd, block_zeros(), MIN(BLOCK_ZEROS_SIZE, size - at), (off_t)at);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            at += (uint64_t)n;
    }
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int preallocate(int fd, uint64_t size, int preallocation)
{
    if (preallocation == PREALLOCATION_FULL)
        return write_zeros(fd, size);
    if (preallocation == PREALLOCATION_FALLOC && size)
        return fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
    return 0;
}

static int raw_create(const char *path, const void *opaque, struct kv_error *err)
{
    const struct raw_create *config = opaque;
    uint64_t size = ALIGN_UP(config->size, SECTOR);
    int rc = block_create_file(path, size, err);
    if (rc < 0 || config->preallocation == PREALLOCATION_OFF)
        return rc;
    cleanup_fd int fd = open(path, O_RDWR | O_CLOEXEC);
    rc = fd < 0 ? -errno : preallocate(fd, size, config->preallocation);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': %" PRIu64 " bytes cannot be allocated",
                              path, size);
    return 0;
}

static int raw_measure(const void *opaque, struct block_node *source, struct block_measure *out,
                       struct kv_error *err)
{
    const struct raw_create *config = opaque;
    uint64_t size = source ? block_size(source) : ALIGN_UP(config->size, SECTOR);
    *out = (struct block_measure){size, size, UINT64_MAX};
    return 0;
}

static const struct block_key raw_keys[] = {
    {"offset", BLOCK_KEY_NUMBER},
    {"size", BLOCK_KEY_NUMBER},
    {NULL, 0},
};

const struct block_driver block_raw_driver = {
    .name = "raw",
    .keys = raw_keys,
    .open = raw_open,
    .close = raw_close,
    .get_size = raw_get_size,
    .resize = raw_resize,
    .preadv = raw_preadv,
    .pwritev = raw_pwritev,
    .write_zeroes = raw_write_zeroes,
    .discard = raw_discard,
    .flush = raw_flush,
    .status = raw_status,
    .map = raw_map,
    .create_options = raw_options,
    .create_config_size = sizeof(struct raw_create),
    .create = raw_create,
    .measure = raw_measure,
};
