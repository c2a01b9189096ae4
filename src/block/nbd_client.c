/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD client: the protocol driver "nbd" over libnbd. Requests of any thread go
 * out at once, cut to the server's limits; when many are on their way and the
 * server allows it (multi-conn), over several connections.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "block/drivers.h"
#include "block/nbd_client_internal.h"

#define LINK_BUSY 8u             /* requests of a connection from which on another one is made */
#define LINK_TIMEOUT_MS 1000     /* a server that lets no further client in is not waited for */
#define RANGE_MAX (1u << 30)     /* bytes of a trim, zero or status request */
#define STATUS_AGE_NS 1000000000 /* so long an answered status stays true for us */
#define SECTOR 512u

/* ------------------------------------------------------------------ connections */

/* One more, unless another thread is at it. A server may count its clients and leave further ones
 * waiting, so a try that fails is the last. */
static void grow(struct nbd_client *client)
{
    if (!nbd_address_reachable(&client->address) || pthread_mutex_trylock(&client->grow_lock))
        return;
    unsigned count = atomic_load(&client->link_count);
    if (count < atomic_load(&client->link_max)) {
        struct kv_error err = {0};
        if (nbd_link_open(&client->links[count], client->lib, &client->address, LINK_TIMEOUT_MS,
                          &err) == 0) {
            atomic_store(&client->link_count, count + 1);
        } else {
            log_debug("nbd: no further connection: %s", err.message);
            atomic_store(&client->link_max, count);
        }
    }
    pthread_mutex_unlock(&client->grow_lock);
}

/* A connection that stands rather than one that has to be made. */
static struct nbd_link *least_loaded(struct nbd_client *client)
{
    unsigned count = atomic_load(&client->link_count);
    struct nbd_link *best = &client->links[0];
    for (unsigned i = 1; i < count; i++) {
        struct nbd_link *link = &client->links[i];
        bool up = atomic_load(&link->remote.up), best_up = atomic_load(&best->remote.up);
        if (up > best_up ||
            (up == best_up && atomic_load(&link->remote.load) < atomic_load(&best->remote.load)))
            best = link;
    }
    return best;
}

/* Each its own, as long as the server lets us. */
struct nbd_link *nbd_client_link_for_queue(struct nbd_client *client)
{
    unsigned number = atomic_fetch_add(&client->lanes, 1);
    if (number >= atomic_load(&client->link_count) &&
        atomic_load(&client->link_count) < atomic_load(&client->link_max))
        grow(client);
    return &client->links[number % atomic_load(&client->link_count)];
}

/* A server that came back may let fewer of us in: then the requests of a connection that cannot be
 * made anew take another one. */
static int run(struct nbd_client *client, struct nbd_op *op)
{
    struct nbd_link *link = least_loaded(client);
    if (atomic_load(&link->remote.load) >= LINK_BUSY &&
        atomic_load(&client->link_count) < atomic_load(&client->link_max)) {
        grow(client);
        link = least_loaded(client);
    }
    int rc = nbd_link_run(link, op);
    for (unsigned i = 0; i < NBD_LINKS_MAX && rc == -ENOTCONN; i++) {
        link = least_loaded(client);
        if (!atomic_load(&link->remote.up))
            break;
        rc = nbd_link_run(link, op);
    }
    return rc == -ENOTCONN ? -EIO : rc;
}

/* ----------------------------------------------------------------- transferring */

static bool is_aligned(const struct nbd_client *client, uint64_t offset, uint64_t len)
{
    return IS_ALIGNED(offset | len, client->facts.block_min);
}

/* An aligned range into or out of one buffer. */
static int transfer(struct nbd_client *client, enum nbd_op_kind kind, uint64_t offset, void *buffer,
                    uint64_t len, uint32_t flags)
{
    int rc = 0;
    while (len && rc == 0) {
        uint64_t part = MIN(len, client->facts.payload_max);
        struct nbd_op op = {
            .kind = kind, .offset = offset, .len = part, .buffer = buffer, .flags = flags};
        rc = run(client, &op);
        offset += part;
        buffer = (char *)buffer + part;
        len -= part;
    }
    return rc;
}

/* What a server has of a range: its size is any number of bytes, ours a multiple of 512. */
static uint64_t clip(const struct nbd_client *client, uint64_t offset, uint64_t len)
{
    uint64_t size = client->facts.size;
    return offset >= size ? 0 : MIN(len, size - offset);
}

