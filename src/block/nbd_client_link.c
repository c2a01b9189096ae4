/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection of the NBD client over libnbd; remote.h shares it among
 * threads and makes it anew when it is lost. What was in flight then is sent
 * again: proto.md allows that, a request without a reply may or may not have
 * been carried out, and all of them may be repeated.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "base/util.h"
#include "block/nbd_client.h"
#include "block/peers.h"

#define NS_PER_S INT64_C(1000000000)
#define CONNECT_TIMEOUT_MS 10000
#define LEAVE_NS (NS_PER_S / 4)
#define PAYLOAD_MAX (32u << 20)
#define PAYLOAD_MIN 512u
#define BLOCK_MIN_MAX (64u << 10) /* proto.md, "Block size constraints" */

/* Loaded once, by nbd_library_get(). */
static const struct nbd_library *library;

/* -------------------------------------------------------------------- connecting */

static int library_error(const struct nbd_library *lib, struct kv_error *err)
{
    int code = lib->get_errno();
    const char *why = lib->get_error();
    return kv_error_set(err, KV_ERR_BLOCK, code ? code : EIO, "%s", why ? why : "unknown error");
}

static int set_up(const struct nbd_library *lib, const struct nbd_address *address,
                  struct nbd_handle *h)
{
    int rc = lib->set_export_name(h, address->export);
    rc |= lib->add_meta_context(h, address->context);
    /* Ranges are checked before they come here, and an export may have grown. */
    rc |= lib->set_strict_mode(h, 0);
    rc |= lib->set_pread_initialize(h, false);
    rc |= lib->set_tls(h, address->tls ? LIBNBD_TLS_REQUIRE : LIBNBD_TLS_DISABLE);
    if (address->tls) {
        rc |= lib->set_tls_verify_peer(h, address->tls_verify);
        if (address->tls_dir)
            rc |= lib->set_tls_certificates(h, address->tls_dir);
        if (address->tls_psk_file)
            rc |= lib->set_tls_psk_file(h, address->tls_psk_file);
        if (address->tls_user)
            rc |= lib->set_tls_username(h, address->tls_user);
    }
    return rc;
}

bool nbd_address_reachable(const struct nbd_address *address)
{
    return address->kind != NBD_ADDRESS_FD && (!block_is_sealed() || address->peer >= 0);
}

