/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img resize: another size, growing or shrinking, with or without allocation. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "img/img.h"

#define SECTOR 512u

struct resize_args {
    struct img_args args;
    const char *preallocation;
    bool shrink;
};

static const struct img_option resize_options[] = {
    IMG_FORMAT('f', resize_args),
    IMG_OPTION(0, "shrink", IMG_FLAG, resize_args, shrink, NULL,
               "really make it smaller: what lies beyond the new end is lost"),
    IMG_OPTION(0, "preallocation", IMG_TEXT, resize_args, preallocation, "MODE",
               "allocate what is new: off, falloc or full"),
    IMG_OBJECT(resize_args),
    IMG_IMAGE_OPTS(resize_args),
    IMG_QUIET(resize_args),
    IMG_OPTIONS_END,
};

/* Writes zeros as data, which allocates in every format. */
static int allocate(struct block_node *node, uint64_t from, uint64_t to)
{
    cleanup_free uint8_t *zeros = calloc(1, MIB(1));
    int rc = zeros ? 0 : -ENOMEM;
    for (uint64_t at = from; rc == 0 && at < to; at += MIN(MIB(1), to - at))
        rc = block_pwrite(node, at, zeros, MIN(MIB(1), to - at), 0);
    return rc == 0 ? block_flush(node) : rc;
}

static int check_preallocation(const struct resize_args *args, bool grows, bool *wanted)
{
    static const char *const modes[] = {"off", "metadata", "falloc", "full"};
    const char *mode = args->preallocation ? args->preallocation : "off";
    unsigned i = 0;
    while (i < ARRAY_SIZE(modes) && strcmp(modes[i], mode) != 0)
        i++;
    if (i == ARRAY_SIZE(modes))
        return img_error("Invalid preallocation mode '%s'", mode);
    if (i == 1)
        return img_error("Unsupported preallocation mode: metadata");
    *wanted = i != 0;
    if (*wanted && !grows)
        return img_error("Preallocation can only be used for growing images");
    return IMG_OK;
}

static int resize(const struct resize_args *args, struct block_node *node, int sign, uint64_t size)
{
    uint64_t old = block_get_info(node)->size, wanted = size;
    struct kv_error err = {0};
    bool preallocate = false;
    if (sign > 0 && __builtin_add_overflow(old, size, &wanted))
        wanted = UINT64_MAX;
    if (sign < 0)
        wanted = size < old ? old - size : 0;
    if (wanted == 0 || wanted > INT64_MAX - SECTOR)
        return img_error(wanted ? "New image size is too large"
                                : "New image size must be positive");
    if (check_preallocation(args, wanted > old, &preallocate) != IMG_OK)
        return IMG_FAILED;
    if (wanted < old && !args->shrink) {
        img_error("Use the --shrink option to perform a shrink operation.");
        img_warning("Shrinking an image will delete all data beyond the shrunken image's end. "
                    "Before performing such an operation, make sure there is no important data "
                    "there.");
        return IMG_FAILED;
    }
    wanted = ALIGN_UP(wanted, (uint64_t)SECTOR);
    if (block_resize(node, wanted, &err) < 0)
        return img_error("%s", err.message);
    int rc = preallocate ? allocate(node, old, wanted) : block_flush(node);
    if (rc < 0) {
        if (preallocate)
            block_resize(node, old, &err);
        return img_error("Failed to resize underlying file: %s", strerror(-rc));
    }
    if (!args->args.quiet)
        puts("Image resized.");
    return IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct resize_args *args = opaque;
    uint64_t size;
    if (count < 2)
        return img_usage_error("Not enough arguments");
    if (count > 2)
        return img_usage_error("Expecting image file name and size");
    const char *text = operands[1];
    int sign = *text == '+' ? 1 : *text == '-' ? -1 : 0;
    if (sign)
        text++;
    if (parse_size(text, &size) < 0)
        return img_error("Parameter 'size' expects a non-negative number below 2^64\n"
                         "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                         "peta-\nand exabytes, respectively.");
    struct img_open how = img_open_from(&args->args, operands[0]);
    how.writable = true;
    cleanup_image struct block_node *node = img_open_image(&how);
    return node ? resize(args, node, sign, size) : IMG_FAILED;
}

const struct img_command img_resize = {
    .name = "resize",
    .operands = "FILE [+|-]SIZE",
    .help = "give an image another size",
    .options = resize_options,
    .args_size = sizeof(struct resize_args),
    .run = run,
};
