/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTP server of the metrics; see metrics.h. Everything but start and stop is on its thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/parse.h"
#include "base/util.h"
#include "daemon/metrics/metrics.h"

#define CLIENTS_MAX 16
#define HEAD_MAX KIB(8) /* of a request */
#define PAGE_MAX MIB(64)
#define PATIENCE_NS INT64_C(10000000000) /* for a request, and for its answer to be read */
#define BACKLOG 16

struct metrics_server {
    struct loop loop;
    pthread_t thread;
    int fd;
    char *path; /* of a unix socket; NULL: none */
    struct loop_source source;
    struct list clients;
    unsigned client_count;
    metrics_page_fn *page;
    void *opaque;
};

struct client {
    struct list node;
    struct metrics_server *server;
    int fd;
    struct loop_source source;
    struct loop_timer timer;
    struct buffer in, out;
};

/* --------------------------------------------------------------------- clients */

static void watch_listener(struct metrics_server *server);

static void client_free(void *opaque)
{
    struct client *client = opaque;
    struct metrics_server *server = client->server;
    loop_remove(&client->source);
    loop_timer_cancel(&client->timer);
    list_del(&client->node);
    server->client_count--;
    close(client->fd);
    buffer_free(&client->in);
    buffer_free(&client->out);
    free(client);
    watch_listener(server);
}

/* Answers, and closes when the answer is read: a scraper asks a few times a minute. */
static void client_write(struct client *client)
{
    while (client->out.len) {
        ssize_t n = fd_send(client->fd, buffer_bytes(&client->out), client->out.len, NULL, 0);
        if (n == -EAGAIN) {
            loop_modify(&client->source, EPOLLOUT);
            return;
        }
        if (n < 0)
            break;
        buffer_consume(&client->out, (size_t)n);
    }
    shutdown(client->fd, SHUT_WR);
    client_free(client);
}

static void answer(struct client *client, const char *status, const char *more, const char *type,
                   const struct buffer *body, bool head_only)
{
    int rc = buffer_printf(&client->out,
                           "HTTP/1.1 %s\r\nServer: kvasird\r\nConnection: close\r\n%s"
                           "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                           status, more, type, body->len);
    if (rc == 0 && !head_only)
        rc = buffer_append(&client->out, buffer_bytes(body), body->len);
    if (rc < 0)
        client_free(client);
    else
        client_write(client);
}

static void refuse(struct client *client, const char *status, const char *more)
{
    struct buffer body = BUFFER_INIT(256);
    buffer_printf(&body, "%s; there is /metrics, by GET and HEAD\n", status);
    answer(client, status, more, "text/plain; charset=utf-8", &body, false);
    buffer_free(&body);
}

/* ------------------------------------------------------------------- requests */

/* "GET /metrics?x HTTP/1.1": target is cut at its query. False: it is no request line. */
static bool read_request_line(char *line, char **method, char **target)
{
    char *after = strchr(line, ' '), *version = after ? strchr(after + 1, ' ') : NULL;
    if (!version || strncmp(version + 1, "HTTP/1.", 7) != 0)
        return false;
    *after = *version = '\0';
    *method = line;
    *target = after + 1;
    (*target)[strcspn(*target, "?#")] = '\0';
    return true;
}

static void serve(struct client *client, char *head)
{
    struct metrics_server *server = client->server;
    char *method, *target;
    head[strcspn(head, "\r\n")] = '\0';
    if (!read_request_line(head, &method, &target)) {
        refuse(client, "400 Bad Request", "");
        return;
    }
    bool head_only = strcmp(method, "HEAD") == 0;
    if (!head_only && strcmp(method, "GET") != 0) {
        refuse(client, "405 Method Not Allowed", "Allow: GET, HEAD\r\n");
        return;
    }
    if (strcmp(target, "/metrics") != 0) {
        refuse(client, "404 Not Found", "");
        return;
    }
    struct buffer page = BUFFER_INIT(PAGE_MAX);
    if (server->page(server->opaque, &page) < 0)
        refuse(client, "503 Service Unavailable", "");
    else
        answer(client, "200 OK", "", "text/plain; version=0.0.4; charset=utf-8", &page, head_only);
    buffer_free(&page);
}

static void client_read(struct client *client)
{
    char bytes[4096];
    ssize_t n = read(client->fd, bytes, sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_free(client);
        return;
    }
    if (buffer_append(&client->in, bytes, (size_t)n) < 0) {
        refuse(client, "431 Request Header Fields Too Large", "");
        return;
    }
    /* A body, which a GET has no use for, is not waited for. */
    const uint8_t *all = buffer_bytes(&client->in);
    if (!memmem(all, client->in.len, "\r\n\r\n", 4) && !memmem(all, client->in.len, "\n\n", 2))
        return;
    cleanup_free char *head = strndup((const char *)all, client->in.len);
    if (head)
        serve(client, head);
    else
        client_free(client);
}

static void on_client(void *opaque, uint32_t events)
{
    struct client *client = opaque;
    if (client->out.len)
        client_write(client);
    else
        client_read(client);
}

static void on_listener(void *opaque, uint32_t events)
{
    struct metrics_server *server = opaque;
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *client = fd < 0 ? NULL : calloc(1, sizeof(*client));
    if (!client) {
        if (fd >= 0)
            close(fd);
        return;
    }
    *client = (struct client){.server = server,
                              .fd = fd,
                              .source = LOOP_SOURCE_INIT,
                              .in = BUFFER_INIT(HEAD_MAX),
                              .out = BUFFER_INIT(PAGE_MAX + HEAD_MAX)};
    list_add_tail(&server->clients, &client->node);
    server->client_count++;
    if (loop_add(&server->loop, &client->source, fd, EPOLLIN, on_client, client) < 0) {
        client_free(client);
        return;
    }
    loop_timer_arm(&server->loop, &client->timer, PATIENCE_NS, client_free, client);
    watch_listener(server);
}

/* Those beyond the bound wait in the kernel's queue. */
static void watch_listener(struct metrics_server *server)
{
    bool room = server->client_count < CLIENTS_MAX;
    if (room && !server->source.loop)
        loop_add(&server->loop, &server->source, server->fd, EPOLLIN, on_listener, server);
    else if (!room)
        loop_remove(&server->source);
}

/* --------------------------------------------------------------- start and stop */

static int listen_inet(const char *address, struct kv_error *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at.v4);
    const char *port_text = NULL;
    uint64_t port;
    if (strncmp(address, "127.0.0.1:", 10) == 0) {
        port_text = address + 10;
    } else if (strncmp(address, "[::1]:", 6) == 0) {
        at.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
        size = sizeof(at.v6);
        port_text = address + 6;
    }
    if (!port_text || parse_u64(port_text, &port) < 0 || port > UINT16_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "metrics_listen '%s': unix:/PATH, 127.0.0.1:PORT and [::1]:PORT are "
                            "possible",
                            address);
    at.v4.sin_port = htons((uint16_t)port); /* at the same place in both */
    int on = 1, fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, &at.any, size) < 0 || listen(fd, BACKLOG) < 0) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return kv_error_errno(err, KV_ERR_CONFIG, why, "metrics_listen '%s'", address);
    }
    return fd;
}

