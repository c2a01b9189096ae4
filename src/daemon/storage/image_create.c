/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New files and directories of pools, empty or as copies of others. The file is made before the
 * engine is asked, so that it is new for sure and has its owner before it has contents; when
 * anything fails it is removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/convert.h"
#include "block/driver.h"
#include "block/image_create.h"
#include "block/secret.h"
#include "daemon/secret/secret.h"
#include "daemon/storage/internal.h"

#define FILE_MODE 0600
#define DIRECTORY_MODE 0700
#define COPY_WORKERS 4
#define SPARSE 4096
#define CHAIN_MAX 200 /* images over images */

/* The passphrase of one image, known to the engine while it is worked on. */
struct key {
    char id[32]; /* "": none */
};

static int key_add(struct key *key, const struct model_volume *config, struct kv_error *err)
{
    static atomic_uint counter;
    uint8_t *value;
    size_t len;
    key->id[0] = '\0';
    if (!config->luks)
        return 0;
    int r = secret_find_value(config->secret_uuid, "volume",
                              config->secret_usage ? config->secret_usage : config->path, &value,
                              &len, err);
    if (r < 0)
        return r;
    snprintf(key->id, sizeof(key->id), "volume%u", atomic_fetch_add(&counter, 1));
    r = secret_add(key->id, value, len, err);
    secret_wipe(value, len);
    return r;
}

static void key_remove(struct key *key)
{
    if (key->id[0])
        secret_remove(key->id);
}

/* -------------------------------------------------------------------- the file itself */

static int system_error(struct kv_error *err, int code, const char *what, const char *path)
{
    return storage_error(err, VIR_ERR_SYSTEM_ERROR, "%s '%s': %s", what, path, strerror(code));
}

static int set_owner(int fd, const struct model_volume *config, mode_t fallback,
                     struct kv_error *err)
{
    const struct model_permissions *wanted = &config->permissions;
    mode_t mode = wanted->mode != STORAGE_UNSET ? (mode_t)wanted->mode : fallback;
    if ((wanted->owner != STORAGE_UNSET || wanted->group != STORAGE_UNSET) &&
        fchown(fd, (uid_t)wanted->owner, (gid_t)wanted->group) < 0)
        return system_error(err, errno, "cannot set owner and group of", config->path);
    if (fchmod(fd, mode) < 0)
        return system_error(err, errno, "cannot set mode of", config->path);
    return 0;
}

/* A wish for file systems that copy on write; others have nothing to turn off. */
static void set_nocow(int fd)
{
    int flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

static int already_exists(const struct model_volume *config, struct kv_error *err)
{
    return storage_error(err, VIR_ERR_OPERATION_INVALID, "volume target path '%s' already exists",
                         config->path);
}

static int make_file(const struct model_volume *config, int *out, struct kv_error *err)
{
    int fd = open(config->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0)
        return errno == EEXIST ? already_exists(config, err)
                               : system_error(err, errno, "Failed to create file", config->path);
    if (config->nocow)
        set_nocow(fd);
    int r = set_owner(fd, config, FILE_MODE, err);
    if (r < 0) {
        close(fd);
        unlink(config->path);
        return r;
    }
    *out = fd;
    return 0;
}

static int make_directory(const struct model_volume *config, struct kv_error *err)
{
    if (mkdir(config->path, DIRECTORY_MODE) < 0)
        return errno == EEXIST
                   ? already_exists(config, err)
                   : system_error(err, errno, "failed to create directory", config->path);
    cleanup_fd int fd = open(config->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? system_error(err, errno, "failed to create directory", config->path)
                   : set_owner(fd, config, DIRECTORY_MODE, err);
    if (r < 0)
        rmdir(config->path);
    return r;
}

/* ----------------------------------------------------------------------- what is asked */

static bool is_plain(const struct model_volume *config)
{
    return (strcmp(config->format, "raw") == 0 || strcmp(config->format, "iso") == 0) &&
           !config->luks;
}

static int check_config(const struct model_volume *config, unsigned flags, struct kv_error *err)
{
    bool raw = strcmp(config->format, "raw") == 0 || strcmp(config->format, "iso") == 0;
    bool qcow2 = strcmp(config->format, "qcow2") == 0;
    if (!raw && !qcow2)
        return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "new volumes of format '%s'; 'raw', 'iso', 'qcow2' and 'dir' are "
                             "supported",
                             config->format);
    if (raw && (flags & VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA))
        return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "metadata preallocation is not supported for raw volumes");
    if (raw && config->backing_path)
        return storage_error(err, VIR_ERR_NO_SUPPORT,
                             "backing storage not supported for raw volumes");
    if (raw && (config->compat || config->cluster_size || config->has_features))
        return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "compat, clusterSize and features are of qcow2 volumes; this one is "
                             "'%s'",
                             config->format);
    return 0;
}

