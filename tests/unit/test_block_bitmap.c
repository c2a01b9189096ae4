/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps: in memory, and kept in qcow2 images. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/dirty_bitmap.h"
#include "block/driver.h"
#include "block/memory.h"
#include "unit.h"

#define PATH "memory:image"
#define SIZE MIB(8)

static void ranges_are_marked_by_granules_and_found_again(void **state)
{
    struct dirty_bitmap *bitmap = dirty_bitmap_create(KIB(640) + 512, 4096);
    uint64_t offset, len;
    assert_false(dirty_bitmap_next(bitmap, 0, &offset, &len));
    dirty_bitmap_set(bitmap, 4095, 2);
    dirty_bitmap_set(bitmap, KIB(300), 0);
    dirty_bitmap_set(bitmap, KIB(252), KIB(8)); /* over a word's end */
    dirty_bitmap_set(bitmap, KIB(640), UINT64_MAX);
    assert_true(dirty_bitmap_next(bitmap, 0, &offset, &len));
    assert_int_equal(offset, 0);
    assert_int_equal(len, 8192);
    assert_true(dirty_bitmap_next(bitmap, 5000, &offset, &len));
    assert_int_equal(offset, 5000);
    assert_int_equal(len, 3192);
    assert_true(dirty_bitmap_next(bitmap, 8192, &offset, &len));
    assert_int_equal(offset, KIB(252));
    assert_int_equal(len, KIB(8));
    assert_true(dirty_bitmap_next(bitmap, KIB(260), &offset, &len));
    assert_int_equal(offset, KIB(640));
    assert_int_equal(len, 512);
    assert_false(
        dirty_bitmap_next(bitmap, KIB(640) + 512, &offset, &len)); /* in no whole granule */
    assert_int_equal(dirty_bitmap_count(bitmap), 8192 + KIB(8) + 512);
    dirty_bitmap_free(bitmap);
}

static void bits_go_out_and_come_back_as_bytes(void **state)
{
    struct dirty_bitmap *bitmap = dirty_bitmap_create(100 * 512, 512);
    uint8_t bits[14];
    uint64_t offset, len;
    memset(bits, 0xff, sizeof(bits));
    assert_int_equal(dirty_bitmap_bytes(bitmap), 13);
    dirty_bitmap_set(bitmap, 9 * 512, 1);
    dirty_bitmap_set(bitmap, 99 * 512, 1);
    dirty_bitmap_store(bitmap, bits);
    assert_int_equal(bits[1], 2);
    assert_int_equal(bits[12], 8);
    assert_int_equal(bits[13], 0xff);
    memset(bits, 0xff, sizeof(bits));
    dirty_bitmap_load(bitmap, bits);
    assert_true(dirty_bitmap_next(bitmap, 0, &offset, &len));
    assert_int_equal(offset, 0);
    assert_int_equal(len, 100 * 512);
    dirty_bitmap_free(bitmap);
}

/* ------------------------------------------------------------------ qcow2 */

static const struct block_driver *qcow2;

static struct block_node *open_image(void)
{
    struct block_node *node;
    struct block_open_options options = {.path = PATH, .discard = true};
    assert_int_equal(block_open(&node, &options, NULL), 0);
    return node;
}

static int make_image(void **state)
{
    qcow2 = block_driver_find("qcow2");
    void *config = calloc(1, qcow2->create_config_size);
    qcow2->create_defaults(config);
    *(uint64_t *)config = SIZE;
    int rc = qcow2->create(PATH, config, NULL);
    options_free(qcow2->create_options, config);
    free(config);
    return rc;
}

static int forget(void **state)
{
    block_memory_remove("image");
    return 0;
}

static bool is_dirty(struct block_node *node, const char *name, uint64_t offset)
{
    struct block_bitmap_bits bits;
    assert_int_equal(qcow2->bitmap_read(node, name, &bits, NULL), 0);
    uint64_t n = offset / bits.granularity;
    bool dirty = bits.bits[n / 8] >> (n % 8) & 1;
    free(bits.bits);
    return dirty;
}

