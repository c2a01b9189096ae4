/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verdicts that are kept against verdicts that are made anew: two bridges get the same frames, and
 * one of them forgets all verdicts before each. What comes out is the same, and so is what is
 * counted. */
#include <netinet/in.h>
#include <stdlib.h>

#include "base/util.h"
#include "flow_frames.h"
#include "plain_ports.h"
#include "switch/forward/verdicts.h"
#include "unit.h"

#define STATIONS 3 /* at ports of the same number */
#define ROUNDS 40000
#define RULES 4

/* A bridge with what filters its ports. */
struct side {
    struct plain_bridge plain;
    struct filter filters[STATIONS];
    struct acl *acls[2]; /* in use in turns */
    unsigned acl;
};

static struct side sides[2]; /* the second one forgets */
static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(random_state >> 33) % n;
}

/* Rules about ports that are in use, which allow and deny. */
static json_t *make_rules(unsigned number)
{
    json_t *rules = json_array();
    for (unsigned i = 0; i < RULES; i++) {
        char ports[8];
        snprintf(ports, sizeof(ports), "%u", 1000 + (number + i) % 5);
        json_array_append_new(
            rules,
            json_pack("{s:s, s:s, s:s, s:s, s:i}", "action", (i + number) & 1 ? "allow" : "deny",
                      "protocol", i & 2 ? "tcp" : "udp", i & 1 ? "to-ports" : "from-ports", ports,
                      "direction", i == 3 ? "in" : "both", "priority", (int)i));
    }
    return rules;
}

static struct acl *make_acl(bool stateful, unsigned number)
{
    struct kv_error err = {0};
    json_t *object =
        json_pack("{s:s, s:s, s:b, s:o}", "name", "x", "default", number & 1 ? "allow" : "deny",
                  "stateful", stateful, "rules", make_rules(number));
    struct acl *acl = acl_new(object, &err);
    if (!acl)
        fail_msg("%s", err.message);
    json_decref(object);
    return acl;
}

static void use_acl(void *opaque)
{
    struct side *side = opaque;
    for (unsigned i = 0; i < STATIONS; i++)
        side->filters[i].acl = side->acls[side->acl];
}

static void set_up(bool stateful)
{
    struct kv_error err;
    random_state = 7;
    for (unsigned s = 0; s < 2; s++) {
        struct side *side = &sides[s];
        plain_init(&side->plain);
        assert_int_equal(bridge_prepare_filters(side->plain.bridge, &err), 0);
        side->acl = 0;
        for (unsigned i = 0; i < 2; i++)
            side->acls[i] = make_acl(stateful, i + 1);
        /* The last station's port has none. */
        for (unsigned i = 0; i < STATIONS - 1; i++) {
            side->filters[i] = (struct filter){.connections = CONNTRACK_ENTRIES};
            side->plain.ports[i].port.filter = &side->filters[i];
        }
        use_acl(side);
    }
}

static void tear_down(void)
{
    for (unsigned s = 0; s < 2; s++) {
        plain_destroy(&sides[s].plain);
        for (unsigned i = 0; i < 2; i++)
            acl_free(sides[s].acls[i]);
    }
}

static void make_packet(struct packet *p, unsigned from)
{
    static const unsigned flags[] = {0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04};
    struct packet inner;
    unsigned to = random_below(STATIONS), tagged = random_below(4) == 0;
    bool ipv6 = random_below(3) == 0, tcp = random_below(2);
    (ipv6 ? packet_ipv6 : packet_ipv4)(&inner, to, from, tcp ? IPPROTO_TCP : IPPROTO_UDP);
    unsigned to_port = 1000 + random_below(5), from_port = 1000 + random_below(5);
    if (tcp)
        packet_tcp(&inner, to_port, from_port, flags[random_below(ARRAY_SIZE(flags))]);
    else
        packet_udp(&inner, to_port, from_port, random_below(3) ? 18 : random_below(1200));
    *p = inner;
    if (tagged) {
        packet_ethernet(p, to, from, random_below(20) ? 10 : 0,
                        ipv6 ? FLOW_TYPE_IPV6 : FLOW_TYPE_IPV4);
        packet_add(p, inner.bytes + 14, inner.len - 14);
    }
    if (!ipv6)
        packet_set16(p, p->len - inner.len + inner.l3 + 4, random_below(65536));
    /* Now and then something is wrong with a length or a flag. */
    if (random_below(16) == 0)
        p->bytes[FRAME_HEAD + random_below(40)] ^= (uint8_t)(1 << random_below(8));
}

