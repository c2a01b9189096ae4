/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * URIs of connections: driver[+transport]://[user@][host][:port]/path[?name=value&...], as
 * libvirt's. Parameters that concern the way to the server are kept here; the others go to it.
 */
#ifndef KV_RPC_CLIENT_URI_H
#define KV_RPC_CLIENT_URI_H

#include <stdbool.h>

#include "rpc/client/internal.h"

struct uri {
    char *driver;             /* "qemu", "kvasir", ... */
    enum transport transport; /* never TRANSPORT_AUTO */
    char *user, *host, *port; /* NULL: not given */
    char *path;               /* "/system" */
    char *name;               /* what the server is asked to open: "qemu:///system" */
    bool session;
    bool ours; /* kvasir://: kvasird, no other daemon */

    /* Parameters; NULL: not given. */
    char *socket, *mode, *auth;
    char *command, *netcat, *keyfile, *sshauth, *proxy, *known_hosts, *known_hosts_verify;
    char *pkipath, *tls_priority;
    char *forced_name;
    bool no_verify, no_tty;
};

/* 0 or negative with err filled. */
int uri_parse(const char *text, struct uri *out, struct kvasir_error *err);
void uri_free(struct uri *uri);

#endif