static void expect_clean_check(void)
{
    struct block_check_result r;
    struct block_node *node = open_image();
    assert_int_equal(qcow2->check(node, 0, &r, NULL, NULL, NULL), 0);
    assert_int_equal(r.corruptions + r.leaks + r.check_errors, 0);
    block_close(node);
}

static void enabled_bitmaps_record_every_kind_of_write_and_disabled_ones_none(void **state)
{
    uint8_t data[KIB(64)] = {1};
    struct block_node *node = open_image();
    assert_int_equal(qcow2->bitmaps->add(node, "on", 0, true, NULL), 0);
    assert_int_equal(qcow2->bitmaps->add(node, "off", 512, false, NULL), 0);
    assert_int_equal(block_pwrite(node, KIB(70), data, 1, 0), 0);
    assert_int_equal(block_write_zeroes(node, MIB(1), KIB(64), 0), 0);
    assert_int_equal(block_discard(node, MIB(2), KIB(64)), 0);
    assert_int_equal(block_pwrite(node, MIB(3), data, KIB(64), BLOCK_COMPRESSED), 0);
    block_close(node);
    expect_clean_check();
    node = open_image();
    assert_false(is_dirty(node, "on", 0));
    assert_true(is_dirty(node, "on", KIB(70)));
    assert_true(is_dirty(node, "on", MIB(1)));
    assert_true(is_dirty(node, "on", MIB(2)));
    assert_true(is_dirty(node, "on", MIB(3)));
    assert_false(is_dirty(node, "on", MIB(3) + KIB(64)));
    assert_false(is_dirty(node, "off", KIB(70)));
    block_close(node);
}

static void bitmaps_are_changed_while_writes_go_on(void **state)
{
    struct block_node *node = open_image();
    assert_int_equal(qcow2->bitmaps->add(node, "a", 0, true, NULL), 0);
    assert_int_equal(block_pwrite(node, 0, "x", 1, 0), 0);
    assert_int_equal(qcow2->bitmaps->add(node, "b", 4096, true, NULL), 0);
    assert_int_equal(block_pwrite(node, MIB(1), "x", 1, 0), 0);
    assert_int_equal(qcow2->bitmaps->merge(node, "b", node, "a", NULL), 0);
    assert_int_equal(qcow2->bitmaps->clear(node, "a", NULL), 0);
    assert_int_equal(block_pwrite(node, MIB(2), "x", 1, 0), 0);
    assert_int_equal(qcow2->bitmaps->enable(node, "a", false, NULL), 0);
    assert_int_equal(block_pwrite(node, MIB(3), "x", 1, 0), 0);
    block_close(node);
    expect_clean_check();
    node = open_image();
    assert_false(is_dirty(node, "a", 0));
    assert_true(is_dirty(node, "a", MIB(2)));
    assert_false(is_dirty(node, "a", MIB(3)));
    assert_true(is_dirty(node, "b", KIB(60))); /* a's granule is larger */
    assert_true(is_dirty(node, "b", MIB(3)));
    assert_int_equal(qcow2->bitmaps->remove(node, "a", NULL), 0);
    assert_int_equal(qcow2->bitmaps->remove(node, "b", NULL), 0);
    assert_int_equal(qcow2->bitmaps->remove(node, "b", NULL), -ENOENT);
    assert_null(qcow2->bitmaps_info(node));
    block_close(node);
    expect_clean_check();
}

static void names_and_granularities_are_checked(void **state)
{
    static char name[1025];
    memset(name, 'n', 1024);
    struct block_node *node = open_image();
    assert_int_equal(qcow2->bitmaps->add(node, "a", 0, true, NULL), 0);
    assert_int_equal(qcow2->bitmaps->add(node, "a", 0, true, NULL), -EEXIST);
    assert_int_equal(qcow2->bitmaps->add(node, "b", 1000, true, NULL), -EINVAL);
    assert_int_equal(qcow2->bitmaps->add(node, "b", 256, true, NULL), -EINVAL);
    assert_int_equal(qcow2->bitmaps->add(node, "", 0, true, NULL), -EINVAL);
    assert_int_equal(qcow2->bitmaps->add(node, name, 0, true, NULL), -EINVAL);
    assert_int_equal(qcow2->bitmaps->merge(node, "a", node, "b", NULL), -ENOENT);
    block_close(node);
    expect_clean_check();
}

