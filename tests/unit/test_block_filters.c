/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filters: failures on demand, detection of zeros, copying on read. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/driver.h"
#include "block/memory.h"
#include "unit.h"

#define DISK_SIZE MIB(4)

static uint8_t buffer[MIB(1)];

static int try_json(struct block_node **out, const char *json, struct kv_error *err)
{
    char path[2000];
    snprintf(path, sizeof(path), "json:%s", json);
    *err = (struct kv_error){0};
    return block_open(out, &(struct block_open_options){.path = path}, err);
}

static struct block_node *open_json(const char *json)
{
    struct kv_error err;
    struct block_node *node = NULL;
    if (try_json(&node, json, &err) < 0)
        fail_msg("%s", err.message);
    return node;
}

static int make_disk(void **state)
{
    return block_memory_put("disk", NULL, DISK_SIZE);
}

static int remove_disks(void **state)
{
    block_memory_remove("disk");
    block_memory_remove("top");
    return 0;
}

/* -------------------------------------------------------------------- blkdebug */

static struct block_node *open_failing(const char *rules)
{
    char json[1000];
    snprintf(json, sizeof(json),
             "{\"driver\":\"blkdebug\",\"image\":{\"driver\":\"memory\",\"filename\":"
             "\"memory:disk\",\"discard\":\"unmap\"},\"discard\":\"unmap\",\"inject-error\":[%s]}",
             rules);
    return open_json(json);
}

static void a_rule_fails_requests_of_its_kind_only(void **state)
{
    struct block_extent extent;
    struct block_node *node = open_failing("{\"iotype\":\"write\",\"errno\":28}");
    assert_int_equal(block_pread(node, 0, buffer, 512), 0);
    assert_int_equal(block_pwrite(node, 0, buffer, 512, 0), -ENOSPC);
    assert_int_equal(block_write_zeroes(node, 0, 512, 0), 0);
    assert_int_equal(block_flush(node), 0);
    block_close(node);

    node = open_failing("{\"event\":\"none\"}");
    assert_int_equal(block_pread(node, 0, buffer, 512), -EIO);
    assert_int_equal(block_pwrite(node, 0, buffer, 512, 0), -EIO);
    assert_int_equal(block_write_zeroes(node, 0, 512, 0), -EIO);
    assert_int_equal(block_discard(node, 0, 512), -EIO);
    assert_int_equal(block_flush(node), -EIO);
    assert_int_equal(block_status(node, 0, 512, &extent), 0);
    block_close(node);

    node = open_failing("{\"event\":\"flush_to_disk\",\"errno\":5},"
                        "{\"iotype\":[\"block-status\",\"discard\"],\"errno\":1}");
    assert_int_equal(block_pwrite(node, 0, buffer, 512, 0), 0);
    assert_int_equal(block_flush(node), -EIO);
    assert_int_equal(block_discard(node, 0, 512), -EPERM);
    assert_int_equal(block_status(node, 0, 512, &extent), -EPERM);
    block_close(node);
}

static void a_rule_can_be_for_one_sector_and_for_once(void **state)
{
    struct block_node *node = open_failing("{\"event\":\"read_aio\",\"sector\":8,\"once\":true}");
    assert_int_equal(block_pread(node, 0, buffer, 8 * 512), 0);
    assert_int_equal(block_pread(node, 9 * 512, buffer, 512), 0);
    assert_int_equal(block_pread(node, 7 * 512, buffer, 1024), -EIO);
    assert_int_equal(block_pread(node, 7 * 512, buffer, 1024), 0);
    block_close(node);
}

static void a_rule_can_let_some_requests_through_first(void **state)
{
    struct block_node *node = open_failing("{\"iotype\":\"write\",\"skip\":2,\"once\":true}");
    for (int i = 0; i < 6; i++)
        assert_int_equal(block_pwrite(node, 0, buffer, 512, 0), i == 2 ? -EIO : 0);
    block_close(node);
}

static void rules_that_make_no_sense_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"[{\"iotype\":\"fly\"}]", "iotype"},
        {"[{\"event\":\"l2_load\"}]", "event"},
        {"[{\"errno\":0}]", "errno"},
        {"[{\"sector\":\"x\"}]", "sector"},
        {"[{\"iotype\":[\"read\",1]}]", "iotype"},
        {"[{\"skip\":-1}]", "skip"},
        {"[{\"unknown\":1}]", "unknown"},
        {"[5]", "inject-error"},
        {"{}", "inject-error"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        char json[500];
        struct kv_error err;
        struct block_node *node;
        snprintf(json, sizeof(json),
                 "{\"driver\":\"blkdebug\",\"image\":{\"driver\":\"memory\",\"filename\":"
                 "\"memory:disk\"},\"inject-error\":%s}",
                 bad[i][0]);
        assert_int_equal(try_json(&node, json, &err), -EINVAL);
        assert_non_null(strstr(err.message, bad[i][1]));
    }
}

