/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img compare: whether two images read the same. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "img/img.h"

#define PIECE MIB(2)
#define SECTOR 512u

struct compare_args {
    struct img_args args;
    const char *second_format;
    bool strict;
};

static const struct img_option compare_options[] = {
    IMG_OPTION('f', NULL, IMG_TEXT, compare_args, args.format, "FMT", "format of the first image"),
    IMG_OPTION('F', NULL, IMG_TEXT, compare_args, second_format, "FMT",
               "format of the second image"),
    IMG_OPTION('s', NULL, IMG_FLAG, compare_args, strict, NULL,
               "sizes and allocation must be the same too"),
    IMG_SOURCE_CACHE(compare_args),
    IMG_OBJECT(compare_args),
    IMG_IMAGE_OPTS(compare_args),
    IMG_PROGRESS(compare_args),
    IMG_QUIET(compare_args),
    IMG_SHARE(compare_args),
    IMG_OPTIONS_END,
};

struct comparison {
    const struct compare_args *args;
    struct block_node *nodes[2];
    const char *names[2];
    uint8_t *buffers[2];
    uint64_t sizes[2];
    struct img_progress progress;
};

static int different(const struct comparison *comparison, const char *text, uint64_t offset,
                     const char *after)
{
    if (!comparison->args->args.quiet)
        printf("%s%" PRIu64 "%s\n", text, offset, after);
    return IMG_COMPARE_DIFFERENT;
}

/* The status of a range; beyond the end of an image there are zeros. */
static int status(struct comparison *comparison, unsigned which, uint64_t at, uint64_t len,
                  struct block_extent *out)
{
    if (at >= comparison->sizes[which]) {
        *out = (struct block_extent){.len = len, .flags = BLOCK_STATUS_ZERO};
        return 0;
    }
    len = MIN(len, comparison->sizes[which] - at);
    int rc = block_status_above(comparison->nodes[which], NULL, at, len, out);
    if (rc < 0)
        img_error("Sector allocation test failed for %s", comparison->names[which]);
    return rc;
}

static int read_side(struct comparison *comparison, unsigned which, uint64_t at, uint64_t len)
{
    int rc = block_pread(comparison->nodes[which], at, comparison->buffers[which], len);
    if (rc < 0)
        img_error("Error while reading offset %" PRIu64 " of %s: %s", at, comparison->names[which],
                  strerror(-rc));
    return rc;
}

/* The first sector that differs from what zeros or the other buffer say; len: none. */
static uint64_t first_difference(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    if (b ? memcmp(a, b, len) == 0 : buffer_is_zero(a, len))
        return len;
    for (uint64_t at = 0; at < len; at += SECTOR) {
        uint64_t part = MIN(SECTOR, len - at);
        if (b ? memcmp(a + at, b + at, part) != 0 : !buffer_is_zero(a + at, part))
            return at;
    }
    return len;
}

/* The exit status so far; IMG_OK: the same. */
static int compare_data(struct comparison *comparison, uint64_t at, uint64_t len,
                        const bool zero[2])
{
    for (unsigned i = 0; i < 2; i++) {
        if (!zero[i] && read_side(comparison, i, at, len) < 0)
            return IMG_COMPARE_READ_FAILED;
    }
    const uint8_t *a = comparison->buffers[zero[0] ? 1 : 0];
    const uint8_t *b = zero[0] || zero[1] ? NULL : comparison->buffers[1];
    uint64_t where = first_difference(a, b, len);
    return where == len ? IMG_OK
                        : different(comparison, "Content mismatch at offset ", at + where, "!");
}

static int compare(struct comparison *comparison)
{
    const unsigned shown = BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
    uint64_t total = MAX(comparison->sizes[0], comparison->sizes[1]);
    struct block_extent extents[2];
    uint64_t common = MIN(comparison->sizes[0], comparison->sizes[1]);
    for (uint64_t at = 0, len; at < total; at += len) {
        bool zero[2];
        len = at < common ? common - at : total - at;
        if (at == common && !comparison->args->args.quiet)
            puts("Warning: Image size mismatch!");
        for (unsigned i = 0; i < 2; i++) {
            if (status(comparison, i, at, len, &extents[i]) < 0)
                return IMG_COMPARE_STATUS_FAILED;
            len = MIN(len, extents[i].len);
            zero[i] = extents[i].flags & BLOCK_STATUS_ZERO;
        }
        if (comparison->args->strict && (extents[0].flags & shown) != (extents[1].flags & shown))
            return different(comparison, "Strict mode: Offset ", at, " block status mismatch!");
        if (!zero[0] || !zero[1]) {
            len = MIN(len, PIECE);
            int result = compare_data(comparison, at, len, zero);
            if (result != IMG_OK)
                return result;
        }
        img_progress_update(&comparison->progress, at + len, total);
    }
    return IMG_OK;
}

static int prepare_and_compare(struct comparison *comparison)
{
    const struct compare_args *args = comparison->args;
    cleanup_free void *a = NULL, *b = NULL;
    if (posix_memalign(&a, 4096, PIECE) || posix_memalign(&b, 4096, PIECE)) {
        img_error("Out of memory");
        return IMG_COMPARE_NOT_OPENED;
    }
    comparison->buffers[0] = a;
    comparison->buffers[1] = b;
    for (unsigned i = 0; i < 2; i++)
        comparison->sizes[i] = block_get_info(comparison->nodes[i])->size;
    if (args->strict && comparison->sizes[0] != comparison->sizes[1]) {
        if (!args->args.quiet)
            puts("Strict mode: Image size mismatch!");
        return IMG_COMPARE_DIFFERENT;
    }
    img_progress_begin(&comparison->progress, &args->args);
    int result = compare(comparison);
    if (result == IMG_OK && !args->args.quiet)
        puts("Images are identical.");
    img_progress_end(&comparison->progress);
    return result;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct compare_args *args = opaque;
    struct comparison comparison = {.args = args};
    enum block_cache cache = BLOCK_CACHE_WRITEBACK;
    if (count != 2) {
        img_usage_error("Expecting two image file names");
        return IMG_FAILED;
    }
    if (img_parse_cache("source cache", args->args.source_cache, &cache) < 0)
        return IMG_COMPARE_NOT_OPENED;
    int result = IMG_OK;
    for (unsigned i = 0; i < 2 && result == IMG_OK; i++) {
        struct img_open how = img_open_from(&args->args, operands[i]);
        how.cache = cache;
        how.format = i ? args->second_format : args->args.format;
        comparison.names[i] = operands[i];
        comparison.nodes[i] = img_open_image(&how);
        if (!comparison.nodes[i])
            result = IMG_COMPARE_NOT_OPENED;
    }
    if (result == IMG_OK)
        result = prepare_and_compare(&comparison);
    block_close(comparison.nodes[0]);
    block_close(comparison.nodes[1]);
    return result;
}

const struct img_command img_compare = {
    .name = "compare",
    .operands = "FILE1 FILE2",
    .help = "tell whether two images read the same",
    .options = compare_options,
    .args_size = sizeof(struct compare_args),
    .run = run,
};
