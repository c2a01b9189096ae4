/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the switch tells of itself; see vswitch.h. The forwarding thread makes a copy of what is
 * its own, between two bursts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "switch/control/bonds.h"
#include "switch/control/limits.h"
#include "switch/control/port_kinds.h"
#include "switch/control/snooping.h"
#include "switch/control/spanning.h"
#include "switch/control/vswitch.h"
#include "switch/forward/bridge.h"

struct port_view {
    const struct port *port;
    bool up;
    uint8_t config;
    unsigned macs, mac_limit;
    struct port_counters counters;
};

static void look_here(void *opaque)
{
    struct port_view *view = opaque;
    const struct port *port = view->port;
    mac_table_expire(&port->bridge->macs, port->forward->now_s);
    view->up = port->up;
    view->config = port->config;
    view->macs = port->bridge->macs.used_by[port->index];
    view->mac_limit = port->mac_limit;
    view->counters = port->counters;
}

static struct port_view look(const struct port *port)
{
    struct port_view view = {.port = port};
    forward_run(port->forward, look_here, &view);
    return view;
}

/* "10,20-29" */
static json_t *list_vlans(const uint64_t *set)
{
    char text[5 * VLAN_COUNT];
    size_t len = 0;
    text[0] = '\0';
    for (unsigned first = 0; first < VLAN_COUNT; first++) {
        if (!vlan_set_has(set, first))
            continue;
        unsigned last = first;
        while (last + 1 < VLAN_COUNT && vlan_set_has(set, last + 1))
            last++;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", len ? "," : "", first);
        if (last > first)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "-%u", last);
        first = last;
    }
    return json_string(text);
}

/* What tasks of this thread change, and nobody else. */
static void describe_vlans(const struct port *port, json_t *row)
{
    const struct port_vlans *vlans = &port->vlans;
    if (port->community == PORT_ISOLATED)
        json_object_set_new(row, "isolated", json_true());
    else if (port->community)
        json_object_set_new(row, "community", json_integer(port->community));
    if (!vlans->access) {
        json_object_set_new(row, "trunks", list_vlans(vlans->carried));
        if (vlans->native)
            json_object_set_new(row, "native", json_integer(vlans->native));
        if (vlans->native != vlans->untagged)
            json_object_set_new(row, "native-tagged", json_true());
        return;
    }
    json_object_set_new(row, "tag", json_integer(vlans->native));
    if (!vlans->customers)
        return;
    json_object_set_new(row, "tunnel", json_true());
    json_object_set_new(row, "customers", list_vlans(vlans->customers));
    json_object_set_new(row, "outer-tag", json_string(port_outer_tags[!vlans->service]));
}

static json_t *describe_port(struct port *port)
{
    struct port_view view = look(port);
    json_t *row =
        json_pack("{s:s, s:I, s:s, s:b, s:I, s:I}", "name", port->name, "number",
                  (json_int_t)port->number, "type", port_kind_names[port->kind], "up", view.up,
                  "macs", (json_int_t)view.macs, "mac-limit", (json_int_t)view.mac_limit);
    limits_describe(port, row);
    if (*port->bond)
        json_object_set_new(row, "bond", json_string(port->bond));
    if (port_kind_of(port)->describe)
        port_kind_of(port)->describe(port, row);
    json_t *filter = vswitch_describe_filter(port);
    if (filter)
        json_object_set_new(row, "filter", filter);
    /* Changed by tasks of this thread only. */
    if (port->mirror) {
        json_t *mirror = json_pack("{s:s, s:s}", "to", port->mirror->name, "direction",
                                   vswitch_mirror_names[port->mirror_what]);
        if (port->mirror_vlans)
            json_object_set_new(mirror, "vlans", list_vlans(port->mirror_vlans));
        json_object_set_new(row, "mirror", mirror);
    }
    if (view.config & PORT_QUIET)
        json_object_set_new(row, "no-flood", json_true());
    if (port->fast_leave)
        json_object_set_new(row, "fast-leave", json_true());
    if (port->all_groups)
        json_object_set_new(row, "multicast-flood", json_true());
    if (port->all_reports)
        json_object_set_new(row, "multicast-reports", json_true());
    spanning_describe_port(port, row);
    describe_vlans(port, row);
    return row;
}

json_t *vswitch_describe(struct vswitch *sw)
{
    json_t *list = json_array();
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        json_t *ports = json_array();
        list_for_each (inner, &bridge->ports)
            json_array_append_new(ports, describe_port(list_entry(inner, struct port, node)));
        json_t *row = json_pack("{s:s, s:I, s:o}", "name", bridge->name, "ageing",
                                (json_int_t)bridge->macs.ageing_s, "ports", ports);
        if (bridge->forward->core != FORWARD_CORE_ANY)
            json_object_set_new(row, "core", json_integer(bridge->forward->core));
        snooping_describe(bridge, row);
        spanning_describe(bridge, row);
        vswitch_describe_export(bridge, row);
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *port_statistics(const struct port *port)
{
    struct port_view view = look(port);
    const struct port_counters *c = &view.counters;
    json_t *drops = json_object();
    for (unsigned i = 0; i < DROP_COUNT; i++) {
        if (c->drops[i])
            json_object_set_new(drops, port_drop_names[i], json_integer((json_int_t)c->drops[i]));
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "bridge", port->bridge->name, "name",
                     port->name, "in-frames", (json_int_t)c->in_frames, "in-bytes",
                     (json_int_t)c->in_bytes, "out-frames", (json_int_t)c->out_frames, "out-bytes",
                     (json_int_t)c->out_bytes, "drops", drops);
}

json_t *vswitch_statistics(struct vswitch *sw)
{
    json_t *list = json_array();
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        list_for_each (inner, &bridge->ports)
            json_array_append_new(list, port_statistics(list_entry(inner, struct port, node)));
    }
    return list;
}
