/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS as libvirt's clients speak it: the client has a certificate of the same authority, its
 * distinguished name may have to be on a list, and the server says with one byte '\1'
 * that it likes what it saw.
 */
#include <errno.h>
#include <fnmatch.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>

#include "base/log.h"
#include "rpc/internal.h"

#define NAME_MAX_BYTES 1024

/* Counted: sessions keep the context that they began with when the files are read anew. */
struct tls_context {
    atomic_uint refs;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    struct rpc_tls_config config; /* a copy */
};

struct tls_session {
    gnutls_session_t session;
    struct tls_context *context;
    bool handshaken, confirmed;
};

/* ------------------------------------------------------------------ context */

static void free_config(struct rpc_tls_config *config)
{
    free((void *)(uintptr_t)config->ca_file);
    free((void *)(uintptr_t)config->cert_file);
    free((void *)(uintptr_t)config->key_file);
    free((void *)(uintptr_t)config->crl_file);
    free((void *)(uintptr_t)config->priority);
    for (char **name = (char **)(uintptr_t)config->allowed_names; name && *name; name++)
        free(*name);
    free((void *)(uintptr_t)config->allowed_names);
}

static char *copy_text(const char *text)
{
    return text ? strdup(text) : NULL;
}

static void copy_config(struct rpc_tls_config *out, const struct rpc_tls_config *in)
{
    size_t n = 0;
    while (in->allowed_names && in->allowed_names[n])
        n++;
    char **names = in->allowed_names ? calloc(n + 1, sizeof(*names)) : NULL;
    for (size_t i = 0; names && i < n; i++)
        names[i] = strdup(in->allowed_names[i]);
    *out = (struct rpc_tls_config){
        .ca_file = copy_text(in->ca_file),
        .cert_file = copy_text(in->cert_file),
        .key_file = copy_text(in->key_file),
        .crl_file = copy_text(in->crl_file),
        .priority = copy_text(in->priority),
        .allowed_names = (const char *const *)names,
        .verify_clients = in->verify_clients,
    };
}

void tls_context_free(struct tls_context *context)
{
    if (!context || atomic_fetch_sub(&context->refs, 1) != 1)
        return;
    if (context->credentials)
        gnutls_certificate_free_credentials(context->credentials);
    if (context->priority)
        gnutls_priority_deinit(context->priority);
    free_config(&context->config);
    free(context);
}

static int complain(struct kv_error *err, const char *what, const char *file, int code)
{
    return kv_error_set(err, KV_ERR_NET, EINVAL, "TLS: %s '%s': %s", what, file,
                        gnutls_strerror(code));
}

static int load_files(struct tls_context *context, struct kv_error *err)
{
    const struct rpc_tls_config *config = &context->config;
    int r = gnutls_certificate_allocate_credentials(&context->credentials);
    if (r < 0)
        return complain(err, "credentials", "", r);
    r = gnutls_certificate_set_x509_trust_file(context->credentials, config->ca_file,
                                               GNUTLS_X509_FMT_PEM);
    if (r <= 0)
        return complain(err, "certificates of the authority", config->ca_file, r);
    r = gnutls_certificate_set_x509_key_file(context->credentials, config->cert_file,
                                             config->key_file, GNUTLS_X509_FMT_PEM);
    if (r < 0)
        return complain(err, "certificate and key", config->cert_file, r);
    if (config->crl_file) {
        r = gnutls_certificate_set_x509_crl_file(context->credentials, config->crl_file,
                                                 GNUTLS_X509_FMT_PEM);
        if (r < 0)
            return complain(err, "revoked certificates", config->crl_file, r);
    }
    const char *priority = config->priority ? config->priority : "NORMAL";
    r = gnutls_priority_init(&context->priority, priority, NULL);
    return r < 0 ? complain(err, "priorities", priority, r) : 0;
}

static int new_context(struct tls_context **out, const struct rpc_tls_config *config,
                       struct kv_error *err)
{
    struct tls_context *context = calloc(1, sizeof(*context));
    if (!context)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "TLS");
    context->refs = 1;
    copy_config(&context->config, config);
    int r = load_files(context, err);
    if (r < 0)
        tls_context_free(context);
    else
        *out = context;
    return r;
}

static void replace_context(struct rpc_server *server, struct tls_context *context)
{
    pthread_mutex_lock(&server->post_lock);
    struct tls_context *before = server->tls;
    server->tls = context;
    pthread_mutex_unlock(&server->post_lock);
    tls_context_free(before);
}

int rpc_server_set_tls(struct rpc_server *server, const struct rpc_tls_config *config,
                       struct kv_error *err)
{
    struct tls_context *context;
    int r = new_context(&context, config, err);
    if (r == 0)
        replace_context(server, context);
    return r;
}

static struct tls_context *current_context(struct rpc_server *server)
{
    pthread_mutex_lock(&server->post_lock);
    struct tls_context *context = server->tls;
    if (context)
        atomic_fetch_add(&context->refs, 1);
    pthread_mutex_unlock(&server->post_lock);
    return context;
}

