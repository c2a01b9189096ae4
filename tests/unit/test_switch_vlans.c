/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kinds of VLAN ports, private VLANs, limits of floods, and addresses that are told. */
#include <stdlib.h>

#include "base/util.h"
#include "plain_ports.h"
#include "unit.h"

#define MS INT64_C(1000000)
#define C_TAG(vlan) (0x81000000U | (vlan))
#define S_TAG(vlan) (0x88a80000U | (vlan))

static struct plain_bridge plain;
static vlan_set customers;

static int set_up(void **state)
{
    plain_init(&plain);
    return 0;
}

static int tear_down(void **state)
{
    plain_destroy(&plain);
    return 0;
}

static struct port *port(unsigned n)
{
    return &plain.ports[n].port;
}

static void make_access(unsigned n, uint16_t vlan)
{
    struct port_vlans vlans = {.access = true, .native = vlan, .untagged = vlan};
    vlans.carried[vlan / 64] = BIT(vlan % 64);
    port(n)->vlans = vlans;
}

static void make_tunnel(unsigned n, uint16_t vlan)
{
    make_access(n, vlan);
    memset(customers, 0xff, sizeof(customers));
    port(n)->vlans.customers = customers;
    port(n)->vlans.service = true;
}

static void say(unsigned from, unsigned to, uint32_t tag)
{
    uint8_t frame[64];
    plain_receive(&plain.ports[from], frame, plain_frame(frame, to, from, tag));
}

/* The port got this frame with these tags, outer first; 0: none. */
static void assert_gets(unsigned n, unsigned to, unsigned from, uint32_t outer, uint32_t inner)
{
    const struct plain_frame *got = plain_take(&plain.ports[n]);
    uint8_t frame[64];
    unsigned at = 12;
    assert_non_null(got);
    plain_frame(frame, to, from, 0);
    assert_memory_equal(got->bytes, frame, 12);
    const uint32_t tags[] = {outer, inner};
    for (unsigned i = 0; i < ARRAY_SIZE(tags); i++) {
        if (!tags[i])
            continue;
        assert_int_equal((uint32_t)load_be(got->bytes + at, 4), tags[i]);
        at += 4;
    }
    assert_int_equal(load_be(got->bytes + at, 2), 0x88b5);
}

static void assert_nothing(unsigned n)
{
    assert_null(plain_take(&plain.ports[n]));
}

static void a_native_tagged_port_tags_what_it_takes_untagged(void **state)
{
    port(1)->vlans.native = 7;
    port(2)->vlans.native = port(2)->vlans.untagged = 7;
    say(1, 0xff, 0);
    assert_gets(0, 0xff, 1, C_TAG(7), 0);
    assert_gets(2, 0xff, 1, 0, 0);
    say(2, 0xff, 0);
    assert_gets(1, 0xff, 2, C_TAG(7), 0);
    say(1, 0xff, C_TAG(7));
    assert_gets(2, 0xff, 1, 0, 0);
}

static void a_tunnel_hides_its_customers_tags(void **state)
{
    make_tunnel(0, 100);
    make_tunnel(1, 100);
    make_tunnel(2, 200);
    say(0, 0xff, C_TAG(5));
    assert_gets(1, 0xff, 0, C_TAG(5), 0);
    assert_nothing(2);
    assert_gets(3, 0xff, 0, S_TAG(100), C_TAG(5));
    say(0, 0xff, 0);
    assert_gets(1, 0xff, 0, 0, 0);
    assert_gets(3, 0xff, 0, S_TAG(100), 0);
    /* Back from the trunk. */
    say(3, 0, S_TAG(100));
    assert_gets(0, 0, 3, 0, 0);
    assert_nothing(1);
    port(0)->vlans.service = false;
    say(0, 0xff, S_TAG(9));
    assert_gets(3, 0xff, 0, C_TAG(100), S_TAG(9));
}

static void a_tunnel_takes_only_the_vlans_of_its_customer(void **state)
{
    make_tunnel(0, 100);
    memset(customers, 0, sizeof(customers));
    customers[0] = BIT(5);
    say(0, 0xff, C_TAG(6));
    say(0, 0xff, 0);
    assert_nothing(1);
    assert_int_equal(port(0)->counters.drops[DROP_VLAN], 2);
    say(0, 0xff, C_TAG(5));
    assert_gets(1, 0xff, 0, S_TAG(100), C_TAG(5));
}

static void service_tags_reach_trunks_and_no_access_ports_of_others(void **state)
{
    make_access(1, 10);
    make_access(2, 20);
    say(0, 0xff, S_TAG(10));
    assert_gets(1, 0xff, 0, 0, 0);
    assert_nothing(2);
    assert_gets(3, 0xff, 0, S_TAG(10), 0);
    say(1, 0xff, S_TAG(10));
    assert_nothing(0);
    assert_int_equal(port(1)->counters.drops[DROP_VLAN], 1);
}

