/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: internal snapshots, compressed clusters, checking and repairing. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/driver.h"
#include "block/memory.h"
#include "unit.h"

#define PATH "memory:image"
#define SIZE MIB(4)

static const char *const shapes[] = {
    "cluster_size=64K",
    "cluster_size=512,refcount_bits=8",
    "cluster_size=4K,refcount_bits=64",
    "cluster_size=16K,extended_l2=on,refcount_bits=4",
    "cluster_size=4K,compat=0.10",
};

static void create(const char *options)
{
    const struct block_driver *driver = block_driver_find("qcow2");
    struct kv_error err = {0};
    void *config = calloc(1, driver->create_config_size);
    driver->create_defaults(config);
    *(uint64_t *)config = SIZE;
    if (options_parse_text(driver->create_options, "-o", NULL, options, config, &err) < 0 ||
        driver->create(PATH, config, &err) < 0)
        fail_msg("%s: %s", options, err.message);
    options_free(driver->create_options, config);
    free(config);
}

static struct block_node *open_image(bool check)
{
    struct kv_error err = {0};
    struct block_node *node;
    struct block_open_options options = {.path = PATH, .check = check, .discard = true};
    if (block_open(&node, &options, &err) < 0)
        fail_msg("%s", err.message);
    return node;
}

static void fill(struct block_node *node, uint64_t offset, uint64_t len, int value, unsigned flags)
{
    uint8_t *data = malloc(len);
    memset(data, value, len);
    assert_int_equal(block_pwrite(node, offset, data, len, flags), 0);
    free(data);
}

static void expect(struct block_node *node, uint64_t offset, uint64_t len, int value)
{
    uint8_t *data = malloc(len);
    assert_int_equal(block_pread(node, offset, data, len), 0);
    for (uint64_t i = 0; i < len; i++) {
        if (data[i] != value)
            fail_msg("byte %llu is %d, not %d", (unsigned long long)(offset + i), data[i], value);
    }
    free(data);
}

static struct block_check_result check(unsigned fix)
{
    struct block_node *node = open_image(true);
    struct block_check_result result;
    struct kv_error err = {0};
    if (node->driver->check(node, fix, &result, NULL, NULL, &err) < 0)
        fail_msg("%s", err.message);
    block_close(node);
    return result;
}

static void expect_clean(const char *shape)
{
    struct block_check_result r = check(0);
    if (r.corruptions || r.leaks || r.check_errors)
        fail_msg("%s: %d corruptions, %d leaks, %d errors", shape, (int)r.corruptions, (int)r.leaks,
                 (int)r.check_errors);
}

static void take(struct block_node *node, const char *name)
{
    struct block_snapshot snapshot = {.icount = UINT64_MAX};
    struct kv_error err = {0};
    snprintf(snapshot.name, sizeof(snapshot.name), "%s", name);
    if (node->driver->snapshots->create(node, &snapshot, &err) < 0)
        fail_msg("%s", err.message);
}

static void poke64(uint64_t offset, uint64_t value)
{
    struct block_node *node;
    struct block_open_options options = {.path = PATH, .format = "raw"};
    value = htobe64(value);
    assert_int_equal(block_open(&node, &options, NULL), 0);
    assert_int_equal(block_pwrite(node, offset, &value, sizeof(value), 0), 0);
    block_close(node);
}

static uint64_t peek64(uint64_t offset)
{
    uint64_t value;
    assert_int_equal(block_memory_get("image", offset, &value, sizeof(value)), 0);
    return be64toh(value);
}

static int forget(void **state)
{
    block_memory_remove("image");
    return 0;
}

/* ------------------------------------------------------------- snapshots */

static void a_snapshot_keeps_what_was_there_whatever_is_written_later(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        create(shapes[i]);
        struct block_node *node = open_image(false);
        const struct block_snapshot_ops *ops = node->driver->snapshots;
        fill(node, 0, MIB(1), 1, 0);
        take(node, "one");
        fill(node, KIB(100), KIB(300), 2, 0);
        take(node, "two");
        assert_int_equal(block_discard(node, 0, MIB(1)), 0);
        fill(node, MIB(3), 700, 3, 0);
        block_close(node);
        expect_clean(shapes[i]);
        node = open_image(false);
        expect(node, MIB(3), 700, 3);
        assert_int_equal(ops->apply(node, "1", NULL), 0);
        expect(node, 0, MIB(1), 1);
        expect(node, MIB(3), 700, 0);
        fill(node, 5, 5, 9, 0);
        assert_int_equal(ops->apply(node, "two", NULL), 0);
        expect(node, 0, KIB(100), 1);
        expect(node, KIB(100), KIB(300), 2);
        block_close(node);
        expect_clean(shapes[i]);
        node = open_image(false);
        assert_int_equal(ops->remove(node, "one", NULL), 0);
        expect(node, KIB(100), KIB(300), 2);
        fill(node, KIB(120), 1, 4, 0);
        assert_int_equal(ops->remove(node, "two", NULL), 0);
        expect(node, KIB(120), 1, 4);
        expect(node, KIB(120) + 1, KIB(100), 2);
        block_close(node);
        expect_clean(shapes[i]);
        forget(NULL);
    }
}

