/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that lie in memory: "memory:NAME" opens the file that these functions
 * made. It stays until it is removed, however often it is opened and closed
 * meanwhile, so a test can look at what an image became, change it, and open
 * it again. Any thread.
 */
#ifndef KV_BLOCK_MEMORY_H
#define KV_BLOCK_MEMORY_H

#include <stdint.h>

/* The NAME of "memory:NAME"; NULL: another path. */
const char *block_memory_name(const char *path);

/* Makes the file, or gives it a new content. bytes NULL: len zeros, which take no memory. -ENOMEM.
 */
int block_memory_put(const char *name, const void *bytes, uint64_t len);

/* Copies a range out; what lies beyond the end reads as zeros. -ENOENT: no such file. */
int block_memory_get(const char *name, uint64_t offset, void *bytes, uint64_t len);

/* Its length in bytes, or -ENOENT. */
int64_t block_memory_length(const char *name);

/* Writes fail with -ENOSPC when the file would take more memory than that, in bytes. */
int block_memory_limit(const char *name, uint64_t bytes);

/* A file that is still open goes with its last node. */
void block_memory_remove(const char *name);

#endif
