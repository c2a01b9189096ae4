/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket of a viewer, plain or under TLS (GnuTLS, block/tls_server.h). On
 * the display's thread; nothing waits.
 */
#ifndef KV_VMM_DISPLAY_VNC_LINK_H
#define KV_VMM_DISPLAY_VNC_LINK_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tls_server;

#define VNC_LINK_READ_MAX 16384 /* bytes; a record of TLS has as many */

struct vnc_link {
    int fd;               /* -1: none (tests) */
    gnutls_session_t tls; /* NULL: plain */
    bool shaking;         /* hands, still */
};

/* Bytes, 0 at the end, -EAGAIN, or another -errno. size: at least VNC_LINK_READ_MAX, so that
 * nothing stays where the socket's events do not tell of it. */
ssize_t vnc_link_read(struct vnc_link *link, void *bytes, size_t size);
/* How many went; what was tried when it said -EAGAIN has to be tried again first. */
ssize_t vnc_link_write(struct vnc_link *link, const void *bytes, size_t len);

/* From here on there is TLS; nothing of the plain session may be under way. */
int vnc_link_start_tls(struct vnc_link *link, const struct tls_server *tls);
/* Goes on shaking hands: 0 when it is done, -EAGAIN, -EPROTO. */
int vnc_link_shake(struct vnc_link *link);
/* While hands are shaken: whether it waits for room in the socket. */
bool vnc_link_wants_to_write(const struct vnc_link *link);

void vnc_link_close(struct vnc_link *link);

#endif
