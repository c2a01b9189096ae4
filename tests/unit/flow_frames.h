/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames for tests of the switch's filters: headers put one behind the other. */
#ifndef KV_TESTS_FLOW_FRAMES_H
#define KV_TESTS_FLOW_FRAMES_H

#include "switch/forward/flow_key.h"

#define PACKET_MAX 2048

/* Station n has 02:00:00:00:00:n, 10.0.0.n and fd00::n. */
struct packet {
    uint8_t bytes[PACKET_MAX];
    unsigned len;
    unsigned l3, l4; /* where they begin */
};

/* Each begins anew, with an Ethernet header; vlan -1: without a tag. */
void packet_ethernet(struct packet *p, unsigned to, unsigned from, int vlan, unsigned type);
void packet_ipv4(struct packet *p, unsigned to, unsigned from, unsigned protocol);
void packet_ipv6(struct packet *p, unsigned to, unsigned from, unsigned next);
void packet_arp(struct packet *p, unsigned operation, unsigned to, unsigned from);

/* Behind what there is; lengths in the IP header are set. */
void packet_add(struct packet *p, const void *bytes, unsigned len);
void packet_udp(struct packet *p, unsigned to_port, unsigned from_port, unsigned payload);
void packet_tcp(struct packet *p, unsigned to_port, unsigned from_port, unsigned flags);
void packet_echo(struct packet *p, unsigned type, unsigned id);
/* An ICMP error about a packet that its receiver got. */
void packet_error(struct packet *p, unsigned type, unsigned code, const struct packet *about);

void packet_set16(struct packet *p, unsigned at, unsigned value);

/* As if a port had let it in, in pieces of so many bytes (0: one piece). iov has
 * FRAME_SEGMENTS_MAX. */
void packet_frame(const struct packet *p, struct frame *frame, struct iovec *iov, unsigned piece);

/* Keeps its headers and reads its key. */
bool packet_key(const struct packet *p, struct flow_key *key);

#endif
