/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD server: listeners, exports, and the lives of connections. Listeners and
 * the list of connections belong to the server's thread; exports lie under its
 * lock, because clients look for them from their own threads.
 */
#include "block/nbd_server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "block/nbd_protocol.h"
#include "block/nbd_server_internal.h"

#define LISTENERS_MAX 16
#define CONNECTIONS_DEFAULT 64
#define TIMEOUT_DEFAULT_S 10
#define BACKLOG 128
#define ACCEPT_PAUSE_NS INT64_C(200000000) /* after accept() failed for want of something */

struct nbd_server {
    struct nbd_server_options options;
    struct iothread thread;

    /* The server's thread. */
    struct listener {
        struct loop_source source;
        int fd;
        char *path; /* to unlink; NULL: none */
    } listeners[LISTENERS_MAX];
    unsigned listener_count;
    struct loop_timer pause;
    struct list connections;
    unsigned next_number;
    bool closing;

    pthread_mutex_t lock; /* for what follows and the exports */
    pthread_cond_t idle;  /* a connection ended or left its export */
    struct list exports;
    unsigned clients;
};

/* -------------------------------------------------------------------- exports */

static void export_free(struct nbd_export *export)
{
    if (!export)
        return;
    for (unsigned i = 0; i < export->bitmap_count; i++)
        free((char *)export->bitmaps[i].name);
    block_root_free(export->root);
    free(export->name);
    free(export->description);
    free(export);
}

static struct nbd_export *export_new(const struct nbd_export_options *options, struct kv_error *err)
{
    struct nbd_export *export =
        calloc(1, sizeof(*export) + options->bitmap_count * sizeof(export->bitmaps[0]));
    bool whole = export != NULL;
    if (export) {
        export->info = *block_get_info(options->node);
        export->readonly = options->readonly || export->info.readonly;
        export->allocation_depth = options->allocation_depth;
        export->name = strdup(options->name);
        export->description = options->description ? strdup(options->description) : NULL;
        whole = export->name && !export->description == !options->description;
    }
    for (unsigned i = 0; export && i < options->bitmap_count; i++) {
        export->bitmaps[i] = options->bitmaps[i];
        export->bitmaps[i].name = strdup(options->bitmaps[i].name);
        export->bitmap_count++;
        whole = whole && export->bitmaps[i].name;
    }
    int rc = whole ? block_root_create(
                         &export->root, options->node, options->name,
                         BLOCK_USE_SHARE_WRITE | (export->readonly ? 0 : BLOCK_USE_WRITE), err)
                   : kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "NBD export '%s': out of memory",
                                  options->name);
    if (rc == 0)
        return export;
    export_free(export);
    return NULL;
}

/* Under the lock. */
static struct nbd_export *export_find(struct nbd_server *server, const char *name)
{
    list_for_each (node, &server->exports) {
        struct nbd_export *export = list_entry(node, struct nbd_export, node);
        if (!export->removed && strcmp(export->name, name) == 0)
            return export;
    }
    return NULL;
}

static int check_export(const struct nbd_export_options *options, struct kv_error *err)
{
    if (strlen(options->name) > NBD_NAME_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, ENAMETOOLONG,
                            "NBD export: a name of %zu bytes; at most %d are allowed",
                            strlen(options->name), NBD_NAME_MAX);
    if (options->description && strlen(options->description) > NBD_NAME_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, ENAMETOOLONG,
                            "NBD export '%s': a description of %zu bytes; at most %d are allowed",
                            options->name, strlen(options->description), NBD_NAME_MAX);
    if (options->bitmap_count > NBD_BITMAPS_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, E2BIG,
                            "NBD export '%s': %u bitmaps; at most %d are allowed", options->name,
                            options->bitmap_count, NBD_BITMAPS_MAX);
    for (unsigned i = 0; i < options->bitmap_count; i++)
        if (strlen(options->bitmaps[i].name) > 1023)
            return kv_error_set(err, KV_ERR_BLOCK, ENAMETOOLONG,
                                "NBD export '%s': a bitmap's name of %zu bytes; at most 1023 are "
                                "allowed",
                                options->name, strlen(options->bitmaps[i].name));
    return 0;
}

