/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS to a server, as libvirt has it: certificates of X.509 at the usual places, the server's name
 * checked, and behind the handshake one byte '\1' by which the server says that it likes ours.
 * GnuTLS is loaded with the first such connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/library.h"
#include "rpc/client/uri.h"

/* clang-format off */
#define TLS_FUNCTIONS(F)                 \
    F(certificate_allocate_credentials)  \
    F(certificate_free_credentials)      \
    F(certificate_set_x509_key_file)     \
    F(certificate_set_x509_trust_file)   \
    F(certificate_verify_peers3)         \
    F(credentials_set)                   \
    F(deinit)                            \
    F(error_is_fatal)                    \
    F(handshake)                         \
    F(init)                              \
    F(priority_set_direct)               \
    F(record_check_pending)              \
    F(record_get_direction)              \
    F(record_recv)                       \
    F(record_send)                       \
    F(server_name_set)                   \
    F(strerror)                          \
    F(transport_set_int2)
/* clang-format on */

/* gnutls_NAME() is tls.NAME(). */
static struct {
#define TLS_FIELD(name) __typeof__(gnutls_##name) *name;
    TLS_FUNCTIONS(TLS_FIELD)
#undef TLS_FIELD
} tls;

static const struct library_symbol symbols[] = {
#define TLS_SYMBOL(name) {"gnutls_" #name, &tls.name},
    TLS_FUNCTIONS(TLS_SYMBOL)
#undef TLS_SYMBOL
        {NULL, NULL},
};

static struct library library =
    LIBRARY("libgnutls.so.30", "libgnutls30", "connections with TLS", symbols);

struct tls_layer {
    struct layer layer;
    struct kvasir_conn *conn;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
};

static struct tls_layer *of(struct layer *layer)
{
    return container_of(layer, struct tls_layer, layer);
}

static ssize_t tls_read(struct layer *layer, void *bytes, size_t len)
{
    ssize_t n;
    do {
        n = tls.record_recv(of(layer)->session, bytes, len);
    } while (n == GNUTLS_E_INTERRUPTED ||
             (n < 0 && n != GNUTLS_E_AGAIN && !tls.error_is_fatal((int)n)));
    if (n == GNUTLS_E_PREMATURE_TERMINATION)
        return 0;
    return n >= 0 ? n : n == GNUTLS_E_AGAIN ? -EAGAIN : -EIO;
}

static ssize_t tls_write(struct layer *layer, const void *bytes, size_t len)
{
    ssize_t n;
    do {
        n = tls.record_send(of(layer)->session, bytes, len);
    } while (n == GNUTLS_E_INTERRUPTED);
    return n >= 0 ? n : n == GNUTLS_E_AGAIN ? -EAGAIN : -EIO;
}

static bool tls_pending(struct layer *layer)
{
    return tls.record_check_pending(of(layer)->session) > 0;
}

static void tls_free(struct layer *layer)
{
    struct tls_layer *own = of(layer);
    if (own->session)
        tls.deinit(own->session);
    if (own->credentials)
        tls.certificate_free_credentials(own->credentials);
    free(own);
}

static const struct layer_ops tls_ops = {tls_read, tls_write, tls_pending, tls_free};

/* --------------------------------------------------------------------- certificates */

struct files {
    char ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
};

static void files_below(struct files *out, const char *folder)
{
    snprintf(out->ca, sizeof(out->ca), "%s/cacert.pem", folder);
    snprintf(out->cert, sizeof(out->cert), "%s/clientcert.pem", folder);
    snprintf(out->key, sizeof(out->key), "%s/clientkey.pem", folder);
}

/* ?pkipath= has all three; else the user's folder has those that it has, the system the others. */
static void find_files(const struct uri *uri, struct files *out)
{
    char folder[PATH_MAX - 32];
    struct files own;
    const char *home = getenv("HOME");
    if (uri->pkipath) {
        files_below(out, uri->pkipath);
        return;
    }
    snprintf(out->ca, sizeof(out->ca), "/etc/pki/CA/cacert.pem");
    snprintf(out->cert, sizeof(out->cert), "/etc/pki/libvirt/clientcert.pem");
    snprintf(out->key, sizeof(out->key), "/etc/pki/libvirt/private/clientkey.pem");
    if (geteuid() == 0 || !home)
        return;
    snprintf(folder, sizeof(folder), "%s/.pki/libvirt", home);
    files_below(&own, folder);
    if (access(own.ca, R_OK) == 0)
        memcpy(out->ca, own.ca, sizeof(own.ca));
    if (access(own.cert, R_OK) == 0 && access(own.key, R_OK) == 0) {
        memcpy(out->cert, own.cert, sizeof(own.cert));
        memcpy(out->key, own.key, sizeof(own.key));
    }
}

static int complain(struct kvasir_error *err, const char *what, const char *file, int code)
{
    return kvasir_error_fill(err, VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, EIO, "TLS: %s%s%s%s: %s",
                             what, *file ? " '" : "", file, *file ? "'" : "", tls.strerror(code));
}

