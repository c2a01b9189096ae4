/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flow-mods (1.0.0, 5.3.3; 1.3.5, 7.3.4.1), and telling of flows that are gone (5.4.3; 7.4.2). */
#include "base/log.h"
#include "switch/openflow/session.h"

#define SECOND_NS INT64_C(1000000000)
#define EXPIRY_MIN_NS (SECOND_NS / 10)
#define HURRY_NS (SECOND_NS / 200)

struct change {
    unsigned command;
    struct ofp_flow flow; /* match, priority, timeouts, flags, cookie */
    struct flow_selection selection;
    struct flow_actions actions;
};

/* --- Reading ---------------------------------------------------------------------- */

static enum ofp_error read_10(const struct message *m, struct change *change)
{
    const uint8_t *fixed = m->body + OFP10_MATCH_LEN;
    const size_t len = OFP10_MATCH_LEN + 24;
    if (m->len < len)
        return OFP_BAD_LEN;
    change->flow.rule.cookie = load_be(fixed, 8);
    change->command = (unsigned)load_be(fixed + 8, 2);
    change->flow.idle_s = (uint16_t)load_be(fixed + 10, 2);
    change->flow.hard_s = (uint16_t)load_be(fixed + 12, 2);
    change->flow.priority = (uint16_t)load_be(fixed + 14, 2);
    if (load_be(fixed + 16, 4) != OFP_NO_BUFFER)
        return OFP_BUFFER_UNKNOWN;
    change->selection.out_port = (uint16_t)load_be(fixed + 20, 2);
    change->flow.flags = (uint16_t)load_be(fixed + 22, 2);
    if (change->flow.flags & ~(OFPFF_SEND_FLOW_REM | OFPFF_CHECK_OVERLAP))
        return OFP_FLOW_BAD_FLAGS;
    enum ofp_error error = ofp10_match_read(m->body, &change->flow.match);
    if (error == OFP_OK && change->command < OFPFC_DELETE)
        error = ofp_actions_read(OFP_10, m->body + len, m->len - len, &change->actions);
    return error;
}

static enum ofp_error read_13(const struct message *m, struct change *change)
{
    const uint8_t *body = m->body;
    const size_t fixed = 40;
    size_t used;
    uint16_t out_port;
    if (m->len < fixed)
        return OFP_BAD_LEN;
    change->flow.rule.cookie = load_be(body, 8);
    change->selection.cookie_mask = load_be(body + 8, 8);
    change->command = body[17];
    bool removes = change->command >= OFPFC_DELETE;
    if (body[16] && !(removes && body[16] == OFP_TABLE_ALL))
        return OFP_FLOW_BAD_TABLE;
    change->flow.idle_s = (uint16_t)load_be(body + 18, 2);
    change->flow.hard_s = (uint16_t)load_be(body + 20, 2);
    change->flow.priority = (uint16_t)load_be(body + 22, 2);
    if (!removes && load_be(body + 24, 4) != OFP_NO_BUFFER)
        return OFP_BUFFER_UNKNOWN;
    if (!ofp13_port_read((uint32_t)load_be(body + 28, 4), &out_port))
        return OFP_ACTION_BAD_PORT;
    change->selection.out_port = removes ? out_port : OFPP_NONE;
    change->flow.flags = (uint16_t)load_be(body + 36, 2);
    if (change->flow.flags & ~(OFPFF_SEND_FLOW_REM | OFPFF_CHECK_OVERLAP | OFPFF_RESET_COUNTS))
        return OFP_FLOW_BAD_FLAGS;
    enum ofp_error error =
        ofp13_match_read(body + fixed, m->len - fixed, &change->flow.match, &used);
    if (error == OFP_OK && !removes)
        error =
            ofp13_instructions_read(body + fixed + used, m->len - fixed - used, &change->actions);
    return error;
}

void put_flow_mod(struct wire *wire, const struct ofp_flow *flow)
{
    wire_put(wire, flow->rule.cookie, 8);
    wire_put(wire, 0, 8); /* the cookie's mask */
    wire_put(wire, 0, 1); /* table */
    wire_put(wire, OFPFC_ADD, 1);
    wire_put(wire, flow->idle_s, 2);
    wire_put(wire, flow->hard_s, 2);
    wire_put(wire, flow->priority, 2);
    wire_put(wire, OFP_NO_BUFFER, 4);
    wire_put(wire, ofp13_port_write(OFPP_NONE), 4);
    wire_put(wire, UINT32_MAX, 4); /* no group */
    wire_put(wire, flow->flags & ~(unsigned)OFPFF_CHECK_OVERLAP, 2);
    wire_zeroes(wire, 2);
    ofp13_match_write(wire, &flow->match);
    ofp13_instructions_write(wire, flow->actions);
}

