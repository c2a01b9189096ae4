/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Credentials of servers for TLS (GnuTLS): of NBD's, and of the screen's. They
 * are opened once and serve every session; any thread.
 */
#ifndef KV_BLOCK_TLS_SERVER_H
#define KV_BLOCK_TLS_SERVER_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "base/error.h"

struct tls_server;

/*
 * X.509: dir holds ca-cert.pem, server-cert.pem, server-key.pem, and may hold ca-crl.pem (QEMU's
 * names). verify_peer: a client must show a certificate that ca-cert.pem signed.
 */
int tls_server_open_x509(struct tls_server **out, const char *dir, bool verify_peer,
                         struct kv_error *err);
/* Pre-shared keys: a file of lines "user:key in hexadecimal", as psktool writes it. */
int tls_server_open_psk(struct tls_server **out, const char *path, struct kv_error *err);
/* No server uses it any more. NULL is fine. */
void tls_server_free(struct tls_server *tls);

/* A session of the server's, its credentials set; it does not block. 0 or -errno. */
int tls_server_session(const struct tls_server *tls, gnutls_session_t *out);

#endif
