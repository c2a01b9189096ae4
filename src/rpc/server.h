/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server of libvirt's remote protocol: listens, reads packets, hands calls to handlers,
 * writes replies, events and streams. One thread (libuv's loop, rpc_server_run) owns all
 * sockets; handlers run on a pool of workers or, where they say so, on the loop's thread.
 *
 *     rpc_server_new -> rpc_server_register ... -> rpc_server_listen_* -> rpc_server_run
 */
#ifndef KV_RPC_SERVER_H
#define KV_RPC_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "rpc/procedure.h"

struct rpc_server;
struct rpc_client;

/* Gives handlers for procedures of the remote program; the array ends with a row of zeros and
 * stays the caller's. The handlers get opaque by rpc_call_opaque(). Before rpc_server_run(). A
 * procedure has one handler: a second is -EEXIST. */
int rpc_server_register(struct rpc_server *server, const struct rpc_handler *handlers, void *opaque,
                        struct kv_error *err);

/* ---- clients; from any thread that holds one (a handler does through its call) ---- */

/* Who is at the other end, as far as its transport tells. */
struct rpc_identity {
    uint64_t client_id;
    pid_t pid; /* 0 over the network */
    uid_t uid; /* (uid_t)-1 over the network */
    gid_t gid;
    const char *sasl_user; /* NULL without SASL; valid as long as the client */
    const char *x509_name; /* NULL without a client certificate */
    bool read_only;
};
void rpc_client_identity(const struct rpc_client *client, struct rpc_identity *out);

/*
 * Keeps the client's memory (not its connection) until rpc_client_unref(). Handlers that
 * remember a client beyond their call need it.
 */
struct rpc_client *rpc_client_ref(struct rpc_client *client);
void rpc_client_unref(struct rpc_client *client);

/*
 * Has fn(opaque) run once after the connection is gone (on a worker, so it may block), such as
 * to destroy domains started with autodestroy. A client that is gone already gets it run at
 * once. rpc_client_off_close() takes it back: true when it then will not run.
 */
int rpc_client_on_close(struct rpc_client *client, void (*fn)(void *opaque), void *opaque);
bool rpc_client_off_close(struct rpc_client *client, void (*fn)(void *opaque), void *opaque);

/* Runs fn(opaque) on a worker soon; for what a driver wants done beside calls. Any thread. */
int rpc_server_run_later(struct rpc_server *server, void (*fn)(void *opaque), void *opaque);

#endif
