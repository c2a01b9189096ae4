/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The luks format: a LUKS header, then the disk's sectors encrypted, as
 * cryptsetup and QEMU's driver of this name have them. Sectors are numbered
 * from the payload's start.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/drivers.h"
#include "block/luks.h"

#define SECTOR CRYPTO_SECTOR
#define CHUNK MIB(1) /* bytes en- or decrypted at a time */

struct luks_state {
    struct luks luks;
    struct crypto_cipher *cipher; /* NULL: opened without its key, to be looked at */
    uint64_t payload;             /* bytes */
    /* Read: writes of whole sectors; write: those that keep a part of what is there. */
    pthread_rwlock_t parts;
};

static int luks_probe(const uint8_t *head, size_t len, const char *name)
{
    static const uint8_t magic[8] = {'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1};
    return len >= 592 && memcmp(head, magic, sizeof(magic)) == 0 ? 100 : 0;
}

static int open_state(struct block_node *node, const struct block_open_options *options,
                      struct luks_state *state, struct kv_error *err)
{
    uint64_t size = block_size(node->file);
    const json_t *secret = json_object_get(options->description, "key-secret");
    int r = luks_read(&state->luks, node->file, 0, size, err);
    if (r < 0)
        return r;
    state->payload = (uint64_t)state->luks.payload_offset * SECTOR;
    if (state->payload > size)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': payload is at byte %" PRIu64 " of a file of %" PRIu64 " bytes",
                            node->name, state->payload, size);
    node->info.size = size - state->payload;
    if (options->no_io && !secret)
        return 0;
    r = luks_unlock_by_secret(&state->luks, node->file, 0, json_string_value(secret), err);
    return r < 0 ? r : luks_cipher(&state->luks, &state->cipher, err);
}

static void free_state(struct luks_state *state)
{
    luks_wipe(&state->luks);
    crypto_cipher_free(state->cipher);
    pthread_rwlock_destroy(&state->parts);
    free(state);
}

static int luks_open(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct luks_state *state = calloc(1, sizeof(*state));
    if (!state)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    pthread_rwlock_init(&state->parts, NULL);
    node->info = node->file->info;
    int r = open_state(node, options, state, err);
    if (r < 0) {
        free_state(state);
        return r;
    }
    node->info.can_discard = node->info.can_write_zeroes = false;
    node->info.request_alignment = MAX(node->info.request_alignment, SECTOR);
    node->info.encrypted = true;
    node->state = state;
    return 0;
}

static void luks_close(struct block_node *node)
{
    free_state(node->state);
}

static int luks_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    const struct luks_state *state = node->state;
    int r = block_refresh(node->file, err);
    if (r == 0)
        *size = block_size(node->file) - MIN(state->payload, block_size(node->file));
    return r;
}

static int luks_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    const struct luks_state *state = node->state;
    if (size > INT64_MAX - SECTOR - state->payload)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG, "The requested file size is too large");
    return block_resize(node->file, state->payload + size, err);
}

/* ----------------------------------------------------------- reading, writing */

/* Whole sectors of the payload, decrypted. */
static int read_sectors(struct block_node *node, uint64_t offset, uint8_t *data, uint64_t len)
{
    const struct luks_state *state = node->state;
    int r = block_pread(node->file, state->payload + offset, data, len);
    return r < 0 ? r : crypto_decrypt(state->cipher, offset / SECTOR, data, len);
}

static int luks_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count)
{
    const struct luks_state *state = node->state;
    if (!state->cipher)
        return -EACCES;
    uint8_t *data;
    uint64_t room = MIN(ALIGN_UP(len, SECTOR) + SECTOR, CHUNK);
    if (posix_memalign((void **)&data, 4096, room))
        return -ENOMEM;
    int r = 0;
    for (uint64_t done = 0; done < len && r == 0;) {
        uint64_t start = ALIGN_DOWN(offset + done, SECTOR), skip = offset + done - start;
        uint64_t part = MIN(len - done, room - skip);
        r = read_sectors(node, start, data, ALIGN_UP(skip + part, SECTOR));
        if (r == 0)
            iov_from_buffer(iov, count, done, data + skip, part);
        done += part;
    }
    free(data);
    return r;
}

/* What surrounds the bytes in the first and last of the sectors at start. */
static int read_edges(struct block_node *node, uint64_t start, uint64_t skip, uint64_t part,
                      uint8_t *data)
{
    uint64_t end = skip + part, last = ALIGN_DOWN(end, SECTOR);
    int r = 0;
    if (skip || end < SECTOR)
        r = read_sectors(node, start, data, SECTOR);
    if (r == 0 && last < end && last > 0)
        r = read_sectors(node, start + last, data + last, SECTOR);
    return r;
}

