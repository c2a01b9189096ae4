/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stateful ACLs: what belongs to a connection that a rule allowed is let through, and nothing else.
 */
#include <netinet/in.h>
#include <stdlib.h>

#include "base/util.h"
#include "flow_frames.h"
#include "switch/filter/filter.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "unit.h"

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

#define ALLOWED DROP_COUNT

/* Two ports with filters of their own; packets are judged as if they came in or went out there. */
static struct forward forward;
static struct bridge *bridge;
static struct port ports[2];
static struct filter filters[2];
static struct packet p;

/* Guests may begin what they like, from outside somebody may begin SSH. */
#define OPEN                                                                                \
    "{\"name\": \"x\", \"default\": \"deny\", \"stateful\": true, \"rules\": ["             \
    "{\"action\": \"allow\", \"direction\": \"in\"},"                                       \
    "{\"action\": \"allow\", \"direction\": \"out\", \"protocol\": \"tcp\", \"to-ports\": " \
    "\"22\"}]}"
#define NO_TCP                                                                  \
    "{\"name\": \"x\", \"default\": \"deny\", \"stateful\": true, \"rules\": [" \
    "{\"action\": \"allow\", \"direction\": \"in\", \"protocol\": \"udp\"}]}"

static struct acl *make_acl(const char *text)
{
    struct kv_error err = {0};
    json_t *object = json_loads(text, 0, NULL);
    struct acl *acl = acl_new(object, &err);
    if (!acl)
        fail_msg("%s", err.message);
    json_decref(object);
    return acl;
}

static void set_acl(const char *text)
{
    struct acl *old = filters[0].acl;
    struct acl *acl = make_acl(text);
    filters[0].acl = filters[1].acl = acl;
    acl_free(old);
}

static int set_up(void **state)
{
    struct kv_error err = {0};
    forward = (struct forward){.now_s = 1000};
    bridge = bridge_new(&forward, "br0", 64, 300, &err);
    assert_non_null(bridge);
    assert_int_equal(bridge_prepare_filters(bridge, &err), 0);
    memset(ports, 0, sizeof(ports));
    for (unsigned i = 0; i < 2; i++) {
        filters[i] = (struct filter){.connections = 1000};
        ports[i].filter = &filters[i];
        ports[i].forward = &forward;
        assert_int_equal(bridge_attach(bridge, &ports[i]), 0);
    }
    set_acl(OPEN);
    return 0;
}

static int tear_down(void **state)
{
    acl_free(filters[0].acl);
    filters[0].acl = NULL;
    bridge_detach(bridge, &ports[0]);
    bridge_detach(bridge, &ports[1]);
    assert_int_equal(bridge->tables->conntrack.used_by[0], 0);
    bridge_free(bridge);
    return 0;
}

static enum port_drop judge_at(unsigned port, enum filter_direction direction)
{
    static struct flow_burst burst;
    struct iovec iov[FRAME_SEGMENTS_MAX];
    struct frame frame;
    struct flow_key key;
    struct filter_verdict verdict;
    packet_frame(&p, &frame, iov, 0);
    flow_headers_keep(&burst, 0, &frame);
    struct filter_frame known = {&key, &burst.headers[0]};
    if (!flow_key_read(&key, &burst.headers[0], &frame, 0))
        known.key = NULL;
    filter_check(&ports[port], direction, &known, &verdict);
    return verdict.allowed ? ALLOWED : verdict.why;
}

static enum port_drop judge(enum filter_direction direction)
{
    return judge_at(0, direction);
}

/* Station 1 is the guest, 2 is outside. */
static enum port_drop tcp(enum filter_direction direction, unsigned guest_port, unsigned port,
                          unsigned flags)
{
    bool from_guest = direction == FILTER_IN;
    packet_ipv4(&p, from_guest ? 2 : 1, from_guest ? 1 : 2, IPPROTO_TCP);
    packet_tcp(&p, from_guest ? port : guest_port, from_guest ? guest_port : port, flags);
    return judge(direction);
}

static enum port_drop udp(enum filter_direction direction, unsigned guest_port, unsigned port)
{
    bool from_guest = direction == FILTER_IN;
    packet_ipv6(&p, from_guest ? 2 : 1, from_guest ? 1 : 2, IPPROTO_UDP);
    packet_udp(&p, from_guest ? port : guest_port, from_guest ? guest_port : port, 10);
    return judge(direction);
}

