/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading, status and table access for the formats that are only imported; see import.h. */
#include "block/import.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Extents that are put together in one step; images with tiny ones are answered in pieces. */
#define MERGE_MAX 1024u

void import_init(struct import *import, const struct import_ops *ops)
{
    import->ops = ops;
    pthread_mutex_init(&import->lock, NULL);
}

void import_destroy(struct import *import)
{
    for (unsigned i = 0; i < IMPORT_PAGES; i++)
        free(import->pages[i].bytes);
    pthread_mutex_destroy(&import->lock);
}

int import_set_info(struct block_node *node, uint64_t size, uint32_t cluster_size,
                    struct kv_error *err)
{
    if (size > IMPORT_SIZE_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG,
                            "'%s': the image says its disk has %" PRIu64 " bytes; up to %" PRIu64
                            " are supported",
                            node->name, size, (uint64_t)IMPORT_SIZE_MAX);
    node->info.size = ALIGN_UP(size, IMPORT_SECTOR);
    node->info.request_alignment = 1;
    node->info.logical_block = IMPORT_SECTOR;
    node->info.physical_block = node->file->info.physical_block;
    node->info.cluster_size = cluster_size;
    node->info.readonly = true;
    return 0;
}

int import_open_parent(struct block_node *node, const struct block_open_options *options,
                       const char *path, const char *format, struct kv_error *err)
{
    if (options->no_backing)
        return 0;
    const json_t *description = json_object_get(options->description, "backing");
    if (json_is_null(description))
        return 0;
    int rc = block_open_child(&node->backing, node, description, path, format, true, err);
    return rc < 0 ? kv_error_prefix(err, "'%s': parent", node->name) : 0;
}

/* --------------------------------------------------------- reading its files */

/* What lies beyond the end of the file is zeros. */
static int read_file(const struct import *import, struct block_node *file, uint64_t offset,
                     const struct iovec *iov, unsigned count, uint64_t iov_offset, uint64_t len)
{
    uint64_t size = block_size(file);
    uint64_t there = offset < size ? MIN(len, size - offset) : 0;
    int rc = there ? block_pread_slice(file, offset, iov, count, iov_offset, there) : 0;
    if (rc < 0)
        return rc;
    if (len > there)
        iov_from_buffer(iov, count, iov_offset + there, NULL, len - there);
    if (import->ops->patch)
        import->ops->patch(import, offset, iov, count, iov_offset, len);
    return 0;
}

int import_read_header(const struct block_node *node, struct block_node *file, uint64_t offset,
                       void *out, uint64_t len, const char *what, struct kv_error *err)
{
    uint64_t size = block_size(file);
    if (!range_within(offset, len, 0, size))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': %s lies at bytes %" PRIu64 " to %" PRIu64
                            ", but the file ends at %" PRIu64,
                            node->name, what, offset, offset + len, size);
    int rc = block_pread(file, offset, out, len);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': %s cannot be read", node->name, what);
    return 0;
}