int tls_reload(struct rpc_server *server, struct kv_error *err)
{
    struct tls_context *before = current_context(server), *context;
    if (!before)
        return kv_error_set(err, KV_ERR_NET, EINVAL, "TLS is not in use");
    int r = new_context(&context, &before->config, err);
    tls_context_free(before);
    if (r == 0)
        replace_context(server, context);
    return r;
}

/* ------------------------------------------------------------------ session */

int tls_session_start(struct rpc_client *client)
{
    struct tls_session *tls = calloc(1, sizeof(*tls));
    if (!tls)
        return -ENOMEM;
    tls->context = current_context(client->server);
    if (!tls->context || gnutls_init(&tls->session, GNUTLS_SERVER | GNUTLS_NONBLOCK) < 0) {
        tls_context_free(tls->context);
        free(tls);
        return -EIO;
    }
    gnutls_priority_set(tls->session, tls->context->priority);
    gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->context->credentials);
    gnutls_certificate_server_set_request(tls->session, tls->context->config.verify_clients
                                                            ? GNUTLS_CERT_REQUEST
                                                            : GNUTLS_CERT_IGNORE);
    gnutls_transport_set_int(tls->session, client->fd);
    client->tls = tls;
    return 0;
}

void tls_session_free(struct rpc_client *client)
{
    struct tls_session *tls = client->tls;
    if (!tls)
        return;
    gnutls_deinit(tls->session);
    tls_context_free(tls->context);
    free(tls);
    client->tls = NULL;
}

bool tls_session_ready(const struct rpc_client *client)
{
    return !client->tls || client->tls->confirmed;
}

int tls_session_wants(const struct rpc_client *client)
{
    return client->tls->handshaken || gnutls_record_get_direction(client->tls->session)
               ? UV_WRITABLE
               : UV_READABLE;
}

static bool is_allowed(const struct rpc_tls_config *config, const char *name)
{
    if (!config->allowed_names)
        return true;
    for (const char *const *pattern = config->allowed_names; *pattern; pattern++) {
        if (fnmatch(*pattern, name, 0) == 0)
            return true;
    }
    return false;
}

/* The name in the client's certificate, into client->x509_name. */
static int learn_name(struct rpc_client *client, const gnutls_datum_t *der)
{
    gnutls_x509_crt_t certificate;
    char name[NAME_MAX_BYTES];
    size_t size = sizeof(name);
    if (gnutls_x509_crt_init(&certificate) < 0)
        return -ENOMEM;
    int r = gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER);
    if (r >= 0)
        r = gnutls_x509_crt_get_dn(certificate, name, &size);
    gnutls_x509_crt_deinit(certificate);
    if (r < 0)
        return -EACCES;
    client->x509_name = strdup(name);
    return client->x509_name ? 0 : -ENOMEM;
}

static int check_certificate(struct rpc_client *client)
{
    const struct rpc_tls_config *config = &client->tls->context->config;
    unsigned status, n;
    if (!config->verify_clients)
        return 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(client->tls->session, &n);
    int r = gnutls_certificate_verify_peers2(client->tls->session, &status);
    if (!chain || n == 0 || r < 0 || status != 0) {
        log_info("client %llu: %s", (unsigned long long)client->id,
                 chain ? "its certificate is not valid here" : "it has no certificate");
        return -EACCES;
    }
    r = learn_name(client, &chain[0]);
    if (r == 0 && !is_allowed(config, client->x509_name)) {
        log_info("client %llu: '%s' is not on the list of allowed names",
                 (unsigned long long)client->id, client->x509_name);
        r = -EACCES;
    }
    return r;
}

/* The handshake, the check, the byte that says so. */
void tls_session_go_on(struct rpc_client *client)
{
    struct tls_session *tls = client->tls;
    if (!tls->handshaken) {
        int r = gnutls_handshake(tls->session);
        if (r < 0 && !gnutls_error_is_fatal(r))
            return;
        if (r < 0)
            log_info("client %llu: TLS handshake: %s", (unsigned long long)client->id,
                     gnutls_strerror(r));
        if (r < 0 || check_certificate(client) < 0) {
            client_close(client);
            return;
        }
        tls->handshaken = true;
    }
    ssize_t n = gnutls_record_send(tls->session, "\1", 1);
    if (n == 1) {
        tls->confirmed = true;
        client_is_known(client);
        listeners_update(client->server);
    } else if (gnutls_error_is_fatal((int)n)) {
        client_close(client);
    }
}

static ssize_t as_errno(ssize_t n)
{
    if (n >= 0)
        return n;
    if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
        return -EAGAIN;
    return n == GNUTLS_E_PREMATURE_TERMINATION ? 0 : -EIO;
}

ssize_t tls_session_read(struct rpc_client *client, void *bytes, size_t len)
{
    ssize_t n = gnutls_record_recv(client->tls->session, bytes, len);
    return n == GNUTLS_E_REHANDSHAKE ? -EPROTO : as_errno(n);
}

ssize_t tls_session_write(struct rpc_client *client, const void *bytes, size_t len)
{
    return as_errno(gnutls_record_send(client->tls->session, bytes, len));
}

unsigned tls_session_strength(const struct rpc_client *client)
{
    return (unsigned)gnutls_cipher_get_key_size(gnutls_cipher_get(client->tls->session)) * 8;
}
