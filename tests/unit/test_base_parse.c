/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values out of text. */
#include <errno.h>

#include "base/parse.h"
#include "base/util.h"
#include "unit.h"

static void sizes_take_suffixes_and_fractions(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0},           {"512", 512},         {"512B", 512},    {"1k", KIB(1)},
        {"512M", MIB(512)}, {"1.5G", MIB(1536)},  {"2GiB", GIB(2)}, {"0x10000", 65536},
        {"1TB", GIB(1024)}, {"15E", 15ull << 60},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t out = 1;
        assert_int_equal(parse_size(cases[i].text, &out), 0);
        assert_int_equal(out, cases[i].bytes);
    }
}

static void malformed_sizes_are_refused_and_leave_the_value_alone(void **state)
{
    static const char *const bad[] = {"", "M", "-1", "1.5", "1X", "1MM", "1.M", " 1", "1 M", "0x"};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        uint64_t out = 77;
        assert_int_equal(parse_size(bad[i], &out), -EINVAL);
        assert_int_equal(out, 77);
    }
    uint64_t out = 77;
    assert_int_equal(parse_size("16E", &out), -ERANGE);
    assert_int_equal(parse_size("99999999999999999999", &out), -ERANGE);
    assert_int_equal(out, 77);
}

static void macs_need_six_bytes(void **state)
{
    uint8_t mac[6] = {0};
    static const uint8_t want[6] = {0x52, 0x54, 0, 0x12, 0xab, 0xCD};
    assert_int_equal(parse_mac("52:54:00:12:ab:CD", mac), 0);
    assert_memory_equal(mac, want, 6);
    assert_int_equal(parse_mac("52:54:00:12:ab", mac), -EINVAL);
    assert_int_equal(parse_mac("52:54:00:xx:xx:xx", mac), -EINVAL);
    assert_int_equal(parse_mac("52:54:00:12:ab:CD:", mac), -EINVAL);
}

static void uuids_need_their_hyphens(void **state)
{
    uint8_t uuid[16];
    assert_int_equal(parse_uuid("00112233-4455-6677-8899-aabbccddeeff", uuid), 0);
    assert_int_equal(uuid[15], 0xff);
    assert_int_equal(uuid[4], 0x44);
    assert_int_equal(parse_uuid("00112233445566778899aabbccddeeff0000", uuid), -EINVAL);
}

static void bitmaps_take_ranges_and_refuse_what_does_not_fit(void **state)
{
    uint64_t set[2] = {0};
    assert_int_equal(parse_bitmap("0-3,8,65", set, 2), 0);
    assert_int_equal(set[0], 0x10f);
    assert_int_equal(set[1], 2);
    assert_int_equal(parse_bitmap("128", set, 2), -ERANGE);
    assert_int_equal(parse_bitmap("3-1", set, 2), -EINVAL);
    assert_int_equal(parse_bitmap("1,", set, 2), -EINVAL);
    assert_int_equal(set[0], 0x10f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_take_suffixes_and_fractions),
        cmocka_unit_test(malformed_sizes_are_refused_and_leave_the_value_alone),
        cmocka_unit_test(macs_need_six_bytes),
        cmocka_unit_test(uuids_need_their_hyphens),
        cmocka_unit_test(bitmaps_take_ranges_and_refuse_what_does_not_fit),
    };
    return cmocka_run_group_tests_name("base_parse", tests, NULL, NULL);
}