static int start_connecting(const struct nbd_library *lib, const struct nbd_address *address,
                            struct nbd_handle *h)
{
    if (block_is_sealed() && address->kind != NBD_ADDRESS_FD) {
        int fd = peers_connect(address->peer);
        return fd < 0 ? -1 : lib->aio_connect_socket(h, fd);
    }
    switch (address->kind) {
    case NBD_ADDRESS_UNIX:
        return lib->aio_connect_unix(h, address->path);
    case NBD_ADDRESS_FD: {
        /* The library closes its own. */
        int fd = fcntl(address->fd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -1 : lib->aio_connect_socket(h, fd);
    }
    case NBD_ADDRESS_TCP:
        break;
    }
    return lib->aio_connect_tcp(h, address->host, address->port);
}

/* Lets the library work on what the socket is ready for. */
static int notify(const struct nbd_library *lib, struct nbd_handle *h, short revents)
{
    unsigned direction = lib->aio_get_direction(h);
    if ((revents & (POLLIN | POLLHUP | POLLERR)) && (direction & LIBNBD_AIO_DIRECTION_READ))
        return lib->aio_notify_read(h);
    if ((revents & (POLLOUT | POLLHUP | POLLERR)) && (direction & LIBNBD_AIO_DIRECTION_WRITE))
        return lib->aio_notify_write(h);
    return 0;
}

static short wanted_events(const struct nbd_library *lib, struct nbd_handle *h)
{
    unsigned direction = lib->aio_get_direction(h);
    return (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                   (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

static int wait_ready(const struct nbd_library *lib, struct nbd_handle *h, int timeout_ms,
                      struct kv_error *err)
{
    int64_t deadline = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    while (!lib->aio_is_ready(h)) {
        int64_t left_ms = (deadline - clock_monotonic_ns()) / 1000000;
        if (lib->aio_is_dead(h) > 0 || lib->aio_is_closed(h) > 0)
            return kv_error_set(err, KV_ERR_BLOCK, EIO, "the server does not serve");
        if (left_ms <= 0)
            return kv_error_set(err, KV_ERR_BLOCK, ETIMEDOUT, "the server did not answer in %d s",
                                (timeout_ms + 999) / 1000);
        struct pollfd pfd = {.fd = lib->aio_get_fd(h), .events = wanted_events(lib, h)};
        int n = poll(&pfd, 1, (int)left_ms);
        if (n > 0 && notify(lib, h, pfd.revents) < 0)
            return library_error(lib, err);
    }
    return 0;
}

/* A handle in the transmission phase. Locks nothing: nobody else has it yet. */
static int connect_handle(const struct nbd_library *lib, const struct nbd_address *address,
                          int timeout_ms, struct nbd_handle **out, struct kv_error *err)
{
    if (address->kind != NBD_ADDRESS_FD && !nbd_address_reachable(address))
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "a jailed process connects only to servers that it was started with, "
                            "without TLS; a connected socket is given as 'server.type=fd'");
    struct nbd_handle *h = lib->create();
    if (!h)
        return library_error(lib, err);
    int rc = set_up(lib, address, h) < 0 || start_connecting(lib, address, h) < 0
                 ? library_error(lib, err)
                 : wait_ready(lib, h, timeout_ms, err);
    if (rc < 0)
        lib->close(h);
    else
        *out = h;
    return rc;
}

static int read_facts(const struct nbd_library *lib, const struct nbd_address *address,
                      struct nbd_handle *h, struct nbd_server_facts *facts, struct kv_error *err)
{
    int64_t size = lib->get_size(h);
    if (size < 0)
        return library_error(lib, err);
    int64_t block_min = lib->get_block_size(h, LIBNBD_SIZE_MINIMUM);
    int64_t payload_max = lib->get_block_size(h, LIBNBD_SIZE_MAXIMUM);
    *facts = (struct nbd_server_facts){
        .size = (uint64_t)size,
        .readonly = lib->is_read_only(h) > 0,
        .flush = lib->can_flush(h) > 0,
        .fua = lib->can_fua(h) > 0,
        .trim = lib->can_trim(h) > 0,
        .zero = lib->can_zero(h) > 0,
        .fast_zero = lib->can_fast_zero(h) > 0,
        .multi_conn = lib->can_multi_conn(h) > 0,
        .status = lib->can_meta_context(h, address->context) > 0,
        .block_min = block_min > 0 ? (uint32_t)MIN(block_min, (int64_t)BLOCK_MIN_MAX) : 1,
        .payload_max =
            payload_max > 0 ? (uint32_t)MIN(payload_max, (int64_t)PAYLOAD_MAX) : PAYLOAD_MAX,
    };
    if (facts->block_min & (facts->block_min - 1) || block_min > (int64_t)BLOCK_MIN_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EPROTO,
                            "the server's smallest block is %" PRId64
                            " bytes; a power of 2 up to 64 KiB is possible",
                            block_min);
    if (facts->payload_max < PAYLOAD_MIN)
        return kv_error_set(err, KV_ERR_BLOCK, EPROTO,
                            "the server takes %u bytes at a time; less than %u makes no sense",
                            facts->payload_max, PAYLOAD_MIN);
    /* What is left behind the last whole block cannot be asked for. */
    facts->size = ALIGN_DOWN(facts->size, (uint64_t)facts->block_min);
    facts->payload_max = MAX(ALIGN_DOWN(facts->payload_max, facts->block_min), facts->block_min);
    return 0;
}

/* Says good-bye, and does not wait long for the server to have heard it. */
static void disconnect(const struct nbd_library *lib, struct nbd_handle *h)
{
    int64_t end = clock_monotonic_ns() + LEAVE_NS;
    if (lib->aio_disconnect(h, 0) == 0) {
        while (lib->aio_is_closed(h) == 0 && lib->aio_is_dead(h) == 0 &&
               clock_monotonic_ns() < end) {
            struct pollfd pfd = {.fd = lib->aio_get_fd(h), .events = wanted_events(lib, h)};
            if (poll(&pfd, 1, LEAVE_NS / 1000000) > 0 && notify(lib, h, pfd.revents) < 0)
                break;
        }
    }
    lib->close(h);
}

int nbd_link_ask(const struct nbd_library *lib, const struct nbd_address *address,
                 struct nbd_server_facts *facts, struct kv_error *err)
{
    struct nbd_handle *h;
    int rc = connect_handle(lib, address, CONNECT_TIMEOUT_MS, &h, err);
    if (rc < 0)
        return rc;
    rc = read_facts(lib, address, h, facts, err);
    disconnect(lib, h);
    return rc;
}

/* A server that comes back with less than what the image was opened with is another one. */
static int check_same(const struct nbd_server_facts *was, const struct nbd_server_facts *facts,
                      struct kv_error *err)
{
    if (facts->size < was->size || (facts->readonly && !was->readonly) ||
        facts->block_min > was->block_min || facts->payload_max < was->payload_max ||
        facts->flush < was->flush || facts->fua < was->fua || facts->trim < was->trim ||
        facts->zero < was->zero || facts->fast_zero < was->fast_zero || facts->status < was->status)
        return kv_error_set(err, KV_ERR_BLOCK, EIO,
                            "it came back with another size or less features");
    return 0;
}

static int link_connect(void *opaque, int timeout_ms, void **out, struct kv_error *err)
{
    struct nbd_link *link = opaque;
    struct nbd_handle *h = NULL;
    struct nbd_server_facts facts;
    /* A socket that was handed in serves once. */
    if (link->opened && link->address->kind == NBD_ADDRESS_FD)
        return -ENOTCONN;
    int rc = connect_handle(link->lib, link->address, timeout_ms, &h, err);
    if (rc < 0)
        return rc;
    rc = read_facts(link->lib, link->address, h, &facts, err);
    if (rc == 0 && link->opened)
        rc = check_same(&link->facts, &facts, err);
    if (rc < 0) {
        link->lib->close(h);
        return rc;
    }
    if (!link->opened)
        link->facts = facts;
    link->opened = true;
    *out = h;
    return 0;
}

static void link_disconnect(void *opaque, void *handle)
{
    const struct nbd_link *link = opaque;
    disconnect(link->lib, handle);
}

static int link_fd(void *handle)
{
    return library->aio_get_fd(handle);
}

static short link_events(void *handle)
{
    return wanted_events(library, handle);
}

static bool link_serve(void *opaque, void *handle, short revents)
{
    if (revents)
        notify(library, handle, revents);
    return library->aio_is_dead(handle) <= 0 && library->aio_is_closed(handle) <= 0;
}

static const struct remote_ops link_ops = {
    .connect = link_connect,
    .disconnect = link_disconnect,
    .fd = link_fd,
    .events = link_events,
    .serve = link_serve,
};

int nbd_link_open(struct nbd_link *link, const struct nbd_library *lib,
                  const struct nbd_address *address, int timeout_ms, struct kv_error *err)
{
    *link = (struct nbd_link){.lib = lib, .address = address};
    library = lib;
    int rc = remote_open(&link->remote, &link_ops, link, timeout_ms, err);
    if (rc < 0)
        return rc;
    snprintf(link->what, sizeof(link->what), "nbd: export '%s'", address->export);
    link->remote.what = link->what;
    link->remote.patience_s = address->reconnect_delay_s;
    link->remote.sealed_too = address->peer >= 0;
    return 0;
}

void nbd_link_close(struct nbd_link *link)
{
    remote_close(&link->remote);
}

/* ---------------------------------------------------------------------- requests */

/* Under the lock, from within the library. */
static int op_done(void *opaque, int *error)
{
    struct nbd_op *op = opaque;
    op->link->answered++;
    remote_finish(&op->remote, -*error);
    return 1;
}

static int op_extents(void *opaque, const char *context, uint64_t offset, uint32_t *entries,
                      size_t count, int *error)
{
    struct nbd_op *op = opaque;
    struct nbd_extents *extents = op->extents;
    if (strcmp(context, op->link->address->context) != 0)
        return 0;
    extents->offset = offset;
    extents->count = 0;
    for (size_t i = 0; i + 1 < count && extents->count < NBD_EXTENTS_MAX; i += 2) {
        extents->extent[extents->count].len = entries[i];
        extents->extent[extents->count++].flags = entries[i + 1];
    }
    return 0;
}

/* Hands the request to the library, which sends what the socket takes. */
static int send_op(struct remote_op *remote_op, void *h)
{
    struct nbd_op *op = container_of(remote_op, struct nbd_op, remote);
    const struct nbd_library *lib = library;
    nbd_completion_callback done = {.callback = op_done, .user_data = op};
    nbd_extent_callback extents = {.callback = op_extents, .user_data = op};
    int64_t cookie = -1;
    switch (op->kind) {
    case NBD_OP_READ:
        cookie = lib->aio_pread(h, op->buffer, op->len, op->offset, done, op->flags);
        break;
    case NBD_OP_WRITE:
        cookie = lib->aio_pwrite(h, op->buffer, op->len, op->offset, done, op->flags);
        break;
    case NBD_OP_FLUSH:
        cookie = lib->aio_flush(h, done, op->flags);
        break;
    case NBD_OP_TRIM:
        cookie = lib->aio_trim(h, op->len, op->offset, done, op->flags);
        break;
    case NBD_OP_ZERO:
        cookie = lib->aio_zero(h, op->len, op->offset, done, op->flags);
        break;
    case NBD_OP_STATUS:
        cookie = lib->aio_block_status(h, op->len, op->offset, extents, done, op->flags);
        break;
    }
    if (cookie >= 0)
        return 0;
    int code = lib->get_errno();
    return lib->aio_is_dead(h) > 0 || lib->aio_is_closed(h) > 0 ? -ENOTCONN : code ? -code : -EIO;
}

void nbd_op_init(struct nbd_op *op, struct nbd_link *link)
{
    op->link = link;
    op->remote.send = send_op;
}

int nbd_link_run(struct nbd_link *link, struct nbd_op *op)
{
    nbd_op_init(op, link);
    return remote_run(&link->remote, &op->remote);
}
