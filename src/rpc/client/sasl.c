/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SASL: the user proves who they are by one of cyrus-sasl's mechanisms; over plain TCP everything
 * afterwards is encrypted by it. The library is loaded with the first such connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sasl/sasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/library.h"
#include "rpc/client/uri.h"

#define RAW_SIZE (64u << 10)
#define SSF_LEAST 56 /* bits that count as encryption, without TLS below */
#define SSF_MOST 100000
#define QUESTIONS_MOST 16
#define STEPS_MOST 64 /* of a mechanism; none needs nearly as many */

/* clang-format off */
#define SASL_FUNCTIONS(F) \
    F(client_init)        \
    F(client_new)         \
    F(client_start)       \
    F(client_step)        \
    F(decode)             \
    F(dispose)            \
    F(encode)             \
    F(errdetail)          \
    F(errstring)          \
    F(getprop)            \
    F(setprop)
/* clang-format on */

/* sasl_NAME() is lib.NAME(). */
static struct {
#define SASL_FIELD(name) __typeof__(sasl_##name) *name;
    SASL_FUNCTIONS(SASL_FIELD)
#undef SASL_FIELD
} lib;

static const struct library_symbol symbols[] = {
#define SASL_SYMBOL(name) {"sasl_" #name, &lib.name},
    SASL_FUNCTIONS(SASL_SYMBOL)
#undef SASL_SYMBOL
        {NULL, NULL},
};

static struct library library =
    LIBRARY("libsasl2.so.2", "libsasl2-2", "connections with SASL", symbols);

/* Mechanisms ask these; the answers come from the caller. Named by KVASIR_CREDENTIAL_*. */
static const struct {
    unsigned long sasl;
    int kind;
} questions[] = {
    {SASL_CB_AUTHNAME, KVASIR_CREDENTIAL_AUTHNAME},
    {SASL_CB_PASS, KVASIR_CREDENTIAL_PASSPHRASE},
    {SASL_CB_ECHOPROMPT, KVASIR_CREDENTIAL_ECHO_PROMPT},
    {SASL_CB_NOECHOPROMPT, KVASIR_CREDENTIAL_NOECHO_PROMPT},
    {SASL_CB_GETREALM, KVASIR_CREDENTIAL_REALM},
};

struct attempt {
    sasl_conn_t *conn;
    const struct kvasir_auth *auth;
    struct kvasir_credential asked[QUESTIONS_MOST];
    size_t n_asked;
};

/* --------------------------------------------------------------------- encryption */

struct sasl_layer {
    struct layer layer;
    sasl_conn_t *conn;
    struct buffer in; /* decrypted */
    const char *out;  /* encrypted, in conn's memory */
    unsigned out_len, out_done;
    size_t out_of; /* of so many plain bytes */
};

static struct sasl_layer *of(struct layer *layer)
{
    return container_of(layer, struct sasl_layer, layer);
}

static ssize_t sasl_read(struct layer *layer, void *bytes, size_t len)
{
    struct sasl_layer *own = of(layer);
    while (own->in.len == 0) {
        char raw[RAW_SIZE];
        const char *plain;
        unsigned plain_len;
        ssize_t n = layer->below->ops->read(layer->below, raw, sizeof(raw));
        if (n <= 0)
            return n;
        if (lib.decode(own->conn, raw, (unsigned)n, &plain, &plain_len) != SASL_OK)
            return -EPROTO;
        int r = plain_len ? buffer_append(&own->in, plain, plain_len) : 0;
        if (r < 0)
            return r;
    }
    size_t n = MIN(len, own->in.len);
    memcpy(bytes, buffer_bytes(&own->in), n);
    buffer_consume(&own->in, n);
    return (ssize_t)n;
}

static ssize_t sasl_write(struct layer *layer, const void *bytes, size_t len)
{
    struct sasl_layer *own = of(layer);
    if (!own->out) {
        const unsigned *most = NULL;
        if (lib.getprop(own->conn, SASL_MAXOUTBUF, (const void **)&most) != SASL_OK || !*most)
            return -EPROTO;
        own->out_of = MIN(len, (size_t)*most);
        own->out_done = 0;
        if (lib.encode(own->conn, bytes, (unsigned)own->out_of, &own->out, &own->out_len) !=
            SASL_OK)
            return -EPROTO;
    }
    while (own->out_done < own->out_len) {
        ssize_t n = layer->below->ops->write(layer->below, own->out + own->out_done,
                                             own->out_len - own->out_done);
        if (n < 0)
            return n;
        own->out_done += (unsigned)n;
    }
    own->out = NULL;
    return (ssize_t)own->out_of;
}

static bool sasl_pending(struct layer *layer)
{
    return of(layer)->in.len > 0 || layer->below->ops->pending(layer->below);
}

static void sasl_free(struct layer *layer)
{
    struct sasl_layer *own = of(layer);
    lib.dispose(&own->conn);
    buffer_free(&own->in);
    free(own);
}

static const struct layer_ops sasl_ops = {sasl_read, sasl_write, sasl_pending, sasl_free};

