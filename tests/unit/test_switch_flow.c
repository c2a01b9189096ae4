/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of frames, and the classifier against a linear search over the same rules. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/util.h"
#include "flow_frames.h"
#include "switch/forward/classifier.h"
#include "unit.h"

static struct packet p;
static struct flow_key key;

/* --- Keys --------------------------------------------------------------------- */

static void a_udp_packet_has_addresses_and_ports(void **state)
{
    packet_ipv4(&p, 2, 1, IPPROTO_UDP);
    packet_udp(&p, 53, 4000, 20);
    p.bytes[p.l3 + 1] = 0xb9;
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.type, FLOW_TYPE_IPV4);
    assert_int_equal(key.protocol, IPPROTO_UDP);
    assert_int_equal(key.tos, 0xb9);
    assert_int_equal(key.ttl, 64);
    assert_int_equal(key.from_port, 4000);
    assert_int_equal(key.to_port, 53);
    assert_int_equal(key.fragment, 0);
    assert_memory_equal(key.from, "\x0a\0\0\1\0\0", 6);
    assert_memory_equal(key.to, "\x0a\0\0\2\0\0", 6);
    assert_int_equal(key.to_mac[5], 2);
    assert_int_equal(key.from_mac[5], 1);
}

static void a_tagged_packet_has_its_vlan_and_priority(void **state)
{
    struct packet inner;
    packet_ipv4(&inner, 2, 1, IPPROTO_TCP);
    packet_tcp(&inner, 80, 4000, 0x12);
    packet_ethernet(&p, 2, 1, 0xa00a, FLOW_TYPE_IPV4);
    packet_add(&p, inner.bytes + 14, inner.len - 14);
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.vlan, 10);
    assert_int_equal(key.pcp, 5);
    assert_int_equal(key.to_port, 80);
    assert_int_equal(key.tcp_flags, 0x12);
}

static void extension_headers_are_gone_over(void **state)
{
    static const uint8_t options[16] = {IPPROTO_DSTOPTS, 1}, more[8] = {IPPROTO_TCP};
    packet_ipv6(&p, 2, 1, IPPROTO_HOPOPTS);
    packet_add(&p, options, 16);
    packet_add(&p, more, 8);
    packet_tcp(&p, 443, 5000, 2);
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.protocol, IPPROTO_TCP);
    assert_int_equal(key.to_port, 443);
    assert_int_equal(key.to[15], 2);
    /* Without the part that has the ports nobody can say what it is. */
    packet_ipv6(&p, 2, 1, IPPROTO_HOPOPTS);
    packet_add(&p, options, 16);
    assert_false(packet_key(&p, &key));
    packet_ipv6(&p, 2, 1, IPPROTO_HOPOPTS);
    for (unsigned i = 0; i < 10; i++)
        packet_add(&p, (uint8_t[8]){IPPROTO_DSTOPTS}, 8);
    assert_false(packet_key(&p, &key));
}

static void fragments_are_told_apart(void **state)
{
    packet_ipv4(&p, 2, 1, IPPROTO_UDP);
    packet_udp(&p, 53, 4000, 64);
    packet_set16(&p, p.l3 + 6, 0x2000);
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.fragment, FLOW_FRAGMENT);
    assert_int_equal(key.to_port, 53);
    packet_set16(&p, p.l3 + 6, 0x2003);
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.fragment, FLOW_FRAGMENT | FLOW_FRAGMENT_LATER);
    assert_int_equal(key.to_port, 0);
    uint8_t fragment[8] = {IPPROTO_UDP, 0, 0, 1};
    packet_ipv6(&p, 2, 1, IPPROTO_FRAGMENT);
    packet_add(&p, fragment, 8);
    packet_udp(&p, 53, 4000, 64);
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.fragment, FLOW_FRAGMENT);
    assert_int_equal(key.to_port, 53);
    p.bytes[p.l4 + 3] = 8 << 3 | 1;
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.fragment, FLOW_FRAGMENT | FLOW_FRAGMENT_LATER);
    assert_int_equal(key.protocol, IPPROTO_UDP);
    assert_int_equal(key.to_port, 0);
}

