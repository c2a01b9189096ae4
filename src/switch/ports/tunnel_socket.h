/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket that datagrams for tunnels arrive at: one for each kind, IP version and port, shared
 * by all tunnels that want it, which are told apart by who sent a datagram, its VNI, and the
 * address that it was sent to. The forwarding thread reads it while it polls the first of them.
 * Made and ended by the control thread, else the forwarding thread's.
 */
#ifndef KV_SWITCH_PORTS_TUNNEL_SOCKET_H
#define KV_SWITCH_PORTS_TUNNEL_SOCKET_H

#include "base/error.h"
#include "switch/ports/tunnel.h"

#define TUNNEL_BUCKETS 256

struct tunnel_socket {
    enum tunnel_kind kind;
    int family, fd;
    uint16_t port;
    unsigned users;          /* tunnels; the control thread's, as the next two */
    struct forward *forward; /* whose tunnels hear, or NULL */
    struct list node;        /* among all */
    struct list members;     /* tunnels that hear; the first one's poll reads */
    struct tunnel_port *buckets[TUNNEL_BUCKETS];
    uint64_t malformed, unknown; /* datagrams that are no packets; that are no tunnel's */
};

/* The socket of such tunnels, which is there already or made. NULL with err. */
struct tunnel_socket *tunnel_socket_get(const struct tunnel_settings *settings,
                                        struct kv_error *err);
void tunnel_socket_put(struct tunnel_socket *socket);
/* To the next process (inherited.h). */
void tunnel_socket_give(const struct tunnel_socket *socket, struct bequest *bequest);

/* On the forwarding thread, one for all tunnels of a socket: the tunnel hears from now on, or no
 * more. -EEXIST: another one has its addresses and VNI. */
int tunnel_socket_join(struct tunnel_socket *socket, struct tunnel_port *tunnel);
void tunnel_socket_leave(struct tunnel_socket *socket, struct tunnel_port *tunnel);

/* Takes in what arrived, if the tunnel is the one that does; false: there was nothing. */
bool tunnel_socket_poll(struct tunnel_socket *socket, const struct tunnel_port *tunnel);

/* For tests: what a datagram or a train of them (size: bytes of each but the last) holds goes to
 * its tunnel's bridge. local: where it was sent to. */
void tunnel_socket_take(struct tunnel_socket *socket, const struct tunnel_address *remote,
                        const struct tunnel_address *local, const uint8_t *data, size_t len,
                        size_t size);

#endif
