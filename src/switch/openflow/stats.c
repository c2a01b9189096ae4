/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statistics (1.0.0, 5.3.5), multipart messages (1.3.5, 7.3.5): requests, and answers in as many
 * messages as they take. */
#include <stdio.h>

#include "base/version.h"
#include "switch/forward/forward.h"
#include "switch/openflow/session.h"

#define DESC_LEN 256
#define SERIAL_LEN 32
#define TABLE_NAME_LEN 32
#define PART_FULL 60000 /* the longest entry fits behind it */
#define SECOND_NS INT64_C(1000000000)
#define ANY_10 0x3fffff /* all wildcards */

/* An answer, part by part. */
struct answer {
    struct connection *c;
    const struct message *m;
    struct wire wire;
};

static void begin_part(struct answer *a)
{
    bool v13 = is_13(a->c);
    a->wire = connection_begin(a->c, v13 ? OFPT13_MULTIPART_REPLY : OFPT10_STATS_REPLY, a->m->xid);
    wire_bytes(&a->wire, a->m->body, 2);
    wire_put(&a->wire, 0, 2);
    wire_zeroes(&a->wire, v13 ? 4 : 0);
}

/* Where the next entry goes. */
static struct wire *next_entry(struct answer *a)
{
    if (a->wire.len > PART_FULL) {
        wire_patch(&a->wire, OFP_HEADER + 2, OFPMP_MORE, 2);
        connection_end(a->c, &a->wire);
        begin_part(a);
    }
    return &a->wire;
}

/* --- The switch, tables -------------------------------------------------------- */

static void put_text(struct wire *wire, const char *text, size_t room)
{
    size_t len = MIN(strlen(text), room - 1);
    wire_bytes(wire, text, len);
    wire_zeroes(wire, room - len);
}

static enum ofp_error tell_switch(struct answer *a, const uint8_t *body, size_t len)
{
    put_text(&a->wire, "Kvasir", DESC_LEN);
    put_text(&a->wire, "kvasir-switchd", DESC_LEN);
    put_text(&a->wire, KVASIR_VERSION, DESC_LEN);
    put_text(&a->wire, "None", SERIAL_LEN);
    put_text(&a->wire, a->c->openflow->bridge->name, DESC_LEN);
    return OFP_OK;
}

static enum ofp_error tell_tables(struct answer *a, const uint8_t *body, size_t len)
{
    struct flows *flows = &a->c->openflow->flows;
    struct wire *wire = &a->wire;
    uint64_t matched, missed;
    flows_count(flows);
    flows_lookups(flows, &matched, &missed);
    wire_put(wire, 0, 1);
    wire_zeroes(wire, 3);
    if (!is_13(a->c)) {
        put_text(wire, "flows", TABLE_NAME_LEN);
        wire_put(wire, ANY_10, 4);
        wire_put(wire, FLOWS_MAX, 4);
    }
    wire_put(wire, flows->count, 4);
    wire_put(wire, matched + missed, 8);
    wire_put(wire, matched, 8);
    return OFP_OK;
}

/* --- Ports ----------------------------------------------------------------------- */

struct port_look {
    const struct port *port;
    struct port_counters counters;
};

static void look_here(void *opaque)
{
    struct port_look *look = opaque;
    look->counters = look->port->counters;
}

static void put_port_counters(struct answer *a, const struct port *port)
{
    struct port_look look = {.port = port};
    struct wire *wire = next_entry(a);
    const struct port_counters *c = &look.counters;
    forward_run(port->forward, look_here, &look);
    uint64_t in_drops = port_drops_in(c), out_drops = port_drops_out(c);
    const uint64_t values[] = {
        c->in_frames, c->out_frames,           c->in_bytes, c->out_bytes, in_drops,
        out_drops,    c->drops[DROP_MALFORMED]};
    put_port(wire, a->c, port->of_number);
    wire_zeroes(wire, is_13(a->c) ? 4 : 6);
    for (unsigned i = 0; i < 12; i++)
        wire_put(wire, i < ARRAY_SIZE(values) ? values[i] : 0, 8);
    if (is_13(a->c))
        wire_put(wire, UINT64_MAX, 8); /* for how long it is there: not known */
}

/* The port that the request is about; *all: all of them. */
static enum ofp_error read_port(struct answer *a, const uint8_t *body, size_t len,
                                struct port **port, bool *all)
{
    uint16_t number;
    if (len < 8)
        return OFP_BAD_LEN;
    if (!is_13(a->c))
        number = (uint16_t)load_be(body, 2);
    else if (!ofp13_port_read((uint32_t)load_be(body, 4), &number))
        return OFP_BAD_STATS;
    *all = number == OFPP_NONE;
    *port = *all ? NULL : bridge_port_numbered(a->c->openflow->bridge, number);
    return OFP_OK;
}

static enum ofp_error tell_port_counters(struct answer *a, const uint8_t *body, size_t len)
{
    struct port *one;
    bool all;
    enum ofp_error error = read_port(a, body, len, &one, &all);
    if (error != OFP_OK)
        return error;
    if (!all) {
        if (one)
            put_port_counters(a, one);
        return OFP_OK;
    }
    list_for_each (node, &a->c->openflow->bridge->ports)
        put_port_counters(a, list_entry(node, struct port, node));
    return OFP_OK;
}

static enum ofp_error tell_ports(struct answer *a, const uint8_t *body, size_t len)
{
    list_for_each (node, &a->c->openflow->bridge->ports)
        put_port_description(next_entry(a), a->c, list_entry(node, struct port, node));
    return OFP_OK;
}