static void headers_that_lie_are_malformed(void **state)
{
    static const struct {
        unsigned at, value;
    } lies[] = {
        {14, 0x4400}, /* a header of 16 bytes */
        {14, 0x5500}, /* version 5 */
        {14, 0x4f00}, /* a longer header than the packet */
        {16, 19},     /* shorter than its header */
        {16, 30},     /* ends in TCP's header */
        {16, 2000},   /* longer than the frame */
        {46, 0x4002}, /* TCP's header of 16 bytes */
        {46, 0xf002}, /* of 60 */
        {20, 1},      /* a fragment that would overwrite TCP's flags */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        packet_ipv4(&p, 2, 1, IPPROTO_TCP);
        packet_tcp(&p, 80, 4000, 2);
        assert_true(packet_key(&p, &key));
        packet_set16(&p, lies[i].at, lies[i].value);
        assert_false(packet_key(&p, &key));
    }
    packet_arp(&p, 1, 2, 1);
    assert_true(packet_key(&p, &key));
    p.bytes[18] = 8;
    assert_false(packet_key(&p, &key));
}

static void arp_and_neighbours_have_their_addresses(void **state)
{
    packet_arp(&p, 2, 7, 9);
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.protocol, 2);
    assert_int_equal(key.from[3], 9);
    assert_int_equal(key.to[3], 7);
    assert_int_equal(key.arp.from[5], 9);
    assert_int_equal(key.arp.to[5], 7);
    packet_ipv6(&p, 2, 1, IPPROTO_ICMPV6);
    packet_add(&p, (uint8_t[24]){136, [8] = 0xfd, [23] = 5}, 24);
    assert_true(packet_key(&p, &key));
    assert_int_equal(key.from_port, 136);
    assert_int_equal(key.target[15], 5);
    packet_set16(&p, p.l3 + 4, 23);
    assert_false(packet_key(&p, &key));
}

static void an_error_quotes_the_packet_that_it_is_about(void **state)
{
    static struct flow_burst burst;
    struct packet udp;
    struct iovec iov[FRAME_SEGMENTS_MAX];
    struct frame frame;
    struct flow_key quoted;
    packet_ipv4(&udp, 2, 1, IPPROTO_UDP);
    packet_udp(&udp, 53, 4000, 500);
    packet_ipv4(&p, 1, 2, IPPROTO_ICMP);
    packet_error(&p, 3, 3, &udp);
    packet_frame(&p, &frame, iov, 0);
    flow_headers_keep(&burst, 0, &frame);
    assert_true(flow_key_read(&key, &burst.headers[0], &frame, 0));
    assert_true(flow_key_read_quoted(&quoted, &burst.headers[0], &key));
    assert_int_equal(quoted.protocol, IPPROTO_UDP);
    assert_int_equal(quoted.from_port, 4000);
    assert_int_equal(quoted.to_port, 53);
    assert_int_equal(quoted.from[3], 1);
    /* Not up to its ports. */
    packet_ipv4(&p, 1, 2, IPPROTO_ICMP);
    udp.len = udp.l4 + 7;
    packet_error(&p, 3, 3, &udp);
    packet_frame(&p, &frame, iov, 0);
    flow_headers_keep(&burst, 0, &frame);
    assert_true(flow_key_read(&key, &burst.headers[0], &frame, 0));
    assert_false(flow_key_read_quoted(&quoted, &burst.headers[0], &key));
}

/* --- Keeping -------------------------------------------------------------------- */

static unsigned gather(const struct frame *frame, uint8_t *to)
{
    unsigned len = FRAME_HEAD;
    memcpy(to, frame->head, FRAME_HEAD);
    for (unsigned i = 0; i < frame->rest_count; i++) {
        memcpy(to + len, frame->rest[i].iov_base, frame->rest[i].iov_len);
        len += (unsigned)frame->rest[i].iov_len;
    }
    return len;
}