static void isolated_ports_hear_only_promiscuous_ones(void **state)
{
    port(0)->community = port(1)->community = PORT_ISOLATED;
    port(2)->community = port(3)->community = 2;
    port(4)->community = 3;
    say(0, 0xff, 0);
    for (unsigned n = 0; n < 5; n++)
        assert_nothing(n);
    assert_gets(5, 0xff, 0, 0, 0);
    say(2, 0xff, 0);
    assert_gets(3, 0xff, 2, 0, 0);
    assert_gets(5, 0xff, 2, 0, 0);
    assert_nothing(0);
    assert_nothing(4);
    /* Known stations are no way around it. */
    say(1, 0, 0);
    say(3, 0, 0);
    assert_nothing(0);
    assert_int_equal(port(1)->counters.drops[DROP_ISOLATED], 1);
    say(3, 2, 0);
    assert_gets(2, 2, 3, 0, 0);
    say(5, 0, 0);
    assert_gets(0, 0, 5, 0, 0);
}

static void floods_are_limited_by_their_kind_and_known_stations_are_not(void **state)
{
    const struct storm_rates rates = {.broadcast = 100, .unknown = 10};
    struct storm storm;
    storm_init(&storm, &rates);
    port(0)->storm = &storm;
    say(1, 0xff, 0); /* is known from now on */
    for (unsigned i = 0; i < 50; i++) {
        say(0, 0xff, 0);
        say(0, 9, 0);
        say(0, 1, 0);
    }
    assert_int_equal(port(2)->counters.out_frames, 1 + 10 + 1);
    assert_int_equal(port(1)->counters.out_frames, 10 + 1 + 50);
    assert_int_equal(port(0)->counters.drops[DROP_STORM], 40 + 49);
    plain_set_time(&plain, plain.forward.now_ns + 200 * MS);
    say(0, 9, 0);
    assert_int_equal(port(2)->counters.out_frames, 13);
    port(0)->storm = NULL;
}

static void a_quiet_port_gets_only_what_is_for_its_stations(void **state)
{
    port(1)->config = PORT_QUIET;
    say(1, 0xff, 0);
    say(0, 0xff, 0);
    assert_nothing(1);
    say(0, 1, 0);
    assert_gets(1, 1, 0, 0, 0);
}

static void a_fixed_address_stays_where_it_is(void **state)
{
    struct mac_table *macs = &plain.bridge->macs;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    assert_true(mac_table_fix(macs, mac_key(mac, 0), port(1)->index));
    say(2, 0xff, 0);
    assert_int_equal(port(1)->counters.out_frames, 1);
    uint8_t frame[64];
    plain_receive(&plain.ports[3], frame, plain_frame(frame, 2, 1, 0)); /* somebody says it is he */
    assert_int_equal(port(3)->counters.drops[DROP_NOT_LEARNED], 1);
    plain_set_time(&plain, plain.forward.now_ns + 1000000 * MS);
    mac_table_expire(macs, plain.forward.now_s);
    mac_table_forget_port(macs, port(1)->index);
    mac_table_forget_all(macs);
    say(2, 1, 0);
    assert_int_equal(port(1)->counters.out_frames, 2);
    assert_int_equal(port(3)->counters.out_frames, 1);
    assert_true(mac_table_unfix(macs, mac_key(mac, 0)));
    assert_false(mac_table_unfix(macs, mac_key(mac, 0)));
    say(2, 1, 0);
    assert_int_equal(port(3)->counters.out_frames, 2);
    assert_true(mac_table_fix(macs, mac_key(mac, 0), port(1)->index));
    mac_table_remove_port(macs, port(1)->index);
    assert_null(mac_table_entry(macs, mac_key(mac, 0)));
}

static void fixed_addresses_take_the_place_of_learned_ones_until_all_are_fixed(void **state)
{
    struct mac_table table, other;
    uint8_t mac[6] = {2};
    unsigned fixed = 0;
    assert_int_equal(mac_table_init(&table, 64, 300, NULL), 0);
    assert_int_equal(mac_table_init(&other, 1024, 300, NULL), 0);
    for (unsigned i = 0; i < 500; i++) {
        store_le(mac + 2, i, 4);
        mac_table_learn(&table, mac_key(mac, 0), 1, 1000, 100000);
    }
    unsigned learned = table.used;
    for (unsigned i = 500; i < 1500; i++) {
        store_le(mac + 2, i, 4);
        fixed += mac_table_fix(&table, mac_key(mac, 0), 2);
    }
    assert_true(learned > 50 && fixed == 64);
    assert_int_equal(table.used, 64);
    assert_int_equal(table.used_by[1], 0);
    assert_true(mac_table_copy_fixed(&other, &table));
    assert_int_equal(other.used_by[2], 64);
    mac_table_free(&table);
    mac_table_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_native_tagged_port_tags_what_it_takes_untagged),
        TEST(a_tunnel_hides_its_customers_tags),
        TEST(a_tunnel_takes_only_the_vlans_of_its_customer),
        TEST(service_tags_reach_trunks_and_no_access_ports_of_others),
        TEST(isolated_ports_hear_only_promiscuous_ones),
        TEST(floods_are_limited_by_their_kind_and_known_stations_are_not),
        TEST(a_quiet_port_gets_only_what_is_for_its_stations),
        TEST(a_fixed_address_stays_where_it_is),
        cmocka_unit_test(fixed_addresses_take_the_place_of_learned_ones_until_all_are_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
