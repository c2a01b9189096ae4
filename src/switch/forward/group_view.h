/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which ports hear which multicast groups, as the forwarding thread sees it: a table that the
 * control thread makes anew when something changed (control/snooping.c), looked at only where a
 * frame is flooded. What stations and routers say of groups goes to the control thread from here.
 */
#ifndef KV_SWITCH_FORWARD_GROUP_VIEW_H
#define KV_SWITCH_FORWARD_GROUP_VIEW_H

#include "switch/forward/bridge.h"

#define GROUP_WORDS (BRIDGE_PORTS_MAX / 64)
#define GROUP_HEARD_MAX 100 /* messages of a port in a second */

typedef uint64_t port_set[GROUP_WORDS]; /* by port->index */

struct group_row {
    uint64_t group; /* mac_key() */
    port_set ports; /* with those where routers are */
};

struct group_view {
    bool flood_unregistered;
    port_set unregistered; /* else they go there: where routers are, and ports that want all */
    port_set reports;      /* where stations' messages go */
    uint32_t heard_s;      /* the second in which so many were heard */
    uint8_t heard[BRIDGE_PORTS_MAX];
    unsigned count;
    struct group_row rows[]; /* by group */
};

static inline bool port_set_has(const uint64_t *set, unsigned index)
{
    return set[index / 64] >> (index % 64) & 1;
}

static inline void port_set_add(uint64_t *set, unsigned index)
{
    set[index / 64] |= UINT64_C(1) << (index % 64);
}

/* The ports that a frame to that address goes to at most; NULL: all. */
const uint64_t *group_view_find(const struct group_view *view, const uint8_t *to_mac,
                                unsigned vlan);

/* Likewise of a frame that came in at the port; the control thread is told if it has to know. */
const uint64_t *group_view_receive(struct group_view *view, struct port *from,
                                   const struct frame *frame);

#endif
