/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The administration program: what virt-admin asks and sets. All on the loop's thread, so that
 * clients do not go away meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libvirt/libvirt-admin.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "model/api_error.h"
#include "rpc/admin_procedure.h"
#include "rpc/internal.h"
#include "rpc/params.h"

#define LIB_VERSION (9 * 1000000) /* of libvirt's API, as we speak it */

static int no_flags(unsigned flags, struct kv_error *err)
{
    if (flags == 0)
        return 0;
    return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_INVALID_ARG,
                          "unsupported flags (0x%x) in a call of the admin program", flags);
}

static struct rpc_service *find_service(struct rpc_call *call, const char *name,
                                        struct kv_error *err)
{
    struct rpc_server *server = call->client->server;
    for (int i = 0; i < RPC_SERVICES; i++) {
        if (strcmp(server->services[i].name, name) == 0)
            return &server->services[i];
    }
    api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_INVALID_ARG,
                   "no server '%s'; there are 'libvirtd' and 'admin'", name);
    return NULL;
}

static struct rpc_client *find_client(struct rpc_service *service, uint64_t id,
                                      struct kv_error *err)
{
    list_for_each (node, &service->clients) {
        struct rpc_client *client = list_entry(node, struct rpc_client, node);
        if (client->id == id)
            return client;
    }
    api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_NO_CLIENT, "no client with id '%llu'",
                   (unsigned long long)id);
    return NULL;
}

static int set_text(wire_text *out, const char *text, struct kv_error *err)
{
    *out = strdup(text);
    return *out ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

static int admin_open(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CONNECT_OPEN) *in = args;
    return no_flags(in->flags, err);
}

static int admin_close(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    return 0;
}

static int lib_version(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    ADMIN_RET(CONNECT_GET_LIB_VERSION) *out = ret;
    out->lib_version = LIB_VERSION;
    return 0;
}

/* ------------------------------------------------------------------- servers */

static int list_servers(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CONNECT_LIST_SERVERS) *in = args;
    ADMIN_RET(CONNECT_LIST_SERVERS) *out = ret;
    int r = no_flags(in->flags, err);
    out->count = RPC_SERVICES;
    if (r < 0 || !in->want_list)
        return r;
    out->servers.servers_val = calloc(RPC_SERVICES, sizeof(wire_admin_server));
    if (!out->servers.servers_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    out->servers.servers_len = RPC_SERVICES;
    for (int i = 0; i < RPC_SERVICES && r == 0; i++)
        r = set_text(&out->servers.servers_val[i].name, call->client->server->services[i].name,
                     err);
    return r;
}

static int lookup_server(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CONNECT_LOOKUP_SERVER) *in = args;
    ADMIN_RET(CONNECT_LOOKUP_SERVER) *out = ret;
    if (no_flags(in->flags, err) < 0 || !find_service(call, in->name, err))
        return -EINVAL;
    return set_text(&out->server.name, in->name, err);
}

static int get_workers(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(SERVER_GET_THREADPOOL_PARAMETERS) *in = args;
    ADMIN_RET(SERVER_GET_THREADPOOL_PARAMETERS) *out = ret;
    const struct rpc_service *service = find_service(call, in->server.name, err);
    if (!service || no_flags(in->flags, err) < 0)
        return -EINVAL;
    struct pool_figures figures;
    pool_get_figures(service->pool, &figures);
    struct params params = PARAMS_INIT;
    params_add_uint(&params, VIR_THREADPOOL_WORKERS_MIN, figures.limits.min);
    params_add_uint(&params, VIR_THREADPOOL_WORKERS_MAX, figures.limits.max);
    params_add_uint(&params, VIR_THREADPOOL_WORKERS_CURRENT, figures.workers);
    params_add_uint(&params, VIR_THREADPOOL_WORKERS_FREE, figures.free);
    params_add_uint(&params, VIR_THREADPOOL_WORKERS_PRIORITY, figures.limits.priority);
    params_add_uint(&params, VIR_THREADPOOL_JOB_QUEUE_DEPTH, figures.waiting);
    return params_give(&params, &out->params.params_val, &out->params.params_len, err);
}

/* A field of a struct that may be set, and its name. */
struct settable {
    const char *name;
    unsigned *value;
};

