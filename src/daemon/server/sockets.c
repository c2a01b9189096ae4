/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which sockets there are, with which permissions; see sockets.h. */
#include "daemon/server/sockets.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "daemon/server/notify.h"

#define POLKIT_BUS "/run/dbus/system_bus_socket"
#define POLKIT_TOOL "/usr/bin/pkcheck"
#define POLKIT_ACTIONS "/usr/share/polkit-1/actions/"

/* The three sockets of a directory, under libvirt's names. */
enum kind {
    READ_WRITE,
    READ_ONLY,
    ADMIN,
    KINDS,
};
static const char *const names[KINDS] = {"libvirt-sock", "libvirt-sock-ro", "libvirt-admin-sock"};

struct plan {
    enum rpc_auth auth[KINDS];
    unsigned mode[KINDS];
    gid_t group;
};

static bool polkit_runs(void)
{
    return access(POLKIT_BUS, F_OK) == 0 && access(POLKIT_TOOL, X_OK) == 0 &&
           (access(POLKIT_ACTIONS "org.libvirt.unix.policy", F_OK) == 0 ||
            access(POLKIT_ACTIONS "org.kvasir.policy", F_OK) == 0);
}

static int parse_auth(const char *name, const char *value, bool local, enum rpc_auth *out,
                      struct kv_error *err)
{
    if (strcmp(value, "none") == 0)
        *out = RPC_AUTH_NONE;
    else if (strcmp(value, "sasl") == 0)
        *out = RPC_AUTH_SASL;
    else if (local && strcmp(value, "polkit") == 0)
        *out = RPC_AUTH_POLKIT;
    else
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s = \"%s\": possible are none, %ssasl",
                            name, value, local ? "polkit, " : "");
    return 0;
}

static int parse_mode(const char *name, const char *value, unsigned *out, struct kv_error *err)
{
    char *end;
    unsigned long mode = strtoul(value, &end, 8);
    if (!*value || *end || mode > 0777)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s = \"%s\": octal, up to 0777", name,
                            value);
    *out = (unsigned)mode;
    return 0;
}

static int find_group(const char *name, gid_t *out, struct kv_error *err)
{
    static const char *const usual[] = {"libvirt", "kvasir"};
    *out = (gid_t)-1;
    if (name) {
        const struct group *group = getgrnam(name);
        if (!group)
            return kv_error_set(err, KV_ERR_CONFIG, ENOENT,
                                "unix_sock_group = \"%s\": there is no such group", name);
        *out = group->gr_gid;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(usual) && *out == (gid_t)-1 && geteuid() == 0; i++) {
        const struct group *group = getgrnam(usual[i]);
        if (group)
            *out = group->gr_gid;
    }
    return 0;
}

static int make_plan(struct plan *plan, const struct settings *settings, struct kv_error *err)
{
    const char *rw = settings->auth_unix_rw,
               *ro = settings->auth_unix_ro ? settings->auth_unix_ro : "none";
    if (!rw)
        rw = !settings->session && polkit_runs() ? "polkit" : "none";
    *plan = (struct plan){.group = (gid_t)-1};
    int r = parse_auth("auth_unix_rw", rw, true, &plan->auth[READ_WRITE], err);
    if (r == 0)
        r = parse_auth("auth_unix_ro", ro, true, &plan->auth[READ_ONLY], err);
    if (r < 0)
        return r;
    if (settings->session) {
        for (int kind = 0; kind < KINDS; kind++)
            plan->mode[kind] = 0700;
        return 0;
    }
    const char *rw_mode = settings->unix_sock_rw_perms;
    if (!rw_mode)
        rw_mode = plan->auth[READ_WRITE] == RPC_AUTH_POLKIT ? "0777" : "0770";
    r = parse_mode("unix_sock_rw_perms", rw_mode, &plan->mode[READ_WRITE], err);
    if (r == 0)
        r = parse_mode("unix_sock_ro_perms", settings->unix_sock_ro_perms, &plan->mode[READ_ONLY],
                       err);
    if (r == 0)
        r = parse_mode("unix_sock_admin_perms", settings->unix_sock_admin_perms, &plan->mode[ADMIN],
                       err);
    return r < 0 ? r : find_group(settings->unix_sock_group, &plan->group, err);
}

static int listen_in(struct rpc_server *server, const struct settings *settings,
                     const struct plan *plan, const char *dir, struct kv_error *err)
{
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 64];
    for (int kind = 0; kind < KINDS; kind++) {
        if (kind == READ_ONLY && settings->session)
            continue; /* there is one user, and what is theirs is theirs */
        if (snprintf(path, sizeof(path), "%s/%s", dir, names[kind]) >= (int)sizeof(path))
            return kv_error_set(err, KV_ERR_CONFIG, ENAMETOOLONG, "socket directory '%s'", dir);
        const struct rpc_listen_unix how = {
            .path = path,
            .mode = plan->mode[kind],
            .group = kind == READ_WRITE ? plan->group : (gid_t)-1,
            .read_only = kind == READ_ONLY,
            .auth = plan->auth[kind],
        };
        int r = rpc_server_listen_unix(server, kind == ADMIN ? RPC_SERVICE_ADMIN : RPC_SERVICE_MAIN,
                                       &how, err);
        if (r < 0)
            return r;
        log_info("listening on %s", path);
    }
    return 0;
}

