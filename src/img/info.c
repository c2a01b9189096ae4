/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img info: what an image is, and the images under it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "img/img.h"

#define MAX_CHAIN 200

struct info_args {
    struct img_args args;
    bool chain;
};

static const struct img_option info_options[] = {
    IMG_FORMAT_LONG(info_args),
    IMG_OUTPUT(info_args),
    IMG_OPTION(0, "backing-chain", IMG_FLAG, info_args, chain, NULL,
               "tell about the images under it too"),
    IMG_OBJECT(info_args),
    IMG_IMAGE_OPTS(info_args),
    IMG_SHARE(info_args),
    IMG_OPTIONS_END,
};

/* One image and where its data comes from; all members may be NULL but node. */
struct description {
    struct block_node *node;
    const char *name, *backing, *backing_format;
    char *full_backing; /* allocated */
    json_t *specific;
    bool encrypted;
};

/* The bitmaps stand behind "lazy-refcounts", as qemu-img has them. */
static json_t *merge_bitmaps(json_t *specific, json_t *bitmaps)
{
    const char *name;
    json_t *value, *merged = json_object();
    json_object_foreach (specific, name, value) {
        json_object_set(merged, name, value);
        if (strcmp(name, "lazy-refcounts") == 0)
            json_object_set(merged, "bitmaps", bitmaps);
    }
    json_decref(specific);
    return merged;
}

static void describe(struct description *out, struct block_node *node, const char *name)
{
    const struct block_driver *driver = node->driver;
    *out = (struct description){.node = node, .name = name};
    out->specific = driver->specific_info ? driver->specific_info(node) : NULL;
    json_t *bitmaps = driver->bitmaps_info ? driver->bitmaps_info(node) : NULL;
    if (out->specific && bitmaps && json_array_size(bitmaps) &&
        !json_object_get(out->specific, "bitmaps"))
        out->specific = merge_bitmaps(out->specific, bitmaps);
    json_decref(bitmaps);
    out->backing = driver->backing_path ? driver->backing_path(node) : NULL;
    out->backing_format = driver->backing_format ? driver->backing_format(node) : NULL;
    if (out->backing)
        out->full_backing = block_resolve_path(name, out->backing);
    out->encrypted =
        json_object_get(out->specific, "encrypt") != NULL || strcmp(driver->name, "luks") == 0;
}

static void forget(struct description *description)
{
    json_decref(description->specific);
    free(description->full_backing);
}

/* ------------------------------------------------------------------- human */

static void print_image(const struct description *image)
{
    char size[16];
    const struct block_info *info = block_get_info(image->node);
    int64_t allocated = block_allocated_size(image->node);
    printf("image: %s\nfile format: %s\n", image->name, block_format(image->node));
    img_size_text(size, sizeof(size), info->size);
    printf("virtual size: %s (%" PRIu64 " bytes)\n", size, info->size);
    if (allocated >= 0)
        img_size_text(size, sizeof(size), (uint64_t)allocated);
    printf("disk size: %s\n", allocated < 0 ? "unavailable" : size);
    if (image->encrypted)
        puts("encrypted: yes");
    if (info->cluster_size)
        printf("cluster_size: %u\n", info->cluster_size);
    if (info->needs_repair)
        puts("cleanly shut down: no");
    if (image->backing) {
        printf("backing file: %s", image->backing);
        if (image->full_backing && strcmp(image->backing, image->full_backing) != 0)
            printf(" (actual path: %s)", image->full_backing);
        putchar('\n');
        if (image->backing_format)
            printf("backing file format: %s\n", image->backing_format);
    }
}

static int print_human(const struct description *image)
{
    print_image(image);
    if (img_print_snapshots(image->node) < 0)
        return -EIO;
    if (json_object_size(image->specific)) {
        puts("Format specific information:");
        img_print_human(image->specific, 1);
    }
    return 0;
}

/* -------------------------------------------------------------------- JSON */

static json_t *snapshots_of(struct block_node *node)
{
    struct block_snapshot *snapshots = NULL;
    unsigned count = 0;
    struct kv_error err = {0};
    const struct block_snapshot_ops *ops = node->driver->snapshots;
    if (!ops || ops->list(node, &snapshots, &count, &err) < 0 || !count) {
        free(snapshots);
        return NULL;
    }
    json_t *array = json_array();
    for (unsigned i = 0; i < count; i++) {
        const struct block_snapshot *s = &snapshots[i];
        json_t *object = json_object();
        if (s->icount != UINT64_MAX)
            json_object_set_new(object, "icount", json_integer((json_int_t)s->icount));
        json_object_set_new(object, "vm-clock-nsec",
                            json_integer((json_int_t)(s->vm_clock_nsec % 1000000000)));
        json_object_set_new(object, "name", json_string(s->name));
        json_object_set_new(object, "date-sec", json_integer((json_int_t)s->date_sec));
        json_object_set_new(object, "date-nsec", json_integer(s->date_nsec));
        json_object_set_new(object, "vm-clock-sec",
                            json_integer((json_int_t)(s->vm_clock_nsec / 1000000000)));
        json_object_set_new(object, "id", json_string(s->id));
        json_object_set_new(object, "vm-state-size", json_integer((json_int_t)s->vm_state_size));
        json_array_append_new(array, object);
    }
    free(snapshots);
    return array;
}

