/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening sockets: made here or handed in, and who is let in. */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "rpc/internal.h"

#define ACCEPTS_AT_ONCE 32
#define LISTEN_TRIES 40
#define LISTEN_PAUSE_MS 50

static void set_address(struct rpc_client *client, const struct sockaddr *address, socklen_t len)
{
    char host[NI_MAXHOST], port[NI_MAXSERV], text[NI_MAXHOST + NI_MAXSERV + 2];
    if (getnameinfo(address, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(text, sizeof(text), "%s:%s", host, port);
    client->address = strdup(text);
    int on = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(client->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

/* False: nobody is there, or nobody more may be let in. */
static bool accept_one(struct rpc_listener *listener)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    int fd = accept4(listener->fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            log_guest("no more clients are let in for now: %s", strerror(errno));
            listener->service->server->no_files = true;
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    struct rpc_client *client = client_new(listener, fd);
    if (!client) {
        close(fd);
        return true;
    }
    if (listener->transport != RPC_UNIX)
        set_address(client, (struct sockaddr *)&address, len);
    if (listener->transport == RPC_TLS && tls_session_start(client) < 0)
        client_close(client);
    else
        client_watch(client);
    return true;
}

bool listener_meets_strangers(const struct rpc_listener *listener)
{
    return listener->auth != RPC_AUTH_NONE || listener->transport == RPC_TLS;
}

/* With the service's lock. Strangers in number keep strangers waiting, not those whom their
 * socket's permissions already let in. */
static bool may_let_in(const struct rpc_listener *listener)
{
    const struct rpc_service *service = listener->service;
    unsigned strangers = service->limits.unproved;
    return !service->server->no_files && service->n_clients < service->limits.clients &&
           (!strangers || !listener_meets_strangers(listener) || service->n_strangers < strangers);
}

static bool may_let_in_now(const struct rpc_listener *listener)
{
    pthread_mutex_lock(&listener->service->lock);
    bool may = may_let_in(listener);
    pthread_mutex_unlock(&listener->service->lock);
    return may;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct rpc_listener *listener = poll->data;
    for (int i = 0; i < ACCEPTS_AT_ONCE && may_let_in_now(listener); i++) {
        if (!accept_one(listener))
            break;
    }
    listeners_update(listener->service->server);
}

/* Clients that would be too many wait outside, in the socket's backlog. */
void listeners_update(struct rpc_server *server)
{
    for (int i = 0; i < RPC_SERVICES; i++) {
        list_for_each (node, &server->services[i].listeners) {
            struct rpc_listener *listener = list_entry(node, struct rpc_listener, node);
            bool open = may_let_in_now(listener);
            if (open == listener->open)
                continue;
            listener->open = open;
            if (open)
                uv_poll_start(&listener->poll, UV_READABLE, on_connection);
            else
                uv_poll_stop(&listener->poll);
        }
    }
}

static void free_listener(uv_handle_t *handle)
{
    struct rpc_listener *listener = handle->data;
    free(listener->path);
    free(listener);
}

void listeners_close(struct rpc_server *server)
{
    for (int i = 0; i < RPC_SERVICES; i++) {
        list_for_each_safe (node, &server->services[i].listeners) {
            struct rpc_listener *listener = list_entry(node, struct rpc_listener, node);
            list_del(&listener->node);
            uv_close((uv_handle_t *)&listener->poll, free_listener);
            if (listener->path)
                unlink(listener->path);
            close(listener->fd);
        }
    }
}

static int add_listener(struct rpc_server *server, const struct rpc_listener *like,
                        struct kv_error *err)
{
    struct rpc_listener *listener = malloc(sizeof(*listener));
    int r = listener ? fd_set_nonblocking(like->fd, true) : -ENOMEM;
    if (r == 0) {
        *listener = *like;
        r = uv_poll_init(&server->loop, &listener->poll, listener->fd);
    }
    if (r < 0) {
        free(listener);
        close(like->fd);
        free(like->path);
        return kv_error_errno(err, KV_ERR_NET, -r, "listening socket");
    }
    listener->poll.data = listener;
    list_add_tail(&listener->service->listeners, &listener->node);
    listeners_update(server);
    return 0;
}

int rpc_server_listen_fd(struct rpc_server *server, enum rpc_service_id service, int fd,
                         enum rpc_transport transport, bool read_only, enum rpc_auth auth,
                         struct kv_error *err)
{
    const struct rpc_listener like = {
        .service = &server->services[service],
        .fd = fd,
        .transport = transport,
        .auth = auth,
        .read_only = read_only,
    };
    return add_listener(server, &like, err);
}

/* A daemon that was killed while it started a machine leaves a child for a moment, which has the
 * socket too and is about to end. */
static int listen_in_place_of_a_dead_one(const char *path, struct kv_error *err)
{
    int fd = fd_listen_unix(path, err);
    for (int i = 0; fd == -EADDRINUSE && i < LISTEN_TRIES; i++) {
        poll(NULL, 0, LISTEN_PAUSE_MS);
        fd = fd_listen_unix(path, err);
    }
    return fd;
}

int rpc_server_listen_unix(struct rpc_server *server, enum rpc_service_id service,
                           const struct rpc_listen_unix *how, struct kv_error *err)
{
    /* Nobody gets in before mode and group are right. */
    mode_t before = umask(0777);
    cleanup_fd int fd = listen_in_place_of_a_dead_one(how->path, err);
    umask(before);
    if (fd < 0)
        return fd;
    listen(fd, SOMAXCONN);
    if ((how->group != (gid_t)-1 && chown(how->path, (uid_t)-1, how->group) < 0) ||
        chmod(how->path, how->mode) < 0) {
        int r =
            kv_error_errno(err, KV_ERR_NET, errno, "socket '%s': mode %o", how->path, how->mode);
        unlink(how->path);
        return r;
    }
    const struct rpc_listener like = {
        .service = &server->services[service],
        .fd = take_fd(&fd),
        .transport = RPC_UNIX,
        .auth = how->auth,
        .read_only = how->read_only,
        .path = strdup(how->path),
    };
    return add_listener(server, &like, err);
}

static int listen_address(const struct addrinfo *at)
{
    int on = 1;
    cleanup_fd int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (at->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
        return -errno;
    return take_fd(&fd);
}

int rpc_server_listen_inet(struct rpc_server *server, const char *host, const char *port,
                           enum rpc_transport transport, enum rpc_auth auth, struct kv_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_ADDRCONFIG};
    struct addrinfo *all;
    int r = getaddrinfo(host, port, &hints, &all);
    if (r != 0)
        return kv_error_set(err, KV_ERR_NET, EADDRNOTAVAIL, "address '%s', port '%s': %s",
                            host ? host : "*", port, gai_strerror(r));
    unsigned listening = 0;
    r = 0;
    for (const struct addrinfo *at = all; at && r == 0; at = at->ai_next) {
        int fd = listen_address(at);
        if (fd < 0)
            r = fd == -EAFNOSUPPORT
                    ? 0
                    : kv_error_errno(err, KV_ERR_NET, -fd, "address '%s', port '%s'",
                                     host ? host : "*", port);
        else
            r = rpc_server_listen_fd(server, RPC_SERVICE_MAIN, fd, transport, false, auth, err);
        listening += fd >= 0 && r == 0;
    }
    freeaddrinfo(all);
    if (r == 0 && !listening)
        r = kv_error_set(err, KV_ERR_NET, EADDRNOTAVAIL, "address '%s': there is none",
                         host ? host : "*");
    return r;
}
