/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: what is written is read again, whatever the image's shape, and the image stays sound. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/filter_record.h"
#include "block/memory.h"
#include "block/qcow2.h"
#include "qcow2_images.h"
#include "unit.h"

#define DISK MIB(4)
#define OPS 500

static const char *const shapes[] = {
    "cluster_size=512,refcount_bits=1",
    "cluster_size=512,refcount_bits=64",
    "cluster_size=4k,refcount_bits=4",
    "cluster_size=64k",
    "cluster_size=2M,refcount_bits=8",
    "cluster_size=16k,extended_l2=on",
    "cluster_size=64k,extended_l2=on,refcount_bits=2",
    "cluster_size=1k,compat=0.10",
    "cluster_size=1k,lazy_refcounts=on,refcount_bits=32",
    "cluster_size=16k,preallocation=metadata",
    "cluster_size=16k,preallocation=metadata,extended_l2=on",
    "cluster_size=4k,preallocation=full",
};

static uint8_t model[DISK], seen[DISK];

static int setup(void **state)
{
    memset(model, 0, sizeof(model));
    return 0;
}

static int teardown(void **state)
{
    images_remove();
    return 0;
}

static void create_shape(const char *shape, const char *more)
{
    char options[200];
    snprintf(options, sizeof(options), "size=4M,%s%s", shape, more);
    image_create(TEST_IMAGE, options);
}

static void assert_content(struct block_node *node)
{
    assert_int_equal(block_pread(node, 0, seen, DISK), 0);
    assert_memory_equal(seen, model, DISK);
}

static void fill(uint8_t *at, uint64_t len, unsigned tag)
{
    for (uint64_t i = 0; i < len; i++)
        at[i] = (uint8_t)(tag + i * 7 + (i >> 8));
}

/* One random request on the node and the model. */
static void random_request(struct block_node *node, unsigned *seed)
{
    uint64_t offset = (uint64_t)rand_r(seed) % DISK, len = 1 + (uint64_t)rand_r(seed) % 50000;
    unsigned align = rand_r(seed) % 3 ? 512 : 1;
    offset = ALIGN_DOWN(offset, align);
    len = MIN(ALIGN_UP(len, align), DISK - offset);
    switch (rand_r(seed) % 8) {
    case 0:
        assert_int_equal(block_write_zeroes(node, offset, len, rand_r(seed) % 2 ? BLOCK_UNMAP : 0),
                         0);
        memset(model + offset, 0, len);
        break;
    case 1:
        /* What a discard leaves is the image's choice, but it stays. */
        assert_int_equal(block_discard(node, offset, len), 0);
        assert_int_equal(block_pread(node, offset, model + offset, len), 0);
        break;
    case 2:
    case 3:
        assert_int_equal(block_pread(node, offset, seen, len), 0);
        assert_memory_equal(seen, model + offset, len);
        break;
    case 4:
        if (rand_r(seed) % 4 == 0)
            assert_int_equal(block_flush(node), 0);
        break;
    default:
        fill(model + offset, len, (unsigned)rand_r(seed));
        assert_int_equal(block_pwrite(node, offset, model + offset, len, 0), 0);
        break;
    }
}

static void amend(struct block_node *node, const char *changes, int expected)
{
    struct kv_error err = {0};
    json_t *object = json_loads(changes, 0, NULL);
    assert_non_null(object);
    int rc = node->driver->amend(node, object, &err);
    if (rc != expected)
        print_error("%s: %s\n", changes, err.message);
    assert_int_equal(rc, expected);
    json_decref(object);
}

static void run_random(unsigned seed)
{
    for (unsigned round = 0; round < 2; round++) {
        struct block_node *node = image_open();
        for (unsigned i = 0; i < OPS; i++)
            random_request(node, &seed);
        assert_content(node);
        block_close(node);
        image_assert_sound(TEST_IMAGE);
    }
    struct block_node *node = image_open();
    assert_content(node);
    block_close(node);
}

static void random_requests_agree_with_a_model_in_every_shape(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        memset(model, 0, sizeof(model));
        create_shape(shapes[i], "");
        run_random(i + 1);
    }
}

static void a_backing_file_that_is_shorter_shines_through_and_ends_in_zeros(void **state)
{
    image_create("memory:base.qcow2", "size=2500k,cluster_size=4k");
    struct block_node *base =
        image_open_with((struct block_open_options){.path = "memory:base.qcow2"}, NULL);
    assert_non_null(base);
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        if (strstr(shapes[i], "preallocation") && !strstr(shapes[i], "extended"))
            continue;
        memset(model, 0, sizeof(model));
        fill(model, KIB(2500), i);
        assert_int_equal(block_pwrite(base, 0, model, KIB(2500), 0), 0);
        assert_int_equal(block_flush(base), 0);
        create_shape(shapes[i], ",backing_file=memory:base.qcow2,backing_fmt=qcow2");
        block_close(base);
        run_random(100 + i);
        base = image_open_with((struct block_open_options){.path = "memory:base.qcow2"}, NULL);
        assert_non_null(base);
    }
    block_close(base);
}

