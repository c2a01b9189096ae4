/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a bridge asks of each frame that comes in, before anything else: IEEE 802.1Q, 6.9 and 8.6.
 */
#ifndef KV_SWITCH_FORWARD_ADMIT_H
#define KV_SWITCH_FORWARD_ADMIT_H

#include "switch/ports/port.h"

/* The VLAN that the tag names which fills the head up. */
static inline unsigned head_vlan(const struct frame *frame)
{
    return ((unsigned)frame->head[14] << 8 | frame->head[15]) & VLAN_ID_MASK;
}

/* Finds the VLAN of a frame that came in, and whether the port takes it (802.1Q 6.9). */
static inline bool admit_frame(const struct port_vlans *vlans, struct frame *frame)
{
    unsigned type = (unsigned)frame->head[12] << 8 | frame->head[13];
    bool has_tag = type == FRAME_TPID || type == FRAME_TPID_SERVICE;
    frame->service = vlans->service;
    if (__builtin_expect(!has_tag || vlans->customers != NULL, 1)) {
        frame->tagged = false;
        frame->vlan = vlans->native;
        /* A customer's tag is nothing to us, but for who may come. */
        if (__builtin_expect(vlans->customers != NULL, 0) &&
            !vlan_set_has(vlans->customers, has_tag ? head_vlan(frame) : 0))
            return false;
        return port_carries(vlans, frame->vlan);
    }
    unsigned vlan = head_vlan(frame);
    frame->tagged = true;
    if (vlan == 0) {
        /* A priority only: the frame is in the VLAN of untagged ones, and told to be. */
        vlan = vlans->native;
        frame->head[14] = (uint8_t)((frame->head[14] & 0xf0) | vlan >> 8);
        frame->head[15] = (uint8_t)vlan;
    } else if (vlans->access) {
        return false;
    }
    frame->vlan = (uint16_t)vlan;
    return vlan != VLAN_ID_MASK && port_carries(vlans, vlan);
}

/* Whether private VLANs keep the two ports from each other. */
static inline bool ports_are_apart(const struct port *from, const struct port *to)
{
    return from->community && to->community &&
           (from->community == PORT_ISOLATED || from->community != to->community);
}

/* Whether what comes in at from and is flooded in the VLAN goes out at to. */
static inline bool port_takes_flood(const struct port *from, const struct port *to, unsigned vlan)
{
    return to != from && to->up && !to->mirrors &&
           !(to->config & (PORT_NO_FLOOD | PORT_QUIET | PORT_BLOCKED)) &&
           port_carries(&to->vlans, vlan) && !ports_are_apart(from, to);
}

static inline bool mac_is_group(const uint8_t *mac)
{
    return mac[0] & 1;
}

/* 01:80:c2:00:00:00 to 0f: what neighbours say to each other ends at a bridge (8.6.3). */
static inline bool mac_is_reserved(const uint8_t *mac)
{
    static const uint8_t first[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};
    return memcmp(mac, first, sizeof(first)) == 0 && mac[5] < 0x10;
}

#endif
