/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenFlow: matches there and back, messages that are not what they say, and what actions make of
 * frames between guests. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "switch/openflow/connection.h"
#include "switch_guest.h"
#include "unit.h"

#define GUESTS 2
#define LEN 60

static struct switch_bench bench;
static struct switch_guest guests[GUESTS];
static struct openflow *openflow;
static struct connection *controller;
static char directory[] = "/tmp/openflowXXXXXX";
static int sockets[2];
static uint8_t got[65536];

/* --- Matches --------------------------------------------------------------------- */

static size_t put_field(uint8_t *to, unsigned field, const void *value, unsigned len)
{
    store_be(to, 0x8000, 2);
    to[2] = (uint8_t)(field << 1);
    to[3] = (uint8_t)len;
    memcpy(to + 4, value, len);
    return 4 + len;
}

static enum ofp_error read_fields(const uint8_t *fields, size_t len, struct flow_match *match)
{
    uint8_t data[256] = {0, 1};
    size_t used;
    store_be(data + 2, 4 + len, 2);
    memcpy(data + 4, fields, len);
    return ofp13_match_read(data, ALIGN_UP(4 + len, (size_t)8), match, &used);
}

static void matches_of_13_come_back_as_they_were(void **state)
{
    static const uint8_t type[] = {0x86, 0xdd}, protocol[] = {58}, vlan[] = {0x10, 7},
                         icmp[] = {135};
    static const uint8_t target[16] = {0x20, 1, 0xd, 0xb8, [15] = 9};
    uint8_t fields[128];
    size_t len = 0;
    struct flow_match match, again;
    len += put_field(fields + len, OXM_VLAN_VID, vlan, 2);
    len += put_field(fields + len, OXM_ETH_TYPE, type, 2);
    len += put_field(fields + len, OXM_IP_PROTO, protocol, 1);
    len += put_field(fields + len, OXM_ICMPV6_TYPE, icmp, 1);
    len += put_field(fields + len, OXM_IPV6_ND_TARGET, target, 16);
    assert_int_equal(read_fields(fields, len, &match), OFP_OK);
    assert_int_equal(match.key.vlan, 7 | OFP_VLAN_PRESENT);
    assert_int_equal(match.key.type, FLOW_TYPE_IPV6);
    assert_int_equal(match.key.from_port, 135);
    assert_memory_equal(match.key.target, target, 16);
    uint8_t data[256];
    struct wire wire = {.data = data, .room = sizeof(data)};
    ofp13_match_write(&wire, &match);
    assert_int_equal(wire.len % 8, 0);
    size_t used;
    assert_int_equal(ofp13_match_read(data, wire.len, &again, &used), OFP_OK);
    assert_int_equal(used, wire.len);
    assert_memory_equal(&match, &again, sizeof(match));
}

static void matches_of_10_come_back_as_they_were(void **state)
{
    /* TCP to 10.1.0.0/16 port 80 of VLAN 7 that comes in at port 3. */
    uint8_t data[OFP10_MATCH_LEN] = {0}, back[OFP10_MATCH_LEN];
    struct flow_match match, again;
    store_be(data, 0x3fffff & ~(1U | 2 | 0x10 | 0x20 | 0x80 | (0x3fU << 14)), 4);
    store_be(data, load_be(data, 4) | 16U << 14, 4);
    store_be(data + 4, 3, 2);
    store_be(data + 18, 7, 2);
    store_be(data + 22, FLOW_TYPE_IPV4, 2);
    data[25] = 6;
    store_be(data + 32, 0x0a010000, 4);
    store_be(data + 38, 80, 2);
    assert_int_equal(ofp10_match_read(data, &match), OFP_OK);
    assert_int_equal(match.mask.to[1], 0xff);
    assert_int_equal(match.mask.to[2], 0);
    assert_int_equal(match.key.to_port, 80);
    struct wire wire = {.data = back, .room = sizeof(back)};
    ofp10_match_write(&wire, &match);
    assert_int_equal(wire.len, OFP10_MATCH_LEN);
    assert_false(wire.overflow);
    assert_int_equal(ofp10_match_read(back, &again), OFP_OK);
    assert_memory_equal(&match, &again, sizeof(match));
}

