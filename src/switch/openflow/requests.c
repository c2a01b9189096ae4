/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a switch tells of itself and of its ports, and what a controller may set: echo, features,
 * configuration, ports, barriers (1.0.0, 5.3 and 5.4; 1.3.5, 7.3).
 */
#include <stdio.h>

#include "switch/forward/forward.h"
#include "switch/openflow/session.h"

#define PORT_NAME_LEN 16
#define CONFIG_FRAG_MASK 3
/* Bits of the actions that 1.0 has (5.3.1): those that are in actions.c. */
#define ACTIONS_10 0x93f

enum ofp_error answer_echo(struct connection *c, const struct message *m)
{
    struct wire wire = connection_begin(c, OFPT_ECHO_REPLY, m->xid);
    wire_bytes(&wire, m->body, m->len);
    connection_end(c, &wire);
    return OFP_OK;
}

enum ofp_error answer_barrier(struct connection *c, const struct message *m)
{
    bool changed = c->openflow->flows.changed;
    if (flows_publish(&c->openflow->flows) < 0)
        return OFP_FLOW_TABLE_FULL;
    /* Flows that came before the barrier in the same message end in time, too. */
    if (changed)
        openflow_hurry(c->openflow);
    struct wire wire =
        connection_begin(c, is_13(c) ? OFPT13_BARRIER_REPLY : OFPT10_BARRIER_REPLY, m->xid);
    connection_end(c, &wire);
    return OFP_OK;
}

/* --- Features ---------------------------------------------------------------- */

/* FNV-1a. */
uint64_t openflow_datapath_id(const struct bridge *bridge)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *p = bridge->name; *p; p++)
        hash = (hash ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
    return UINT64_C(0x020000000000) | (hash & UINT64_C(0xffffffffff));
}

enum ofp_error answer_features(struct connection *c, const struct message *m)
{
    const struct bridge *bridge = c->openflow->bridge;
    uint32_t capabilities =
        OFP_CAPABILITY_FLOW_STATS | OFP_CAPABILITY_TABLE_STATS | OFP_CAPABILITY_PORT_STATS;
    struct wire wire = connection_begin(c, OFPT_FEATURES_REPLY, m->xid);
    wire_put(&wire, openflow_datapath_id(bridge), 8);
    wire_put(&wire, 0, 4); /* no buffers */
    wire_put(&wire, 1, 1); /* table */
    wire_zeroes(&wire, 3);
    wire_put(&wire, capabilities | (is_13(c) ? 0 : OFP_CAPABILITY_ARP_MATCH_IP), 4);
    wire_put(&wire, is_13(c) ? 0 : ACTIONS_10, 4);
    if (!is_13(c)) {
        list_for_each (node, &bridge->ports)
            put_port_description(&wire, c, list_entry(node, struct port, node));
    }
    connection_end(c, &wire);
    return OFP_OK;
}

/* --- Configuration -------------------------------------------------------------- */

enum ofp_error answer_config(struct connection *c, const struct message *m)
{
    struct wire wire = connection_begin(c, OFPT_GET_CONFIG_REPLY, m->xid);
    wire_put(&wire, c->flags, 2);
    wire_put(&wire, c->miss_len, 2);
    connection_end(c, &wire);
    return OFP_OK;
}

/* Fragments are neither put together nor dropped, whatever is asked. */
enum ofp_error set_config(struct connection *c, const struct message *m)
{
    if (m->len < 4)
        return OFP_BAD_LEN;
    c->flags = (uint16_t)(load_be(m->body, 2) & ~(uint64_t)CONFIG_FRAG_MASK);
    c->miss_len = (uint16_t)load_be(m->body + 2, 2);
    return OFP_OK;
}

/* --- Ports ---------------------------------------------------------------------- */

/* Theirs and ours (1.0.0, 5.2.1; 1.3.5, 7.2.1.1). */
static const struct config {
    uint32_t openflow;
    uint8_t port;
    bool only_10;
} configs[] = {
    {OFPPC_PORT_DOWN, PORT_DISABLED, false},        {OFPPC_NO_RECV, PORT_NO_RECEIVE, false},
    {OFPPC_NO_FWD, PORT_NO_FORWARD, false},         {OFPPC_NO_FLOOD, PORT_NO_FLOOD, true},
    {OFPPC_NO_PACKET_IN, PORT_NO_PACKET_IN, false},
};