static void what_was_read_is_sent_whatever_the_sender_writes_afterwards(void **state)
{
    static struct flow_burst burst;
    static const unsigned payloads[] = {0, 6, 7, 22, 150, 151, 1400};
    static const unsigned pieces[] = {0, 1, 5, 22, 177, 600};
    struct iovec iov[FRAME_SEGMENTS_MAX];
    struct frame frame;
    uint8_t sent[PACKET_MAX];
    for (unsigned i = 0; i < ARRAY_SIZE(payloads); i++) {
        for (unsigned k = 0; k < ARRAY_SIZE(pieces); k++) {
            packet_ipv4(&p, 2, 1, IPPROTO_UDP);
            packet_udp(&p, 53, 4000, payloads[i]);
            struct packet before = p;
            packet_frame(&p, &frame, iov, pieces[k]);
            flow_headers_keep(&burst, k, &frame);
            assert_int_equal(gather(&frame, sent), p.len);
            assert_memory_equal(sent, p.bytes, p.len);
            memset(p.bytes, 0xee, p.len);
            gather(&frame, sent);
            assert_memory_equal(sent, before.bytes, MIN(p.len, FLOW_HEADERS_MAX));
        }
    }
}

/* Whatever differs in the bytes that a shape leaves out, the key is the same, and the other way. */
static void frames_repeat_only_where_their_keys_are_the_same(void **state)
{
    static struct flow_burst burst;
    struct iovec iov[FRAME_SEGMENTS_MAX], iov2[FRAME_SEGMENTS_MAX];
    struct frame frame, changed_frame;
    unsigned repeated = 0;
    for (unsigned kind = 0; kind < 8; kind++) {
        struct packet inner;
        unsigned protocol = kind & 1 ? IPPROTO_TCP : IPPROTO_UDP;
        (kind & 2 ? packet_ipv6 : packet_ipv4)(&inner, 2, 1, protocol);
        if (kind & 1)
            packet_tcp(&inner, 80, 4000, 0x10);
        else
            packet_udp(&inner, 53, 4000, 30);
        p = inner;
        if (kind & 4) {
            packet_ethernet(&p, 2, 1, 10, kind & 2 ? FLOW_TYPE_IPV6 : FLOW_TYPE_IPV4);
            packet_add(&p, inner.bytes + 14, inner.len - 14);
        }
        packet_frame(&p, &frame, iov, 0);
        flow_headers_keep(&burst, 0, &frame);
        assert_true(flow_key_read(&key, &burst.headers[0], &frame, 0));
        const struct flow_shape *shape = flow_shape_of(&burst.headers[0]);
        struct flow_masked masked;
        assert_non_null(shape);
        assert_int_equal(shape->l4, burst.headers[0].l4);
        flow_headers_mask(&masked, &burst.headers[0], shape);
        for (unsigned at = 0; at < p.len; at++) {
            struct packet changed = p;
            struct flow_key other;
            changed.bytes[at] ^= 0x41;
            packet_frame(&changed, &changed_frame, iov2, 0);
            flow_headers_keep(&burst, 1, &changed_frame);
            if (!flow_headers_repeat(&burst.headers[1], shape, &masked))
                continue;
            assert_true(flow_key_read(&other, &burst.headers[1], &changed_frame, 0));
            assert_memory_equal(&key, &other, sizeof(key));
            repeated++;
        }
    }
    assert_true(repeated > 8 * 8);
}

/* --- The classifier against a linear search ---------------------------------------- */

struct reference {
    struct flow_match match;
    uint32_t priority;
};

static bool matches(const struct flow_match *match, const struct flow_key *with)
{
    for (size_t i = 0; i < sizeof(*with); i++) {
        uint8_t masked = ((const uint8_t *)with)[i] & ((const uint8_t *)&match->mask)[i];
        if (masked != ((const uint8_t *)&match->key)[i])
            return false;
    }
    return true;
}