/* The page with that part of the file. The lock is held. */
static int get_page(struct import *import, struct block_node *file, uint64_t number,
                    const uint8_t **bytes)
{
    struct import_page *page =
        &import->pages[((number * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % IMPORT_PAGES];
    if (!page->bytes) {
        page->bytes = malloc(IMPORT_PAGE);
        if (!page->bytes)
            return -ENOMEM;
        page->file = NULL;
    }
    *bytes = page->bytes;
    if (page->file == file && page->number == number)
        return 0;
    struct iovec iov = {.iov_base = page->bytes, .iov_len = IMPORT_PAGE};
    page->file = NULL;
    int rc = read_file(import, file, number * IMPORT_PAGE, &iov, 1, 0, IMPORT_PAGE);
    if (rc < 0)
        return rc;
    page->file = file;
    page->number = number;
    return 0;
}

int import_read_table(struct import *import, struct block_node *file, uint64_t offset, void *out,
                      size_t len)
{
    uint8_t *to = out;
    if (!range_within(offset, len, 0, block_size(file)))
        return -EIO;
    pthread_mutex_lock(&import->lock);
    int rc = 0;
    while (len && rc == 0) {
        const uint8_t *bytes;
        size_t in_page = offset % IMPORT_PAGE, part = MIN(len, IMPORT_PAGE - in_page);
        rc = get_page(import, file, offset / IMPORT_PAGE, &bytes);
        if (rc == 0)
            memcpy(to, bytes + in_page, part);
        to += part;
        offset += part;
        len -= part;
    }
    pthread_mutex_unlock(&import->lock);
    return rc;
}

int import_bit_run(struct import *import, struct block_node *file, uint64_t offset, uint64_t first,
                   uint64_t end, bool msb_first, bool *value, uint64_t *run)
{
    uint64_t at = first;
    bool equal = true;
    while (equal && at < end) {
        uint8_t bytes[64];
        uint64_t here = at / 8, count = MIN(sizeof(bytes), (end + 7) / 8 - here);
        int rc = import_read_table(import, file, offset + here, bytes, count);
        if (rc < 0)
            return rc;
        for (; equal && at < end && at / 8 < here + count; at += equal) {
            bool bit = bytes[at / 8 - here] >> (msb_first ? 7 - at % 8 : at % 8) & 1;
            if (at == first)
                *value = bit;
            equal = bit == *value;
        }
    }
    *run = at - first;
    return 0;
}

/* ------------------------------------------------------------- parents' paths */

static size_t put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    to[0] = (char)(lead[more] | c >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        to[i] = (char)(0x80 | (c >> (6 * (more - i)) & 0x3f));
    return more + 1;
}

char *import_windows_path(const uint8_t *utf16, size_t bytes, bool big_endian)
{
    size_t units = bytes / 2, len = 0;
    char *path = malloc(units * 3 + 4);
    if (!path)
        return NULL;
    for (size_t i = 0; i < units; i++) {
        uint32_t c = (uint32_t)(big_endian ? load_be(utf16 + 2 * i, 2) : load_le(utf16 + 2 * i, 2));
        if (c == 0)
            break;
        if (c >= 0xd800 && c < 0xe000) {
            uint32_t low = 0;
            if (i + 1 < units)
                low = (uint32_t)(big_endian ? load_be(utf16 + 2 * i + 2, 2)
                                            : load_le(utf16 + 2 * i + 2, 2));
            bool pair = c < 0xdc00 && low >= 0xdc00 && low < 0xe000;
            c = pair ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
            i += pair;
        }
        len += put_utf8(path + len, c == '\\' ? '/' : c);
    }
    path[len] = '\0';
    if (strncmp(path, "./", 2) == 0)
        memmove(path, path + 2, len - 1);
    if (path[0])
        return path;
    free(path);
    return NULL;
}

/* ------------------------------------------------------------------ requests */

static int find(struct block_node *node, uint64_t offset, uint64_t len, struct import_extent *out)
{
    const struct import *import = node->state;
    *out = (struct import_extent){0};
    int rc = import->ops->find(node, offset, out);
    if (rc < 0)
        return rc;
    /* An entry that points behind the end of its file is damage, not a hole. */
    if (out->kind == IMPORT_DATA && out->host >= block_size(out->file))
        return -EIO;
    out->len = MIN(out->len, len);
    return out->len ? 0 : -EIO;
}

static bool continues(const struct import_extent *a, uint64_t a_len, const struct import_extent *b)
{
    return a->kind == b->kind &&
           (a->kind != IMPORT_DATA ||
            (a->file == b->file && a->whole_file == b->whole_file && a->host + a_len == b->host));
}

/* As find(), with the extents that follow without a break. */
static int find_run(struct block_node *node, uint64_t offset, uint64_t len, bool for_status,
                    struct import_extent *out)
{
    struct import_extent next;
    int rc = find(node, offset, len, out);
    /* Packed pieces are unpacked one by one. */
    if (rc < 0 || (out->kind == IMPORT_PACKED && !for_status))
        return rc;
    uint64_t total = out->len;
    for (unsigned i = 0; i < MERGE_MAX && total < len; i++) {
        if (find(node, offset + total, len - total, &next) < 0 || !continues(out, total, &next))
            break;
        total += next.len;
    }
    out->len = total;
    return 0;
}

/* Beyond the end of a smaller parent there are zeros. */
static int read_parent(struct block_node *node, uint64_t offset, const struct iovec *iov,
                       unsigned count, uint64_t iov_offset, uint64_t len)
{
    uint64_t size = node->backing ? block_size(node->backing) : 0;
    uint64_t there = offset < size ? MIN(len, size - offset) : 0;
    if (len > there)
        iov_from_buffer(iov, count, iov_offset + there, NULL, len - there);
    return there ? block_pread_slice(node->backing, offset, iov, count, iov_offset, there) : 0;
}

int import_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count)
{
    const struct import *import = node->state;
    for (uint64_t done = 0; done < len;) {
        struct import_extent extent;
        int rc = find_run(node, offset + done, len - done, false, &extent);
        if (rc < 0)
            return rc;
        switch (extent.kind) {
        case IMPORT_ABSENT:
            rc = read_parent(node, offset + done, iov, count, done, extent.len);
            break;
        case IMPORT_ZERO:
            iov_from_buffer(iov, count, done, NULL, extent.len);
            break;
        case IMPORT_DATA:
            rc = read_file(import, extent.file, extent.host, iov, count, done, extent.len);
            break;
        case IMPORT_PACKED:
            rc = import->ops->read_packed(node, &extent, iov, count, done, extent.len);
            break;
        }
        if (rc < 0)
            return rc;
        done += extent.len;
    }
    return 0;
}

/* A file laid out like the disk: zeros where the file has holes. */
static int add_holes(struct block_extent *out)
{
    struct block_extent below = {0};
    uint64_t size = block_size(out->file);
    if (out->host_offset >= size)
        return -EIO;
    int rc =
        block_status(out->file, out->host_offset, MIN(out->len, size - out->host_offset), &below);
    if (rc < 0)
        return rc;
    out->len = below.len;
    out->flags |= below.flags & BLOCK_STATUS_ZERO;
    return 0;
}

int import_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out)
{
    static const unsigned flags[] = {
        [IMPORT_ABSENT] = 0,
        [IMPORT_ZERO] = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED,
        [IMPORT_DATA] = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET,
        [IMPORT_PACKED] = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_COMPRESSED,
    };
    const struct import *import = node->state;
    struct import_extent first;
    int rc = find_run(node, offset, len, true, &first);
    if (rc < 0)
        return rc;
    uint64_t total = first.len;
    out->len = total;
    out->flags = flags[first.kind];
    if (first.kind != IMPORT_DATA)
        return 0;
    out->file = first.file;
    out->host_offset = first.host;
    if (import->ops->is_patched && import->ops->is_patched(import, first.host, total)) {
        out->flags &= ~(unsigned)BLOCK_STATUS_OFFSET;
        out->file = NULL;
        out->host_offset = 0;
        return 0;
    }
    return first.whole_file ? add_holes(out) : 0;
}

int import_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    *size = block_size(node);
    return 0;
}
