/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img map: where the bytes of an image lie. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "img/img.h"

struct map_args {
    struct img_args args;
    const char *start, *length;
};

static const struct img_option map_options[] = {
    IMG_FORMAT_LONG(map_args),
    IMG_OUTPUT(map_args),
    IMG_OPTION('s', "start-offset", IMG_TEXT, map_args, start, "OFFSET", "begin there"),
    IMG_OPTION('l', "max-length", IMG_TEXT, map_args, length, "SIZE", "tell about so much"),
    IMG_OBJECT(map_args),
    IMG_IMAGE_OPTS(map_args),
    IMG_SHARE(map_args),
    IMG_OPTIONS_END,
};

struct entry {
    uint64_t start, len; /* bytes */
    unsigned depth, flags;
    uint64_t host_offset; /* with BLOCK_STATUS_OFFSET */
    struct block_node *file;
};

#define SHOWN_FLAGS \
    (BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET)

/* Allocated in the image, but a hole of the file under it: zeros. */
static void look_below(struct block_extent *extent)
{
    const unsigned known = BLOCK_STATUS_DATA | BLOCK_STATUS_OFFSET;
    struct block_extent below;
    if ((extent->flags & known) != known || (extent->flags & BLOCK_STATUS_ZERO) ||
        block_status(extent->file, extent->host_offset, extent->len, &below) < 0)
        return;
    extent->len = MIN(extent->len, below.len);
    extent->flags |= below.flags & BLOCK_STATUS_ZERO;
}

/* Whether most of what the image says it has is holes of its file: clusters that were allocated
 * before they were needed. Only then it is worth looking at each. */
static bool is_preallocated(struct block_node *node)
{
    uint64_t size = block_get_info(node)->size, data = 0;
    int64_t allocated = block_file_child(node) ? block_allocated_size(node) : -1;
    struct block_extent extent;
    /* Other formats say themselves where they are laid out like their file. */
    if (allocated < 0 || strcmp(block_format(node), "qcow2") != 0)
        return false;
    for (uint64_t at = 0; at < size; at += extent.len) {
        if (block_status(node, at, size - at, &extent) < 0)
            return false;
        if ((extent.flags & BLOCK_STATUS_DATA) && extent.file == block_file_child(node))
            data += extent.len;
    }
    return (double)data * 0.9 > (double)allocated;
}

static int find_entry(struct block_node *node, uint64_t offset, uint64_t len, bool deep,
                      struct entry *out)
{
    struct block_extent extent;
    int rc = block_status_above(node, NULL, offset, len, &extent);
    if (rc < 0)
        return rc;
    if (deep)
        look_below(&extent);
    *out = (struct entry){.start = offset,
                          .len = extent.len,
                          .depth = extent.depth,
                          .flags = extent.flags & SHOWN_FLAGS,
                          .host_offset = extent.host_offset,
                          .file = extent.file};
    return 0;
}

static bool continues(const struct entry *a, const struct entry *b)
{
    return a->len && a->flags == b->flags && a->depth == b->depth && a->file == b->file &&
           (!(a->flags & BLOCK_STATUS_OFFSET) || a->host_offset + a->len == b->host_offset);
}

static int print_human(const struct entry *entry)
{
    bool data = (entry->flags & BLOCK_STATUS_DATA) && !(entry->flags & BLOCK_STATUS_ZERO);
    if (data && !(entry->flags & BLOCK_STATUS_OFFSET)) {
        img_error("File contains external, encrypted or compressed clusters.");
        return -ENOTSUP;
    }
    if (data)
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", entry->start, entry->len,
               entry->host_offset, entry->file ? block_name(entry->file) : "");
    return 0;
}

static void print_json(const struct entry *entry, bool last)
{
    printf("{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, \"present\": %s, "
           "\"zero\": %s, \"data\": %s",
           entry->start, entry->len, entry->depth,
           entry->flags & BLOCK_STATUS_ALLOCATED ? "true" : "false",
           entry->flags & BLOCK_STATUS_ZERO ? "true" : "false",
           entry->flags & BLOCK_STATUS_DATA ? "true" : "false");
    if (entry->flags & BLOCK_STATUS_OFFSET)
        printf(", \"offset\": %" PRIu64, entry->host_offset);
    puts(last ? "}]" : "},");
}

static int print_entry(const struct entry *entry, bool json, bool last)
{
    if (!json)
        return print_human(entry);
    print_json(entry, last);
    return 0;
}

static int map(struct block_node *node, uint64_t start, uint64_t length, bool json)
{
    uint64_t size = block_get_info(node)->size;
    uint64_t end = length < size - MIN(start, size) ? start + length : size;
    struct entry current = {.start = start}, next;
    bool deep = is_preallocated(node);
    int rc = 0;
    if (json)
        putchar('[');
    else
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    for (uint64_t at = start; rc == 0 && at < end; at += next.len) {
        rc = find_entry(node, at, end - at, deep, &next);
        if (rc < 0) {
            img_error("Failed to read image metadata: %s", strerror(-rc));
            return rc;
        }
        if (continues(&current, &next)) {
            current.len += next.len;
            continue;
        }
        if (current.len)
            rc = print_entry(&current, json, false);
        current = next;
    }
    return rc < 0 ? rc : print_entry(&current, json, true);
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct map_args *args = opaque;
    uint64_t start = 0, length = INT64_MAX;
    bool json;
    if (args->start && img_parse_size("start offset", args->start, 0, INT64_MAX, &start) < 0)
        return IMG_FAILED;
    if (args->length && img_parse_size("max length", args->length, 0, INT64_MAX, &length) < 0)
        return IMG_FAILED;
    if (count != 1)
        return img_usage_error("Expecting one image file name");
    if (img_parse_output(&args->args, &json) < 0)
        return IMG_FAILED;
    struct img_open how = img_open_from(&args->args, operands[0]);
    cleanup_image struct block_node *node = img_open_image(&how);
    return node && map(node, start, length, json) == 0 ? IMG_OK : IMG_FAILED;
}

const struct img_command img_map = {
    .name = "map",
    .operands = "FILE",
    .help = "tell where the bytes of an image lie",
    .options = map_options,
    .args_size = sizeof(struct map_args),
    .run = run,
};
