/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img amend: options of an image that exists. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"
#include "img/img.h"

struct amend_args {
    struct img_args args;
    bool force;
    struct img_list options;
};

static const struct img_option amend_options[] = {
    IMG_FORMAT('f', amend_args),
    IMG_OPTION('o', NULL, IMG_LIST, amend_args, options, "OPTIONS",
               "new values, NAME=VALUE,...; help lists them"),
    IMG_OPTION(0, "force", IMG_FLAG, amend_args, force, NULL,
               "also what may lose the way into an encrypted image"),
    IMG_CACHE(amend_args, "cache mode for writing (default: writeback)"),
    IMG_OBJECT(amend_args),
    IMG_IMAGE_OPTS(amend_args),
    IMG_PROGRESS(amend_args),
    IMG_QUIET(amend_args),
    IMG_OPTIONS_END,
};

/* What can be changed later; what a format does not know of them its driver refuses. */
static const struct {
    const char *name;
    enum { VALUE_TEXT, VALUE_SIZE, VALUE_NUMBER, VALUE_BOOL } type;
    const char *help;
} changeable[] = {
    {"backing_file", VALUE_TEXT, "File name of a base image"},
    {"backing_fmt", VALUE_TEXT, "Image format of the base image"},
    {"compat", VALUE_TEXT, "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"data_file", VALUE_TEXT, "File name of an external data file"},
    {"data_file_raw", VALUE_BOOL, "The external data file must stay valid as a raw image"},
    {"encrypt.iter-time", VALUE_NUMBER, "Time to spend in PBKDF in milliseconds"},
    {"encrypt.keyslot", VALUE_NUMBER, "Select a single keyslot to modify explicitly"},
    {"encrypt.new-secret", VALUE_TEXT,
     "New secret to set in the matching keyslots. Empty string to erase"},
    {"encrypt.old-secret", VALUE_TEXT, "Select all keyslots that match this password"},
    {"encrypt.state", VALUE_TEXT, "Select new state of affected keyslots (active/inactive)"},
    {"lazy_refcounts", VALUE_BOOL, "Postpone refcount updates"},
    {"refcount_bits", VALUE_NUMBER, "Width of a reference count entry in bits"},
    {"size", VALUE_SIZE, "Virtual disk size"},
};

static int print_help(const struct block_driver *driver)
{
    static const char *const types[] = {"str", "size", "num", "bool (on/off)"};
    if (!driver->amend)
        return img_error("Format driver '%s' does not support option amendment", driver->name);
    printf("Amend options for '%s':\n", driver->name);
    for (unsigned i = 0; i < ARRAY_SIZE(changeable); i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s=<%s>", changeable[i].name, types[changeable[i].type]);
        printf("  %-22s - %s\n", name, changeable[i].help);
    }
    return IMG_OK;
}

static bool is_create_option(const struct block_driver *driver, const char *name)
{
    for (const struct option_spec *spec = driver->create_options; spec && spec->name; spec++) {
        if (strcmp(spec->name, name) == 0)
            return true;
    }
    return false;
}

/* The option's value with its type into changes. */
static int put_change(const struct block_driver *driver, const struct img_pair *pair,
                      json_t *changes)
{
    unsigned i = 0;
    uint64_t number;
    bool on;
    while (i < ARRAY_SIZE(changeable) && strcmp(changeable[i].name, pair->name) != 0)
        i++;
    if (i == ARRAY_SIZE(changeable))
        return img_error("Invalid parameter '%s'%s", pair->name,
                         is_create_option(driver, pair->name)
                             ? "\nThis option is only supported for image creation"
                             : "");
    switch (changeable[i].type) {
    case VALUE_SIZE:
        if (parse_size(pair->value, &number) < 0)
            return img_error("Parameter '%s' expects a non-negative number below 2^64\n"
                             "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, "
                             "tera-, peta-\nand exabytes, respectively.",
                             pair->name);
        json_object_set_new(changes, pair->name, json_integer((json_int_t)number));
        break;
    case VALUE_NUMBER:
        if (parse_u64(pair->value, &number) < 0)
            return img_error("Parameter '%s' expects a number", pair->name);
        json_object_set_new(changes, pair->name, json_integer((json_int_t)number));
        break;
    case VALUE_BOOL:
        if (parse_bool(pair->value, &on) < 0)
            return img_error("Parameter '%s' expects 'on' or 'off'", pair->name);
        json_object_set_new(changes, pair->name, json_boolean(on));
        break;
    case VALUE_TEXT:
        json_object_set_new(changes, pair->name, json_string(pair->value));
        break;
    }
    return IMG_OK;
}

static int amend(const struct amend_args *args, struct block_node *node,
                 const struct img_create_options *options)
{
    struct img_progress progress;
    struct kv_error err = {0};
    if (!node->driver->amend)
        return img_error("Format driver '%s' does not support option amendment",
                         block_format(node));
    json_t *changes = json_object();
    int status = IMG_OK;
    for (unsigned i = 0; i < options->count && status == IMG_OK; i++)
        status = put_change(node->driver, &options->pairs[i], changes);
    if (args->force)
        json_object_set_new(changes, "force", json_true());
    if (status == IMG_OK) {
        img_progress_begin(&progress, &args->args);
        status =
            node->driver->amend(node, changes, &err) < 0 ? img_error("%s", err.message) : IMG_OK;
        if (status == IMG_OK)
            img_progress_end(&progress);
    }
    json_decref(changes);
    return status;
}

static int run_with(const struct amend_args *args, struct img_create_options *options,
                    const char *name)
{
    if (img_split_options(options, &args->options, NULL) < 0)
        return IMG_FAILED;
    if (options->help && args->args.format) {
        const struct block_driver *driver = block_driver_find(args->args.format);
        return driver ? print_help(driver)
                      : img_error("Unknown file format '%s'", args->args.format);
    }
    if (!name)
        return img_usage_error("Expecting one image file name");
    struct img_open how = img_open_from(&args->args, name);
    how.writable = !options->help;
    if (img_parse_cache("cache", args->args.cache, &how.cache) < 0)
        return IMG_FAILED;
    cleanup_image struct block_node *node = img_open_image(&how);
    if (!node)
        return IMG_FAILED;
    return options->help ? print_help(node->driver) : amend(args, node, options);
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct amend_args *args = opaque;
    struct img_create_options options = {0};
    if (!args->options.count)
        return img_usage_error("Must specify options (-o)");
    if (count > 1)
        return img_usage_error("Expecting one image file name");
    int status = run_with(args, &options, count ? operands[0] : NULL);
    img_free_options(&options);
    return status;
}

const struct img_command img_amend = {
    .name = "amend",
    .operands = "FILE",
    .help = "change options of an image",
    .options = amend_options,
    .args_size = sizeof(struct amend_args),
    .run = run,
};