/* ----------------------------------------------------------- libvirt's own paths */

/* Whether this machine has another daemon of libvirt, running or not. */
static bool libvirt_is_installed(void)
{
    static const char *const programs[] = {
        "/usr/sbin/libvirtd",
        "/usr/sbin/virtqemud",
        "/usr/local/sbin/libvirtd",
        "/usr/local/sbin/virtqemud",
    };
    char self[4096], other[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n < 0 ? 0 : n] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        if (realpath(programs[i], other) && strcmp(other, self) != 0)
            return true;
    }
    return false;
}

static int listen_like_libvirt(struct rpc_server *server, const struct settings *settings,
                               const struct plan *plan, struct kv_error *err)
{
    char dir[4096] = "/run/libvirt";
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
    if (!settings->libvirt_sockets || settings->socket_dir)
        return 0;
    if (libvirt_is_installed()) {
        log_info("another libvirt daemon is installed: its paths are left to it");
        return 0;
    }
    if (settings->session && runtime && *runtime)
        snprintf(dir, sizeof(dir), "%s/libvirt", runtime);
    else if (settings->session)
        snprintf(dir, sizeof(dir), "%s/.cache/libvirt", home ? home : "");
    if (mkdir(dir, settings->session ? 0700 : 0755) < 0 && errno != EEXIST)
        return kv_error_errno(err, KV_ERR_CONFIG, errno, "directory '%s'", dir);
    return listen_in(server, settings, plan, dir, err);
}

/* ---------------------------------------------------------------------- network */

static int listen_network(struct rpc_server *server, const struct settings *settings,
                          struct kv_error *err)
{
    enum rpc_auth tls_auth, tcp_auth;
    int r = parse_auth("auth_tls", settings->auth_tls, false, &tls_auth, err);
    if (r == 0)
        r = parse_auth("auth_tcp", settings->auth_tcp, false, &tcp_auth, err);
    if (r < 0 || !settings->listen)
        return r;
    if (settings->listen_tls) {
        const struct rpc_tls_config config = {
            .ca_file = settings->ca_file,
            .cert_file = settings->cert_file,
            .key_file = settings->key_file,
            .crl_file = settings->crl_file,
            .priority = settings->tls_priority,
            .allowed_names = (const char *const *)settings->tls_allowed_dn_list,
            .verify_clients = !settings->tls_no_verify_certificate,
        };
        r = rpc_server_set_tls(server, &config, err);
        if (r == 0)
            r = rpc_server_listen_inet(server, settings->listen_addr, settings->tls_port, RPC_TLS,
                                       tls_auth, err);
    }
    if (r == 0 && settings->listen_tcp)
        r = rpc_server_listen_inet(server, settings->listen_addr, settings->tcp_port, RPC_TCP,
                                   tcp_auth, err);
    return r;
}

static bool needs_sasl(const struct settings *settings, const struct plan *plan)
{
    bool network =
        settings->listen && ((settings->listen_tcp && strcmp(settings->auth_tcp, "sasl") == 0) ||
                             (settings->listen_tls && strcmp(settings->auth_tls, "sasl") == 0));
    return network || plan->auth[READ_WRITE] == RPC_AUTH_SASL ||
           plan->auth[READ_ONLY] == RPC_AUTH_SASL;
}

/* ------------------------------------------------------------------- activation */

/* Which of our sockets a descriptor is, by its file's name. */
static enum kind kind_of(const struct sockaddr_un *address)
{
    const char *slash = strrchr(address->sun_path, '/'), *name = slash ? slash + 1 : "";
    if (strstr(name, "admin"))
        return ADMIN;
    size_t len = strlen(name);
    return len > 3 && strcmp(name + len - 3, "-ro") == 0 ? READ_ONLY : READ_WRITE;
}

static int adopt(struct rpc_server *server, const struct plan *plan, int fd, struct kv_error *err)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    memset(&address, 0, sizeof(address));
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return kv_error_errno(err, KV_ERR_CONFIG, errno, "descriptor %d that was handed in", fd);
    if (address.ss_family != AF_UNIX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "descriptor %d that was handed in is no unix socket; sockets of the "
                            "network are opened by --listen",
                            fd);
    enum kind kind = kind_of((const struct sockaddr_un *)&address);
    return rpc_server_listen_fd(server, kind == ADMIN ? RPC_SERVICE_ADMIN : RPC_SERVICE_MAIN, fd,
                                RPC_UNIX, kind == READ_ONLY, plan->auth[kind], err);
}

int sockets_open(struct rpc_server *server, const struct settings *settings, const char *dir,
                 struct kv_error *err)
{
    struct plan plan;
    int r = make_plan(&plan, settings, err);
    if (r == 0 && needs_sasl(settings, &plan))
        r = rpc_server_set_sasl(server, (const char *const *)settings->sasl_allowed_username_list,
                                err);
    unsigned inherited = notify_inherited_fds();
    for (unsigned i = 0; i < inherited && r == 0; i++)
        r = adopt(server, &plan, NOTIFY_FIRST_FD + (int)i, err);
    if (r == 0 && !inherited)
        r = listen_in(server, settings, &plan, dir, err);
    if (r == 0 && !inherited)
        r = listen_like_libvirt(server, settings, &plan, err);
    return r == 0 ? listen_network(server, settings, err) : r;
}