static void answers_to_what_a_guest_began_come_through(void **state)
{
    assert_int_equal(tcp(FILTER_OUT, 4000, 80, SYN), DROP_ACL);
    assert_int_equal(tcp(FILTER_OUT, 4000, 80, ACK), DROP_ACL);
    assert_int_equal(tcp(FILTER_IN, 4000, 80, SYN), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 4000, 81, SYN | ACK), DROP_ACL);
    assert_int_equal(tcp(FILTER_OUT, 4001, 80, SYN | ACK), DROP_ACL);
    assert_int_equal(tcp(FILTER_OUT, 4000, 80, SYN | ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_IN, 4000, 80, ACK), ALLOWED);
    forward.now_s += 80000; /* silent for most of a day */
    assert_int_equal(tcp(FILTER_OUT, 4000, 80, ACK), ALLOWED);
    assert_int_equal(udp(FILTER_OUT, 5000, 53), DROP_ACL);
    assert_int_equal(udp(FILTER_IN, 5000, 53), ALLOWED);
    assert_int_equal(udp(FILTER_OUT, 5000, 53), ALLOWED);
    /* It says nothing about another port of the bridge. */
    assert_int_equal(judge_at(1, FILTER_OUT), DROP_ACL);
    assert_int_equal(bridge->tables->conntrack.used_by[0], 2);
}

static void a_connection_from_outside_is_the_rules_business(void **state)
{
    assert_int_equal(tcp(FILTER_OUT, 22, 6000, SYN), ALLOWED);
    assert_int_equal(tcp(FILTER_IN, 22, 6000, SYN | ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 22, 6000, ACK), ALLOWED);
    assert_int_equal(filters[0].acl->answers[FILTER_IN].allow, true);
    assert_int_equal(bridge->tables->conntrack.used_by[0], 1);
}

static void connections_end(void **state)
{
    /* Nobody answers. */
    assert_int_equal(tcp(FILTER_IN, 1, 80, SYN), ALLOWED);
    forward.now_s += 61;
    assert_int_equal(tcp(FILTER_OUT, 1, 80, SYN | ACK), DROP_ACL);
    /* Both have said all. */
    assert_int_equal(tcp(FILTER_IN, 2, 80, SYN), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 2, 80, SYN | ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_IN, 2, 80, ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_IN, 2, 80, FIN | ACK), ALLOWED);
    forward.now_s += 200;
    assert_int_equal(tcp(FILTER_OUT, 2, 80, ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 2, 80, FIN | ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_IN, 2, 80, ACK), ALLOWED);
    forward.now_s += 11;
    assert_int_equal(tcp(FILTER_OUT, 2, 80, ACK), DROP_ACL);
    /* One gives up. */
    assert_int_equal(tcp(FILTER_IN, 3, 80, SYN), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 3, 80, RST | ACK), ALLOWED);
    /* The port is used again: from inside as before, from outside by the rules. */
    assert_int_equal(tcp(FILTER_OUT, 3, 80, SYN), DROP_ACL);
    assert_int_equal(tcp(FILTER_IN, 3, 80, SYN), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 3, 80, SYN | ACK), ALLOWED);
    /* UDP: half a minute for the answer, two for the conversation. */
    assert_int_equal(udp(FILTER_IN, 4, 53), ALLOWED);
    forward.now_s += 31;
    assert_int_equal(udp(FILTER_OUT, 4, 53), DROP_ACL);
    assert_int_equal(udp(FILTER_IN, 5, 53), ALLOWED);
    assert_int_equal(udp(FILTER_OUT, 5, 53), ALLOWED);
    forward.now_s += 119;
    assert_int_equal(udp(FILTER_OUT, 5, 53), ALLOWED);
    forward.now_s += 121;
    assert_int_equal(udp(FILTER_OUT, 5, 53), DROP_ACL);
}

static void flags_that_no_tcp_sends_are_dropped(void **state)
{
    static const unsigned flags[] = {0, SYN | FIN, SYN | RST, 8, SYN | FIN | ACK};
    for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
        assert_int_equal(tcp(FILTER_IN, 1, 80, flags[i]), DROP_STATE);
    assert_int_equal(bridge->tables->conntrack.used_by[0], 0);
    /* A connection that was there before the switch goes on, one that ends makes none. */
    assert_int_equal(tcp(FILTER_IN, 1, 80, FIN | ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 1, 80, ACK), DROP_ACL);
    assert_int_equal(tcp(FILTER_IN, 1, 80, ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 1, 80, ACK), ALLOWED);
    forward.now_s += 80000;
    assert_int_equal(tcp(FILTER_OUT, 1, 80, ACK), ALLOWED);
}

