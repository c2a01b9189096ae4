/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filters on a bridge's way: bursts of frames that are alike and not, between guests, of which each
 * arrives where the rules let it, in order, and is counted. */
#include <netinet/in.h>
#include <stdlib.h>

#include "base/util.h"
#include "flow_frames.h"
#include "switch/filter/filter.h"
#include "switch_guest.h"
#include "unit.h"

#define GUESTS 3
#define BURST 40
#define EVERYBODY 0xff

static struct switch_bench bench;
static struct switch_guest guests[GUESTS];
static struct filter filters[GUESTS];
static uint8_t got[65536];

static struct acl *make_acl(const char *rule)
{
    struct kv_error err = {0};
    json_error_t where;
    json_t *object = json_pack("{s:s, s:[o]}", "name", "x", "rules", json_loads(rule, 0, &where));
    struct acl *acl = acl_new(object, &err);
    if (!acl)
        fail_msg("%s", err.message);
    json_decref(object);
    return acl;
}

static int set_up(void **state)
{
    struct kv_error err;
    switch_bench_init(&bench);
    assert_int_equal(bridge_prepare_filters(bench.bridge, &err), 0);
    for (unsigned i = 0; i < GUESTS; i++) {
        switch_guest_init(&guests[i], &bench, false, GUEST_BUFFER);
        switch_guest_start(&guests[i]);
    }
    filters[0].acl =
        make_acl("{\"action\": \"deny\", \"direction\": \"in\", \"protocol\": \"udp\", "
                 "\"to-ports\": \"7\"}");
    filters[1].acl =
        make_acl("{\"action\": \"deny\", \"direction\": \"out\", \"protocol\": \"udp\", "
                 "\"from-ports\": \"9\"}");
    guests[0].vp->port.filter = &filters[0];
    guests[1].vp->port.filter = &filters[1];
    return 0;
}

static int tear_down(void **state)
{
    for (unsigned i = 0; i < GUESTS; i++) {
        switch_guest_destroy(&guests[i], &bench);
        acl_free(filters[i].acl);
        filters[i].acl = NULL;
    }
    switch_bench_destroy(&bench);
    return 0;
}

static void make(struct packet *p, unsigned to, unsigned from, unsigned to_port, unsigned from_port,
                 unsigned number)
{
    packet_ipv4(p, to, from, IPPROTO_UDP);
    packet_udp(p, to_port, from_port, 12 + (number % 7 == 0 ? 300 : 0));
    if (to == EVERYBODY)
        memset(p->bytes, 0xff, 6);
    /* What tells frames apart is nothing that a rule looks at. */
    packet_set16(p, p->l3 + 4, number);
}

static void teach_where_guests_are(void)
{
    struct packet p;
    for (unsigned i = 0; i < GUESTS; i++) {
        packet_arp(&p, 1, 100, i);
        switch_guest_send(&guests[i], p.bytes, p.len);
        switch_step(&bench);
    }
    for (unsigned i = 0; i < GUESTS; i++) {
        while (switch_guest_receive(&guests[i], got, sizeof(got)))
            continue;
    }
}

static void each_frame_of_a_burst_goes_where_the_rules_let_it(void **state)
{
    static const unsigned receivers[] = {1, 1, 1, 2, EVERYBODY};
    static const unsigned ports[] = {7, 8, 9};
    struct packet p;
    unsigned denied_in = 0, denied_out = 0, passed = 0;
    srandom(11);
    teach_where_guests_are();
    for (unsigned round = 0; round < 100; round++) {
        unsigned expected[GUESTS][BURST], count[GUESTS] = {0};
        unsigned to = 1, to_port = 8, from_port = 8;
        for (unsigned i = 0; i < BURST; i++) {
            /* Often like the one before. */
            if (random() % 2)
                to = receivers[random() % 5];
            if (random() % 2)
                to_port = ports[random() % 3];
            if (random() % 2)
                from_port = ports[random() % 3];
            unsigned number = round * BURST + i;
            make(&p, to, 0, to_port, from_port, number);
            switch_guest_send(&guests[0], p.bytes, p.len);
            denied_in += to_port == 7;
            if (to_port == 7)
                continue;
            for (unsigned guest = 1; guest < GUESTS; guest++) {
                if (to != guest && to != EVERYBODY)
                    continue;
                if (guest == 1 && from_port == 9)
                    denied_out++;
                else
                    expected[guest][count[guest]++] = number;
            }
        }
        switch_step(&bench);
        for (unsigned guest = 1; guest < GUESTS; guest++) {
            for (unsigned i = 0; i < count[guest]; i++) {
                assert_true(switch_guest_receive(&guests[guest], got, sizeof(got)) > 42);
                assert_int_equal(got[18] << 8 | got[19], expected[guest][i]);
                passed++;
            }
            assert_int_equal(switch_guest_receive(&guests[guest], got, sizeof(got)), 0);
        }
    }
    assert_true(denied_in > 500 && denied_out > 200 && passed > 1000);
    assert_int_equal(guests[0].vp->port.counters.drops[DROP_ACL], denied_in);
    assert_int_equal(guests[1].vp->port.counters.drops[DROP_ACL], denied_out);
    assert_int_equal(filters[0].acl->rules[0].frames, denied_in);
    assert_int_equal(filters[1].acl->rules[0].frames, denied_out);
}

/* Nothing of what a port may not send is learned from, mirrored, or heard. */
static void what_security_refuses_leaves_no_trace(void **state)
{
    struct kv_error err;
    static struct port_security security;
    struct packet p;
    teach_where_guests_are();
    security = (struct port_security){0};
    assert_int_equal(port_security_parse(&security, "02:00:00:00:00:00", NULL, &err), 0);
    filters[0].security = &security;
    bridge_mirror(&guests[0].vp->port, &guests[2].vp->port, MIRROR_IN);
    make(&p, 1, 77, 8, 8, 1);
    switch_guest_send(&guests[0], p.bytes, p.len);
    switch_step(&bench);
    assert_int_equal(switch_guest_receive(&guests[1], got, sizeof(got)), 0);
    assert_int_equal(switch_guest_receive(&guests[2], got, sizeof(got)), 0);
    assert_int_equal(guests[0].vp->port.counters.drops[DROP_SPOOFED_MAC], 1);
    const uint8_t spoofed[6] = {2, 0, 0, 0, 0, 77};
    assert_null(mac_table_entry(&bench.bridge->macs, mac_key(spoofed, 0)));
    make(&p, 1, 0, 8, 8, 2);
    switch_guest_send(&guests[0], p.bytes, p.len);
    switch_step(&bench);
    assert_int_equal(switch_guest_receive(&guests[1], got, sizeof(got)), p.len);
    assert_int_equal(switch_guest_receive(&guests[2], got, sizeof(got)), p.len);
    filters[0].security = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(each_frame_of_a_burst_goes_where_the_rules_let_it),
        TEST(what_security_refuses_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
