/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Link Aggregation Control Protocol of one port of a bond (IEEE 802.1AX-2014, 6.4): what the
 * partner at the link's other end said, what we tell it, and whether the two agree that frames may
 * go. A struct and functions of it and of the time (CLOCK_MONOTONIC), without side effects; called
 * by control/bonds.c.
 */
#ifndef KV_SWITCH_PROTOCOLS_LACP_H
#define KV_SWITCH_PROTOCOLS_LACP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LACP_FRAME_BYTES 124 /* of a frame with a LACPDU, without checksum */
#define LACP_PRIORITY 32768  /* unless said otherwise, of a system and of a port */

/* 6.4.2.3, Actor_State */
enum lacp_state {
    LACP_ACTIVITY = 1,
    LACP_TIMEOUT = 2, /* short: wants to hear once a second */
    LACP_AGGREGATION = 4,
    LACP_SYNCHRONIZATION = 8,
    LACP_COLLECTING = 16,
    LACP_DISTRIBUTING = 32,
    LACP_DEFAULTED = 64,
    LACP_EXPIRED = 128,
};

struct lacp_info {
    uint16_t system_priority;
    uint8_t system[6];
    uint16_t key, port_priority, port;
    uint8_t state; /* of enum lacp_state */
};

struct lacp_pdu {
    struct lacp_info actor, partner; /* of who sends it */
};

enum lacp_receive {
    LACP_RECEIVE_DISABLED, /* the link is down */
    LACP_RECEIVE_EXPIRED,
    LACP_RECEIVE_DEFAULTED, /* there is no partner */
    LACP_RECEIVE_CURRENT,
};

enum lacp_mux {
    LACP_DETACHED,
    LACP_WAITING,
    LACP_ATTACHED,
    LACP_CARRYING, /* collecting and distributing, which begin together here */
};

struct lacp_port {
    struct lacp_info actor, partner;
    enum lacp_receive receive;
    enum lacp_mux mux;
    bool selected; /* goes with the bond's other ports, by lacp_select() */
    bool must_tell;
    int64_t current_until_ns, tell_at_ns, wait_until_ns;
    int64_t window_ns; /* the second in which so many LACPDUs were sent */
    unsigned window_sent;
};

/* Reads a frame. False: it is no LACPDU. */
bool lacp_parse(struct lacp_pdu *pdu, const uint8_t *frame, size_t len);
/* Writes a frame of LACP_FRAME_BYTES from that address. */
void lacp_write(const struct lacp_pdu *pdu, const uint8_t *from_mac, uint8_t *frame);

/* actor: what we are; of its state LACP_ACTIVITY and LACP_TIMEOUT count. */
void lacp_init(struct lacp_port *port, const struct lacp_info *actor);
void lacp_set_link(struct lacp_port *port, bool up, int64_t now_ns);
void lacp_receive(struct lacp_port *port, const struct lacp_pdu *pdu, int64_t now_ns);

/* Which ports of a bond have the same partner, so that frames may go over all of them (6.4.14). */
void lacp_select(struct lacp_port *const *ports, unsigned count);

/* What time and the selection bring about. True: pdu is to be sent. */
bool lacp_run(struct lacp_port *port, int64_t now_ns, struct lacp_pdu *pdu);

static inline bool lacp_carries(const struct lacp_port *port)
{
    return port->mux == LACP_CARRYING;
}

#endif
