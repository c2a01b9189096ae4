/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS version 1 (LUKS On-Disk Format Specification 1.2.3): a header with eight
 * key slots, each holding the master key under a passphrase of its own. Used by
 * the luks format and by encrypted qcow2 images, where the header lies in some
 * clusters of the image. Headers are hostile: checked when they are read.
 *
 * Nothing here locks; a struct luks belongs to whoever opens the image.
 */
#ifndef KV_BLOCK_LUKS_H
#define KV_BLOCK_LUKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"
#include "block/block.h"
#include "block/crypto.h"

#define LUKS_SLOTS 8
#define LUKS_SALT 32
#define LUKS_DIGEST 20

struct luks_slot {
    bool active;
    uint32_t iterations;
    uint8_t salt[LUKS_SALT];
    uint32_t offset; /* of the key material behind the header's start, sectors */
    uint32_t stripes;
};

struct luks {
    struct crypto_spec spec;
    enum crypto_hash hash;
    uint32_t payload_offset; /* behind the header's start, sectors */
    uint32_t key_size;       /* bytes */
    uint8_t digest[LUKS_DIGEST], digest_salt[LUKS_SALT];
    uint32_t digest_iterations;
    char uuid[40];
    struct luks_slot slots[LUKS_SLOTS];

    bool unlocked;
    uint8_t key[CRYPTO_KEY_MAX]; /* the master key, while unlocked */
};

/* What create takes; the strings of a struct luks_config belong to it. */
struct luks_config {
    char *key_secret;
    int cipher, mode, ivgen, ivgen_hash, hash; /* indexes into the tables' names */
    uint64_t iter_time;                        /* milliseconds */
};

/* QEMU's defaults. */
void luks_config_defaults(struct luks_config *config);
/* Rows of an option table; prefix is "" or "encrypt.". type: the struct that holds a struct
 * luks_config as its member field. */
#define LUKS_OPTIONS(prefix, type, field)                                                         \
    OPTION_NAMED(prefix "cipher-alg", ENUM, type, field.cipher, .values = luks_cipher_names,      \
                 .help = "Name of encryption cipher algorithm"),                                  \
        OPTION_NAMED(prefix "cipher-mode", ENUM, type, field.mode, .values = crypto_mode_names,   \
                     .help = "Name of encryption cipher mode"),                                   \
        OPTION_NAMED(prefix "hash-alg", ENUM, type, field.hash, .values = crypto_hash_names,      \
                     .help = "Name of encryption hash algorithm"),                                \
        OPTION_NAMED(prefix "iter-time", UINT, type, field.iter_time, .min = 1, .max = 600000,    \
                     .help = "Time to spend in PBKDF in milliseconds"),                           \
        OPTION_NAMED(prefix "ivgen-alg", ENUM, type, field.ivgen, .values = crypto_ivgen_names,   \
                     .help = "Name of IV generator algorithm"),                                   \
        OPTION_NAMED(prefix "ivgen-hash-alg", ENUM, type, field.ivgen_hash,                       \
                     .values = crypto_hash_names, .help = "Name of IV generator hash algorithm"), \
        OPTION_NAMED(prefix "key-secret", STRING, type, field.key_secret,                         \
                     .help = "ID of the secret that provides the keyslot passphrase")
extern const char *const luks_cipher_names[]; /* "aes-128", "aes-192", "aes-256" */

/* Bytes from a new header's start to its payload: header and all key material. */
int luks_header_size(const struct luks_config *config, uint64_t *bytes, struct kv_error *err);

/* Reads and checks the header at base of file; key material must lie within the next room bytes. */
int luks_read(struct luks *luks, struct block_node *file, uint64_t base, uint64_t room,
              struct kv_error *err);
/* Finds the key slot that the passphrase opens. -EACCES: none. */
int luks_unlock(struct luks *luks, struct block_node *file, uint64_t base,
                const uint8_t *passphrase, size_t len, struct kv_error *err);
/* As luks_unlock(), with the passphrase of a secret (NULL: -EINVAL, it is required). */
int luks_unlock_by_secret(struct luks *luks, struct block_node *file, uint64_t base,
                          const char *secret, struct kv_error *err);
/* Writes a new header with a fresh master key at base: slot 0 takes config's secret. luks is
 * unlocked. */
int luks_format(struct luks *luks, struct block_node *file, uint64_t base,
                const struct luks_config *config, struct kv_error *err);
/* For the payload. luks is unlocked. */
int luks_cipher(const struct luks *luks, struct crypto_cipher **out, struct kv_error *err);
/* Key slots as qemu-img's amend has them: state, new-secret, old-secret, keyslot, iter-time. luks
 * is unlocked; what was changed is durable. */
int luks_amend(struct luks *luks, struct block_node *file, uint64_t base, const json_t *changes,
               struct kv_error *err);
/* A new object: QEMU's QCryptoBlockInfoLUKS. NULL: out of memory. */
json_t *luks_info(const struct luks *luks);
/* Forgets the master key. */
void luks_wipe(struct luks *luks);

/* luks_slot.c: one key slot's material. */

/* Takes the passphrase into a slot: new salt and material, not yet in the header. */
int luks_slot_fill(struct luks *luks, unsigned slot, struct block_node *file, uint64_t base,
                   const uint8_t *passphrase, size_t len, unsigned milliseconds,
                   struct kv_error *err);
/* *key: the master key if the passphrase opens the slot, else -EACCES. */
int luks_slot_open(const struct luks *luks, unsigned slot, struct block_node *file, uint64_t base,
                   const uint8_t *passphrase, size_t len, uint8_t key[CRYPTO_KEY_MAX]);
/* Overwrites the material beyond recovery. */
int luks_slot_erase(const struct luks *luks, unsigned slot, struct block_node *file, uint64_t base);
/* Digest of a master key, for the header. */
int luks_key_digest(const struct luks *luks, const uint8_t *key, uint8_t digest[LUKS_DIGEST]);

#endif
