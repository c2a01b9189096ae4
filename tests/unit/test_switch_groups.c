/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snooping of multicast groups: messages, what is remembered, where frames go. */
#include <stdlib.h>

#include "base/util.h"
#include "plain_ports.h"
#include "switch/forward/checksum.h"
#include "switch/forward/group_view.h"
#include "switch/protocols/groups.h"
#include "unit.h"

static const uint8_t group_mac[6] = {0x01, 0x00, 0x5e, 0x01, 0x02, 0x03};
static const uint8_t group_mac6[6] = {0x33, 0x33, 0x00, 0x01, 0x02, 0x03};
static uint8_t frame[256];

/* An IGMP message of that many bytes, whose checksum is put in; returns the frame's length. */
static size_t make_igmp(const uint8_t *message, size_t len)
{
    static const uint8_t header[] = {0x46, 0, 0, 0, 0,   0, 0, 0, 1,    2, 0, 0,
                                     10,   0, 0, 1, 224, 1, 2, 3, 0x94, 4, 0, 0};
    memset(frame, 0, sizeof(frame));
    memcpy(frame, group_mac, 6);
    frame[6] = 2;
    store_be(frame + 12, 0x0800, 2);
    memcpy(frame + 14, header, sizeof(header));
    store_be(frame + 16, sizeof(header) + len, 2);
    uint8_t *p = frame + 14 + sizeof(header);
    memcpy(p, message, len);
    uint16_t sum = checksum_of(checksum_add(0, p, len));
    memcpy(p + 2, &sum, 2);
    return MAX(14 + sizeof(header) + len, 60U);
}

static size_t make_mld(const uint8_t *message, size_t len)
{
    static const uint8_t options[] = {58, 0, 5, 2, 0, 0, 1, 0};
    memset(frame, 0, sizeof(frame));
    memcpy(frame, group_mac6, 6);
    frame[6] = 2;
    store_be(frame + 12, 0x86dd, 2);
    frame[14] = 0x60;
    store_be(frame + 18, sizeof(options) + len, 2);
    frame[22] = 0xfe;
    frame[38] = 0xff;
    memcpy(frame + 54, options, sizeof(options));
    uint8_t *p = frame + 54 + sizeof(options);
    memcpy(p, message, len);
    uint64_t sum = checksum_add(0, frame + 22, 32);
    sum = checksum_add_number(checksum_add_number(sum, (uint32_t)len), 58);
    uint16_t stored = checksum_of(checksum_add(sum, p, len));
    memcpy(p + 2, &stored, 2);
    return 14 + 40 + sizeof(options) + len;
}

static const uint8_t v2_report[] = {0x16, 0, 0, 0, 224, 1, 2, 3},
                     v2_leave[] = {0x17, 0, 0, 0, 224, 1, 2, 3};
static const uint8_t query[] = {0x11, 100, 0, 0, 0, 0, 0, 0};

static void assert_says(size_t len, enum groups_kind kind, unsigned count, const uint8_t *mac,
                        bool joins)
{
    struct groups_message message;
    assert_true(groups_parse(&message, frame, len));
    assert_int_equal(message.kind, kind);
    assert_int_equal(groups_kind_of(frame, MIN(len, 96)), kind);
    assert_int_equal(message.count, count);
    if (count) {
        assert_memory_equal(message.changes[count - 1].mac, mac, 6);
        assert_int_equal(message.changes[count - 1].joins, joins);
    }
}

static void igmp_of_all_versions_is_understood(void **state)
{
    static const uint8_t v1[] = {0x12, 0, 0, 0, 224, 129, 2, 3};
    static const uint8_t v3[] = {0x22, 0, 0, 0, 0,   0, 0, 3, 6,  0, 0, 0,
                                 224,  9, 9, 9,                             /* blocks nobody */
                                 3,    1, 0, 0, 224, 8, 8, 8, 1,  2, 3, 4,  /* leaves; more data */
                                 5,    0, 0, 1, 224, 1, 2, 3, 10, 0, 0, 9}; /* one source */
    static const uint8_t link[] = {0x16, 0, 0, 0, 224, 0, 0, 251};
    assert_says(make_igmp(v1, sizeof(v1)), GROUPS_REPORT, 1, group_mac, true);
    assert_says(make_igmp(v2_report, sizeof(v2_report)), GROUPS_REPORT, 1, group_mac, true);
    assert_says(make_igmp(v2_leave, sizeof(v2_leave)), GROUPS_REPORT, 1, group_mac, false);
    assert_says(make_igmp(v3, sizeof(v3)), GROUPS_REPORT, 2, group_mac, true);
    assert_says(make_igmp(query, sizeof(query)), GROUPS_QUERY, 0, NULL, false);
    assert_says(make_igmp(link, sizeof(link)), GROUPS_REPORT, 0, NULL, false);
}

