/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS headers: read and checked, made, changed. The layout is that of the LUKS
 * On-Disk Format Specification 1.2.3, section 3; numbers are big-endian. Called
 * by luks_driver.c and by qcow2.
 */
#include "block/luks.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/secret.h"

#define VERSION 1
#define STRIPES 4000
#define SLOT_ACTIVE 0x00ac71f3u
#define SLOT_INACTIVE 0x0000deadu
#define SLOT_ALIGN 4096u /* of new key material */
/* An iteration is a quarter of a microsecond at best: this is a minute. */
#define MAX_ITERATIONS BIT(28)

static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

struct disk_slot {
    uint32_t active, iterations;
    uint8_t salt[LUKS_SALT];
    uint32_t offset, stripes;
} __attribute__((packed));

struct disk_header {
    uint8_t magic[6];
    uint16_t version;
    char cipher[32], mode[32], hash[32];
    uint32_t payload_offset, key_size;
    uint8_t digest[LUKS_DIGEST], digest_salt[LUKS_SALT];
    uint32_t digest_iterations;
    char uuid[40];
    struct disk_slot slots[LUKS_SLOTS];
} __attribute__((packed));

_Static_assert(sizeof(struct disk_header) == 592, "LUKS specification, figure 1");

const char *const luks_cipher_names[] = {"aes-128", "aes-192", "aes-256", NULL};
static const unsigned cipher_bits[] = {128, 192, 256};

void luks_config_defaults(struct luks_config *config)
{
    config->cipher = 2;
    config->mode = CRYPTO_XTS;
    config->ivgen = CRYPTO_PLAIN64;
    config->ivgen_hash = CRYPTO_SHA256;
    config->hash = CRYPTO_SHA256;
    config->iter_time = 2000;
}

void luks_wipe(struct luks *luks)
{
    crypto_wipe(luks->key, sizeof(luks->key));
    luks->unlocked = false;
}

/* ---------------------------------------------------------------- reading */

/* "xts-plain64", "cbc-essiv:sha256". */
static int parse_mode(const char *text, struct crypto_spec *spec)
{
    for (unsigned m = 0; crypto_mode_names[m]; m++) {
        size_t len = strlen(crypto_mode_names[m]);
        if (strncmp(text, crypto_mode_names[m], len) != 0 || text[len] != '-')
            continue;
        spec->mode = m;
        const char *vector = text + len + 1;
        for (unsigned v = 0; crypto_ivgen_names[v]; v++) {
            size_t vlen = strlen(crypto_ivgen_names[v]);
            if (strncmp(vector, crypto_ivgen_names[v], vlen) != 0)
                continue;
            spec->ivgen = v;
            if (v != CRYPTO_ESSIV && vector[vlen] == 0)
                return 0;
            int hash = vector[vlen] == ':' ? crypto_hash_find(vector + vlen + 1) : -1;
            if (v == CRYPTO_ESSIV && hash >= 0) {
                spec->essiv_hash = hash;
                return 0;
            }
        }
    }
    return -ENOTSUP;
}

static int parse_algorithms(struct luks *luks, const struct disk_header *disk, const char *name,
                            struct kv_error *err)
{
    char cipher[33] = "", mode[33] = "", hash[33] = "";
    memcpy(cipher, disk->cipher, sizeof(disk->cipher));
    memcpy(mode, disk->mode, sizeof(disk->mode));
    memcpy(hash, disk->hash, sizeof(disk->hash));
    int found = crypto_hash_find(hash);
    if (strcmp(cipher, "aes") != 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': encrypted with the cipher '%s'; aes is supported", name, cipher);
    if (parse_mode(mode, &luks->spec) < 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': encrypted in the mode '%s'; xts-plain64, xts-plain, "
                            "cbc-plain64, cbc-plain and cbc-essiv:sha256 are supported",
                            name, mode);
    if (found < 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': keys are made with the hash '%s'; sha1, sha224, sha256, sha384 "
                            "and sha512 are supported",
                            name, hash);
    luks->hash = found;
    luks->key_size = be32toh(disk->key_size);
    for (unsigned i = 0; i < ARRAY_SIZE(cipher_bits); i++) {
        luks->spec.aes_bits = cipher_bits[i];
        if (crypto_key_size(&luks->spec) == luks->key_size)
            return 0;
    }
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        "'%s': a master key of %" PRIu32 " bytes does not fit aes-%s", name,
                        luks->key_size, mode);
}

static uint64_t slot_end(const struct luks *luks, const struct luks_slot *slot)
{
    uint64_t bytes = (uint64_t)luks->key_size * slot->stripes;
    return slot->offset + (bytes + CRYPTO_SECTOR - 1) / CRYPTO_SECTOR;
}

