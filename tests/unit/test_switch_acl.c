/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACLs against a search through the rules one after the other, what is refused, and port security.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "flow_frames.h"
#include "switch/filter/acl.h"
#include "switch/filter/port_security.h"
#include "unit.h"

static struct packet p;
static struct flow_key key;

/* --- Against a linear search ---------------------------------------------------- */

#define RULES 40

/* A rule as a user thinks of it. -1: not said. */
struct wish {
    bool allow;
    int direction; /* 2: both */
    int priority;
    int type, protocol;
    int from, to;    /* 10.0.x.0/24 and fd0x::/16 */
    int first, last; /* receiver's ports */
    int icmp_type;
};

static int some(int count)
{
    return (int)(random() % (count + 1)) - 1;
}

static struct wish make_wish(void)
{
    static const int protocols[] = {-1, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6};
    struct wish w = {.allow = random() % 2,
                     .direction = (int)(random() % 3),
                     .priority = (int)(random() % 4),
                     .type = some(3),
                     .protocol = protocols[random() % 5],
                     .from = some(3),
                     .to = some(3),
                     .first = -1,
                     .icmp_type = -1};
    if ((w.protocol == IPPROTO_TCP || w.protocol == IPPROTO_UDP) && random() % 2) {
        w.first = (int)(random() % 60);
        w.last = w.first + (int)(random() % 30);
    }
    if (w.protocol == IPPROTO_ICMP && random() % 2)
        w.icmp_type = (int)(random() % 3);
    /* What contradicts itself is refused. */
    if (w.protocol == IPPROTO_ICMP || w.protocol == IPPROTO_ICMPV6)
        w.type = -1;
    if (w.type == 2)
        w.protocol = w.first = -1;
    return w;
}

static const char *const type_texts[] = {"ipv4", "ipv6", "arp"};
static const uint16_t types[] = {FLOW_TYPE_IPV4, FLOW_TYPE_IPV6, FLOW_TYPE_ARP};

static json_t *write_wish(const struct wish *w)
{
    static const char *const directions[] = {"in", "out", "both"};
    char text[100];
    json_t *o = json_pack("{s:s, s:s, s:i}", "action", w->allow ? "allow" : "deny", "direction",
                          directions[w->direction], "priority", w->priority);
    if (w->type >= 0)
        json_object_set_new(o, "type", json_string(type_texts[w->type]));
    if (w->protocol >= 0) {
        snprintf(text, sizeof(text), "%d", w->protocol);
        json_object_set_new(o, "protocol", json_string(text));
    }
    if (w->from >= 0) {
        snprintf(text, sizeof(text), "10.0.%d.0/24,@six%d", w->from, w->from);
        json_object_set_new(o, "from", json_string(text));
    }
    if (w->to >= 0) {
        snprintf(text, sizeof(text), "fd0%d::/16,10.0.%d.0/24", w->to, w->to);
        json_object_set_new(o, "to", json_string(text));
    }
    if (w->first >= 0) {
        snprintf(text, sizeof(text), "%d-%d", w->first, w->last);
        json_object_set_new(o, "to-ports", json_string(text));
    }
    if (w->icmp_type >= 0)
        json_object_set_new(o, "icmp-type", json_integer(w->icmp_type));
    return o;
}

static bool has_net(const uint8_t *address, uint16_t type, int net)
{
    if (type == FLOW_TYPE_IPV6)
        return address[0] == 0xfd && address[1] == net;
    return address[0] == 10 && address[1] == 0 && address[2] == net;
}

static bool fits(const struct wish *w, unsigned direction, const struct flow_key *k)
{
    bool ip = k->type != FLOW_TYPE_ARP;
    bool later = k->fragment & FLOW_FRAGMENT_LATER;
    if (w->direction != 2 && (unsigned)w->direction != direction)
        return false;
    if (w->type >= 0 && types[w->type] != k->type)
        return false;
    /* Addresses are of IP unless ARP is named. */
    if ((w->from >= 0 || w->to >= 0) && !ip && w->type != 2)
        return false;
    if (w->protocol >= 0 && (!ip || k->protocol != w->protocol))
        return false;
    if (w->protocol == IPPROTO_ICMP && k->type != FLOW_TYPE_IPV4)
        return false;
    if (w->protocol == IPPROTO_ICMPV6 && k->type != FLOW_TYPE_IPV6)
        return false;
    if ((w->from >= 0 && !has_net(k->from, k->type, w->from)) ||
        (w->to >= 0 && !has_net(k->to, k->type, w->to)))
        return false;
    if (w->first >= 0 && (later || k->to_port < w->first || k->to_port > w->last))
        return false;
    return w->icmp_type < 0 || (!later && k->from_port == w->icmp_type);
}