/* Any range that the server has, one buffer. */
static int read_any(struct nbd_client *client, uint64_t offset, void *buffer, uint64_t len)
{
    if (is_aligned(client, offset, len))
        return transfer(client, NBD_OP_READ, offset, buffer, len, 0);
    uint32_t block = client->facts.block_min;
    uint64_t start = ALIGN_DOWN(offset, (uint64_t)block);
    uint64_t end = MIN(ALIGN_UP(offset + len, (uint64_t)block), client->facts.size);
    cleanup_free uint8_t *whole = malloc(end - start);
    if (!whole)
        return -ENOMEM;
    int rc = transfer(client, NBD_OP_READ, start, whole, end - start, 0);
    if (rc == 0)
        memcpy(buffer, whole + (offset - start), len);
    return rc;
}

static int write_any(struct nbd_client *client, uint64_t offset, const void *buffer, uint64_t len,
                     uint32_t flags)
{
    if (is_aligned(client, offset, len))
        return transfer(client, NBD_OP_WRITE, offset, (void *)buffer, len, flags);
    uint32_t block = client->facts.block_min;
    uint64_t start = ALIGN_DOWN(offset, (uint64_t)block);
    uint64_t end = MIN(ALIGN_UP(offset + len, (uint64_t)block), client->facts.size);
    cleanup_free uint8_t *whole = malloc(end - start);
    if (!whole)
        return -ENOMEM;
    pthread_mutex_lock(&client->partial_lock);
    int rc = transfer(client, NBD_OP_READ, start, whole, end - start, 0);
    if (rc == 0) {
        memcpy(whole + (offset - start), buffer, len);
        rc = transfer(client, NBD_OP_WRITE, start, whole, end - start, flags);
    }
    pthread_mutex_unlock(&client->partial_lock);
    return rc;
}

/* FUA for the server, or a flush afterwards where it has none. */
static uint32_t durable_flag(const struct block_node *node, unsigned flags, bool *flush_after)
{
    const struct nbd_client *client = node->state;
    bool durable = client->facts.flush && block_is_durable(node, flags & BLOCK_FUA);
    *flush_after = durable && !client->facts.fua;
    return durable && client->facts.fua ? LIBNBD_CMD_FLAG_FUA : 0;
}

static int client_flush(struct block_node *node)
{
    struct nbd_client *client = node->state;
    struct nbd_op op = {.kind = NBD_OP_FLUSH};
    return client->facts.flush ? run(client, &op) : 0;
}

static int client_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                         const struct iovec *iov, unsigned count)
{
    struct nbd_client *client = node->state;
    uint64_t there = clip(client, offset, len);
    if (there < len)
        iov_from_buffer(iov, count, there, NULL, len - there);
    if (count == 1)
        return there ? read_any(client, offset, iov->iov_base, there) : 0;
    cleanup_free uint8_t *buffer = malloc(there + 1);
    if (!buffer)
        return -ENOMEM;
    int rc = there ? read_any(client, offset, buffer, there) : 0;
    if (rc == 0)
        iov_from_buffer(iov, count, 0, buffer, there);
    return rc;
}

static int client_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                          const struct iovec *iov, unsigned count, unsigned flags)
{
    struct nbd_client *client = node->state;
    uint64_t there = clip(client, offset, len);
    const uint8_t *data = iov->iov_base;
    cleanup_free uint8_t *buffer = NULL;
    bool flush_after;
    uint32_t wire_flags = durable_flag(node, flags, &flush_after);
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    if (count > 1) {
        buffer = malloc(len);
        if (!buffer)
            return -ENOMEM;
        iov_to_buffer(iov, count, 0, buffer, len);
        data = buffer;
    }
    /* There is no place for what lies behind the server's last byte. */
    if (!buffer_is_zero(data + there, len - there))
        return -ENOSPC;
    int rc = there ? write_any(client, offset, data, there, wire_flags) : 0;
    atomic_fetch_add(&client->changes, 1);
    return rc == 0 && flush_after ? client_flush(node) : rc;
}

static int run_range(struct nbd_client *client, enum nbd_op_kind kind, uint64_t offset,
                     uint64_t len, uint32_t flags)
{
    int rc = 0;
    while (len && rc == 0) {
        uint64_t part = MIN(len, RANGE_MAX);
        struct nbd_op op = {.kind = kind, .offset = offset, .len = part, .flags = flags};
        rc = run(client, &op);
        offset += part;
        len -= part;
    }
    atomic_fetch_add(&client->changes, 1);
    return rc;
}

static int client_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len,
                               unsigned flags)
{
    struct nbd_client *client = node->state;
    uint64_t there = clip(client, offset, len);
    bool flush_after;
    uint32_t wire_flags = durable_flag(node, flags, &flush_after);
    if (!client->facts.zero || !is_aligned(client, offset, there) ||
        ((flags & BLOCK_NO_FALLBACK) && !client->facts.fast_zero))
        return -ENOTSUP;
    if (flags & BLOCK_NO_FALLBACK)
        wire_flags |= LIBNBD_CMD_FLAG_FAST_ZERO;
    if (!(flags & BLOCK_UNMAP))
        wire_flags |= LIBNBD_CMD_FLAG_NO_HOLE;
    int rc = run_range(client, NBD_OP_ZERO, offset, there, wire_flags);
    return rc == 0 && flush_after ? client_flush(node) : rc;
}

