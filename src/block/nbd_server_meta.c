/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD server: metadata contexts: what a client may ask for by name, and the
 * answers to NBD_CMD_BLOCK_STATUS (proto.md, "Metadata querying"; QEMU's
 * contexts as in its docs/interop/nbd.txt).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/nbd_protocol.h"
#include "block/nbd_server_internal.h"

#define EXTENTS_MAX 8192u /* of one context in one reply; a client asks again for the rest */
#define EXTENT_SIZE 8u    /* length, flags */

#define ALLOCATION_NAME "base:allocation"
#define DEPTH_NAME "qemu:allocation-depth"
#define BITMAP_PREFIX "qemu:dirty-bitmap:"

uint64_t nbd_contexts_all(const struct nbd_export *export)
{
    uint64_t all = BIT(NBD_CONTEXT_ALLOCATION);
    if (export->allocation_depth)
        all |= BIT(NBD_CONTEXT_DEPTH);
    for (unsigned i = 0; i < export->bitmap_count; i++)
        all |= BIT(NBD_CONTEXT_BITMAP + i);
    return all;
}

size_t nbd_context_name(const struct nbd_export *export, unsigned context, char *name, size_t size)
{
    int len;
    if (context >= NBD_CONTEXT_BITMAP)
        len = snprintf(name, size, BITMAP_PREFIX "%s",
                       export->bitmaps[context - NBD_CONTEXT_BITMAP].name);
    else
        len =
            snprintf(name, size, "%s", context == NBD_CONTEXT_DEPTH ? DEPTH_NAME : ALLOCATION_NAME);
    return (size_t)len;
}

/* A listing may name a group by the part in front of a colon; a selection names one context. */
static bool query_matches(const char *query, const char *name, bool list)
{
    size_t len = strlen(query);
    if (strcmp(query, name) == 0)
        return true;
    return list && len && query[len - 1] == ':' && strncmp(query, name, len) == 0 &&
           (strcmp(query, "base:") == 0 || strcmp(query, "qemu:") == 0 ||
            strcmp(query, BITMAP_PREFIX) == 0);
}

uint64_t nbd_contexts_match(const struct nbd_export *export, const char *query, bool list)
{
    char name[NBD_NAME_MAX + 64];
    uint64_t all = nbd_contexts_all(export), found = 0;
    for (unsigned context = 0; context < NBD_CONTEXT_BITMAP + export->bitmap_count; context++) {
        if (!(all & BIT(context)))
            continue;
        nbd_context_name(export, context, name, sizeof(name));
        if (query_matches(query, name, list))
            found |= BIT(context);
    }
    return found;
}

/* --------------------------------------------------------------------- status */

/* Flags of the extent that begins at offset, and its length, in one context. */
static int extent_at(const struct nbd_export *export, struct block_node *node, unsigned context,
                     uint64_t offset, uint64_t len, uint32_t *flags, uint64_t *run)
{
    struct block_extent extent = {0};
    bool dirty = false;
    if (context >= NBD_CONTEXT_BITMAP) {
        const struct nbd_bitmap *bitmap = &export->bitmaps[context - NBD_CONTEXT_BITMAP];
        int rc = bitmap->query(bitmap->opaque, offset, len, &dirty, run);
        *flags = dirty ? NBD_STATE_DIRTY : 0;
        return rc;
    }
    int rc = block_status_above(node, NULL, offset, len, &extent);
    if (rc < 0)
        return rc;
    *run = extent.len;
    if (context == NBD_CONTEXT_DEPTH)
        *flags = extent.flags & BLOCK_STATUS_ALLOCATED ? extent.depth + 1 : 0;
    else
        *flags = (extent.flags & BLOCK_STATUS_DATA ? 0 : NBD_STATE_HOLE) |
                 (extent.flags & BLOCK_STATUS_ZERO ? NBD_STATE_ZERO : 0);
    return 0;
}

/* Extents of one context, neighbours of the same flags joined. Their number or -errno. */
static int write_extents(const struct nbd_export *export, struct block_node *node, unsigned context,
                         uint64_t offset, uint64_t len, unsigned max, uint8_t *out)
{
    unsigned count = 0;
    uint32_t last_flags = 0;
    uint64_t last_len = 0;
    while (len) {
        uint32_t flags;
        uint64_t run = 0;
        int rc = extent_at(export, node, context, offset, len, &flags, &run);
        if (rc < 0)
            return rc;
        if (run == 0 || run > len)
            return -EIO;
        if (count && flags == last_flags) {
            last_len += run;
        } else if (count == max) {
            break;
        } else {
            out += count ? EXTENT_SIZE : 0;
            last_flags = flags;
            last_len = run;
            count++;
        }
        nbd_put32(out, (uint32_t)last_len);
        nbd_put32(out + 4, last_flags);
        offset += run;
        len -= run;
    }
    return (int)count;
}

size_t nbd_status_reply_size(uint64_t contexts, bool one)
{
    return (size_t)__builtin_popcountll(contexts) *
           (NBD_CHUNK_SIZE + 4 + (one ? 1 : EXTENTS_MAX) * EXTENT_SIZE);
}

ssize_t nbd_status_reply(const struct nbd_connection *conn, struct block_node *node,
                         uint64_t cookie, uint64_t offset, uint64_t len, bool one, uint8_t *out)
{
    uint8_t *p = out;
    for (uint64_t left = conn->contexts; left; left &= left - 1) {
        unsigned context = (unsigned)__builtin_ctzll(left);
        int count = write_extents(conn->export, node, context, offset, len, one ? 1 : EXTENTS_MAX,
                                  p + NBD_CHUNK_SIZE + 4);
        if (count < 0)
            return count;
        bool last = (left & (left - 1)) == 0;
        uint32_t size = 4 + (uint32_t)count * EXTENT_SIZE;
        nbd_put32(p, NBD_STRUCTURED_REPLY_MAGIC);
        nbd_put16(p + 4, last ? NBD_REPLY_FLAG_DONE : 0);
        nbd_put16(p + 6, NBD_REPLY_TYPE_BLOCK_STATUS);
        nbd_put64(p + 8, cookie);
        nbd_put32(p + 16, size);
        nbd_put32(p + NBD_CHUNK_SIZE, context);
        p += NBD_CHUNK_SIZE + size;
    }
    return p - out;
}