/* Each parameter once, a number without sign, one of those that may be set. */
static int take_params(const wire_param *params, unsigned n, const struct settable *settable,
                       struct kv_error *err)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = 0;
        while (settable[at].name && strcmp(settable[at].name, params[i].field) != 0)
            at++;
        if (!settable[at].name)
            return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_INVALID_ARG,
                                  "parameter '%s' not supported", params[i].field);
        if (params[i].value.type != VIR_TYPED_PARAM_UINT || (seen & BIT(at)))
            return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_INVALID_ARG,
                                  "parameter '%s' has to be an unsigned number, given once",
                                  params[i].field);
        seen |= BIT(at);
        *settable[at].value = params[i].value.wire_param_value_u.ui;
    }
    return 0;
}

static int set_workers(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(SERVER_SET_THREADPOOL_PARAMETERS) *in = args;
    const struct rpc_service *service = find_service(call, in->server.name, err);
    if (!service || no_flags(in->flags, err) < 0)
        return -EINVAL;
    struct pool_figures figures;
    pool_get_figures(service->pool, &figures);
    const struct settable settable[] = {
        {VIR_THREADPOOL_WORKERS_MIN, &figures.limits.min},
        {VIR_THREADPOOL_WORKERS_MAX, &figures.limits.max},
        {VIR_THREADPOOL_WORKERS_PRIORITY, &figures.limits.priority},
        {NULL},
    };
    struct kv_error why = {0};
    if (take_params(in->params.params_val, in->params.params_len, settable, err) < 0)
        return -EINVAL;
    if (pool_set_limits(service->pool, &figures.limits, &why) < 0)
        return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_INVALID_ARG, "%s", why.message);
    return 0;
}

static int get_limits(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(SERVER_GET_CLIENT_LIMITS) *in = args;
    ADMIN_RET(SERVER_GET_CLIENT_LIMITS) *out = ret;
    struct rpc_service *service = find_service(call, in->server.name, err);
    if (!service || no_flags(in->flags, err) < 0)
        return -EINVAL;
    struct params params = PARAMS_INIT;
    pthread_mutex_lock(&service->lock);
    params_add_uint(&params, VIR_SERVER_CLIENTS_MAX, service->limits.clients);
    params_add_uint(&params, VIR_SERVER_CLIENTS_CURRENT, service->n_clients);
    params_add_uint(&params, VIR_SERVER_CLIENTS_UNAUTH_MAX, service->limits.unproved);
    params_add_uint(&params, VIR_SERVER_CLIENTS_UNAUTH_CURRENT, service->n_strangers);
    pthread_mutex_unlock(&service->lock);
    return params_give(&params, &out->params.params_val, &out->params.params_len, err);
}

static int set_limits(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(SERVER_SET_CLIENT_LIMITS) *in = args;
    struct rpc_service *service = find_service(call, in->server.name, err);
    if (!service || no_flags(in->flags, err) < 0)
        return -EINVAL;
    struct rpc_client_limits limits = service->limits;
    const struct settable settable[] = {
        {VIR_SERVER_CLIENTS_MAX, &limits.clients},
        {VIR_SERVER_CLIENTS_UNAUTH_MAX, &limits.unproved},
        {NULL},
    };
    if (take_params(in->params.params_val, in->params.params_len, settable, err) < 0)
        return -EINVAL;
    if (limits.clients == 0 || limits.unproved > limits.clients)
        return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_INVALID_ARG,
                              "%u clients of which %u are unauthenticated: at least one client has "
                              "to be possible, and not more of these than of all",
                              limits.clients, limits.unproved);
    pthread_mutex_lock(&service->lock);
    service->limits = limits;
    pthread_mutex_unlock(&service->lock);
    listeners_update(call->client->server);
    return 0;
}

static int update_tls(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(SERVER_UPDATE_TLS_FILES) *in = args;
    struct kv_error why = {0};
    if (!find_service(call, in->server.name, err) || no_flags(in->flags, err) < 0)
        return -EINVAL;
    if (tls_reload(call->client->server, &why) < 0)
        return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_SYSTEM_ERROR, "%s", why.message);
    return 0;
}

/* ------------------------------------------------------------------- clients */

static int describe_client(wire_admin_client *out, const struct rpc_client *client,
                           struct kv_error *err)
{
    out->id = client->id;
    out->since = client->connected_at;
    out->transport = client->transport;
    return set_text(&out->server.name, client->service->name, err);
}