/* Size of the image that lies under a new one, in its own format: what it says of others is not
 * asked. */
static int backing_size(const struct model_volume *config, uint64_t *size, struct kv_error *err)
{
    cleanup_free char *path = block_resolve_path(config->path, config->backing_path);
    struct block_node *node;
    if (!path)
        return storage_no_memory(err);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return system_error(err, errno, "inaccessible backing store volume", path);
    const struct block_open_options options = {
        .fd = fd,
        .format = config->backing_format ? config->backing_format : "raw",
        .readonly = true,
        .unlocked = true,
        .no_backing = true,
        .no_io = true,
        .aio = BLOCK_AIO_THREADS,
    };
    int r = block_open(&node, &options, err);
    if (r < 0)
        return kv_error_prefix(err, "backing store volume '%s'", path);
    *size = block_get_info(node)->size;
    block_close(node);
    return 0;
}

/* ----------------------------------------------------------------------- empty images */

static int allocate(int fd, const struct model_volume *config, struct kv_error *err)
{
    uint64_t len = MIN(config->allocation, config->capacity);
    if (ftruncate(fd, (off_t)config->capacity) < 0)
        return system_error(err, errno, "cannot extend file", config->path);
    int code = len ? posix_fallocate(fd, 0, (off_t)len) : 0;
    if (code == ENOSPC || code == EFBIG || code == EDQUOT)
        return system_error(err, code, "cannot allocate all of file", config->path);
    return code ? system_error(err, code, "cannot allocate file", config->path) : 0;
}

static void set_text(json_t *options, const char *name, const char *value)
{
    if (value)
        json_object_set_new(options, name, json_string(value));
}

static json_t *engine_options(const struct model_volume *config, uint64_t size, const char *key,
                              unsigned flags)
{
    bool qcow2 = strcmp(config->format, "qcow2") == 0;
    json_t *options = json_pack("{s:I}", "size", (json_int_t)size);
    if (!options || !qcow2) {
        set_text(options, "key-secret", *key ? key : NULL);
        return options;
    }
    /* What libvirt documents for a volume that says nothing. */
    set_text(options, "compat", config->compat ? config->compat : "0.10");
    set_text(options, "backing_file", config->backing_path);
    if (config->backing_path)
        set_text(options, "backing_fmt", config->backing_format ? config->backing_format : "raw");
    if (config->cluster_size)
        json_object_set_new(options, "cluster_size",
                            json_integer((json_int_t)config->cluster_size));
    if (config->lazy_refcounts)
        json_object_set_new(options, "lazy_refcounts", json_true());
    if (config->extended_l2)
        json_object_set_new(options, "extended_l2", json_true());
    if (flags & VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA)
        set_text(options, "preallocation",
                 config->capacity > config->allocation ? "metadata" : "falloc");
    if (*key) {
        set_text(options, "encrypt.format", "luks");
        set_text(options, "encrypt.key-secret", key);
    }
    return options;
}

static int make_image(const struct model_volume *config, uint64_t size, const char *key,
                      unsigned flags, struct kv_error *err)
{
    bool luks = strcmp(config->format, "qcow2") != 0;
    json_t *options = engine_options(config, size, key, flags);
    if (!options)
        return storage_no_memory(err);
    int r = block_image_create(config->path, luks ? "luks" : config->format, options, err);
    json_decref(options);
    return r;
}

/* ----------------------------------------------------------------------------- copies */

static json_t *describe(const struct model_volume *config, const char *key)
{
    bool qcow2 = strcmp(config->format, "qcow2") == 0;
    const char *driver = strcmp(config->format, "iso") == 0 ? "raw" : config->format;
    json_t *file = json_pack("{s:s, s:s}", "driver", "file", "filename", config->path);
    json_t *node =
        json_pack("{s:s, s:o}", "driver", config->luks && !qcow2 ? "luks" : driver, "file", file);
    if (*key && qcow2)
        json_object_set_new(node, "encrypt",
                            json_pack("{s:s, s:s}", "format", "luks", "key-secret", key));
    else if (*key)
        json_object_set_new(node, "key-secret", json_string(key));
    return node;
}

static int open_image(struct block_node **out, const struct model_volume *config, const char *key,
                      bool readonly, struct kv_error *err)
{
    json_t *description = describe(config, key);
    if (!description)
        return storage_no_memory(err);
    const struct block_open_options options = {
        .fd = -1,
        .description = description,
        .readonly = readonly,
        .cache = readonly ? BLOCK_CACHE_WRITEBACK : BLOCK_CACHE_UNSAFE,
        .aio = BLOCK_AIO_THREADS,
    };
    int r = block_open(out, &options, err);
    json_decref(description);
    return r;
}

/* The layers below a source are named by headers: each must be a file that is said to be of some
 * format. */
