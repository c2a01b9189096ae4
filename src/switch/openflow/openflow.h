/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OpenFlow of one bridge, at sockets where ovs-ofctl looks for them: DIRECTORY/BRIDGE.mgmt takes
 * connections of controllers (OpenFlow 1.0 and 1.3), DIRECTORY/BRIDGE.snoop shows what is said
 * there. Who connects is trusted with the bridge, but not with this process: each length and number
 * is checked. On the control thread.
 */
#ifndef KV_SWITCH_OPENFLOW_OPENFLOW_H
#define KV_SWITCH_OPENFLOW_OPENFLOW_H

#include "base/error.h"
#include "base/loop.h"
#include "switch/forward/bridge.h"
#include "switch/ports/inherited.h"

/* NULL with err. */
struct openflow *openflow_start(struct bridge *bridge, struct loop *loop, const char *directory,
                                struct kv_error *err);
/* Frames go the bridge's own way afterwards. NULL: nothing. */
void openflow_stop(struct openflow *openflow);

/* Controllers are told of a port that has come, is about to go, or has changed. openflow: NULL:
 * none. */
enum openflow_port_change { OPENFLOW_PORT_ADDED, OPENFLOW_PORT_GOES, OPENFLOW_PORT_CHANGED };
void openflow_tell_port(struct openflow *openflow, const struct port *port,
                        enum openflow_port_change change);

/* A bridge's OpenFlow for the next process, and what that one makes of it (ports/inherited.h).
 * openflow: NULL: none. */
json_t *openflow_give(struct openflow *openflow, struct bequest *bequest);
int openflow_take(struct openflow *openflow, const json_t *flows, struct kv_error *err);

/* A locally administered MAC address, the same whenever the bridge has that name. */
uint64_t openflow_datapath_id(const struct bridge *bridge);

#endif