static void an_external_data_file_holds_the_guests_bytes_where_the_guest_has_them(void **state)
{
    image_create(TEST_IMAGE, "size=4M,data_file=memory:data.raw,data_file_raw=on");
    struct block_node *node = image_open();
    fill(model + 12345, 300000, 3);
    assert_int_equal(block_pwrite(node, 12345, model + 12345, 300000, 0), 0);
    memset(model + 65536, 0, 70000);
    assert_int_equal(block_write_zeroes(node, 65536, 70000, 0), 0);
    assert_content(node);
    block_close(node);
    node = image_open();
    amend(node, "{\"data_file\":\"memory:other.raw\"}", 0);
    block_close(node);
    struct kv_error err = {0};
    assert_null(image_open_with((struct block_open_options){0}, &err));
    assert_non_null(strstr(err.message, "other.raw"));
    assert_int_equal(block_memory_get("data.raw", 0, seen, DISK), 0);
    assert_memory_equal(seen, model, DISK);
}

/* ---------------------------------------------------------------- concurrency */

struct writer {
    struct block_node *node;
    unsigned number;
};

/* Each thread has every fourth sector, so all meet in the same clusters. */
static void *write_sectors(void *opaque)
{
    const struct writer *writer = opaque;
    uint8_t sector[512];
    memset(sector, (int)writer->number + 1, sizeof(sector));
    for (uint64_t at = writer->number * 512; at < DISK; at += 4 * 512) {
        if (block_pwrite(writer->node, at, sector, sizeof(sector), 0) < 0)
            return (void *)writer;
    }
    return NULL;
}

static void writers_that_meet_in_new_clusters_lose_nothing(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        create_shape(shapes[i], "");
        struct block_node *node = image_open();
        struct writer writers[4];
        pthread_t threads[4];
        for (unsigned t = 0; t < 4; t++) {
            writers[t] = (struct writer){node, t};
            assert_int_equal(pthread_create(&threads[t], NULL, write_sectors, &writers[t]), 0);
        }
        for (unsigned t = 0; t < 4; t++) {
            void *failed;
            pthread_join(threads[t], &failed);
            assert_null(failed);
        }
        for (uint64_t at = 0; at < DISK; at++)
            model[at] = (uint8_t)(at / 512 % 4 + 1);
        assert_content(node);
        block_close(node);
        image_assert_sound(TEST_IMAGE);
    }
}

#define FLUSHES 200

struct flusher {
    struct block_node *node;
    unsigned number;
    uint64_t since[FLUSHES], until[FLUSHES]; /* places in the record around each flush */
};

static void *write_and_flush(void *opaque)
{
    struct flusher *flusher = opaque;
    uint8_t sector[512];
    for (unsigned i = 0; i < FLUSHES; i++) {
        memset(sector, (int)i, sizeof(sector));
        uint64_t at = (i % 64 * 4 + flusher->number) * KIB(4);
        if (block_pwrite(flusher->node, at, sector, sizeof(sector), 0) < 0)
            return flusher;
        flusher->since[i] = record_order();
        if (block_flush(flusher->node) < 0)
            return flusher;
        flusher->until[i] = record_order();
    }
    return NULL;
}

static bool has_flush(const struct record_log *log, uint64_t since, uint64_t until)
{
    size_t count;
    const struct record_entry *entries = record_log_entries(log, &count);
    for (size_t i = 0; i < count && entries[i].order < until; i++) {
        if (entries[i].kind == RECORD_FLUSH && entries[i].order >= since)
            return true;
    }
    return false;
}

static void flushes_that_meet_share_one_that_begins_after_all_of_them(void **state)
{
    image_create(TEST_IMAGE, "size=4M,cluster_size=4k");
    struct record_log *log = record_log_create("flushes");
    assert_non_null(log);
    struct block_node *node = image_open_with(
        (struct block_open_options){
            .path =
                "json:{\"driver\":\"qcow2\",\"read-only\":false,\"file\":{\"driver\":\"record\","
                "\"log\":\"flushes\",\"file\":{\"driver\":\"memory\",\"filename\":\"" TEST_IMAGE
                "\"}}}"},
        NULL);
    assert_non_null(node);
    static struct flusher flushers[4];
    pthread_t threads[4];
    for (unsigned t = 0; t < 4; t++) {
        flushers[t] = (struct flusher){.node = node, .number = t};
        assert_int_equal(pthread_create(&threads[t], NULL, write_and_flush, &flushers[t]), 0);
    }
    for (unsigned t = 0; t < 4; t++) {
        void *failed;
        pthread_join(threads[t], &failed);
        assert_null(failed);
    }
    for (unsigned t = 0; t < 4; t++) {
        for (unsigned i = 0; i < FLUSHES; i++)
            assert_true(has_flush(log, flushers[t].since[i], flushers[t].until[i]));
    }
    block_close(node);
    record_log_free(log);
    image_assert_sound(TEST_IMAGE);
}