static void echo(bool ipv6, bool from_guest, unsigned type, unsigned id)
{
    (ipv6 ? packet_ipv6 : packet_ipv4)(&p, from_guest ? 2 : 1, from_guest ? 1 : 2,
                                       ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    packet_echo(&p, type, id);
}

static void echoes_are_answered_once_they_were_asked(void **state)
{
    for (unsigned ipv6 = 0; ipv6 < 2; ipv6++) {
        unsigned request = ipv6 ? 128 : 8, reply = ipv6 ? 129 : 0;
        echo(ipv6, false, reply, 7);
        assert_int_equal(judge(FILTER_OUT), DROP_ACL);
        echo(ipv6, true, request, 7);
        assert_int_equal(judge(FILTER_IN), ALLOWED);
        echo(ipv6, false, reply, 8);
        assert_int_equal(judge(FILTER_OUT), DROP_ACL);
        echo(ipv6, false, request, 7);
        assert_int_equal(judge(FILTER_OUT), DROP_ACL);
        echo(ipv6, false, reply, 7);
        assert_int_equal(judge(FILTER_OUT), ALLOWED);
    }
}

static void errors_come_through_where_they_are_about_a_connection(void **state)
{
    struct packet sent, other;
    assert_int_equal(udp(FILTER_IN, 5000, 53), ALLOWED);
    sent = p;
    packet_ipv6(&other, 2, 1, IPPROTO_UDP);
    packet_udp(&other, 53, 5001, 10);
    packet_ipv6(&p, 1, 9, IPPROTO_ICMPV6); /* a router between them */
    packet_error(&p, 1, 4, &sent);
    assert_int_equal(judge(FILTER_OUT), ALLOWED);
    packet_ipv6(&p, 1, 9, IPPROTO_ICMPV6);
    packet_error(&p, 2, 0, &sent); /* too big */
    assert_int_equal(judge(FILTER_OUT), ALLOWED);
    packet_ipv6(&p, 1, 9, IPPROTO_ICMPV6);
    packet_error(&p, 1, 4, &other);
    assert_int_equal(judge(FILTER_OUT), DROP_ACL);
    packet_ipv6(&p, 1, 9, IPPROTO_ICMPV6);
    packet_error(&p, 137, 0, &sent); /* a redirect is no error */
    assert_int_equal(judge(FILTER_OUT), DROP_ACL);
    packet_ipv6(&p, 1, 9, IPPROTO_ICMPV6);
    sent.len = sent.l4 + 4; /* quotes too little */
    packet_error(&p, 1, 4, &sent);
    assert_int_equal(judge(FILTER_OUT), DROP_ACL);
    /* An answer that cannot be delivered. */
    packet_ipv6(&other, 1, 2, IPPROTO_UDP);
    packet_udp(&other, 5000, 53, 10);
    packet_ipv6(&p, 2, 1, IPPROTO_ICMPV6);
    packet_error(&p, 1, 4, &other);
    set_acl(NO_TCP);
    assert_int_equal(judge(FILTER_IN), ALLOWED);
}

static void fragment(bool from_guest, unsigned id, unsigned place)
{
    packet_ipv4(&p, from_guest ? 2 : 1, from_guest ? 1 : 2, IPPROTO_UDP);
    packet_udp(&p, from_guest ? 53 : 5000, from_guest ? 5000 : 53, 64);
    packet_set16(&p, p.l3 + 4, id);
    packet_set16(&p, p.l3 + 6, place);
}

static void later_fragments_follow_the_first(void **state)
{
    fragment(false, 1, 0x2009);
    assert_int_equal(judge(FILTER_OUT), DROP_FRAGMENT);
    fragment(false, 1, 0x2000);
    assert_int_equal(judge(FILTER_OUT), DROP_ACL);
    fragment(false, 1, 9);
    assert_int_equal(judge(FILTER_OUT), DROP_FRAGMENT);
    fragment(true, 5, 0x2000);
    assert_int_equal(judge(FILTER_IN), ALLOWED);
    fragment(true, 5, 9);
    assert_int_equal(judge(FILTER_IN), ALLOWED);
    fragment(true, 6, 9);
    assert_int_equal(judge(FILTER_IN), DROP_FRAGMENT);
    fragment(false, 5, 9);
    assert_int_equal(judge(FILTER_OUT), DROP_FRAGMENT);
    fragment(false, 1, 0x2000);
    assert_int_equal(judge(FILTER_OUT), ALLOWED); /* the answer's first */
    fragment(false, 1, 9);
    assert_int_equal(judge(FILTER_OUT), ALLOWED);
    forward.now_s += 31;
    assert_int_equal(judge(FILTER_OUT), DROP_FRAGMENT);
}

static void a_port_has_as_many_connections_as_it_may(void **state)
{
    filters[0].connections = 3;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(udp(FILTER_IN, 10 + i, 53), ALLOWED);
        assert_int_equal(udp(FILTER_OUT, 10 + i, 53), ALLOWED);
    }
    assert_int_equal(udp(FILTER_IN, 13, 53), DROP_CONNECTIONS);
    assert_int_equal(udp(FILTER_IN, 12, 53), ALLOWED);
    assert_int_equal(bridge->tables->conntrack.used_by[0], 3);
    assert_int_equal(judge_at(1, FILTER_IN), ALLOWED);
}

