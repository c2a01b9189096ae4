/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the NBD server: what its files share. nbd_server.c owns listeners,
 * exports and the lives of connections; nbd_server_handshake.c brings a client
 * to an export, nbd_server_io.c carries out its requests, nbd_server_meta.c
 * answers for metadata contexts.
 */
#ifndef KV_BLOCK_NBD_SERVER_INTERNAL_H
#define KV_BLOCK_NBD_SERVER_INTERNAL_H

#include <pthread.h>

#include "base/iothread.h"
#include "base/list.h"
#include "base/log.h"
#include "block/graph.h"
#include "block/nbd_channel.h"
#include "block/nbd_server.h"

#define NBD_PAYLOAD_MAX (32u << 20) /* bytes of one read or write */

struct nbd_export {
    struct list node; /* in server->exports; under server->lock */
    unsigned users;   /* connections; under server->lock */
    bool removed;     /* nobody new; under server->lock */
    char *name, *description;
    struct block_root *root;
    struct block_info info; /* of the node, as clients were told; size: atomic */
    bool readonly, allocation_depth;
    unsigned bitmap_count;
    struct nbd_bitmap bitmaps[]; /* names allocated */
};

/* Metadata contexts by identifier: the number is what the wire carries, and the bit in a set. */
enum {
    NBD_CONTEXT_ALLOCATION,
    NBD_CONTEXT_DEPTH,
    NBD_CONTEXT_BITMAP, /* the first; the others follow */
};

/* One client. Belongs to its thread but for what is marked. */
struct nbd_connection {
    struct list node; /* the server's thread */
    struct nbd_server *server;
    pthread_t thread;
    unsigned number; /* for the log */
    struct nbd_channel channel;
    struct loop_work ended; /* posted by the thread at its end */
    atomic_bool served;     /* got as far as using an export */

    struct nbd_export *export;  /* counted in export->users; changes under server->lock */
    bool structured;            /* structured replies were agreed on */
    uint64_t contexts;          /* set of selected metadata contexts */
    const void *context_export; /* for which they were selected; only compared */
};

/* nbd_server.c: an export by name, counted as used by the connection; NULL: there is none. */
struct nbd_export *nbd_export_use(struct nbd_connection *conn, const char *name);
void nbd_export_leave(struct nbd_connection *conn);
/* The size that the node has now; requests are held to it from now on. */
uint64_t nbd_export_size(struct nbd_export *export);
/* Calls fn for each export, with the lock held, until it fails. */
int nbd_export_each(struct nbd_server *server,
                    int (*fn)(void *opaque, const struct nbd_export *export), void *opaque);
const struct nbd_server_options *nbd_server_options(const struct nbd_server *server);

/* nbd_server_handshake.c: 0 with conn->export set; else the connection ends, -errno for the log
 * (0 and no export: the client left in good order). */
int nbd_handshake(struct nbd_connection *conn, struct kv_error *err);
uint16_t nbd_transmission_flags(const struct nbd_connection *conn, const struct nbd_export *export);

/* nbd_server_io.c: until the client leaves. */
int nbd_transmission(struct nbd_connection *conn, struct kv_error *err);

/* nbd_server_meta.c: the contexts that a query asks for; list: "base:" and the like name many. */
uint64_t nbd_contexts_match(const struct nbd_export *export, const char *query, bool list);
uint64_t nbd_contexts_all(const struct nbd_export *export);
/* Name of one, into a buffer of NBD_NAME_MAX + 64 bytes. Returns its length. */
size_t nbd_context_name(const struct nbd_export *export, unsigned context, char *name, size_t size);
/* Bytes that a reply with one status of every selected context takes at most. */
size_t nbd_status_reply_size(uint64_t contexts, bool one);
/* Chunks of a complete reply into out; their bytes or -errno. node: of the export's root. */
ssize_t nbd_status_reply(const struct nbd_connection *conn, struct block_node *node,
                         uint64_t cookie, uint64_t offset, uint64_t len, bool one, uint8_t *out);

#endif
