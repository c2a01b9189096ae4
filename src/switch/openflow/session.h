/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the OpenFlow server share: connection.c moves messages, and hands each to a
 * function by its type (requests.c, stats.c, flow_mod.c, packets.c), which answers or returns an
 * error.
 */
#ifndef KV_SWITCH_OPENFLOW_SESSION_H
#define KV_SWITCH_OPENFLOW_SESSION_H

#include "base/buffer.h"
#include "base/wire.h"
#include "switch/openflow/actions.h"
#include "switch/openflow/flows.h"
#include "switch/openflow/match.h"
#include "switch/openflow/openflow.h"

#define CONNECTIONS_MAX 32 /* of a bridge */

struct openflow {
    struct bridge *bridge;
    struct loop *loop;
    struct flows flows;
    struct ring packets;
    struct loop_timer expiry;             /* and publishing what was changed */
    bool hurries;                         /* it is armed for the latter */
    struct loop_source management, snoop; /* listen */
    char *management_path, *snoop_path;
    struct list connections;
    unsigned connection_count;
    uint8_t message[OFP_MESSAGE_MAX]; /* that is being written */
};

struct connection {
    struct openflow *openflow;
    struct list node;
    struct loop_source source;
    struct buffer in, out;
    uint8_t version; /* 0: not agreed on yet */
    bool snoops;     /* hears what is said on the others */
    bool ended;      /* closed as soon as it is safe */
    uint16_t flags, miss_len;
};

/* A message that came, whole. */
struct message {
    uint8_t version, type;
    uint32_t xid;
    const uint8_t *body;
    size_t len; /* of the body */
};

/* Writes a message: begin, wire_put() and others, end. It is sent, or, if it became too long, not.
 */
struct wire connection_begin(struct connection *c, uint8_t type, uint32_t xid);
void connection_end(struct connection *c, struct wire *wire);
/* As error messages do: m's begin is quoted. */
void connection_refuse(struct connection *c, const struct message *m, enum ofp_error error);

static inline bool is_13(const struct connection *c)
{
    return c->version == OFP_13;
}

/* A port's number, and another that means a port, as the version has them. */
static inline void put_port(struct wire *wire, const struct connection *c, uint16_t port)
{
    if (is_13(c))
        wire_put(wire, ofp13_port_write(port), 4);
    else
        wire_put(wire, port, 2);
}

/* Requests: 0, or what was wrong. */
typedef enum ofp_error request_fn(struct connection *c, const struct message *m);
request_fn answer_echo, answer_features, answer_config, set_config, answer_barrier, change_port;
request_fn change_flows; /* flow_mod.c */
request_fn send_packet;  /* packets.c */
request_fn answer_stats; /* stats.c */

/* requests.c: a port's description, as both versions have it in several messages. */
void put_port_description(struct wire *wire, const struct connection *c, const struct port *port);
#define OFP10_PORT_LEN 48
#define OFP13_PORT_LEN 64

/* table_features.c; request: bytes of the request's body. */
enum ofp_error put_table_features(struct wire *wire, size_t request);

/* flow_mod.c: publishes flows, removes those whose time is over, arms the timer for the next. */
void openflow_expire(void *opaque);
/* Does that soon, so that flows that come one by one are published together. */
void openflow_hurry(struct openflow *openflow);
/* The body of 1.3's flow-mod that adds the flow, and adding it by one; counters: of flow. */
void put_flow_mod(struct wire *wire, const struct ofp_flow *flow);
enum ofp_error add_flow_mod(struct flows *flows, const uint8_t *body, size_t len,
                            const struct ofp_flow *flow);
/* packets.c: the ring's. */
void openflow_packet(void *opaque, const void *slot);

#endif
