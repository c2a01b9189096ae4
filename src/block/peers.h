/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Servers that a sealed process (block_seal()) may have to connect to again.
 * Network drivers name theirs when they are opened; before it seals itself the
 * process looks their addresses up and starts a connector, somebody outside who
 * connects to these addresses and no others.
 */
#ifndef KV_BLOCK_PEERS_H
#define KV_BLOCK_PEERS_H

#include <sys/socket.h>

#include "base/error.h"

#define PEERS_MAX 64u

struct peer {
    struct sockaddr_storage address;
    socklen_t len;
};

/* Names a server: a unix socket (port NULL) or a host and port. Its number, or -1: there is no
 * room, or the process is sealed already. Any thread. */
int peers_note(const char *path_or_host, const char *port);

/* Looks up what was named. *out: PEERS_MAX at most, static. How many. Once, before sealing. */
unsigned peers_resolve(const struct peer **out);

/* connect: a stream socket, connected or about to be, or -errno; any thread, may wait. number is an
 * index of what peers_resolve() gave. */
void peers_set_connector(int (*connect)(void *opaque, unsigned number), void *opaque);

/* Connects to a server by the number that peers_note() gave, through the connector. */
int peers_connect(int server);

#endif
