/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2 images that lie: refused by name or answered with an error, never followed. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "block/memory.h"
#include "block/qcow2.h"
#include "qcow2_images.h"
#include "unit.h"

#define READONLY ((struct block_open_options){.readonly = true})

static int teardown(void **state)
{
    images_remove();
    return 0;
}

static void assert_refused(struct block_open_options options, const char *because)
{
    struct kv_error err = {0};
    struct block_node *node = image_open_with(options, &err);
    if (node || !strstr(err.message, because))
        print_error("expected '%s', got '%s'\n", because, err.message);
    assert_null(node);
    assert_non_null(strstr(err.message, because));
}

static void a_header_that_cannot_be_is_refused_with_its_reason(void **state)
{
    static const struct {
        unsigned offset, bytes;
        uint64_t value;
        const char *because;
    } lies[] = {
        {4, 4, 7, "version 7"},
        {8, 8, 70000, "backing file name"},
        {20, 4, 8, "cluster_bits is 8"},
        {20, 4, 22, "cluster_bits is 22"},
        {20, 4, UINT32_MAX, "cluster_bits"},
        {24, 8, UINT64_MAX, "virtual size"},
        {24, 8, GIB(1024), "L1 table has"},
        {32, 4, 3, "crypt_method is 3"},
        {36, 4, UINT32_MAX, "L1 table has"},
        {40, 8, 65537, "no cluster's start"},
        {40, 8, UINT64_MAX & ~UINT64_C(0xffff), "beyond any file"},
        {48, 8, 512, "no cluster's start"},
        {48, 8, 0, "no refcount table"},
        {56, 4, 0, "no refcount table"},
        {56, 4, UINT32_MAX, "refcount table has"},
        {60, 4, UINT32_MAX, "snapshot table has"},
        {88, 8, 2, "without an external data file"},
        {96, 4, 7, "refcount order is 7"},
        {100, 4, 96, "header length is 96"},
        {100, 4, 0x20000, "header length"},
        {104, 1, 1, "compression type 1 without"},
        {112, 4, 0x23852875, "bitmaps extension has"},
        {112, 4, 0x0537be77, "encryption header extension"},
        {116, 4, UINT32_MAX, "does not fit"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        image_create(TEST_IMAGE, "size=64M");
        image_store(lies[i].offset, lies[i].value, lies[i].bytes);
        assert_refused((struct block_open_options){.format = "qcow2", .readonly = true},
                       lies[i].because);
    }
}

static void unknown_incompatible_features_are_refused_by_the_images_names(void **state)
{
    image_create(TEST_IMAGE, "size=1M");
    image_store(72, BIT(2) | BIT(40) | BIT(41), 8);
    /* The first name of the table becomes that of bit 40. */
    image_store(120, 0x0028, 2);
    assert_refused(READONLY, "dirty bit, unknown feature bits 0x20000000000");
}

static void a_corrupt_image_can_be_read_but_not_written(void **state)
{
    image_create(TEST_IMAGE, "size=1M");
    image_store(72, 2, 8);
    assert_refused((struct block_open_options){0}, "corrupt");
    struct block_node *node = image_open_with(READONLY, NULL);
    assert_non_null(node);
    assert_true(block_get_info(node)->needs_repair);
    block_close(node);
}

static void lazy_refcounts_mark_the_image_dirty_until_it_is_closed(void **state)
{
    image_create(TEST_IMAGE, "size=1M,lazy_refcounts=on");
    struct block_node *node = image_open();
    assert_int_equal(image_load(72, 8), 0);
    assert_int_equal(block_pwrite(node, 0, "x", 1, 0), 0);
    assert_int_equal(image_load(72, 8), 1);
    block_close(node);
    assert_int_equal(image_load(72, 8), 0);
    image_assert_sound(TEST_IMAGE);
}

static void a_dirty_image_is_repaired_before_it_is_written_to(void **state)
{
    static uint8_t bytes[MIB(2)], content[KIB(300)];
    memset(content, 7, sizeof(content));
    image_create(TEST_IMAGE, "size=1M,lazy_refcounts=on,cluster_size=4k");
    struct block_node *node = image_open();
    assert_int_equal(block_pwrite(node, 0, content, sizeof(content), 0), 0);
    assert_int_equal(block_flush(node), 0);
    /* As after a power cut here: the refcounts were never written. */
    int64_t len = block_memory_length("test.qcow2");
    assert_true(len > 0 && len <= (int64_t)sizeof(bytes) * 4);
    len = MIN(len, (int64_t)sizeof(bytes));
    assert_int_equal(block_memory_get("test.qcow2", 0, bytes, (uint64_t)len), 0);
    block_close(node);
    assert_int_equal(block_memory_put("test.qcow2", bytes, (uint64_t)len), 0);
    assert_int_equal(image_load(72, 8), 1);

    node = image_open();
    assert_false(block_get_info(node)->needs_repair);
    memset(content, 0, sizeof(content));
    assert_int_equal(block_pread(node, 0, content, sizeof(content)), 0);
    for (size_t i = 0; i < sizeof(content); i++)
        assert_int_equal(content[i], 7);
    assert_int_equal(block_pwrite(node, KIB(512), content, sizeof(content), 0), 0);
    block_close(node);
    image_assert_sound(TEST_IMAGE);
}

static void what_an_image_says_about_bitmaps_ends_with_the_first_write(void **state)
{
    image_create(TEST_IMAGE, "size=1M");
    image_store(88, BIT(7), 8);
    struct block_node *node = image_open();
    assert_int_equal(block_pwrite(node, 0, "x", 1, 0), 0);
    block_close(node);
    assert_int_equal(image_load(88, 8), 0);
}

/* An image of one written cluster; its L2 entry's place. */
static uint64_t create_with_a_cluster(void)
{
    image_create(TEST_IMAGE, "size=1M");
    struct block_node *node = image_open();
    assert_int_equal(block_pwrite(node, 0, "x", 1, 0), 0);
    block_close(node);
    return image_load(image_load(40, 8), 8) & QCOW2_OFFSET_MASK;
}

static void an_l2_entry_that_cannot_be_fails_the_read(void **state)
{
    static const uint64_t entries[] = {0x8000000000050200, 0x80fffffffffffe00};
    uint8_t byte;
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        image_store(create_with_a_cluster(), entries[i], 8);
        struct block_node *node = image_open_with(READONLY, NULL);
        assert_non_null(node);
        assert_int_equal(block_pread(node, 0, &byte, 1), -EIO);
        block_close(node);
    }
}