static int check_slots(const struct luks *luks, uint64_t room, const char *name,
                       struct kv_error *err)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const struct luks_slot *slot = &luks->slots[i];
        uint64_t end = slot_end(luks, slot);
        if (slot->stripes != STRIPES)
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': key slot %u has %" PRIu32 " stripes; 4000 are supported",
                                name, i, slot->stripes);
        if (slot->offset * (uint64_t)CRYPTO_SECTOR < sizeof(struct disk_header) ||
            end > luks->payload_offset || end > room / CRYPTO_SECTOR)
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': key slot %u lies at sectors %" PRIu32 " to %" PRIu64
                                ", which are not between the header and its end",
                                name, i, slot->offset, end);
        if (slot->active && (slot->iterations == 0 || slot->iterations > MAX_ITERATIONS))
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': key slot %u says %" PRIu32
                                " iterations; 1 to %u are accepted",
                                name, i, slot->iterations, (unsigned)MAX_ITERATIONS);
        for (unsigned k = 0; k < i; k++) {
            const struct luks_slot *other = &luks->slots[k];
            if (ranges_overlap(slot->offset, end - slot->offset, other->offset,
                               slot_end(luks, other) - other->offset))
                return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                    "'%s': key slots %u and %u lie over each other", name, k, i);
        }
    }
    return 0;
}

static int parse_slots(struct luks *luks, const struct disk_header *disk, const char *name,
                       struct kv_error *err)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const struct disk_slot *from = &disk->slots[i];
        struct luks_slot *to = &luks->slots[i];
        uint32_t active = be32toh(from->active);
        if (active != SLOT_ACTIVE && active != SLOT_INACTIVE)
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': key slot %u is neither active nor inactive (%#" PRIx32 ")",
                                name, i, active);
        to->active = active == SLOT_ACTIVE;
        to->iterations = be32toh(from->iterations);
        memcpy(to->salt, from->salt, sizeof(to->salt));
        to->offset = be32toh(from->offset);
        to->stripes = be32toh(from->stripes);
    }
    return 0;
}

int luks_read(struct luks *luks, struct block_node *file, uint64_t base, uint64_t room,
              struct kv_error *err)
{
    const char *name = block_name(file);
    struct disk_header disk;
    *luks = (struct luks){0};
    if (room < sizeof(disk))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': %" PRIu64 " bytes are too few for a LUKS header", name, room);
    int r = crypto_prepare(err);
    if (r < 0)
        return r;
    r = block_pread(file, base, &disk, sizeof(disk));
    if (r < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -r, "'%s': the LUKS header cannot be read", name);
    if (memcmp(disk.magic, magic, sizeof(magic)) != 0)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': there is no LUKS header", name);
    if (be16toh(disk.version) != VERSION)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': LUKS header says version %u; version 1 is supported", name,
                            be16toh(disk.version));
    luks->payload_offset = be32toh(disk.payload_offset);
    luks->digest_iterations = be32toh(disk.digest_iterations);
    if (luks->digest_iterations == 0 || luks->digest_iterations > MAX_ITERATIONS)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': the master key's digest says %" PRIu32
                            " iterations; 1 to %u are accepted",
                            name, luks->digest_iterations, (unsigned)MAX_ITERATIONS);
    memcpy(luks->digest, disk.digest, sizeof(luks->digest));
    memcpy(luks->digest_salt, disk.digest_salt, sizeof(luks->digest_salt));
    memcpy(luks->uuid, disk.uuid, sizeof(luks->uuid) - 1);
    r = parse_algorithms(luks, &disk, name, err);
    if (r == 0)
        r = parse_slots(luks, &disk, name, err);
    return r < 0 ? r : check_slots(luks, room, name, err);
}

/* --------------------------------------------------------------- unlocking */

int luks_unlock(struct luks *luks, struct block_node *file, uint64_t base,
                const uint8_t *passphrase, size_t len, struct kv_error *err)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (!luks->slots[i].active)
            continue;
        int r = luks_slot_open(luks, i, file, base, passphrase, len, luks->key);
        if (r == 0) {
            luks->unlocked = true;
            return 0;
        }
        if (r != -EACCES)
            return kv_error_errno(err, KV_ERR_BLOCK, -r, "'%s': key slot %u cannot be read",
                                  block_name(file), i);
    }
    return kv_error_set(err, KV_ERR_BLOCK, EACCES, "Invalid password, cannot unlock any keyslot");
}

