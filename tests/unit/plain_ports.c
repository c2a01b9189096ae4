/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports that remember; see plain_ports.h. */
#include "plain_ports.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void send(struct port *port, const struct frame *frames)
{
    struct plain_port *plain = container_of(port, struct plain_port, port);
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        struct plain_frame *sent = &plain->sent[plain->sent_count++ % PLAIN_KEPT];
        unsigned len = frame_write_head(frame, port_sends_tagged(port, frame), sent->bytes);
        for (unsigned j = 0; j < frame->rest_count; j++) {
            require(len + frame->rest[j].iov_len <= PLAIN_BYTES);
            memcpy(sent->bytes + len, frame->rest[j].iov_base, frame->rest[j].iov_len);
            len += (unsigned)frame->rest[j].iov_len;
        }
        sent->len = len;
        port->counters.out_frames++;
    }
}

static bool poll(struct port *port)
{
    return false;
}

static enum port_sleep sleep(struct port *port)
{
    return PORT_ASLEEP;
}

static void wake(struct port *port)
{
}

static const struct port_ops ops = {.send = send, .poll = poll, .sleep = sleep, .wake = wake};

void plain_init(struct plain_bridge *plain)
{
    struct kv_error err;
    memset(plain, 0, sizeof(*plain));
    require(forward_init(&plain->forward, FORWARD_CORE_ANY, &err) == 0);
    plain_set_time(plain, INT64_C(1000000000000));
    plain->bridge = bridge_new(&plain->forward, "br0", 256, 300, &err);
    require(plain->bridge);
    for (unsigned i = 0; i < PLAIN_PORTS; i++) {
        struct port *port = &plain->ports[i].port;
        *port = (struct port){.ops = &ops, .forward = &plain->forward, .up = true, .mac_limit = 64};
        snprintf(port->name, sizeof(port->name), "p%u", i);
        memset(port->vlans.carried, 0xff, sizeof(port->vlans.carried));
        require(bridge_attach(plain->bridge, port) == 0);
        list_add_tail(&plain->bridge->ports, &port->node);
    }
}

void plain_destroy(struct plain_bridge *plain)
{
    for (unsigned i = 0; i < PLAIN_PORTS; i++) {
        if (plain->ports[i].port.bridge)
            bridge_detach(plain->bridge, &plain->ports[i].port);
    }
    bridge_free(plain->bridge);
    forward_destroy(&plain->forward);
}

void plain_set_time(struct plain_bridge *plain, int64_t now_ns)
{
    plain->forward.now_ns = now_ns;
    plain->forward.now_s = (uint32_t)(now_ns / 1000000000);
}

void plain_receive(struct plain_port *port, const uint8_t *bytes, unsigned len)
{
    struct frame frame = {0};
    frame_set_bytes(&frame, bytes, len);
    bridge_receive(&port->port, &frame, 1);
}

const struct plain_frame *plain_take(struct plain_port *port)
{
    require(port->sent_count - port->taken <= PLAIN_KEPT);
    return port->taken == port->sent_count ? NULL : &port->sent[port->taken++ % PLAIN_KEPT];
}

unsigned plain_frame(uint8_t *frame, unsigned to, unsigned from, uint32_t tag)
{
    unsigned at = 12;
    memset(frame, 0, 60);
    memset(frame, to == 0xff ? 0xff : 0, 6);
    if (to != 0xff) {
        frame[0] = 2;
        frame[5] = (uint8_t)to;
    }
    frame[6] = 2;
    frame[11] = (uint8_t)from;
    if (tag) {
        const uint8_t bytes[4] = {(uint8_t)(tag >> 24), (uint8_t)(tag >> 16), (uint8_t)(tag >> 8),
                                  (uint8_t)tag};
        memcpy(frame + at, bytes, 4);
        at += 4;
    }
    frame[at] = 0x88;
    frame[at + 1] = 0xb5; /* for experiments (802) */
    return 60;
}
