/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tunnel: a port whose other end is a switch elsewhere, which gets frames in UDP datagrams, by
 * VXLAN (RFC 7348) or Geneve (RFC 8926). The datagrams are the host's own: it routes them, cuts
 * trains of them (UDP GSO) and joins what arrives to trains (UDP GRO). Tunnels of one kind, IP
 * version and destination port hear at one socket (tunnel_socket.h); each has sockets of its own to
 * send from, whose ports tell flows apart to routers on the way.
 */
#ifndef KV_SWITCH_PORTS_TUNNEL_H
#define KV_SWITCH_PORTS_TUNNEL_H

#include <netinet/in.h>

#include "base/error.h"
#include "switch/ports/inherited.h"
#include "switch/ports/port.h"
#include "switch/ports/tunnel_header.h"

struct tunnel_socket;

/* Addresses as they are in sockaddrs; IPv4's have 4 bytes. */
struct tunnel_address {
    uint8_t bytes[16];
};

struct tunnel_settings {
    enum tunnel_kind kind;
    int family;                          /* AF_INET, AF_INET6 */
    struct tunnel_address remote, local; /* local all 0: whatever the host takes */
    uint32_t vni;
    uint16_t dst_port;
    uint8_t tos, ttl;  /* ttl 0: as the host has it */
    bool tos_of_frame; /* DSCP of the frame inside, not tos */
    bool ttl_of_frame; /* likewise */
    bool may_be_cut;   /* by routers, and here: no DF */
    bool without_checksum;
};

#define TUNNEL_FLOWS 16 /* sockets, and so ports, that one sends from */

struct tunnel_port {
    struct port port;
    struct tunnel_settings settings;
    struct tunnel_socket *socket;
    struct list node;         /* among the socket's */
    struct tunnel_port *next; /* of the socket's with its hash */
    int fds[TUNNEL_FLOWS];
    uint8_t header[TUNNEL_HEADER];
    struct flow_secret secret;
};

/* NULL with err. */
struct port *tunnel_port_new(const struct tunnel_settings *settings, struct kv_error *err);
void tunnel_port_free(struct port *port);

/* With the port on its bridge; on the control thread, as all here. -errno with err. */
int tunnel_port_start(struct port *port, struct kv_error *err);
void tunnel_port_stop(struct port *port);
/* To the next process (inherited.h). */
json_t *tunnel_port_give(struct port *port, struct bequest *bequest);

/* Bytes of the longest IP packet that a frame in the tunnel may hold, going by the way that
 * datagrams take now; 0: there is none. */
unsigned tunnel_port_mtu(const struct tunnel_port *tunnel);

/* The address with a port (in the host's order), for the kernel. Returns its length. */
socklen_t tunnel_sockaddr(int family, const struct tunnel_address *address, uint16_t port,
                          struct sockaddr_storage *out);

#endif
