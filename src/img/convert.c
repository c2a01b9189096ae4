/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img convert: the arguments, the images; the copying itself is block/convert.c. */
#include "block/convert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "img/create.h"

#define MAX_SPARSE MIB(16)

struct convert_args {
    struct img_args args;
    const char *output_format, *backing, *backing_format, *snapshot, *sparse, *rate, *workers;
    bool compress, existing, target_is_zero, target_image_opts, bitmaps, skip_broken, out_of_order;
    bool offload, salvage;
    struct img_list options;
};

static const struct img_option convert_options[] = {
    IMG_FORMAT('f', convert_args),
    IMG_OPTION('O', NULL, IMG_TEXT, convert_args, output_format, "FMT",
               "format of the new image (default: raw)"),
    IMG_OPTION('o', NULL, IMG_LIST, convert_args, options, "OPTIONS",
               "options of the new image, NAME=VALUE,...; help lists them"),
    IMG_OPTION('B', NULL, IMG_TEXT, convert_args, backing, "FILE",
               "backing file of the new image: what the source has from its own stays there"),
    IMG_OPTION('F', NULL, IMG_TEXT, convert_args, backing_format, "FMT",
               "format of the backing file"),
    IMG_OPTION('c', NULL, IMG_FLAG, convert_args, compress, NULL,
               "compress, with as many threads as -m says"),
    IMG_OPTION('n', NULL, IMG_FLAG, convert_args, existing, NULL,
               "the target exists: write into it"),
    IMG_OPTION(0, "target-is-zero", IMG_FLAG, convert_args, target_is_zero, NULL,
               "with -n: the target reads as zeros"),
    IMG_OPTION('l', NULL, IMG_TEXT, convert_args, snapshot, "SNAPSHOT",
               "convert this snapshot of the image"),
    IMG_OPTION('S', NULL, IMG_TEXT, convert_args, sparse, "SIZE",
               "so many zeros in a row become a hole (default: 4k); 0: none do"),
    IMG_OPTION('r', NULL, IMG_TEXT, convert_args, rate, "SIZE", "limit: bytes per second"),
    IMG_OPTION('m', NULL, IMG_TEXT, convert_args, workers, "N",
               "requests at the same time, 1 to 16 (default: 8)"),
    IMG_OPTION('W', NULL, IMG_FLAG, convert_args, out_of_order, NULL, "write in any order"),
    IMG_OPTION('C', NULL, IMG_FLAG, convert_args, offload, NULL,
               "let the system copy between files"),
    IMG_OPTION(0, "salvage", IMG_FLAG, convert_args, salvage, NULL,
               "go on where the source cannot be read: zeros instead"),
    IMG_OPTION(0, "bitmaps", IMG_FLAG, convert_args, bitmaps, NULL,
               "copy persistent dirty bitmaps too"),
    IMG_OPTION(0, "skip-broken-bitmaps", IMG_FLAG, convert_args, skip_broken, NULL,
               "with --bitmaps: leave out those that are inconsistent"),
    IMG_CACHE(convert_args, "cache mode for writing (default: unsafe)"),
    IMG_SOURCE_CACHE(convert_args),
    IMG_OBJECT(convert_args),
    IMG_IMAGE_OPTS(convert_args),
    IMG_OPTION(0, "target-image-opts", IMG_FLAG, convert_args, target_image_opts, NULL,
               "with -n: the target's name is a description"),
    IMG_PROGRESS(convert_args),
    IMG_QUIET(convert_args),
    IMG_SHARE(convert_args),
    IMG_OPTIONS_END,
};

struct conversion {
    const struct convert_args *args;
    struct block_node **sources;
    unsigned count;
    struct block_node *target;
    const char *target_name;
    enum block_cache cache, source_cache;
    struct img_create_options options;
    struct block_convert work;
    struct img_progress progress;
};

/* ------------------------------------------------------------- the arguments */

