/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Credentials of a server for TLS (GnuTLS): X.509 in a folder with QEMU's
 * file names, or pre-shared keys. One set serves many sessions; nothing in it
 * changes after it was opened.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "block/tls_library.h"
#include "block/tls_server.h"

struct tls_server {
    gnutls_certificate_credentials_t x509; /* NULL: keys */
    gnutls_psk_server_credentials_t psk;
    bool verify_peer;
};

/* Purpose a client's certificate must allow: TLS client authentication (RFC 5280, 4.2.1.12).
 * Sessions point to it during their handshake. */
static unsigned char client_purpose[] = "1.3.6.1.5.5.7.3.2";
static gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID, client_purpose, 0};

static int tls_failed(struct kv_error *err, const char *what, int status)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "TLS: %s: %s", what, tls_lib.strerror(status));
}

static int load_x509(struct tls_server *tls, const char *dir, struct kv_error *err)
{
    char ca[4096], crl[4096], cert[4096], key[4096];
    if (snprintf(ca, sizeof(ca), "%s/ca-cert.pem", dir) >= (int)sizeof(ca) - 16)
        return kv_error_set(err, KV_ERR_BLOCK, ENAMETOOLONG, "TLS: folder '%.64s...'", dir);
    snprintf(crl, sizeof(crl), "%s/ca-crl.pem", dir);
    snprintf(cert, sizeof(cert), "%s/server-cert.pem", dir);
    snprintf(key, sizeof(key), "%s/server-key.pem", dir);

    int status = tls_lib.certificate_set_x509_trust_file(tls->x509, ca, GNUTLS_X509_FMT_PEM);
    if (status < 0)
        return tls_failed(err, ca, status);
    if (access(crl, F_OK) == 0) {
        status = tls_lib.certificate_set_x509_crl_file(tls->x509, crl, GNUTLS_X509_FMT_PEM);
        if (status < 0)
            return tls_failed(err, crl, status);
    }
    status = tls_lib.certificate_set_x509_key_file(tls->x509, cert, key, GNUTLS_X509_FMT_PEM);
    if (status < 0)
        return tls_failed(err, cert, status);
    return 0;
}

static int open_any(struct tls_server **out, const char *where, bool psk, bool verify_peer,
                    struct kv_error *err)
{
    int loaded = tls_library_load(err);
    if (loaded < 0)
        return loaded;
    struct tls_server *tls = calloc(1, sizeof(*tls));
    if (!tls)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "TLS: out of memory");
    tls->verify_peer = verify_peer;
    int status = psk ? tls_lib.psk_allocate_server_credentials(&tls->psk)
                     : tls_lib.certificate_allocate_credentials(&tls->x509);
    int rc = status < 0 ? tls_failed(err, where, status) : 0;
    if (rc == 0 && psk) {
        status = access(where, R_OK) < 0 ? GNUTLS_E_FILE_ERROR
                                         : tls_lib.psk_set_server_credentials_file(tls->psk, where);
        if (status < 0)
            rc = tls_failed(err, where, status);
    } else if (rc == 0) {
        rc = load_x509(tls, where, err);
    }
    if (rc < 0)
        tls_server_free(tls);
    else
        *out = tls;
    return rc;
}

int tls_server_open_x509(struct tls_server **out, const char *dir, bool verify_peer,
                         struct kv_error *err)
{
    return open_any(out, dir, false, verify_peer, err);
}

int tls_server_open_psk(struct tls_server **out, const char *path, struct kv_error *err)
{
    return open_any(out, path, true, false, err);
}

void tls_server_free(struct tls_server *tls)
{
    if (!tls)
        return;
    if (tls->x509)
        tls_lib.certificate_free_credentials(tls->x509);
    if (tls->psk)
        tls_lib.psk_free_server_credentials(tls->psk);
    free(tls);
}

int tls_server_session(const struct tls_server *tls, gnutls_session_t *out)
{
    gnutls_session_t session;
    if (tls_lib.init(&session,
                     GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS) < 0)
        return -ENOMEM;
    int status =
        tls->psk ? tls_lib.set_default_priority_append(session, "+ECDHE-PSK:+DHE-PSK:+PSK", NULL, 0)
                 : tls_lib.set_default_priority(session);
    if (status >= 0 && tls->psk)
        status = tls_lib.credentials_set(session, GNUTLS_CRD_PSK, tls->psk);
    else if (status >= 0)
        status = tls_lib.credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->x509);
    if (status < 0) {
        tls_lib.deinit(session);
        return -ENOMEM;
    }
    if (tls->verify_peer) {
        tls_lib.certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
        tls_lib.session_set_verify_cert2(session, &purpose, 1, 0);
    } else {
        tls_lib.certificate_server_set_request(session, GNUTLS_CERT_IGNORE);
    }
    *out = session;
    return 0;
}