static int list_clients(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(SERVER_LIST_CLIENTS) *in = args;
    ADMIN_RET(SERVER_LIST_CLIENTS) *out = ret;
    const struct rpc_service *service = find_service(call, in->server.name, err);
    if (!service || no_flags(in->flags, err) < 0)
        return -EINVAL;
    out->count = service->n_clients;
    if (!in->want_list || !service->n_clients)
        return 0;
    out->clients.clients_val = calloc(service->n_clients, sizeof(wire_admin_client));
    if (!out->clients.clients_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int r = 0;
    list_for_each (node, &service->clients) {
        const struct rpc_client *client = list_entry(node, struct rpc_client, node);
        r = describe_client(&out->clients.clients_val[out->clients.clients_len++], client, err);
        if (r < 0)
            break;
    }
    return r;
}

static int lookup_client(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(SERVER_LOOKUP_CLIENT) *in = args;
    ADMIN_RET(SERVER_LOOKUP_CLIENT) *out = ret;
    struct rpc_service *service = find_service(call, in->server.name, err);
    if (!service || no_flags(in->flags, err) < 0)
        return -EINVAL;
    const struct rpc_client *client = find_client(service, in->id, err);
    return client ? describe_client(&out->client, client, err) : -ENOENT;
}

static void add_unix_facts(struct params *params, const struct rpc_client *client)
{
    char room[4096];
    struct passwd user, *user_found = NULL;
    struct group group, *group_found = NULL;
    params_add_int(params, VIR_CLIENT_INFO_UNIX_USER_ID, (int)client->uid);
    if (getpwuid_r(client->uid, &user, room, sizeof(room), &user_found) == 0 && user_found)
        params_add_text(params, VIR_CLIENT_INFO_UNIX_USER_NAME, user.pw_name);
    params_add_int(params, VIR_CLIENT_INFO_UNIX_GROUP_ID, (int)client->gid);
    if (getgrgid_r(client->gid, &group, room, sizeof(room), &group_found) == 0 && group_found)
        params_add_text(params, VIR_CLIENT_INFO_UNIX_GROUP_NAME, group.gr_name);
    params_add_int(params, VIR_CLIENT_INFO_UNIX_PROCESS_ID, client->pid);
}

static int client_info(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CLIENT_GET_INFO) *in = args;
    ADMIN_RET(CLIENT_GET_INFO) *out = ret;
    struct rpc_service *service = find_service(call, in->client.server.name, err);
    if (!service || no_flags(in->flags, err) < 0)
        return -EINVAL;
    const struct rpc_client *client = find_client(service, in->client.id, err);
    if (!client)
        return -ENOENT;
    struct params params = PARAMS_INIT;
    params_add_bool(&params, VIR_CLIENT_INFO_READONLY, client->read_only);
    if (client->transport == RPC_UNIX)
        add_unix_facts(&params, client);
    if (client->address)
        params_add_text(&params, VIR_CLIENT_INFO_SOCKET_ADDR, client->address);
    if (client->x509_name)
        params_add_text(&params, VIR_CLIENT_INFO_X509_DISTINGUISHED_NAME, client->x509_name);
    if (client->sasl_user)
        params_add_text(&params, VIR_CLIENT_INFO_SASL_USER_NAME, client->sasl_user);
    return params_give(&params, &out->params.params_val, &out->params.params_len, err);
}

static int client_disconnect(struct rpc_call *call, const void *args, void *ret,
                             struct kv_error *err)
{
    const ADMIN_ARGS(CLIENT_CLOSE) *in = args;
    struct rpc_service *service = find_service(call, in->client.server.name, err);
    if (!service || no_flags(in->flags, err) < 0)
        return -EINVAL;
    struct rpc_client *client = find_client(service, in->client.id, err);
    if (!client)
        return -ENOENT;
    client_post(client, POST_CLOSE);
    return 0;
}

/* -------------------------------------------------------------------- logging */

/* libvirt's numbers: 1 debug, 2 information, 3 warning, 4 error. */
static const enum log_level levels[] = {
    [1] = LOG_DEBUG, [2] = LOG_INFO, [3] = LOG_WARNING, [4] = LOG_ERROR};

static char log_path[4096]; /* loop; empty: stderr */

static int get_outputs(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CONNECT_GET_LOGGING_OUTPUTS) *in = args;
    ADMIN_RET(CONNECT_GET_LOGGING_OUTPUTS) *out = ret;
    int level = log_level == LOG_ERROR     ? 4
                : log_level == LOG_WARNING ? 3
                : log_level == LOG_INFO    ? 2
                                           : 1;
    out->count = 1;
    if (no_flags(in->flags, err) < 0)
        return -EINVAL;
    if (asprintf(&out->outputs, "%d:%s%s", level, *log_path ? "file:" : "stderr", log_path) < 0) {
        out->outputs = NULL;
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    return 0;
}