static void snapshots_are_listed_in_order_and_found_by_id_before_name(void **state)
{
    struct block_snapshot *list;
    unsigned count;
    create(shapes[0]);
    struct block_node *node = open_image(false);
    const struct block_snapshot_ops *ops = node->driver->snapshots;
    take(node, "2");
    take(node, "other");
    assert_int_equal(ops->remove(node, "2", NULL), 0);
    assert_int_equal(ops->list(node, &list, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].name, "2");
    assert_string_equal(list[0].id, "1");
    assert_int_equal(list[0].disk_size, SIZE);
    assert_true(list[0].date_sec > 0);
    free(list);
    assert_int_equal(ops->remove(node, "nothing", NULL), -ENOENT);
    assert_int_equal(ops->apply(node, "nothing", NULL), -ENOENT);
    block_close(node);
    expect_clean(shapes[0]);
}

static void going_back_changes_the_size_too(void **state)
{
    create(shapes[0]);
    struct block_node *node = open_image(false);
    fill(node, SIZE - 512, 512, 7, 0);
    take(node, "small");
    assert_int_equal(block_resize(node, 3 * SIZE, NULL), 0);
    fill(node, 2 * SIZE, 512, 8, 0);
    take(node, "large");
    assert_int_equal(node->driver->snapshots->apply(node, "small", NULL), 0);
    assert_int_equal(block_get_info(node)->size, SIZE);
    expect(node, SIZE - 512, 512, 7);
    assert_int_equal(node->driver->snapshots->apply(node, "large", NULL), 0);
    assert_int_equal(block_get_info(node)->size, 3 * SIZE);
    expect(node, 2 * SIZE, 512, 8);
    block_close(node);
    expect_clean(shapes[0]);
}

static void refcounts_of_one_bit_take_no_snapshot_and_stay_as_they_are(void **state)
{
    create("cluster_size=4K,refcount_bits=1");
    struct block_node *node = open_image(false);
    struct block_snapshot snapshot = {.name = "x"};
    fill(node, 0, KIB(64), 1, 0);
    assert_int_equal(node->driver->snapshots->create(node, &snapshot, NULL), -ERANGE);
    expect(node, 0, KIB(64), 1);
    fill(node, KIB(32), KIB(64), 2, 0);
    block_close(node);
    expect_clean("refcount_bits=1");
}

static void the_image_does_not_grow_with_snapshots_that_come_and_go(void **state)
{
    create(shapes[0]);
    struct block_node *node = open_image(false);
    fill(node, 0, MIB(1), 1, 0);
    block_close(node);
    int64_t first = 0;
    for (unsigned i = 0; i < 30; i++) {
        node = open_image(false);
        take(node, "x");
        assert_int_equal(node->driver->snapshots->remove(node, "x", NULL), 0);
        block_close(node);
        if (i == 2)
            first = block_memory_length("image");
    }
    assert_true(block_memory_length("image") <= first);
    expect_clean(shapes[0]);
}

/* ------------------------------------------------------------- compressed clusters */

static void compressed_clusters_share_host_clusters_and_can_be_rewritten(void **state)
{
    for (unsigned t = 0; t < 2; t++) {
        create(t ? "cluster_size=64K,compression_type=zstd" : "cluster_size=64K");
        struct block_node *node = open_image(false);
        for (unsigned i = 0; i < 64; i++)
            fill(node, i * KIB(64), KIB(64), (int)i + 1, BLOCK_COMPRESSED);
        for (unsigned i = 0; i < 64; i++)
            expect(node, i * KIB(64), KIB(64), (int)i + 1);
        fill(node, KIB(64) + 5, 10, 99, 0);
        fill(node, KIB(128), KIB(64), 98, BLOCK_COMPRESSED);
        assert_int_equal(block_discard(node, 0, KIB(64)), 0);
        assert_int_equal(block_pwrite(node, 512, "x", 1, BLOCK_COMPRESSED), -EINVAL);
        block_close(node);
        expect_clean("compressed");
        assert_in_range(block_memory_length("image"), KIB(256), MIB(1));
        node = open_image(false);
        expect(node, 0, KIB(64), 0);
        expect(node, KIB(64), 5, 2);
        expect(node, KIB(64) + 5, 10, 99);
        expect(node, KIB(64) + 15, 100, 2);
        expect(node, KIB(128), KIB(64), 98);
        block_close(node);
        forget(NULL);
    }
}