static void an_entry_with_an_absurd_granularity_is_refused(void **state)
{
    static const char magic[] = "\x23\x85\x28\x75";
    uint64_t directory;
    struct block_node *node = open_image();
    assert_int_equal(qcow2->bitmaps->add(node, "a", 0, true, NULL), 0);
    block_close(node);
    size_t len = (size_t)block_memory_length("image");
    uint8_t *bytes = malloc(len);
    assert_int_equal(block_memory_get("image", 0, bytes, len), 0);
    const uint8_t *extension = memmem(bytes, 4096, magic, 4);
    assert_non_null(extension);
    memcpy(&directory, extension + 24, 8);
    bytes[be64toh(directory) + 17] = 62; /* log2 of it */
    block_memory_put("image", bytes, len);
    free(bytes);
    node = open_image();
    assert_int_equal(qcow2->bitmaps->add(node, "b", 0, true, NULL), -EINVAL);
    block_close(node);
}

/* As a crash leaves it: the file without what closing would have done. */
static void copy_file(const char *to)
{
    int64_t len = block_memory_length("image");
    uint8_t *bytes = malloc((size_t)len);
    assert_int_equal(block_memory_get("image", 0, bytes, (uint64_t)len), 0);
    assert_int_equal(block_memory_put(to, bytes, (uint64_t)len), 0);
    free(bytes);
}

static void after_a_crash_a_bitmap_is_known_to_be_wrong_and_can_be_removed(void **state)
{
    struct block_bitmap_bits bits;
    struct block_node *node = open_image();
    assert_int_equal(qcow2->bitmaps->add(node, "a", 0, true, NULL), 0);
    assert_int_equal(block_pwrite(node, 0, "x", 1, 0), 0);
    assert_int_equal(block_flush(node), 0);
    copy_file("crashed");
    block_close(node);
    struct block_open_options options = {.path = "memory:crashed"};
    assert_int_equal(block_open(&node, &options, NULL), 0);
    assert_int_equal(qcow2->bitmap_read(node, "a", &bits, NULL), -EINVAL);
    assert_int_equal(block_pwrite(node, KIB(4), "x", 1, 0), 0);
    assert_int_equal(qcow2->bitmaps->enable(node, "a", false, NULL), -EINVAL);
    assert_int_equal(qcow2->bitmaps->remove(node, "a", NULL), 0);
    block_close(node);
    block_memory_remove("crashed");
}

static void going_back_to_a_snapshot_makes_all_of_the_disk_dirty(void **state)
{
    struct block_snapshot snapshot = {.name = "s", .icount = UINT64_MAX};
    struct block_node *node = open_image();
    assert_int_equal(qcow2->bitmaps->add(node, "a", 0, true, NULL), 0);
    assert_int_equal(qcow2->snapshots->create(node, &snapshot, NULL), 0);
    assert_int_equal(qcow2->snapshots->apply(node, "s", NULL), 0);
    block_close(node);
    expect_clean_check();
    node = open_image();
    assert_true(is_dirty(node, "a", 0));
    assert_true(is_dirty(node, "a", SIZE - 1));
    block_close(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_marked_by_granules_and_found_again),
        cmocka_unit_test(bits_go_out_and_come_back_as_bytes),
        cmocka_unit_test_setup_teardown(
            enabled_bitmaps_record_every_kind_of_write_and_disabled_ones_none, make_image, forget),
        cmocka_unit_test_setup_teardown(bitmaps_are_changed_while_writes_go_on, make_image, forget),
        cmocka_unit_test_setup_teardown(names_and_granularities_are_checked, make_image, forget),
        cmocka_unit_test_setup_teardown(an_entry_with_an_absurd_granularity_is_refused, make_image,
                                        forget),
        cmocka_unit_test_setup_teardown(
            after_a_crash_a_bitmap_is_known_to_be_wrong_and_can_be_removed, make_image, forget),
        cmocka_unit_test_setup_teardown(going_back_to_a_snapshot_makes_all_of_the_disk_dirty,
                                        make_image, forget),
    };
    return cmocka_run_group_tests_name("block_bitmap", tests, NULL, NULL);
}
