/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole NBD server process for one image, with qemu-nbd's habits: what
 * kvasir-img nbd runs. It may go to the background, listens on a unix socket,
 * on TCP or on a socket that systemd handed over (LISTEN_FDS), and ends on
 * SIGTERM, SIGINT or SIGHUP, or when its last client left.
 */
#ifndef KV_BLOCK_NBD_SERVE_H
#define KV_BLOCK_NBD_SERVE_H

#include <stdbool.h>

#include "base/error.h"
#include "block/nbd_server.h"

enum nbd_serve_tls { NBD_SERVE_PLAIN, NBD_SERVE_X509, NBD_SERVE_PSK };

struct nbd_serve_options {
    const char *socket;      /* -k; NULL: TCP */
    const char *bind, *port; /* -b, -p; NULL: every address, 10809 */
    const char *export_name; /* -x; NULL: "" */
    const char *description; /* -D */
    unsigned shared;         /* -e: clients at a time, 0: as many as come */
    bool persistent;         /* -t: stays when the last client left */
    bool readonly;           /* -r */
    bool allocation_depth;   /* -A */
    bool fork;               /* --fork */
    const char *pid_file;    /* --pid-file */

    enum nbd_serve_tls tls;
    const char *tls_dir;  /* of a tls-creds object: certificates, or keys.psk */
    bool tls_verify_peer; /* X.509 */

    /*
     * Opens the image and fills export->node, and the bitmaps if it offers some; in the process
     * that serves, before anybody is served. close is called at the end unless open failed.
     */
    int (*open)(void *opaque, struct nbd_export_options *export, struct kv_error *err);
    void (*close)(void *opaque);
    void *opaque;
};

/*
 * Serves until it is over: 0, or -errno with err filled. With fork the caller gets 0 as soon as
 * clients are accepted, with *is_parent true, and goes on alone. No threads before.
 */
int nbd_serve(const struct nbd_serve_options *options, bool *is_parent, struct kv_error *err);

#endif