enum ofp_error add_flow_mod(struct flows *flows, const uint8_t *body, size_t len,
                            const struct ofp_flow *flow)
{
    const struct message m = {.version = OFP_13, .body = body, .len = len};
    struct change change = {0};
    enum ofp_error error = read_13(&m, &change);
    if (error != OFP_OK)
        return error;
    change.flow.frames = flow->frames;
    change.flow.bytes = flow->bytes;
    change.flow.used_ns = flow->used_ns;
    return flows_add(flows, &change.flow, &change.actions);
}

/* --- Flows that are gone ------------------------------------------------------------- */

static void tell_removed(struct connection *c, const struct ofp_flow *flow, enum ofp_removed why)
{
    struct wire wire = connection_begin(c, OFPT_FLOW_REMOVED, 0);
    int64_t age_ns = clock_monotonic_ns() - flow->created_ns;
    if (!is_13(c))
        ofp10_match_write(&wire, &flow->match);
    wire_put(&wire, flow->rule.cookie, 8);
    wire_put(&wire, flow->priority, 2);
    wire_put(&wire, why, 1);
    wire_put(&wire, 0, 1); /* table; padding in 1.0 */
    wire_put(&wire, (uint64_t)(age_ns / SECOND_NS), 4);
    wire_put(&wire, (uint64_t)(age_ns % SECOND_NS), 4);
    wire_put(&wire, flow->idle_s, 2);
    wire_put(&wire, is_13(c) ? flow->hard_s : 0, 2);
    wire_put(&wire, flow->frames, 8);
    wire_put(&wire, flow->bytes, 8);
    if (is_13(c))
        ofp13_match_write(&wire, &flow->match);
    connection_end(c, &wire);
}

static void on_removed(void *opaque, const struct ofp_flow *flow, enum ofp_removed why)
{
    struct openflow *openflow = opaque;
    if (!(flow->flags & OFPFF_SEND_FLOW_REM))
        return;
    list_for_each (node, &openflow->connections) {
        struct connection *c = list_entry(node, struct connection, node);
        if (c->version && !c->snoops)
            tell_removed(c, flow, why);
    }
}

void openflow_expire(void *opaque)
{
    struct openflow *openflow = opaque;
    int64_t wait_ns = flows_expire(&openflow->flows, on_removed, openflow);
    if (flows_publish(&openflow->flows) < 0)
        log_warning("OpenFlow of '%s': no memory for its flows", openflow->bridge->name);
    openflow->hurries = false;
    loop_timer_cancel(&openflow->expiry);
    if (wait_ns)
        loop_timer_arm(openflow->loop, &openflow->expiry, MAX(wait_ns, EXPIRY_MIN_NS),
                       openflow_expire, openflow);
}

void openflow_hurry(struct openflow *openflow)
{
    if (openflow->hurries)
        return;
    openflow->hurries = true;
    loop_timer_cancel(&openflow->expiry);
    loop_timer_arm(openflow->loop, &openflow->expiry, HURRY_NS, openflow_expire, openflow);
}

/* --- Changes --------------------------------------------------------------------------- */

static enum ofp_error modify(struct flows *flows, const struct change *change, bool adds)
{
    unsigned count;
    bool reset = change->flow.flags & OFPFF_RESET_COUNTS;
    enum ofp_error error = flows_modify(flows, &change->selection, &change->actions, reset, &count);
    /* 1.0 adds the flow where there is none (4.6). */
    if (error == OFP_OK && count == 0 && adds)
        error = flows_add(flows, &change->flow, &change->actions);
    return error;
}

enum ofp_error change_flows(struct connection *c, const struct message *m)
{
    struct flows *flows = &c->openflow->flows;
    struct change change = {0};
    enum ofp_error error = (is_13(c) ? read_13 : read_10)(m, &change);
    if (error != OFP_OK)
        return error;
    change.selection.match = change.flow.match;
    change.selection.priority = change.flow.priority;
    change.selection.cookie = change.flow.rule.cookie;
    change.selection.strict =
        change.command == OFPFC_MODIFY_STRICT || change.command == OFPFC_DELETE_STRICT;
    switch (change.command) {
    case OFPFC_ADD:
        return flows_add(flows, &change.flow, &change.actions);
    case OFPFC_MODIFY:
    case OFPFC_MODIFY_STRICT:
        change.selection.out_port = OFPP_NONE;
        return modify(flows, &change, !is_13(c));
    case OFPFC_DELETE:
    case OFPFC_DELETE_STRICT:
        flows_delete(flows, &change.selection, on_removed, c->openflow);
        return OFP_OK;
    default:
        return OFP_FLOW_BAD_COMMAND;
    }
}
