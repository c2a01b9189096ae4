/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Algorithms of encrypted images, over GnuTLS. Called by luks.c and by qcow2's
 * encryption.
 *
 * A cipher keeps a pool of GnuTLS handles, as a handle holds the state of one
 * piece of work: threads that encrypt at the same time take one each.
 */
#include "block/crypto.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/util.h"
#include "block/library.h"

#define BLOCK 16 /* bytes of AES */
#define POOL_SIZE 16

static struct {
    __typeof__(gnutls_hash_init) *hash_init;
    __typeof__(gnutls_hash) *hash;
    __typeof__(gnutls_hash_deinit) *hash_deinit;
    __typeof__(gnutls_pbkdf2) *pbkdf2;
    __typeof__(gnutls_cipher_init) *cipher_init;
    __typeof__(gnutls_cipher_set_iv) *cipher_set_iv;
    __typeof__(gnutls_cipher_encrypt2) *cipher_encrypt;
    __typeof__(gnutls_cipher_decrypt2) *cipher_decrypt;
    __typeof__(gnutls_cipher_deinit) *cipher_deinit;
} tls;

static const struct library_symbol tls_symbols[] = {
    {"gnutls_hash_init", &tls.hash_init},
    {"gnutls_hash", &tls.hash},
    {"gnutls_hash_deinit", &tls.hash_deinit},
    {"gnutls_pbkdf2", &tls.pbkdf2},
    {"gnutls_cipher_init", &tls.cipher_init},
    {"gnutls_cipher_set_iv", &tls.cipher_set_iv},
    {"gnutls_cipher_encrypt2", &tls.cipher_encrypt},
    {"gnutls_cipher_decrypt2", &tls.cipher_decrypt},
    {"gnutls_cipher_deinit", &tls.cipher_deinit},
    {NULL, NULL},
};

static struct library library =
    LIBRARY("libgnutls.so.30", "libgnutls30", "encrypted images", tls_symbols);

const char *const crypto_hash_names[] = {"sha1", "sha224", "sha256", "sha384", "sha512", NULL};
const char *const crypto_mode_names[] = {"cbc", "xts", NULL};
const char *const crypto_ivgen_names[] = {"plain", "plain64", "essiv", NULL};

static const struct {
    gnutls_digest_algorithm_t digest;
    gnutls_mac_algorithm_t mac;
    unsigned size;
} hashes[CRYPTO_HASHES] = {
    [CRYPTO_SHA1] = {GNUTLS_DIG_SHA1, GNUTLS_MAC_SHA1, 20},
    [CRYPTO_SHA224] = {GNUTLS_DIG_SHA224, GNUTLS_MAC_SHA224, 28},
    [CRYPTO_SHA256] = {GNUTLS_DIG_SHA256, GNUTLS_MAC_SHA256, 32},
    [CRYPTO_SHA384] = {GNUTLS_DIG_SHA384, GNUTLS_MAC_SHA384, 48},
    [CRYPTO_SHA512] = {GNUTLS_DIG_SHA512, GNUTLS_MAC_SHA512, 64},
};

int crypto_prepare(struct kv_error *err)
{
    return library_load(&library, err);
}

void crypto_wipe(void *data, size_t len)
{
    if (data)
        explicit_bzero(data, len);
}

