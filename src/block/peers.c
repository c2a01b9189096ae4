/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Servers to be found again from a sealed process; see peers.h. */
#include "block/peers.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/util.h"
#include "block/block.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct server {
    char *name, *port;
    unsigned first, count; /* in peers */
} servers[PEERS_MAX];
static unsigned server_count;
static struct peer peers[PEERS_MAX];
static unsigned peer_count;
static int (*connector)(void *opaque, unsigned number);
static void *connector_opaque;

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int peers_note(const char *name, const char *port)
{
    int number = -1;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < server_count && number < 0; i++) {
        if (same(servers[i].name, name) && same(servers[i].port, port))
            number = (int)i;
    }
    if (number < 0 && server_count < PEERS_MAX && !block_is_sealed()) {
        struct server *server = &servers[server_count];
        server->name = strdup(name);
        server->port = port ? strdup(port) : NULL;
        if (server->name && !server->port == !port)
            number = (int)server_count++;
    }
    pthread_mutex_unlock(&lock);
    return number;
}

static void add(const struct sockaddr *address, socklen_t len)
{
    if (peer_count == PEERS_MAX || len > sizeof(peers[0].address))
        return;
    memcpy(&peers[peer_count].address, address, len);
    peers[peer_count++].len = len;
}

static void resolve(const struct server *server)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (!server->port) {
        if (strlen(server->name) >= sizeof(local.sun_path))
            return;
        snprintf(local.sun_path, sizeof(local.sun_path), "%s", server->name);
        add((const struct sockaddr *)&local, sizeof(local));
        return;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(server->name, server->port, &hints, &list) != 0)
        return;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        add(a->ai_addr, a->ai_addrlen);
    freeaddrinfo(list);
}

unsigned peers_resolve(const struct peer **out)
{
    for (unsigned i = 0; i < server_count; i++) {
        servers[i].first = peer_count;
        resolve(&servers[i]);
        servers[i].count = peer_count - servers[i].first;
    }
    *out = peers;
    return peer_count;
}

void peers_set_connector(int (*connect)(void *opaque, unsigned number), void *opaque)
{
    connector_opaque = opaque;
    connector = connect;
}

int peers_connect(int server)
{
    int fd = -ENOTCONN;
    if (server < 0 || !connector)
        return fd;
    for (unsigned i = 0; i < servers[server].count && fd < 0; i++)
        fd = connector(connector_opaque, servers[server].first + i);
    return fd;
}
