/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RSTP on a bridge, on the control thread: gives protocols/rstp.h its seconds, links and BPDUs, and
 * makes of what it decides the state of ports' screens. Members of bonds take no part; their bond
 * does.
 */
#ifndef KV_SWITCH_CONTROL_SPANNING_H
#define KV_SWITCH_CONTROL_SPANNING_H

#include <jansson.h>

#include "base/error.h"
#include "base/loop.h"
#include "switch/control/port_kinds.h"
#include "switch/forward/bridge.h"

struct spanning_options {
    bool on;
    uint64_t priority, max_age, forward_delay;
    uint8_t address[6]; /* all 0: one of its own */
};

/* Begins anew, with the bridge's ports, unless the options are those that it has; or ends. -EINVAL,
 * -ENOMEM with err: nothing has changed. */
int spanning_set(struct bridge *bridge, struct loop *loop, const struct spanning_options *options,
                 struct kv_error *err);
void spanning_stop(struct bridge *bridge);

/* A port that is about to be on the bridge does nothing until the protocol lets it. */
int spanning_prepare_port(const struct bridge *bridge, struct port *port,
                          const struct port_options *options, struct kv_error *err);
/* It is there; or has other options. -ENOMEM with err. */
int spanning_set_port(struct port *port, const struct port_options *options, struct kv_error *err);
void spanning_forget_port(struct port *port);

void spanning_hear(struct port *port, const uint8_t *bytes, size_t len);

/* Add options and state to the rows. */
void spanning_describe(const struct bridge *bridge, json_t *row);
void spanning_describe_port(const struct port *port, json_t *row);

#endif
