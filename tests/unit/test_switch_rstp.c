/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RSTP: bridges joined in loops become a tree, find another when a link is lost, and never leave a
 * loop open. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "switch/protocols/rstp.h"
#include "unit.h"

#define BRIDGES 4
#define PORTS 4
#define LINKS 6

static struct rstp_bridge bridges[BRIDGES];
static struct rstp_port ports[BRIDGES][PORTS];
static struct link {
    unsigned bridge[2], port[2];
    bool cut;
} links[LINKS];
static unsigned bridge_count, link_count;

static void add_bridge(uint64_t priority)
{
    unsigned n = bridge_count++;
    bridges[n] = (struct rstp_bridge){.id = priority << 48 | (0x020000000000 + n),
                                      .times = {0, RSTP_MAX_AGE, RSTP_HELLO, RSTP_FORWARD_DELAY},
                                      .root_port = -1,
                                      .ports = ports[n]};
}

static unsigned add_port(unsigned bridge)
{
    unsigned n = bridges[bridge].count++;
    ports[bridge][n] = (struct rstp_port){
        .id = (uint16_t)(0x8000 | (n + 1)), .path_cost = RSTP_PATH_COST, .auto_edge = true};
    rstp_init_port(&bridges[bridge], &ports[bridge][n]);
    return n;
}

static void join(unsigned a, unsigned b)
{
    links[link_count++] = (struct link){{a, b}, {add_port(a), add_port(b)}, false};
}

static int begin(void **state)
{
    memset(bridges, 0, sizeof(bridges));
    bridge_count = link_count = 0;
    return 0;
}

/* Whether frames go over the link. */
static bool is_open(const struct link *link)
{
    return !link->cut && ports[link->bridge[0]][link->port[0]].forward &&
           ports[link->bridge[1]][link->port[1]].forward;
}

/* The links over which frames go are no ring. */
static void assert_no_loop(void)
{
    unsigned group[BRIDGES] = {0, 1, 2, 3};
    for (unsigned i = 0; i < link_count; i++) {
        if (!is_open(&links[i]))
            continue;
        unsigned a = group[links[i].bridge[0]], b = group[links[i].bridge[1]];
        assert_int_not_equal(a, b);
        for (unsigned j = 0; j < BRIDGES; j++)
            group[j] = group[j] == b ? a : group[j];
    }
}

static void assert_tree(void)
{
    unsigned open = 0;
    assert_no_loop();
    for (unsigned i = 0; i < link_count; i++)
        open += is_open(&links[i]);
    assert_int_equal(open, bridge_count - 1);
}

/* All that is to be said is said and heard, until there is nothing more. */
static void talk(void)
{
    static const uint8_t mac[6] = {2};
    bool said = true;
    for (unsigned round = 0; said && round < 100; round++) {
        said = false;
        for (unsigned i = 0; i < 2 * link_count; i++) {
            struct link *link = &links[i / 2];
            unsigned from = i % 2, to = !from;
            struct rstp_bpdu bpdu, heard;
            uint8_t frame[RSTP_FRAME_BYTES];
            struct rstp_bridge *sender = &bridges[link->bridge[from]];
            if (link->cut ||
                !rstp_transmit(sender, &ports[link->bridge[from]][link->port[from]], &bpdu))
                continue;
            said = true;
            rstp_write(&bpdu, mac, frame);
            assert_true(rstp_parse(&heard, frame, sizeof(frame)));
            rstp_receive(&bridges[link->bridge[to]], &ports[link->bridge[to]][link->port[to]],
                         &heard);
            assert_no_loop();
        }
    }
    assert_false(said);
}

static void pass(unsigned seconds)
{
    for (unsigned s = 0; s < seconds; s++) {
        for (unsigned i = 0; i < 2 * link_count; i++) {
            struct link *link = &links[i / 2];
            rstp_set_link(&bridges[link->bridge[i % 2]],
                          &ports[link->bridge[i % 2]][link->port[i % 2]], !link->cut);
        }
        talk();
        for (unsigned i = 0; i < bridge_count; i++)
            rstp_tick(&bridges[i]);
        talk();
    }
}

static void two_bridges_with_two_links_use_one_and_then_the_other(void **state)
{
    add_bridge(4096);
    add_bridge(32768);
    join(0, 1);
    join(0, 1);
    pass(3);
    assert_tree();
    assert_int_equal(bridges[0].root_port, -1);
    assert_int_equal(bridges[1].root_port, 0);
    assert_int_equal(ports[1][1].role, RSTP_ALTERNATE);
    assert_int_equal(ports[0][1].role, RSTP_DESIGNATED);
    ports[1][1].flush = false;
    links[0].cut = true;
    pass(1);
    links[0].cut = true;
    assert_int_equal(bridges[1].root_port, 1);
    assert_true(is_open(&links[1]));
    /* What was learned before is forgotten, and back again. */
    assert_true(bridges[1].topology_changes > 0);
    links[0].cut = false;
    pass(3);
    assert_tree();
    assert_int_equal(bridges[1].root_port, 0);
}

static void a_ring_of_three_opens_one_link_and_closes_it_when_another_is_lost(void **state)
{
    for (unsigned i = 0; i < 3; i++)
        add_bridge(4096 * (i + 1));
    join(0, 1);
    join(1, 2);
    join(2, 0);
    pass(5);
    assert_tree();
    assert_false(is_open(&links[1]));
    for (unsigned cut = 0; cut < 3; cut += 2) {
        links[cut].cut = true;
        pass(3);
        assert_tree();
        links[cut].cut = false;
        pass(4);
        assert_tree();
        assert_false(is_open(&links[1]));
    }
}