static void fields_that_cannot_be_are_refused_by_name(void **state)
{
    static const uint8_t zeroes[40], ip[] = {8, 0}, vlan[] = {0x20, 0};
    uint8_t fields[128];
    struct flow_match match;
    size_t len = put_field(fields, OXM_IPV4_SRC, zeroes, 4);
    assert_int_equal(read_fields(fields, len, &match), OFP_MATCH_BAD_PREREQUISITE);
    len = put_field(fields, OXM_ETH_TYPE, ip, 2);
    len += put_field(fields + len, OXM_ETH_TYPE, ip, 2);
    assert_int_equal(read_fields(fields, len, &match), OFP_MATCH_DUPLICATE);
    len = put_field(fields, OXM_VLAN_VID, vlan, 2);
    assert_int_equal(read_fields(fields, len, &match), OFP_MATCH_BAD_VALUE);
    len = put_field(fields, OXM_ETH_TYPE, zeroes, 4);
    assert_int_equal(read_fields(fields, len, &match), OFP_MATCH_BAD_LEN);
    len = put_field(fields, 38, zeroes, 8);
    assert_int_equal(read_fields(fields, len, &match), OFP_MATCH_BAD_FIELD);
    len = put_field(fields, OXM_ETH_TYPE, ip, 2);
    assert_int_equal(read_fields(fields, len - 1, &match), OFP_MATCH_BAD_LEN);
    fields[2] |= 1; /* a mask, that is not there */
    assert_int_equal(read_fields(fields, len, &match), OFP_MATCH_BAD_LEN);
}

/* --- Guests and a controller ------------------------------------------------------- */

static int set_up(void **state)
{
    struct kv_error err = {0};
    log_level = LOG_ERROR;
    switch_bench_init(&bench);
    for (unsigned i = 0; i < GUESTS; i++) {
        switch_guest_init(&guests[i], &bench, false, GUEST_BUFFER);
        switch_guest_start(&guests[i]);
    }
    strcpy(directory + sizeof(directory) - 7, "XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    openflow = openflow_start(bench.bridge, &bench.loop, directory, &err);
    if (!openflow || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) < 0 ||
        connection_add(openflow, sockets[0], false) < 0)
        return -1;
    controller = list_entry(openflow->connections.next, struct connection, node);
    const uint8_t hello[] = {4, 0, 0, 8, 0, 0, 0, 1};
    return connection_take(controller, hello, sizeof(hello));
}

static int tear_down(void **state)
{
    openflow_stop(openflow);
    rmdir(directory);
    close(sockets[1]);
    for (unsigned i = 0; i < GUESTS; i++)
        switch_guest_destroy(&guests[i], &bench);
    switch_bench_destroy(&bench);
    return 0;
}

/* The only flow, for what guest 0 sends. */
static void set_actions(const struct flow_action *list, unsigned count)
{
    struct flows *flows = &openflow->flows;
    struct ofp_flow flow = {.match = {.key.in_port = 1, .mask.in_port = 0xffff}, .priority = 5};
    struct flow_actions actions = {.count = count};
    memcpy(actions.list, list, count * sizeof(*list));
    assert_int_equal(flows_add(flows, &flow, &actions), OFP_OK);
    assert_int_equal(flows_publish(flows), 0);
}

static unsigned make(uint8_t *frame, int vlan)
{
    unsigned at = 12;
    memset(frame, 6, 6);
    memset(frame + 6, 2, 6);
    if (vlan >= 0) {
        store_be(frame + 12, 0x81000000 | (unsigned)vlan, 4);
        at = 16;
    }
    store_be(frame + at, 0x88b5, 2);
    for (unsigned i = at + 2; i < LEN; i++)
        frame[i] = (uint8_t)(i - at);
    return LEN;
}

/* What guest 1 gets of a frame that guest 0 sends; its length. */
static unsigned pass(int vlan)
{
    uint8_t frame[LEN];
    switch_guest_send(&guests[0], frame, make(frame, vlan));
    switch_step(&bench);
    return switch_guest_receive(&guests[1], got, sizeof(got));
}

/* The bytes behind the type, from which on they count. */
static void assert_rest(unsigned at, unsigned len)
{
    assert_int_equal(load_be(got + at, 2), 0x88b5);
    for (unsigned i = at + 2; i < len; i++)
        assert_int_equal(got[i], i - at);
}

static void tags_are_put_in_changed_and_taken_out(void **state)
{
    const struct flow_action add[] = {
        {FLOW_SET_VLAN, .number = 9}, {FLOW_SET_PRIORITY, .number = 5}, {FLOW_OUTPUT, .number = 2}};
    set_actions(add, 3);
    assert_int_equal(pass(-1), LEN + 4);
    assert_int_equal(load_be(got + 12, 4), 0x81000000 | 5U << 13 | 9);
    assert_rest(16, LEN + 4);
    assert_int_equal(pass(7), LEN);
    assert_int_equal(load_be(got + 12, 4), 0x81000000 | 5U << 13 | 9);
    assert_rest(16, LEN);
    const struct flow_action remove[] = {{FLOW_POP_VLAN}, {FLOW_OUTPUT, .number = 2}};
    set_actions(remove, 2);
    assert_int_equal(pass(7), LEN - 4);
    assert_rest(12, LEN - 4);
    assert_int_equal(pass(-1), LEN);
    assert_rest(12, LEN);
    const struct flow_action both[] = {{FLOW_PUSH_VLAN},
                                       {FLOW_SET_VLAN, .number = 3},
                                       {FLOW_OUTPUT, .number = 2},
                                       {FLOW_POP_VLAN},
                                       {FLOW_OUTPUT, .number = 2}};
    set_actions(both, 5);
    assert_int_equal(pass(-1), LEN + 4);
    assert_rest(16, LEN + 4);
    assert_int_equal(switch_guest_receive(&guests[1], got, sizeof(got)), LEN);
    assert_rest(12, LEN);
}

