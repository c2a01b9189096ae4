/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX images of Hyper-V after [MS-VHDX], read only: what vhdx.c (the driver),
 * vhdx_open.c (headers, regions, metadata) and vhdx_log.c (the log) share.
 */
#ifndef KV_BLOCK_VHDX_H
#define KV_BLOCK_VHDX_H

#include "block/import.h"

#define VHDX_LOG_SECTOR 4096u

/* What the log says the file should hold there; of two for one place the later wins. */
struct vhdx_patch {
    uint64_t offset, len; /* in the file; multiples of VHDX_LOG_SECTOR */
    uint8_t *data;        /* NULL: zeros */
};

struct vhdx {
    struct import import;
    struct block_node *file;
    struct vhdx_patch *patches; /* in the order in which they are to be applied */
    size_t patch_count;

    uint64_t bat_offset; /* in the file */
    uint64_t bat_size;   /* bytes */
    uint64_t disk_size;  /* bytes */
    uint32_t block_size; /* bytes, 1 MiB to 256 MiB */
    uint32_t sector_size;
    uint64_t chunk_blocks; /* payload blocks between two sector bitmap entries of the BAT */
    bool has_parent;
    uint8_t data_guid[16]; /* is another whenever the content is another */
    char *parent;          /* path as written; NULL: none */
    char *parent_linkage;  /* what the parent's data GUID was, as text in braces; may be NULL */
};

/* vhdx_open.c: fills vhdx, which is freed by the caller, also on failure. */
int vhdx_read_metadata(const struct block_node *node, struct vhdx *vhdx, struct kv_error *err);
/* True when the text is that GUID in braces. */
bool vhdx_guid_is(const uint8_t guid[16], const char *braced);

/* vhdx_log.c: takes what a crash left in the log into patches. */
int vhdx_replay_log(const struct block_node *node, struct vhdx *vhdx, const uint8_t guid[16],
                    uint64_t offset, uint64_t len, struct kv_error *err);
/* See struct import_ops. */
void vhdx_patch(const struct import *import, uint64_t offset, const struct iovec *iov,
                unsigned count, uint64_t iov_offset, uint64_t len);
bool vhdx_is_patched(const struct import *import, uint64_t offset, uint64_t len);

#endif