int crypto_random(void *out, size_t len)
{
    for (uint8_t *at = out; len > 0;) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* ----------------------------------------------------------------- hashes */

int crypto_hash_find(const char *name)
{
    for (int i = 0; crypto_hash_names[i]; i++) {
        if (strcmp(crypto_hash_names[i], name) == 0)
            return i;
    }
    return -ENOENT;
}

unsigned crypto_hash_size(enum crypto_hash hash)
{
    return hashes[hash].size;
}

int crypto_digest(enum crypto_hash hash, const void *prefix, size_t prefix_len, const void *data,
                  size_t len, uint8_t *out)
{
    gnutls_hash_hd_t handle;
    if (tls.hash_init(&handle, hashes[hash].digest) < 0)
        return -EIO;
    int r = prefix_len ? tls.hash(handle, prefix, prefix_len) : 0;
    if (r >= 0)
        r = tls.hash(handle, data, len);
    tls.hash_deinit(handle, out);
    return r < 0 ? -EIO : 0;
}

int crypto_pbkdf2(enum crypto_hash hash, const void *passphrase, size_t passphrase_len,
                  const uint8_t *salt, size_t salt_len, uint32_t iterations, void *out, size_t len)
{
    gnutls_datum_t key = {(unsigned char *)(uintptr_t)passphrase, (unsigned)passphrase_len};
    gnutls_datum_t salted = {(unsigned char *)(uintptr_t)salt, (unsigned)salt_len};
    return tls.pbkdf2(hashes[hash].mac, &key, &salted, iterations, out, len) < 0 ? -EIO : 0;
}

static uint64_t thread_nsec(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int crypto_pbkdf2_count(enum crypto_hash hash, size_t len, unsigned milliseconds, uint32_t *out)
{
    static const uint8_t salt[32];
    uint8_t key[CRYPTO_KEY_MAX];
    uint64_t iterations = 1000, spent;
    for (;;) {
        uint64_t start = thread_nsec();
        int r = crypto_pbkdf2(hash, "passphrase", 10, salt, sizeof(salt), (uint32_t)iterations, key,
                              MIN(len, sizeof(key)));
        if (r < 0)
            return r;
        spent = thread_nsec() - start;
        if (spent >= 20000000 || iterations >= UINT32_MAX / 4)
            break;
        iterations *= 4;
    }
    double wanted = (double)iterations * milliseconds * 1e6 / (double)MAX(spent, 1u);
    *out = wanted < 1000 ? 1000 : wanted > INT32_MAX ? INT32_MAX : (uint32_t)wanted;
    return 0;
}

/* ---------------------------------------------------------------- ciphers */

/* Of one thread at a time. */
struct handle {
    gnutls_cipher_hd_t data;
    gnutls_cipher_hd_t vector; /* AES of ESSIV's vectors, or of AES-192-XTS's tweaks; NULL: none */
};

struct crypto_cipher {
    struct crypto_spec spec;
    gnutls_cipher_algorithm_t algorithm, vector_algorithm; /* UNKNOWN: no second key */
    uint8_t key[CRYPTO_KEY_MAX], vector_key[CRYPTO_HASH_MAX];
    unsigned key_len, vector_key_len;

    pthread_mutex_t lock;
    struct handle *idle[POOL_SIZE];
    unsigned idle_count;
};

static gnutls_cipher_algorithm_t cbc_of(unsigned bits)
{
    switch (bits) {
    case 128:
        return GNUTLS_CIPHER_AES_128_CBC;
    case 192:
        return GNUTLS_CIPHER_AES_192_CBC;
    case 256:
        return GNUTLS_CIPHER_AES_256_CBC;
    default:
        return GNUTLS_CIPHER_UNKNOWN;
    }
}

static bool is_xts_192(const struct crypto_cipher *cipher)
{
    return cipher->spec.mode == CRYPTO_XTS && cipher->spec.aes_bits == 192;
}

static int choose_algorithms(struct crypto_cipher *cipher, const uint8_t *key, struct kv_error *err)
{
    const struct crypto_spec *spec = &cipher->spec;
    cipher->algorithm = cbc_of(spec->aes_bits);
    if (cipher->algorithm == GNUTLS_CIPHER_UNKNOWN)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "AES has keys of 128, 192 and 256 bits, not %u", spec->aes_bits);
    cipher->key_len = crypto_key_size(spec);
    memcpy(cipher->key, key, cipher->key_len);
    if (spec->ivgen == CRYPTO_ESSIV) {
        cipher->vector_key_len = crypto_hash_size(spec->essiv_hash);
        cipher->vector_algorithm = cbc_of(cipher->vector_key_len * 8);
        if (spec->mode == CRYPTO_XTS || cipher->vector_algorithm == GNUTLS_CIPHER_UNKNOWN)
            return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                                "essiv:%s with %s: essiv is supported with cbc and sha256",
                                crypto_hash_names[spec->essiv_hash], crypto_mode_names[spec->mode]);
        return crypto_digest(spec->essiv_hash, NULL, 0, key, cipher->key_len, cipher->vector_key);
    }
    if (is_xts_192(cipher)) { /* made of AES-192 by hand: GnuTLS has XTS for 128 and 256 only */
        cipher->vector_algorithm = cipher->algorithm;
        cipher->vector_key_len = cipher->key_len /= 2;
        memcpy(cipher->vector_key, key + cipher->key_len, cipher->key_len);
    } else if (spec->mode == CRYPTO_XTS) {
        cipher->algorithm =
            spec->aes_bits == 128 ? GNUTLS_CIPHER_AES_128_XTS : GNUTLS_CIPHER_AES_256_XTS;
    }
    return 0;
}