/* Pairs that exclude each other or need each other. NULL: none. */
static const char *conflict(const struct convert_args *args, unsigned sources)
{
    const struct {
        bool wrong;
        const char *text;
    } rules[] = {
        {args->skip_broken && !args->bitmaps, "Use of --skip-broken-bitmaps requires --bitmaps"},
        {args->target_image_opts && !args->existing, "--target-image-opts requires use of -n flag"},
        {args->target_is_zero && !args->existing, "--target-is-zero requires use of -n flag"},
        {args->offload && args->compress, "Cannot enable copy offloading when -c is used"},
        {args->offload && args->sparse, "Cannot enable copy offloading when -S is used"},
        {args->existing && args->options.count, "-o has no effect when skipping image creation"},
        {sources > 1 && args->snapshot, "No support for concatenating multiple snapshot"},
        {sources > 1 && args->bitmaps, "Copying bitmaps only possible with single source"},
        {args->target_image_opts && args->output_format,
         "--image-opts and --format are mutually exclusive"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        if (rules[i].wrong)
            return rules[i].text;
    }
    return NULL;
}

static int parse_sparse(const char *text, uint32_t *sparse)
{
    uint64_t size;
    if (!text)
        return 0;
    int rc = img_parse_size("buffer size for sparse output", text, 0, INT64_MAX, &size);
    if (rc < 0)
        return rc;
    if (size % 512 || size > MAX_SPARSE) {
        img_error("Invalid buffer size for sparse output specified. Valid sizes are multiples of "
                  "512 up to %" PRIu64 ". Select 0 to disable sparse detection (fully allocates "
                  "output).",
                  MAX_SPARSE);
        return -EINVAL;
    }
    *sparse = (uint32_t)size;
    return 0;
}

static int parse_workers(const char *text, unsigned *workers)
{
    uint64_t number = 8;
    if (text && (parse_u64(text, &number) < 0 || number < 1 || number > CONVERT_MAX_WORKERS)) {
        img_error("Invalid number of coroutines. Allowed number of coroutines is between 1 and %u",
                  CONVERT_MAX_WORKERS);
        return -EINVAL;
    }
    *workers = (unsigned)number;
    return 0;
}

static int parse(struct conversion *conversion, unsigned sources)
{
    const struct convert_args *args = conversion->args;
    struct block_convert *work = &conversion->work;
    *work = (struct block_convert){.sparse = 4096,
                                   .compress = args->compress,
                                   .out_of_order = args->out_of_order,
                                   .offload = args->offload,
                                   .salvage = args->salvage};
    conversion->cache = BLOCK_CACHE_UNSAFE;
    conversion->source_cache = BLOCK_CACHE_WRITEBACK;
    int rc = parse_sparse(args->sparse, &work->sparse);
    if (rc == 0)
        rc = parse_workers(args->workers, &work->workers);
    if (rc == 0 && args->rate)
        rc = img_parse_size("rate limit", args->rate, 0, INT64_MAX, &work->rate);
    if (rc == 0)
        rc = img_parse_cache("cache", args->args.cache, &conversion->cache);
    if (rc == 0)
        rc = img_parse_cache("source cache", args->args.source_cache, &conversion->source_cache);
    const char *wrong = conflict(args, sources);
    if (rc == 0 && wrong) {
        img_error("%s", wrong);
        rc = -EINVAL;
    }
    return rc;
}

/* -------------------------------------------------------------- the images */

static int open_sources(struct conversion *conversion, char **names, unsigned count)
{
    conversion->sources = calloc(count, sizeof(struct block_node *));
    for (; conversion->sources && conversion->count < count; conversion->count++) {
        struct img_open how = img_open_from(&conversion->args->args, names[conversion->count]);
        how.cache = conversion->source_cache;
        struct block_node *node = img_open_image(&how);
        if (!node)
            return -EINVAL;
        conversion->sources[conversion->count] = node;
    }
    return conversion->sources ? 0 : -ENOMEM;
}

static uint64_t total_size(const struct conversion *conversion)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < conversion->count; i++)
        total += block_get_info(conversion->sources[i])->size;
    return total;
}

