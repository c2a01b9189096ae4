/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands between UDP and the frame in a tunnel: VXLAN (RFC 7348, 5) and Geneve (RFC 8926, 3);
 * and what an outer header takes from the frame within. What is read comes from the network: each
 * field is checked here and nowhere else. tunnel*.c calls it.
 */
#ifndef KV_SWITCH_PORTS_TUNNEL_HEADER_H
#define KV_SWITCH_PORTS_TUNNEL_HEADER_H

#include "switch/forward/flow_hash.h"
#include "switch/forward/frame.h"

enum tunnel_kind {
    TUNNEL_VXLAN,
    TUNNEL_GENEVE,
    TUNNEL_KINDS,
};

#define TUNNEL_HEADER 8 /* bytes, as we send it */
#define TUNNEL_VNI_MAX 0xffffffU

void tunnel_header_write(enum tunnel_kind kind, uint32_t vni, uint8_t header[TUNNEL_HEADER]);

/* What a datagram of len bytes holds: where its frame begins, and of which network it is. False: it
 * is no such packet, or has what nobody here understands. */
bool tunnel_header_read(enum tunnel_kind kind, const uint8_t *data, size_t len, uint32_t *vni,
                        size_t *frame);

/* Of a frame that goes into a tunnel. */
struct tunnel_inner {
    uint64_t flow;     /* alike for frames that must keep their order */
    bool ip;           /* else there is no class and no limit */
    uint8_t tos, hops; /* of IP */
};

/* The frame's memory may be others'. */
struct tunnel_inner tunnel_look_inside(const struct frame *frame, const struct flow_secret *secret);

#endif
