/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What protocols between bridges and their neighbours want with a port's frames. A port with a
 * screen (PORT_SCREENED) has each burst looked at before it is forwarded: frames of its protocols
 * go to the control thread by the bridge's ring, others go nowhere while the port is blocked, and
 * those of a bond's member come in at the bond. State machines run on the control thread; here is
 * only what they decided. A screen is made and freed by the control thread, else the forwarding
 * thread's.
 */
#ifndef KV_SWITCH_FORWARD_SCREEN_H
#define KV_SWITCH_FORWARD_SCREEN_H

#include "base/ratelimit.h"
#include "switch/ports/port.h"

struct bond;

#define SCREEN_BYTES 1520 /* of a frame that go to the control thread */
#define SCREEN_SLOTS 128  /* of the ring */
#define SCREEN_PACE 200   /* frames of protocols a second that a port may have */

enum screen_protocol {
    SCREEN_LACP = 1,
    SCREEN_RSTP = 2,
};

enum screen_state {
    SCREEN_FORWARDING,
    SCREEN_LEARNING, /* stations are learned, nothing is forwarded */
    SCREEN_BLOCKED,
};

struct screen {
    unsigned protocols; /* of enum screen_protocol */
    enum screen_state state;
    struct bond *bond; /* whose member the port is, or NULL */
    struct ratelimit pace;
};

/* A frame in the bridge's ring. */
struct screen_record {
    uint32_t port; /* port->number */
    uint16_t len;  /* of the frame; what is here is SCREEN_BYTES of it at most */
    uint16_t vlan;
    uint8_t bytes[SCREEN_BYTES];
};

void screen_init(struct screen *screen);

/* Leaves those that are to be forwarded at the front of the burst; returns how many. */
unsigned screen_receive(struct port *from, struct frame *frames, unsigned count);

/* The control thread gets the frame, if there is room. */
void screen_tell(struct port *from, const struct frame *frame);

/* Sends a frame of the switch's own, as it is, whatever the port's state. */
void screen_send(struct port *to, const uint8_t *bytes, size_t len);

#endif
