/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img measure: how large the file of a new image would be. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"
#include "img/create.h"

struct measure_args {
    struct img_args args;
    const char *output_format, *size, *snapshot;
    struct img_list options;
};

static const struct img_option measure_options[] = {
    IMG_FORMAT('f', measure_args),
    IMG_OPTION('O', NULL, IMG_TEXT, measure_args, output_format, "FMT",
               "format of the new image (default: raw)"),
    IMG_OPTION('o', NULL, IMG_LIST, measure_args, options, "OPTIONS",
               "options of the new image, NAME=VALUE,...; help lists them"),
    IMG_OPTION(0, "size", IMG_TEXT, measure_args, size, "SIZE", "of this size, empty"),
    IMG_OPTION('l', NULL, IMG_TEXT, measure_args, snapshot, "SNAPSHOT",
               "measure this snapshot of the image"),
    IMG_OUTPUT(measure_args),
    IMG_OBJECT(measure_args),
    IMG_IMAGE_OPTS(measure_args),
    IMG_SHARE(measure_args),
    IMG_OPTIONS_END,
};

static void print_human(const struct block_measure *measure)
{
    printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", measure->required,
           measure->fully_allocated);
    if (measure->bitmaps != UINT64_MAX)
        printf("bitmaps size: %" PRIu64 "\n", measure->bitmaps);
}

static void print_json(const struct block_measure *measure)
{
    json_t *object = json_object();
    if (measure->bitmaps != UINT64_MAX)
        json_object_set_new(object, "bitmaps", json_integer((json_int_t)measure->bitmaps));
    json_object_set_new(object, "required", json_integer((json_int_t)measure->required));
    json_object_set_new(object, "fully-allocated",
                        json_integer((json_int_t)measure->fully_allocated));
    img_print_json(object);
    json_decref(object);
}

static bool keeps_bitmaps(const struct img_create_options *options, struct block_node *source)
{
    const char *compat = img_get_option(options, "compat");
    if (!source || !source->driver->bitmaps || !options->driver->bitmaps ||
        (compat && (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0)))
        return false;
    json_t *specific = source->driver->specific_info ? source->driver->specific_info(source) : NULL;
    const char *version = json_string_value(json_object_get(specific, "compat"));
    bool keeps = version && strcmp(version, "0.10") != 0;
    json_decref(specific);
    return keeps;
}

/* What the source's bitmaps take in clusters of the new image (qcow2 specification, "Bitmaps"):
 * bits, a table for each and a directory of all. */
static uint64_t bitmaps_size(const struct img_create_options *options, struct block_node *source)
{
    const char *given = img_get_option(options, "cluster_size");
    uint64_t cluster = KIB(64), directory = 0, total = 0;
    size_t i;
    json_t *bitmap;
    if (given)
        parse_size(given, &cluster);
    json_t *bitmaps = source->driver->bitmaps_info ? source->driver->bitmaps_info(source) : NULL;
    json_array_foreach (bitmaps, i, bitmap) {
        uint64_t granularity = (uint64_t)json_integer_value(json_object_get(bitmap, "granularity"));
        uint64_t bits = (block_get_info(source)->size + granularity - 1) / MAX(granularity, 1u);
        uint64_t data = ALIGN_UP((bits + 7) / 8, cluster);
        total += data + ALIGN_UP(data / cluster * 8, cluster);
        directory += ALIGN_UP(24 + json_string_length(json_object_get(bitmap, "name")), 8u);
    }
    json_decref(bitmaps);
    return total + ALIGN_UP(directory, cluster);
}

static int measure(struct img_create_options *options, struct block_node *source, bool json)
{
    struct block_measure result = {.bitmaps = UINT64_MAX};
    struct kv_error err = {0};
    void *config = NULL;
    if (!options->driver->measure)
        return img_error("Block driver '%s' does not support size measurement",
                         options->driver->name);
    int rc = img_make_config(options, &config, &err);
    if (rc == 0)
        rc = options->driver->measure(config, source, &result, &err);
    img_free_config(options->driver, config);
    if (rc < 0)
        return img_error("%s", err.message);
    if (keeps_bitmaps(options, source))
        result.bitmaps = bitmaps_size(options, source);
    if (json)
        print_json(&result);
    else
        print_human(&result);
    return IMG_OK;
}

static int check(const struct measure_args *args, unsigned count, uint64_t *size)
{
    if (count > 1)
        return img_error("At most one filename argument is allowed.");
    if (!count && (args->args.image_opts || args->args.format || args->snapshot))
        return img_error("--image-opts, -f, and -l require a filename argument.");
    if (!count && !args->size)
        return img_error("Either --size N or one filename must be specified.");
    if (count && args->size)
        return img_error("--size N cannot be used together with a filename.");
    return args->size && img_parse_size("image size", args->size, 0, INT64_MAX, size) < 0
               ? IMG_FAILED
               : IMG_OK;
}

static int run_with(const struct measure_args *args, struct img_create_options *options,
                    const char *name, uint64_t size, bool json)
{
    char number[24];
    cleanup_image struct block_node *source = NULL;
    if (name) {
        struct img_open how = img_open_from(&args->args, name);
        source = img_open_image(&how);
        if (!source || (args->snapshot && img_load_snapshot(source, args->snapshot) < 0))
            return IMG_FAILED;
        size = block_get_info(source)->size;
    }
    if (img_split_options(options, &args->options, NULL) < 0)
        return IMG_FAILED;
    if (options->help) {
        img_print_options(options->driver, false);
        return IMG_OK;
    }
    if (img_check_options(options, NULL) < 0)
        return IMG_FAILED;
    snprintf(number, sizeof(number), "%" PRIu64, size);
    img_set_option(options, "size", number);
    return measure(options, source, json);
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct measure_args *args = opaque;
    const char *format = args->output_format ? args->output_format : "raw";
    struct img_create_options options = {0};
    uint64_t size = 0;
    bool json;
    if (img_parse_output(&args->args, &json) < 0 || check(args, count, &size) != IMG_OK)
        return IMG_FAILED;
    options.driver = block_driver_find(format);
    if (!options.driver)
        return img_error("Unknown file format '%s'", format);
    if (!options.driver->create_options)
        return img_error("Block driver '%s' does not support size measurement", format);
    int status = run_with(args, &options, count ? operands[0] : NULL, size, json);
    img_free_options(&options);
    return status;
}

const struct img_command img_measure = {
    .name = "measure",
    .operands = "[--size SIZE | FILE]",
    .help = "tell how large the file of a new image would be",
    .options = measure_options,
    .args_size = sizeof(struct measure_args),
    .run = run,
};
