/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD server: serves block nodes as exports, after the NBD project's
 * doc/proto.md: fixed newstyle handshake, TLS, structured replies, metadata
 * contexts. Used by kvasir-img nbd (through nbd_serve.h), by jobs and by the
 * monitor's control socket.
 *
 * The server has one thread that accepts clients, and one a client: it does
 * the handshake, then runs a loop with the socket and a queue of the export's
 * node, so that many requests of one client are in flight at once. Every client
 * is hostile: what it sends is bounded in length, number and, until it uses an
 * export, time; a broken frame ends its connection and nothing else.
 *
 * All functions may be called from any thread but the server's own.
 */
#ifndef KV_BLOCK_NBD_SERVER_H
#define KV_BLOCK_NBD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "block/block.h"

struct nbd_server;
struct tls_server; /* tls_server.h */

/* ----------------------------------------------------------------- server */

struct nbd_server_options {
    unsigned max_connections;     /* more clients wait until one leaves; 0: 64 */
    unsigned handshake_timeout_s; /* 0: 10 */
    struct tls_server *tls;       /* then every client must use TLS; borrowed; NULL: no TLS */
    /* A client that used an export left; clients: how many are still there. On the server's
     * thread. May be NULL. */
    void (*client_left)(void *opaque, unsigned clients);
    void *opaque;
};

int nbd_server_create(struct nbd_server **out, const struct nbd_server_options *options,
                      struct kv_error *err);
/* Ends every connection, waits for what is in flight. The nodes stay open. NULL is fine. */
void nbd_server_free(struct nbd_server *server);

/* A dirty bitmap that clients may ask for as "qemu:dirty-bitmap:NAME". */
struct nbd_bitmap {
    const char *name;
    /* Whether the byte at offset is dirty, and for how many bytes, 1 to len, that holds. 0 or
     * -errno. Any thread. */
    int (*query)(void *opaque, uint64_t offset, uint64_t len, bool *dirty, uint64_t *run);
    void *opaque;
};
#define NBD_BITMAPS_MAX 60

/* nbd_bitmap.c: a persistent bitmap of the image or of one it stands on. name is borrowed; closed
 * after the export is gone. Closing an empty one is fine. */
int nbd_bitmap_open(struct nbd_bitmap *out, struct block_node *node, const char *name,
                    struct kv_error *err);
void nbd_bitmap_close(struct nbd_bitmap *bitmap);

struct nbd_export_options {
    const char *name;                 /* "": the default export */
    const char *description;          /* NULL: none */
    struct block_node *node;          /* gets a root for it */
    bool readonly;                    /* always, if the node is */
    bool allocation_depth;            /* offer qemu:allocation-depth */
    const struct nbd_bitmap *bitmaps; /* copied */
    unsigned bitmap_count;
};

int nbd_server_add_export(struct nbd_server *server, const struct nbd_export_options *options,
                          struct kv_error *err);
/* Connections that use it. */
unsigned nbd_server_export_users(struct nbd_server *server, const char *name);
/* Ends the connections that use it and waits for them. */
int nbd_server_remove_export(struct nbd_server *server, const char *name, struct kv_error *err);

/* Clients are accepted from then on; several listeners may be added. */
int nbd_server_listen_unix(struct nbd_server *server, const char *path, struct kv_error *err);
/* host NULL: all addresses, IPv4 and IPv6. port: a number or a name of a service. */
int nbd_server_listen_tcp(struct nbd_server *server, const char *host, const char *port,
                          struct kv_error *err);
/* A listening stream socket; taken over, also on failure. */
int nbd_server_listen_fd(struct nbd_server *server, int fd, struct kv_error *err);
/* A connected stream socket is a client; taken over, also on failure. */
int nbd_server_add_client(struct nbd_server *server, int fd, struct kv_error *err);

/* Clients, in handshake or beyond. */
unsigned nbd_server_clients(struct nbd_server *server);

#endif
