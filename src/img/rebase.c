/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img rebase: another backing file, with the image's content kept (safe) or not looked at.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "img/img.h"

#define PIECE MIB(2)

struct rebase_args {
    struct img_args args;
    const char *backing, *backing_format;
    bool unsafe;
};

static const struct img_option rebase_options[] = {
    IMG_FORMAT('f', rebase_args),
    IMG_OPTION('b', NULL, IMG_TEXT, rebase_args, backing, "FILE", "new backing file; \"\": none"),
    IMG_OPTION('F', NULL, IMG_TEXT, rebase_args, backing_format, "FMT",
               "format of the new backing file"),
    IMG_OPTION('u', NULL, IMG_FLAG, rebase_args, unsafe, NULL,
               "only change the name: the new file has the content of the old one"),
    IMG_CACHE(rebase_args, "cache mode for writing (default: writeback)"),
    IMG_SOURCE_CACHE(rebase_args),
    IMG_OBJECT(rebase_args),
    IMG_IMAGE_OPTS(rebase_args),
    IMG_PROGRESS(rebase_args),
    IMG_QUIET(rebase_args),
    IMG_SHARE(rebase_args),
    IMG_OPTIONS_END,
};

struct rebase {
    struct block_node *top, *old, *new; /* old, new: NULL: none */
    uint64_t unit;                      /* what is written when something in it differs */
    uint8_t *before, *after;            /* PIECE bytes each */
    struct img_progress progress;
};

/* Reads a node that may be missing or shorter: zeros there. */
static int read_or_zeros(struct block_node *node, uint64_t at, uint8_t *buffer, uint64_t len)
{
    uint64_t size = node ? block_get_info(node)->size : 0;
    uint64_t there = at < size ? MIN(len, size - at) : 0;
    int rc = there ? block_pread(node, at, buffer, there) : 0;
    memset(buffer + there, 0, len - there);
    return rc;
}

static int keep_piece(struct rebase *rebase, uint64_t at, uint64_t len)
{
    int rc = read_or_zeros(rebase->old, at, rebase->before, len);
    if (rc == 0)
        rc = read_or_zeros(rebase->new, at, rebase->after, len);
    if (rc < 0) {
        img_error("error while reading from a backing file: %s", strerror(-rc));
        return rc;
    }
    for (uint64_t done = 0, part; done < len; done += part) {
        part = MIN(ALIGN_DOWN(at + done, rebase->unit) + rebase->unit - (at + done), len - done);
        if (memcmp(rebase->before + done, rebase->after + done, part) == 0)
            continue;
        rc = buffer_is_zero(rebase->before + done, part)
                 ? block_write_zeroes(rebase->top, at + done, part, BLOCK_UNMAP)
                 : block_pwrite(rebase->top, at + done, rebase->before + done, part, 0);
        if (rc < 0) {
            img_error("Error while writing to COW image: %s", strerror(-rc));
            return rc;
        }
    }
    return 0;
}

/* Whatever the image gets from its old backing file and would not get from the new one is written
 * into it. */
static int keep_content(struct rebase *rebase)
{
    uint64_t size = block_get_info(rebase->top)->size;
    struct block_extent extent;
    for (uint64_t at = 0; at < size; at += extent.len) {
        int rc = block_status(rebase->top, at, MIN(size - at, PIECE), &extent);
        if (rc < 0) {
            img_error("error while reading image metadata: %s", strerror(-rc));
            return rc;
        }
        if (!(extent.flags & BLOCK_STATUS_ALLOCATED))
            rc = keep_piece(rebase, at, extent.len);
        if (rc < 0)
            return rc;
        img_progress_update(&rebase->progress, at + extent.len, size);
    }
    return 0;
}

static int safe(const struct rebase_args *args, struct block_node *top)
{
    struct rebase rebase = {.top = top, .old = block_backing(top)};
    cleanup_free void *before = NULL, *after = NULL;
    cleanup_image struct block_node *new_backing = NULL;
    enum block_cache cache = BLOCK_CACHE_WRITEBACK;
    if (img_parse_cache("source cache", args->args.source_cache, &cache) < 0)
        return -EINVAL;
    if (args->backing[0]) {
        cleanup_free char *path = block_resolve_path(block_name(top), args->backing);
        struct block_open_options how = {.fd = -1,
                                         .path = path,
                                         .format = args->backing_format,
                                         .readonly = true,
                                         .cache = cache,
                                         .unlocked = args->args.force_share};
        struct kv_error err = {0};
        if (!path || block_open(&new_backing, &how, &err) < 0) {
            if (err.code == ENOENT)
                img_error("Could not open new backing file '%s': Could not open '%s': %s",
                          args->backing, path, strerror(ENOENT));
            else
                img_error("Could not open new backing file '%s': %s", args->backing, err.message);
            return -EINVAL;
        }
    }
    if (posix_memalign(&before, 4096, PIECE) || posix_memalign(&after, 4096, PIECE)) {
        img_error("Out of memory");
        return -ENOMEM;
    }
    rebase.new = new_backing;
    rebase.before = before;
    rebase.after = after;
    rebase.unit = MAX(block_get_info(top)->cluster_size, 512u);
    img_progress_begin(&rebase.progress, &args->args);
    int rc = keep_content(&rebase);
    if (rc == 0) {
        /* The content is durable before the old file is no longer looked at. */
        rc = block_flush(top);
        if (rc < 0)
            img_error("Error while writing to COW image: %s", strerror(-rc));
    }
    if (rc == 0)
        img_progress_end(&rebase.progress);
    return rc;
}

static int change(const struct rebase_args *args, struct block_node *top)
{
    const char *path = args->backing && args->backing[0] ? args->backing : NULL;
    struct kv_error err = {0};
    int rc = top->driver->set_backing(top, path, path ? args->backing_format : NULL, &err);
    return rc < 0 ? img_error("Could not change the backing file to '%s': %s",
                              args->backing ? args->backing : "", err.message)
                  : IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct rebase_args *args = opaque;
    if (count != 1)
        return img_usage_error("Expecting one image file name");
    if (!args->unsafe && !args->backing)
        return img_usage_error("Must specify backing file (-b) or use unsafe mode (-u)");
    if (args->backing_format && !block_driver_find(args->backing_format))
        return img_error("Invalid format name: '%s'", args->backing_format);
    struct img_open how = img_open_from(&args->args, operands[0]);
    how.writable = true;
    how.share = false;
    how.no_backing = args->unsafe;
    if (img_parse_cache("cache", args->args.cache, &how.cache) < 0)
        return IMG_FAILED;
    cleanup_image struct block_node *top = img_open_image(&how);
    if (!top)
        return IMG_FAILED;
    const char *name = args->backing ? args->backing : "";
    if (!top->driver->set_backing)
        return img_error("Could not change the backing file to '%s': %s", name, strerror(ENOTSUP));
    if (name[0] && !args->backing_format)
        return img_error("Could not change the backing file to '%s': backing format must be "
                         "specified",
                         name);
    if (!args->unsafe && safe(args, top) < 0)
        return IMG_FAILED;
    return change(args, top);
}

const struct img_command img_rebase = {
    .name = "rebase",
    .operands = "FILE",
    .help = "give an image another backing file",
    .options = rebase_options,
    .args_size = sizeof(struct rebase_args),
    .run = run,
};
