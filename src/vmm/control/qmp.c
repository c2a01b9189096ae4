/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QMP server: accepts clients, reads requests and writes answers within
 * bounds. Calling commands is in dispatch.c, events are in broadcast.c.
 * Protocol: QEMU docs/interop/qmp-spec.
 */
#include "vmm/control/qmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/version.h"
#include "vmm/control/qmp_client.h"

#define CLIENTS_MAX 64
#define NAMED_FDS_MAX 256

static void close_received(struct qmp_client *client)
{
    for (size_t i = 0; i < client->fd_count; i++)
        close(client->fds[i]);
    client->fd_count = 0;
}

static void client_free(struct qmp_client *client)
{
    loop_remove(&client->source);
    list_del(&client->node);
    client->server->client_count--;
    close(client->fd);
    close_received(client);
    json_stream_free(&client->in);
    buffer_free(&client->out);
    free(client);
}

static void client_write(struct qmp_client *client)
{
    while (client->out.len && !client->dead) {
        ssize_t n = fd_send(client->fd, buffer_bytes(&client->out), client->out.len, NULL, 0);
        if (n == -EAGAIN)
            break;
        if (n < 0)
            client->dead = true;
        else
            buffer_consume(&client->out, (size_t)n);
    }
}

/* Sends what the socket takes and carries requests out in turn: a client that does not fetch its
 * answers gets no further ones done, and nothing more is read from it. */
static void client_run(struct qmp_client *client)
{
    client_write(client);
    while (client->received_used < client->received_len && !client->dead &&
           client->out.len < CLIENT_OUT_PAUSE) {
        client->received_used += json_stream_feed(
            &client->in, client->received + client->received_used,
            client->received_len - client->received_used, qmp_client_request, client);
        client_write(client);
    }
    uint32_t events = client->out.len ? EPOLLOUT : 0;
    if (client->received_used == client->received_len && client->out.len < CLIENT_OUT_PAUSE)
        events |= EPOLLIN;
    if (!client->dead && client->source.loop && loop_modify(&client->source, events) < 0)
        client->dead = true;
}

void qmp_client_send(struct qmp_client *client, const json_t *message)
{
    if (client->dead)
        return;
    cleanup_free char *text = json_dumps(message, JSON_ENSURE_ASCII);
    if (!text || buffer_append(&client->out, text, strlen(text)) < 0 ||
        buffer_append(&client->out, "\r\n", 2) < 0) {
        log_warning("control: a client that does not read is disconnected (%zu bytes wait)",
                    client->out.len);
        client->dead = true;
    }
}

static void client_read(struct qmp_client *client)
{
    int fds[FD_PASS_MAX];
    size_t nfds = FD_PASS_MAX;
    ssize_t n = fd_receive(client->fd, client->received, sizeof(client->received), fds, &nfds);
    if (nfds) {
        close_received(client);
        memcpy(client->fds, fds, nfds * sizeof(fds[0]));
        client->fd_count = nfds;
    }
    client->received_used = 0;
    client->received_len = n > 0 ? (size_t)n : 0;
    if (n == 0)
        client_write(client);
    if (n <= 0 && n != -EAGAIN)
        client->dead = true;
}

void qmp_client_wake(struct qmp_client *client)
{
    client_run(client);
    if (client->dead)
        client_free(client);
}

static void client_event(void *opaque, uint32_t events)
{
    struct qmp_client *client = opaque;
    if (events & EPOLLIN)
        client_read(client);
    else if (events & (EPOLLHUP | EPOLLERR))
        client->dead = true;
    qmp_client_wake(client);
}

static json_t *greeting(void)
{
    return json_pack("{s:{s:{s:{s:i, s:i, s:i}, s:s}, s:[]}}", "QMP", "version", "qemu", "micro",
                     QMP_VERSION_MICRO, "minor", QMP_VERSION_MINOR, "major", QMP_VERSION_MAJOR,
                     "package", "kvasir " KVASIR_VERSION, "capabilities");
}

