/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OpenFlow's actions (1.0.0, 5.2.4; 1.3.5, 7.2.5) and instructions (1.3.5, 7.2.4) as the forwarding
 * thread carries them out (forward/flow_table.h), and back. What it cannot do is refused.
 */
#ifndef KV_SWITCH_OPENFLOW_ACTIONS_H
#define KV_SWITCH_OPENFLOW_ACTIONS_H

#include "base/wire.h"
#include "switch/forward/flow_table.h"
#include "switch/openflow/protocol.h"

/* The whole list of len bytes. */
enum ofp_error ofp_actions_read(uint8_t version, const uint8_t *data, size_t len,
                                struct flow_actions *actions);
void ofp_actions_write(uint8_t version, struct wire *wire, const struct flow_actions *actions);

/* Instructions of 1.3: one that applies actions, or none. */
enum ofp_error ofp13_instructions_read(const uint8_t *data, size_t len,
                                       struct flow_actions *actions);
void ofp13_instructions_write(struct wire *wire, const struct flow_actions *actions);

/* Those of 1.3 that are carried out. */
#define OFP13_ACTION_TYPES 5
extern const uint16_t ofp13_action_types[OFP13_ACTION_TYPES];

/* Whether the port's number is among the outputs. */
bool ofp_actions_send_to(const struct flow_actions *actions, uint16_t port);

/* A port's number as messages of 1.3 have it, in 16 bits; false: there is none. */
bool ofp13_port_read(uint32_t wire, uint16_t *port);
uint32_t ofp13_port_write(uint16_t port);

#endif
