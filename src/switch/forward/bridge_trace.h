/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What would become of a frame: the way of bridge.c, with what each table says written down, and
 * nothing sent, learned or counted. On the forwarding thread.
 */
#ifndef KV_SWITCH_FORWARD_BRIDGE_TRACE_H
#define KV_SWITCH_FORWARD_BRIDGE_TRACE_H

#include "switch/filter/filter.h"
#include "switch/forward/bridge.h"

/* What a port's filter says. */
struct trace_check {
    const struct port *port;
    enum filter_direction direction;
    struct filter_verdict verdict;
    enum tracking tracking; /* with a stateful ACL */
};

struct bridge_trace {
    bool admitted; /* vlan is known */
    uint16_t vlan;
    bool looked_up;           /* the receiver's address */
    const struct port *known; /* where it is; NULL: flooded */
    const struct port *drop;  /* where a drop would count, or NULL */
    enum port_drop why;
    unsigned check_count, receiver_count;
    struct trace_check checks[BRIDGE_PORTS_MAX + 1];
    const struct port *receivers[BRIDGE_PORTS_MAX];
};

/* trace is zeroed. */
void bridge_trace(struct port *from, struct frame *frame, struct bridge_trace *trace);

#endif