static void destroy_handle(struct handle *handle)
{
    if (handle->data)
        tls.cipher_deinit(handle->data);
    if (handle->vector)
        tls.cipher_deinit(handle->vector);
    free(handle);
}

static struct handle *create_handle(struct crypto_cipher *cipher)
{
    static uint8_t zero[BLOCK];
    gnutls_datum_t key = {cipher->key, cipher->key_len}, iv = {zero, BLOCK};
    gnutls_datum_t vector_key = {cipher->vector_key, cipher->vector_key_len};
    struct handle *handle = calloc(1, sizeof(*handle));
    if (!handle)
        return NULL;
    if (tls.cipher_init(&handle->data, cipher->algorithm, &key, &iv) < 0)
        handle->data = NULL;
    if (handle->data && cipher->vector_algorithm != GNUTLS_CIPHER_UNKNOWN &&
        tls.cipher_init(&handle->vector, cipher->vector_algorithm, &vector_key, &iv) < 0) {
        handle->vector = NULL;
        destroy_handle(handle);
        return NULL;
    }
    if (!handle->data) {
        free(handle);
        return NULL;
    }
    return handle;
}

static struct handle *get_handle(struct crypto_cipher *cipher)
{
    struct handle *handle = NULL;
    pthread_mutex_lock(&cipher->lock);
    if (cipher->idle_count > 0)
        handle = cipher->idle[--cipher->idle_count];
    pthread_mutex_unlock(&cipher->lock);
    return handle ? handle : create_handle(cipher);
}

static void put_handle(struct crypto_cipher *cipher, struct handle *handle)
{
    pthread_mutex_lock(&cipher->lock);
    if (cipher->idle_count < POOL_SIZE) {
        cipher->idle[cipher->idle_count++] = handle;
        handle = NULL;
    }
    pthread_mutex_unlock(&cipher->lock);
    if (handle)
        destroy_handle(handle);
}

int crypto_cipher_create(struct crypto_cipher **out, const struct crypto_spec *spec,
                         const uint8_t *key, struct kv_error *err)
{
    struct crypto_cipher *cipher = calloc(1, sizeof(*cipher));
    if (!cipher)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory for a cipher");
    cipher->spec = *spec;
    pthread_mutex_init(&cipher->lock, NULL);
    int r = choose_algorithms(cipher, key, err);
    struct handle *handle = r < 0 ? NULL : create_handle(cipher);
    if (!handle) {
        crypto_cipher_free(cipher);
        return r < 0 ? r
                     : kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                                    "GnuTLS does not take this key for AES-%u in mode %s",
                                    spec->aes_bits, crypto_mode_names[spec->mode]);
    }
    put_handle(cipher, handle);
    *out = cipher;
    return 0;
}

void crypto_cipher_free(struct crypto_cipher *cipher)
{
    if (!cipher)
        return;
    while (cipher->idle_count > 0)
        destroy_handle(cipher->idle[--cipher->idle_count]);
    pthread_mutex_destroy(&cipher->lock);
    crypto_wipe(cipher, sizeof(*cipher));
    free(cipher);
}

/* One block without chaining: CBC after a vector of zeros. */
static int encrypt_block(gnutls_cipher_hd_t handle, uint8_t block[BLOCK])
{
    uint8_t zero[BLOCK] = {0};
    tls.cipher_set_iv(handle, zero, BLOCK);
    return tls.cipher_encrypt(handle, block, BLOCK, block, BLOCK);
}

