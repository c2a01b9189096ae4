/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What encrypted images need: hashes, keys out of passphrases, and sectors
 * encrypted in place, each with its own initialization vector. The algorithms
 * are GnuTLS's; it is loaded by crypto_prepare().
 */
#ifndef KV_BLOCK_CRYPTO_H
#define KV_BLOCK_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CRYPTO_SECTOR 512  /* bytes that share an initialization vector */
#define CRYPTO_HASH_MAX 64 /* bytes of the longest digest */
#define CRYPTO_KEY_MAX 64  /* bytes of the longest key: two AES-256 keys of XTS */

/* Before anything else here; before the process gives its file system away. */
int crypto_prepare(struct kv_error *err);

/* Overwrites a secret; not optimized away. NULL is fine. */
void crypto_wipe(void *data, size_t len);
int crypto_random(void *out, size_t len);

enum crypto_hash {
    CRYPTO_SHA1,
    CRYPTO_SHA224,
    CRYPTO_SHA256,
    CRYPTO_SHA384,
    CRYPTO_SHA512,
    CRYPTO_HASHES,
};

/* "sha1", "sha256", ...; NULL at the end. */
extern const char *const crypto_hash_names[];
/* Index into the names, or -ENOENT. */
int crypto_hash_find(const char *name);
unsigned crypto_hash_size(enum crypto_hash hash);
/* out: crypto_hash_size() bytes. prefix comes before data. */
int crypto_digest(enum crypto_hash hash, const void *prefix, size_t prefix_len, const void *data,
                  size_t len, uint8_t *out);

/* PBKDF2 (RFC 8018) with HMAC over the hash. 0 or -EIO. */
int crypto_pbkdf2(enum crypto_hash hash, const void *passphrase, size_t passphrase_len,
                  const uint8_t *salt, size_t salt_len, uint32_t iterations, void *out, size_t len);
/* How many iterations for a key of len bytes take that time on this host now; at least 1000. */
int crypto_pbkdf2_count(enum crypto_hash hash, size_t len, unsigned milliseconds, uint32_t *out);

enum crypto_mode { CRYPTO_CBC, CRYPTO_XTS };
extern const char *const crypto_mode_names[]; /* "cbc", "xts" */

/* What a sector's initialization vector is made of. */
enum crypto_ivgen {
    CRYPTO_PLAIN,   /* its number's low 32 bits, little-endian */
    CRYPTO_PLAIN64, /* its number, little-endian */
    CRYPTO_ESSIV,   /* its number encrypted by AES with the key's hash */
};
extern const char *const crypto_ivgen_names[]; /* "plain", "plain64", "essiv" */

struct crypto_spec {
    unsigned aes_bits; /* 128, 192, 256 */
    enum crypto_mode mode;
    enum crypto_ivgen ivgen;
    enum crypto_hash essiv_hash;
};

/* Bytes of its key: XTS takes two. */
static inline unsigned crypto_key_size(const struct crypto_spec *spec)
{
    return spec->aes_bits / 8 * (spec->mode == CRYPTO_XTS ? 2 : 1);
}

struct crypto_cipher;

/* key: crypto_key_size() bytes, copied. -ENOTSUP with err filled: no such combination. */
int crypto_cipher_create(struct crypto_cipher **out, const struct crypto_spec *spec,
                         const uint8_t *key, struct kv_error *err);
/* Wipes the key. NULL is fine. */
void crypto_cipher_free(struct crypto_cipher *cipher);

/* In place; len is whole sectors; sector: the first one's number. Any thread, several at once. 0,
 * -ENOMEM or -EIO. */
int crypto_encrypt(struct crypto_cipher *cipher, uint64_t sector, void *data, size_t len);
int crypto_decrypt(struct crypto_cipher *cipher, uint64_t sector, void *data, size_t len);

#endif
