/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a bridge asks of each frame that comes in, before anything else: IEEE 802.1Q, 6.9 and 8.6.
 */
#ifndef KV_SWITCH_FORWARD_ADMIT_H
#define KV_SWITCH_FORWARD_ADMIT_H

#include "switch/ports/port.h"

/* Finds the VLAN of a frame that came in, and whether the port takes it (802.1Q 6.9). */
static inline bool admit_frame(const struct port_vlans *vlans, struct frame *frame)
{
    unsigned type = (unsigned)frame->head[12] << 8 | frame->head[13];
    if (__builtin_expect(type != FRAME_TPID, 1)) {
        frame->tagged = false;
        frame->vlan = vlans->native;
        return type != FRAME_TPID_SERVICE && port_carries(vlans, frame->vlan);
    }
    unsigned vlan = ((unsigned)frame->head[14] << 8 | frame->head[15]) & VLAN_ID_MASK;
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
