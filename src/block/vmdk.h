/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMware's VMDK images after "Virtual Disk Format 5.0", read only: what vmdk.c
 * (the driver), vmdk_descriptor.c (the text that describes an image),
 * vmdk_extent.c (opening the files it consists of) and vmdk_grain.c (tables and
 * compressed grains) share. All numbers in the files are little-endian.
 */
#ifndef KV_BLOCK_VMDK_H
#define KV_BLOCK_VMDK_H

#include "block/import.h"

#define VMDK_NO_PARENT UINT32_C(0xffffffff)

/* ------------------------------------------------------------- the descriptor */

struct vmdk_extent_line {
    char access[12], type[16];
    char name[512];   /* "": none */
    uint64_t sectors; /* of 512 bytes */
    uint64_t offset;  /* sectors, in the file */
};

struct vmdk_descriptor {
    char create_type[32];
    char parent[1024]; /* "": none */
    uint32_t cid, parent_cid;
    struct vmdk_extent_line *lines; /* freed by the caller, also on failure */
    size_t count;
};

/* Whether a file that begins so is a descriptor. */
bool vmdk_is_descriptor(const uint8_t *text, size_t len);
/* name: the image's, for messages. */
int vmdk_parse_descriptor(const char *name, const char *text, struct vmdk_descriptor *out,
                          struct kv_error *err);

/* ------------------------------------------------------------------ the extents */

struct vmdk_extent {
    enum vmdk_kind {
        VMDK_FLAT,
        VMDK_ZERO,
        VMDK_SPARSE, /* hosted and COWD: tables of 32-bit sector numbers */
        VMDK_SESPARSE,
    } kind;
    char type[16];            /* as in the descriptor; "": there is only this one */
    uint64_t start, len;      /* bytes of the disk */
    struct block_node *child; /* owned; NULL: the image's own file */
    struct block_node *file;  /* that requests go to; NULL: VMDK_ZERO */
    uint64_t offset;          /* FLAT: bytes in the file */

    uint64_t grain_size;      /* bytes */
    uint64_t table_grains;    /* grains that a table of the directory describes */
    uint64_t directory;       /* bytes in the file */
    bool zero_grains;         /* entry 1 stands for a grain of zeros */
    bool compressed, markers; /* markers: in front of each grain its length */
    uint64_t tables, grains;  /* SESPARSE: bytes in the file, of the first of each */
};

struct vmdk {
    struct import import;
    struct vmdk_extent *extents; /* in the order of the disk, without gaps */
    size_t count;
    char create_type[32];
    char *parent; /* path as written; NULL: none */
    uint32_t cid, parent_cid;

    pthread_mutex_t grain_lock; /* of the grain that was unpacked last */
    const struct block_node *grain_file;
    uint64_t grain_host, grain_len;
    uint8_t *grain; /* NULL: none */
};

/* vmdk_extent.c: the extents of a descriptor, or the one that is the image's own file. */
int vmdk_open_lines(struct block_node *node, struct vmdk *vmdk,
                    const struct vmdk_descriptor *descriptor, struct kv_error *err);
int vmdk_open_single(struct block_node *node, struct vmdk *vmdk, struct kv_error *err);

/* vmdk_grain.c: loads what unpacks grains; before an image with compressed ones is read. */
int vmdk_prepare_compressed(struct kv_error *err);
/* See struct import_ops. */
int vmdk_find(struct block_node *node, uint64_t offset, struct import_extent *out);
int vmdk_read_packed(struct block_node *node, const struct import_extent *extent,
                     const struct iovec *iov, unsigned count, uint64_t iov_offset, uint64_t len);

#endif