/* --- Flows ------------------------------------------------------------------------- */

/* Which flows a question is about; *none: those of a table that is not there. */
static enum ofp_error read_selection(const struct answer *a, const uint8_t *body, size_t len,
                                     struct flow_selection *selection, bool *none)
{
    size_t used;
    uint8_t table;
    *selection = (struct flow_selection){.out_port = OFPP_NONE};
    if (!is_13(a->c)) {
        if (len != OFP10_MATCH_LEN + 4)
            return OFP_BAD_LEN;
        table = body[OFP10_MATCH_LEN];
        selection->out_port = (uint16_t)load_be(body + OFP10_MATCH_LEN + 2, 2);
        *none = table && table != OFP_TABLE_ALL;
        return ofp10_match_read(body, &selection->match);
    }
    if (len < 32)
        return OFP_BAD_LEN;
    table = body[0];
    *none = table && table != OFP_TABLE_ALL;
    if (!ofp13_port_read((uint32_t)load_be(body + 4, 4), &selection->out_port))
        *none = true;
    selection->cookie = load_be(body + 16, 8);
    selection->cookie_mask = load_be(body + 24, 8);
    return ofp13_match_read(body + 32, len - 32, &selection->match, &used);
}

static void put_flow(struct answer *a, const struct ofp_flow *flow, int64_t now_ns)
{
    struct wire *wire = next_entry(a);
    size_t start = wire->len;
    int64_t age_ns = now_ns - flow->created_ns;
    bool v13 = is_13(a->c);
    wire_put(wire, 0, 2);
    wire_put(wire, 0, 2); /* table, padding */
    if (!v13)
        ofp10_match_write(wire, &flow->match);
    wire_put(wire, (uint64_t)(age_ns / SECOND_NS), 4);
    wire_put(wire, (uint64_t)(age_ns % SECOND_NS), 4);
    wire_put(wire, flow->priority, 2);
    wire_put(wire, flow->idle_s, 2);
    wire_put(wire, flow->hard_s, 2);
    wire_put(wire, v13 ? flow->flags : 0, 2);
    wire_zeroes(wire, 4);
    wire_put(wire, flow->rule.cookie, 8);
    wire_put(wire, flow->frames, 8);
    wire_put(wire, flow->bytes, 8);
    if (v13) {
        ofp13_match_write(wire, &flow->match);
        ofp13_instructions_write(wire, flow->actions);
    } else {
        ofp_actions_write(OFP_10, wire, flow->actions);
    }
    wire_patch(wire, start, wire->len - start, 2);
}

static enum ofp_error tell_flows(struct answer *a, const uint8_t *body, size_t len)
{
    struct flows *flows = &a->c->openflow->flows;
    struct flow_selection selection;
    bool none;
    enum ofp_error error = read_selection(a, body, len, &selection, &none);
    if (error != OFP_OK || none)
        return error;
    int64_t now_ns = clock_monotonic_ns();
    flows_count(flows);
    list_for_each (node, &flows->list) {
        const struct ofp_flow *flow = list_entry(node, struct ofp_flow, node);
        if (flow_is_selected(flow, &selection))
            put_flow(a, flow, now_ns);
    }
    return OFP_OK;
}

static enum ofp_error tell_sum(struct answer *a, const uint8_t *body, size_t len)
{
    struct flows *flows = &a->c->openflow->flows;
    struct flow_selection selection;
    uint64_t frames = 0, bytes = 0;
    unsigned count = 0;
    bool none;
    enum ofp_error error = read_selection(a, body, len, &selection, &none);
    if (error != OFP_OK)
        return error;
    flows_count(flows);
    list_for_each (node, &flows->list) {
        const struct ofp_flow *flow = list_entry(node, struct ofp_flow, node);
        if (none || !flow_is_selected(flow, &selection))
            continue;
        frames += flow->frames;
        bytes += flow->bytes;
        count++;
    }
    wire_put(&a->wire, frames, 8);
    wire_put(&a->wire, bytes, 8);
    wire_put(&a->wire, count, 4);
    wire_zeroes(&a->wire, 4);
    return OFP_OK;
}

static enum ofp_error tell_table_features(struct answer *a, const uint8_t *body, size_t len)
{
    return is_13(a->c) ? put_table_features(&a->wire, len) : OFP_BAD_STATS;
}

/* --- By type ------------------------------------------------------------------------- */

static enum ofp_error (*const tells[])(struct answer *a, const uint8_t *body, size_t len) = {
    [OFPMP_DESC] = tell_switch,
    [OFPMP_FLOW] = tell_flows,
    [OFPMP_AGGREGATE] = tell_sum,
    [OFPMP_TABLE] = tell_tables,
    [OFPMP_PORT] = tell_port_counters,
    [OFPMP_PORT_DESC] = tell_ports,
    [OFPMP_TABLE_FEATURES] = tell_table_features,
};

enum ofp_error answer_stats(struct connection *c, const struct message *m)
{
    const size_t header = is_13(c) ? 8 : 4;
    struct answer a = {.c = c, .m = m};
    if (m->len < header)
        return OFP_BAD_LEN;
    unsigned type = (unsigned)load_be(m->body, 2);
    if (type >= ARRAY_SIZE(tells) || !tells[type])
        return OFP_BAD_STATS;
    begin_part(&a);
    enum ofp_error error = tells[type](&a, m->body + header, m->len - header);
    if (error == OFP_OK)
        connection_end(c, &a.wire);
    return error;
}