static void an_l1_entry_that_cannot_be_fails_the_read(void **state)
{
    uint8_t byte;
    create_with_a_cluster();
    image_store(image_load(40, 8), 0x8000000000040200, 8);
    struct block_node *node = image_open_with(READONLY, NULL);
    assert_non_null(node);
    assert_int_equal(block_pread(node, 0, &byte, 1), -EIO);
    block_close(node);
}

static void an_l2_table_that_is_its_own_data_is_read_without_harm(void **state)
{
    uint8_t bytes[16];
    uint64_t table = create_with_a_cluster();
    image_store(table, table | QCOW2_COPIED, 8);
    struct block_node *node = image_open_with(READONLY, NULL);
    assert_non_null(node);
    assert_int_equal(block_pread(node, 0, bytes, sizeof(bytes)), 0);
    block_close(node);
}

static void a_write_that_would_hit_metadata_marks_the_image_corrupt(void **state)
{
    uint64_t table = create_with_a_cluster(), l1 = image_load(40, 8);
    uint64_t before = image_load(l1, 8);
    image_store(table, l1 | QCOW2_COPIED, 8);
    struct block_node *node = image_open();
    assert_int_equal(block_pwrite(node, 0, "y", 1, 0), -EIO);
    assert_int_equal(block_pwrite(node, KIB(128), "y", 1, 0), -EROFS);
    assert_int_equal(image_load(l1, 8), before);
    assert_int_equal(image_load(72, 8), 2);
    block_close(node);
}

