/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img create: a new image, and what convert and dd share with it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "img/create.h"

struct create_args {
    struct img_args args;
    const char *backing, *backing_format;
    bool unchecked;
    struct img_list options;
};

static const struct img_option create_options[] = {
    IMG_OPTION('f', NULL, IMG_TEXT, create_args, args.format, "FMT",
               "format of the new image (default: raw)"),
    IMG_OPTION('b', NULL, IMG_TEXT, create_args, backing, "FILE", "backing file"),
    IMG_OPTION('F', NULL, IMG_TEXT, create_args, backing_format, "FMT",
               "format of the backing file"),
    IMG_OPTION('u', NULL, IMG_FLAG, create_args, unchecked, NULL, "do not open the backing file"),
    IMG_OPTION('o', NULL, IMG_LIST, create_args, options, "OPTIONS",
               "options of the format, NAME=VALUE,...; help lists them"),
    IMG_OBJECT(create_args),
    IMG_QUIET(create_args),
    IMG_OPTIONS_END,
};

bool img_knows_option(const struct block_driver *driver, const char *name)
{
    for (const struct option_spec *spec = driver->create_options; spec && spec->name; spec++) {
        if (strcmp(spec->name, name) == 0)
            return true;
    }
    return false;
}

/* The size of the backing file, or -errno after a message. */
static int open_backing(const struct img_create_options *options, const char *path,
                        const char *backing, const char *format, uint64_t *size)
{
    cleanup_free char *resolved = block_resolve_path(path, backing);
    struct block_open_options how = {
        .fd = -1, .path = resolved, .format = format, .readonly = true};
    struct block_node *node = NULL;
    struct kv_error err = {0};
    if (!resolved)
        return img_error("Out of memory"), -ENOMEM;
    if (format && !block_driver_find(format)) {
        img_error("%s: Unknown backing file format '%s'", path, format);
        return -EINVAL;
    }
    int rc = block_open(&node, &how, &err);
    if (rc < 0) {
        if (err.code == ENOENT)
            img_error("%s: Could not open '%s': %s\nCould not open backing image.", path, resolved,
                      strerror(ENOENT));
        else
            img_error("%s: %s\nCould not open backing image.", path, err.message);
        return rc;
    }
    *size = block_get_info(node)->size;
    if (!format) {
        img_error("%s: Backing file specified without backing format\nDetected format of %s.", path,
                  block_format(node));
        rc = -EINVAL;
    }
    block_close(node);
    return rc;
}

/* The size given, else that of the backing file. 0 or -errno after a message. */
static int complete_size(struct img_create_options *options, const char *path, bool unchecked)
{
    const char *backing = img_get_option(options, "backing_file");
    const char *format = img_get_option(options, "backing_fmt");
    uint64_t size = 0;
    char text[24];
    int rc = 0;
    if (backing && !unchecked)
        rc = open_backing(options, path, backing, format, &size);
    if (rc < 0 || img_get_option(options, "size"))
        return rc;
    if (!backing || unchecked) {
        img_error("%s: Image creation needs a size parameter", path);
        return -EINVAL;
    }
    snprintf(text, sizeof(text), "%" PRIu64, size);
    img_set_option(options, "size", text);
    return 0;
}

static int set_size(struct img_create_options *options, const char *path, const char *text)
{
    uint64_t size;
    char number[24];
    int rc = img_parse_size("image size", text, 0, INT64_MAX, &size);
    if (rc < 0)
        return rc;
    if (img_get_option(options, "size")) {
        img_error("%s: The image size must be specified only once", path);
        return -EINVAL;
    }
    snprintf(number, sizeof(number), "%" PRIu64, size);
    img_set_option(options, "size", number);
    return 0;
}

int img_set_backing_options(struct img_create_options *options, const char *backing,
                            const char *format, const char *prefix)
{
    if ((backing || format) && !img_knows_option(options->driver, "backing_file")) {
        img_error("%s%sBacking file not supported for file format '%s'", prefix ? prefix : "",
                  prefix ? ": " : "", options->driver->name);
        return -ENOTSUP;
    }
    if (backing)
        img_set_option(options, "backing_file", backing);
    if (format)
        img_set_option(options, "backing_fmt", format);
    return 0;
}

int img_find_creatable(const struct block_driver **out, const char *name, const char *prefix)
{
    const struct block_driver *driver = block_driver_find(name);
    const char *between = prefix ? ": " : "";
    if (driver && driver->create && driver->create_options && !driver->is_protocol) {
        *out = driver;
        return 0;
    }
    if (driver)
        img_error("%s%sFormat driver '%s' does not support image creation", prefix ? prefix : "",
                  between, name);
    else
        img_error("%s%sUnknown file format '%s'", prefix ? prefix : "", between, name);
    return -EINVAL;
}

