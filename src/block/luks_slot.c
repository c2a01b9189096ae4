/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key slots of LUKS: the master key is split into 4000 stripes that are useless
 * one without the others (anti-forensic splitter, specification 2.4), encrypted
 * with a key made of the passphrase. Called by luks.c.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/luks.h"

#define ERASE_PASSES 3

/* Each piece of a digest's size becomes the hash of its number and itself. */
static int diffuse(enum crypto_hash hash, uint8_t *block, size_t len)
{
    uint8_t digest[CRYPTO_HASH_MAX];
    unsigned size = crypto_hash_size(hash);
    uint32_t number = 0;
    for (size_t at = 0; at < len; at += size, number++) {
        uint32_t prefix = htobe32(number);
        size_t part = MIN(size, len - at);
        int r = crypto_digest(hash, &prefix, sizeof(prefix), block + at, part, digest);
        if (r < 0)
            return r;
        memcpy(block + at, digest, part);
    }
    crypto_wipe(digest, sizeof(digest));
    return 0;
}

/* All stripes but the last, mixed. */
static int mix_stripes(const struct luks *luks, const uint8_t *material, unsigned stripes,
                       uint8_t *mixed)
{
    memset(mixed, 0, luks->key_size);
    for (unsigned s = 0; s + 1 < stripes; s++) {
        for (unsigned i = 0; i < luks->key_size; i++)
            mixed[i] ^= material[(size_t)s * luks->key_size + i];
        int r = diffuse(luks->hash, mixed, luks->key_size);
        if (r < 0)
            return r;
    }
    return 0;
}

static int split_key(const struct luks *luks, unsigned stripes, uint8_t *material)
{
    uint8_t mixed[CRYPTO_KEY_MAX];
    size_t last = (size_t)(stripes - 1) * luks->key_size;
    int r = crypto_random(material, last);
    if (r == 0)
        r = mix_stripes(luks, material, stripes, mixed);
    for (unsigned i = 0; r == 0 && i < luks->key_size; i++)
        material[last + i] = mixed[i] ^ luks->key[i];
    crypto_wipe(mixed, sizeof(mixed));
    return r;
}

static int merge_key(const struct luks *luks, unsigned stripes, const uint8_t *material,
                     uint8_t *key)
{
    size_t last = (size_t)(stripes - 1) * luks->key_size;
    int r = mix_stripes(luks, material, stripes, key);
    for (unsigned i = 0; r == 0 && i < luks->key_size; i++)
        key[i] ^= material[last + i];
    return r;
}

/* The cipher of a slot's material. */
static int slot_cipher(const struct luks *luks, const struct luks_slot *slot,
                       const uint8_t *passphrase, size_t len, struct crypto_cipher **out)
{
    uint8_t key[CRYPTO_KEY_MAX];
    int r = crypto_pbkdf2(luks->hash, passphrase, len, slot->salt, sizeof(slot->salt),
                          slot->iterations, key, luks->key_size);
    if (r == 0)
        r = crypto_cipher_create(out, &luks->spec, key, NULL);
    crypto_wipe(key, sizeof(key));
    return r;
}

static size_t material_size(const struct luks *luks, const struct luks_slot *slot)
{
    return ALIGN_UP((size_t)luks->key_size * slot->stripes, CRYPTO_SECTOR);
}

int luks_key_digest(const struct luks *luks, const uint8_t *key, uint8_t digest[LUKS_DIGEST])
{
    return crypto_pbkdf2(luks->hash, key, luks->key_size, luks->digest_salt,
                         sizeof(luks->digest_salt), luks->digest_iterations, digest, LUKS_DIGEST);
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint8_t differ = 0;
    for (size_t i = 0; i < len; i++)
        differ |= a[i] ^ b[i];
    return differ == 0;
}

int luks_slot_open(const struct luks *luks, unsigned index, struct block_node *file, uint64_t base,
                   const uint8_t *passphrase, size_t len, uint8_t key[CRYPTO_KEY_MAX])
{
    const struct luks_slot *slot = &luks->slots[index];
    size_t size = material_size(luks, slot);
    uint8_t digest[LUKS_DIGEST];
    struct crypto_cipher *cipher = NULL;
    uint8_t *material = malloc(size);
    int r = material ? slot_cipher(luks, slot, passphrase, len, &cipher) : -ENOMEM;
    if (r == 0)
        r = block_pread(file, base + (uint64_t)slot->offset * CRYPTO_SECTOR, material, size);
    if (r == 0)
        r = crypto_decrypt(cipher, 0, material, size);
    if (r == 0)
        r = merge_key(luks, slot->stripes, material, key);
    if (r == 0)
        r = luks_key_digest(luks, key, digest);
    if (r == 0 && !same_bytes(digest, luks->digest, sizeof(digest)))
        r = -EACCES;
    crypto_cipher_free(cipher);
    crypto_wipe(material, material ? size : 0);
    free(material);
    if (r < 0)
        crypto_wipe(key, CRYPTO_KEY_MAX);
    return r;
}

int luks_slot_fill(struct luks *luks, unsigned index, struct block_node *file, uint64_t base,
                   const uint8_t *passphrase, size_t len, unsigned milliseconds,
                   struct kv_error *err)
{
    struct luks_slot *slot = &luks->slots[index], filled = *slot;
    size_t size = material_size(luks, slot);
    struct crypto_cipher *cipher = NULL;
    uint8_t *material = calloc(1, size);
    int r = material ? crypto_random(filled.salt, sizeof(filled.salt)) : -ENOMEM;
    if (r == 0)
        r = crypto_pbkdf2_count(luks->hash, luks->key_size, milliseconds, &filled.iterations);
    if (r == 0)
        r = slot_cipher(luks, &filled, passphrase, len, &cipher);
    if (r == 0)
        r = split_key(luks, slot->stripes, material);
    if (r == 0)
        r = crypto_encrypt(cipher, 0, material, size);
    if (r == 0)
        r = block_pwrite(file, base + (uint64_t)slot->offset * CRYPTO_SECTOR, material, size, 0);
    crypto_cipher_free(cipher);
    crypto_wipe(material, material ? size : 0);
    free(material);
    if (r < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -r, "'%s': key slot %u cannot be written",
                              block_name(file), index);
    filled.active = true;
    *slot = filled;
    return 0;
}

int luks_slot_erase(const struct luks *luks, unsigned index, struct block_node *file, uint64_t base)
{
    const struct luks_slot *slot = &luks->slots[index];
    size_t size = material_size(luks, slot);
    uint8_t *noise = malloc(size);
    int r = noise ? 0 : -ENOMEM;
    for (unsigned pass = 0; pass < ERASE_PASSES && r == 0; pass++) {
        r = crypto_random(noise, size);
        if (r == 0)
            r = block_pwrite(file, base + (uint64_t)slot->offset * CRYPTO_SECTOR, noise, size, 0);
        if (r == 0)
            r = block_flush(file);
    }
    free(noise);
    return r;
}