/* --- What happens besides ------------------------------------------------------- */

struct event {
    struct side *side;
    unsigned what, station;
};

static void happen(void *opaque)
{
    struct event *event = opaque;
    struct side *side = event->side;
    struct port *port = &side->plain.ports[event->station].port;
    if (event->what == 0) {
        side->acl ^= 1;
        use_acl(side);
    } else if (event->what == 1) {
        port->up = !port->up;
    } else if (event->what == 2) {
        mac_table_forget_all(&side->plain.bridge->macs);
    }
}

static void something_else_happens(unsigned round)
{
    unsigned what = random_below(4), station = random_below(STATIONS);
    for (unsigned s = 0; s < 2; s++) {
        struct event event = {.side = &sides[s], .what = what, .station = station};
        if (what == 3)
            plain_set_time(&sides[s].plain, INT64_C(1000000000) * (1000 + round / 16));
        else
            forward_run(&sides[s].plain.forward, happen, &event);
    }
}

/* --- The same comes out ----------------------------------------------------------- */

static void compare_rules(const struct acl_rule *a, const struct acl_rule *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(a[i].frames, b[i].frames);
        assert_int_equal(a[i].bytes, b[i].bytes);
    }
}

static void compare(void)
{
    for (unsigned i = 0; i < STATIONS; i++) {
        struct plain_port *a = &sides[0].plain.ports[i], *b = &sides[1].plain.ports[i];
        for (const struct plain_frame *sent; (sent = plain_take(a));) {
            const struct plain_frame *other = plain_take(b);
            assert_non_null(other);
            assert_int_equal(sent->len, other->len);
            assert_memory_equal(sent->bytes, other->bytes, sent->len);
        }
        assert_null(plain_take(b));
        assert_memory_equal(&a->port.counters, &b->port.counters, sizeof(a->port.counters));
    }
    for (unsigned i = 0; i < 2; i++) {
        const struct acl *a = sides[0].acls[i], *b = sides[1].acls[i];
        compare_rules(a->rules, b->rules, RULES);
        compare_rules(a->otherwise, b->otherwise, FILTER_DIRECTIONS);
        compare_rules(a->answers, b->answers, FILTER_DIRECTIONS);
    }
}

static void receive(struct side *side, unsigned from, struct packet *packets, unsigned count)
{
    static struct iovec iov[FRAME_BURST][FRAME_SEGMENTS_MAX];
    struct frame frames[FRAME_BURST];
    for (unsigned i = 0; i < count; i++) {
        packet_frame(&packets[i], &frames[i], iov[i], i % 5 == 4 ? 50 : 0);
        frames[i].offload = (struct frame_offload){0};
    }
    bridge_receive(&side->plain.ports[from].port, frames, count);
}

static unsigned found; /* verdicts that were kept and count, of the first side */

/* Bursts of up to so many frames, of which many are alike. */
static void go_on(unsigned burst_max)
{
    static struct packet packets[FRAME_BURST];
    unsigned allowed = 0;
    for (unsigned round = 0; round < ROUNDS / burst_max; round++) {
        unsigned from = random_below(STATIONS), count = 1 + random_below(burst_max);
        for (unsigned i = 0; i < count; i++) {
            if (i && random_below(2))
                packets[i] = packets[i - 1];
            else
                make_packet(&packets[i], from);
        }
        receive(&sides[0], from, packets, count);
        for (unsigned i = 0; i < count; i++) {
            sides[1].plain.forward.changes++;
            receive(&sides[1], from, &packets[i], 1);
        }
        compare();
        if (random_below(50) == 0)
            something_else_happens(round);
    }
    for (unsigned i = 0; i < STATIONS; i++)
        allowed += (unsigned)sides[0].plain.ports[i].port.counters.out_frames;
    assert_in_range(allowed, ROUNDS / 50, ROUNDS);
    const struct verdict_cache *cache = sides[0].plain.bridge->verdicts;
    uint64_t stamp = verdict_stamp(sides[0].plain.bridge);
    found = 0;
    for (unsigned i = 0; i < VERDICT_SETS; i++)
        found += cache->sets[i][0].stamp + 1000 > stamp && cache->sets[i][0].stamp <= stamp;
    assert_true(found > 100);
}