/* ---------------------------------------------------------------- space */

static void discarded_clusters_are_used_again(void **state)
{
    image_create(TEST_IMAGE, "size=4M,cluster_size=4k");
    struct block_node *node = image_open();
    memset(model, 1, DISK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(block_pwrite(node, 0, model, DISK, 0), 0);
        assert_int_equal(block_discard(node, 0, DISK), 0);
        assert_int_equal(block_flush(node), 0);
    }
    block_close(node);
    image_assert_sound(TEST_IMAGE);
    assert_true(block_memory_length("test.qcow2") < (int64_t)(3 * DISK));
}

static void rewriting_takes_no_more_space(void **state)
{
    image_create(TEST_IMAGE, "size=4M,cluster_size=4k");
    struct block_node *node = image_open();
    assert_int_equal(block_pwrite(node, 0, model, DISK, 0), 0);
    assert_int_equal(block_flush(node), 0);
    int64_t before = block_memory_length("test.qcow2");
    for (int i = 0; i < 3; i++)
        assert_int_equal(block_pwrite(node, 5, model, DISK - 5, 0), 0);
    assert_int_equal(block_memory_length("test.qcow2"), before);
    block_close(node);
}

static void the_refcount_table_grows_with_the_image(void **state)
{
    image_create(TEST_IMAGE, "size=4M,cluster_size=512,refcount_bits=64");
    assert_int_equal(image_load(56, 4), 1);
    struct block_node *node = image_open();
    fill(model, DISK, 9);
    assert_int_equal(block_pwrite(node, 0, model, DISK, 0), 0);
    block_close(node);
    assert_true(image_load(56, 4) > 1);
    image_assert_sound(TEST_IMAGE);
    node = image_open();
    assert_content(node);
    block_close(node);
}

static void a_full_host_fails_the_write_and_nothing_else(void **state)
{
    for (unsigned i = 0; i < 8; i++) {
        memset(model, 0, sizeof(model));
        create_shape(shapes[i], "");
        struct block_node *node = image_open();
        fill(model, MIB(1), 1);
        assert_int_equal(block_pwrite(node, 0, model, MIB(1), 0), 0);
        assert_int_equal(block_flush(node), 0);
        assert_int_equal(block_memory_limit("test.qcow2", MIB(1)), 0);
        memset(seen, 5, MIB(2));
        assert_int_equal(block_pwrite(node, MIB(2), seen, MIB(2), 0), -ENOSPC);
        assert_int_equal(block_memory_limit("test.qcow2", MIB(64)), 0);
        fill(model + MIB(2), MIB(2), 2);
        assert_int_equal(block_pwrite(node, MIB(2), model + MIB(2), MIB(2), 0), 0);
        assert_content(node);
        block_close(node);
        image_assert_sound(TEST_IMAGE);
    }
}

/* ---------------------------------------------------------------- size and status */

static void growing_shows_zeros_and_shrinking_gives_clusters_back(void **state)
{
    for (unsigned i = 0; i < 9; i++) {
        create_shape(shapes[i], "");
        struct block_node *node = image_open();
        fill(model, DISK, i);
        assert_int_equal(block_pwrite(node, 0, model, DISK, 0), 0);
        assert_int_equal(block_resize(node, MIB(1) + 512, NULL), 0);
        block_close(node);
        image_assert_sound(TEST_IMAGE);
        node = image_open();
        assert_int_equal(block_get_info(node)->size, MIB(1) + 512);
        assert_int_equal(block_resize(node, DISK, NULL), 0);
        memset(model + MIB(1) + 512, 0, DISK - MIB(1) - 512);
        assert_content(node);
        assert_int_equal(block_resize(node, GIB(1), NULL), 0);
        assert_int_equal(block_pwrite(node, GIB(1) - 512, model, 512, 0), 0);
        block_close(node);
        image_assert_sound(TEST_IMAGE);
    }
}