static void addresses_are_set_and_frames_do_not_come_back_unless_asked(void **state)
{
    const struct flow_action set[] = {{FLOW_SET_TO_MAC, .mac = {0xaa, 1, 2, 3, 4, 5}},
                                      {FLOW_SET_FROM_MAC, .mac = {0xba, 1, 2, 3, 4, 5}},
                                      {FLOW_OUTPUT, .number = 1},
                                      {FLOW_OUTPUT, .number = 2}};
    set_actions(set, 4);
    assert_int_equal(pass(-1), LEN);
    assert_int_equal(got[0], 0xaa);
    assert_int_equal(got[6], 0xba);
    assert_int_equal(switch_guest_receive(&guests[0], got, sizeof(got)), 0);
    const struct flow_action back[] = {{FLOW_IN_PORT}};
    set_actions(back, 1);
    assert_int_equal(pass(-1), 0);
    assert_int_equal(switch_guest_receive(&guests[0], got, sizeof(got)), LEN);
    const struct flow_action none[1] = {{0}};
    set_actions(none, 0);
    assert_int_equal(pass(-1), 0);
    assert_int_equal(guests[0].vp->port.counters.drops[DROP_FLOW], 1);
}

static void a_bridge_with_the_first_flow_alone_has_no_table(void **state)
{
    const struct flow_selection all = {.strict = true,
                                       .priority = 5,
                                       .out_port = OFPP_NONE,
                                       .match = {.key.in_port = 1, .mask.in_port = 0xffff}};
    const struct flow_action drop[1] = {{0}};
    assert_null(bench.bridge->flows);
    assert_int_equal(pass(-1), LEN);
    set_actions(drop, 0);
    assert_non_null(bench.bridge->flows);
    unsigned count;
    struct flow_actions normal = {.count = 1, .list = {{.op = FLOW_NORMAL}}};
    assert_int_equal(flows_modify(&openflow->flows, &all, &normal, false, &count), OFP_OK);
    assert_int_equal(count, 1);
    assert_int_equal(flows_publish(&openflow->flows), 0);
    assert_int_equal(pass(-1), LEN);
    flows_count(&openflow->flows);
    struct ofp_flow *first = list_entry(openflow->flows.list.next, struct ofp_flow, node);
    assert_int_equal(first->frames, 1);
}

static void mirrors_see_what_flows_take_away(void **state)
{
    const struct flow_action drop[1] = {{0}};
    set_actions(drop, 0);
    bridge_mirror(&guests[0].vp->port, &guests[1].vp->port, MIRROR_IN);
    assert_int_equal(pass(-1), LEN);
    assert_rest(12, LEN);
    bridge_mirror(&guests[0].vp->port, NULL, 0);
    assert_int_equal(pass(-1), 0);
}

static void lengths_that_lie_are_refused_and_nothing_else_happens(void **state)
{
    /* A flow-mod whose match is longer than it, one with an action of no length, half a one. */
    static const uint8_t fixed[48] = {4, 14, 0, 64, 0, 0, 0, 7, [32] = 0xff, 0xff, 0xff, 0xff};
    uint8_t message[80];
    struct ofp_error_code code;
    for (unsigned i = 0; i < 3; i++) {
        memset(message, 0, sizeof(message));
        memcpy(message, fixed, sizeof(fixed));
        store_be(message + 48, i == 0 ? 0x00010400 : 0x00010004, 4);
        store_be(message + 56, i == 1 ? 0x00040008 : 0x00040028, 4);
        store_be(message + 2, i == 2 ? 40 : 64, 2);
        assert_int_equal(connection_take(controller, message, i == 2 ? 40 : 64), 0);
    }
    unsigned errors = 0;
    ssize_t n = read(sockets[1], got, sizeof(got));
    for (ssize_t at = 0; at < n; at += (ssize_t)load_be(got + at + 2, 2)) {
        code = (struct ofp_error_code){(uint16_t)load_be(got + at + 8, 2), 0};
        errors += got[at + 1] == OFPT_ERROR && code.type;
    }
    assert_int_equal(errors, 2); /* the second has no actions, which is a flow */
    assert_int_equal(openflow->flows.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        cmocka_unit_test(matches_of_13_come_back_as_they_were),
        cmocka_unit_test(matches_of_10_come_back_as_they_were),
        cmocka_unit_test(fields_that_cannot_be_are_refused_by_name),
        TEST(tags_are_put_in_changed_and_taken_out),
        TEST(addresses_are_set_and_frames_do_not_come_back_unless_asked),
        TEST(a_bridge_with_the_first_flow_alone_has_no_table),
        TEST(mirrors_see_what_flows_take_away),
        TEST(lengths_that_lie_are_refused_and_nothing_else_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