/* The protocol that the beginning of a path names; NULL: a file. */
static const struct block_driver *protocol_of(const char *path)
{
    const struct block_driver *driver;
    for (unsigned i = 0; (driver = block_driver_at(i)); i++) {
        const char *const *prefix = driver->prefixes;
        for (; prefix && *prefix; prefix++) {
            if (strncmp(path, *prefix, strlen(*prefix)) == 0 && strcmp(*prefix, "file:") != 0)
                return driver;
        }
    }
    return NULL;
}

/* Over a protocol the place for a raw image is there already, or is not. */
static int check_remote(const struct img_create_options *options, const char *path,
                        const struct block_driver *protocol, struct kv_error *err)
{
    const char *size = img_get_option(options, "size");
    struct block_open_options how = {.fd = -1, .path = path, .format = "raw"};
    struct block_node *node = NULL;
    uint64_t wanted = 0;
    if (strcmp(options->driver->name, "raw") != 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "Could not create '%s': over %s raw images are possible; with -n an "
                            "image that is there is used",
                            path, protocol->name);
    int rc = size ? parse_size(size, &wanted) : 0;
    if (rc == 0)
        rc = block_open(&node, &how, err);
    if (rc == 0 && block_get_info(node)->size < wanted)
        rc = kv_error_set(err, KV_ERR_BLOCK, ENOSPC,
                          "Could not create '%s': it has %" PRIu64 " bytes, %" PRIu64 " are needed",
                          path, block_get_info(node)->size, wanted);
    block_close(node);
    return rc;
}

int img_create_image(const struct img_create_options *options, const char *path,
                     struct kv_error *err)
{
    void *config = NULL;
    const struct block_driver *protocol = protocol_of(path);
    if (protocol)
        return check_remote(options, path, protocol, err);
    if (strncmp(path, "file:", 5) == 0)
        path += 5;
    int rc = img_make_config(options, &config, err);
    if (rc == 0)
        rc = options->driver->create(path, config, err);
    img_free_config(options->driver, config);
    if (rc == -EAGAIN)
        kv_error_set(err, KV_ERR_BLOCK, EAGAIN,
                     "Failed to get \"write\" lock\nIs another process using the image [%s]?",
                     path);
    return rc;
}

/* All but the creation itself. 0 or -errno after a message. */
static int prepare(struct img_create_options *options, const struct create_args *args,
                   const char *path, const char *size)
{
    int rc = img_split_options(options, &args->options, path);
    if (rc == 0 && !options->help)
        rc = img_check_options(options, path);
    if (rc < 0 || options->help)
        return rc;
    if (size)
        rc = set_size(options, path, size);
    if (rc == 0)
        rc = img_set_backing_options(options, args->backing, args->backing_format, path);
    const char *backing = img_get_option(options, "backing_file");
    if (rc == 0 && backing && strcmp(backing, path) == 0) {
        img_error("%s: Error: Trying to create an image with the same filename as the backing file",
                  path);
        rc = -EINVAL;
    }
    return rc < 0 ? rc : complete_size(options, path, args->unchecked);
}

static int create(const struct create_args *args, struct img_create_options *options,
                  const char *path)
{
    struct kv_error err = {0};
    if (!args->args.quiet) {
        img_print_formatting(options, path);
        fflush(stdout);
    }
    int rc = 0;
    if (img_get_option(options, "backing_fmt") && !img_get_option(options, "backing_file"))
        rc = kv_error_set(&err, KV_ERR_BLOCK, EINVAL,
                          "Backing format cannot be used without backing file");
    if (rc == 0)
        rc = img_create_image(options, path, &err);
    return rc < 0 ? img_error("%s: %s", path, err.message) : IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct create_args *args = opaque;
    const char *format = args->args.format ? args->args.format : "raw";
    const char *path = count ? operands[0] : NULL;
    struct img_create_options options = {0};
    bool only_help = false;
    for (unsigned i = 0; i < args->options.count; i++)
        only_help = only_help || strcmp(args->options.items[i].value, "help") == 0 ||
                    strcmp(args->options.items[i].value, "?") == 0;

    if (!path && !only_help)
        return img_usage_error("Expecting image file name");
    if (count > 2)
        return img_usage_error("Unexpected argument: %s", operands[2]);
    if (img_find_creatable(&options.driver, format, path) < 0)
        return IMG_FAILED;
    int status = IMG_FAILED;
    if (prepare(&options, args, path, count > 1 ? operands[1] : NULL) == 0) {
        status = IMG_OK;
        if (options.help)
            img_print_options(options.driver, path != NULL);
        else
            status = create(args, &options, path);
    }
    img_free_options(&options);
    return status;
}

const struct img_command img_create = {
    .name = "create",
    .operands = "FILE [SIZE]",
    .help = "make a new image",
    .options = create_options,
    .args_size = sizeof(struct create_args),
    .run = run,
};