static int load_files(struct tls_layer *own, const struct uri *uri, struct kvasir_error *err)
{
    struct files files;
    find_files(uri, &files);
    int r = tls.certificate_allocate_credentials(&own->credentials);
    if (r < 0)
        return complain(err, "credentials", "", r);
    if (!uri->no_verify || access(files.ca, R_OK) == 0) {
        r = tls.certificate_set_x509_trust_file(own->credentials, files.ca, GNUTLS_X509_FMT_PEM);
        if (r <= 0)
            return complain(err, "certificates of the authority", files.ca, r);
    }
    /* A server may be content with none. */
    if (access(files.cert, R_OK) < 0)
        return 0;
    r = tls.certificate_set_x509_key_file(own->credentials, files.cert, files.key,
                                          GNUTLS_X509_FMT_PEM);
    return r < 0 ? complain(err, "certificate and key", files.cert, r) : 0;
}

/* ------------------------------------------------------------------------ handshake */

static bool is_address(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static int prepare(struct tls_layer *own, const struct uri *uri, struct kvasir_error *err)
{
    const char *priority = uri->tls_priority ? uri->tls_priority : "NORMAL", *wrong = "";
    int r = tls.init(&own->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (r < 0)
        return complain(err, "session", "", r);
    r = tls.priority_set_direct(own->session, priority, &wrong);
    if (r < 0)
        return complain(err, "priorities", wrong, r);
    r = tls.credentials_set(own->session, GNUTLS_CRD_CERTIFICATE, own->credentials);
    if (r == 0 && !is_address(uri->host))
        r = tls.server_name_set(own->session, GNUTLS_NAME_DNS, uri->host, strlen(uri->host));
    if (r < 0)
        return complain(err, "session", "", r);
    tls.transport_set_int2(own->session, own->conn->fd, own->conn->fd);
    return 0;
}

static void wait_for_wire(struct tls_layer *own)
{
    struct pollfd pollfd = {own->conn->fd,
                            tls.record_get_direction(own->session) ? POLLOUT : POLLIN, 0};
    poll(&pollfd, 1, -1);
}

static int shake_hands(struct tls_layer *own, struct kvasir_error *err)
{
    int r;
    while ((r = tls.handshake(own->session)) < 0) {
        if (r == GNUTLS_E_AGAIN)
            wait_for_wire(own);
        else if (tls.error_is_fatal(r))
            return complain(err, "handshake", "", r);
    }
    return 0;
}

static int verify(struct tls_layer *own, const char *host, struct kvasir_error *err)
{
    static const struct {
        unsigned bit;
        const char *words;
    } reasons[] = {
        {GNUTLS_CERT_SIGNER_NOT_FOUND, "it is not of an authority that is trusted"},
        {GNUTLS_CERT_SIGNER_NOT_CA, "who signed it is no authority"},
        {GNUTLS_CERT_REVOKED, "it was revoked"},
        {GNUTLS_CERT_EXPIRED, "it has expired"},
        {GNUTLS_CERT_NOT_ACTIVATED, "it is not valid yet"},
        {GNUTLS_CERT_INSECURE_ALGORITHM, "its algorithm is not secure"},
        {GNUTLS_CERT_UNEXPECTED_OWNER, "it is another host's"},
    };
    unsigned status = 0;
    const char *why = "it is invalid";
    int r = tls.certificate_verify_peers3(own->session, host, &status);
    if (r < 0)
        return complain(err, "certificate of", host, r);
    if (status == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        if (status & reasons[i].bit)
            why = reasons[i].words;
    }
    return kvasir_error_fill(err, VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, EACCES,
                             "TLS: the certificate of '%s' is not accepted: %s", host, why);
}

/* The server has looked at our certificate, too. */
static int wait_for_welcome(struct tls_layer *own, struct kvasir_error *err)
{
    char byte = 0;
    ssize_t n;
    while ((n = tls_read(&own->layer, &byte, 1)) == -EAGAIN)
        wait_for_wire(own);
    if (n == 1 && byte == 1)
        return 0;
    return kvasir_error_fill(err, VIR_ERR_RPC, VIR_FROM_RPC, EACCES,
                             "server verification (of our certificate or IP address) failed");
}

int tls_start(struct kvasir_conn *conn, const struct uri *uri, struct kvasir_error *err)
{
    struct kv_error load_err = {0};
    int r = library_open(&library, &load_err);
    if (r < 0)
        return kvasir_error_fill(err, VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, -r, "%s",
                                 load_err.message);
    struct tls_layer *own = calloc(1, sizeof(*own));
    if (!own)
        return error_no_memory(err);
    own->layer.ops = &tls_ops;
    own->conn = conn;
    r = load_files(own, uri, err);
    if (r == 0)
        r = prepare(own, uri, err);
    if (r == 0)
        r = shake_hands(own, err);
    if (r == 0 && !uri->no_verify)
        r = verify(own, uri->host, err);
    if (r == 0)
        r = wait_for_welcome(own, err);
    if (r < 0) {
        tls_free(&own->layer);
        return r;
    }
    own->layer.below = conn->top;
    conn->top = &own->layer;
    conn->encrypted = true;
    return 0;
}
