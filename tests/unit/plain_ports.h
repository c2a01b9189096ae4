/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bridge whose ports only remember what they were to send, without a forwarding thread. */
#ifndef KV_TESTS_PLAIN_PORTS_H
#define KV_TESTS_PLAIN_PORTS_H

#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"

#define PLAIN_PORTS 6
#define PLAIN_KEPT 128
#define PLAIN_BYTES 1600

struct plain_port {
    struct port port;
    struct plain_frame {
        unsigned len;
        uint8_t bytes[PLAIN_BYTES];
    } sent[PLAIN_KEPT];
    unsigned sent_count, taken; /* by plain_take() */
};

struct plain_bridge {
    struct forward forward;
    struct bridge *bridge;
    struct plain_port ports[PLAIN_PORTS];
};

/* All ports carry all VLANs. The time is 1000 s. */
void plain_init(struct plain_bridge *plain);
void plain_destroy(struct plain_bridge *plain);

void plain_set_time(struct plain_bridge *plain, int64_t now_ns);
/* A frame comes in at the port. */
void plain_receive(struct plain_port *port, const uint8_t *bytes, unsigned len);
/* The next frame that the port sent, or NULL. */
const struct plain_frame *plain_take(struct plain_port *port);

/* A frame of 60 bytes: to and from end the addresses 02:00:00:00:00:xx; to 0xff: everybody. tag: a
 * type and a VLAN in front of it, or 0. Returns its length. */
unsigned plain_frame(uint8_t *frame, unsigned to, unsigned from, uint32_t tag);

#endif
