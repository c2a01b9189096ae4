/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens a raw file or block device and says what it is: size, alignment that
 * O_DIRECT asks for, what discarding and zeroing it offers. Requests are in
 * file_io.c. A file whose size is no multiple of 512 is seen rounded up; the
 * missing bytes read as zeros.
 */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/parse.h"
#include "base/util.h"
#include "block/description.h"
#include "block/fdset.h"
#include "block/memory.h"

#define SECTOR 512u
#define ALIGN_MAX 4096u

static int open_path(const struct block_node *node, const struct block_open_options *options,
                     const char *path, struct kv_error *err)
{
    if (block_is_sealed())
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "'%s': a jailed process opens no files; a descriptor that add-fd "
                            "hands in opens as '/dev/fdset/NUMBER'",
                            node->name);
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (options->readonly ? O_RDONLY : O_RDWR);
    if (block_cache_is_direct(options->cache))
        flags |= O_DIRECT;
    int fd = open(path, flags);
    if (fd < 0 && errno == EINVAL && (flags & O_DIRECT))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': this file system has no O_DIRECT, which cache=none and "
                            "cache=directsync need; cache=writeback and writethrough work",
                            node->name);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "'%s' cannot be opened %s", node->name,
                              options->readonly ? "for reading" : "for reading and writing");
    /* Non-blocking was for opening alone: a FIFO is refused, not waited for. */
    fd_set_nonblocking(fd, false);
    return fd;
}

/* A descriptor from outside gets the cache mode that was asked for. */
static int adopt_fd(const struct block_node *node, const struct block_open_options *options, int fd,
                    struct kv_error *err)
{
    cleanup_fd int owned = fd;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "%s", node->name);
    int access = flags & O_ACCMODE;
    if (access == O_WRONLY || (access == O_RDONLY && !options->readonly))
        return kv_error_set(err, KV_ERR_BLOCK, EACCES, "%s is open for %s only; %s", node->name,
                            access == O_WRONLY ? "writing" : "reading",
                            options->readonly ? "reading is needed" : "readonly=on would do");
    int wanted = block_cache_is_direct(options->cache) ? flags | O_DIRECT : flags & ~O_DIRECT;
    wanted &= ~O_NONBLOCK;
    if (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "%s: O_DIRECT cannot be switched",
                              node->name);
    return take_fd(&owned);
}

static int open_any(const struct block_node *node, const struct block_open_options *options,
                    struct kv_error *err)
{
    const char *path = options->path;
    int fd = options->fd;
    if (!path && options->description)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "The 'file' block driver requires a file name");
    if (path && strncmp(path, "file:", 5) == 0)
        path += 5;
    if (path && !fdset_is_path(path))
        return open_path(node, options, path, err);
    if (path)
        fd = fdset_open(path, options->readonly, err);
    return fd < 0 ? fd : adopt_fd(node, options, fd, err);
}

static int file_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    const struct file_state *file = node->state;
    struct stat st;
    uint64_t bytes;
    if (file->is_device) {
        if (ioctl(file->fd, BLKGETSIZE64, &bytes) < 0)
            return kv_error_errno(err, KV_ERR_BLOCK, errno, "'%s': size of the device", node->name);
    } else {
        if (fstat(file->fd, &st) < 0)
            return kv_error_errno(err, KV_ERR_BLOCK, errno, "'%s': size of the file", node->name);
        bytes = (uint64_t)st.st_size;
    }
    if (bytes > INT64_MAX - SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG, "'%s' has %" PRIu64 " bytes", node->name,
                            bytes);
    *size = ALIGN_UP(bytes, SECTOR);
    return 0;
}

static int file_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    const struct file_state *file = node->state;
    uint64_t current = 0;
    if (!file->is_device) {
        if (ftruncate(file->fd, (off_t)size) < 0)
            return kv_error_errno(err, KV_ERR_BLOCK, errno, "'%s' cannot be made %" PRIu64 " bytes",
                                  node->name, size);
        return 0;
    }
    int rc = file_get_size(node, &current, err);
    if (rc == 0 && size != current)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s' is a device of %" PRIu64 " bytes; its size is changed on the "
                            "host first",
                            node->name, current);
    return rc;
}