static int check_target_options(struct conversion *conversion)
{
    const struct convert_args *args = conversion->args;
    struct img_create_options *options = &conversion->options;
    int rc = img_split_options(options, &args->options, NULL);
    if (rc == 0 && !options->help)
        rc = img_check_options(options, NULL);
    if (rc < 0 || options->help)
        return rc;
    rc = img_set_backing_options(options, args->backing, args->backing_format, NULL);
    const char *backing = img_get_option(options, "backing_file");
    const char *preallocation = img_get_option(options, "preallocation");
    const char *wrong =
        rc < 0 ? NULL
        : backing && conversion->count > 1
            ? "Having a backing file for the target makes no sense when concatenating multiple "
              "input images"
        : backing && !img_get_option(options, "backing_fmt")
            ? "Use of backing file requires explicit backing format"
        : args->compress && preallocation && strcmp(preallocation, "off") != 0
            ? "Compression and preallocation not supported at the same time"
        : args->compress && !img_knows_option(options->driver, "compression_type")
            ? "Compression not supported for this file format"
        : args->bitmaps && !options->driver->bitmaps ? ""
                                                     : NULL;
    if (wrong && !*wrong)
        img_error("Format driver '%s' does not support bitmaps", options->driver->name);
    else if (wrong)
        img_error("%s", wrong);
    return wrong ? -EINVAL : rc;
}

static int create_target(struct conversion *conversion)
{
    struct img_create_options *options = &conversion->options;
    struct kv_error err = {0};
    char size[24];
    snprintf(size, sizeof(size), "%" PRIu64, total_size(conversion));
    img_set_option(options, "size", size);
    int rc = 0;
    if (img_get_option(options, "backing_fmt") && !img_get_option(options, "backing_file"))
        rc = kv_error_set(&err, KV_ERR_BLOCK, EINVAL,
                          "Backing format cannot be used without backing file");
    if (rc == 0)
        rc = img_create_image(options, conversion->target_name, &err);
    if (rc < 0)
        img_error("%s: error while converting %s: %s", conversion->target_name,
                  options->driver->name, err.message);
    return rc;
}

/* Whether a new image reads as zeros: one on a device or behind a protocol may have old bytes where
 * the format has no map of its own. */
static bool is_new_zero(const struct conversion *conversion)
{
    const char *path = conversion->target_name;
    struct stat st;
    bool plain =
        stat(strncmp(path, "file:", 5) == 0 ? path + 5 : path, &st) == 0 && S_ISREG(st.st_mode);
    /* Zeros of a new file are no zeros when they are decrypted; what has no cluster is. */
    bool zeros =
        plain && (!conversion->target->info.encrypted || conversion->target->info.cluster_size);
    return zeros || (conversion->target->info.cluster_size &&
                     !img_get_option(&conversion->options, "preallocation"));
}

static int open_target(struct conversion *conversion)
{
    const struct convert_args *args = conversion->args;
    struct img_open how = {.name = conversion->target_name,
                           .format = args->target_image_opts ? NULL
                                     : args->output_format   ? args->output_format
                                     : args->existing        ? NULL
                                                             : "raw",
                           .image_opts = args->target_image_opts,
                           .writable = true,
                           .quiet = args->args.quiet,
                           .cache = conversion->cache};
    if (args->existing && !args->target_image_opts && !how.format)
        how.format = "raw";
    if (!args->existing && !args->target_image_opts) {
        how.key_secret = img_get_option(&conversion->options, "key-secret");
        how.encrypt_key_secret = img_get_option(&conversion->options, "encrypt.key-secret");
    }
    conversion->target = img_open_image(&how);
    if (!conversion->target)
        return -EINVAL;
    if (block_get_info(conversion->target)->size < total_size(conversion)) {
        img_error("output file is smaller than input file");
        return -ENOSPC;
    }
    return 0;
}

/* -------------------------------------------------------------------- work */

static void show_progress(void *opaque, uint64_t done, uint64_t total)
{
    struct conversion *conversion = opaque;
    img_progress_update(&conversion->progress, done, total);
}

static void say_read_failed(void *opaque, uint64_t offset, int error)
{
    struct conversion *conversion = opaque;
    if (!conversion->args->args.quiet)
        img_warning("error while reading offset %" PRIu64 ": %s", offset, strerror(error));
}