static int set_file(const char *path, struct kv_error *err)
{
    static int current = -1;
    if (!path) {
        log_set_fd(2);
        log_path[0] = '\0';
    } else {
        int fd = *path == '/' && strlen(path) < sizeof(log_path)
                     ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)
                     : (errno = EINVAL, -1);
        if (fd < 0)
            return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_SYSTEM_ERROR, "log file '%s': %s",
                                  path, strerror(errno));
        log_set_fd(fd);
        memccpy(log_path, path, '\0', sizeof(log_path));
        if (current >= 0)
            close(current);
        current = fd;
    }
    return 0;
}

/* "LEVEL:stderr" or "LEVEL:file:/path", one. */
static int set_outputs(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CONNECT_SET_LOGGING_OUTPUTS) *in = args;
    const char *text = in->text ? *in->text : "2:stderr";
    if (no_flags(in->flags, err) < 0)
        return -EINVAL;
    if (!*text)
        text = "2:stderr";
    bool good = text[0] >= '1' && text[0] <= '4' && text[1] == ':' && !strpbrk(text, " \t\n");
    const char *where = text + 2;
    bool file = good && strncmp(where, "file:", 5) == 0;
    if (!good || (!file && strcmp(where, "stderr") != 0))
        return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_INVALID_ARG,
                              "log output '%s': one 'LEVEL:stderr' or 'LEVEL:file:/PATH' is "
                              "possible, with a level of 1 to 4",
                              text);
    if (set_file(file ? where + 5 : NULL, err) < 0)
        return -EIO;
    log_level = levels[text[0] - '0'];
    return 0;
}

static int get_filters(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CONNECT_GET_LOGGING_FILTERS) *in = args;
    return no_flags(in->flags, err);
}

static int set_filters(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CONNECT_SET_LOGGING_FILTERS) *in = args;
    const char *text = in->text ? *in->text : "";
    if (no_flags(in->flags, err) < 0)
        return -EINVAL;
    if (*text)
        return api_error_from(err, VIR_FROM_ADMIN, VIR_ERR_CONFIG_UNSUPPORTED,
                              "log filter '%s': the level is the same for all parts, set it with "
                              "the output",
                              text);
    return 0;
}

static int set_timeout(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const ADMIN_ARGS(CONNECT_SET_DAEMON_TIMEOUT) *in = args;
    int r = no_flags(in->flags, err);
    if (r == 0)
        atomic_store(&call->client->server->idle_timeout, in->seconds);
    return r;
}

const struct rpc_handler admin_handlers[] = {
    {ADMIN_PROC_CONNECT_OPEN, admin_open, RPC_INLINE},
    {ADMIN_PROC_CONNECT_CLOSE, admin_close, RPC_INLINE},
    {ADMIN_PROC_CONNECT_GET_LIB_VERSION, lib_version, RPC_INLINE},
    {ADMIN_PROC_CONNECT_LIST_SERVERS, list_servers, RPC_INLINE},
    {ADMIN_PROC_CONNECT_LOOKUP_SERVER, lookup_server, RPC_INLINE},
    {ADMIN_PROC_SERVER_GET_THREADPOOL_PARAMETERS, get_workers, RPC_INLINE},
    {ADMIN_PROC_SERVER_SET_THREADPOOL_PARAMETERS, set_workers, RPC_INLINE},
    {ADMIN_PROC_SERVER_LIST_CLIENTS, list_clients, RPC_INLINE},
    {ADMIN_PROC_SERVER_LOOKUP_CLIENT, lookup_client, RPC_INLINE},
    {ADMIN_PROC_CLIENT_GET_INFO, client_info, RPC_INLINE},
    {ADMIN_PROC_CLIENT_CLOSE, client_disconnect, RPC_INLINE},
    {ADMIN_PROC_SERVER_GET_CLIENT_LIMITS, get_limits, RPC_INLINE},
    {ADMIN_PROC_SERVER_SET_CLIENT_LIMITS, set_limits, RPC_INLINE},
    {ADMIN_PROC_CONNECT_GET_LOGGING_OUTPUTS, get_outputs, RPC_INLINE},
    {ADMIN_PROC_CONNECT_GET_LOGGING_FILTERS, get_filters, RPC_INLINE},
    {ADMIN_PROC_CONNECT_SET_LOGGING_OUTPUTS, set_outputs, RPC_INLINE},
    {ADMIN_PROC_CONNECT_SET_LOGGING_FILTERS, set_filters, RPC_INLINE},
    {ADMIN_PROC_SERVER_UPDATE_TLS_FILES, update_tls, RPC_INLINE},
    {ADMIN_PROC_CONNECT_SET_DAEMON_TIMEOUT, set_timeout, RPC_INLINE},
    {0},
};