static const struct wish *first_of(const struct wish *wishes, unsigned count, unsigned direction,
                                   const struct flow_key *k)
{
    const struct wish *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (fits(&wishes[i], direction, k) && (!best || wishes[i].priority > best->priority))
            best = &wishes[i];
    }
    return best;
}

static void some_key(struct flow_key *k)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, 50};
    memset(k, 0, sizeof(*k));
    k->type = types[random() % 3];
    k->ttl = (uint8_t)random();
    k->from[0] = k->to[0] = 10;
    k->from[2] = (uint8_t)(random() % 4);
    k->to[2] = (uint8_t)(random() % 4);
    if (k->type == FLOW_TYPE_IPV6) {
        k->from[0] = k->to[0] = 0xfd;
        k->from[1] = k->from[2];
        k->to[1] = k->to[2];
    }
    if (k->type == FLOW_TYPE_ARP)
        return;
    k->protocol = protocols[random() % 5];
    if (random() % 8 == 0) {
        k->fragment = FLOW_FRAGMENT | FLOW_FRAGMENT_LATER;
    } else if (k->protocol == IPPROTO_TCP || k->protocol == IPPROTO_UDP) {
        k->from_port = (uint16_t)(random() % 5);
        k->to_port = (uint16_t)(random() % 80);
    } else if (k->protocol != 50) {
        k->from_port = (uint16_t)(random() % 4);
    }
}

static json_t *some_sets(void)
{
    return json_pack("{s:[s], s:[s,s], s:[s]}", "six0", "fd00::/16", "six1", "fd01::/17",
                     "fd01:8000::/17", "six2", "fd02::/16");
}

static void an_acl_decides_as_its_rules_one_after_the_other_do(void **state)
{
    struct wish wishes[RULES];
    unsigned decided = 0, defaults = 0;
    srandom(3);
    for (unsigned round = 0; round < 150; round++) {
        unsigned count = (unsigned)random() % RULES + 1;
        json_t *rules = json_array();
        for (unsigned i = 0; i < count; i++) {
            wishes[i] = make_wish();
            json_array_append_new(rules, write_wish(&wishes[i]));
        }
        json_t *object = json_pack("{s:s, s:s, s:o, s:o}", "name", "x", "default", "deny", "rules",
                                   rules, "sets", some_sets());
        struct kv_error err = {0};
        struct acl *acl = acl_new(object, &err);
        if (!acl)
            fail_msg("%s", err.message);
        for (unsigned i = 0; i < 1000; i++) {
            some_key(&key);
            unsigned direction = i % 2;
            const struct wish *wish = first_of(wishes, count, direction, &key);
            const struct acl_rule *rule = acl_find(acl, direction, &key);
            if (wish) {
                assert_ptr_equal(rule, &acl->rules[wish - wishes]);
                assert_int_equal(rule->allow, wish->allow);
            } else {
                assert_ptr_equal(rule, &acl->otherwise[direction]);
                assert_false(rule->allow);
            }
            decided += wish != NULL;
            defaults += wish == NULL;
        }
        acl_free(acl);
        json_decref(object);
    }
    assert_true(decided > 20000 && defaults > 5000);
}

/* --- What is refused -------------------------------------------------------------- */

static void assert_refused(const char *text, const char *words)
{
    struct kv_error err = {0};
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    assert_null(acl_new(object, &err));
    if (!strstr(err.message, words))
        fail_msg("'%s' has no '%s'", err.message, words);
    json_decref(object);
}