static void bursts_are_judged_as_frames_are_one_by_one(void **state)
{
    set_up(false);
    go_on(FRAME_BURST);
    tear_down();
}

static void connections_end_verdicts_that_hang_on_them(void **state)
{
    set_up(true);
    go_on(1);
    tear_down();
}

/* --- What ends a verdict, one by one ------------------------------------------------- */

static void send_udp(unsigned to_port)
{
    static struct packet p;
    packet_ipv4(&p, 1, 0, IPPROTO_UDP);
    packet_udp(&p, to_port, 9, 18);
    receive(&sides[0], 0, &p, 1);
}

static unsigned come(void)
{
    unsigned count = 0;
    while (plain_take(&sides[0].plain.ports[1]))
        count++;
    return count;
}

static void a_verdict_is_kept_until_something_changes(void **state)
{
    set_up(false);
    struct side *side = &sides[0];
    struct packet p;
    struct event event = {.side = side};
    packet_arp(&p, 1, 0, 1);
    receive(side, 1, &p, 1);
    /* 1: made, and its address learned; 2: made and kept; 3: kept. The second ACL denies. */
    side->acl = 1;
    use_acl(side);
    struct acl_rule *rule = &side->acls[1]->rules[0];
    for (unsigned i = 0; i < 3; i++)
        send_udp(9000);
    assert_int_equal(come(), 0);
    assert_int_equal(side->plain.ports[0].port.counters.drops[DROP_ACL], 3);
    assert_int_equal(rule->frames, 0);
    assert_int_equal(side->acls[1]->otherwise[FILTER_IN].frames, 3);
    forward_run(&side->plain.forward, happen, &event);
    for (unsigned i = 0; i < 3; i++)
        send_udp(9000);
    assert_int_equal(come(), 3);
    event.what = 1;
    event.station = 1;
    forward_run(&side->plain.forward, happen, &event);
    send_udp(9000);
    assert_int_equal(come(), 0);
    assert_int_equal(side->plain.ports[1].port.counters.drops[DROP_DOWN], 1);
    tear_down();
}

static void send_tcp(unsigned from, unsigned flags)
{
    static struct packet p;
    packet_ipv4(&p, 1 - from, from, IPPROTO_TCP);
    packet_tcp(&p, from ? 4000 : 1000, from ? 1000 : 4000, flags);
    receive(&sides[0], from, &p, 1);
}

static void a_verdict_ends_with_the_state_of_its_connection(void **state)
{
    set_up(true);
    struct side *side = &sides[0];
    const struct acl *acl = side->acls[0];
    struct packet p;
    side->plain.ports[1].port.filter = NULL;
    packet_arp(&p, 1, 0, 1);
    receive(side, 1, &p, 1);
    for (unsigned i = 0; i < 5; i++)
        send_tcp(0, 0x02);
    /* The first makes the connection, by the rule that allows it; the others are kept verdicts. */
    uint64_t first = acl->rules[3].frames + acl->otherwise[FILTER_IN].frames;
    assert_int_equal(first, 1);
    assert_int_equal(acl->answers[FILTER_IN].frames, 4);
    /* It is closed, and the next one begins a new one. */
    send_tcp(1, 0x14);
    assert_int_equal(acl->answers[FILTER_OUT].frames, 1);
    send_tcp(0, 0x02);
    assert_int_equal(acl->rules[3].frames + acl->otherwise[FILTER_IN].frames, 2);
    assert_int_equal(acl->answers[FILTER_IN].frames, 4);
    tear_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bursts_are_judged_as_frames_are_one_by_one),
        cmocka_unit_test(connections_end_verdicts_that_hang_on_them),
        cmocka_unit_test(a_verdict_is_kept_until_something_changes),
        cmocka_unit_test(a_verdict_ends_with_the_state_of_its_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