/* ------------------------------------------------------------------------ questions */

static int refuse(struct kvasir_error *err, const char *why)
{
    return kvasir_error_fill(err, VIR_ERR_AUTH_FAILED, VIR_FROM_RPC, EACCES,
                             "authentication failed: %s", why);
}

static int kind_of(unsigned long id)
{
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
        if (questions[i].sasl == id)
            return questions[i].kind;
    }
    return KVASIR_CREDENTIAL_ECHO_PROMPT;
}

static void forget_answers(struct attempt *attempt)
{
    for (size_t i = 0; i < attempt->n_asked; i++) {
        if (attempt->asked[i].answer)
            explicit_bzero(attempt->asked[i].answer, strlen(attempt->asked[i].answer));
        free(attempt->asked[i].answer);
    }
    attempt->n_asked = 0;
}

/* The mechanism wants to know something: the caller is asked. The answers live until the next
 * questions. */
static int ask(struct attempt *attempt, sasl_interact_t *wanted, struct kvasir_error *err)
{
    forget_answers(attempt);
    for (sasl_interact_t *one = wanted; one->id != SASL_CB_LIST_END; one++) {
        if (attempt->n_asked == QUESTIONS_MOST)
            return refuse(err, "the mechanism asks too much");
        attempt->asked[attempt->n_asked++] = (struct kvasir_credential){
            .kind = kind_of(one->id),
            .prompt = one->prompt,
            .challenge = one->challenge,
            .preset = one->defresult,
        };
    }
    if (!attempt->auth || !attempt->auth->ask)
        return refuse(err, "the server asks for a name and password, and nobody is there to ask");
    if (attempt->auth->ask(attempt->auth->opaque, attempt->asked, attempt->n_asked) < 0)
        return kvasir_error_fill(err, VIR_ERR_AUTH_CANCELLED, VIR_FROM_RPC, ECANCELED,
                                 "authentication cancelled: nobody answered the questions");
    for (size_t i = 0; i < attempt->n_asked; i++) {
        const struct kvasir_credential *asked = &attempt->asked[i];
        const char *answer = asked->answer ? asked->answer : asked->preset ? asked->preset : "";
        wanted[i].result = answer;
        wanted[i].len = (unsigned)strlen(answer);
    }
    return 0;
}

/* ---------------------------------------------------------------------------- steps */

/* One of the mechanism's steps; mechanisms NULL: not the first. 1: it is content. */
static int step(struct attempt *attempt, const char *mechanisms, const char *in, unsigned in_len,
                const char **out, unsigned *out_len, const char **chosen, struct kvasir_error *err)
{
    sasl_interact_t *wanted = NULL;
    int r;
    for (int round = 0; round < STEPS_MOST; round++) {
        r = mechanisms ? lib.client_start(attempt->conn, mechanisms, &wanted, out, out_len, chosen)
                       : lib.client_step(attempt->conn, in, in_len, &wanted, out, out_len);
        if (r != SASL_INTERACT)
            break;
        r = ask(attempt, wanted, err);
        if (r < 0)
            return r;
    }
    if (r != SASL_OK && r != SASL_CONTINUE)
        return refuse(err, lib.errdetail(attempt->conn));
    return r == SASL_OK;
}

static int start(struct kvasir_conn *conn, struct attempt *attempt, const char *mechanisms,
                 wire_complete_nil_data *answer, struct kvasir_error *err)
{
    const char *out = NULL, *chosen = NULL;
    unsigned out_len = 0;
    int r = step(attempt, mechanisms, NULL, 0, &out, &out_len, &chosen, err);
    if (r < 0)
        return r;
    const wire_auth_sasl_start_in args = {
        .mech = (char *)(uintptr_t)chosen,
        .nil = !out,
        .data = {out ? out_len : 0, (char *)(uintptr_t)out},
    };
    int sent = kvasir_call_AUTH_SASL_START(conn, &args, answer, err);
    return sent < 0 ? sent : r;
}

/* Until both sides are content. */
static int talk(struct kvasir_conn *conn, struct attempt *attempt, const char *mechanisms,
                struct kvasir_error *err)
{
    wire_complete_nil_data answer = {0};
    int content = start(conn, attempt, mechanisms, &answer, err);
    for (int round = 0; content >= 0 && !(content && answer.complete); round++) {
        const char *out = NULL;
        unsigned out_len = 0;
        bool complete = answer.complete;
        if (round == STEPS_MOST)
            content = refuse(err, "the mechanism comes to no end");
        else
            content = step(attempt, NULL, answer.nil ? NULL : answer.data.data_val,
                           answer.data.data_len, &out, &out_len, NULL, err);
        kvasir_free_AUTH_SASL_START(&answer);
        memset(&answer, 0, sizeof(answer));
        answer.complete = complete;
        if (content < 0 || (content && complete))
            break;
        const wire_auth_sasl_step_in args = {.nil = !out,
                                             .data = {out ? out_len : 0, (char *)(uintptr_t)out}};
        int r = kvasir_call_AUTH_SASL_STEP(conn, &args, &answer, err);
        content = r < 0 ? r : content;
    }
    kvasir_free_AUTH_SASL_START(&answer);
    return MIN(content, 0);
}