int luks_unlock_by_secret(struct luks *luks, struct block_node *file, uint64_t base,
                          const char *secret, struct kv_error *err)
{
    uint8_t *passphrase;
    size_t len;
    if (!secret)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Parameter 'key-secret' is required for cipher");
    int r = secret_get(secret, &passphrase, &len, err);
    if (r < 0)
        return r;
    r = luks_unlock(luks, file, base, passphrase, len, err);
    secret_release(passphrase, len);
    return r;
}

int luks_cipher(const struct luks *luks, struct crypto_cipher **out, struct kv_error *err)
{
    return crypto_cipher_create(out, &luks->spec, luks->key, err);
}

/* ----------------------------------------------------------------- writing */

static int write_header(const struct luks *luks, struct block_node *file, uint64_t base)
{
    struct disk_header disk = {0};
    memcpy(disk.magic, magic, sizeof(magic));
    disk.version = htobe16(VERSION);
    memcpy(disk.cipher, "aes", 3);
    char mode[64];
    snprintf(mode, sizeof(mode), "%s-%s%s%s", crypto_mode_names[luks->spec.mode],
             crypto_ivgen_names[luks->spec.ivgen], luks->spec.ivgen == CRYPTO_ESSIV ? ":" : "",
             luks->spec.ivgen == CRYPTO_ESSIV ? crypto_hash_names[luks->spec.essiv_hash] : "");
    memcpy(disk.mode, mode, MIN(strlen(mode), sizeof(disk.mode) - 1));
    memcpy(disk.hash, crypto_hash_names[luks->hash], strlen(crypto_hash_names[luks->hash]));
    disk.payload_offset = htobe32(luks->payload_offset);
    disk.key_size = htobe32(luks->key_size);
    memcpy(disk.digest, luks->digest, sizeof(disk.digest));
    memcpy(disk.digest_salt, luks->digest_salt, sizeof(disk.digest_salt));
    disk.digest_iterations = htobe32(luks->digest_iterations);
    memcpy(disk.uuid, luks->uuid, sizeof(disk.uuid));
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const struct luks_slot *from = &luks->slots[i];
        struct disk_slot *to = &disk.slots[i];
        to->active = htobe32(from->active ? SLOT_ACTIVE : SLOT_INACTIVE);
        to->iterations = htobe32(from->iterations);
        memcpy(to->salt, from->salt, sizeof(to->salt));
        to->offset = htobe32(from->offset);
        to->stripes = htobe32(from->stripes);
    }
    int r = block_pwrite(file, base, &disk, sizeof(disk), 0);
    return r < 0 ? r : block_flush(file);
}

static int spec_of_config(const struct luks_config *config, struct crypto_spec *spec,
                          struct kv_error *err)
{
    *spec = (struct crypto_spec){.aes_bits = cipher_bits[config->cipher],
                                 .mode = config->mode,
                                 .ivgen = config->ivgen,
                                 .essiv_hash = config->ivgen_hash};
    if (spec->ivgen == CRYPTO_ESSIV &&
        (spec->mode != CRYPTO_CBC || spec->essiv_hash != CRYPTO_SHA256))
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "ivgen-alg=essiv is supported with cipher-mode=cbc and "
                            "ivgen-hash-alg=sha256");
    return 0;
}

static uint32_t slot_sectors(uint32_t key_size)
{
    return ALIGN_UP(key_size * STRIPES, SLOT_ALIGN) / CRYPTO_SECTOR;
}

int luks_header_size(const struct luks_config *config, uint64_t *bytes, struct kv_error *err)
{
    struct crypto_spec spec;
    int r = spec_of_config(config, &spec, err);
    if (r == 0)
        *bytes = SLOT_ALIGN +
                 (uint64_t)LUKS_SLOTS * slot_sectors(crypto_key_size(&spec)) * CRYPTO_SECTOR;
    return r;
}

/* A random UUID (RFC 4122, 4.4). */
static int make_uuid(char text[40])
{
    uint8_t u[16];
    int r = crypto_random(u, sizeof(u));
    u[6] = (uint8_t)(0x40 | (u[6] & 0x0f));
    u[8] = (uint8_t)(0x80 | (u[8] & 0x3f));
    snprintf(text, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
             u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
             u[14], u[15]);
    return r;
}

