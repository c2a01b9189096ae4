/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tracing; see bridge_trace.h. */
#include "switch/forward/bridge_trace.h"

#include "switch/forward/admit.h"
#include "switch/forward/forward.h"
#include "switch/forward/group_view.h"

static void drop(struct bridge_trace *trace, const struct port *port, enum port_drop why)
{
    trace->drop = port;
    trace->why = why;
}

/* Whether the port's filter, if it has one, lets the frame through. */
static bool check(struct bridge_trace *trace, struct port *port, enum filter_direction direction,
                  const struct filter_frame *frame)
{
    struct tracked tracked;
    if (!port->filter)
        return true;
    struct trace_check *check = &trace->checks[trace->check_count++];
    *check = (struct trace_check){.port = port, .direction = direction};
    filter_look(port, direction, frame, &check->verdict, &tracked);
    check->tracking = tracked.kind;
    return check->verdict.allowed;
}

static void send_to(struct bridge_trace *trace, struct port *to, const struct filter_frame *frame)
{
    if (check(trace, to, FILTER_OUT, frame))
        trace->receivers[trace->receiver_count++] = to;
}

static void flood(struct bridge_trace *trace, const struct port *from, const uint8_t *to_mac,
                  const struct filter_frame *frame)
{
    const struct bridge *bridge = from->bridge;
    const uint64_t *hear = bridge->groups && mac_is_group(to_mac)
                               ? group_view_find(bridge->groups, to_mac, trace->vlan)
                               : NULL;
    for (unsigned i = 0; i < bridge->slots_used; i++) {
        struct port *to = bridge->slots[i];
        if (to && (!hear || port_set_has(hear, i)) && port_takes_flood(from, to, trace->vlan))
            send_to(trace, to, frame);
    }
}

static void look_up(struct bridge_trace *trace, struct port *from, const uint8_t *to_mac,
                    const struct filter_frame *frame)
{
    const struct bridge *bridge = from->bridge;
    int known = -1;
    trace->looked_up = true;
    if (!mac_is_group(to_mac))
        known = mac_table_find(&bridge->macs, mac_key(to_mac, trace->vlan), from->forward->now_s);
    if (known < 0) {
        flood(trace, from, to_mac, frame);
        return;
    }
    struct port *to = bridge->slots[known];
    trace->known = to;
    if (to == from)
        drop(trace, from, DROP_HAIRPIN);
    else if (!to->up)
        drop(trace, to, DROP_DOWN);
    else if (!port_carries(&to->vlans, trace->vlan))
        drop(trace, to, DROP_NOT_MEMBER);
    else if (ports_are_apart(from, to))
        drop(trace, from, DROP_ISOLATED);
    else
        send_to(trace, to, frame);
}

void bridge_trace(struct port *from, struct frame *frame, struct bridge_trace *trace)
{
    static struct flow_burst burst;
    struct flow_key key;
    if (from->mirrors) {
        drop(trace, from, DROP_MIRROR);
        return;
    }
    trace->admitted = admit_frame(&from->vlans, frame);
    trace->vlan = frame->vlan;
    if (!trace->admitted) {
        drop(trace, from, DROP_VLAN);
        return;
    }
    if (mac_is_group(frame->head + 6)) {
        drop(trace, from, DROP_MALFORMED);
        return;
    }
    flow_headers_keep(&burst, 0, frame);
    bool good = flow_key_read(&key, &burst.headers[0], frame, from->index);
    const struct filter_frame known = {good ? &key : NULL, &burst.headers[0]};
    if (!check(trace, from, FILTER_IN, &known))
        return;
    if (mac_is_reserved(frame->head))
        drop(trace, from, DROP_RESERVED);
    else
        look_up(trace, from, frame->head, &known);
}