/* -------------------------------------------------------------------------- settings */

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

static int new_session(struct kvasir_conn *conn, const struct uri *uri,
                       const sasl_callback_t *callbacks, sasl_conn_t **out)
{
    char local[INET6_ADDRSTRLEN + 8], remote[INET6_ADDRSTRLEN + 8];
    bool inet = conn->transport == TRANSPORT_TCP || conn->transport == TRANSPORT_TLS;
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (inet) {
        getsockname(conn->fd, (struct sockaddr *)&address, &len);
        put_address(local, sizeof(local), &address);
        len = sizeof(address);
        getpeername(conn->fd, (struct sockaddr *)&address, &len);
        put_address(remote, sizeof(remote), &address);
    }
    return lib.client_new("libvirt", uri->host ? uri->host : "localhost", inet ? local : NULL,
                          inet ? remote : NULL, callbacks, SASL_SUCCESS_DATA, out);
}

static int set_strength(struct kvasir_conn *conn, sasl_conn_t *session)
{
    bool needed = conn->transport == TRANSPORT_TCP;
    sasl_ssf_t outside = conn->encrypted ? 256 : 0;
    const sasl_security_properties_t properties = {
        .min_ssf = needed ? SSF_LEAST : 0,
        .max_ssf = needed ? SSF_MOST : 0,
        .maxbufsize = RAW_SIZE,
        .security_flags = SASL_SEC_NOANONYMOUS | (needed ? SASL_SEC_NOPLAINTEXT : 0),
    };
    int r = lib.setprop(session, SASL_SSF_EXTERNAL, &outside);
    return r == SASL_OK ? lib.setprop(session, SASL_SEC_PROPS, &properties) : r;
}

/* From now on all goes through the mechanism's encryption, if it has one. */
static int protect(struct kvasir_conn *conn, struct attempt *attempt, struct kvasir_error *err)
{
    const void *strength;
    if (lib.getprop(attempt->conn, SASL_SSF, &strength) != SASL_OK)
        return refuse(err, "the mechanism does not say how strong it is");
    sasl_ssf_t bits = *(const sasl_ssf_t *)strength;
    if (conn->transport == TRANSPORT_TCP && bits < SSF_LEAST)
        return refuse(err, "the mechanism does not encrypt");
    if (bits == 0)
        return 0;
    struct sasl_layer *layer = calloc(1, sizeof(*layer));
    if (!layer)
        return error_no_memory(err);
    layer->layer = (struct layer){&sasl_ops, conn->top};
    layer->conn = attempt->conn;
    attempt->conn = NULL;
    layer->in = BUFFER_INIT(4 * RAW_SIZE);
    conn->top = &layer->layer;
    conn->encrypted = true;
    return 0;
}

static int negotiate(struct kvasir_conn *conn, const struct uri *uri, struct attempt *attempt,
                     struct kvasir_error *err)
{
    wire_auth_sasl_init_out offered = {0};
    const char *only = uri->auth && strncmp(uri->auth, "sasl.", 5) == 0 ? uri->auth + 5 : NULL;
    int r = kvasir_call_AUTH_SASL_INIT(conn, NULL, &offered, err);
    if (r < 0)
        return r;
    if (only && !strstr(offered.mechlist, only))
        r = kvasir_error_fill(err, VIR_ERR_AUTH_FAILED, VIR_FROM_RPC, EACCES,
                              "SASL mechanism %s not supported by server, which has %s", only,
                              offered.mechlist);
    else
        r = talk(conn, attempt, only ? only : offered.mechlist, err);
    kvasir_free_AUTH_SASL_INIT(&offered);
    return r < 0 ? r : protect(conn, attempt, err);
}

int sasl_authenticate(struct kvasir_conn *conn, const struct uri *uri,
                      const struct kvasir_auth *auth, struct kvasir_error *err)
{
    struct kv_error load_err = {0};
    sasl_callback_t callbacks[ARRAY_SIZE(questions) + 1] = {{0}};
    struct attempt attempt = {.auth = auth};
    int r = library_open(&library, &load_err);
    if (r < 0)
        return kvasir_error_fill(err, VIR_ERR_AUTH_FAILED, VIR_FROM_RPC, -r, "%s",
                                 load_err.message);
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
        callbacks[i].id = questions[i].sasl;
    callbacks[ARRAY_SIZE(questions)].id = SASL_CB_LIST_END;
    r = lib.client_init(NULL);
    if (r == SASL_OK)
        r = new_session(conn, uri, callbacks, &attempt.conn);
    if (r == SASL_OK)
        r = set_strength(conn, attempt.conn);
    r = r == SASL_OK ? negotiate(conn, uri, &attempt, err)
                     : refuse(err, lib.errstring(r, NULL, NULL));
    forget_answers(&attempt);
    if (attempt.conn)
        lib.dispose(&attempt.conn);
    return r;
}
