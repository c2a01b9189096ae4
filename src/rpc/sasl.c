/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SASL: the client proves who it is by one of cyrus-sasl's mechanisms (configured in
 * /etc/sasl2/libvirt.conf), and over plain TCP everything afterwards is encrypted by it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fnmatch.h>
#include <sasl/sasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "model/api_error.h"
#include "rpc/internal.h"

#define RAW_SIZE (64u << 10)
#define SSF_LEAST 56 /* bits that count as encryption, without TLS below */
#define SSF_MOST 100000

struct sasl_settings {
    char **allowed_users; /* patterns; NULL: all */
};

struct sasl_session {
    sasl_conn_t *conn;
    bool needs_protection, started, complete;
    atomic_bool protecting; /* what goes over the wire is encrypted */
    struct buffer in;       /* decrypted; loop */
    const char *out;        /* encrypted, in conn's memory; loop */
    unsigned out_len, out_done;
    size_t out_of; /* of so many plain bytes */
};

int rpc_server_set_sasl(struct rpc_server *server, const char *const *allowed_users,
                        struct kv_error *err)
{
    int r = sasl_server_init(NULL, "libvirt");
    if (r != SASL_OK)
        return kv_error_set(err, KV_ERR_NET, EIO, "SASL: %s", sasl_errstring(r, NULL, NULL));
    struct sasl_settings *settings = calloc(1, sizeof(*settings));
    size_t n = 0;
    while (allowed_users && allowed_users[n])
        n++;
    if (settings && allowed_users)
        settings->allowed_users = calloc(n + 1, sizeof(char *));
    if (!settings || (allowed_users && !settings->allowed_users)) {
        free(settings);
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "SASL");
    }
    for (size_t i = 0; i < n; i++)
        settings->allowed_users[i] = strdup(allowed_users[i]);
    sasl_settings_free(server->sasl);
    server->sasl = settings;
    return 0;
}

void sasl_settings_free(struct sasl_settings *settings)
{
    if (!settings)
        return;
    for (char **user = settings->allowed_users; user && *user; user++)
        free(*user);
    free(settings->allowed_users);
    free(settings);
}

void sasl_session_free(struct rpc_client *client)
{
    struct sasl_session *sasl = client->sasl;
    if (!sasl)
        return;
    sasl_dispose(&sasl->conn);
    buffer_free(&sasl->in);
    free(sasl);
    client->sasl = NULL;
}

/* ------------------------------------------------------------ proving who it is */

static int refuse(struct rpc_call *call, const char *why, struct kv_error *err)
{
    log_info("client %llu: SASL: %s", (unsigned long long)call->client->id, why);
    return api_error_from(err, VIR_FROM_RPC, VIR_ERR_AUTH_FAILED, NULL);
}

/* "address;port", as SASL writes them. */
static void put_address(char *out, size_t size, const struct sockaddr_storage *address)
{
    char host[INET6_ADDRSTRLEN] = "";
    unsigned port = 0;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        port = ntohs(in->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
        port = ntohs(in->sin6_port);
    }
    snprintf(out, size, "%s;%u", host, port);
}

static int new_conn(struct rpc_client *client, sasl_conn_t **out)
{
    char local[INET6_ADDRSTRLEN + 8], remote[INET6_ADDRSTRLEN + 8];
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    bool inet = client->transport != RPC_UNIX;
    if (inet) {
        getsockname(client->fd, (struct sockaddr *)&address, &len);
        put_address(local, sizeof(local), &address);
        len = sizeof(address);
        getpeername(client->fd, (struct sockaddr *)&address, &len);
        put_address(remote, sizeof(remote), &address);
    }
    return sasl_server_new("libvirt", NULL, NULL, inet ? local : NULL, inet ? remote : NULL, NULL,
                           SASL_SUCCESS_DATA, out);
}

static int set_strength(struct rpc_client *client, struct sasl_session *sasl)
{
    sasl->needs_protection = client->transport == RPC_TCP;
    if (client->tls) {
        sasl_ssf_t strength = tls_session_strength(client);
        int r = sasl_setprop(sasl->conn, SASL_SSF_EXTERNAL, &strength);
        if (r != SASL_OK)
            return r;
    }
    const sasl_security_properties_t properties = {
        .min_ssf = sasl->needs_protection ? SSF_LEAST : 0,
        .max_ssf = sasl->needs_protection ? SSF_MOST : 0,
        .maxbufsize = RAW_SIZE,
        .security_flags =
            SASL_SEC_NOANONYMOUS | (sasl->needs_protection ? SASL_SEC_NOPLAINTEXT : 0),
    };
    return sasl_setprop(sasl->conn, SASL_SEC_PROPS, &properties);
}

