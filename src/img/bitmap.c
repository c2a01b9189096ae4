/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img bitmap: persistent dirty bitmaps inside an image, and their copying by convert. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "img/img.h"

struct bitmap_args {
    struct img_args args;
    const char *source, *source_format, *granularity;
    struct img_list actions;
};

static const struct img_option bitmap_options[] = {
    IMG_OPTION(0, "add", IMG_LIST, bitmap_args, actions, NULL, "make the bitmap"),
    IMG_OPTION(0, "remove", IMG_LIST, bitmap_args, actions, NULL, "delete it"),
    IMG_OPTION(0, "clear", IMG_LIST, bitmap_args, actions, NULL, "nothing is dirty in it"),
    IMG_OPTION(0, "enable", IMG_LIST, bitmap_args, actions, NULL, "writes are recorded in it"),
    IMG_OPTION(0, "disable", IMG_LIST, bitmap_args, actions, NULL, "writes are not recorded in it"),
    IMG_OPTION(0, "merge", IMG_LIST, bitmap_args, actions, "SOURCE",
               "what is dirty in the bitmap SOURCE becomes dirty in it"),
    IMG_OPTION('b', "source-file", IMG_TEXT, bitmap_args, source, "FILE",
               "with --merge: the image that has SOURCE"),
    IMG_OPTION('F', "source-format", IMG_TEXT, bitmap_args, source_format, "FMT",
               "format of that image"),
    IMG_OPTION('g', "granularity", IMG_TEXT, bitmap_args, granularity, "SIZE",
               "with --add: bytes that one bit stands for"),
    IMG_FORMAT('f', bitmap_args),
    IMG_OBJECT(bitmap_args),
    IMG_IMAGE_OPTS(bitmap_args),
    IMG_OPTIONS_END,
};

static bool has_action(const struct bitmap_args *args, const char *name)
{
    for (unsigned i = 0; i < args->actions.count; i++) {
        if (strcmp(args->actions.items[i].option->name, name) == 0)
            return true;
    }
    return false;
}

static int act(const struct img_item *action, struct block_node *node, const char *bitmap,
               uint64_t granularity, bool enabled, struct block_node *source, struct kv_error *err)
{
    const struct block_bitmap_ops *ops = node->driver->bitmaps;
    const char *name = action->option->name;
    if (!ops && strcmp(name, "add") == 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "Can't store persistent bitmaps to %s: Operation not supported",
                            block_name(node));
    if (!ops)
        return kv_error_set(err, KV_ERR_BLOCK, ENOENT, "Dirty bitmap '%s' not found", bitmap);
    if (strcmp(name, "add") == 0) {
        if (granularity &&
            (granularity < 512 || granularity > BIT(31) || (granularity & (granularity - 1))))
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "Granularity must be power of 2 and at least 512");
        return ops->add(node, bitmap, (uint32_t)granularity, enabled, err);
    }
    if (strcmp(name, "remove") == 0)
        return ops->remove(node, bitmap, err);
    if (strcmp(name, "clear") == 0)
        return ops->clear(node, bitmap, err);
    if (strcmp(name, "merge") == 0)
        return ops->merge(node, bitmap, source, action->value, err);
    return ops->enable(node, bitmap, strcmp(name, "enable") == 0, err);
}

static int act_all(const struct bitmap_args *args, struct block_node *node, const char *bitmap,
                   uint64_t granularity, struct block_node *source)
{
    for (unsigned i = 0; i < args->actions.count; i++) {
        const struct img_item *action = &args->actions.items[i];
        struct kv_error err = {0};
        if (act(action, node, bitmap, granularity, true, source, &err) < 0)
            return img_error("Operation %s on bitmap %s failed: %s", action->option->name, bitmap,
                             err.message);
    }
    return IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct bitmap_args *args = opaque;
    uint64_t granularity = 0;
    if (args->granularity &&
        img_parse_size("granularity", args->granularity, 1, INT64_MAX, &granularity) < 0)
        return IMG_FAILED;
    if (count != 2)
        return img_error("Expecting filename and bitmap name");
    if (!args->actions.count)
        return img_error("Need at least one of --add, --remove, --clear, --enable, --disable, or "
                         "--merge");
    if (args->granularity && !has_action(args, "add"))
        return img_error("granularity only supported with --add");
    if (args->source_format && !args->source)
        return img_error("-F only supported with -b");
    if (args->source && !has_action(args, "merge"))
        return img_error("Merge bitmap source file only supported with --merge");
    struct img_open how = img_open_from(&args->args, operands[0]);
    how.writable = true;
    how.no_backing = true;
    cleanup_image struct block_node *node = img_open_image(&how);
    cleanup_image struct block_node *source = NULL;
    if (!node)
        return IMG_FAILED;
    if (args->source) {
        struct img_open from = {
            .name = args->source, .format = args->source_format, .no_backing = true};
        source = img_open_image(&from);
        if (!source)
            return IMG_FAILED;
    }
    return act_all(args, node, operands[1], granularity, source ? source : node);
}

const struct img_command img_bitmap = {
    .name = "bitmap",
    .operands = "FILE BITMAP",
    .help = "manage the dirty bitmaps inside an image",
    .options = bitmap_options,
    .args_size = sizeof(struct bitmap_args),
    .run = run,
};

/* ----------------------------------------------------------------- convert */

static bool has_flag(const json_t *bitmap, const char *name)
{
    size_t i;
    json_t *flag;
    json_array_foreach (json_object_get(bitmap, "flags"), i, flag) {
        if (json_is_string(flag) && strcmp(json_string_value(flag), name) == 0)
            return true;
    }
    return false;
}

static int copy_one(struct block_node *source, struct block_node *target, const json_t *bitmap,
                    bool skip_broken)
{
    const struct block_bitmap_ops *ops = target->driver->bitmaps;
    const char *name = json_string_value(json_object_get(bitmap, "name"));
    struct kv_error err = {0};
    if (has_flag(bitmap, "in-use")) {
        if (skip_broken) {
            img_warning("Skipping inconsistent bitmap '%s'", name);
            return 0;
        }
        img_error("Cannot copy inconsistent bitmap '%s'", name);
        return -EINVAL;
    }
    int rc =
        ops->add(target, name, (uint32_t)json_integer_value(json_object_get(bitmap, "granularity")),
                 false, &err);
    if (rc == 0)
        rc = ops->merge(target, name, source, name, &err);
    if (rc == 0 && has_flag(bitmap, "auto"))
        rc = ops->enable(target, name, true, &err);
    if (rc < 0)
        img_error("Failed to populate bitmap %s: %s", name, err.message);
    return rc;
}

int img_copy_bitmaps(struct block_node *source, struct block_node *target, bool skip_broken)
{
    size_t i;
    json_t *bitmap;
    int rc = 0;
    if (!target->driver->bitmaps) {
        img_error("Format driver '%s' does not support bitmaps", block_format(target));
        return -ENOTSUP;
    }
    json_t *bitmaps = source->driver->bitmaps_info ? source->driver->bitmaps_info(source) : NULL;
    json_array_foreach (bitmaps, i, bitmap) {
        if (rc == 0)
            rc = copy_one(source, target, bitmap, skip_broken);
    }
    json_decref(bitmaps);
    return rc;
}