static int check_chain(const struct model_volume *source, struct kv_error *err)
{
    struct model_volume layer = {.path = strdup(source->path)};
    int r = layer.path ? 0 : storage_no_memory(err);
    for (unsigned depth = 0; r == 0; depth++) {
        int code = probe_volume(&layer);
        if (code < 0) {
            r = system_error(err, -code, "cannot open volume", layer.path);
        } else if (!layer.backing_path) {
            break;
        } else if (*layer.backing_path != '/' || !layer.backing_format) {
            r = storage_error(err, VIR_ERR_OPERATION_INVALID,
                              "backing image '%s' of image '%s' is not a file of a format that is "
                              "said",
                              layer.backing_path, layer.path);
        } else if (depth == CHAIN_MAX) {
            r = storage_error(err, VIR_ERR_OPERATION_INVALID,
                              "'%s': more than %d images over images; the backing chain is a loop",
                              source->path, CHAIN_MAX);
        } else {
            free(layer.path);
            layer.path = take_ptr(layer.backing_path);
        }
    }
    model_volume_clear(&layer);
    return r;
}

static int copy(struct block_node *from, struct block_node *to, const struct model_volume *config,
                struct kv_error *err)
{
    struct block_convert work = {
        .sources = &from,
        .source_count = 1,
        .target = to,
        .workers = COPY_WORKERS,
        .sparse = SPARSE,
        /* Zeros of a new file are no zeros when they are decrypted. */
        .target_is_zero = !config->luks || strcmp(config->format, "qcow2") == 0,
    };
    int r = block_convert(&work);
    if (r == 0)
        r = block_flush(to);
    return r < 0 ? storage_error(err, VIR_ERR_OPERATION_FAILED, "copying to '%s' failed: %s",
                                 config->path, strerror(-r))
                 : 0;
}

static int share_blocks(int fd, const struct model_volume *config,
                        const struct model_volume *source, struct kv_error *err)
{
    if (!is_plain(config) || !is_plain(source))
        return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "reflink is supported for raw volumes only");
    cleanup_fd int from = open(source->path, O_RDONLY | O_CLOEXEC);
    if (from < 0 || ioctl(fd, FICLONE, from) < 0)
        return system_error(err, errno, "failed to clone files from", source->path);
    return 0;
}

static int fill(int fd, const struct model_volume *config, const struct model_volume *source,
                const struct key *key, const struct key *source_key, unsigned flags,
                struct kv_error *err)
{
    struct block_node *from = NULL, *to = NULL;
    struct model_volume made = *config; /* borrows its texts */
    if (flags & VIR_STORAGE_VOL_CREATE_REFLINK)
        return share_blocks(fd, config, source, err);
    int r = check_chain(source, err);
    if (r == 0)
        r = open_image(&from, source, source_key->id, true, err);
    if (r < 0)
        return r;
    made.capacity = MAX(config->capacity, block_get_info(from)->size);
    made.allocation = 0;
    r = is_plain(config) ? allocate(fd, &made, err)
                         : make_image(&made, made.capacity, key->id, flags, err);
    if (r == 0)
        r = open_image(&to, config, key->id, false, err);
    if (r == 0)
        r = copy(from, to, config, err);
    block_close(to);
    block_close(from);
    if (r == 0 && fsync(fd) < 0)
        r = system_error(err, errno, "cannot write", config->path);
    return r;
}

/* ----------------------------------------------------------------------------- together */

static int make_empty(int fd, const struct model_volume *config, const struct key *key,
                      unsigned flags, struct kv_error *err)
{
    uint64_t size = config->capacity;
    int r = config->backing_path ? backing_size(config, &size, err) : 0;
    if (config->has_capacity)
        size = config->capacity;
    if (r < 0)
        return r;
    return is_plain(config) ? allocate(fd, config, err)
                            : make_image(config, size, key->id, flags, err);
}

static int make_contents(int fd, const struct model_volume *config,
                         const struct model_volume *source, unsigned flags, struct kv_error *err)
{
    struct key key, source_key = {""};
    int r = key_add(&key, config, err);
    if (r == 0 && source)
        r = key_add(&source_key, source, err);
    if (r == 0)
        r = source ? fill(fd, config, source, &key, &source_key, flags, err)
                   : make_empty(fd, config, &key, flags, err);
    key_remove(&source_key);
    key_remove(&key);
    return r;
}

int image_create(const struct model_volume *config, const struct model_volume *source,
                 unsigned flags, struct kv_error *err)
{
    int fd = -1;
    if (config->type == VIR_STORAGE_VOL_DIR)
        return source ? storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                                      "a directory cannot be made of another volume")
                      : make_directory(config, err);
    int r = check_config(config, flags, err);
    if (r == 0)
        r = make_file(config, &fd, err);
    if (r < 0)
        return r;
    r = make_contents(fd, config, source, flags, err);
    close(fd);
    if (r < 0)
        unlink(config->path);
    return r;
}