int auth_sasl_init(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(AUTH_SASL_INIT) *out = ret;
    struct rpc_client *client = call->client;
    const char *mechanisms;
    if (client->auth != RPC_AUTH_SASL || client->sasl || !client->server->sasl)
        return refuse(call, "asked for at the wrong moment", err);
    struct sasl_session *sasl = calloc(1, sizeof(*sasl));
    if (!sasl)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    sasl->in = BUFFER_INIT(4 * RAW_SIZE);
    client->sasl = sasl;
    if (new_conn(client, &sasl->conn) != SASL_OK || set_strength(client, sasl) != SASL_OK ||
        sasl_listmech(sasl->conn, NULL, "", ",", "", &mechanisms, NULL, NULL) != SASL_OK)
        return refuse(call, "no mechanism can be offered", err);
    out->mechlist = strdup(mechanisms);
    return out->mechlist ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

static bool is_allowed(const struct sasl_settings *settings, const char *user)
{
    if (!settings->allowed_users)
        return true;
    for (char **pattern = settings->allowed_users; *pattern; pattern++) {
        if (fnmatch(*pattern, user, 0) == 0)
            return true;
    }
    return false;
}

/* The mechanism is content: is the user one of ours, is the wire safe? */
static int accept_user(struct rpc_call *call, struct sasl_session *sasl, struct kv_error *err)
{
    struct rpc_client *client = call->client;
    const void *user, *strength;
    if (sasl_getprop(sasl->conn, SASL_USERNAME, &user) != SASL_OK || !user)
        return refuse(call, "nobody's name is known", err);
    if (sasl->needs_protection && (sasl_getprop(sasl->conn, SASL_SSF, &strength) != SASL_OK ||
                                   *(const sasl_ssf_t *)strength < SSF_LEAST))
        return refuse(call, "the mechanism does not encrypt", err);
    if (!is_allowed(client->server->sasl, user))
        return refuse(call, "the user is not on the list of allowed names", err);
    client->sasl_user = strdup(user);
    if (!client->sasl_user)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    sasl->complete = true;
    client_set_proved(client);
    call->starts_sasl = sasl->needs_protection;
    return 0;
}

static int fill_answer(wire_complete_nil_data *out, const char *data, unsigned len,
                       struct kv_error *err)
{
    out->nil = !data;
    if (!data)
        return 0;
    out->data.data_val = malloc(len ? len : 1);
    if (!out->data.data_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    memcpy(out->data.data_val, data, len);
    out->data.data_len = len;
    return 0;
}

/* mechanism: of the first step; NULL afterwards. */
static int step(struct rpc_call *call, const char *mechanism, const char *data, unsigned len,
                wire_complete_nil_data *out, struct kv_error *err)
{
    struct sasl_session *sasl = call->client->sasl;
    const char *answer = NULL;
    unsigned answer_len = 0;
    if (!sasl || !sasl->conn || sasl->complete || sasl->started == (mechanism != NULL))
        return refuse(call, "asked for at the wrong moment", err);
    sasl->started = true;
    int r = mechanism ? sasl_server_start(sasl->conn, mechanism, data, len, &answer, &answer_len)
                      : sasl_server_step(sasl->conn, data, len, &answer, &answer_len);
    if (r != SASL_OK && r != SASL_CONTINUE)
        return refuse(call, sasl_errdetail(sasl->conn), err);
    if (answer_len > 65536)
        return refuse(call, "the mechanism's answer is longer than the protocol allows", err);
    out->complete = r == SASL_OK;
    r = fill_answer(out, answer, answer_len, err);
    return r == 0 && out->complete ? accept_user(call, sasl, err) : r;
}

int auth_sasl_start(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(AUTH_SASL_START) *in = args;
    return step(call, in->mech, in->nil ? NULL : in->data.data_val, in->data.data_len, ret, err);
}

int auth_sasl_step(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(AUTH_SASL_STEP) *in = args;
    return step(call, NULL, in->nil ? NULL : in->data.data_val, in->data.data_len, ret, err);
}

/* --------------------------------------------------------------- encryption */

void sasl_session_protect(struct rpc_client *client)
{
    atomic_store(&client->sasl->protecting, true);
}

ssize_t sasl_session_read(struct rpc_client *client, void *bytes, size_t len)
{
    struct sasl_session *sasl = client->sasl;
    if (!atomic_load(&sasl->protecting))
        return transport_raw_read(client, bytes, len);
    if (sasl->in.len == 0) {
        char raw[RAW_SIZE];
        const char *plain;
        unsigned plain_len;
        ssize_t n = transport_raw_read(client, raw, sizeof(raw));
        if (n <= 0)
            return n;
        if (sasl_decode(sasl->conn, raw, (unsigned)n, &plain, &plain_len) != SASL_OK)
            return -EPROTO;
        if (plain_len == 0)
            return -EAGAIN;
        int r = buffer_append(&sasl->in, plain, plain_len);
        if (r < 0)
            return r;
    }
    size_t n = MIN(len, sasl->in.len);
    memcpy(bytes, buffer_bytes(&sasl->in), n);
    buffer_consume(&sasl->in, n);
    return (ssize_t)n;
}

ssize_t sasl_session_write(struct rpc_client *client, const void *bytes, size_t len)
{
    struct sasl_session *sasl = client->sasl;
    if (!atomic_load(&sasl->protecting))
        return transport_raw_write(client, bytes, len);
    if (!sasl->out) {
        const unsigned *most = NULL;
        if (sasl_getprop(sasl->conn, SASL_MAXOUTBUF, (const void **)&most) != SASL_OK || !*most)
            return -EPROTO;
        sasl->out_of = MIN(len, (size_t)*most);
        sasl->out_done = 0;
        if (sasl_encode(sasl->conn, bytes, (unsigned)sasl->out_of, &sasl->out, &sasl->out_len) !=
            SASL_OK)
            return -EPROTO;
    }
    while (sasl->out_done < sasl->out_len) {
        ssize_t n =
            transport_raw_write(client, sasl->out + sasl->out_done, sasl->out_len - sasl->out_done);
        if (n < 0)
            return n;
        sasl->out_done += (unsigned)n;
    }
    sasl->out = NULL;
    return (ssize_t)sasl->out_of;
}