static int write_chunk(struct block_node *node, uint64_t offset, const struct iovec *iov,
                       unsigned count, uint64_t done, uint64_t part, uint8_t *data, unsigned flags)
{
    struct luks_state *state = node->state;
    uint64_t start = ALIGN_DOWN(offset, SECTOR), skip = offset - start;
    uint64_t len = ALIGN_UP(skip + part, SECTOR);
    bool whole = skip == 0 && part == len;
    if (whole)
        pthread_rwlock_rdlock(&state->parts);
    else
        pthread_rwlock_wrlock(&state->parts);
    int r = whole ? 0 : read_edges(node, start, skip, part, data);
    if (r == 0) {
        iov_to_buffer(iov, count, done, data + skip, part);
        r = crypto_encrypt(state->cipher, start / SECTOR, data, len);
    }
    if (r == 0)
        r = block_pwrite(node->file, state->payload + start, data, len, flags);
    pthread_rwlock_unlock(&state->parts);
    return r;
}

static int luks_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                        const struct iovec *iov, unsigned count, unsigned flags)
{
    const struct luks_state *state = node->state;
    if (!state->cipher)
        return -EACCES;
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    uint8_t *data;
    uint64_t room = MIN(ALIGN_UP(len, SECTOR) + SECTOR, CHUNK);
    if (posix_memalign((void **)&data, 4096, room))
        return -ENOMEM;
    int r = 0;
    for (uint64_t done = 0; done < len && r == 0;) {
        uint64_t part = MIN(len - done, room - (offset + done) % SECTOR);
        r = write_chunk(node, offset + done, iov, count, done, part, data, flags);
        done += part;
    }
    free(data);
    return r;
}

static int luks_flush(struct block_node *node)
{
    return block_flush(node->file);
}

static int luks_status(struct block_node *node, uint64_t offset, uint64_t len,
                       struct block_extent *out)
{
    out->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED;
    return 0;
}

/* -------------------------------------------------------------- kvasir-img */

struct luks_create {
    uint64_t size;
    struct luks_config config;
};

static const struct option_spec create_specs[] = {
    OPTION(SIZE, struct luks_create, size, .help = "Virtual disk size"),
    LUKS_OPTIONS("", struct luks_create, config),
    OPTION_END,
};

static void luks_create_defaults(void *config)
{
    luks_config_defaults(&((struct luks_create *)config)->config);
}

static int luks_create(const char *path, const void *opaque, struct kv_error *err)
{
    const struct luks_create *create = opaque;
    struct block_open_options options = {.path = path, .fd = -1, .format = "raw"};
    uint64_t header;
    struct luks luks;
    struct block_node *file;
    int r = luks_header_size(&create->config, &header, err);
    if (r == 0 && create->size > INT64_MAX - SECTOR - header)
        r = kv_error_set(err, KV_ERR_BLOCK, EFBIG, "The requested file size is too large");
    if (r == 0 && !create->config.key_secret)
        r = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                         "Parameter 'key-secret' is required for cipher");
    if (r == 0)
        r = block_create_file(path, header + ALIGN_UP(create->size, SECTOR), err);
    if (r == 0)
        r = block_open(&file, &options, err);
    if (r < 0)
        return r;
    r = luks_format(&luks, file, 0, &create->config, err);
    luks_wipe(&luks);
    block_close(file);
    return r;
}

static int luks_measure(const void *opaque, struct block_node *source, struct block_measure *out,
                        struct kv_error *err)
{
    const struct luks_create *create = opaque;
    uint64_t header, size = source ? block_size(source) : ALIGN_UP(create->size, SECTOR);
    int r = luks_header_size(&create->config, &header, err);
    if (r == 0)
        *out = (struct block_measure){header + size, header + size, UINT64_MAX};
    return r;
}

static int luks_driver_amend(struct block_node *node, const json_t *changes, struct kv_error *err)
{
    struct luks_state *state = node->state;
    return luks_amend(&state->luks, node->file, 0, changes, err);
}

static json_t *luks_specific_info(struct block_node *node)
{
    const struct luks_state *state = node->state;
    return luks_info(&state->luks);
}

const struct block_driver block_luks_driver = {
    .name = "luks",
    .probe = luks_probe,
    .open = luks_open,
    .close = luks_close,
    .get_size = luks_get_size,
    .resize = luks_resize,
    .preadv = luks_preadv,
    .pwritev = luks_pwritev,
    .flush = luks_flush,
    .status = luks_status,
    .create_options = create_specs,
    .create_config_size = sizeof(struct luks_create),
    .create_defaults = luks_create_defaults,
    .create = luks_create,
    .measure = luks_measure,
    .amend = luks_driver_amend,
    .specific_info = luks_specific_info,
};