int nbd_server_add_export(struct nbd_server *server, const struct nbd_export_options *options,
                          struct kv_error *err)
{
    int rc = check_export(options, err);
    if (rc < 0)
        return rc;
    struct kv_error own = {0};
    err = err ? err : &own;
    struct nbd_export *export = export_new(options, err);
    if (!export)
        return -err->code;
    pthread_mutex_lock(&server->lock);
    bool exists = export_find(server, options->name) != NULL;
    if (!exists)
        list_add_tail(&server->exports, &export->node);
    pthread_mutex_unlock(&server->lock);
    if (!exists)
        return 0;
    export_free(export);
    return kv_error_set(err, KV_ERR_BLOCK, EEXIST, "NBD export '%s' exists already", options->name);
}

struct nbd_export *nbd_export_use(struct nbd_connection *conn, const char *name)
{
    struct nbd_server *server = conn->server;
    pthread_mutex_lock(&server->lock);
    struct nbd_export *export = export_find(server, name);
    if (export) {
        export->users++;
        conn->export = export;
    }
    pthread_mutex_unlock(&server->lock);
    return export;
}

uint64_t nbd_export_size(struct nbd_export *export)
{
    uint64_t size = block_get_info(block_root_enter(export->root))->size;
    block_root_leave(export->root);
    __atomic_store_n(&export->info.size, size, __ATOMIC_RELEASE);
    return size;
}

