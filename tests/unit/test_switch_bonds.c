/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bonds: LACP between two systems on a clock of the test's, delays of links, and what members take
 * in and send. */
#include <stdlib.h>

#include "base/util.h"
#include "plain_ports.h"
#include "switch/forward/bond.h"
#include "switch/forward/screen.h"
#include "switch/protocols/bond_links.h"
#include "switch/protocols/lacp.h"
#include "unit.h"

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define LINKS 3

/* --- LACP ---------------------------------------------------------------------- */

static struct lacp_port ends[2][LINKS];
static bool cut[LINKS], one_way[LINKS];
static int64_t now_ns;
static unsigned said;

static void make_end(unsigned end, uint8_t states)
{
    for (unsigned i = 0; i < LINKS; i++) {
        struct lacp_info actor = {.system_priority = LACP_PRIORITY,
                                  .system = {2, 0, 0, 0, 0, (uint8_t)(end + 1)},
                                  .key = 1,
                                  .port_priority = LACP_PRIORITY,
                                  .port = (uint16_t)(i + 1),
                                  .state = states};
        lacp_init(&ends[end][i], &actor);
    }
}

static int begin(void **state)
{
    now_ns = 1000 * SECOND;
    said = 0;
    memset(cut, 0, sizeof(cut));
    memset(one_way, 0, sizeof(one_way));
    make_end(0, LACP_ACTIVITY | LACP_TIMEOUT);
    make_end(1, LACP_TIMEOUT);
    return 0;
}

/* What end 0 says reaches end 1 as a frame, and the other way round. */
static void run(int64_t ns)
{
    for (int64_t until = now_ns + ns; now_ns < until; now_ns += 100 * MS) {
        for (unsigned end = 0; end < 2; end++) {
            struct lacp_port *ports[LINKS] = {&ends[end][0], &ends[end][1], &ends[end][2]};
            lacp_select(ports, LINKS);
            for (unsigned i = 0; i < LINKS; i++) {
                static const uint8_t mac[6] = {2};
                struct lacp_pdu pdu, heard;
                uint8_t frame[LACP_FRAME_BYTES];
                lacp_set_link(ports[i], !cut[i], now_ns);
                if (!lacp_run(ports[i], now_ns, &pdu))
                    continue;
                said++;
                lacp_write(&pdu, mac, frame);
                assert_true(lacp_parse(&heard, frame, sizeof(frame)));
                if (!cut[i] && !(one_way[i] && end == 1))
                    lacp_receive(&ends[!end][i], &heard, now_ns);
            }
        }
    }
}

static unsigned carrying(unsigned end)
{
    unsigned count = 0;
    for (unsigned i = 0; i < LINKS; i++)
        count += lacp_carries(&ends[end][i]);
    return count;
}

static void two_systems_agree_on_all_links_within_seconds(void **state)
{
    run(5 * SECOND);
    assert_int_equal(carrying(0), LINKS);
    assert_int_equal(carrying(1), LINKS);
    /* Once a second from each end of each link, when all is said. */
    said = 0;
    run(60 * SECOND);
    assert_in_range(said, 2 * LINKS * 58, 2 * LINKS * 62);
    assert_int_equal(carrying(0) + carrying(1), 2 * LINKS);
}

static void two_passive_systems_say_nothing(void **state)
{
    make_end(0, 0);
    make_end(1, 0);
    run(10 * SECOND);
    assert_int_equal(said, 0);
    assert_int_equal(carrying(0), 0);
}

static void a_link_that_is_cut_carries_nothing_and_comes_back(void **state)
{
    run(5 * SECOND);
    cut[1] = true;
    run(200 * MS);
    assert_int_equal(carrying(0), LINKS - 1);
    assert_false(lacp_carries(&ends[0][1]));
    cut[1] = false;
    run(5 * SECOND);
    assert_int_equal(carrying(0) + carrying(1), 2 * LINKS);
}

static void a_link_that_works_one_way_only_carries_nothing_after_three_seconds(void **state)
{
    run(5 * SECOND);
    one_way[2] = true;
    run(7 * SECOND);
    assert_int_equal(ends[0][2].receive, LACP_RECEIVE_DEFAULTED);
    assert_int_equal(carrying(0), LINKS - 1);
    assert_int_equal(carrying(1), LINKS - 1);
}

static void links_to_another_system_or_to_oneself_are_left_out(void **state)
{
    ends[1][1].actor.system[5] = 99;
    memcpy(ends[1][2].actor.system, ends[0][0].actor.system, 6);
    run(10 * SECOND);
    assert_int_equal(carrying(0), 1);
    assert_true(lacp_carries(&ends[0][0]));
}

