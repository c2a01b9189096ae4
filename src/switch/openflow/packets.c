/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames from and to controllers: packet-outs (1.0.0, 5.3.6; 1.3.5, 7.3.7), packet-ins (5.4.1;
 * 7.4.1). Nothing is buffered: a packet-in has the frame, or as much of it as was asked for. */
#include "switch/forward/forward.h"
#include "switch/openflow/session.h"

#define UNASKED_MAX KIB(256) /* waits for a controller that does not read; more is lost */

/* --- In ----------------------------------------------------------------------------- */

static void tell(struct connection *c, const struct flow_packet *packet)
{
    /* Without buffers what an action asks for is for those that are too long only (1.3). */
    uint16_t max = packet->missed ? c->miss_len : packet->max_len;
    size_t len = MIN(packet->len, max);
    enum ofp_reason reason = packet->missed ? OFPR_NO_MATCH : OFPR_ACTION;
    struct wire wire = connection_begin(c, OFPT_PACKET_IN, 0);
    wire_put(&wire, OFP_NO_BUFFER, 4);
    wire_put(&wire, packet->frame_bytes, 2);
    if (is_13(c)) {
        const struct flow_match match = {.key.in_port = packet->in_port, .mask.in_port = 0xffff};
        wire_put(&wire, reason, 1);
        wire_put(&wire, 0, 1); /* table */
        wire_put(&wire, packet->cookie, 8);
        ofp13_match_write(&wire, &match);
        wire_zeroes(&wire, 2);
    } else {
        wire_put(&wire, packet->in_port, 2);
        wire_put(&wire, reason, 1);
        wire_zeroes(&wire, 1);
    }
    wire_bytes(&wire, packet->bytes, len);
    connection_end(c, &wire);
}

void openflow_packet(void *opaque, const void *slot)
{
    struct openflow *openflow = opaque;
    const struct flow_packet *packet = slot;
    list_for_each (node, &openflow->connections) {
        struct connection *c = list_entry(node, struct connection, node);
        /* In 1.3 frames that match nothing are dropped (5.4). */
        if (c->version && !c->snoops && c->miss_len && c->out.len <= UNASKED_MAX &&
            !(packet->missed && is_13(c)))
            tell(c, packet);
    }
}

/* --- Out ----------------------------------------------------------------------------- */

struct out {
    struct openflow *openflow;
    uint16_t in_port;
    struct flow_actions actions;
    struct frame frame;
};

static void send_here(void *opaque)
{
    struct out *out = opaque;
    struct bridge *bridge = out->openflow->bridge;
    struct port *from = bridge_port_numbered(bridge, out->in_port);
    flow_table_execute(bridge->flows, bridge, from, &out->actions, &out->frame);
}

enum ofp_error send_packet(struct connection *c, const struct message *m)
{
    const size_t fixed = is_13(c) ? 16 : 8;
    struct out out = {.openflow = c->openflow};
    if (m->len < fixed)
        return OFP_BAD_LEN;
    if (load_be(m->body, 4) != OFP_NO_BUFFER)
        return OFP_BUFFER_UNKNOWN;
    if (!is_13(c))
        out.in_port = (uint16_t)load_be(m->body + 4, 2);
    else if (!ofp13_port_read((uint32_t)load_be(m->body + 4, 4), &out.in_port))
        return OFP_ACTION_BAD_PORT;
    size_t actions = load_be(m->body + (is_13(c) ? 8 : 6), 2);
    if (actions > m->len - fixed)
        return OFP_BAD_LEN;
    enum ofp_error error = ofp_actions_read(c->version, m->body + fixed, actions, &out.actions);
    if (error != OFP_OK)
        return error;
    size_t bytes = m->len - fixed - actions;
    if (bytes < FRAME_BYTES_MIN || bytes > FRAME_BYTES_MAX)
        return OFP_BAD_LEN;
    if (flows_publish(&c->openflow->flows) < 0)
        return OFP_FLOW_TABLE_FULL;
    frame_set_bytes(&out.frame, m->body + fixed + actions, bytes);
    forward_run(c->openflow->bridge->forward, send_here, &out);
    return OFP_OK;
}