/* Everything but the slots' keys. */
static int make_header(struct luks *luks, const struct luks_config *config)
{
    luks->hash = config->hash;
    luks->key_size = crypto_key_size(&luks->spec);
    uint32_t sectors = slot_sectors(luks->key_size), first = SLOT_ALIGN / CRYPTO_SECTOR;
    luks->payload_offset = first + LUKS_SLOTS * sectors;
    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        luks->slots[i] = (struct luks_slot){.offset = first + i * sectors, .stripes = STRIPES};
    int r = make_uuid(luks->uuid);
    if (r == 0)
        r = crypto_random(luks->key, luks->key_size);
    if (r == 0)
        r = crypto_random(luks->digest_salt, sizeof(luks->digest_salt));
    if (r == 0)
        r = crypto_pbkdf2_count(luks->hash, LUKS_DIGEST, (unsigned)config->iter_time / 8,
                                &luks->digest_iterations);
    return r < 0 ? r : luks_key_digest(luks, luks->key, luks->digest);
}

int luks_format(struct luks *luks, struct block_node *file, uint64_t base,
                const struct luks_config *config, struct kv_error *err)
{
    uint8_t *passphrase;
    size_t len;
    *luks = (struct luks){0};
    if (!config->key_secret)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Parameter 'key-secret' is required for cipher");
    int r = spec_of_config(config, &luks->spec, err);
    if (r == 0)
        r = crypto_prepare(err);
    if (r == 0)
        r = secret_get(config->key_secret, &passphrase, &len, err);
    if (r < 0)
        return r;
    r = make_header(luks, config);
    if (r < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -r, "'%s': no master key can be made", block_name(file));
    else
        r = luks_slot_fill(luks, 0, file, base, passphrase, len, (unsigned)config->iter_time, err);
    secret_release(passphrase, len);
    if (r == 0 && (r = write_header(luks, file, base)) < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -r, "'%s': the LUKS header cannot be written",
                       block_name(file));
    luks->unlocked = r == 0;
    if (r < 0)
        luks_wipe(luks);
    return r;
}

/* ------------------------------------------------------------------- amend */

enum { STATE_ACTIVE, STATE_INACTIVE };
static const char *const states[] = {"active", "inactive", NULL};

struct amendment {
    int state;
    char *new_secret, *old_secret;
    uint64_t slot, iter_time;
};

#define ANY_SLOT UINT64_MAX

static const struct option_spec amend_specs[] = {
    OPTION(ENUM, struct amendment, state, .required = true, .values = states,
           .help = "Select new state of affected keyslots (active/inactive)"),
    OPTION_NAMED("new-secret", STRING, struct amendment, new_secret,
                 .help = "New secret to set in the matching keyslots"),
    OPTION_NAMED("old-secret", STRING, struct amendment, old_secret,
                 .help = "Select all keyslots that match this password"),
    OPTION_NAMED("keyslot", UINT, struct amendment, slot, .max = LUKS_SLOTS - 1,
                 .help = "Select a single keyslot to modify explicitly"),
    OPTION_NAMED("iter-time", UINT, struct amendment, iter_time, .min = 1, .max = 600000,
                 .help = "Time to spend in PBKDF in milliseconds"),
    OPTION_END,
};

static int rewrite_header(const struct luks *luks, struct block_node *file, uint64_t base,
                          struct kv_error *err)
{
    int r = write_header(luks, file, base);
    return r < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -r, "'%s': the LUKS header cannot be written",
                                  block_name(file))
                 : 0;
}

static int add_key(struct luks *luks, struct block_node *file, uint64_t base,
                   const struct amendment *a, struct kv_error *err)
{
    uint64_t slot = a->slot;
    if (!a->new_secret || a->old_secret)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "state=active wants new-secret and no old-secret");
    for (unsigned i = 0; i < LUKS_SLOTS && slot == ANY_SLOT; i++) {
        if (!luks->slots[i].active)
            slot = i;
    }
    if (slot == ANY_SLOT)
        return kv_error_set(err, KV_ERR_BLOCK, ENOSPC,
                            "Can't add a keyslot - all keyslots are in use");
    if (luks->slots[slot].active)
        return kv_error_set(
            err, KV_ERR_BLOCK, EEXIST,
            "Refusing to overwrite active keyslot %" PRIu64 " - please erase it first", slot);
    uint8_t *passphrase;
    size_t len;
    int r = secret_get(a->new_secret, &passphrase, &len, err);
    if (r < 0)
        return r;
    r = luks_slot_fill(luks, (unsigned)slot, file, base, passphrase, len, (unsigned)a->iter_time,
                       err);
    secret_release(passphrase, len);
    return r < 0 ? r : rewrite_header(luks, file, base, err);
}