static void mld_of_both_versions_is_understood(void **state)
{
    uint8_t v1[24] = {131}, v2[28] = {143, 0, 0, 0, 0, 0, 0, 1, 4};
    v1[8] = v2[12] = 0xff;
    memcpy(v1 + 20, group_mac6 + 2, 4);
    memcpy(v2 + 24, group_mac6 + 2, 4);
    assert_says(make_mld(v1, sizeof(v1)), GROUPS_REPORT, 1, group_mac6, true);
    assert_says(make_mld(v2, sizeof(v2)), GROUPS_REPORT, 1, group_mac6, true);
    v1[0] = 132;
    assert_says(make_mld(v1, sizeof(v1)), GROUPS_REPORT, 1, group_mac6, false);
    v1[0] = 130;
    assert_says(make_mld(v1, sizeof(v1)), GROUPS_QUERY, 0, NULL, false);
}

static void broken_messages_say_nothing(void **state)
{
    static const uint8_t promises[] = {0x22, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 224, 1, 2, 3};
    struct groups_message message;
    size_t len = make_igmp(promises, sizeof(promises));
    assert_false(groups_parse(&message, frame, len));
    len = make_igmp(v2_report, sizeof(v2_report));
    for (size_t i = 0; i < 46; i++)
        assert_false(groups_parse(&message, frame, i));
    frame[42] ^= 1; /* the checksum */
    assert_false(groups_parse(&message, frame, len));
    make_igmp(v2_report, sizeof(v2_report));
    frame[20] = 0x20; /* a fragment */
    assert_int_equal(groups_kind_of(frame, len), GROUPS_NONE);
}

static void wishes_age_are_taken_back_and_limited(void **state)
{
    struct groups groups;
    struct groups_message report, leave;
    assert_int_equal(groups_init(&groups, 300, 100), 0);
    groups_parse(&report, frame, make_igmp(v2_report, sizeof(v2_report)));
    groups_parse(&leave, frame, make_igmp(v2_leave, sizeof(v2_leave)));
    assert_true(groups_hear(&groups, &report, 1, 7, false, 1000));
    assert_false(groups_hear(&groups, &report, 1, 7, false, 1050));
    assert_true(groups_hear(&groups, &report, 2, 7, false, 1050));
    assert_false(groups_hear(&groups, &leave, 1, 8, true, 1050)); /* another VLAN's */
    assert_false(groups_hear(&groups, &leave, 1, 7, false, 1051));
    assert_false(groups_expire(&groups, 1052));
    assert_true(groups_expire(&groups, 1053));
    assert_int_equal(groups.count, 1);
    assert_true(groups_hear(&groups, &leave, 2, 7, true, 1060));
    assert_int_equal(groups.count, 0);
    groups_hear(&groups, &report, 3, 7, false, 1100);
    /* Nobody takes all the room. */
    for (unsigned i = 0; i < 1000; i++) {
        report.changes[0].mac[3] = (uint8_t)(i >> 8);
        report.changes[0].mac[4] = (uint8_t)i;
        groups_hear(&groups, &report, 9, 7, false, 1100);
    }
    assert_int_equal(groups.count, 1 + GROUPS_OF_A_PORT);
    assert_true(groups_forget_port(&groups, 9));
    assert_true(groups_expire(&groups, 1200));
    assert_int_equal(groups.count, 0);
    groups_free(&groups);
}

static void frames_reach_those_who_want_them_and_routers(void **state)
{
    static struct plain_bridge plain;
    plain_init(&plain);
    struct group_view *view = calloc(1, sizeof(*view) + sizeof(struct group_row));
    view->count = 1;
    view->rows[0].group = mac_key(group_mac, 0);
    port_set_add(view->rows[0].ports, plain.ports[1].port.index);
    port_set_add(view->rows[0].ports, plain.ports[5].port.index);
    port_set_add(view->unregistered, plain.ports[5].port.index);
    port_set_add(view->reports, plain.ports[5].port.index);
    plain.bridge->groups = view;
    static const uint8_t data[] = {0x30, 0, 0, 0, 0, 0, 0, 0};
    /* Data for the group; a report; data for another group; for one that all hear; a query. */
    struct step {
        unsigned reach;
        const uint8_t *message;
        uint8_t third;
        bool flood_unregistered;
    } steps[] = {{1 << 1 | 1 << 5, data, 2, false},
                 {1 << 5, v2_report, 2, false},
                 {1 << 5, data, 9, false},
                 {0x3e, data, 9, true},
                 {0x3e, query, 2, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        size_t len = make_igmp(steps[i].message, 8);
        frame[4] = steps[i].third;
        view->flood_unregistered = steps[i].flood_unregistered;
        plain_receive(&plain.ports[0], frame, (unsigned)len);
        for (unsigned port = 0; port < PLAIN_PORTS; port++)
            assert_int_equal(plain_take(&plain.ports[port]) != NULL, steps[i].reach >> port & 1);
    }
    plain.bridge->groups = NULL;
    free(view);
    plain_destroy(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(igmp_of_all_versions_is_understood),
        cmocka_unit_test(mld_of_both_versions_is_understood),
        cmocka_unit_test(broken_messages_say_nothing),
        cmocka_unit_test(wishes_age_are_taken_back_and_limited),
        cmocka_unit_test(frames_reach_those_who_want_them_and_routers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
