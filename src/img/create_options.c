/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of new images (-o name=value,...): split, checked, listed, printed, made a config. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "img/img.h"

static const struct option_spec *find_spec(const struct block_driver *driver, const char *name)
{
    const struct option_spec *spec = driver->create_options;
    while (spec->name && strcmp(spec->name, name) != 0)
        spec++;
    return spec->name ? spec : NULL;
}

__attribute__((format(printf, 2, 3))) static int refuse(const char *prefix, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    img_error("%s%s%s", prefix ? prefix : "", prefix ? ": " : "", text);
    return -EINVAL;
}

/* ---------------------------------------------------------------- in, out */

static struct img_pair *find_pair(const struct img_create_options *options, const char *name)
{
    for (unsigned i = options->count; i > 0; i--) {
        if (strcmp(options->pairs[i - 1].name, name) == 0)
            return &options->pairs[i - 1];
    }
    return NULL;
}

const char *img_get_option(const struct img_create_options *options, const char *name)
{
    const struct img_pair *pair = find_pair(options, name);
    return pair ? pair->value : NULL;
}

/* Out of memory ends the program: nothing was touched yet. */
static char *copy_of(const char *text, size_t len)
{
    char *copy = strndup(text, len);
    if (!copy) {
        img_error("Out of memory");
        exit(IMG_FAILED);
    }
    return copy;
}

void img_set_option(struct img_create_options *options, const char *name, const char *value)
{
    struct img_pair *pair = find_pair(options, name);
    if (pair) {
        free(pair->value);
        pair->value = copy_of(value, strlen(value));
        return;
    }
    struct img_pair *pairs = realloc(options->pairs, (options->count + 1) * sizeof(*pairs));
    if (!pairs) {
        img_error("Out of memory");
        exit(IMG_FAILED);
    }
    options->pairs = pairs;
    pairs[options->count++] =
        (struct img_pair){copy_of(name, strlen(name)), copy_of(value, strlen(value))};
}

void img_free_options(struct img_create_options *options)
{
    for (unsigned i = 0; i < options->count; i++) {
        free(options->pairs[i].name);
        free(options->pairs[i].value);
    }
    free(options->pairs);
    options->pairs = NULL;
    options->count = 0;
}

/* Cuts the next element off *text; ",," is a comma in it. */
static char *next_element(const char **text)
{
    char *element = copy_of(*text, strlen(*text)), *to = element;
    const char *from = *text;
    for (; *from; from++) {
        if (*from == ',' && from[1] != ',')
            break;
        from += *from == ',';
        *to++ = *from;
    }
    *to = '\0';
    *text = *from ? from + 1 : from;
    return element;
}

int img_split_options(struct img_create_options *options, const struct img_list *texts,
                      const char *prefix)
{
    for (unsigned i = 0; i < texts->count; i++) {
        const char *text = texts->items[i].value;
        if (!*text || *text == ',')
            return refuse(NULL, "Invalid option list: %s", text);
        while (*text) {
            cleanup_free char *element = next_element(&text);
            char *equals = strchr(element, '=');
            if (strcmp(element, "help") == 0 || strcmp(element, "?") == 0) {
                options->help = true;
                continue;
            }
            if (equals)
                *equals++ = '\0';
            if (!*element)
                return refuse(prefix, "Invalid parameter ''");
            img_set_option(options, element, equals ? equals : "on");
        }
    }
    return 0;
}

static int check_value(const struct option_spec *spec, const char *value, const char *prefix)
{
    uint64_t number;
    bool on;
    switch (spec->type) {
    case OPTION_SIZE:
        if (parse_size(value, &number) < 0)
            return refuse(prefix,
                          "Parameter '%s' expects a non-negative number below 2^64\n"
                          "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                          "peta-\nand exabytes, respectively.",
                          spec->name);
        return 0;
    case OPTION_UINT:
        return parse_u64(value, &number) < 0
                   ? refuse(prefix, "Parameter '%s' expects a number", spec->name)
                   : 0;
    case OPTION_BOOL:
        return parse_bool(value, &on) < 0
                   ? refuse(prefix, "Parameter '%s' expects 'on' or 'off'", spec->name)
                   : 0;
    case OPTION_STRING:
    case OPTION_INT:
    case OPTION_ENUM:
    case OPTION_MAC:
    case OPTION_FD:
        break;
    }
    return 0;
}