static bool knows(const struct connection *c, const struct config *config)
{
    return !config->only_10 || !is_13(c);
}

/* Made up: what is behind a port has addresses of its own. */
static void put_hardware_address(struct wire *wire, const struct connection *c,
                                 const struct port *port)
{
    uint64_t id = openflow_datapath_id(c->openflow->bridge);
    bool local = port->of_number == PORT_NUMBER_LOCAL;
    wire_put(wire, local ? id : (id & ~UINT64_C(0xffff)) ^ port->of_number, 6);
}

void put_port_description(struct wire *wire, const struct connection *c, const struct port *port)
{
    char name[PORT_NAME_LEN] = {0};
    uint32_t config = 0;
    snprintf(name, sizeof(name), "%.*s", (int)sizeof(name) - 1, port->name);
    for (unsigned i = 0; i < ARRAY_SIZE(configs); i++)
        config |= port->config & configs[i].port && knows(c, &configs[i]) ? configs[i].openflow : 0;
    put_port(wire, c, port->of_number);
    wire_zeroes(wire, is_13(c) ? 4 : 0);
    put_hardware_address(wire, c, port);
    wire_zeroes(wire, is_13(c) ? 2 : 0);
    wire_bytes(wire, name, sizeof(name));
    wire_put(wire, config, 4);
    wire_put(wire, port->up ? 0 : OFPPS_LINK_DOWN, 4);
    wire_zeroes(wire, 16);               /* features: what is behind is not known */
    wire_zeroes(wire, is_13(c) ? 8 : 0); /* nor its speeds */
}

/* As the messages' reasons are numbered (1.0.0, 5.4.3; 1.3.5, 7.4.3). */
void openflow_tell_port(struct openflow *openflow, const struct port *port,
                        enum openflow_port_change change)
{
    if (!openflow)
        return;
    list_for_each (node, &openflow->connections) {
        struct connection *c = list_entry(node, struct connection, node);
        if (!c->version || c->snoops)
            continue;
        struct wire wire = connection_begin(c, OFPT_PORT_STATUS, 0);
        wire_put(&wire, change, 1);
        wire_zeroes(&wire, 7);
        put_port_description(&wire, c, port);
        connection_end(c, &wire);
    }
}

struct config_task {
    struct port *port;
    uint8_t config;
};

static void configure_here(void *opaque)
{
    struct config_task *task = opaque;
    task->port->config = task->config;
}

enum ofp_error change_port(struct connection *c, const struct message *m)
{
    struct openflow *openflow = c->openflow;
    const size_t address = is_13(c) ? 8 : 2, config_at = is_13(c) ? 16 : 8;
    uint16_t number;
    if (m->len != (is_13(c) ? 32 : 24))
        return OFP_BAD_LEN;
    if (!is_13(c))
        number = (uint16_t)load_be(m->body, 2);
    else if (!ofp13_port_read((uint32_t)load_be(m->body, 4), &number))
        return OFP_PORT_BAD_NUMBER;
    struct port *port = bridge_port_numbered(openflow->bridge, number);
    if (!port)
        return OFP_PORT_BAD_NUMBER;
    uint8_t known[6];
    struct wire wire = {.data = known, .room = sizeof(known)};
    put_hardware_address(&wire, c, port);
    if (memcmp(known, m->body + address, sizeof(known)) != 0)
        return OFP_PORT_BAD_ADDRESS;
    uint32_t config = (uint32_t)load_be(m->body + config_at, 4);
    uint32_t mask = (uint32_t)load_be(m->body + config_at + 4, 4);
    struct config_task task = {port, port->config};
    for (unsigned i = 0; i < ARRAY_SIZE(configs); i++) {
        if (!(mask & configs[i].openflow) || !knows(c, &configs[i]))
            continue;
        mask &= ~configs[i].openflow;
        task.config = (uint8_t)(task.config & ~configs[i].port);
        task.config |= config & configs[i].openflow ? configs[i].port : 0;
    }
    /* Others cannot be set; that they are not may be said. */
    if (config & mask)
        return OFP_PORT_BAD_CONFIG;
    bool changes = task.config != port->config;
    forward_run(openflow->bridge->forward, configure_here, &task);
    if (changes)
        openflow_tell_port(openflow, port, OPENFLOW_PORT_CHANGED);
    return OFP_OK;
}