int block_create_file(const char *path, uint64_t size, struct kv_error *err)
{
    if (block_memory_name(path))
        return block_memory_put(block_memory_name(path), NULL, size) == 0
                   ? 0
                   : kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", path);
    /* What was handed in is there already; other files a jailed process does not make. */
    bool make = !fdset_is_path(path) && !block_is_sealed();
    cleanup_fd int fd = make ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd < 0 && make)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "Could not create '%s'", path);
    struct block_node *node = NULL;
    const struct block_open_options options = {.path = path, .format = "file"};
    int rc = block_open(&node, &options, err);
    if (rc < 0)
        return rc;
    const struct file_state *file = node->state;
    if (!file->is_device) {
        rc = block_resize(node, 0, err);
        if (rc == 0)
            rc = block_resize(node, size, err);
    } else if (block_size(node) < size) {
        rc = kv_error_set(err, KV_ERR_BLOCK, ENOSPC,
                          "'%s' is a device of %" PRIu64 " bytes, %" PRIu64 " are needed", path,
                          block_size(node), size);
    }
    block_close(node);
    return rc;
}

static int64_t file_allocated_size(const struct block_node *node)
{
    const struct file_state *file = node->state;
    struct stat st;
    if (file->is_device)
        return (int64_t)block_size(node);
    return fstat(file->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * SECTOR;
}

/* Whether reads with this alignment of offset and buffer are accepted. */
static bool direct_read_works(int fd, uint8_t *buffer, size_t buffer_offset, uint32_t align)
{
    ssize_t n = pread(fd, buffer + buffer_offset, align, 0);
    return n >= 0 || errno != EINVAL;
}

/*
 * What O_DIRECT wants here. The kernel says it for files since 6.1 (statx);
 * before, small reads find it out, and an empty file, where they all succeed,
 * gets the largest.
 */
static int probe_alignment(struct block_node *node, struct kv_error *err)
{
    struct file_state *file = node->state;
    file->align = file->mem_align = 1;
    if (!file->direct)
        return 0;

    int sector = 0;
    if (file->is_device && ioctl(file->fd, BLKSSZGET, &sector) == 0 && sector > 0) {
        file->align = file->mem_align = MAX((uint32_t)sector, SECTOR);
        return 0;
    }
#ifdef STATX_DIOALIGN
    struct statx sx;
    if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
        (sx.stx_mask & STATX_DIOALIGN) && sx.stx_dio_offset_align) {
        file->align = MAX(sx.stx_dio_offset_align, SECTOR);
        file->mem_align = MAX(sx.stx_dio_mem_align, 1u);
        return 0;
    }
#endif
    cleanup_free void *buffer = NULL;
    file->align = file->mem_align = ALIGN_MAX;
    if (block_size(node) < ALIGN_MAX)
        return 0;
    if (posix_memalign(&buffer, ALIGN_MAX, 2 * ALIGN_MAX))
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    for (uint32_t align = SECTOR; align < ALIGN_MAX; align *= 2) {
        if (!direct_read_works(file->fd, buffer, 0, align))
            continue;
        file->align = align;
        break;
    }
    for (uint32_t align = SECTOR; align < ALIGN_MAX; align *= 2) {
        if (!direct_read_works(file->fd, buffer, align, ALIGN_MAX))
            continue;
        file->mem_align = align;
        break;
    }
    return 0;
}

/* A number from /sys about the device's request queue, or 0. Partitions have it one level up. */
static uint64_t queue_limit(dev_t device, const char *name)
{
    static const char *const patterns[] = {"/sys/dev/block/%u:%u/queue/%s",
                                           "/sys/dev/block/%u:%u/../queue/%s"};
    for (unsigned i = 0; i < ARRAY_SIZE(patterns) && !block_is_sealed(); i++) {
        char path[128];
        unsigned long long value = 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(path, sizeof(path), patterns[i], major(device), minor(device), name);
#pragma GCC diagnostic pop
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        int n = fscanf(f, "%llu", &value);
        fclose(f);
        return n == 1 ? value : 0;
    }
    return 0;
}