static int client_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct nbd_client *client = node->state;
    uint64_t block = client->facts.block_min;
    uint64_t end = ALIGN_DOWN(offset + clip(client, offset, len), block);
    offset = ALIGN_UP(offset, block);
    bool flush_after;
    uint32_t wire_flags = durable_flag(node, 0, &flush_after);
    if (!client->facts.trim || offset >= end)
        return 0;
    int rc = run_range(client, NBD_OP_TRIM, offset, end - offset, wire_flags);
    return rc == 0 && flush_after ? client_flush(node) : rc;
}

/* ----------------------------------------------------------------------- status */

/* Whether offset lies in what was answered last; joins neighbours that say the same. */
static bool status_known(struct nbd_client *client, uint64_t offset, uint64_t *run_len,
                         uint32_t *flags)
{
    const struct nbd_extents *known = &client->known;
    uint64_t at = known->offset;
    bool found = false;
    if (client->known_changes != atomic_load(&client->changes) ||
        clock_monotonic_ns() - client->known_ns > STATUS_AGE_NS || offset < at)
        return false;
    *run_len = 0;
    for (unsigned i = 0; i < known->count; i++) {
        uint64_t end = at + known->extent[i].len;
        if (!found && offset < end) {
            found = true;
            *flags = known->extent[i].flags;
            *run_len = end - offset;
        } else if (found && known->extent[i].flags == *flags) {
            *run_len += known->extent[i].len;
        } else if (found) {
            break;
        }
        at = end;
    }
    return found && *run_len;
}

static int ask_status(struct nbd_client *client, uint64_t offset, uint64_t len, uint64_t *run_len,
                      uint32_t *flags)
{
    uint64_t block = client->facts.block_min, start = ALIGN_DOWN(offset, block);
    uint64_t end = MIN(ALIGN_UP(offset + len, block), client->facts.size);
    unsigned changes = atomic_load(&client->changes);
    cleanup_free struct nbd_extents *extents = calloc(1, sizeof(*extents));
    if (!extents)
        return -ENOMEM;
    struct nbd_op op = {
        .kind = NBD_OP_STATUS,
        .offset = start,
        .len = MIN(end - start, RANGE_MAX),
        .extents = extents,
    };
    int rc = run(client, &op);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&client->known_lock);
    client->known = *extents;
    client->known.offset = start;
    client->known_changes = changes;
    client->known_ns = clock_monotonic_ns();
    bool found = status_known(client, offset, run_len, flags);
    pthread_mutex_unlock(&client->known_lock);
    if (!found) {
        /* A write came in between, or the server said nothing: all is data. */
        *flags = 0;
        *run_len = len;
    }
    return 0;
}

static int client_status(struct block_node *node, uint64_t offset, uint64_t len,
                         struct block_extent *out)
{
    struct nbd_client *client = node->state;
    uint64_t there = clip(client, offset, len), run_len = len;
    uint32_t flags = LIBNBD_STATE_HOLE | LIBNBD_STATE_ZERO;
    int rc = 0;
    if (there && !client->facts.status) {
        flags = 0;
        run_len = there;
    } else if (there) {
        pthread_mutex_lock(&client->known_lock);
        bool known = status_known(client, offset, &run_len, &flags);
        pthread_mutex_unlock(&client->known_lock);
        if (!known)
            rc = ask_status(client, offset, there, &run_len, &flags);
        run_len = MIN(run_len, there);
    }
    out->len = run_len;
    out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET |
                 (flags & LIBNBD_STATE_HOLE ? 0 : BLOCK_STATUS_DATA) |
                 (flags & LIBNBD_STATE_ZERO ? BLOCK_STATUS_ZERO : 0);
    out->host_offset = offset;
    out->file = node;
    return rc;
}

/* ------------------------------------------------------------------ open, close */

static int client_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    struct nbd_client *client = node->state;
    struct nbd_server_facts facts;
    /* Over a handed-in connection it cannot be asked again. */
    if (!nbd_address_reachable(&client->address)) {
        *size = block_size(node);
        return 0;
    }
    int rc = nbd_link_ask(client->lib, &client->address, &facts, err);
    if (rc < 0)
        return kv_error_prefix(err, "'%s'", node->name);
    __atomic_store_n(&client->facts.size, facts.size, __ATOMIC_RELEASE);
    *size = ALIGN_UP(facts.size, SECTOR);
    return 0;
}