static void a_flood_costs_others_none_of_their_connections(void **state)
{
    filters[0].connections = CONNTRACK_ENTRIES;
    filters[1].connections = CONNTRACK_ENTRIES;
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(udp(FILTER_IN, i, 53), ALLOWED);
        assert_int_equal(udp(FILTER_OUT, i, 53), ALLOWED);
    }
    packet_ipv4(&p, 2, 1, IPPROTO_UDP);
    packet_udp(&p, 53, 0, 0);
    for (unsigned i = 0; i < 4 * CONNTRACK_ENTRIES; i++) {
        packet_set16(&p, p.l4, i & 0xffff);
        packet_set16(&p, p.l3 + 12, i >> 16);
        judge_at(1, FILTER_IN);
    }
    assert_true(bridge->tables->conntrack.used_by[1] > CONNTRACK_ENTRIES / 2);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(udp(FILTER_OUT, i, 53), ALLOWED);
    /* New ones find room, too: the flood's own give way. */
    for (unsigned i = 500; i < 600; i++)
        assert_int_equal(udp(FILTER_IN, i, 53), ALLOWED);
}

static void other_rules_hold_for_connections_that_are_there(void **state)
{
    assert_int_equal(tcp(FILTER_IN, 4000, 80, SYN), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 4000, 80, SYN | ACK), ALLOWED);
    assert_int_equal(tcp(FILTER_OUT, 22, 6000, SYN), ALLOWED);
    assert_int_equal(udp(FILTER_IN, 5000, 53), ALLOWED);
    set_acl(NO_TCP);
    assert_int_equal(tcp(FILTER_OUT, 4000, 80, ACK), DROP_ACL);
    assert_int_equal(tcp(FILTER_IN, 4000, 80, ACK), DROP_ACL);
    assert_int_equal(tcp(FILTER_IN, 22, 6000, SYN | ACK), DROP_ACL);
    assert_int_equal(udp(FILTER_OUT, 5000, 53), ALLOWED);
    assert_int_equal(bridge->tables->conntrack.used_by[0], 1);
}

/* A list of what was said last, looked through from end to end. */
static void random_packets_are_judged_as_by_a_plain_list(void **state)
{
    static struct {
        bool there, answered;
        uint32_t until;
    } model[8][8];
    unsigned allowed = 0, denied = 0;
    srandom(5);
    for (unsigned i = 0; i < 50000; i++) {
        unsigned guest_port = (unsigned)random() % 8, port = (unsigned)random() % 8;
        bool from_guest = random() % 3 == 0;
        bool known =
            model[guest_port][port].there && forward.now_s <= model[guest_port][port].until;
        enum port_drop got = udp(from_guest ? FILTER_IN : FILTER_OUT, guest_port, port);
        assert_int_equal(got, known || from_guest ? ALLOWED : DROP_ACL);
        if (known || from_guest) {
            bool answered = known && (model[guest_port][port].answered || !from_guest);
            model[guest_port][port].there = true;
            model[guest_port][port].answered = answered;
            model[guest_port][port].until = forward.now_s + (answered ? 120 : 30);
        }
        allowed += got == ALLOWED;
        denied += got != ALLOWED;
        if (random() % 8 == 0)
            forward.now_s += (uint32_t)(random() % 40);
    }
    assert_true(allowed > 5000 && denied > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(answers_to_what_a_guest_began_come_through),
        TEST(a_connection_from_outside_is_the_rules_business),
        TEST(connections_end),
        TEST(flags_that_no_tcp_sends_are_dropped),
        TEST(echoes_are_answered_once_they_were_asked),
        TEST(errors_come_through_where_they_are_about_a_connection),
        TEST(later_fragments_follow_the_first),
        TEST(a_port_has_as_many_connections_as_it_may),
        TEST(a_flood_costs_others_none_of_their_connections),
        TEST(other_rules_hold_for_connections_that_are_there),
        TEST(random_packets_are_judged_as_by_a_plain_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
