/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets of servers: where they are on this host, and connecting to them and over the network. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "rpc/client/uri.h"

#define PATHS_MOST 4
#define PATH_BYTES 1024
#define START_PATIENCE_MS 10000 /* until a session's daemon that we started answers */

struct paths {
    char path[PATHS_MOST][PATH_BYTES];
    size_t n;
};

/* Below a user's own run-time folder; /run for the system. */
static void add_path(struct paths *paths, bool session, const char *rest)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
    char *out = paths->path[paths->n++];
    if (!session)
        snprintf(out, PATH_BYTES, "/run/%s", rest);
    else if (runtime && *runtime)
        snprintf(out, PATH_BYTES, "%s/%s", runtime, rest);
    else
        snprintf(out, PATH_BYTES, "%s/.cache/%s", home ? home : "", rest);
}

/* Where the server may listen, the likeliest first. A session has one socket for all. */
static int find_paths(const struct uri *uri, bool read_only, struct paths *paths,
                      struct kvasir_error *err)
{
    char rest[128];
    const char *mode = uri->mode ? uri->mode : "auto";
    const char *suffix = read_only && !uri->session ? "-ro" : "";
    bool direct = strcmp(mode, "legacy") != 0, legacy = strcmp(mode, "direct") != 0;
    if (direct && legacy && strcmp(mode, "auto") != 0)
        return error_invalid(err, "?mode=%s: auto, direct and legacy are possible", mode);
    if (uri->socket) {
        snprintf(paths->path[paths->n++], PATH_BYTES, "%s", uri->socket);
        return 0;
    }
    if (direct && !uri->ours) {
        snprintf(rest, sizeof(rest), "libvirt/virt%.32sd-sock%s", uri->driver, suffix);
        add_path(paths, uri->session, rest);
    }
    if (legacy && !uri->ours) {
        snprintf(rest, sizeof(rest), "libvirt/libvirt-sock%s", suffix);
        add_path(paths, uri->session, rest);
    }
    if (uri->ours || (legacy && strcmp(uri->driver, "qemu") == 0)) {
        snprintf(rest, sizeof(rest), "kvasir/libvirt-sock%s", suffix);
        add_path(paths, uri->session, rest);
    }
    return 0;
}

/* The first that answers. *failed: which one the error is about. */
static int try_paths(const struct paths *paths, size_t *failed)
{
    int error = -ENOENT;
    *failed = paths->n > 1 && paths->n < 4 ? paths->n - 2 : 0;
    for (size_t i = 0; i < paths->n; i++) {
        int fd = fd_connect_unix(paths->path[i]);
        if (fd >= 0)
            return fd;
        /* Somebody who is there and refuses says more than somebody who is not. */
        if (fd != -ENOENT && error == -ENOENT) {
            error = fd;
            *failed = i;
        }
    }
    return error;
}

static int connect_unix(struct kvasir_conn *conn, const struct uri *uri, unsigned flags,
                        struct kvasir_error *err)
{
    struct paths paths = {.n = 0};
    size_t failed;
    int r = find_paths(uri, flags & KVASIR_OPEN_READ_ONLY, &paths, err);
    if (r < 0)
        return r;
    int fd = try_paths(&paths, &failed);
    if ((fd == -ENOENT || fd == -ECONNREFUSED) && uri->session && !uri->socket &&
        !(flags & KVASIR_OPEN_NO_START)) {
        r = spawn_session_daemon(uri, err);
        if (r < 0)
            return r;
        int64_t end = now_ms() + START_PATIENCE_MS;
        while ((fd = try_paths(&paths, &failed)) < 0 && now_ms() < end)
            poll(NULL, 0, 5);
    }
    if (fd < 0)
        return error_errno(err, -fd, "Failed to connect socket to '%s'", paths.path[failed]);
    return conn_use_fd(conn, fd, err);
}

/* -------------------------------------------------------------------------- network */

static int connect_address(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0)
        return -errno;
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

int connect_inet(struct kvasir_conn *conn, const char *host, const char *port,
                 struct kvasir_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found;
    int r = getaddrinfo(host, port, &hints, &found);
    if (r != 0)
        return kvasir_error_fill(err, VIR_ERR_UNKNOWN_HOST, VIR_FROM_RPC, EHOSTUNREACH,
                                 "unable to resolve host '%s' service '%s': %s", host, port,
                                 gai_strerror(r));
    int fd = -EHOSTUNREACH;
    for (const struct addrinfo *address = found; address && fd < 0; address = address->ai_next)
        fd = connect_address(address);
    freeaddrinfo(found);
    if (fd < 0)
        return error_errno(err, -fd, "unable to connect to server at '%s:%s'", host, port);
    return conn_use_fd(conn, fd, err);
}

static int connect_program(struct kvasir_conn *conn, const struct uri *uri,
                           struct kvasir_error *err)
{
    char *const argv[] = {uri->command, NULL};
    return spawn_program(conn, argv, err);
}

int connect_socket(struct kvasir_conn *conn, const struct uri *uri, unsigned flags,
                   struct kvasir_error *err)
{
    int r;
    conn->transport = uri->transport;
    switch (uri->transport) {
    case TRANSPORT_SSH:
        return spawn_ssh(conn, uri, flags & KVASIR_OPEN_READ_ONLY, err);
    case TRANSPORT_EXT:
        return connect_program(conn, uri, err);
    case TRANSPORT_TCP:
        return connect_inet(conn, uri->host, uri->port ? uri->port : "16509", err);
    case TRANSPORT_TLS:
        r = connect_inet(conn, uri->host, uri->port ? uri->port : "16514", err);
        return r < 0 ? r : tls_start(conn, uri, err);
    default:
        return connect_unix(conn, uri, flags, err);
    }
}
