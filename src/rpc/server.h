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

/* ---- setting up, on the thread that will run it ---- */

/* Groups of sockets, each with clients, workers and limits of its own. */
enum rpc_service_id {
    RPC_SERVICE_MAIN,  /* "libvirtd": the remote program and QEMU's */
    RPC_SERVICE_ADMIN, /* "admin": libvirt's administration program */
    RPC_SERVICES,
};

enum rpc_transport {
    RPC_UNIX, /* numbers are VIR_CLIENT_TRANS_* */
    RPC_TCP,
    RPC_TLS,
};

/* How a client proves who it is, beside the socket's permissions and certificates. */
enum rpc_auth {
    RPC_AUTH_NONE, /* numbers are those of the protocol */
    RPC_AUTH_SASL,
    RPC_AUTH_POLKIT,
};

struct rpc_client_limits {
    unsigned clients;  /* connected at a time */
    unsigned unproved; /* of these, ones that have not proved who they are; 0: no own limit */
    unsigned calls;    /* of one client being carried out at a time */
};

struct rpc_service_config {
    struct rpc_client_limits clients;
    unsigned workers_min, workers_max, workers_priority;
};

struct rpc_server_config {
    struct rpc_service_config services[RPC_SERVICES];
    unsigned keepalive_interval; /* seconds without a word until we ask; 0: never */
    unsigned keepalive_count;    /* unanswered questions until the client is dead */
    unsigned idle_timeout;       /* seconds without clients until the server ends; 0: never */
};
extern const struct rpc_server_config rpc_server_defaults;

int rpc_server_new(struct rpc_server **out, const struct rpc_server_config *config,
                   struct kv_error *err);
/* After rpc_server_run() returned, or instead of it. */
void rpc_server_free(struct rpc_server *server);

/* Texts and lists are copied; lists end with NULL, and without one everybody is allowed. */
struct rpc_tls_config {
    const char *ca_file, *cert_file, *key_file;
    const char *crl_file;             /* NULL: none is revoked */
    const char *priority;             /* GnuTLS's; NULL: NORMAL */
    const char *const *allowed_names; /* patterns (fnmatch) of distinguished names */
    bool verify_clients;              /* they need a certificate */
};
int rpc_server_set_tls(struct rpc_server *server, const struct rpc_tls_config *config,
                       struct kv_error *err);
int rpc_server_set_sasl(struct rpc_server *server, const char *const *allowed_users,
                        struct kv_error *err);

struct rpc_listen_unix {
    const char *path; /* a socket that nobody answers on is replaced */
    unsigned mode;
    gid_t group; /* (gid_t)-1: as it is */
    bool read_only;
    enum rpc_auth auth;
};
int rpc_server_listen_unix(struct rpc_server *server, enum rpc_service_id service,
                           const struct rpc_listen_unix *how, struct kv_error *err);

/* host may be NULL: all addresses. RPC_TLS needs rpc_server_set_tls() first, RPC_AUTH_SASL
 * rpc_server_set_sasl(). */
int rpc_server_listen_inet(struct rpc_server *server, const char *host, const char *port,
                           enum rpc_transport transport, enum rpc_auth auth, struct kv_error *err);

/* A listening socket that somebody else opened (socket activation); the server owns it then. */
int rpc_server_listen_fd(struct rpc_server *server, enum rpc_service_id service, int fd,
                         enum rpc_transport transport, bool read_only, enum rpc_auth auth,
                         struct kv_error *err);

/* Serves until rpc_server_stop() or SIGTERM or SIGINT; returns once the last call is answered,
 * clients were told, and all sockets are closed. ready(opaque) runs when clients are let in. */
int rpc_server_run(struct rpc_server *server, void (*ready)(void *opaque), void *opaque,
                   struct kv_error *err);
void rpc_server_stop(struct rpc_server *server); /* any thread */

/* Something is under way (a domain runs) for which the server does not end by its idle timeout.
 * Counted; any thread. */
void rpc_server_inhibit(struct rpc_server *server, bool inhibit);

/* Gives handlers for procedures of the remote program; the array ends with a row of zeros and
 * stays the caller's. The handlers get opaque by rpc_call_opaque(). Before rpc_server_run(). A
 * procedure has one handler: a second is -EEXIST. */
int rpc_server_register(struct rpc_server *server, const struct rpc_handler *handlers, void *opaque,
                        struct kv_error *err);

/* What the server serves by itself: events, authentication. NULL at the end. */
extern const struct rpc_handler *const rpc_own_handlers[];

/* The same for the QEMU program (rpc/qemu_procedure.h). */
int rpc_server_register_qemu(struct rpc_server *server, const struct rpc_handler *handlers,
                             void *opaque, struct kv_error *err);

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

/* Whether a client closed its connection as it should (CONNECT_CLOSE), rather than being lost. */
void rpc_client_say_goodbye(struct rpc_client *client);
bool rpc_client_said_goodbye(const struct rpc_client *client);

/* Runs fn(opaque) on a worker soon; for what a driver wants done beside calls. Any thread. */
int rpc_server_run_later(struct rpc_server *server, void (*fn)(void *opaque), void *opaque);

#endif
