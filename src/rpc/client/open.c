/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opens a connection: the way to the server, who the user is, which hypervisor. The questions of a
 * usual opening go out together, so that it takes one round trip: a server that wants a proof
 * first refuses the second one, which is then asked again.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc/client/uri.h"

enum proof {
    PROOF_NONE = 0,
    PROOF_SASL = 1,
    PROOF_POLKIT = 2,
};

/* ---------------------------------------------------------------------------- proof */

static int polkit_authenticate(struct kvasir_conn *conn, struct kvasir_error *err)
{
    wire_auth_polkit_out ret = {0};
    return kvasir_call_AUTH_POLKIT(conn, NULL, &ret, err);
}

static bool offers(const wire_auth_list_out *list, int type)
{
    for (unsigned i = 0; i < list->types.types_len; i++) {
        if (list->types.types_val[i] == type)
            return true;
    }
    return false;
}

/* Which of the server's ways the URI allows; PROOF_NONE when nothing is needed. */
static int choose_auth(const wire_auth_list_out *list, const struct uri *uri,
                       struct kvasir_error *err)
{
    if (uri->auth) {
        int wanted = strcmp(uri->auth, "polkit") == 0     ? PROOF_POLKIT
                     : strncmp(uri->auth, "sasl", 4) == 0 ? PROOF_SASL
                     : strcmp(uri->auth, "none") == 0     ? PROOF_NONE
                                                          : -1;
        if (wanted < 0)
            return error_invalid(err, "?auth=%s: none, polkit and sasl are possible", uri->auth);
        if (!offers(list, wanted))
            return kvasir_error_fill(err, VIR_ERR_AUTH_FAILED, VIR_FROM_RPC, EACCES,
                                     "requested authentication type %s rejected", uri->auth);
        return wanted;
    }
    if (list->types.types_len == 0 || offers(list, PROOF_NONE))
        return PROOF_NONE;
    if (offers(list, PROOF_SASL))
        return PROOF_SASL;
    if (offers(list, PROOF_POLKIT))
        return PROOF_POLKIT;
    return kvasir_error_fill(err, VIR_ERR_AUTH_FAILED, VIR_FROM_RPC, EACCES,
                             "unsupported authentication type %d", list->types.types_val[0]);
}

static int authenticate(struct kvasir_conn *conn, const struct uri *uri, int type,
                        const struct kvasir_auth *auth, struct kvasir_error *err)
{
    switch (type) {
    case PROOF_SASL:
        return sasl_authenticate(conn, uri, auth, err);
    case PROOF_POLKIT:
        return polkit_authenticate(conn, err);
    default:
        return 0;
    }
}

/* -------------------------------------------------------------------------- opening */

static int introduce(struct kvasir_conn *conn, const struct uri *uri, unsigned flags,
                     const struct kvasir_auth *auth, struct kvasir_error *err)
{
    const struct kvasir_procedure list = kvasir_describe_AUTH_LIST();
    const struct kvasir_procedure open = kvasir_describe_CONNECT_OPEN();
    wire_text name = uri->name;
    const wire_connect_open_in args = {&name, flags & KVASIR_OPEN_READ_ONLY};
    struct kvasir_error open_err = {0};
    wire_auth_list_out types = {{0}};
    uint32_t list_ticket, open_ticket;

    int r = kvasir_call_begin(conn, &list, NULL, &list_ticket, err);
    if (r < 0)
        return r;
    r = kvasir_call_begin(conn, &open, &args, &open_ticket, err);
    if (r < 0)
        return r;
    r = kvasir_call_finish(conn, &list, list_ticket, &types, err);
    int opened = kvasir_call_finish(conn, &open, open_ticket, NULL, &open_err);
    int type = r == 0 ? choose_auth(&types, uri, err) : r;
    kvasir_free_AUTH_LIST(&types);
    if (type < 0)
        return type;
    if (opened == 0)
        return 0;
    r = authenticate(conn, uri, type, auth, err);
    if (r < 0)
        return r;
    /* Refused for another reason than the missing proof, it is refused again, with the reason. */
    return kvasir_call_CONNECT_OPEN(conn, &args, NULL, err);
}

static const char *usual_uri(void)
{
    static const char *const variables[] = {"KVASIR_DEFAULT_URI", "LIBVIRT_DEFAULT_URI"};
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
        const char *value = getenv(variables[i]);
        if (value && *value)
            return value;
    }
    if (geteuid() != 0)
        return "kvasir:///session";
    return access("/run/kvasir/libvirt-sock", F_OK) == 0 ? "kvasir:///system" : "qemu:///system";
}

int kvasir_open(const char *text, unsigned flags, const struct kvasir_auth *auth,
                struct kvasir_conn **out, struct kvasir_error *err)
{
    struct uri uri;
    if (flags & ~(unsigned)(KVASIR_OPEN_READ_ONLY | KVASIR_OPEN_NO_START))
        return error_invalid(err,
                             "flags %#x of opening; 1 (read-only) and 2 (do not start a "
                             "daemon) are possible",
                             flags);
    int r = uri_parse(text && *text ? text : usual_uri(), &uri, err);
    if (r < 0)
        return r;
    struct kvasir_conn *conn = conn_new(err);
    r = conn ? connect_socket(conn, &uri, flags, err) : -ENOMEM;
    if (r == 0)
        r = introduce(conn, &uri, flags, auth, err);
    uri_free(&uri);
    if (r < 0)
        kvasir_close(conn);
    else
        *out = conn;
    return r;
}