static void free_space_that_is_metadata_is_not_taken(void **state)
{
    create_with_a_cluster();
    /* All refcounts say free, the header's and the tables' own too. */
    uint64_t block = image_load(image_load(48, 8), 8);
    for (unsigned i = 0; i < 16; i += 8)
        image_store(block + i, 0, 8);
    struct block_node *node = image_open();
    assert_int_equal(block_pwrite(node, KIB(128), "y", 1, 0), -EIO);
    block_close(node);
    assert_int_equal(image_load(0, 4), QCOW2_MAGIC);
    assert_int_equal(image_load(72, 8), 2);
}

static void refcount_table_entries_that_name_one_block_end_all_allocating(void **state)
{
    create_with_a_cluster();
    uint64_t table = image_load(48, 8);
    image_store(table + 8, image_load(table, 8), 8);
    struct block_node *node = image_open();
    assert_int_equal(block_pwrite(node, 0, "y", 1, 0), 0);
    assert_int_equal(block_pwrite(node, KIB(128), "y", 1, 0), -EIO);
    block_close(node);
    assert_int_equal(image_load(72, 8), 2);
}

static void tables_beyond_the_end_of_the_file_read_as_empty(void **state)
{
    uint8_t byte = 1;
    create_with_a_cluster();
    image_store(40, GIB(512), 8);
    struct block_node *node = image_open_with(READONLY, NULL);
    assert_non_null(node);
    assert_int_equal(block_pread(node, 0, &byte, 1), 0);
    assert_int_equal(byte, 0);
    block_close(node);
}

static void an_image_that_is_its_own_backing_file_is_refused(void **state)
{
    image_create(TEST_IMAGE, "size=1M,backing_file=" TEST_IMAGE ",backing_fmt=qcow2");
    assert_refused(READONLY, "loop");
}

static void cache_sizes_are_taken_from_the_description(void **state)
{
    create_with_a_cluster();
    assert_refused((struct block_open_options){.path =
                                                   "json:{\"driver\":\"qcow2\",\"file.filename\":"
                                                   "\"" TEST_IMAGE "\",\"l2-cache-size\":"
                                                   "\"many\"}"},
                   "l2-cache-size");
    assert_refused((struct block_open_options){.path =
                                                   "json:{\"driver\":\"qcow2\",\"file.filename\":"
                                                   "\"" TEST_IMAGE "\",\"cache-size\":65536,"
                                                   "\"l2-cache-size\":131072}"},
                   "may not exceed");
    struct block_node *node = image_open_with(
        (struct block_open_options){.path = "json:{\"driver\":\"qcow2\",\"file.filename\":"
                                            "\"" TEST_IMAGE "\",\"l2-cache-size\":\"128k\"}"},
        NULL);
    assert_non_null(node);
    assert_int_equal(qcow2_of(node)->l2.limit << qcow2_of(node)->slice_bits, KIB(128));
    block_close(node);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_header_that_cannot_be_is_refused_with_its_reason),
        TEST(unknown_incompatible_features_are_refused_by_the_images_names),
        TEST(a_corrupt_image_can_be_read_but_not_written),
        TEST(lazy_refcounts_mark_the_image_dirty_until_it_is_closed),
        TEST(a_dirty_image_is_repaired_before_it_is_written_to),
        TEST(what_an_image_says_about_bitmaps_ends_with_the_first_write),
        TEST(an_l2_entry_that_cannot_be_fails_the_read),
        TEST(an_l1_entry_that_cannot_be_fails_the_read),
        TEST(an_l2_table_that_is_its_own_data_is_read_without_harm),
        TEST(a_write_that_would_hit_metadata_marks_the_image_corrupt),
        TEST(free_space_that_is_metadata_is_not_taken),
        TEST(refcount_table_entries_that_name_one_block_end_all_allocating),
        TEST(tables_beyond_the_end_of_the_file_read_as_empty),
        TEST(an_image_that_is_its_own_backing_file_is_refused),
        TEST(cache_sizes_are_taken_from_the_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
