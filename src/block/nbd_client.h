/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the NBD client: nbd_client_address.c reads where a server is,
 * nbd_client_lib.c loads libnbd, nbd_client_link.c carries requests over a
 * connection and makes it anew when it is lost, nbd_client.c is the driver.
 */
#ifndef KV_BLOCK_NBD_CLIENT_H
#define KV_BLOCK_NBD_CLIENT_H

#include <libnbd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "block/driver.h"
#include "block/remote.h"

/* ------------------------------------------------------------------ library */

/*
 * libnbd brings a dozen libraries along, whose loading takes longer than a
 * monitor's whole start; so it is loaded when the first NBD image is opened.
 */
/* clang-format off */
#define NBD_LIBRARY(X) \
    X(create) X(close) X(get_error) X(get_errno) X(set_export_name) X(set_tls) \
    X(set_tls_certificates) X(set_tls_psk_file) X(set_tls_username) X(set_tls_verify_peer) \
    X(add_meta_context) X(set_strict_mode) X(set_pread_initialize) X(aio_connect_unix) \
    X(aio_connect_tcp) X(aio_connect_socket) X(aio_disconnect) X(aio_pread) X(aio_pwrite) \
    X(aio_flush) X(aio_trim) X(aio_zero) X(aio_block_status) X(aio_get_fd) \
    X(aio_get_direction) X(aio_notify_read) X(aio_notify_write) X(aio_is_ready) X(aio_is_dead) \
    X(aio_is_closed) X(is_read_only) X(can_flush) X(can_fua) X(can_trim) X(can_zero) \
    X(can_fast_zero) X(can_multi_conn) X(can_meta_context) X(get_size) X(get_block_size)
/* clang-format on */

struct nbd_library {
#define X(name) __typeof__(nbd_##name) *name;
    NBD_LIBRARY(X)
#undef X
};

/* Loads it once; any thread. */
int nbd_library_get(const struct nbd_library **out, struct kv_error *err);

/* ------------------------------------------------------------------ address */

struct nbd_address {
    enum { NBD_ADDRESS_TCP, NBD_ADDRESS_UNIX, NBD_ADDRESS_FD } kind;
    char *path;        /* UNIX */
    char *host, *port; /* TCP */
    int fd;            /* FD: a connected socket, owned; such a connection is not made anew */
    int peer;          /* block/peers.h: how a sealed process finds it again; -1: not at all */
    char *export;
    char *context; /* metadata context that tells the status; never NULL */

    bool tls, tls_verify;
    char *tls_dir;      /* certificates; NULL: libnbd's places */
    char *tls_psk_file; /* NULL: certificates */
    char *tls_user;     /* NULL: the process's */

    uint64_t reconnect_delay_s; /* requests wait so long for a lost server */
};

/* From options->path or ->description. The address is emptied first; free it either way. */
int nbd_address_parse(struct nbd_address *address, const struct block_open_options *options,
                      struct kv_error *err);
void nbd_address_free(struct nbd_address *address);

/* --------------------------------------------------------------------- link */

enum nbd_op_kind {
    NBD_OP_READ,
    NBD_OP_WRITE,
    NBD_OP_FLUSH,
    NBD_OP_TRIM,
    NBD_OP_ZERO,
    NBD_OP_STATUS
};

#define NBD_EXTENTS_MAX 1024

struct nbd_extents {
    uint64_t offset; /* of the first */
    unsigned count;
    struct {
        uint32_t len, flags;
    } extent[NBD_EXTENTS_MAX];
};

/* A request on its way. */
struct nbd_op {
    enum nbd_op_kind kind;
    uint64_t offset, len;
    void *buffer;                /* READ, WRITE */
    uint32_t flags;              /* LIBNBD_CMD_FLAG_... */
    struct nbd_extents *extents; /* STATUS; filled */

    struct remote_op remote;
    struct nbd_link *link;
};

/* What a server said of its export. */
struct nbd_server_facts {
    uint64_t size; /* bytes, any number */
    bool readonly, flush, fua, trim, zero, fast_zero, multi_conn, status;
    uint32_t block_min, payload_max; /* bytes */
};

#define NBD_WHAT_MAX 100

struct nbd_link {
    struct remote remote;
    const struct nbd_library *lib;
    const struct nbd_address *address;
    struct nbd_server_facts facts; /* of the first connection; fixed */
    bool opened;                   /* facts are known */
    unsigned answered;             /* requests; under the connection's lock */
    char what[NBD_WHAT_MAX];       /* for the log */
};

/* A connection can be made (anew). */
bool nbd_address_reachable(const struct nbd_address *address);

/* Connects within timeout_ms. */
int nbd_link_open(struct nbd_link *link, const struct nbd_library *lib,
                  const struct nbd_address *address, int timeout_ms, struct kv_error *err);
void nbd_link_close(struct nbd_link *link);
/* Carries a request out; waits for the server to come back as long as the address says. 0 or
 * -errno; -ENOTCONN: there is no connection. Any thread. */
int nbd_link_run(struct nbd_link *link, struct nbd_op *op);
/* Makes an op ready for remote_start(). */
void nbd_op_init(struct nbd_op *op, struct nbd_link *link);
/* Asks a server, over a connection of its own, for its facts. */
int nbd_link_ask(const struct nbd_library *lib, const struct nbd_address *address,
                 struct nbd_server_facts *facts, struct kv_error *err);

#endif