static void what_no_frame_could_match_is_refused_by_its_index(void **state)
{
#define RULE(fields) \
    "{\"name\": \"x\", \"rules\": [{\"action\": \"deny\"}, {\"action\": \"allow\"" fields "}]}"
    assert_refused(RULE(", \"from\": \"10.0.0.1/24\""), "rule 1: address '10.0.0.1/24'");
    assert_refused(RULE(", \"from\": \"10.0.0.1,\""), "rule 1: address ''");
    assert_refused(RULE(", \"from\": \"@web\""), "rule 1: set '@web'");
    assert_refused(RULE(", \"from\": \"10.0.0.1\", \"to\": \"fd00::1\""), "different families");
    assert_refused(RULE(", \"type\": \"ipv6\", \"to\": \"10.0.0.1\""), "different families");
    assert_refused(RULE(", \"type\": \"ipv4\", \"protocol\": \"icmpv6\""), "has no protocol");
    assert_refused(RULE(", \"type\": \"arp\", \"protocol\": \"tcp\""), "has no protocol");
    assert_refused(RULE(", \"type\": \"0x10\""), "ipv4, ipv6, arp, and numbers from 0x600");
    assert_refused(RULE(", \"protocol\": \"gre\""), "tcp, udp, sctp");
    assert_refused(RULE(", \"to-ports\": \"80\""), "are of protocol tcp");
    assert_refused(RULE(", \"protocol\": \"tcp\", \"to-ports\": \"80-70\""), "ports '80-70'");
    assert_refused(RULE(", \"protocol\": \"tcp\", \"to-ports\": \"65536\""), "ports '65536'");
    assert_refused(RULE(", \"protocol\": \"tcp\", \"to-ports\": \"\""), "no ports");
    assert_refused(RULE(", \"protocol\": \"udp\", \"icmp-type\": 3"), "icmp or icmpv6");
    assert_refused(RULE(", \"protocol\": \"icmp\", \"icmp-code\": 3"), "of an 'icmp-type'");
    assert_refused(RULE(", \"type\": \"arp\", \"dscp\": 3"), "has no 'dscp'");
    assert_refused(RULE(", \"type\": \"0x88cc\", \"from\": \"10.0.0.1\""), "has no addresses");
    assert_refused(RULE(", \"from-mac\": \"02:00\""), "from-mac '02:00'");
    assert_refused(RULE(", \"direction\": \"up\""), "in, out, both");
    assert_refused(RULE(", \"priority\": 70000"), "65535");
    assert_refused(RULE(", \"port\": 80"), "unknown option 'port'");
    assert_refused("{\"name\": \"x\", \"rules\": [{}]}",
                   "rule 0: rule: option 'action' is missing");
    assert_refused("{\"name\": \"x\", \"rules\": [3]}", "rule 0");
    assert_refused("{\"name\": \"x\", \"rules\": {}}", "'rules' is a list");
    assert_refused("{\"name\": \"x\", \"sets\": []}", "'sets' is an object");
    assert_refused("{\"name\": \"\"}", "1 to 63 characters");
}

static void odd_even_ports_are_too_many_matches(void **state)
{
    char ports[5000];
    size_t len = 0;
    for (unsigned i = 1; i < 900; i += 2)
        len += (size_t)snprintf(ports + len, sizeof(ports) - len, "%s%u", len ? "," : "", i);
    json_t *object = json_pack("{s:s, s:[{s:s, s:s, s:s, s:s}]}", "name", "x", "rules", "action",
                               "allow", "protocol", "tcp", "to-ports", ports, "from-ports", ports);
    struct kv_error err = {0};
    assert_null(acl_new(object, &err));
    assert_non_null(strstr(err.message, "rule 0: sets and port ranges make more"));
    json_decref(object);
}

/* --- Port security ----------------------------------------------------------------- */

static struct port_security security;

static void secure(const char *macs, const char *addresses)
{
    struct kv_error err = {0};
    security = (struct port_security){.dhcp_guard = true, .router_guard = true};
    if (port_security_parse(&security, macs, addresses, &err) < 0)
        fail_msg("%s", err.message);
}

#define ALLOWED DROP_COUNT

static enum port_drop judge(void)
{
    static struct flow_burst burst;
    struct iovec iov[FRAME_SEGMENTS_MAX];
    struct frame frame;
    enum port_drop why = ALLOWED;
    packet_frame(&p, &frame, iov, 0);
    flow_headers_keep(&burst, 0, &frame);
    assert_true(flow_key_read(&key, &burst.headers[0], &frame, 0));
    return port_security_allows(&security, &key, &burst.headers[0], &why) ? ALLOWED : why;
}

static void a_station_speaks_for_itself_only(void **state)
{
    secure("02:00:00:00:00:01", "10.0.0.1,fd00::1");
    packet_ipv4(&p, 2, 1, IPPROTO_UDP);
    packet_udp(&p, 53, 4000, 0);
    assert_int_equal(judge(), ALLOWED);
    p.bytes[p.l3 + 15] = 9;
    assert_int_equal(judge(), DROP_SPOOFED_ADDRESS);
    packet_ipv4(&p, 2, 1, IPPROTO_UDP);
    packet_udp(&p, 53, 4000, 0);
    p.bytes[11] = 9;
    assert_int_equal(judge(), DROP_SPOOFED_MAC);
    packet_ipv6(&p, 2, 1, IPPROTO_UDP);
    packet_udp(&p, 53, 4000, 0);
    assert_int_equal(judge(), ALLOWED);
    p.bytes[p.l3 + 23] = 9;
    assert_int_equal(judge(), DROP_SPOOFED_ADDRESS);
    /* The link's address that it makes of its MAC. */
    const uint8_t link_local[16] = {0xfe, 0x80, [11] = 0xff, 0xfe, 0, 0, 1};
    memcpy(p.bytes + p.l3 + 8, link_local, 16);
    assert_int_equal(judge(), ALLOWED);
    packet_ethernet(&p, 2, 1, -1, 0x88b5);
    packet_add(&p, (uint8_t[46]){0}, 46);
    assert_int_equal(judge(), DROP_SPOOFED_ADDRESS);
    secure("02:00:00:00:00:01", NULL);
    assert_int_equal(judge(), ALLOWED);
}