static void frames_that_are_no_lacpdus_are_told_apart(void **state)
{
    static const uint8_t mac[6] = {2};
    const struct lacp_pdu pdu = {.actor = {.key = 5, .state = 0x3d}, .partner = {.port = 9}};
    struct lacp_pdu got;
    uint8_t frame[LACP_FRAME_BYTES];
    lacp_write(&pdu, mac, frame);
    assert_true(lacp_parse(&got, frame, sizeof(frame)));
    assert_int_equal(got.actor.key, 5);
    assert_int_equal(got.actor.state, 0x3d);
    assert_int_equal(got.partner.port, 9);
    assert_false(lacp_parse(&got, frame, 60));
    static const unsigned wrong[] = {12, 14, 16, 17, 36, 37};
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        frame[wrong[i]] ^= 0x40;
        assert_false(lacp_parse(&got, frame, sizeof(frame)));
        frame[wrong[i]] ^= 0x40;
    }
}

/* --- Links ----------------------------------------------------------------------- */

static void links_are_used_after_their_delays_and_the_first_at_once(void **state)
{
    const struct bond_delays delays = {.up_ns = 500 * MS, .down_ns = 200 * MS};
    struct bond_link links[2] = {{.may = true}};
    assert_true(bond_links_update(links, 2, &delays, SECOND));
    assert_int_equal(bond_links_choose(links, 2, BOND_LINK_NONE, BOND_LINK_NONE), 0);
    links[1].may = true;
    assert_false(bond_links_update(links, 2, &delays, 2 * SECOND));
    assert_false(bond_links_update(links, 2, &delays, 2 * SECOND + 400 * MS));
    links[1].may = false; /* it flaps: the time begins anew */
    assert_false(bond_links_update(links, 2, &delays, 2 * SECOND + 450 * MS));
    links[1].may = true;
    assert_false(bond_links_update(links, 2, &delays, 2 * SECOND + 550 * MS));
    assert_true(bond_links_update(links, 2, &delays, 2 * SECOND + 1100 * MS));
    assert_int_equal(bond_links_choose(links, 2, 0, 1), 1); /* primary */
    assert_int_equal(bond_links_choose(links, 2, 0, BOND_LINK_NONE), 0);
    links[0].may = false;
    assert_false(bond_links_update(links, 2, &delays, 4 * SECOND));
    assert_true(bond_links_update(links, 2, &delays, 4 * SECOND + 200 * MS));
    assert_int_equal(bond_links_choose(links, 2, 0, BOND_LINK_NONE), 1);
    links[1].may = false;
    assert_true(bond_links_update(links, 2, &delays, 5 * SECOND) ||
                bond_links_update(links, 2, &delays, 6 * SECOND));
    assert_int_equal(bond_links_choose(links, 2, 1, 1), BOND_LINK_NONE);
}

/* --- Frames ---------------------------------------------------------------------- */

static struct plain_bridge plain;
static struct bond *bond;
static struct screen screens[2];

/* Ports 4 and 5 are members. */
static int make_bond(void **state)
{
    plain_init(&plain);
    bond = bond_new(BOND_ACTIVE_BACKUP);
    memset(bond->port.vlans.carried, 0xff, sizeof(vlan_set));
    bond->port.mac_limit = 64;
    bond->port.forward = &plain.forward;
    assert_int_equal(bridge_attach(plain.bridge, &bond->port), 0);
    struct port *used[2];
    for (unsigned i = 0; i < 2; i++) {
        used[i] = &plain.ports[4 + i].port;
        screen_init(&screens[i]);
        screens[i].bond = bond;
        used[i]->screen = &screens[i];
        used[i]->config = PORT_SCREENED | PORT_BLOCKED;
    }
    bond_publish(bond, used, 2, used[0]);
    return 0;
}

static int end_bond(void **state)
{
    bridge_detach(plain.bridge, &bond->port);
    plain_destroy(&plain);
    free(bond);
    return 0;
}

static unsigned out(unsigned n)
{
    return (unsigned)plain.ports[n].port.counters.out_frames;
}

static void say(unsigned at, unsigned to, unsigned from)
{
    uint8_t frame[64];
    plain_receive(&plain.ports[at], frame, plain_frame(frame, to, from, 0));
}

