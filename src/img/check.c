/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img check: looks for inconsistencies in an image, repairs them. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "img/img.h"

struct check_args {
    struct img_args args;
    const char *repair;
};

static const struct img_option check_options[] = {
    IMG_FORMAT_LONG(check_args),
    IMG_OUTPUT(check_args),
    IMG_OPTION('r', "repair", IMG_TEXT, check_args, repair, "leaks|all", "repair what is found"),
    IMG_SOURCE_CACHE(check_args),
    IMG_OBJECT(check_args),
    IMG_IMAGE_OPTS(check_args),
    IMG_QUIET(check_args),
    IMG_SHARE(check_args),
    IMG_OPTIONS_END,
};

static void say_line(void *opaque, const char *line)
{
    bool *quiet = opaque;
    if (!*quiet)
        fprintf(stderr, "%s\n", line);
}

static void print_findings(const struct block_check_result *result)
{
    if (!result->corruptions && !result->leaks && !result->check_errors)
        puts("No errors were found on the image.");
    if (result->corruptions)
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               result->corruptions);
    if (result->leaks)
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               result->leaks);
    if (result->check_errors)
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
               result->check_errors);
}

static void print_human(const struct block_check_result *result)
{
    print_findings(result);
    if (result->total_clusters && result->allocated_clusters)
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
               "compressed clusters\n",
               result->allocated_clusters, result->total_clusters,
               100.0 * (double)result->allocated_clusters / (double)result->total_clusters,
               100.0 * (double)result->fragmented_clusters / (double)result->allocated_clusters,
               100.0 * (double)result->compressed_clusters / (double)result->allocated_clusters);
    if (result->image_end_offset)
        printf("Image end offset: %" PRIu64 "\n", result->image_end_offset);
}

static void put(json_t *object, const char *name, uint64_t value, bool always)
{
    if (value || always)
        json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void print_json(const struct block_check_result *result, const char *name,
                       const char *format)
{
    json_t *object = json_object();
    put(object, "image-end-offset", result->image_end_offset, false);
    put(object, "compressed-clusters", result->compressed_clusters, false);
    put(object, "total-clusters", result->total_clusters, false);
    put(object, "leaks-fixed", result->leaks_fixed, false);
    put(object, "corruptions", result->corruptions, false);
    put(object, "corruptions-fixed", result->corruptions_fixed, false);
    put(object, "check-errors", result->check_errors, true);
    put(object, "fragmented-clusters", result->fragmented_clusters, false);
    put(object, "leaks", result->leaks, false);
    put(object, "allocated-clusters", result->allocated_clusters, false);
    json_object_set_new(object, "filename", json_string(name));
    json_object_set_new(object, "format", json_string(format));
    img_print_json(object);
    json_decref(object);
}

/* 0 or an exit status after a message. */
static int check_once(struct block_node *node, unsigned fix, bool quiet,
                      struct block_check_result *result)
{
    struct kv_error err = {0};
    *result = (struct block_check_result){0};
    if (!node->driver->check) {
        img_error("This image format does not support checks");
        return IMG_CHECK_UNSUPPORTED;
    }
    int rc = node->driver->check(node, fix, result, say_line, &quiet, &err);
    if (rc < 0) {
        img_error("Check failed: %s", err.message);
        return IMG_FAILED;
    }
    return IMG_OK;
}

static int check(const struct check_args *args, struct block_node *node, unsigned fix, bool json)
{
    struct block_check_result result, again;
    bool quiet = args->args.quiet;
    int status = check_once(node, fix, quiet, &result);
    if (status != IMG_OK)
        return status;
    if (result.corruptions_fixed || result.leaks_fixed) {
        if (!json && !quiet) {
            printf("The following inconsistencies were found and repaired:\n\n"
                   "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
                   "Double checking the fixed image now...\n",
                   result.leaks_fixed, result.corruptions_fixed);
            fflush(stdout);
        }
        status = check_once(node, 0, quiet, &again);
        if (status != IMG_OK)
            return status;
        again.leaks_fixed = result.leaks_fixed;
        again.corruptions_fixed = result.corruptions_fixed;
        result = again;
    }
    if (json)
        print_json(&result, block_name(node), block_format(node));
    else if (!quiet)
        print_human(&result);
    if (result.check_errors) {
        if (!json)
            puts("\n");
        return IMG_FAILED;
    }
    return result.corruptions ? IMG_CHECK_CORRUPT : result.leaks ? IMG_CHECK_LEAKS : IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct check_args *args = opaque;
    unsigned fix = 0;
    bool json;
    if (args->repair && strcmp(args->repair, "leaks") == 0)
        fix = BLOCK_FIX_LEAKS;
    else if (args->repair && strcmp(args->repair, "all") == 0)
        fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS;
    else if (args->repair)
        return img_usage_error("Unknown option value for -r (expecting 'leaks' or 'all'): %s",
                               args->repair);
    if (count != 1)
        return img_usage_error("Expecting one image file name");
    if (img_parse_output(&args->args, &json) < 0)
        return IMG_FAILED;
    struct img_open how = img_open_from(&args->args, operands[0]);
    how.no_backing = how.check = true;
    how.writable = fix != 0;
    if (img_parse_cache("source cache", args->args.source_cache, &how.cache) < 0)
        return IMG_FAILED;
    cleanup_image struct block_node *node = img_open_image(&how);
    return node ? check(args, node, fix, json) : IMG_FAILED;
}

const struct img_command img_check = {
    .name = "check",
    .operands = "FILE",
    .help = "look for inconsistencies in an image",
    .options = check_options,
    .args_size = sizeof(struct check_args),
    .run = run,
};
