/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a new qcow2 image is to be: the options of create, measure and amend. */
#ifndef KV_BLOCK_QCOW2_CREATE_H
#define KV_BLOCK_QCOW2_CREATE_H

#include "block/qcow2_crypto.h"

enum qcow2_preallocation {
    QCOW2_PREALLOC_OFF,
    QCOW2_PREALLOC_METADATA,
    QCOW2_PREALLOC_FALLOC,
    QCOW2_PREALLOC_FULL,
};

struct qcow2_create {
    uint64_t size; /* bytes */
    int compat;    /* index into "0.10", "1.1", "v2", "v3" */
    char *backing_file, *backing_fmt;
    uint64_t cluster_size;
    int preallocation; /* enum qcow2_preallocation */
    bool lazy_refcounts;
    uint64_t refcount_bits;
    bool extended_l2;
    char *data_file;
    bool data_file_raw;
    int compression_type; /* QCOW2_COMPRESSION_* */
    bool encryption;      /* QEMU's old name for encrypt_format AES */
    int encrypt_format;   /* QCOW2_CRYPT_* */
    struct luks_config luks;
};

extern const struct option_spec qcow2_create_options[];
void qcow2_create_defaults(void *config);
int qcow2_create(const char *path, const void *config, struct kv_error *err);
int qcow2_measure(const void *config, struct block_node *source, struct block_measure *out,
                  struct kv_error *err);
static inline unsigned qcow2_create_version(const struct qcow2_create *config)
{
    return config->compat & 1 ? 3 : 2;
}

/* qcow2_preallocate.c: clusters for a guest range that has none yet. Under gate (write), not lock.
 * METADATA: mapped, without space on the host; FALLOC: with space; FULL: written. */
int qcow2_preallocate(struct qcow2 *s, uint64_t offset, uint64_t end, int preallocation,
                      struct kv_error *err);

/* qcow2_rewrite.c, under gate (write), not lock. order: log2 of the width in bits. */
int qcow2_change_refcounts(struct qcow2 *s, unsigned order, struct kv_error *err);
int qcow2_downgrade(struct qcow2 *s, struct kv_error *err);

/* qcow2_amend.c */
int qcow2_amend(struct block_node *node, const json_t *changes, struct kv_error *err);
int qcow2_set_backing(struct block_node *node, const char *path, const char *format,
                      struct kv_error *err);
json_t *qcow2_specific_info(struct block_node *node);

#endif
