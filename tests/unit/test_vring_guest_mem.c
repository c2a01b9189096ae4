/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory with bounds. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/util.h"
#include "unit.h"
#include "vring/guest_mem.h"

static uint8_t low[8192], high[4096], next[4096];
static struct guest_mem mem;

static int setup(void **state)
{
    mem = (struct guest_mem){0};
    const struct guest_mem_region h = {.gpa = GIB(4), .size = 4096, .hva = high, .fd = -1};
    const struct guest_mem_region l = {.gpa = 0, .size = 8192, .hva = low, .fd = -1};
    const struct guest_mem_region n = {.gpa = 8192, .size = 4096, .hva = next, .fd = -1};
    return guest_mem_add(&mem, &h) | guest_mem_add(&mem, &l) | guest_mem_add(&mem, &n);
}

static void ranges_end_where_their_region_ends(void **state)
{
    assert_ptr_equal(guest_mem_range(&mem, 100, 8092), low + 100);
    assert_null(guest_mem_range(&mem, 100, 8093));
    assert_null(guest_mem_range(&mem, 100, UINT64_MAX));
    assert_null(guest_mem_range(&mem, UINT64_MAX, 2));
    assert_null(guest_mem_range(&mem, 12288, 0));
    assert_ptr_equal(guest_mem_range(&mem, GIB(4) + 4095, 1), high + 4095);
    assert_null(guest_mem_range(&mem, GIB(4) + 4096, 1));
    assert_int_equal(guest_mem_end(&mem), GIB(4) + 4096);
}

static void copies_cross_into_a_neighbouring_region_but_not_into_a_hole(void **state)
{
    char text[] = "across";
    struct iovec iov[2];
    assert_int_equal(guest_mem_write(&mem, 8189, text, 6), 0);
    assert_memory_equal(low + 8189, "acr", 3);
    assert_memory_equal(next, "oss", 3);
    assert_int_equal(guest_mem_iovec(&mem, 8189, 6, iov, 2), 2);
    assert_int_equal(guest_mem_iovec(&mem, 8189, 6, iov, 1), -E2BIG);
    assert_int_equal(guest_mem_write(&mem, 12286, text, 6), -EFAULT);
    assert_int_equal(guest_mem_read(&mem, UINT64_MAX - 1, text, 6), -EFAULT);
}

static void overlapping_and_wrapping_regions_are_refused(void **state)
{
    struct guest_mem_region r = {.gpa = 4096, .size = 4096, .hva = low, .fd = -1};
    assert_int_equal(guest_mem_add(&mem, &r), -EINVAL);
    r.gpa = UINT64_MAX - 100;
    assert_int_equal(guest_mem_add(&mem, &r), -EINVAL);
    r.gpa = 1 << 20;
    r.size = GIB(8);
    assert_int_equal(guest_mem_add(&mem, &r), -EINVAL);
}

static void writes_are_marked_in_the_dirty_bitmap(void **state)
{
    uint64_t bits[1] = {0};
    mem.dirty_bitmap = bits;
    mem.dirty_pages = 3;
    guest_mem_mark_dirty(&mem, 4095, 2);
    assert_int_equal(bits[0], 3);
    guest_mem_mark_dirty_hva(&mem, next + 5, 1);
    assert_int_equal(bits[0], 7);
    guest_mem_mark_dirty(&mem, GIB(4), 1);
    assert_int_equal(bits[0], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ranges_end_where_their_region_ends, setup),
        cmocka_unit_test_setup(copies_cross_into_a_neighbouring_region_but_not_into_a_hole, setup),
        cmocka_unit_test_setup(overlapping_and_wrapping_regions_are_refused, setup),
        cmocka_unit_test_setup(writes_are_marked_in_the_dirty_bitmap, setup),
    };
    return cmocka_run_group_tests_name("vring_guest_mem", tests, NULL, NULL);
}
