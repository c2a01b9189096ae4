/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS credentials by name, as QEMU's objects tls-creds-x509 and tls-creds-psk:
 * filled from `--object` before images are opened or served, then only read.
 */
#ifndef KV_BLOCK_TLS_CREDS_H
#define KV_BLOCK_TLS_CREDS_H

#include <stdbool.h>

#include "base/error.h"

struct tls_creds {
    char *id, *dir;
    char *username; /* PSK, client */
    bool psk;       /* else X.509 */
    bool server;    /* endpoint */
    bool verify_peer;
};

/*
 * "tls-creds-x509,id=tls0,dir=/etc/pki/kvasir,endpoint=server,verify-peer=off" or
 * "tls-creds-psk,id=tls0,dir=/etc/keys,endpoint=client,username=me"; a leading "qom-type=" is
 * fine. -EEXIST: the id is taken.
 */
int tls_creds_add_text(const char *text, struct kv_error *err);
/* NULL with err filled: there are none of this name for that endpoint. */
const struct tls_creds *tls_creds_find(const char *id, bool server, struct kv_error *err);
void tls_creds_clear(void);

#endif
