/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of volumes that are there: other sizes, wiped, removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "block/driver.h"
#include "daemon/storage/internal.h"

#define SECTOR 512u
#define WIPE_PIECE KIB(256)

static int system_error(struct kv_error *err, int code, const char *what, const char *path)
{
    return storage_error(err, VIR_ERR_SYSTEM_ERROR, "%s '%s': %s", what, path, strerror(code));
}

/* ----------------------------------------------------------------------------- resizing */

static int resize_raw(const struct model_volume *config, uint64_t capacity, unsigned flags,
                      struct kv_error *err)
{
    cleanup_fd int fd = open(config->path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return system_error(err, errno, "Failed to open", config->path);
    int r = image_lock(fd, config->path, false, true, err);
    if (r < 0)
        return r;
    if (ftruncate(fd, (off_t)capacity) < 0)
        return system_error(err, errno, "Failed to truncate file", config->path);
    int code =
        flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE ? posix_fallocate(fd, 0, (off_t)capacity) : 0;
    return code ? system_error(err, code, "Failed to pre-allocate space for file", config->path)
                : 0;
}

static int resize_image(const struct model_volume *config, uint64_t capacity, struct kv_error *err)
{
    struct block_node *node;
    const struct block_open_options options = {
        .fd = -1,
        .path = config->path,
        .format = config->format,
        .no_backing = true,
        .no_io = true,
        .aio = BLOCK_AIO_THREADS,
    };
    int r = block_open(&node, &options, err);
    if (r < 0)
        return r;
    r = block_resize(node, ALIGN_UP(capacity, (uint64_t)SECTOR), err);
    if (r == 0 && (r = block_flush(node)) < 0)
        system_error(err, -r, "cannot write", config->path);
    block_close(node);
    return r;
}

int image_resize(const struct model_volume *config, uint64_t capacity, unsigned flags,
                 struct kv_error *err)
{
    if (capacity > INT64_MAX)
        return storage_error(err, VIR_ERR_OVERFLOW, "value too large: %ju", (uintmax_t)capacity);
    bool raw = strcmp(config->format, "raw") == 0 || strcmp(config->format, "iso") == 0;
    if (config->type == VIR_STORAGE_VOL_DIR)
        return storage_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "'%s' is a directory",
                             config->path);
    if (config->luks && raw)
        return storage_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "resizing an encrypted volume");
    if (!raw && (flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE))
        return storage_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                             "preallocate is only supported for raw type volume");
    return raw ? resize_raw(config, capacity, flags, err) : resize_image(config, capacity, err);
}

/* ------------------------------------------------------------------------------- wiping */

static int check_algorithm(unsigned algorithm, struct kv_error *err)
{
    static const char *const names[] = {
        "zero",     "nnsa",      "dod",        "bsi",    "gutmann",
        "schneier", "pfitzner7", "pfitzner33", "random", "trim",
    };
    if (algorithm >= ARRAY_SIZE(names))
        return storage_error(err, VIR_ERR_INVALID_ARG, "wiping algorithm %u not supported",
                             algorithm);
    if (algorithm != VIR_STORAGE_VOL_WIPE_ALG_ZERO && algorithm != VIR_STORAGE_VOL_WIPE_ALG_RANDOM)
        return storage_error(err, VIR_ERR_ARGUMENT_UNSUPPORTED,
                             "'%s' algorithm not supported; 'zero' and 'random' are",
                             names[algorithm]);
    return 0;
}

static int overwrite(int fd, uint64_t size, bool random)
{
    cleanup_free uint8_t *piece = calloc(1, WIPE_PIECE);
    int r = piece ? 0 : -ENOMEM;
    for (uint64_t at = 0; at < size && r == 0;) {
        size_t len = MIN(WIPE_PIECE, size - at);
        for (size_t got = 0; random && got < len;) {
            ssize_t n = getrandom(piece + got, len - got, 0);
            got += n > 0 ? (size_t)n : 0;
        }
        r = fd_write_all(fd, piece, len);
        at += len;
    }
    return r < 0 ? r : fdatasync(fd) < 0 ? -errno : 0;
}

int image_wipe(const struct model_volume *config, unsigned algorithm, struct kv_error *err)
{
    struct stat st;
    int r = check_algorithm(algorithm, err);
    if (r < 0)
        return r;
    cleanup_fd int fd = open(config->path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return storage_error(err, VIR_ERR_SYSTEM_ERROR,
                             "Failed to open storage volume with path '%s': %s", config->path,
                             strerror(errno));
    r = image_lock(fd, config->path, false, false, err);
    if (r < 0)
        return r;
    bool sparse = (uint64_t)st.st_blocks * SECTOR < (uint64_t)st.st_size;
    if (sparse && algorithm == VIR_STORAGE_VOL_WIPE_ALG_ZERO)
        r = ftruncate(fd, 0) < 0 || ftruncate(fd, st.st_size) < 0 ? -errno : 0;
    else
        r = overwrite(fd, (uint64_t)st.st_size, algorithm == VIR_STORAGE_VOL_WIPE_ALG_RANDOM);
    return r < 0 ? system_error(err, -r, "Failed to wipe storage volume with path", config->path)
                 : 0;
}

/* ------------------------------------------------------------------------------ removing */

int image_remove(const struct model_volume *config, struct kv_error *err)
{
    if (config->type == VIR_STORAGE_VOL_DIR)
        return rmdir(config->path) < 0 && errno != ENOENT
                   ? system_error(err, errno, "cannot remove directory", config->path)
                   : 0;
    return unlink(config->path) < 0 && errno != ENOENT
               ? system_error(err, errno, "cannot unlink file", config->path)
               : 0;
}
