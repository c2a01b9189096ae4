/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img commit: what an image holds goes into its backing file, or one further down. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/convert.h"
#include "img/img.h"

struct commit_args {
    struct img_args args;
    const char *base, *rate;
    bool keep;
};

static const struct img_option commit_options[] = {
    IMG_FORMAT('f', commit_args),
    IMG_OPTION('b', NULL, IMG_TEXT, commit_args, base, "FILE",
               "the image of the chain to write into (default: the backing file)"),
    IMG_OPTION('d', NULL, IMG_FLAG, commit_args, keep, NULL, "do not empty the image afterwards"),
    IMG_OPTION('r', NULL, IMG_TEXT, commit_args, rate, "SIZE", "limit: bytes per second"),
    IMG_CACHE(commit_args, "cache mode for writing (default: writeback)"),
    IMG_OBJECT(commit_args),
    IMG_IMAGE_OPTS(commit_args),
    IMG_PROGRESS(commit_args),
    IMG_QUIET(commit_args),
    IMG_OPTIONS_END,
};

static void show_progress(void *opaque, uint64_t done, uint64_t total)
{
    img_progress_update(opaque, done, total);
}

/* The node of the chain under top that the name means, or NULL after a message. */
static struct block_node *find_base(struct block_node *top, const char *name)
{
    struct block_node *base = block_backing(top);
    if (!base)
        img_error("Image does not have a backing file");
    if (!base || !name)
        return base;
    cleanup_free char *resolved = block_resolve_path(block_name(top), name);
    struct block_node *above = top;
    for (; base; above = base, base = block_backing(base)) {
        const char *written =
            above->driver->backing_path ? above->driver->backing_path(above) : NULL;
        if (strcmp(block_name(base), name) == 0 ||
            (resolved && strcmp(block_name(base), resolved) == 0) ||
            (written && strcmp(written, name) == 0))
            return base;
    }
    img_error("Did not find '%s' in the backing chain of '%s'", name, block_name(top));
    return NULL;
}

/* The base once more, for writing: the chain has it open for reading. */
static struct block_node *open_writable(const struct block_node *base, enum block_cache cache)
{
    struct block_open_options how = {.fd = -1,
                                     .path = block_name(base),
                                     .format = block_format(base),
                                     .cache = cache,
                                     .share_rw = true,
                                     .discard = true};
    struct block_node *node = NULL;
    struct kv_error err = {0};
    if (block_open(&node, &how, &err) < 0)
        img_error("Could not open '%s': %s", block_name(base), err.message);
    return node;
}

static int copy_down(const struct commit_args *args, struct block_node *top,
                     struct block_node *base, struct block_node *target, uint64_t rate)
{
    struct img_progress progress;
    struct kv_error err = {0};
    struct block_node *const sources[] = {top};
    struct block_convert work = {.sources = sources,
                                 .source_count = 1,
                                 .target = target,
                                 .workers = 8,
                                 .sparse = 4096,
                                 .keep_unallocated = true,
                                 .base = base,
                                 .rate = rate,
                                 .progress = show_progress,
                                 .opaque = &progress};
    if (block_get_info(target)->size < block_get_info(top)->size &&
        block_resize(target, block_get_info(top)->size, &err) < 0)
        return img_error("%s", err.message);
    img_progress_begin(&progress, &args->args);
    int rc = block_convert(&work);
    if (rc < 0)
        return img_error("Block job failed: error while %s at byte %" PRIu64 ": %s",
                         work.failed_writing ? "writing" : "reading", work.failed_offset,
                         strerror(-rc));
    rc = block_flush(target);
    if (rc < 0)
        return img_error("Block job failed: %s", strerror(-rc));
    img_progress_end(&progress);
    return IMG_OK;
}

static int commit(const struct commit_args *args, struct block_node *top, uint64_t rate,
                  enum block_cache cache)
{
    struct kv_error err = {0};
    struct block_node *base = find_base(top, args->base);
    if (!base)
        return IMG_FAILED;
    bool empty = !args->keep && base == block_backing(top) && top->driver->make_empty;
    cleanup_image struct block_node *target = open_writable(base, cache);
    if (!target || copy_down(args, top, base, target, rate) != IMG_OK)
        return IMG_FAILED;
    if (empty && top->driver->make_empty(top, &err) < 0)
        return img_error("Could not empty %s: %s", block_name(top), err.message);
    if (!args->args.quiet)
        puts("Image committed.");
    return IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct commit_args *args = opaque;
    uint64_t rate = 0;
    if (args->rate && img_parse_size("rate limit", args->rate, 0, INT64_MAX, &rate) < 0)
        return IMG_FAILED;
    if (count != 1)
        return img_usage_error("Expecting one image file name");
    struct img_open how = img_open_from(&args->args, operands[0]);
    how.writable = how.share_rw = true;
    if (img_parse_cache("cache", args->args.cache, &how.cache) < 0)
        return IMG_FAILED;
    cleanup_image struct block_node *top = img_open_image(&how);
    return top ? commit(args, top, rate, how.cache) : IMG_FAILED;
}

const struct img_command img_commit = {
    .name = "commit",
    .operands = "FILE",
    .help = "write what an image holds into its backing file",
    .options = commit_options,
    .args_size = sizeof(struct commit_args),
    .run = run,
};
