/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections: accepting, reading, sending, ending; see server.h. */
#include "switch/ovsdb/server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "switch/ovsdb/monitor.h"

#define SETTLE_ROUNDS 8 /* commits that follow from one another */

/* --- Clients --------------------------------------------------------------- */

struct ovsdb_client *ovsdb_client_new(struct ovsdb_server *server)
{
    struct ovsdb_client *client = calloc(1, sizeof(*client));
    if (!client)
        return NULL;
    client->server = server;
    client->fd = -1;
    client->source = LOOP_SOURCE_INIT;
    client->out = BUFFER_INIT(SERVER_OUT_MAX);
    json_stream_init(&client->in);
    list_init(&client->monitors);
    list_init(&client->waiting);
    list_add_tail(&server->clients, &client->node);
    server->client_count++;
    return client;
}

void ovsdb_client_free(struct ovsdb_client *client)
{
    ovsdb_unlock_all(client);
    ovsdb_client_forget_waiting(client);
    list_for_each_safe (node, &client->monitors)
        monitor_free(list_entry(node, struct monitor, node));
    loop_remove(&client->source);
    if (client->fd >= 0)
        close(client->fd);
    json_stream_free(&client->in);
    buffer_free(&client->out);
    list_del(&client->node);
    client->server->client_count--;
    free(client);
}

void ovsdb_client_send(struct ovsdb_client *client, json_t *message)
{
    char *text = client->dead ? NULL : json_dumps(message, JSON_COMPACT);
    if (text && buffer_append(&client->out, text, strlen(text)) < 0) {
        log_warning("ovsdb: a client does not read what it asked for, and is disconnected");
        client->dead = true;
    }
    free(text);
    json_decref(message);
}

static void write_out(struct ovsdb_client *client)
{
    while (!client->dead && client->out.len) {
        ssize_t n = send(client->fd, buffer_bytes(&client->out), client->out.len, MSG_NOSIGNAL);
        if (n > 0)
            buffer_consume(&client->out, (size_t)n);
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            client->dead = true;
    }
}

/* Sends what there is and watches for what is possible next. */
static void wake(struct ovsdb_client *client)
{
    write_out(client);
    uint32_t events = client->out.len ? EPOLLOUT : 0;
    if (client->out.len < SERVER_OUT_PAUSE)
        events |= EPOLLIN;
    if (client->source.loop && client->source.events != events)
        loop_modify(&client->source, events);
}

static void use_received(struct ovsdb_client *client)
{
    while (!client->dead && client->received_used < client->received_len &&
           client->out.len < SERVER_OUT_PAUSE) {
        client->received_used += json_stream_feed(
            &client->in, client->received + client->received_used,
            client->received_len - client->received_used, ovsdb_client_request, client);
        write_out(client);
    }
}

static void read_in(struct ovsdb_client *client)
{
    if (client->received_used < client->received_len)
        return;
    ssize_t n = recv(client->fd, client->received, sizeof(client->received), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        client->dead = true;
    client->received_used = 0;
    client->received_len = n > 0 ? (size_t)n : 0;
}

/* What one client asked for may concern all. */
void ovsdb_server_flush(struct ovsdb_server *server)
{
    list_for_each_safe (node, &server->clients) {
        struct ovsdb_client *client = list_entry(node, struct ovsdb_client, node);
        wake(client);
    }
    list_for_each_safe (node, &server->clients) {
        struct ovsdb_client *client = list_entry(node, struct ovsdb_client, node);
        if (client->dead)
            ovsdb_client_free(client);
    }
}

static void on_client(void *opaque, uint32_t events)
{
    struct ovsdb_client *client = opaque;
    write_out(client);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_in(client);
    use_received(client);
    ovsdb_server_flush(client->server);
}

int ovsdb_server_add(struct ovsdb_server *server, int fd)
{
    struct ovsdb_client *client =
        server->client_count < SERVER_CLIENTS_MAX ? ovsdb_client_new(server) : NULL;
    if (!client) {
        log_guest("ovsdb: %d clients are there; another one is turned away", SERVER_CLIENTS_MAX);
        close(fd);
        return -EBUSY;
    }
    client->fd = fd;
    int rc = fd_set_nonblocking(fd, true);
    if (rc == 0)
        rc = loop_add(server->loop, &client->source, fd, EPOLLIN, on_client, client);
    if (rc < 0)
        ovsdb_client_free(client);
    return rc;
}

static void on_connection(void *opaque, uint32_t events)
{
    struct ovsdb_server *server = opaque;
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        ovsdb_server_add(server, fd);
}

/* --- The server ------------------------------------------------------------ */

static void committed(void *opaque, const struct database *db)
{
    struct ovsdb_server *server = opaque;
    server->dirty = true;
    list_for_each (node, &server->clients) {
        struct ovsdb_client *client = list_entry(node, struct ovsdb_client, node);
        list_for_each (inner, &client->monitors) {
            json_t *update = monitor_changes(list_entry(inner, struct monitor, node), db);
            if (update)
                ovsdb_client_send(client, update);
        }
    }
}

int ovsdb_server_init(struct ovsdb_server *server, struct loop *loop, struct database *db, int fd,
                      struct kv_error *err)
{
    *server = (struct ovsdb_server){.loop = loop, .db = db, .fd = fd};
    server->listener = LOOP_SOURCE_INIT;
    list_init(&server->clients);
    list_init(&server->locks);
    database_watch(db, (struct database_watcher){.committed = committed, .opaque = server});
    int rc = fd < 0 ? 0 : loop_add(loop, &server->listener, fd, EPOLLIN, on_connection, server);
    return rc < 0 ? kv_error_errno(err, KV_ERR_CONTROL, -rc, "the database's socket") : 0;
}

void ovsdb_server_destroy(struct ovsdb_server *server)
{
    list_for_each_safe (node, &server->clients)
        ovsdb_client_free(list_entry(node, struct ovsdb_client, node));
    loop_remove(&server->listener);
    if (server->fd >= 0)
        close(server->fd);
}

bool ovsdb_server_is_watched(const struct ovsdb_server *server)
{
    list_for_each (node, &server->clients) {
        if (!list_empty(&list_entry(node, struct ovsdb_client, node)->monitors))
            return true;
    }
    return false;
}

void ovsdb_server_settle(struct ovsdb_server *server)
{
    for (unsigned round = 0; server->dirty && round < SETTLE_ROUNDS; round++) {
        server->dirty = false;
        if (server->settle)
            server->settle(server->opaque);
        list_for_each (node, &server->clients)
            ovsdb_client_retry(list_entry(node, struct ovsdb_client, node));
    }
}
