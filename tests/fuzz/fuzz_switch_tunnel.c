/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: datagrams, and trains of them, from a hostile network into a bridge with a tunnel of
 * each kind and a second one into which it sends what it gets. Nothing arrives that was not within
 * the datagram, and each datagram is counted once.
 */
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "input.h"
#include "plain_ports.h"
#include "require.h"
#include "switch/ports/tunnel_socket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define DATAGRAMS_MAX 200

static struct plain_bridge plain;
static struct tunnel_port *tunnels[TUNNEL_KINDS];
static const struct tunnel_address remote = {{127, 0, 0, 2}}, local = {{127, 0, 0, 1}};
static uint64_t sunk;
static struct flow_secret secret;

static void sink(struct port *port, const struct frame *frames)
{
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        uint8_t bytes[FRAME_HEAD_MAX];
        uint64_t len = frame_write_head(frame, port_sends_tagged(port, frame), bytes);
        for (unsigned k = 0; k < frame->rest_count; k++)
            len += frame->rest[k].iov_len;
        sunk += len;
        tunnel_look_inside(frame, &secret);
    }
}

static const struct port_ops sinking = {.send = sink};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kv_error err;
    plain_init(&plain);
    plain.ports[0].port.ops = &sinking;
    for (unsigned i = 1; i < PLAIN_PORTS; i++)
        bridge_detach(plain.bridge, &plain.ports[i].port);
    for (enum tunnel_kind kind = 0; kind < TUNNEL_KINDS; kind++) {
        const struct tunnel_settings settings = {
            .kind = kind, .family = AF_INET, .remote = remote, .vni = 1};
        struct port *port = tunnel_port_new(&settings, &err);
        require(port != NULL);
        port->mac_limit = 64;
        memset(port->vlans.carried, 0xff, sizeof(port->vlans.carried));
        require(bridge_attach(plain.bridge, port) == 0);
        forward_add_port(&plain.forward, port);
        require(tunnel_port_start(port, &err) == 0);
        /* The other tunnel is no way out, so that nothing leaves this host. */
        port->config = PORT_NO_FORWARD;
        tunnels[kind] = container_of(port, struct tunnel_port, port);
    }
    return 0;
}

static uint64_t counted(const struct tunnel_port *tunnel)
{
    return tunnel->socket->malformed + tunnel->socket->unknown + tunnel->port.counters.in_frames +
           tunnel->port.counters.drops[DROP_MALFORMED];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct tunnel_port *tunnel = tunnels[take(&in, 1) % TUNNEL_KINDS];
    size_t part = take(&in, 2) % 2048;
    part = MAX(part, in.left / DATAGRAMS_MAX + 1);
    size_t datagrams = in.left ? (in.left + part - 1) / part : 0;
    uint64_t before = counted(tunnel), got = sunk;
    uint64_t malformed = tunnel->port.counters.drops[DROP_MALFORMED];
    tunnel_socket_take(tunnel->socket, &remote, &local, in.data, in.left, part);
    /* A frame from a group address comes in and is malformed. */
    uint64_t now = counted(tunnel);
    require(now - before >= datagrams &&
            now - before <= datagrams + tunnel->port.counters.drops[DROP_MALFORMED] - malformed);
    require(sunk - got <= in.left + datagrams * FRAME_TAG_LEN);
    return 0;
}
