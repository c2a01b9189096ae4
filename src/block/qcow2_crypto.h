/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encrypted qcow2 images: LUKS header in clusters of the image (spec "Full disk encryption header
 * pointer"), guest data encrypted by host sector. */
#ifndef KV_BLOCK_QCOW2_CRYPTO_H
#define KV_BLOCK_QCOW2_CRYPTO_H

#include "block/luks.h"
#include "block/qcow2.h"

/* When the image is opened; nothing to do for images that are not encrypted. */
int qcow2_crypto_open(struct qcow2 *s, const struct block_open_options *options,
                      struct kv_error *err);
void qcow2_crypto_free(struct qcow2 *s);
/* Makes an image that is still empty an encrypted one. Under no lock. */
int qcow2_crypto_create(struct qcow2 *s, const struct luks_config *config, struct kv_error *err);
/* Key slots; changes without the prefix "encrypt.". */
int qcow2_crypto_amend(struct qcow2 *s, const json_t *changes, struct kv_error *err);
/* "encrypt" of the image's info; NULL: it is not encrypted. */
json_t *qcow2_crypto_info(struct qcow2 *s);

/* At a host offset of the data file. Under gate, between enter and leave. */
int qcow2_crypto_read(struct qcow2 *s, uint64_t host, uint64_t len, const struct iovec *iov,
                      unsigned count, uint64_t iov_offset);
int qcow2_crypto_write(struct qcow2 *s, uint64_t host, uint64_t len, const struct iovec *iov,
                       unsigned count, uint64_t iov_offset, unsigned flags);

#endif