int img_check_options(const struct img_create_options *options, const char *prefix)
{
    for (unsigned i = 0; i < options->count; i++) {
        const struct img_pair *pair = &options->pairs[i];
        const struct option_spec *spec = find_spec(options->driver, pair->name);
        if (!spec)
            return refuse(prefix, "Invalid parameter '%s'", pair->name);
        int rc = check_value(spec, pair->value, prefix);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* -------------------------------------------------------------------- help */

static const char *type_name(const struct option_spec *spec)
{
    switch (spec->type) {
    case OPTION_SIZE:
        return "size";
    case OPTION_UINT:
        return "num";
    case OPTION_BOOL:
        return "bool (on/off)";
    case OPTION_STRING:
    case OPTION_INT:
    case OPTION_ENUM:
    case OPTION_MAC:
    case OPTION_FD:
        break;
    }
    return "str";
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void img_print_options(const struct block_driver *driver, bool with_protocol)
{
    char *lines[64];
    unsigned count = 0;
    printf(with_protocol ? "Supported options:\n" : "Supported %s options:\n", driver->name);
    for (const struct option_spec *spec = driver->create_options; spec->name; spec++) {
        char name[80];
        snprintf(name, sizeof(name), "%s=<%s>", spec->name, type_name(spec));
        if (count < ARRAY_SIZE(lines) &&
            asprintf(&lines[count], "  %-22s - %s", name, spec->help ? spec->help : "") >= 0)
            count++;
    }
    qsort(lines, count, sizeof(lines[0]), compare_lines);
    for (unsigned i = 0; i < count; i++) {
        puts(lines[i]);
        free(lines[i]);
    }
    if (!with_protocol)
        puts("\nThe protocol level may support further options.\n"
             "Specify the target filename to include those options.");
}

/* ---------------------------------------------------------- Formatting ... */

static void print_value(const struct option_spec *spec, const char *value)
{
    uint64_t number;
    bool on;
    printf(" %s=", spec->name);
    if (spec->type == OPTION_SIZE && parse_size(value, &number) == 0) {
        printf("%" PRIu64, number);
    } else if (spec->type == OPTION_BOOL && parse_bool(value, &on) == 0) {
        fputs(on ? "on" : "off", stdout);
    } else {
        for (; *value; value++)
            fputs(*value == ',' ? ",," : (char[]){*value, '\0'}, stdout);
    }
}

static void print_default(const struct option_spec *spec, const void *config)
{
    const void *field = (const char *)config + spec->offset;
    char number[24];
    const char *value = number;
    if (spec->type == OPTION_BOOL)
        value = *(const bool *)field ? "on" : "off";
    else if (spec->type == OPTION_ENUM)
        value = spec->values[*(const int *)field];
    else
        snprintf(number, sizeof(number), "%" PRIu64, *(const uint64_t *)field);
    print_value(spec, value);
}

void img_print_formatting(const struct img_create_options *options, const char *path)
{
    /* qemu-img's order; those with a star are shown though they were not given. */
    static const char *const order[] = {"encryption",
                                        "encrypt.format",
                                        "encrypt.cipher-alg",
                                        "encrypt.cipher-mode",
                                        "encrypt.ivgen-alg",
                                        "encrypt.ivgen-hash-alg",
                                        "encrypt.hash-alg",
                                        "encrypt.key-secret",
                                        "encrypt.iter-time",
                                        "*cluster_size",
                                        "*extended_l2",
                                        "preallocation",
                                        "*compression_type",
                                        "size",
                                        "compat",
                                        "backing_file",
                                        "backing_fmt",
                                        "data_file",
                                        "data_file_raw",
                                        "*lazy_refcounts",
                                        "*refcount_bits"};
    const struct block_driver *driver = options->driver;
    cleanup_free void *config = calloc(1, driver->create_config_size);
    bool has_clusters = find_spec(driver, "cluster_size") != NULL;
    if (config && driver->create_defaults)
        driver->create_defaults(config);
    printf("Formatting '%s', fmt=%s", path, driver->name);
    for (unsigned pass = 0; pass < 2 * ARRAY_SIZE(order); pass++) {
        /* Formats without clusters: what was given, behind the size. */
        unsigned i = pass % ARRAY_SIZE(order);
        bool star = order[i][0] == '*', prealloc = strcmp(order[i], "preallocation") == 0;
        if ((pass >= ARRAY_SIZE(order)) != (prealloc && !has_clusters))
            continue;
        const struct option_spec *spec = find_spec(driver, order[i] + star);
        const char *value = spec ? img_get_option(options, spec->name) : NULL;
        if (value)
            print_value(spec, value);
        else if (spec && star && config)
            print_default(spec, config);
    }
    putchar('\n');
    if (config)
        options_free(driver->create_options, config);
}

/* ------------------------------------------------------------------ config */

int img_make_config(const struct img_create_options *options, void **out, struct kv_error *err)
{
    const struct block_driver *driver = options->driver;
    void *config = calloc(1, driver->create_config_size);
    if (!config)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "Out of memory");
    if (driver->create_defaults)
        driver->create_defaults(config);
    for (unsigned i = 0; i < options->count; i++) {
        const struct option_spec *spec = find_spec(driver, options->pairs[i].name);
        const char *value = options->pairs[i].value;
        int rc = spec ? options_set_text(spec, driver->name, value, config, err) : -EINVAL;
        if (rc < 0) {
            if (!spec || spec->type == OPTION_ENUM)
                kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Parameter '%s' does not accept value '%s'",
                             options->pairs[i].name, value);
            img_free_config(driver, config);
            return rc;
        }
    }
    *out = config;
    return 0;
}

void img_free_config(const struct block_driver *driver, void *config)
{
    if (!config)
        return;
    options_free(driver->create_options, config);
    free(config);
}
