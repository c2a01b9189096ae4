/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver is a part of kvasird that serves some of the procedures: domains, secrets, devices.
 * drivers.c lists them; main.c starts them in that order before the first client is let in, and
 * stops them in reverse once the last call is done.
 */
#ifndef KV_DAEMON_DRIVER_H
#define KV_DAEMON_DRIVER_H

#include <stdbool.h>

#include "base/error.h"
#include "rpc/server.h"

struct model_host;
struct state;

/* What all drivers share; valid from start to stop. */
struct daemon {
    struct rpc_server *server;
    struct state *state;     /* what is defined (daemon/state/state.h); opened by main.c */
    struct model_host *host; /* what the host is (model/host.h); made by main.c */
    const char *state_dir;   /* what must outlive the host's restart; exists, mode 0700 */
    const char *run_dir;     /* what need not: sockets, pids; exists */
    const char *uri;         /* what clients opened: qemu:///system or qemu:///session */
    bool session;            /* for one user, without privileges */
    const char *vnc_tls_dir; /* certificates of machines' screens; NULL: no TLS */
    bool vnc_tls_verify;     /* viewers show one, too */
    const char *metrics;     /* where metrics are told (metrics/metrics.h); NULL: nowhere */
};

struct daemon_driver {
    const char *name;
    const struct rpc_handler *handlers;
    const struct rpc_handler *qemu_handlers; /* of the QEMU program; NULL: none */
    /* Returns what rpc_call_opaque() gives to the handlers in *opaque. 0 or negative with err
     * filled: the daemon then does not start. */
    int (*start)(struct daemon *daemon, void **opaque, struct kv_error *err);
    void (*stop)(void *opaque);
};

/* NULL at the end. */
extern const struct daemon_driver *const daemon_drivers[];

#endif