static void arp_tells_the_truth_or_nothing(void **state)
{
    secure("02:00:00:00:00:01", "10.0.0.1");
    packet_arp(&p, 1, 2, 1);
    assert_int_equal(judge(), ALLOWED);
    memset(p.bytes + 28, 0, 4); /* a probe */
    assert_int_equal(judge(), ALLOWED);
    packet_arp(&p, 2, 2, 1);
    p.bytes[31] = 254;
    assert_int_equal(judge(), DROP_SPOOFED_ARP);
    packet_arp(&p, 2, 2, 1);
    p.bytes[27] = 7; /* the sender's hardware address, not the frame's */
    assert_int_equal(judge(), DROP_SPOOFED_ARP);
}

static void make_nd(unsigned type, unsigned target, unsigned option, unsigned mac)
{
    const uint8_t nd[32] = {
        (uint8_t)type, [8] = 0xfd, [23] = (uint8_t)target, [24] = (uint8_t)option,
        [25] = 1,      [26] = 2,   [31] = (uint8_t)mac};
    packet_ipv6(&p, 2, 1, IPPROTO_ICMPV6);
    packet_add(&p, nd, option ? 32 : 24);
}

static void neighbours_tell_the_truth(void **state)
{
    secure("02:00:00:00:00:01", "fd00::1");
    make_nd(136, 1, 2, 1);
    assert_int_equal(judge(), ALLOWED);
    make_nd(136, 9, 2, 1);
    assert_int_equal(judge(), DROP_SPOOFED_ND);
    make_nd(136, 1, 2, 9);
    assert_int_equal(judge(), DROP_SPOOFED_ND);
    make_nd(135, 9, 1, 1);
    assert_int_equal(judge(), ALLOWED);
    make_nd(135, 9, 1, 9);
    assert_int_equal(judge(), DROP_SPOOFED_ND);
    p.bytes[p.l4 + 25] = 0; /* an option without a length */
    assert_int_equal(judge(), DROP_SPOOFED_ND);
    make_nd(135, 1, 0, 0);
    memset(p.bytes + p.l3 + 8, 0, 16); /* whether somebody has its address */
    assert_int_equal(judge(), ALLOWED);
    make_nd(136, 1, 0, 0);
    memset(p.bytes + p.l3 + 8, 0, 16);
    assert_int_equal(judge(), DROP_SPOOFED_ADDRESS);
}

static void guests_are_no_servers_of_addresses_and_no_routers(void **state)
{
    secure(NULL, NULL);
    packet_ipv4(&p, 2, 1, IPPROTO_UDP);
    packet_udp(&p, 68, 67, 0);
    assert_int_equal(judge(), DROP_DHCP_SERVER);
    packet_ipv6(&p, 2, 1, IPPROTO_UDP);
    packet_udp(&p, 546, 547, 0);
    assert_int_equal(judge(), DROP_DHCP_SERVER);
    packet_ipv6(&p, 2, 1, IPPROTO_ICMPV6);
    packet_add(&p, (uint8_t[16]){134}, 16);
    assert_int_equal(judge(), DROP_ROUTER);
    /* Behind an extension header, and as the first of fragments. */
    packet_ipv6(&p, 2, 1, IPPROTO_DSTOPTS);
    packet_add(&p, (uint8_t[8]){IPPROTO_FRAGMENT}, 8);
    packet_add(&p, (uint8_t[8]){IPPROTO_ICMPV6, 0, 0, 1}, 8);
    packet_add(&p, (uint8_t[16]){134}, 16);
    assert_int_equal(judge(), DROP_ROUTER);
    security.router_guard = security.dhcp_guard = false;
    assert_int_equal(judge(), ALLOWED);
    secure(NULL, "10.0.0.1");
    packet_ipv4(&p, 2, 0, IPPROTO_UDP);
    packet_udp(&p, 67, 68, 0);
    memset(p.bytes + p.l3 + 12, 0, 4); /* asks for an address */
    assert_int_equal(judge(), ALLOWED);
    packet_set16(&p, p.l4, 69);
    assert_int_equal(judge(), DROP_SPOOFED_ADDRESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acl_decides_as_its_rules_one_after_the_other_do),
        cmocka_unit_test(what_no_frame_could_match_is_refused_by_its_index),
        cmocka_unit_test(odd_even_ports_are_too_many_matches),
        cmocka_unit_test(a_station_speaks_for_itself_only),
        cmocka_unit_test(arp_tells_the_truth_or_nothing),
        cmocka_unit_test(neighbours_tell_the_truth),
        cmocka_unit_test(guests_are_no_servers_of_addresses_and_no_routers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
