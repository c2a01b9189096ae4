/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the formats of other virtualization products have in common (VMDK, VDI,
 * VHD, VHDX): they are read only, and each is a table that says for a stretch
 * of the disk where its bytes lie. A format opens its image and answers
 * find(); reading and status are built on that here. Tables stay in the file
 * and are read through a small cache, so memory does not depend on what an
 * image claims. Any thread, several at once.
 */
#ifndef KV_BLOCK_IMPORT_H
#define KV_BLOCK_IMPORT_H

#include <pthread.h>

#include "base/util.h"
#include "block/driver.h"
#include "block/import_probe.h"

#define IMPORT_SECTOR 512u
/* Larger disks are refused: 2^56 bytes, more than any of the formats is specified for. */
#define IMPORT_SIZE_MAX (UINT64_C(1) << 56)

/* Where a stretch of the disk lies. */
struct import_extent {
    enum import_kind {
        IMPORT_ABSENT, /* not in this image: its parent's, or zeros */
        IMPORT_ZERO,
        IMPORT_DATA,
        IMPORT_PACKED, /* inside a compressed piece, see read_packed() */
    } kind;
    bool whole_file; /* DATA of a file laid out like the disk: its holes are the disk's */
    uint64_t len;    /* bytes from the asked offset on, not 0 */
    uint64_t host;   /* DATA: of the asked offset; PACKED: where the piece begins, in file */
    uint64_t skip;   /* PACKED: the asked offset inside the unpacked piece */
    struct block_node *file;
};

struct import;

struct import_ops {
    /* 0 or -errno; -EIO for what the image should not say. offset is within the disk. */
    int (*find)(struct block_node *node, uint64_t offset, struct import_extent *out);
    /* Unpacked bytes [extent->skip, + len) into iov from byte iov_offset on. NULL: never PACKED. */
    int (*read_packed)(struct block_node *node, const struct import_extent *extent,
                       const struct iovec *iov, unsigned count, uint64_t iov_offset, uint64_t len);
    /* Changes bytes that were read from file at offset. NULL: they are as they are. */
    void (*patch)(const struct import *import, uint64_t offset, const struct iovec *iov,
                  unsigned count, uint64_t iov_offset, uint64_t len);
    /* True when patch() would change some of them. */
    bool (*is_patched)(const struct import *import, uint64_t offset, uint64_t len);
};

struct import_page {
    const struct block_node *file;
    uint64_t number;
    uint8_t *bytes; /* IMPORT_PAGE of them; NULL: never used */
};

#define IMPORT_PAGE 16384u
#define IMPORT_PAGES 64u

/* First in each format's state. */
struct import {
    const struct import_ops *ops;
    pthread_mutex_t lock; /* of pages */
    struct import_page pages[IMPORT_PAGES];
};

void import_init(struct import *import, const struct import_ops *ops);
void import_destroy(struct import *import);

/* Refuses sizes that no image has, rounds up to a sector, and fills node->info. */
int import_set_info(struct block_node *node, uint64_t size, uint32_t cluster_size,
                    struct kv_error *err);
/* Opens the parent at path, unless options say not to. */
int import_open_parent(struct block_node *node, const struct block_open_options *options,
                       const char *path, const char *format, struct kv_error *err);

/* Bytes of an image's header; the message says what they were. */
int import_read_header(const struct block_node *node, struct block_node *file, uint64_t offset,
                       void *out, uint64_t len, const char *what, struct kv_error *err);
/* A few bytes of a table, through the cache. -EIO: beyond the end of the file. */
int import_read_table(struct import *import, struct block_node *file, uint64_t offset, void *out,
                      size_t len);

/* How many of the bits from first on, below end, are equal to the first; *value is that one. The
 * bitmap begins at offset of file. msb_first: bit 0 is the highest of the first byte. */
int import_bit_run(struct import *import, struct block_node *file, uint64_t offset, uint64_t first,
                   uint64_t end, bool msb_first, bool *value, uint64_t *run);

/* UTF-16 as Windows has it, into UTF-8, backslashes turned into slashes and a leading "./" left
 * out. NULL: out of memory, or no text. */
char *import_windows_path(const uint8_t *utf16, size_t bytes, bool big_endian);

/* For the driver tables. */
int import_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count);
int import_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out);
int import_get_size(struct block_node *node, uint64_t *size, struct kv_error *err);

static inline bool is_power_of_two(uint64_t v)
{
    return v && !(v & (v - 1));
}

#endif
