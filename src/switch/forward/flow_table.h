/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a bridge does with frames where OpenFlow says it: each is looked up once, and the actions of
 * the flow that it matches are carried out in their order. The bridge's own way (learning, VLANs)
 * is one of the actions; a bridge whose one flow is that action for all frames has no table, and
 * loses nothing. Made by the control thread (openflow/flows.h), which publishes it as a whole and
 * frees it; the forwarding thread counts in its flows.
 */
#ifndef KV_SWITCH_FORWARD_FLOW_TABLE_H
#define KV_SWITCH_FORWARD_FLOW_TABLE_H

#include "switch/forward/bridge.h"
#include "switch/forward/classifier.h"
#include "switch/monitor/ring.h"

#define FLOW_ACTIONS_MAX 64
#define FLOW_VLAN_PRESENT 0x1000 /* in a key's vlan: there is a tag */

enum flow_op {
    FLOW_OUTPUT,  /* port: its number */
    FLOW_ENQUEUE, /* port: its number, and queue */
    FLOW_IN_PORT, /* back to where it came from */
    FLOW_NORMAL,  /* as bridges do */
    FLOW_FLOOD,   /* all ports that want it, but the one it came from */
    FLOW_ALL,
    FLOW_CONTROLLER, /* max_len bytes of it */
    FLOW_SET_VLAN,   /* number */
    FLOW_SET_PRIORITY,
    FLOW_PUSH_VLAN, /* of no number yet */
    FLOW_POP_VLAN,
    FLOW_SET_DSCP, /* number; of IPv4 and IPv6 */
    FLOW_SET_FROM_MAC,
    FLOW_SET_TO_MAC,
    FLOW_SET_QUEUE, /* queue: of what is sent from then on */
    FLOW_OPS,
};

struct flow_action {
    enum flow_op op;
    uint16_t number; /* of a port or VLAN, bytes, priority */
    uint8_t mac[6];
    uint32_t queue; /* of the receiver (shaper.h) */
};

struct flow_actions {
    unsigned count; /* 0: the frame is dropped */
    struct flow_action list[FLOW_ACTIONS_MAX];
};

/* A flow as the forwarding thread has it. */
struct flow_rule {
    const struct flow_actions *actions;
    uint64_t cookie;
    uint64_t frames, bytes;
    int64_t used_ns; /* when it was matched last; 0: never */
};

#define FLOW_PACKET_MAX 2048 /* bytes of a frame that a controller is told at most */
#define FLOW_PACKET_SLOTS 128

/* To the control thread: a frame that an action, or no flow, sends to the controller. */
struct flow_packet {
    uint64_t cookie;
    uint32_t frame_bytes;
    uint16_t in_port, len, max_len;
    bool missed; /* no flow matched */
    uint8_t bytes[FLOW_PACKET_MAX];
};

struct flow_table {
    struct classifier *rules;
    struct ring *packets;
    struct flow_rule miss; /* counts what matches nothing */
};

/* On the forwarding thread. A burst, as bridge_receive(). */
void flow_table_receive(struct flow_table *table, struct port *from, struct frame *frames,
                        unsigned count);

/* A frame from a controller; from: NULL, or where it is said to come from. table: NULL, or what
 * sends to the controller. */
void flow_table_execute(struct flow_table *table, struct bridge *bridge, struct port *from,
                        const struct flow_actions *actions, struct frame *frame);

#endif