static const struct reference *search(const struct reference *rules, unsigned count,
                                      const struct flow_key *with)
{
    const struct reference *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (matches(&rules[i].match, with) && (!best || rules[i].priority > best->priority))
            best = &rules[i];
    }
    return best;
}

/* Few values, so that much matches. */
static void random_key(struct flow_key *k)
{
    memset(k, 0, sizeof(*k));
    k->type = random() % 2 ? FLOW_TYPE_IPV4 : FLOW_TYPE_IPV6;
    k->protocol = (uint8_t)(random() % 3);
    k->from[3] = (uint8_t)(random() % 8);
    k->to[3] = (uint8_t)(random() % 8);
    k->to_port = (uint16_t)(random() % 16);
    k->from_mac[5] = (uint8_t)(random() % 4);
    k->vlan = (uint16_t)(random() % 4);
    k->target[15] = (uint8_t)(random() % 3);
}

static void random_match(struct flow_match *match)
{
    random_key(&match->key);
    memset(&match->mask, 0, sizeof(match->mask));
    unsigned fields = (unsigned)random();
    if (fields & 1)
        match->mask.type = 0xffff;
    if (fields & 2)
        match->mask.protocol = 0xff;
    if (fields & 4)
        match->mask.from[3] = (uint8_t)(0xff << random() % 4);
    if (fields & 8)
        match->mask.to[3] = (uint8_t)(0xff << random() % 4);
    if (fields & 16)
        match->mask.to_port = (uint16_t)(0xffff << random() % 5);
    if (fields & 32)
        match->mask.from_mac[5] = 0xff;
    if (fields & 64)
        match->mask.target[15] = 0xff;
    for (size_t i = 0; i < sizeof(match->key); i++)
        ((uint8_t *)&match->key)[i] &= ((const uint8_t *)&match->mask)[i];
}

static void the_classifier_finds_what_a_linear_search_finds(void **state)
{
    static struct reference rules[400];
    unsigned found = 0, none = 0;
    srandom(7);
    for (unsigned round = 0; round < 60; round++) {
        unsigned count = (unsigned)random() % (round % 4 ? 30 : ARRAY_SIZE(rules)) + 1;
        struct classifier *classifier = classifier_new(NULL);
        assert_non_null(classifier);
        for (unsigned i = 0; i < count; i++) {
            random_match(&rules[i].match);
            /* In no order, and each its own. */
            rules[i].priority = (uint32_t)(i * 7919 % 401);
            assert_int_equal(
                classifier_add(classifier, &rules[i].match, rules[i].priority, &rules[i]), 0);
        }
        for (unsigned i = 0; i < 2000; i++) {
            random_key(&key);
            const struct reference *expected = search(rules, count, &key);
            assert_ptr_equal(classifier_find(classifier, &key), expected);
            assert_ptr_equal(classifier_find(classifier, &key), expected);
            found += expected != NULL;
            none += expected == NULL;
        }
        /* What is added later is found at once. */
        struct flow_match all = {.key = {.vlan = 0}};
        assert_int_equal(classifier_add(classifier, &all, 1000, &all), 0);
        assert_ptr_equal(classifier_find(classifier, &key), &all);
        classifier_free(classifier);
    }
    assert_true(found > 10000 && none > 1000);
}

