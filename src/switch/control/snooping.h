/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snooping of multicast groups on a bridge (RFC 4541), on the control thread: what
 * protocols/groups.h remembers is made the forwarding thread's table (forward/group_view.h).
 */
#ifndef KV_SWITCH_CONTROL_SNOOPING_H
#define KV_SWITCH_CONTROL_SNOOPING_H

#include <jansson.h>

#include "base/error.h"
#include "base/loop.h"
#include "switch/forward/bridge.h"

struct snooping_options {
    bool on;
    uint64_t ageing, groups;
    bool drop_unregistered; /* they go where routers are only */
};

#define SNOOPING_AGEING 300 /* s, unless said otherwise */
#define SNOOPING_GROUPS 2048

/* Begins, goes on with other options (with another number of groups it forgets those it has), or
 * ends. -ENOMEM with err: as it was. */
int snooping_set(struct bridge *bridge, struct loop *loop, const struct snooping_options *options,
                 struct kv_error *err);
void snooping_stop(struct bridge *bridge);

/* A port is about to go, or has other options. */
void snooping_forget_port(struct bridge *bridge, const struct port *port);
void snooping_port_changed(struct bridge *bridge);

/* A frame came in at the port. */
void snooping_hear(struct port *port, uint16_t vlan, const uint8_t *bytes, size_t len);

/* A list of {"group", "vlan", "port", "expires"}; a router's port has no group. */
json_t *snooping_list(const struct bridge *bridge);
/* Adds the options to the bridge's row. */
void snooping_describe(const struct bridge *bridge, json_t *row);

#endif