static void a_format_over_a_failing_file_hands_the_error_on(void **state)
{
    struct kv_error err;
    struct block_node *node = open_json(
        "{\"driver\":\"raw\",\"file\":{\"driver\":\"blkdebug\",\"image\":{\"driver\":\"memory\","
        "\"filename\":\"memory:disk\"},\"inject-error\":[{\"iotype\":\"write\",\"sector\":4}]}}");
    assert_int_equal(block_pwrite(node, 4 * 512, buffer, 1, 0), -EIO);
    assert_int_equal(block_pwrite(node, 5 * 512, buffer, 1, 0), 0);
    block_close(node);
    assert_int_equal(try_json(&node,
                              "{\"driver\":\"blkdebug\",\"align\":512,\"image\":{\"driver\":"
                              "\"memory\",\"filename\":\"memory:disk\"}}",
                              &err),
                     -EINVAL);
}

/* --------------------------------------------------------------- detect-zeroes */

static bool is_hole(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct block_extent extent;
    assert_int_equal(block_status(node, offset, len, &extent), 0);
    return (extent.flags & BLOCK_STATUS_ZERO) && extent.len == len;
}

static void written_zeros_become_holes_where_zeros_are_detected(void **state)
{
    struct block_node *node = open_json("{\"driver\":\"raw\",\"detect-zeroes\":\"on\",\"file\":{"
                                        "\"driver\":\"memory\",\"filename\":\"memory:disk\"}}");
    memset(buffer, 1, KIB(64));
    assert_int_equal(block_pwrite(node, 0, buffer, KIB(64), 0), 0);
    assert_false(is_hole(node, 0, KIB(64)));
    memset(buffer, 0, KIB(64));
    struct iovec iov[] = {{buffer, 4096}, {buffer + 4096, KIB(60)}};
    assert_int_equal(block_pwritev(node, 0, KIB(64), iov, 2, 0), 0);
    assert_true(is_hole(node, 0, KIB(64)));
    buffer[KIB(64) - 1] = 1;
    assert_int_equal(block_pwritev(node, 0, KIB(64), iov, 2, 0), 0);
    assert_int_equal(block_pread(node, KIB(64) - 2, buffer, 2), 0);
    assert_int_equal(buffer[1], 1);
    block_close(node);
}

static void without_detection_zeros_are_written(void **state)
{
    struct block_node *node = open_json("{\"driver\":\"raw\",\"detect-zeroes\":\"off\",\"file\":{"
                                        "\"driver\":\"memory\",\"filename\":\"memory:disk\"}}");
    memset(buffer, 0, 4096);
    assert_int_equal(block_pwrite(node, 0, buffer, 4096, 0), 0);
    assert_false(is_hole(node, 0, 4096));
    block_close(node);
}

static void unmapping_detected_zeros_needs_discard(void **state)
{
    struct kv_error err;
    struct block_node *node;
    assert_int_equal(try_json(&node,
                              "{\"driver\":\"memory\",\"filename\":\"memory:disk\","
                              "\"detect-zeroes\":\"unmap\"}",
                              &err),
                     -EINVAL);
    assert_int_equal(try_json(&node,
                              "{\"driver\":\"memory\",\"filename\":\"memory:disk\","
                              "\"detect-zeroes\":\"maybe\"}",
                              &err),
                     -EINVAL);
    assert_non_null(strstr(err.message, "maybe"));
    assert_int_equal(try_json(&node,
                              "{\"driver\":\"memory\",\"filename\":\"memory:disk\","
                              "\"detect-zeroes\":\"unmap\",\"discard\":\"unmap\"}",
                              &err),
                     0);
    block_close(node);
}

/* ---------------------------------------------------------------- copy-on-read */

/* A qcow2 image whose backing file is full of ones, under the filter. */
static struct block_node *open_copying(void)
{
    struct {
        uint64_t size;
    } * config;
    struct kv_error err = {0};
    const struct block_driver *qcow2 = block_driver_find("qcow2");
    struct block_node *node = open_json("{\"driver\":\"memory\",\"filename\":\"memory:disk\"}");
    memset(buffer, 1, sizeof(buffer));
    for (uint64_t at = 0; at < DISK_SIZE - MIB(1); at += sizeof(buffer))
        assert_int_equal(block_pwrite(node, at, buffer, sizeof(buffer), 0), 0);
    block_close(node);
    config = calloc(1, qcow2->create_config_size);
    if (qcow2->create_defaults)
        qcow2->create_defaults(config);
    config->size = DISK_SIZE;
    if (qcow2->create("memory:top", config, &err) < 0)
        fail_msg("%s", err.message);
    options_free(qcow2->create_options, config);
    free(config);
    return open_json(
        "{\"driver\":\"copy-on-read\",\"file\":{\"driver\":\"qcow2\",\"file\":{\"driver\":"
        "\"memory\",\"filename\":\"memory:top\"},\"backing\":{\"driver\":\"raw\",\"file\":{"
        "\"driver\":\"memory\",\"filename\":\"memory:disk\"}}}}");
}