void nbd_export_leave(struct nbd_connection *conn)
{
    struct nbd_server *server = conn->server;
    pthread_mutex_lock(&server->lock);
    if (conn->export)
        conn->export->users--;
    conn->export = NULL;
    pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

int nbd_export_each(struct nbd_server *server,
                    int (*fn)(void *opaque, const struct nbd_export *export), void *opaque)
{
    int rc = 0;
    pthread_mutex_lock(&server->lock);
    list_for_each (node, &server->exports) {
        rc = fn(opaque, list_entry(node, struct nbd_export, node));
        if (rc < 0)
            break;
    }
    pthread_mutex_unlock(&server->lock);
    return rc;
}

unsigned nbd_server_export_users(struct nbd_server *server, const char *name)
{
    pthread_mutex_lock(&server->lock);
    const struct nbd_export *export = export_find(server, name);
    unsigned users = export ? export->users : 0;
    pthread_mutex_unlock(&server->lock);
    return users;
}

struct removal {
    struct nbd_server *server;
    struct nbd_export *export;
};

/* On the server's thread, which alone closes descriptors of clients. */
static void disconnect_users(void *opaque)
{
    struct removal *removal = opaque;
    struct nbd_server *server = removal->server;
    pthread_mutex_lock(&server->lock);
    list_for_each (node, &server->connections) {
        struct nbd_connection *conn = list_entry(node, struct nbd_connection, node);
        if (conn->export == removal->export)
            shutdown(conn->channel.fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&server->lock);
}

int nbd_server_remove_export(struct nbd_server *server, const char *name, struct kv_error *err)
{
    pthread_mutex_lock(&server->lock);
    struct nbd_export *export = export_find(server, name);
    if (export) {
        export->removed = true;
        list_del(&export->node);
    }
    pthread_mutex_unlock(&server->lock);
    if (!export)
        return kv_error_set(err, KV_ERR_BLOCK, ENOENT, "NBD export '%s' does not exist", name);

    struct removal removal = {server, export};
    loop_call(&server->thread.loop, disconnect_users, &removal);
    pthread_mutex_lock(&server->lock);
    while (export->users)
        pthread_cond_wait(&server->idle, &server->lock);
    pthread_mutex_unlock(&server->lock);
    export_free(export);
    return 0;
}

/* ---------------------------------------------------------------- connections */

const struct nbd_server_options *nbd_server_options(const struct nbd_server *server)
{
    return &server->options;
}

unsigned nbd_server_clients(struct nbd_server *server)
{
    pthread_mutex_lock(&server->lock);
    unsigned clients = server->clients;
    pthread_mutex_unlock(&server->lock);
    return clients;
}

static void accept_clients(void *opaque, uint32_t events);

/* Watches the listeners while there is room for a client. */
static void update_listeners(struct nbd_server *server)
{
    bool open = !server->closing && !server->pause.loop &&
                nbd_server_clients(server) < server->options.max_connections;
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct listener *listener = &server->listeners[i];
        if (!open)
            loop_remove(&listener->source);
        else if (!listener->source.loop)
            loop_add(&server->thread.loop, &listener->source, listener->fd, EPOLLIN, accept_clients,
                     server);
    }
}

static void resume(void *opaque)
{
    update_listeners(opaque);
}

static void report_end(const struct nbd_connection *conn, int rc, const struct kv_error *err)
{
    if (rc < 0)
        log_guest("nbd: client %u ended: %s", conn->number,
                  err->code ? err->message : strerror(-rc));
    else
        log_debug("nbd: client %u left", conn->number);
}

static void *connection_main(void *opaque)
{
    struct nbd_connection *conn = opaque;
    struct kv_error err = {0};
    int rc = nbd_handshake(conn, &err);
    if (rc == 0 && conn->export) {
        log_debug("nbd: client %u uses export '%s'", conn->number, conn->export->name);
        conn->served = true;
        rc = nbd_transmission(conn, &err);
    }
    report_end(conn, rc, &err);
    nbd_export_leave(conn);
    loop_post(&conn->server->thread.loop, &conn->ended);
    return NULL;
}

static void connection_free(struct nbd_connection *conn)
{
    struct nbd_server *server = conn->server;
    list_del(&conn->node);
    nbd_channel_close(&conn->channel);
    free(conn);
    pthread_mutex_lock(&server->lock);
    server->clients--;
    pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

/* On the server's thread: the client's own is at its end. */
static void connection_ended(void *opaque)
{
    struct nbd_connection *conn = opaque;
    struct nbd_server *server = conn->server;
    bool served = conn->served;
    unsigned left = 0;
    pthread_join(conn->thread, NULL);
    connection_free(conn);
    list_for_each (node, &server->connections)
        left += list_entry(node, struct nbd_connection, node)->served;
    update_listeners(server);
    if (served && server->options.client_left)
        server->options.client_left(server->options.opaque, left);
}

static int start_client(struct nbd_server *server, int fd, struct kv_error *err)
{
    const int on = 1;
    struct nbd_connection *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        close(fd);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "NBD client: out of memory");
    }
    /* Both fail on unix sockets, which need neither. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    conn->server = server;
    conn->number = ++server->next_number;
    conn->ended = (struct loop_work){.fn = connection_ended, .opaque = conn};
    nbd_channel_init(&conn->channel, fd,
                     clock_monotonic_ns() +
                         (int64_t)server->options.handshake_timeout_s * 1000000000);
    list_add_tail(&server->connections, &conn->node);
    pthread_mutex_lock(&server->lock);
    server->clients++;
    pthread_mutex_unlock(&server->lock);

    int rc = thread_start(&conn->thread, THREAD_IO, "nbd-client", connection_main, conn);
    if (rc < 0) {
        connection_free(conn);
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "NBD client: no thread for it");
    }
    return 0;
}

static void accept_clients(void *opaque, uint32_t events)
{
    struct nbd_server *server = opaque;
    for (unsigned i = 0; i < server->listener_count; i++) {
        if (!server->listeners[i].source.loop)
            continue;
        struct kv_error err = {0};
        int fd = accept4(server->listeners[i].fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            if (start_client(server, fd, &err) < 0)
                log_warning("nbd: %s", err.message);
        } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_guest("nbd: a client cannot be accepted: %s", strerror(errno));
            loop_timer_arm(&server->thread.loop, &server->pause, ACCEPT_PAUSE_NS, resume, server);
        }
        update_listeners(server);
    }
}

struct addition {
    struct nbd_server *server;
    int fd, rc;
    const char *path; /* of a listener's socket; NULL: none */
    struct kv_error *err;
};

static void add_client(void *opaque)
{
    struct addition *addition = opaque;
    struct nbd_server *server = addition->server;
    if (nbd_server_clients(server) < server->options.max_connections) {
        addition->rc = start_client(server, addition->fd, addition->err);
        return;
    }
    close(addition->fd);
    addition->rc = kv_error_set(addition->err, KV_ERR_BLOCK, EBUSY,
                                "NBD server: %u clients are connected, the most allowed",
                                server->options.max_connections);
}

int nbd_server_add_client(struct nbd_server *server, int fd, struct kv_error *err)
{
    struct addition addition = {.server = server, .fd = fd, .err = err};
    loop_call(&server->thread.loop, add_client, &addition);
    return addition.rc;
}

/* ------------------------------------------------------------------ listeners */