static void fill_info(struct block_node *node, const struct block_open_options *options,
                      const struct stat *st)
{
    const struct file_state *file = node->state;
    struct block_info *info = &node->info;
    uint64_t granularity = (uint64_t)MAX(st->st_blksize, 0);

    info->request_alignment = file->align;
    /* An image is laid out in sectors of 512 whatever the file system below prefers. */
    info->logical_block = SECTOR;
    info->physical_block = MAX(file->align, ALIGN_MAX);
    info->can_discard = options->discard && !options->readonly;
    if (file->is_device) {
        int logical = 0;
        unsigned physical = 0;
        if (ioctl(file->fd, BLKSSZGET, &logical) == 0 && logical > 0)
            info->logical_block = MAX((uint32_t)logical, SECTOR);
        if (ioctl(file->fd, BLKPBSZGET, &physical) == 0)
            info->physical_block = MAX(physical, info->logical_block);
        granularity = queue_limit(st->st_rdev, "discard_granularity");
        info->can_discard = info->can_discard && granularity;
    }
    if (granularity < info->logical_block || granularity > MIB(64) ||
        (granularity & (granularity - 1)))
        granularity = info->logical_block;
    info->discard_alignment = (uint32_t)granularity;
    info->readonly = options->readonly;
    info->can_write_zeroes = !options->readonly;
    info->growable = !file->is_device && !options->readonly;
    info->volatile_cache =
        options->cache == BLOCK_CACHE_WRITEBACK || options->cache == BLOCK_CACHE_NONE;
}

static int want_lock(const json_t *description, bool *locking, struct kv_error *err)
{
    const char *word = description_text(description, "locking");
    bool on = *locking;
    if (word && strcmp(word, "auto") != 0 && parse_bool(word, &on) < 0)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'locking' is auto, on or off, not '%s'",
                            word);
    *locking = *locking && on;
    return 0;
}

static int open_checked(struct block_node *node, struct file_state *file,
                        const struct block_open_options *options, struct kv_error *err)
{
    struct stat st;
    file->fd = open_any(node, options, err);
    if (file->fd < 0)
        return file->fd;
    if (fstat(file->fd, &st) < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "'%s'", node->name);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' is neither a regular file nor a block device", node->name);
    file->is_device = S_ISBLK(st.st_mode);
    file->direct = block_cache_is_direct(options->cache);

    bool locking = !options->unlocked;
    int rc = want_lock(options->description, &locking, err);
    if (rc == 0 && locking)
        rc = image_lock(file->fd, node->name, options->readonly, options->share_rw, err);
    if (rc == 0)
        rc = file_get_size(node, &node->info.size, err);
    if (rc == 0)
        rc = probe_alignment(node, err);
    if (rc == 0)
        fill_info(node, options, &st);
    return rc;
}

static void file_close(struct block_node *node)
{
    struct file_state *file = node->state;
    if (file->fd >= 0) {
        image_unlock(file->fd);
        close(file->fd);
    }
    pthread_mutex_destroy(&file->partial_lock);
    free(file);
}

static int file_open(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct file_state *file = calloc(1, sizeof(*file));
    if (!file) {
        if (!options->path && !options->description)
            close(options->fd);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    }
    pthread_mutex_init(&file->partial_lock, NULL);
    node->state = file;
    int rc = open_checked(node, file, options, err);
    if (rc < 0)
        file_close(node);
    return rc;
}

static int file_ring_fd(const struct block_node *node)
{
    const struct file_state *file = node->state;
    return file->fd;
}

static const char *const file_prefixes[] = {"file:", NULL};

static const struct block_key file_keys[] = {
    {"aio", BLOCK_KEY_TEXT},
    {"locking", BLOCK_KEY_TEXT},
    {NULL, 0},
};

const struct block_driver block_file_driver = {
    .name = "file",
    .keys = file_keys,
    .is_protocol = true,
    .prefixes = file_prefixes,
    .open = file_open,
    .close = file_close,
    .get_size = file_get_size,
    .resize = file_resize,
    .allocated_size = file_allocated_size,
    .preadv = file_preadv,
    .pwritev = file_pwritev,
    .write_zeroes = file_write_zeroes,
    .discard = file_discard,
    .flush = file_flush,
    .status = file_status,
    .ring_fd = file_ring_fd,
    .is_fast = file_is_fast,
};
