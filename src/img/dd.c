/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img dd: copies a part of an image, block by block, into a new one. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "img/create.h"

#define SECTOR 512u
#define BUFFER MIB(2)

struct dd_args {
    struct img_args args;
    const char *output_format;
};

static const struct img_option dd_options[] = {
    IMG_FORMAT('f', dd_args),
    IMG_OPTION('O', NULL, IMG_TEXT, dd_args, output_format, "FMT",
               "format of the new image (default: raw)"),
    IMG_OBJECT(dd_args),
    IMG_IMAGE_OPTS(dd_args),
    IMG_SHARE(dd_args),
    IMG_OPTIONS_END,
};

struct dd {
    const char *in, *out;
    uint64_t block_size, count, skip; /* count, skip: blocks */
};

static int parse_operand(struct dd *dd, char *word)
{
    char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const char *value = equals ? equals + 1 : "";
    if (equals && len == 2 && strncmp(word, "if", len) == 0)
        dd->in = value;
    else if (equals && len == 2 && strncmp(word, "of", len) == 0)
        dd->out = value;
    else if (equals && len == 2 && strncmp(word, "bs", len) == 0)
        return img_parse_size("bs", value, 1, INT32_MAX, &dd->block_size);
    else if (equals && len == 5 && strncmp(word, "count", len) == 0)
        return img_parse_size("count", value, 0, INT64_MAX, &dd->count);
    else if (equals && len == 4 && strncmp(word, "skip", len) == 0)
        return img_parse_size("skip", value, 0, INT64_MAX, &dd->skip);
    else {
        img_error("unrecognized operand %.*s", (int)len, word);
        return -EINVAL;
    }
    return 0;
}

/* a * b, at most limit. */
static uint64_t product(uint64_t a, uint64_t b, uint64_t limit)
{
    uint64_t result;
    return __builtin_mul_overflow(a, b, &result) || result > limit ? limit : result;
}

static int copy(struct block_node *in, struct block_node *out, uint64_t from, uint64_t len)
{
    cleanup_free void *buffer = NULL;
    if (posix_memalign(&buffer, 4096, BUFFER))
        return img_error("Out of memory");
    for (uint64_t at = 0, part; at < len; at += part) {
        part = MIN(BUFFER, len - at);
        int rc = block_pread(in, from + at, buffer, part);
        if (rc < 0)
            return img_error("error while reading from input image file: %s", strerror(-rc));
        rc = block_pwrite(out, at, buffer, part, 0);
        if (rc < 0)
            return img_error("error while writing to output image file: %s", strerror(-rc));
    }
    int rc = block_flush(out);
    return rc < 0 ? img_error("error while writing to output image file: %s", strerror(-rc))
                  : IMG_OK;
}

static int create_and_copy(const struct dd *dd, struct block_node *in, const char *format,
                           struct img_create_options *options)
{
    uint64_t size = block_get_info(in)->size;
    uint64_t end = product(dd->count, dd->block_size, size);
    uint64_t from = product(dd->skip, dd->block_size, UINT64_MAX);
    char number[24];
    struct kv_error err = {0};
    /* Blocks are counted from the first one that is copied. */
    if (dd->count != UINT64_MAX && from < size)
        end = MIN(size, from + end);
    else
        end = size;
    uint64_t len = from < end ? end - from : 0;
    snprintf(number, sizeof(number), "%" PRIu64, len);
    img_set_option(options, "size", number);
    if (img_create_image(options, dd->out, &err) < 0)
        return img_error("%s: error while creating output image of type '%s': %s", dd->out, format,
                         err.message);
    if (from > size) {
        img_error("%s: cannot skip to specified offset", dd->in);
        return IMG_OK;
    }
    struct img_open how = {.name = dd->out, .format = format, .writable = true};
    cleanup_image struct block_node *out = img_open_image(&how);
    return out ? copy(in, out, from, len) : IMG_FAILED;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct dd_args *args = opaque;
    const char *format = args->output_format ? args->output_format : "raw";
    struct dd dd = {.block_size = SECTOR, .count = UINT64_MAX};
    struct img_create_options options = {0};
    for (unsigned i = 0; i < count; i++) {
        if (parse_operand(&dd, operands[i]) < 0)
            return IMG_FAILED;
    }
    if (!dd.in || !dd.out)
        return img_error("Must specify both input and output files");
    struct img_open how = img_open_from(&args->args, dd.in);
    cleanup_image struct block_node *in = img_open_image(&how);
    if (!in)
        return IMG_FAILED;
    if (!block_driver_find(format))
        return img_error("Unknown file format");
    if (img_find_creatable(&options.driver, format, NULL) < 0)
        return IMG_FAILED;
    int status = create_and_copy(&dd, in, format, &options);
    img_free_options(&options);
    return status;
}

const struct img_command img_dd = {
    .name = "dd",
    .operands = "[bs=SIZE] [count=N] [skip=N] if=FILE of=FILE",
    .help = "copy a part of an image into a new one",
    .options = dd_options,
    .args_size = sizeof(struct dd_args),
    .run = run,
};