static void add_listener(void *opaque)
{
    struct addition *addition = opaque;
    struct nbd_server *server = addition->server;
    char *path = addition->path ? strdup(addition->path) : NULL;
    if (server->listener_count == LISTENERS_MAX || !path != !addition->path) {
        free(path);
        addition->rc = kv_error_set(addition->err, KV_ERR_BLOCK, ENOBUFS,
                                    "NBD server: at most %d listeners", LISTENERS_MAX);
        return;
    }
    server->listeners[server->listener_count++] =
        (struct listener){.source = LOOP_SOURCE_INIT, .fd = take_fd(&addition->fd), .path = path};
    update_listeners(server);
}

static int listen_on(struct nbd_server *server, int fd, const char *path, struct kv_error *err)
{
    struct addition addition = {.server = server, .fd = fd, .path = path, .err = err};
    loop_call(&server->thread.loop, add_listener, &addition);
    if (addition.fd >= 0)
        close(addition.fd);
    return addition.rc;
}

int nbd_server_listen_unix(struct nbd_server *server, const char *path, struct kv_error *err)
{
    int fd = fd_listen_unix(path, err);
    return fd < 0 ? fd : listen_on(server, fd, path, err);
}

int nbd_server_listen_fd(struct nbd_server *server, int fd, struct kv_error *err)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
        close(fd);
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "NBD server: descriptor %d is not a listening socket", fd);
    }
    fd_set_nonblocking(fd, true);
    return listen_on(server, fd, NULL, err);
}

static int listen_address(struct nbd_server *server, const struct addrinfo *address,
                          struct kv_error *err)
{
    const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "NBD server: socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int rc = kv_error_errno(err, KV_ERR_BLOCK, errno, "NBD server: cannot listen");
        close(fd);
        return rc;
    }
    return listen_on(server, fd, NULL, err);
}

/* A machine may lack IPv6: one address that can be had is enough. */
int nbd_server_listen_tcp(struct nbd_server *server, const char *host, const char *port,
                          struct kv_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host, port, &hints, &found);
    if (status)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "NBD server: address '%s', port '%s': %s",
                            host ? host : "*", port, gai_strerror(status));
    int rc = -EADDRNOTAVAIL;
    bool any = false;
    for (const struct addrinfo *address = found; address; address = address->ai_next) {
        rc = listen_address(server, address, err);
        any = any || rc == 0;
    }
    freeaddrinfo(found);
    return any ? 0 : kv_error_prefix(err, "address '%s', port '%s'", host ? host : "*", port);
}

/* --------------------------------------------------------------------- server */

int nbd_server_create(struct nbd_server **out, const struct nbd_server_options *options,
                      struct kv_error *err)
{
    struct nbd_server *server = calloc(1, sizeof(*server));
    if (!server)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "NBD server: out of memory");
    server->options = *options;
    if (!server->options.max_connections)
        server->options.max_connections = CONNECTIONS_DEFAULT;
    if (!server->options.handshake_timeout_s)
        server->options.handshake_timeout_s = TIMEOUT_DEFAULT_S;
    list_init(&server->connections);
    list_init(&server->exports);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->idle, NULL);
    int rc = iothread_init(&server->thread, "nbd-server", err);
    if (rc == 0) {
        rc = iothread_start(&server->thread, err);
        if (rc < 0)
            iothread_stop(&server->thread);
    }
    if (rc < 0) {
        free(server);
        return rc;
    }
    *out = server;
    return 0;
}

static void close_all(void *opaque)
{
    struct nbd_server *server = opaque;
    server->closing = true;
    loop_timer_cancel(&server->pause);
    update_listeners(server);
    for (unsigned i = 0; i < server->listener_count; i++) {
        close(server->listeners[i].fd);
        if (server->listeners[i].path)
            unlink(server->listeners[i].path);
        free(server->listeners[i].path);
    }
    server->listener_count = 0;
    list_for_each (node, &server->connections)
        shutdown(list_entry(node, struct nbd_connection, node)->channel.fd, SHUT_RDWR);
}

void nbd_server_free(struct nbd_server *server)
{
    if (!server)
        return;
    loop_call(&server->thread.loop, close_all, server);
    pthread_mutex_lock(&server->lock);
    while (server->clients)
        pthread_cond_wait(&server->idle, &server->lock);
    pthread_mutex_unlock(&server->lock);
    iothread_stop(&server->thread);
    list_for_each_safe (node, &server->exports)
        export_free(list_entry(node, struct nbd_export, node));
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
