/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a connection and what it is; see connect.h. */
#include "daemon/server/connect.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "model/api_error.h"

/* What clients gate on: the API of libvirt 9.0 over a QEMU of 7.2. */
#define API_VERSION (9 * 1000000)
#define VCPUS_MOST 254 /* of one machine */
#define QEMU_VERSION (7 * 1000000 + 2 * 1000)

/* Read-only, and how the client came to us: as an ordinary user (2), having started us (4). */
#define OPEN_FLAGS 7u

/* Numbers of features, as clients ask for them. */
enum feature {
    FEATURE_FD_PASSING = 8,
    FEATURE_TYPED_PARAM_STRING = 9,
    FEATURE_KEEPALIVE = 10,
    FEATURE_XML_MIGRATABLE = 11,
    FEATURE_EVENT_CALLBACK = 14,
    FEATURE_CLOSE_CALLBACK = 15,
    FEATURE_NETWORK_UPDATE_ORDER = 16,
};

/* Text for a reply. */
static int give_text(wire_text *out, const char *text, struct kv_error *err)
{
    *out = strdup(text);
    return *out ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

/* "qemu:///system?socket=..." asked for over any transport is "qemu:///system" to us. */
static bool is_uri(const char *name, const char *uri)
{
    size_t len = strlen(uri);
    return strncmp(name, uri, len) == 0 && (name[len] == '\0' || name[len] == '?');
}

static int connect_open(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_OPEN) *in = args;
    const struct daemon *daemon = rpc_call_opaque(call);
    const char *name = in->name ? *in->name : "";
    if (rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, OPEN_FLAGS, err) < 0)
        return -EINVAL;
    if (*name && strncmp(name, "qemu:", 5) != 0)
        return api_error_from(err, VIR_FROM_NONE, VIR_ERR_NO_CONNECT,
                              "'%s': machines of '%s' are served here", name, daemon->uri);
    if (*name && !is_uri(name, daemon->uri))
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "unexpected QEMU URI path '%s', try %s", name,
                         daemon->uri);
    return 0;
}

static int connect_close(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    rpc_client_say_goodbye(rpc_call_client(call));
    return 0;
}

static int get_type(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(CONNECT_GET_TYPE) *out = ret;
    return give_text(&out->type, "QEMU", err);
}

static int get_version(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(CONNECT_GET_VERSION) *out = ret;
    out->hv_ver = QEMU_VERSION;
    return 0;
}

static int get_lib_version(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(CONNECT_GET_LIB_VERSION) *out = ret;
    out->lib_ver = API_VERSION;
    return 0;
}

static int get_hostname(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(CONNECT_GET_HOSTNAME) *out = ret;
    struct utsname names;
    if (uname(&names) < 0)
        return api_error(err, VIR_ERR_SYSTEM_ERROR, "host name: %s", strerror(errno));
    return give_text(&out->hostname, names.nodename, err);
}

static int get_uri(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(CONNECT_GET_URI) *out = ret;
    const struct daemon *daemon = rpc_call_opaque(call);
    return give_text(&out->uri, daemon->uri, err);
}

static int supports_feature(struct rpc_call *call, const void *args, void *ret,
                            struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_SUPPORTS_FEATURE) *in = args;
    REMOTE_RET(CONNECT_SUPPORTS_FEATURE) *out = ret;
    switch (in->feature) {
    case FEATURE_KEEPALIVE:
        rpc_call_start_keepalive(call);
        out->supported = 1;
        break;
    case FEATURE_FD_PASSING:
    case FEATURE_TYPED_PARAM_STRING:
    case FEATURE_XML_MIGRATABLE:
    case FEATURE_EVENT_CALLBACK:
    case FEATURE_CLOSE_CALLBACK:
    case FEATURE_NETWORK_UPDATE_ORDER:
        out->supported = 1;
        break;
    default:
        out->supported = 0;
    }
    return 0;
}

static int is_secure(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(CONNECT_IS_SECURE) *out = ret;
    out->secure = 1; /* of our side: clients add what their transport is */
    return 0;
}

static int get_max_vcpus(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_GET_MAX_VCPUS) *in = args;
    REMOTE_RET(CONNECT_GET_MAX_VCPUS) *out = ret;
    const char *type = in->type ? *in->type : "kvm";
    if (strcasecmp(type, "kvm") != 0 && strcasecmp(type, "qemu") != 0)
        return api_error(err, VIR_ERR_INVALID_ARG, "unknown type '%s'", type);
    out->max_vcpus = VCPUS_MOST;
    return 0;
}

static int start(struct daemon *daemon, void **opaque, struct kv_error *err)
{
    *opaque = daemon;
    return 0;
}

static const struct rpc_handler handlers[] = {
    {REMOTE_PROC_CONNECT_OPEN, connect_open, RPC_INLINE},
    {REMOTE_PROC_CONNECT_CLOSE, connect_close, RPC_INLINE},
    {REMOTE_PROC_CONNECT_GET_TYPE, get_type, RPC_INLINE},
    {REMOTE_PROC_CONNECT_GET_VERSION, get_version, RPC_INLINE},
    {REMOTE_PROC_CONNECT_GET_LIB_VERSION, get_lib_version, RPC_INLINE},
    {REMOTE_PROC_CONNECT_GET_HOSTNAME, get_hostname, RPC_INLINE},
    {REMOTE_PROC_CONNECT_GET_URI, get_uri, RPC_INLINE},
    {REMOTE_PROC_CONNECT_SUPPORTS_FEATURE, supports_feature, RPC_INLINE},
    {REMOTE_PROC_CONNECT_IS_SECURE, is_secure, RPC_INLINE},
    {REMOTE_PROC_CONNECT_GET_MAX_VCPUS, get_max_vcpus, RPC_INLINE},
    {0},
};

const struct daemon_driver connect_driver = {
    .name = "connection",
    .handlers = handlers,
    .start = start,
};