static int copy(struct conversion *conversion)
{
    struct block_convert *work = &conversion->work;
    const char *preallocation = img_get_option(&conversion->options, "preallocation");
    bool has_backing = img_get_option(&conversion->options, "backing_file") != NULL;
    work->sources = conversion->sources;
    work->source_count = conversion->count;
    work->target = conversion->target;
    work->target_is_zero = conversion->args->target_is_zero ||
                           (!conversion->args->existing && is_new_zero(conversion));
    work->keep_unallocated = has_backing;
    work->base = has_backing ? block_backing(conversion->sources[0]) : NULL;
    work->progress = show_progress;
    work->read_failed = say_read_failed;
    work->opaque = conversion;
    /* What was allocated on purpose stays so. */
    if (preallocation && strcmp(preallocation, "off") != 0 && work->sparse)
        work->offload = false;
    img_progress_begin(&conversion->progress, &conversion->args->args);
    int rc = block_convert(work);
    if (rc < 0) {
        img_error("error while %s at byte %" PRIu64 ": %s",
                  work->failed_writing ? "writing" : "reading", work->failed_offset, strerror(-rc));
        return rc;
    }
    rc = block_flush(conversion->target);
    if (rc < 0)
        img_error("error while flushing '%s': %s", conversion->target_name, strerror(-rc));
    return rc;
}

static int convert(struct conversion *conversion, char **operands, unsigned count)
{
    const struct convert_args *args = conversion->args;
    const char *format = args->output_format ? args->output_format : "raw";
    conversion->target_name = operands[count - 1];
    int rc = open_sources(conversion, operands, count - 1);
    if (rc == 0 && args->snapshot)
        rc = img_load_snapshot(conversion->sources[0], args->snapshot);
    if (rc == 0 && !args->existing)
        rc = img_find_creatable(&conversion->options.driver, format, NULL);
    if (rc == 0 && !args->existing)
        rc = check_target_options(conversion);
    if (rc < 0)
        return rc;
    if (conversion->options.help) {
        img_print_options(conversion->options.driver, true);
        return 0;
    }
    if (!args->existing)
        rc = create_target(conversion);
    if (rc == 0)
        rc = open_target(conversion);
    if (rc == 0 && args->compress && !conversion->target->driver->create) {
        img_error("Compression not supported for this file format");
        rc = -ENOTSUP;
    }
    if (rc == 0)
        rc = copy(conversion);
    if (rc == 0 && args->bitmaps)
        rc = img_copy_bitmaps(conversion->sources[0], conversion->target, args->skip_broken);
    if (rc == 0)
        img_progress_end(&conversion->progress);
    return rc;
}

static int run(void *opaque, char **operands, unsigned count)
{
    struct conversion conversion = {.args = opaque};
    if (parse(&conversion, count ? count - 1 : 0) < 0)
        return IMG_FAILED;
    bool only_help = false;
    for (unsigned i = 0; i < conversion.args->options.count; i++)
        only_help = only_help || strcmp(conversion.args->options.items[i].value, "help") == 0;
    if (count < 2 && only_help) {
        const char *format = conversion.args->output_format;
        if (img_find_creatable(&conversion.options.driver, format ? format : "raw", NULL) < 0)
            return IMG_FAILED;
        img_print_options(conversion.options.driver, false);
        return IMG_OK;
    }
    if (count < 2)
        return img_error("Must specify image file name");
    int rc = convert(&conversion, operands, count);
    block_close(conversion.target);
    for (unsigned i = 0; i < conversion.count; i++)
        block_close(conversion.sources[i]);
    free(conversion.sources);
    img_free_options(&conversion.options);
    return rc < 0 ? IMG_FAILED : IMG_OK;
}

const struct img_command img_convert = {
    .name = "convert",
    .operands = "FILE... OUTPUT_FILE",
    .help = "copy an image into another format",
    .options = convert_options,
    .args_size = sizeof(struct convert_args),
    .run = run,
};
