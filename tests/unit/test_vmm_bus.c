/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces of registers. */
#include <errno.h>
#include <string.h>

#include "unit.h"
#include "vmm/bus.h"

static uint64_t last_offset, last_value;

static uint64_t read_offset(void *opaque, uint64_t offset, unsigned len)
{
    return (uint64_t)(uintptr_t)opaque << 32 | offset;
}

static void write_note(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    last_offset = offset;
    last_value = value;
}

static const struct bus_ops ops = {.read = read_offset, .write = write_note};

static struct bus_region region(uint64_t base, uint64_t size, uintptr_t mark)
{
    return (struct bus_region){base, size, &ops, (void *)mark, "test"};
}

static void accesses_reach_the_region_that_holds_them(void **state)
{
    struct bus bus;
    struct bus_cache cache = {0};
    uint64_t v;
    bus_init(&bus, "test");
    for (uintptr_t i = 40; i-- > 0;) {
        struct bus_region r = region(i * 0x1000, 0x100, i);
        assert_int_equal(bus_map(&bus, &r, NULL), 0);
    }
    for (uint64_t i = 0; i < 40; i++) {
        assert_true(bus_read(&bus, &cache, i * 0x1000 + 0xf8, &v, 8));
        assert_int_equal(v, i << 32 | 0xf8);
        assert_false(bus_read(&bus, &cache, i * 0x1000 + 0x100, &v, 1));
        assert_int_equal(v, 0xff);
    }
    assert_true(bus_write(&bus, &cache, 0x5010, 77, 4));
    assert_int_equal(last_offset, 0x10);
    assert_int_equal(last_value, 77);
    bus_destroy(&bus);
}

static void an_access_across_the_end_is_not_answered(void **state)
{
    struct bus bus;
    struct bus_cache cache = {0};
    uint64_t v;
    bus_init(&bus, "test");
    struct bus_region r = region(0x1000, 0x10, 1), top = region(UINT64_MAX - 7, 8, 2);
    assert_int_equal(bus_map(&bus, &r, NULL), 0);
    assert_int_equal(bus_map(&bus, &top, NULL), 0);
    assert_false(bus_read(&bus, &cache, 0x100e, &v, 4));
    assert_int_equal(v, 0xffffffff);
    assert_false(bus_write(&bus, &cache, 0x100f, 0, 2));
    assert_true(bus_read(&bus, &cache, UINT64_MAX - 7, &v, 8));
    assert_false(bus_read(&bus, &cache, UINT64_MAX, &v, 8));
    bus_destroy(&bus);
}

static void overlap_and_wrap_are_refused(void **state)
{
    struct bus bus;
    struct kv_error err;
    bus_init(&bus, "test");
    struct bus_region a = region(0x1000, 0x1000, 1), b = region(0x1fff, 2, 2);
    struct bus_region c = region(0xfff, 2, 3), d = region(UINT64_MAX, 2, 4);
    struct bus_region e = region(0, 0x10000, 5);
    assert_int_equal(bus_map(&bus, &a, NULL), 0);
    assert_int_equal(bus_map(&bus, &b, &err), -EEXIST);
    assert_non_null(strstr(err.message, "overlaps"));
    assert_int_equal(bus_map(&bus, &c, &err), -EEXIST);
    assert_int_equal(bus_map(&bus, &d, &err), -EINVAL);
    assert_int_equal(bus_map(&bus, &e, &err), -EEXIST);
    bus_destroy(&bus);
}

static void a_cached_region_is_forgotten_when_it_moves(void **state)
{
    struct bus bus;
    struct bus_cache cache = {0};
    uint64_t v;
    bus_init(&bus, "test");
    struct bus_region a = region(0x1000, 0x1000, 1), b = region(0x1000, 0x10, 2);
    assert_int_equal(bus_map(&bus, &a, NULL), 0);
    assert_true(bus_read(&bus, &cache, 0x1004, &v, 8));
    bus_unmap(&bus, 0x1000);
    assert_false(bus_read(&bus, &cache, 0x1004, &v, 8));
    assert_int_equal(bus_map(&bus, &b, NULL), 0);
    assert_true(bus_read(&bus, &cache, 0x1004, &v, 8));
    assert_int_equal(v >> 32, 2);
    bus_destroy(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accesses_reach_the_region_that_holds_them),
        cmocka_unit_test(an_access_across_the_end_is_not_answered),
        cmocka_unit_test(overlap_and_wrap_are_refused),
        cmocka_unit_test(a_cached_region_is_forgotten_when_it_moves),
    };
    return cmocka_run_group_tests_name("vmm_bus", tests, NULL, NULL);
}