static bool is_allocated(struct block_node *node, uint64_t offset)
{
    struct block_extent extent;
    assert_int_equal(block_status(node, offset, 1, &extent), 0);
    return extent.flags & BLOCK_STATUS_ALLOCATED;
}

static void what_is_read_from_the_backing_file_is_in_the_image_afterwards(void **state)
{
    struct block_node *node = open_copying();
    assert_false(is_allocated(node, MIB(1)));
    assert_int_equal(block_pread(node, MIB(1) + 5, buffer, 3), 0);
    assert_int_equal(buffer[0], 1);
    assert_true(is_allocated(node, MIB(1)));
    assert_true(is_allocated(node, MIB(1) + KIB(64) - 1));
    assert_false(is_allocated(node, MIB(1) + KIB(64)));
    /* Zeros of the backing file take no room. */
    int64_t before = block_allocated_size(node);
    assert_int_equal(block_pread(node, DISK_SIZE - MIB(1), buffer, MIB(1)), 0);
    assert_true(buffer_is_zero(buffer, MIB(1)));
    assert_true(is_allocated(node, DISK_SIZE - 1));
    assert_true(block_allocated_size(node) < before + (int64_t)KIB(512));
    block_close(node);
}

static void what_was_written_is_not_replaced_by_a_copy(void **state)
{
    struct block_node *node = open_copying();
    assert_int_equal(block_pwrite(node, KIB(64) + 100, "mine", 4, 0), 0);
    assert_int_equal(block_pread(node, 0, buffer, MIB(1)), 0);
    assert_memory_equal(buffer + KIB(64) + 100, "mine", 4);
    assert_int_equal(buffer[KIB(64) + 99], 1);
    assert_int_equal(block_pread(node, 0, buffer, MIB(1)), 0);
    assert_memory_equal(buffer + KIB(64) + 100, "mine", 4);
    block_close(node);
}

static struct block_node *raced;

static void *read_everything(void *opaque)
{
    uint8_t *bytes = malloc(KIB(64));
    for (uint64_t at = 0; at < MIB(3); at += KIB(64))
        assert_int_equal(block_pread(raced, at, bytes, KIB(64)), 0);
    free(bytes);
    return NULL;
}

static void writers_and_copies_at_once_lose_nothing(void **state)
{
    pthread_t readers[2];
    raced = open_copying();
    for (unsigned i = 0; i < ARRAY_SIZE(readers); i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_everything, NULL), 0);
    for (uint64_t at = 0; at < MIB(3); at += KIB(16))
        assert_int_equal(block_pwrite(raced, at, "mine", 4, 0), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(readers); i++)
        pthread_join(readers[i], NULL);
    for (uint64_t at = 0; at < MIB(3); at += KIB(16)) {
        char bytes[5];
        assert_int_equal(block_pread(raced, at, bytes, 5), 0);
        assert_memory_equal(bytes, "mine\1", 5);
    }
    block_close(raced);
}

static void status_through_a_filter_knows_the_backing_file(void **state)
{
    struct block_extent extent;
    struct block_node *node = open_copying();
    assert_int_equal(block_status_above(node, NULL, 0, 512, &extent), 0);
    assert_true(extent.flags & BLOCK_STATUS_DATA);
    assert_int_equal(extent.depth, 1);
    block_close(node);
}

static void a_filter_is_put_over_a_node_that_is_open(void **state)
{
    struct kv_error err = {0};
    struct block_node *node = open_json("{\"driver\":\"memory\",\"filename\":\"memory:disk\"}");
    struct block_node *before = node;
    json_t *filter =
        json_pack("{s:s,s:[{s:s}]}", "driver", "blkdebug", "inject-error", "iotype", "read");
    json_t *raw = json_pack("{s:s}", "driver", "raw");
    assert_int_equal(block_insert_filter(&node, raw, &err), -EINVAL);
    assert_ptr_equal(node, before);
    assert_int_equal(block_insert_filter(&node, filter, &err), 0);
    assert_ptr_equal(block_file_child(node), before);
    assert_int_equal(block_pread(node, 0, buffer, 1), -EIO);
    json_decref(filter);
    json_decref(raw);
    block_close(node);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_disk, remove_disks)
    const struct CMUnitTest tests[] = {
        TEST(a_rule_fails_requests_of_its_kind_only),
        TEST(a_rule_can_be_for_one_sector_and_for_once),
        TEST(a_rule_can_let_some_requests_through_first),
        TEST(rules_that_make_no_sense_are_refused),
        TEST(a_format_over_a_failing_file_hands_the_error_on),
        TEST(written_zeros_become_holes_where_zeros_are_detected),
        TEST(without_detection_zeros_are_written),
        TEST(unmapping_detected_zeros_needs_discard),
        TEST(what_is_read_from_the_backing_file_is_in_the_image_afterwards),
        TEST(what_was_written_is_not_replaced_by_a_copy),
        TEST(writers_and_copies_at_once_lose_nothing),
        TEST(status_through_a_filter_knows_the_backing_file),
        TEST(a_filter_is_put_over_a_node_that_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