static void refcounts_get_another_width_and_the_image_an_older_version(void **state)
{
    static const char *const widths[] = {"{\"refcount_bits\":64}", "{\"refcount_bits\":1}",
                                         "{\"refcount_bits\":8}",  "{\"refcount_bits\":2}",
                                         "{\"refcount_bits\":32}", "{\"refcount_bits\":16}"};
    unsigned seed = 5;
    image_create(TEST_IMAGE, "size=4M,cluster_size=1k");
    struct block_node *node = image_open();
    for (unsigned i = 0; i < ARRAY_SIZE(widths); i++) {
        for (unsigned j = 0; j < 60; j++)
            random_request(node, &seed);
        amend(node, widths[i], 0);
        assert_content(node);
        block_close(node);
        image_assert_sound(TEST_IMAGE);
        node = image_open();
    }
    amend(node, "{\"refcount_bits\":3}", -EINVAL);
    amend(node, "{\"compat\":\"0.10\",\"refcount_bits\":8}", -EINVAL);
    assert_int_equal(block_write_zeroes(node, 0, MIB(1), 0), 0);
    memset(model, 0, MIB(1));
    amend(node, "{\"compat\":\"0.10\"}", 0);
    for (unsigned j = 0; j < 60; j++)
        random_request(node, &seed);
    assert_content(node);
    block_close(node);
    assert_int_equal(image_load(4, 4), 2);
    image_assert_sound(TEST_IMAGE);
    node = image_open();
    amend(node, "{\"compat\":\"1.1\",\"lazy_refcounts\":true}", 0);
    assert_content(node);
    block_close(node);
    assert_int_equal(image_load(4, 4), 3);
    image_assert_sound(TEST_IMAGE);
}

static void status_joins_clusters_that_lie_in_a_row(void **state)
{
    image_create(TEST_IMAGE, "size=4M,cluster_size=512");
    struct block_node *node = image_open();
    struct block_extent extent;
    assert_int_equal(block_write_zeroes(node, 0, KIB(64), 0), 0);
    assert_int_equal(block_status(node, 0, DISK, &extent), 0);
    assert_int_equal(extent.len, DISK);
    assert_int_equal(extent.flags, BLOCK_STATUS_ZERO);
    assert_int_equal(block_pwrite(node, KIB(1), model, 1, 0), 0);
    assert_int_equal(block_status(node, KIB(1), DISK - KIB(1), &extent), 0);
    assert_int_equal(extent.len, 512);
    assert_int_equal(extent.flags,
                     BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET);
    assert_ptr_equal(extent.file, block_file_child(node));
    block_close(node);

    image_create(TEST_IMAGE, "size=4M,cluster_size=4k,preallocation=full");
    node = image_open();
    assert_int_equal(block_status(node, KIB(4), KIB(1024), &extent), 0);
    assert_int_equal(extent.len, KIB(1024));
    block_close(node);
}

static void every_refcount_width_keeps_its_neighbours(void **state)
{
    for (unsigned order = 0; order <= 6; order++) {
        uint8_t block[64] = {0};
        uint64_t max = order == 6 ? UINT64_MAX : BIT(1u << order) - 1;
        qcow2_refcount_store(block, order, 5, max);
        assert_int_equal(qcow2_refcount_load(block, order, 5), max);
        assert_int_equal(qcow2_refcount_load(block, order, 4), 0);
        assert_int_equal(qcow2_refcount_load(block, order, 6), 0);
        qcow2_refcount_store(block, order, 4, 1);
        qcow2_refcount_store(block, order, 5, 0);
        assert_int_equal(qcow2_refcount_load(block, order, 4), 1);
        assert_int_equal(qcow2_refcount_load(block, order, 5), 0);
    }
    /* The least significant bits of a byte come first. */
    uint8_t bits[1] = {0};
    qcow2_refcount_store(bits, 0, 0, 1);
    assert_int_equal(bits[0], 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(random_requests_agree_with_a_model_in_every_shape),
        TEST(a_backing_file_that_is_shorter_shines_through_and_ends_in_zeros),
        TEST(an_external_data_file_holds_the_guests_bytes_where_the_guest_has_them),
        TEST(writers_that_meet_in_new_clusters_lose_nothing),
        TEST(flushes_that_meet_share_one_that_begins_after_all_of_them),
        TEST(discarded_clusters_are_used_again),
        TEST(rewriting_takes_no_more_space),
        TEST(the_refcount_table_grows_with_the_image),
        TEST(a_full_host_fails_the_write_and_nothing_else),
        TEST(growing_shows_zeros_and_shrinking_gives_clusters_back),
        TEST(refcounts_get_another_width_and_the_image_an_older_version),
        TEST(status_joins_clusters_that_lie_in_a_row),
        TEST(every_refcount_width_keeps_its_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