static void a_damaged_compressed_cluster_is_an_error_and_nothing_more(void **state)
{
    uint8_t byte;
    create("cluster_size=64K");
    struct block_node *node = open_image(false);
    fill(node, 0, KIB(64), 1, BLOCK_COMPRESSED);
    block_close(node);
    uint64_t l2 = peek64(peek64(40)) & 0xfffffffffffe00;
    uint64_t place = peek64(l2) & (BIT(54) - 1);
    poke64(place, UINT64_MAX);
    node = open_image(false);
    assert_int_equal(block_pread(node, 0, &byte, 1), -EIO);
    block_close(node);
}

/* ------------------------------------------------------------- check */

static void leaks_and_low_refcounts_are_found_and_repaired(void **state)
{
    create("cluster_size=64K,refcount_bits=64");
    struct block_node *node = open_image(false);
    fill(node, 0, MIB(1), 1, 0);
    block_close(node);
    uint64_t block = peek64(peek64(48)) & ~(uint64_t)511;
    uint64_t end = (uint64_t)block_memory_length("image") / KIB(64);
    poke64(block + (end - 1) * 8, 5); /* leaked */
    poke64(block, 1);
    struct block_check_result r = check(0);
    assert_int_equal(r.leaks, 1);
    /* Its COPIED flag does not fit five references either. */
    r = check(BLOCK_FIX_LEAKS);
    assert_int_equal(r.leaks_fixed, 1);
    expect_clean("after -r leaks");
    node = open_image(false);
    expect(node, 0, MIB(1), 1);
    take(node, "x");
    block_close(node);
    block = peek64(peek64(48)) & ~(uint64_t)511;
    uint64_t data = (peek64(peek64(peek64(40)) & 0xfffffffffffe00) & 0xfffffffffffe00) / KIB(64);
    assert_int_equal(peek64(block + data * 8), 2);
    poke64(block + data * 8, 1);
    r = check(0);
    assert_true(r.corruptions >= 1);
    r = check(BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
    assert_int_equal(r.corruptions, 0);
    assert_true(r.corruptions_fixed >= 1);
    expect_clean("after -r all");
}

static void a_lost_refcount_table_is_made_anew(void **state)
{
    create("cluster_size=4K");
    struct block_node *node = open_image(false);
    fill(node, 0, MIB(1), 1, 0);
    take(node, "x");
    fill(node, KIB(512), KIB(512), 2, 0);
    block_close(node);
    poke64(peek64(48), 0);
    struct block_check_result r = check(0);
    assert_true(r.corruptions > 100);
    r = check(BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
    assert_int_equal(r.corruptions, 0);
    expect_clean("rebuilt");
    node = open_image(false);
    expect(node, KIB(512), KIB(512), 2);
    assert_int_equal(node->driver->snapshots->apply(node, "x", NULL), 0);
    expect(node, 0, MIB(1), 1);
    block_close(node);
    expect_clean("rebuilt, gone back");
}

static void tables_that_point_to_themselves_end(void **state)
{
    create("cluster_size=512,refcount_bits=16");
    struct block_node *node = open_image(false);
    fill(node, 0, KIB(64), 1, 0);
    take(node, "x");
    block_close(node);
    uint64_t l1 = peek64(40);
    for (unsigned i = 0; i < 64; i++)
        poke64(l1 + i * 8, l1 | BIT(63));
    struct block_check_result r = check(0);
    assert_true(r.corruptions > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_snapshot_keeps_what_was_there_whatever_is_written_later,
                                  forget),
        cmocka_unit_test_teardown(snapshots_are_listed_in_order_and_found_by_id_before_name,
                                  forget),
        cmocka_unit_test_teardown(going_back_changes_the_size_too, forget),
        cmocka_unit_test_teardown(refcounts_of_one_bit_take_no_snapshot_and_stay_as_they_are,
                                  forget),
        cmocka_unit_test_teardown(the_image_does_not_grow_with_snapshots_that_come_and_go, forget),
        cmocka_unit_test_teardown(compressed_clusters_share_host_clusters_and_can_be_rewritten,
                                  forget),
        cmocka_unit_test_teardown(a_damaged_compressed_cluster_is_an_error_and_nothing_more,
                                  forget),
        cmocka_unit_test_teardown(leaks_and_low_refcounts_are_found_and_repaired, forget),
        cmocka_unit_test_teardown(a_lost_refcount_table_is_made_anew, forget),
        cmocka_unit_test_teardown(tables_that_point_to_themselves_end, forget),
    };
    return cmocka_run_group_tests_name("block_qcow2_snapshot", tests, NULL, NULL);
}
