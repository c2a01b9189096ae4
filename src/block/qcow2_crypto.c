/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encryption of qcow2 images by LUKS. The header and its key slots are luks.c's
 * work; sectors are numbered by where they lie in the file that holds the data.
 * Metadata and compressed clusters are not encrypted.
 */
#include "block/qcow2_crypto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/crypto_io.h"
#include "block/description.h"
#include "block/qcow2_refmap.h"

struct qcow2_crypto {
    struct luks luks;
    struct crypto_io io;
};

static int open_luks(struct qcow2 *s, const struct block_open_options *options,
                     struct kv_error *err)
{
    const char *secret = description_text(options->description, "encrypt.key-secret");
    const char *format = description_text(options->description, "encrypt.format");
    struct luks *luks = &s->crypto->luks;
    if (format && strcmp(format, "luks") != 0)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': Header reported 'luks' encryption format but options specify "
                            "'%s'",
                            s->node->name, format);
    int rc = luks_read(luks, s->file, s->crypto_offset, s->crypto_len, err);
    if (rc < 0 || (options->no_io && !secret))
        return rc;
    if (!secret)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': Parameter 'encrypt.key-secret' is required for cipher",
                            s->node->name);
    rc = luks_unlock_by_secret(luks, s->file, s->crypto_offset, secret, err);
    return rc < 0 ? rc : luks_cipher(luks, &s->crypto->io.cipher, err);
}

int qcow2_crypto_open(struct qcow2 *s, const struct block_open_options *options,
                      struct kv_error *err)
{
    if (s->header.crypt_method == QCOW2_CRYPT_NONE)
        return 0;
    if (s->header.crypt_method != QCOW2_CRYPT_LUKS)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': the old AES encryption of qcow2 is not supported; LUKS is. "
                            "qemu-img convert makes an image without it",
                            s->node->name);
    s->crypto = calloc(1, sizeof(*s->crypto));
    if (!s->crypto)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    crypto_io_init(&s->crypto->io);
    int rc = open_luks(s, options, err);
    if (rc < 0)
        qcow2_crypto_free(s);
    return rc;
}

void qcow2_crypto_free(struct qcow2 *s)
{
    if (!s->crypto)
        return;
    luks_wipe(&s->crypto->luks);
    crypto_io_free(&s->crypto->io);
    free(s->crypto);
    s->crypto = NULL;
}

int qcow2_crypto_read(struct qcow2 *s, uint64_t host, uint64_t len, const struct iovec *iov,
                      unsigned count, uint64_t iov_offset)
{
    return crypto_io_read(&s->crypto->io, s->data, 0, host, len, iov, count, iov_offset);
}

int qcow2_crypto_write(struct qcow2 *s, uint64_t host, uint64_t len, const struct iovec *iov,
                       unsigned count, uint64_t iov_offset, unsigned flags)
{
    return crypto_io_write(&s->crypto->io, s->data, 0, host, len, iov, count, iov_offset, flags);
}

json_t *qcow2_crypto_info(struct qcow2 *s)
{
    json_t *luks = s->crypto ? luks_info(&s->crypto->luks) : NULL, *value;
    json_t *info = luks ? json_object() : NULL;
    const char *name;
    json_object_foreach (luks, name, value) {
        json_object_set(info, name, value);
        if (strcmp(name, "uuid") == 0) /* QEMU's order */
            json_object_set_new(info, "format", json_string("luks"));
    }
    json_decref(luks);
    return info;
}

int qcow2_crypto_amend(struct qcow2 *s, const json_t *changes, struct kv_error *err)
{
    if (!s->crypto || !s->crypto->luks.unlocked)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': key slots are those of an encrypted image that is open with its "
                            "key",
                            s->node->name);
    qcow2_exclusive_begin(s);
    int rc = luks_amend(&s->crypto->luks, s->file, s->crypto_offset, changes, err);
    qcow2_exclusive_end(s);
    return rc;
}

/* ------------------------------------------------------------------- creating */

/* Clusters for the header: zeros, refcount 1, durable. */
static int make_room(struct qcow2 *s, uint64_t bytes, uint64_t *offset)
{
    uint64_t clusters = qcow2_clusters(s, bytes);
    pthread_mutex_lock(&s->lock);
    int rc = qcow2_alloc_exact(s, clusters, offset);
    pthread_mutex_unlock(&s->lock);
    if (rc == 0)
        rc = block_write_zeroes(s->file, *offset, clusters << s->cluster_bits, 0);
    return rc < 0 ? rc : qcow2_settle(s);
}

static int point_to_header(struct qcow2 *s, uint64_t offset, uint64_t bytes, struct kv_error *err)
{
    s->header.crypt_method = QCOW2_CRYPT_LUKS;
    s->crypto_offset = offset;
    s->crypto_len = bytes;
    int rc = qcow2_header_write(s, err);
    if (rc < 0)
        return rc;
    rc = block_flush(s->file);
    return rc < 0
               ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': writing the header", s->node->name)
               : 0;
}

int qcow2_crypto_create(struct qcow2 *s, const struct luks_config *config, struct kv_error *err)
{
    uint64_t bytes, offset;
    struct luks luks;
    int rc = luks_header_size(config, &bytes, err);
    if (rc == 0 && (rc = qcow2_prepare_write(s)) < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be written to", s->node->name);
    if (rc < 0)
        return rc;
    qcow2_exclusive_begin(s);
    rc = make_room(s, bytes, &offset);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': no room for the encryption header",
                       s->node->name);
    if (rc == 0)
        rc = luks_format(&luks, s->file, offset, config, err);
    if (rc == 0) {
        luks_wipe(&luks);
        rc = point_to_header(s, offset, bytes, err);
    }
    qcow2_exclusive_end(s);
    return rc;
}
