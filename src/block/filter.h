/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filters are nodes that hand requests on to the one under them and do
 * something on the way. What they do not care about goes through these.
 */
#ifndef KV_BLOCK_FILTER_H
#define KV_BLOCK_FILTER_H

#include "block/driver.h"

int filter_get_size(struct block_node *node, uint64_t *size, struct kv_error *err);
int filter_resize(struct block_node *node, uint64_t size, struct kv_error *err);
int filter_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count);
int filter_pwritev(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                   unsigned count, unsigned flags);
int filter_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags);
int filter_discard(struct block_node *node, uint64_t offset, uint64_t len);
int filter_flush(struct block_node *node);
int filter_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out);
void filter_map(struct block_node *node, const struct block_request *request,
                struct block_mapping *out);
/* Writes are for the filter's functions. */
void filter_map_reads(struct block_node *node, const struct block_request *request,
                      struct block_mapping *out);
void filter_mapped_done(struct block_node *node, void *token, int result);

#endif
