/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The luks format: a LUKS header, then the disk's sectors encrypted, as
 * cryptsetup and QEMU's driver of this name have them. Sectors are numbered
 * from the payload's start.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/crypto_io.h"
#include "block/drivers.h"
#include "block/luks.h"

#define SECTOR CRYPTO_SECTOR

struct luks_state {
    struct luks luks;
    struct crypto_io io;
    uint64_t payload; /* bytes */
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
    return r < 0 ? r : luks_cipher(&state->luks, &state->io.cipher, err);
}

static void free_state(struct luks_state *state)
{
    luks_wipe(&state->luks);
    crypto_io_free(&state->io);
    free(state);
}

static int luks_open(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct luks_state *state = calloc(1, sizeof(*state));
    if (!state)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    crypto_io_init(&state->io);
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

static int luks_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count)
{
    struct luks_state *state = node->state;
    return crypto_io_read(&state->io, node->file, state->payload, offset, len, iov, count, 0);
}

static int luks_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                        const struct iovec *iov, unsigned count, unsigned flags)
{
    struct luks_state *state = node->state;
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    return crypto_io_write(&state->io, node->file, state->payload, offset, len, iov, count, 0,
                           flags);
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

static const struct block_key luks_keys[] = {{"key-secret", BLOCK_KEY_TEXT}, {NULL, 0}};

const struct block_driver block_luks_driver = {
    .name = "luks",
    .keys = luks_keys,
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