int qmp_server_add(struct qmp_server *server, int fd)
{
    struct qmp_client *client =
        server->client_count < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
    int rc = client ? fd_set_nonblocking(fd, true) : -EBUSY;
    if (rc == 0) {
        client->source = LOOP_SOURCE_INIT;
        rc = loop_add(server->loop, &client->source, fd, EPOLLIN, client_event, client);
    }
    if (rc < 0) {
        log_warning("control: a client is turned away: %s", strerror(-rc));
        close(fd);
        free(client);
        return rc;
    }
    client->server = server;
    client->fd = fd;
    client->out = BUFFER_INIT(CLIENT_OUT_MAX);
    json_stream_init(&client->in);
    list_add_tail(&server->clients, &client->node);
    server->client_count++;
    json_t *hello = greeting();
    qmp_client_send(client, hello);
    json_decref(hello);
    qmp_client_wake(client);
    return 0;
}

static void accept_clients(void *opaque, uint32_t events)
{
    struct qmp_server *server = opaque;
    for (;;) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        qmp_server_add(server, fd);
    }
}

int qmp_server_init(struct qmp_server *server, struct loop *loop, struct machine *machine,
                    const struct qmp_command *const *commands, const struct qmp_event *events,
                    int fd, struct kv_error *err)
{
    *server = (struct qmp_server){
        .loop = loop,
        .machine = machine,
        .commands = commands,
        .events = events,
        .fd = fd,
        .listener = LOOP_SOURCE_INIT,
        .flush = {.fn = qmp_flush_clients, .opaque = server},
    };
    list_init(&server->clients);
    list_init(&server->fds);
    list_init(&server->throttles);
    if (fd < 0)
        return 0;
    int rc = fd_set_nonblocking(fd, true);
    if (rc == 0)
        rc = loop_add(loop, &server->listener, fd, EPOLLIN, accept_clients, server);
    if (rc < 0) {
        qmp_server_destroy(server);
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "control socket, descriptor %d", fd);
    }
    return 0;
}

void qmp_server_destroy(struct qmp_server *server)
{
    loop_remove(&server->listener);
    if (server->fd >= 0)
        close(server->fd);
    server->fd = -1;
    list_for_each_safe (node, &server->clients) {
        struct qmp_client *client = list_entry(node, struct qmp_client, node);
        client_write(client);
        client_free(client);
    }
    list_for_each_safe (node, &server->fds) {
        struct qmp_fd *named = list_entry(node, struct qmp_fd, node);
        close(qmp_fd_take(server, named->name));
    }
    qmp_throttle_free_all(server);
}

int qmp_take_descriptor(struct qmp_client *client)
{
    if (client->fd_count == 0)
        return -1;
    int fd = client->fds[0];
    client->fd_count--;
    memmove(client->fds, client->fds + 1, client->fd_count * sizeof(client->fds[0]));
    return fd;
}

bool qmp_negotiate(struct qmp_client *client)
{
    bool was = client->negotiated;
    client->negotiated = true;
    return !was;
}

int qmp_fd_add(struct qmp_server *server, const char *name, int fd, struct kv_error *err)
{
    cleanup_fd int owned = fd;
    int old = qmp_fd_take(server, name);
    if (old >= 0)
        close(old);
    unsigned count = 0;
    list_for_each (node, &server->fds)
        count++;
    if (count >= NAMED_FDS_MAX)
        return kv_error_set(err, KV_ERR_CONTROL, EMFILE, "%d descriptors are named already",
                            NAMED_FDS_MAX);
    struct qmp_fd *named = calloc(1, sizeof(*named));
    char *copy = strdup(name);
    if (!named || !copy) {
        free(named);
        free(copy);
        return kv_error_set(err, KV_ERR_CONTROL, ENOMEM, "out of memory");
    }
    *named = (struct qmp_fd){.name = copy, .fd = take_fd(&owned)};
    list_add_tail(&server->fds, &named->node);
    return 0;
}

int qmp_fd_take(struct qmp_server *server, const char *name)
{
    list_for_each (node, &server->fds) {
        struct qmp_fd *named = list_entry(node, struct qmp_fd, node);
        if (strcmp(named->name, name) == 0) {
            int fd = named->fd;
            list_del(&named->node);
            free(named->name);
            free(named);
            return fd;
        }
    }
    return -1;
}
