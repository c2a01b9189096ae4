/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files in memory: sparse, growing, kept by name between opens. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/driver.h"
#include "block/memory.h"
#include "unit.h"

#define PATH "memory:disk"

static struct block_node *open_disk(const char *format, bool readonly)
{
    struct kv_error err = {0};
    struct block_node *node = NULL;
    struct block_open_options options = {
        .path = PATH, .format = format, .readonly = readonly, .discard = true};
    assert_int_equal(block_open(&node, &options, &err), 0);
    return node;
}

static int remove_disk(void **state)
{
    block_memory_remove("disk");
    return 0;
}

static void what_was_written_is_there_after_the_next_open(void **state)
{
    char bytes[8] = "";
    assert_int_equal(block_memory_put("disk", NULL, MIB(1)), 0);
    struct block_node *node = open_disk("raw", false);
    assert_int_equal(block_pwrite(node, 4094, "across", 6, 0), 0);
    block_close(node);
    node = open_disk("raw", true);
    assert_int_equal(block_pread(node, 4093, bytes, 8), 0);
    assert_memory_equal(bytes, "\0across", 8);
    assert_int_equal(block_pwrite(node, 0, "x", 1, 0), -EROFS);
    block_close(node);
    assert_int_equal(block_memory_get("disk", 4094, bytes, 6), 0);
    assert_memory_equal(bytes, "across", 6);
}

static void a_write_beyond_the_end_makes_it_longer(void **state)
{
    assert_int_equal(block_memory_put("disk", "abc", 3), 0);
    struct block_node *node = open_disk("memory", false);
    assert_int_equal(block_get_info(node)->size, 512);
    assert_int_equal(block_pwrite(node, UINT64_C(1) << 50, "far", 3, 0), 0);
    assert_int_equal(block_memory_length("disk"), (UINT64_C(1) << 50) + 3);
    assert_int_equal(block_get_info(node)->size, (UINT64_C(1) << 50) + 512);
    assert_int_equal(block_allocated_size(node), 8192);
    block_close(node);
}

static void holes_are_where_nothing_was_written_or_it_was_discarded(void **state)
{
    static uint8_t data[KIB(64)];
    struct block_extent extent;
    memset(data, 1, sizeof(data));
    assert_int_equal(block_memory_put("disk", data, sizeof(data)), 0);
    struct block_node *node = open_disk("memory", false);
    assert_int_equal(block_resize(node, MIB(1), NULL), 0);
    assert_int_equal(block_discard(node, 8191, 8194), 0);
    assert_int_equal(block_status(node, 100, MIB(1) - 100, &extent), 0);
    assert_int_equal(extent.len, 8192 - 100);
    assert_true(extent.flags & BLOCK_STATUS_DATA);
    assert_int_equal(block_status(node, 8192, MIB(1) - 8192, &extent), 0);
    assert_int_equal(extent.len, 8192);
    assert_true(extent.flags & BLOCK_STATUS_ZERO);
    assert_int_equal(block_pread(node, 8190, data, 8196), 0);
    assert_int_equal(data[0], 1);
    assert_true(buffer_is_zero(data + 1, 8194));
    assert_int_equal(data[8195], 1);
    assert_int_equal(block_status(node, KIB(64), MIB(1) - KIB(64), &extent), 0);
    assert_int_equal(extent.len, MIB(1) - KIB(64));
    block_close(node);
}

static void what_was_cut_off_is_zero_when_it_grows_again(void **state)
{
    uint8_t bytes[1024];
    memset(bytes, 7, sizeof(bytes));
    assert_int_equal(block_memory_put("disk", bytes, sizeof(bytes)), 0);
    struct block_node *node = open_disk("memory", false);
    assert_int_equal(block_resize(node, 512, NULL), 0);
    assert_int_equal(block_resize(node, 1024, NULL), 0);
    assert_int_equal(block_pread(node, 0, bytes, sizeof(bytes)), 0);
    assert_int_equal(bytes[511], 7);
    assert_true(buffer_is_zero(bytes + 512, 512));
    block_close(node);
}

static void a_full_file_takes_no_more(void **state)
{
    uint8_t page[4096] = {1};
    assert_int_equal(block_memory_put("disk", NULL, MIB(1)), 0);
    assert_int_equal(block_memory_limit("disk", 8192), 0);
    struct block_node *node = open_disk("raw", false);
    assert_int_equal(block_pwrite(node, 0, page, sizeof(page), 0), 0);
    assert_int_equal(block_pwrite(node, KIB(512), page, sizeof(page), 0), 0);
    assert_int_equal(block_pwrite(node, KIB(64), page, sizeof(page), 0), -ENOSPC);
    assert_int_equal(block_pwrite(node, 0, page, sizeof(page), 0), 0);
    assert_int_equal(block_discard(node, 0, sizeof(page)), 0);
    assert_int_equal(block_pwrite(node, KIB(64), page, sizeof(page), 0), 0);
    block_close(node);
}

static void many_pages_at_random_are_all_found_again(void **state)
{
    assert_int_equal(block_memory_put("disk", NULL, MIB(1024)), 0);
    struct block_node *node = open_disk("raw", false);
    srandom(3);
    for (int pass = 0; pass < 2; pass++) {
        srandom(3);
        for (uint32_t i = 0; i < 3000; i++) {
            uint32_t value = 0;
            uint64_t at = (uint64_t)(random() % 262144) * 4096 + i;
            if (pass == 0)
                assert_int_equal(block_pwrite(node, at / 4096 * 4096, &at, 8, 0), 0);
            else
                assert_int_equal(block_pread(node, at / 4096 * 4096, &value, 4), 0);
            assert_true(pass == 0 || value != 0);
        }
    }
    block_close(node);
}

static void a_file_that_is_not_there_is_not_opened(void **state)
{
    struct kv_error err = {0};
    struct block_node *node;
    struct block_open_options options = {.path = "memory:nothing"};
    assert_int_equal(block_open(&node, &options, &err), -ENOENT);
    assert_non_null(strstr(err.message, "memory:nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_was_written_is_there_after_the_next_open, remove_disk),
        cmocka_unit_test_teardown(a_write_beyond_the_end_makes_it_longer, remove_disk),
        cmocka_unit_test_teardown(holes_are_where_nothing_was_written_or_it_was_discarded,
                                  remove_disk),
        cmocka_unit_test_teardown(what_was_cut_off_is_zero_when_it_grows_again, remove_disk),
        cmocka_unit_test_teardown(a_full_file_takes_no_more, remove_disk),
        cmocka_unit_test_teardown(many_pages_at_random_are_all_found_again, remove_disk),
        cmocka_unit_test(a_file_that_is_not_there_is_not_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