static void a_backup_neither_takes_nor_sends(void **state)
{
    say(0, 0xff, 1);
    assert_int_equal(out(4), 1);
    assert_int_equal(out(5), 0);
    say(5, 0xff, 9);
    assert_int_equal(out(0), 0);
    assert_int_equal(plain.ports[5].port.counters.drops[DROP_BLOCKED], 1);
    say(4, 0xff, 9); /* is not sent back over the other */
    assert_int_equal(out(0), 1);
    assert_int_equal(out(4) + out(5), 1);
    struct port *used[] = {&plain.ports[5].port};
    screens[0].state = SCREEN_BLOCKED;
    bond_publish(bond, used, 1, used[0]);
    say(0, 9, 1);
    assert_int_equal(out(5), 1);
    say(4, 1, 9);
    assert_int_equal(out(0), 1);
    bond_publish(bond, NULL, 0, NULL);
    say(0, 9, 1);
    assert_int_equal(bond->port.counters.drops[DROP_DOWN], 1);
}

static void stations_are_spread_and_each_stays_on_its_link(void **state)
{
    bond->mode = BOND_BALANCE_SLB;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned station = 1; station <= 40; station++)
            say(0, 0xff, station);
    }
    assert_int_equal(out(4) + out(5), 80);
    assert_in_range(out(4), 20, 60);
    assert_int_equal(out(4) % 2, 0);
}

static void a_flood_comes_in_once_and_not_what_the_bridge_itself_sent(void **state)
{
    bond->mode = BOND_BALANCE_SLB;
    say(4, 0xff, 9);
    say(5, 0xff, 9);
    assert_int_equal(out(0), 1);
    say(0, 0xff, 1);
    say(5, 2, 1); /* it comes back over a link */
    assert_int_equal(out(1), 2);
    assert_int_equal(plain.ports[5].port.counters.drops[DROP_BLOCKED], 2);
    say(5, 1, 9);
    assert_int_equal(out(0), 2);
}

static void connections_are_spread_when_the_neighbour_knows(void **state)
{
    static const uint8_t ip[] = {0x45, 0, 0,  46, 0, 0, 0,  0, 64, 17,
                                 0,    0, 10, 0,  0, 1, 10, 0, 0,  2};
    uint8_t frame[64];
    bond->mode = BOND_BALANCE_TCP;
    bond->aggregated = true;
    plain_frame(frame, 9, 1, 0);
    store_be(frame + 12, 0x0800, 2);
    memcpy(frame + 14, ip, sizeof(ip));
    for (unsigned i = 0; i < 64; i++) {
        store_be(frame + 34, 1000 + i / 2, 2);
        plain_receive(&plain.ports[0], frame, 60);
    }
    assert_int_equal(out(4) + out(5), 64);
    assert_in_range(out(4), 10, 54);
    assert_int_equal(out(4) % 2, 0);
    /* Later fragments go where the first did. */
    store_be(frame + 20, 0x2000, 2);
    unsigned before = out(4);
    for (unsigned i = 0; i < 16; i++) {
        store_be(frame + 34, 1000 + i, 2);
        plain_receive(&plain.ports[0], frame, 60);
    }
    assert_true(out(4) == before || out(4) == before + 16);
    say(5, 0xff, 9);
    say(4, 0xff, 8);
    assert_int_equal(out(0), 2);
}

static void the_neighbour_is_told_where_stations_are_now(void **state)
{
    say(0, 0xff, 1);
    say(1, 0xff, 2);
    say(4, 0xff, 9);
    while (plain_take(&plain.ports[4]))
        continue;
    bond_announce(bond);
    unsigned seen = 0;
    const struct plain_frame *frame;
    while ((frame = plain_take(&plain.ports[4])) != NULL) {
        assert_int_equal(load_be(frame->bytes + 12, 2), 0x8035);
        seen |= 1U << frame->bytes[11];
    }
    assert_int_equal(seen, 1 << 1 | 1 << 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define LACP(name) cmocka_unit_test_setup(name, begin)
#define BOND(name) cmocka_unit_test_setup_teardown(name, make_bond, end_bond)
        LACP(two_systems_agree_on_all_links_within_seconds),
        LACP(two_passive_systems_say_nothing),
        LACP(a_link_that_is_cut_carries_nothing_and_comes_back),
        LACP(a_link_that_works_one_way_only_carries_nothing_after_three_seconds),
        LACP(links_to_another_system_or_to_oneself_are_left_out),
        cmocka_unit_test(frames_that_are_no_lacpdus_are_told_apart),
        cmocka_unit_test(links_are_used_after_their_delays_and_the_first_at_once),
        BOND(a_backup_neither_takes_nor_sends),
        BOND(stations_are_spread_and_each_stays_on_its_link),
        BOND(a_flood_comes_in_once_and_not_what_the_bridge_itself_sent),
        BOND(connections_are_spread_when_the_neighbour_knows),
        BOND(the_neighbour_is_told_where_stations_are_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