/* Bit n: slot n opens with the old secret, or is the one asked for. */
static int select_slots(struct luks *luks, struct block_node *file, uint64_t base,
                        const struct amendment *a, unsigned *selected, struct kv_error *err)
{
    uint8_t *passphrase, key[CRYPTO_KEY_MAX];
    size_t len;
    *selected = 0;
    if (!a->old_secret) {
        if (a->slot == ANY_SLOT)
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "To erase keyslot(s), either explicit keyslot index or the "
                                "password currently contained in them must be given");
        if (luks->slots[a->slot].active)
            *selected = 1u << a->slot;
        return 0;
    }
    int r = secret_get(a->old_secret, &passphrase, &len, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (luks->slots[i].active && (a->slot == ANY_SLOT || a->slot == i) &&
            luks_slot_open(luks, i, file, base, passphrase, len, key) == 0)
            *selected |= 1u << i;
    }
    crypto_wipe(key, sizeof(key));
    secret_release(passphrase, len);
    return *selected ? 0
                     : kv_error_set(err, KV_ERR_BLOCK, EACCES,
                                    "No keyslots match given (old) password for erase operation");
}

static int remove_keys(struct luks *luks, struct block_node *file, uint64_t base,
                       const struct amendment *a, struct kv_error *err)
{
    unsigned selected, active = 0;
    if (a->new_secret)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "state=inactive takes no new-secret: key slots are erased");
    int r = select_slots(luks, file, base, a, &selected, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        active |= (unsigned)luks->slots[i].active << i;
    if (selected && (active & ~selected) == 0)
        return kv_error_set(err, KV_ERR_BLOCK, EPERM,
                            "All the active keyslots match the (old) password that was given and "
                            "erasing them will erase all the data in the image irreversibly - "
                            "refusing operation");
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (!(selected & 1u << i))
            continue;
        r = luks_slot_erase(luks, i, file, base);
        if (r < 0)
            return kv_error_errno(err, KV_ERR_BLOCK, -r, "'%s': key slot %u cannot be erased",
                                  block_name(file), i);
        luks->slots[i].active = false;
        luks->slots[i].iterations = 0;
        memset(luks->slots[i].salt, 0, sizeof(luks->slots[i].salt));
    }
    return rewrite_header(luks, file, base, err);
}

int luks_amend(struct luks *luks, struct block_node *file, uint64_t base, const json_t *changes,
               struct kv_error *err)
{
    struct amendment a = {.slot = ANY_SLOT, .iter_time = 2000};
    int r = options_parse_json(amend_specs, "amend", changes, &a, err);
    if (r == 0)
        r = a.state == STATE_ACTIVE ? add_key(luks, file, base, &a, err)
                                    : remove_keys(luks, file, base, &a, err);
    options_free(amend_specs, &a);
    return r;
}

/* -------------------------------------------------------------------- info */

json_t *luks_info(const struct luks *luks)
{
    json_t *slots = json_array();
    for (unsigned i = 0; i < LUKS_SLOTS && slots; i++) {
        const struct luks_slot *slot = &luks->slots[i];
        json_t *row = json_pack("{s:b}", "active", slot->active);
        json_int_t offset = (json_int_t)slot->offset * CRYPTO_SECTOR;
        if (slot->active) {
            json_object_set_new(row, "iters", json_integer(slot->iterations));
            json_object_set_new(row, "key-offset", json_integer(offset));
            json_object_set_new(row, "stripes", json_integer(slot->stripes));
        } else {
            json_object_set_new(row, "key-offset", json_integer(offset));
        }
        json_array_append_new(slots, row);
    }
    json_t *info = json_pack("{s:s}", "ivgen-alg", crypto_ivgen_names[luks->spec.ivgen]);
    if (!info || !slots) {
        json_decref(info);
        json_decref(slots);
        return NULL;
    }
    if (luks->spec.ivgen == CRYPTO_ESSIV)
        json_object_set_new(info, "ivgen-hash-alg",
                            json_string(crypto_hash_names[luks->spec.essiv_hash]));
    char cipher[16];
    snprintf(cipher, sizeof(cipher), "aes-%u", luks->spec.aes_bits);
    json_object_set_new(info, "hash-alg", json_string(crypto_hash_names[luks->hash]));
    json_object_set_new(info, "cipher-alg", json_string(cipher));
    json_object_set_new(info, "uuid", json_string(luks->uuid));
    json_object_set_new(info, "cipher-mode", json_string(crypto_mode_names[luks->spec.mode]));
    json_object_set_new(info, "slots", slots);
    json_object_set_new(info, "payload-offset",
                        json_integer((json_int_t)luks->payload_offset * CRYPTO_SECTOR));
    json_object_set_new(info, "master-key-iters", json_integer(luks->digest_iterations));
    return info;
}