static json_t *to_json(const struct description *image)
{
    const struct block_info *info = block_get_info(image->node);
    int64_t allocated = block_allocated_size(image->node);
    json_t *object = json_object(), *snapshots = snapshots_of(image->node);
    if (snapshots)
        json_object_set_new(object, "snapshots", snapshots);
    if (image->backing && image->backing_format)
        json_object_set_new(object, "backing-filename-format", json_string(image->backing_format));
    json_object_set_new(object, "virtual-size", json_integer((json_int_t)info->size));
    json_object_set_new(object, "filename", json_string(image->name));
    if (info->cluster_size)
        json_object_set_new(object, "cluster-size", json_integer(info->cluster_size));
    json_object_set_new(object, "format", json_string(block_format(image->node)));
    if (allocated >= 0)
        json_object_set_new(object, "actual-size", json_integer(allocated));
    if (json_object_size(image->specific))
        json_object_set_new(
            object, "format-specific",
            json_pack("{s:s,s:O}", "type", block_format(image->node), "data", image->specific));
    if (image->encrypted)
        json_object_set_new(object, "encrypted", json_true());
    if (image->backing) {
        json_object_set_new(object, "full-backing-filename", json_string(image->full_backing));
        json_object_set_new(object, "backing-filename", json_string(image->backing));
    }
    json_object_set_new(object, "dirty-flag", json_boolean(info->needs_repair));
    return object;
}

/* ------------------------------------------------------------------- chain */

/* Prints one image and says what the next one is called. */
static int tell(const struct img_open *how, bool json, json_t *answers, bool first, char **next,
                char **next_format)
{
    cleanup_image struct block_node *node = img_open_image(how);
    struct description image;
    if (!node)
        return -EINVAL;
    describe(&image, node, how->image_opts ? block_name(node) : how->name);
    int rc = 0;
    if (json) {
        json_array_append_new(answers, to_json(&image));
    } else {
        if (!first)
            putchar('\n');
        rc = print_human(&image);
    }
    *next = image.full_backing ? strdup(image.full_backing) : NULL;
    *next_format = image.full_backing && image.backing_format ? strdup(image.backing_format) : NULL;
    forget(&image);
    return rc;
}

static int tell_all(const struct info_args *args, const char *name, bool json, json_t *answers)
{
    struct img_open how = img_open_from(&args->args, name);
    char *seen[MAX_CHAIN];
    unsigned depth = 0;
    char *format = NULL, *next = NULL;
    int rc = 0;
    how.no_backing = how.no_io = true;
    do {
        char *next_format = NULL;
        rc = tell(&how, json, answers, depth == 0, &next, &next_format);
        free(format);
        format = next_format;
        for (unsigned i = 0; rc == 0 && next && args->chain && i < depth; i++) {
            if (strcmp(seen[i], next) == 0) {
                img_error("Backing file '%s' creates an infinite loop.", next);
                rc = -ELOOP;
            }
        }
        if (rc < 0 || !next || !args->chain)
            break;
        seen[depth++] = next;
        how = (struct img_open){.name = next,
                                .format = format,
                                .share = how.share,
                                .no_backing = true,
                                .no_io = true,
                                .cache = how.cache};
        next = NULL;
    } while (depth < MAX_CHAIN);
    free(next);
    free(format);
    while (depth)
        free(seen[--depth]);
    return rc;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct info_args *args = opaque;
    bool json;
    if (count != 1)
        return img_usage_error("Expecting one image file name");
    if (img_parse_output(&args->args, &json) < 0)
        return IMG_FAILED;
    json_t *answers = json_array();
    int rc = tell_all(args, operands[0], json, answers);
    if (rc == 0 && json)
        img_print_json(args->chain ? answers : json_array_get(answers, 0));
    json_decref(answers);
    return rc < 0 ? IMG_FAILED : IMG_OK;
}

const struct img_command img_info = {
    .name = "info",
    .operands = "FILE",
    .help = "tell what an image is",
    .options = info_options,
    .args_size = sizeof(struct info_args),
    .run = run,
};