static void what_is_set_and_taken_out_is_found_as_a_linear_search_does(void **state)
{
    static struct reference rules[200];
    static bool there[ARRAY_SIZE(rules)];
    struct classifier *classifier = classifier_new(NULL);
    unsigned distinct = 0;
    srandom(11);
    while (distinct < ARRAY_SIZE(rules)) {
        unsigned i = 0;
        random_match(&rules[distinct].match);
        while (memcmp(&rules[i].match, &rules[distinct].match, sizeof(rules[i].match)) != 0)
            i++;
        distinct += i == distinct;
    }
    for (unsigned round = 0; round < 4000; round++) {
        unsigned i = (unsigned)random() % ARRAY_SIZE(rules), count = 0;
        const struct reference *expected = NULL;
        there[i] = random() % (round / 500 % 2 ? 4 : 2) == 0;
        /* Distinct, so that it is known which of two is found. */
        rules[i].priority = (uint32_t)(random() % 50 * ARRAY_SIZE(rules) + i);
        assert_int_equal(classifier_set(classifier, &rules[i].match, rules[i].priority,
                                        there[i] ? &rules[i] : NULL),
                         0);
        random_key(&key);
        for (unsigned k = 0; k < ARRAY_SIZE(rules); k++) {
            count += there[k];
            if (there[k] && search(&rules[k], 1, &key) &&
                (!expected || rules[k].priority > expected->priority))
                expected = &rules[k];
        }
        assert_int_equal(classifier_matches(classifier), count);
        assert_ptr_equal(classifier_find(classifier, &key), expected);
        assert_ptr_equal(classifier_find(classifier, &key), expected);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
        assert_int_equal(classifier_set(classifier, &rules[i].match, 0, NULL), 0);
    assert_int_equal(classifier_matches(classifier), 0);
    assert_int_equal(classifier_masks(classifier), 0);
    assert_null(classifier_find(classifier, &key));
    classifier_free(classifier);
}

static void ten_thousand_rules_of_one_kind_are_one_table(void **state)
{
    static int rules[10000];
    struct classifier *classifier = classifier_new(NULL);
    struct flow_match match = {.mask = {.type = 0xffff}};
    match.key.type = FLOW_TYPE_IPV4;
    memset(match.mask.from, 0xff, 4);
    for (uint32_t i = 0; i < ARRAY_SIZE(rules); i++) {
        store_le(match.key.from, i, 4);
        assert_int_equal(classifier_add(classifier, &match, i, &rules[i]), 0);
    }
    assert_int_equal(classifier_masks(classifier), 1);
    assert_int_equal(classifier_matches(classifier), ARRAY_SIZE(rules));
    for (uint32_t i = 0; i < ARRAY_SIZE(rules); i++) {
        key = match.key;
        store_le(key.from, i, 4);
        key.ttl = 3;
        assert_ptr_equal(classifier_find(classifier, &key), &rules[i]);
    }
    store_le(key.from, ARRAY_SIZE(rules), 4);
    assert_null(classifier_find(classifier, &key));
    match.key.ttl = 1;
    assert_int_equal(classifier_add(classifier, &match, 1, &rules[0]), -EINVAL);
    classifier_free(classifier);
}

static void there_is_a_limit_of_masks(void **state)
{
    struct classifier *classifier = classifier_new(NULL);
    struct flow_match match = {0};
    int rc = 0;
    for (unsigned i = 1; rc == 0 && i < 10000; i++) {
        match.mask.to_port = (uint16_t)i;
        rc = classifier_add(classifier, &match, 1, &match);
    }
    assert_int_equal(rc, -ENOSPC);
    assert_int_equal(classifier_masks(classifier), CLASSIFIER_MASKS_MAX);
    classifier_free(classifier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_udp_packet_has_addresses_and_ports),
        cmocka_unit_test(a_tagged_packet_has_its_vlan_and_priority),
        cmocka_unit_test(extension_headers_are_gone_over),
        cmocka_unit_test(fragments_are_told_apart),
        cmocka_unit_test(headers_that_lie_are_malformed),
        cmocka_unit_test(arp_and_neighbours_have_their_addresses),
        cmocka_unit_test(an_error_quotes_the_packet_that_it_is_about),
        cmocka_unit_test(what_was_read_is_sent_whatever_the_sender_writes_afterwards),
        cmocka_unit_test(frames_repeat_only_where_their_keys_are_the_same),
        cmocka_unit_test(the_classifier_finds_what_a_linear_search_finds),
        cmocka_unit_test(what_is_set_and_taken_out_is_found_as_a_linear_search_does),
        cmocka_unit_test(ten_thousand_rules_of_one_kind_are_one_table),
        cmocka_unit_test(there_is_a_limit_of_masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