static int open_listener(struct metrics_server *server, const char *address, struct kv_error *err)
{
    if (strncmp(address, "unix:/", 6) != 0)
        return listen_inet(address, err);
    int fd = fd_listen_unix(address + 5, err);
    if (fd >= 0 && !(server->path = strdup(address + 5))) {
        close(fd);
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "metrics_listen");
    }
    return fd;
}

static void *run(void *opaque)
{
    struct metrics_server *server = opaque;
    loop_run(&server->loop);
    return NULL;
}

static void server_free(struct metrics_server *server)
{
    list_for_each_safe (node, &server->clients)
        client_free(list_entry(node, struct client, node));
    loop_remove(&server->source);
    loop_destroy(&server->loop);
    if (server->fd >= 0)
        close(server->fd);
    if (server->path)
        unlink(server->path);
    free(server->path);
    free(server);
}

int metrics_server_start(struct metrics_server **out, const char *address, metrics_page_fn *page,
                         void *opaque, struct kv_error *err)
{
    struct metrics_server *server = calloc(1, sizeof(*server));
    if (!server)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "metrics_listen");
    server->fd = -1;
    server->source = LOOP_SOURCE_INIT;
    server->page = page;
    server->opaque = opaque;
    list_init(&server->clients);
    int rc = loop_init(&server->loop, err);
    if (rc < 0) {
        free(server);
        return rc;
    }
    server->fd = rc = open_listener(server, address, err);
    if (rc >= 0) {
        watch_listener(server);
        rc = -pthread_create(&server->thread, NULL, run, server);
        if (rc < 0)
            kv_error_errno(err, KV_ERR_BASE, -rc, "thread");
    }
    if (rc < 0) {
        server_free(server);
        return rc;
    }
    log_info("metrics are told at '%s'", address);
    *out = server;
    return 0;
}

void metrics_server_stop(struct metrics_server *server)
{
    if (!server)
        return;
    loop_stop(&server->loop);
    pthread_join(server->thread, NULL);
    server_free(server);
}