static int fill_info(struct block_node *node, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct nbd_client *client = node->state;
    const struct nbd_server_facts *facts = &client->facts;
    struct block_info *info = &node->info;
    if (facts->size > INT64_MAX - SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG, "the export has %" PRIu64 " bytes",
                            facts->size);
    if (facts->readonly && !options->readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "the server exports it read-only; it can be opened read-only");
    *info = (struct block_info){
        .size = ALIGN_UP(facts->size, SECTOR),
        .request_alignment = facts->block_min,
        .logical_block = MAX(facts->block_min, SECTOR),
        .physical_block = MAX(facts->block_min, 4096u),
        .readonly = options->readonly,
        .can_discard = options->discard && !options->readonly && facts->trim,
        .can_write_zeroes = !options->readonly && facts->zero,
        .discard_alignment = MAX(facts->block_min, SECTOR),
        .volatile_cache = facts->flush && (options->cache == BLOCK_CACHE_WRITEBACK ||
                                           options->cache == BLOCK_CACHE_NONE),
    };
    return 0;
}

static void client_free(struct nbd_client *client)
{
    for (unsigned i = 0; i < atomic_load(&client->link_count); i++)
        nbd_link_close(&client->links[i]);
    nbd_address_free(&client->address);
    pthread_mutex_destroy(&client->known_lock);
    pthread_mutex_destroy(&client->partial_lock);
    pthread_mutex_destroy(&client->grow_lock);
    free(client);
}

static void client_close(struct block_node *node)
{
    struct nbd_client *client = node->state;
    if (!node->info.readonly && client->facts.flush && node->options.cache != BLOCK_CACHE_UNSAFE &&
        atomic_load(&client->changes))
        client_flush(node);
    client_free(client);
}

static int client_open(struct block_node *node, const struct block_open_options *options,
                       struct kv_error *err)
{
    struct nbd_client *client = calloc(1, sizeof(*client));
    if (!client)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    node->state = client;
    client->node = node;
    pthread_mutex_init(&client->grow_lock, NULL);
    pthread_mutex_init(&client->partial_lock, NULL);
    pthread_mutex_init(&client->known_lock, NULL);
    int rc = nbd_address_parse(&client->address, options, err);
    if (rc == 0)
        rc = nbd_library_get(&client->lib, err);
    if (rc == 0) {
        rc = nbd_link_open(&client->links[0], client->lib, &client->address, 0, err);
        if (rc == 0) {
            atomic_store(&client->link_count, 1);
            client->facts = client->links[0].facts;
            client->link_max = client->facts.multi_conn && client->address.kind != NBD_ADDRESS_FD
                                   ? NBD_LINKS_MAX
                                   : 1;
            rc = fill_info(node, options, err);
        }
        if (rc < 0)
            kv_error_prefix(err, "'%s'", node->name);
    }
    if (rc < 0)
        client_free(client);
    return rc;
}

/* A socket says nothing about space; what the server's image takes is not known here. */
static int64_t client_allocated_size(const struct block_node *node)
{
    return -ENOTSUP;
}

static const char *const prefixes[] = {
    "nbd:", "nbds:", "nbd+unix:", "nbds+unix:", "nbd+tcp:", NULL};

static const struct block_key nbd_keys[] = {
    {"export", BLOCK_KEY_TEXT},
    {"host", BLOCK_KEY_TEXT},
    {"path", BLOCK_KEY_TEXT},
    {"port", BLOCK_KEY_ANY},
    {"reconnect-delay", BLOCK_KEY_NUMBER},
    {"server.host", BLOCK_KEY_TEXT},
    {"server.path", BLOCK_KEY_TEXT},
    {"server.port", BLOCK_KEY_ANY},
    {"server.str", BLOCK_KEY_ANY},
    {"server.type", BLOCK_KEY_TEXT},
    {"tls-creds", BLOCK_KEY_TEXT},
    {"tls-hostname", BLOCK_KEY_TEXT},
    {"x-dirty-bitmap", BLOCK_KEY_TEXT},
    {NULL, 0},
};

const struct block_driver block_nbd_driver = {
    .name = "nbd",
    .keys = nbd_keys,
    .is_protocol = true,
    .prefixes = prefixes,
    .open = client_open,
    .close = client_close,
    .get_size = client_get_size,
    .allocated_size = client_allocated_size,
    .preadv = client_preadv,
    .pwritev = client_pwritev,
    .write_zeroes = client_write_zeroes,
    .discard = client_discard,
    .flush = client_flush,
    .status = client_status,
    .lanes = &nbd_client_lanes,
};