static int make_vector(const struct crypto_cipher *cipher, struct handle *handle, uint64_t sector,
                       uint8_t vector[BLOCK])
{
    memset(vector, 0, BLOCK);
    store_le(vector, sector, cipher->spec.ivgen == CRYPTO_PLAIN ? 4 : 8);
    return handle->vector ? encrypt_block(handle->vector, vector) : 0;
}

static void xor_block(uint8_t *to, const uint8_t *with)
{
    for (unsigned i = 0; i < BLOCK; i++)
        to[i] ^= with[i];
}

/* IEEE 1619, 5.2: the next block's tweak is this one's times alpha. */
static void next_tweak(uint8_t tweak[BLOCK])
{
    uint64_t low = load_le(tweak, 8), high = load_le(tweak + 8, 8);
    uint64_t carry = high >> 63;
    high = high << 1 | low >> 63;
    low = low << 1 ^ (carry ? 0x87 : 0);
    store_le(tweak, low, 8);
    store_le(tweak + 8, high, 8);
}

/* tweak: encrypted already, as the second key's vector. */
static int xts_by_hand(struct handle *handle, uint8_t tweak[BLOCK], uint8_t *data, bool encrypt)
{
    uint8_t before[BLOCK] = {0}, chained[CRYPTO_SECTOR];
    int r = 0;
    uint8_t start[BLOCK];
    memcpy(start, tweak, BLOCK);
    for (unsigned at = 0; at < CRYPTO_SECTOR; at += BLOCK, next_tweak(tweak))
        xor_block(data + at, tweak);
    if (encrypt) {
        for (unsigned at = 0; at < CRYPTO_SECTOR && r >= 0; at += BLOCK)
            r = encrypt_block(handle->data, data + at);
    } else { /* a CBC pass over the sector, its chaining taken out again */
        memcpy(chained, data, CRYPTO_SECTOR);
        tls.cipher_set_iv(handle->data, before, BLOCK);
        r = tls.cipher_decrypt(handle->data, data, CRYPTO_SECTOR, data, CRYPTO_SECTOR);
        for (unsigned at = BLOCK; at < CRYPTO_SECTOR; at += BLOCK)
            xor_block(data + at, chained + at - BLOCK);
    }
    for (unsigned at = 0; at < CRYPTO_SECTOR; at += BLOCK, next_tweak(start))
        xor_block(data + at, start);
    return r;
}

static int crypt_sector(const struct crypto_cipher *cipher, struct handle *handle, uint64_t sector,
                        uint8_t *data, bool encrypt)
{
    uint8_t vector[BLOCK];
    int r = make_vector(cipher, handle, sector, vector);
    if (r < 0)
        return r;
    if (is_xts_192(cipher))
        return xts_by_hand(handle, vector, data, encrypt);
    tls.cipher_set_iv(handle->data, vector, BLOCK);
    return encrypt ? tls.cipher_encrypt(handle->data, data, CRYPTO_SECTOR, data, CRYPTO_SECTOR)
                   : tls.cipher_decrypt(handle->data, data, CRYPTO_SECTOR, data, CRYPTO_SECTOR);
}

static int crypt_sectors(struct crypto_cipher *cipher, uint64_t sector, void *data, size_t len,
                         bool encrypt)
{
    struct handle *handle = get_handle(cipher);
    if (!handle)
        return -ENOMEM;
    int r = 0;
    for (size_t at = 0; at < len && r >= 0; at += CRYPTO_SECTOR, sector++)
        r = crypt_sector(cipher, handle, sector, (uint8_t *)data + at, encrypt);
    put_handle(cipher, handle);
    return r < 0 ? -EIO : 0;
}

int crypto_encrypt(struct crypto_cipher *cipher, uint64_t sector, void *data, size_t len)
{
    return crypt_sectors(cipher, sector, data, len, true);
}

int crypto_decrypt(struct crypto_cipher *cipher, uint64_t sector, void *data, size_t len)
{
    return crypt_sectors(cipher, sector, data, len, false);
}