static void a_better_root_is_followed_and_an_old_one_forgotten(void **state)
{
    add_bridge(32768);
    add_bridge(32768);
    add_bridge(0);
    join(0, 1);
    join(0, 1);
    pass(3);
    join(1, 2);
    pass(4);
    assert_tree();
    assert_int_equal(bridges[0].root.root, bridges[2].id);
    assert_int_equal(bridges[0].root.cost, 2 * RSTP_PATH_COST);
    links[2].cut = true;
    pass(60);
    assert_no_loop();
    assert_int_equal(bridges[1].root.root, bridges[0].id);
    assert_true(is_open(&links[0]) != is_open(&links[1]));
}

static void four_bridges_that_are_all_joined_become_a_tree(void **state)
{
    for (unsigned i = 0; i < 4; i++)
        add_bridge(32768);
    for (unsigned a = 0; a < 4; a++) {
        for (unsigned b = a + 1; b < 4; b++)
            join(a, b);
    }
    pass(5);
    assert_tree();
    /* Links are lost and come back at random; a tree is found each time they rest. */
    srand(1);
    for (unsigned i = 0; i < 40; i++) {
        unsigned n = (unsigned)rand() % LINKS;
        links[n].cut = !links[n].cut;
        pass((unsigned)rand() % 3 + 1);
        if (i % 5 == 4) {
            for (unsigned j = 0; j < LINKS; j++)
                links[j].cut = false;
            pass(45);
            assert_tree();
        }
    }
}

static void a_port_without_a_bridge_behind_it_forwards_after_three_seconds(void **state)
{
    add_bridge(32768);
    unsigned quiet = add_port(0), edge = add_port(0);
    ports[0][edge].admin_edge = true;
    rstp_init_port(&bridges[0], &ports[0][edge]);
    rstp_set_link(&bridges[0], &ports[0][quiet], true);
    rstp_set_link(&bridges[0], &ports[0][edge], true);
    assert_true(ports[0][edge].forward);
    assert_false(ports[0][quiet].forward);
    for (unsigned i = 0; i < 3; i++)
        rstp_tick(&bridges[0]);
    assert_true(ports[0][quiet].forward && ports[0][quiet].oper_edge);
    assert_int_equal(bridges[0].topology_changes, 0);
    /* A BPDU says that there is one. */
    const struct rstp_bpdu bpdu = {.version = 2,
                                   .type = 2,
                                   .flags = 0x0e,
                                   .vector = {1, 0, 1, 0x8001},
                                   .times = {0, 20, 2, 15}};
    rstp_receive(&bridges[0], &ports[0][quiet], &bpdu);
    assert_false(ports[0][quiet].oper_edge);
    assert_int_equal(ports[0][quiet].role, RSTP_ROOT);
}

static void a_neighbour_of_the_old_kind_is_answered_in_its_words(void **state)
{
    struct rstp_bpdu said;
    add_bridge(4096);
    unsigned n = add_port(0);
    struct rstp_port *port = &ports[0][n];
    rstp_set_link(&bridges[0], port, true);
    while (rstp_transmit(&bridges[0], port, &said))
        assert_int_equal(said.type, 2);
    const struct rstp_bpdu old = {
        .flags = 0x0c, .vector = {UINT64_MAX, 0, UINT64_MAX, 1}, .times = {0, 20, 2, 15}};
    for (unsigned i = 0; i < 5; i++)
        rstp_tick(&bridges[0]);
    rstp_receive(&bridges[0], port, &old);
    rstp_tick(&bridges[0]);
    rstp_tick(&bridges[0]);
    assert_true(rstp_transmit(&bridges[0], port, &said));
    assert_int_equal(said.type, 0);
    assert_int_equal(said.version, 0);
}

static void frames_that_are_no_bpdus_are_told_apart(void **state)
{
    static const uint8_t mac[6] = {2};
    const struct rstp_bpdu bpdu = {
        .version = 2, .type = 2, .flags = 0x3c, .vector = {1, 2, 3, 4}, .times = {1, 20, 2, 15}};
    struct rstp_bpdu got;
    uint8_t frame[RSTP_FRAME_BYTES];
    rstp_write(&bpdu, mac, frame);
    assert_true(rstp_parse(&got, frame, sizeof(frame)));
    assert_int_equal(got.vector.root, 1);
    assert_int_equal(got.vector.cost, 2);
    assert_int_equal(got.vector.bridge, 3);
    assert_int_equal(got.times.max_age, 20);
    assert_false(rstp_parse(&got, frame, 51));
    static const unsigned wrong[] = {14, 17, 20};
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        frame[wrong[i]] ^= 0x41;
        assert_false(rstp_parse(&got, frame, sizeof(frame)));
        frame[wrong[i]] ^= 0x41;
    }
    frame[44] = 20; /* as old as it may be */
    assert_false(rstp_parse(&got, frame, sizeof(frame)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, begin)
        TEST(two_bridges_with_two_links_use_one_and_then_the_other),
        TEST(a_ring_of_three_opens_one_link_and_closes_it_when_another_is_lost),
        TEST(a_better_root_is_followed_and_an_old_one_forgotten),
        TEST(four_bridges_that_are_all_joined_become_a_tree),
        TEST(a_port_without_a_bridge_behind_it_forwards_after_three_seconds),
        TEST(a_neighbour_of_the_old_kind_is_answered_in_its_words),
        TEST(frames_that_are_no_bpdus_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
