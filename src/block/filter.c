/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all filters do with what they do not care about; see filter.h. */
#include "block/filter.h"

int filter_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    int rc = block_refresh(node->file, err);
    *size = block_size(node->file);
    return rc;
}

int filter_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    return block_resize(node->file, size, err);
}

int filter_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count)
{
    return block_preadv(node->file, offset, len, iov, count);
}

int filter_pwritev(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                   unsigned count, unsigned flags)
{
    return block_pwritev(node->file, offset, len, iov, count, flags);
}

int filter_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    return block_write_zeroes(node->file, offset, len, flags);
}

int filter_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    return block_discard(node->file, offset, len);
}

int filter_flush(struct block_node *node)
{
    return block_flush(node->file);
}

int filter_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out)
{
    return block_status(node->file, offset, len, out);
}

void filter_map(struct block_node *node, const struct block_request *request,
                struct block_mapping *out)
{
    out->kind = BLOCK_MAP_HOST;
    out->host_offset = request->offset;
}

void filter_map_reads(struct block_node *node, const struct block_request *request,
                      struct block_mapping *out)
{
    if (request->op == BLOCK_READ)
        filter_map(node, request, out);
}

/* The token is that of the format under the filters. */
void filter_mapped_done(struct block_node *node, void *token, int result)
{
    node->file->driver->mapped_done(node->file, token, result);
}
