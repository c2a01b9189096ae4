/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains that change under a writing guest: commit, stream, snapshots, filters. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "block/secret.h"
#include "job_guest.h"
#include "qcow2_images.h"
#include "unit.h"

/* base <- one <- two <- top, each with something of its own. */
static uint8_t model[GUEST_DISK];
static struct block_node *top;

static struct block_node *layer(unsigned depth)
{
    struct block_node *node = top;
    while (depth--)
        node = block_backing(node);
    return node;
}

static void make_chain(void)
{
    static const char *const names[] = {"base", "one", "two", "top"};
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        disk_create(names[i], i ? names[i - 1] : NULL);
        struct block_node *node = disk_open(names[i], NULL);
        disk_fill(node, model, i + 1);
        if (i == 2) {
            assert_int_equal(block_write_zeroes(node, KIB(512), KIB(512), BLOCK_UNMAP), 0);
            memset(model + KIB(512), 0, KIB(512));
        }
        block_close(node);
    }
    top = disk_open("top", "top");
}

/* The chain as its files say it. */
static void expect_reopened(const char *name, const uint8_t *bytes)
{
    struct block_node *node = disk_open(name, NULL);
    expect_content(node, bytes);
    block_close(node);
}

static unsigned depth_of(const struct block_node *node)
{
    unsigned depth = 0;
    while ((node = block_backing(node)))
        depth++;
    return depth;
}

static void close_chain(struct guest *guest, const char *left)
{
    uint8_t *last = malloc(GUEST_DISK);
    guest_stop(guest);
    memcpy(last, guest_model(guest), GUEST_DISK);
    expect_content(guest_node(guest), last);
    guest_free(guest);
    block_close(top);
    disk_assert_sound(left);
    expect_reopened(left, last);
    free(last);
}

static int commit(struct block_node *from, struct block_node *to, struct kv_error *err)
{
    const struct commit_options options = {
        .job = {.id = "c"}, .top = from, .base = to, .base_fd = -1};
    return commit_start(&options, err);
}

static void layers_in_the_middle_are_committed(void **state)
{
    make_chain();
    struct guest *guest = guest_start(top, model);
    assert_int_equal(commit(layer(1), layer(3), NULL), 0);
    assert_string_equal(expect_end("c", JOB_EVENT_COMPLETED), "");
    assert_int_equal(depth_of(top), 1);
    assert_true(block_get_info(layer(1))->readonly);
    guest_wait(guest, 300);
    close_chain(guest, "top");
    disk_assert_sound("base");
}

static void an_overlay_in_the_middle_is_told_of_its_new_backing_file(void **state)
{
    make_chain();
    struct guest *guest = guest_start(top, model);
    assert_int_equal(commit(layer(2), layer(3), NULL), 0);
    assert_string_equal(expect_end("c", JOB_EVENT_COMPLETED), "");
    assert_int_equal(depth_of(top), 2);
    assert_true(block_get_info(layer(1))->readonly);
    guest_wait(guest, 300);
    close_chain(guest, "top");
    disk_assert_sound("two");
}

static void the_active_layer_is_committed_and_the_guest_goes_on_below(void **state)
{
    make_chain();
    struct kv_error err = {0};
    struct block_node *base = block_ref(layer(3));
    assert_int_equal(commit(top, layer(3), &err), 0);
    block_close(base);
    struct guest *guest = guest_start(top, model);
    expect_job("c", JOB_READY);
    guest_wait(guest, 500);
    struct job *job = job_find("c");
    assert_int_equal(job_complete(job, NULL), 0);
    job_put(job);
    assert_string_equal(expect_end("c", JOB_EVENT_COMPLETED), "");
    guest_wait(guest, 300);
    guest_rest(guest);
    assert_int_equal(depth_of(guest_node(guest)), 0);
    guest_go_on(guest);
    close_chain(guest, "base");
}

static void a_commit_that_is_cancelled_changes_nothing_that_can_be_seen(void **state)
{
    make_chain();
    struct guest *guest = guest_start(top, model);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(commit(i & 1 ? top : layer(1), i & 2 ? layer(3) : layer(2), NULL), 0);
        usleep((useconds_t)(rand() % 8000));
        struct job *job = job_find("c");
        bool cancelled = job && job_cancel(job, true, NULL) == 0;
        if (job)
            assert_int_equal(job_wait(job, JOB_NULL, 30), 0);
        job_put(job);
        /* One in the middle may have been faster. */
        if (!cancelled || depth_of(top) < 3)
            break;
    }
    guest_wait(guest, 100);
    close_chain(guest, "top");
}

static void a_base_that_is_too_small_grows(void **state)
{
    uint8_t *half = calloc(1, GUEST_DISK);
    memset(model, 0, sizeof(model));
    disk_create("base", NULL);
    struct block_node *node = disk_open("base", NULL);
    disk_fill(node, half, 1);
    assert_int_equal(block_resize(node, GUEST_DISK / 2, NULL), 0);
    block_close(node);
    memcpy(model, half, GUEST_DISK / 2);
    disk_create("top", "base");
    top = disk_open("top", NULL);
    disk_fill(top, model, 2);
    struct guest *guest = guest_start(top, model);
    assert_int_equal(commit(top, NULL, NULL), 0);
    expect_job("c", JOB_READY);
    struct job *job = job_find("c");
    assert_int_equal(job_complete(job, NULL), 0);
    job_put(job);
    assert_string_equal(expect_end("c", JOB_EVENT_COMPLETED), "");
    close_chain(guest, "base");
    free(half);
}

/* ------------------------------------------------------------------------ stream */

static int stream(struct block_node *node, struct block_node *base, uint64_t speed)
{
    struct kv_error err = {0};
    const struct stream_options options = {
        .job = {.id = "s", .speed = speed}, .node = node, .base = base, .node_fd = -1};
    int rc = stream_start(&options, &err);
    if (rc < 0)
        print_message("%s\n", err.message);
    return rc;
}

static void a_stream_makes_the_image_stand_alone(void **state)
{
    make_chain();
    struct guest *guest = guest_start(top, model);
    assert_int_equal(stream(top, NULL, 0), 0);
    assert_string_equal(expect_end("s", JOB_EVENT_COMPLETED), "");
    assert_int_equal(depth_of(top), 0);
    unlink(disk_path("base"));
    unlink(disk_path("one"));
    guest_wait(guest, 300);
    close_chain(guest, "top");
}

static void a_stream_down_to_a_base_keeps_it(void **state)
{
    make_chain();
    struct guest *guest = guest_start(top, model);
    assert_int_equal(stream(top, layer(2), 0), 0);
    assert_string_equal(expect_end("s", JOB_EVENT_COMPLETED), "");
    assert_int_equal(depth_of(top), 2);
    unlink(disk_path("two"));
    guest_wait(guest, 300);
    close_chain(guest, "top");
}

static void an_image_in_the_middle_gets_what_lies_below(void **state)
{
    make_chain();
    struct guest *guest = guest_start(top, model);
    assert_int_equal(stream(layer(1), layer(3), 0), 0);
    assert_string_equal(expect_end("s", JOB_EVENT_COMPLETED), "");
    assert_int_equal(depth_of(top), 2);
    assert_true(block_get_info(layer(1))->readonly);
    unlink(disk_path("one"));
    guest_wait(guest, 300);
    close_chain(guest, "top");
    disk_assert_sound("two");
}

static void a_cancelled_stream_goes_on_where_it_was(void **state)
{
    make_chain();
    struct guest *guest = guest_start(top, model);
    for (int i = 0; i < 15; i++) {
        assert_int_equal(stream(top, NULL, MIB(20)), 0);
        usleep((useconds_t)(rand() % 20000));
        struct job *job = job_find("s");
        if (job) {
            job_cancel(job, true, NULL);
            assert_int_equal(job_wait(job, JOB_NULL, 30), 0);
        }
        job_put(job);
        if (depth_of(top) == 0)
            break;
    }
    if (depth_of(top)) {
        assert_int_equal(stream(top, NULL, 0), 0);
        expect_end("s", JOB_EVENT_COMPLETED);
    }
    assert_int_equal(depth_of(top), 0);
    close_chain(guest, "top");
}

static void a_layer_that_cannot_be_read_fails_the_stream_and_stays(void **state)
{
    char json[1500];
    make_chain();
    block_close(top);
    snprintf(json, sizeof(json),
             "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s\"},"
             "\"backing\":{\"driver\":\"blkdebug\",\"image\":{\"driver\":\"qcow2\",\"file\":{"
             "\"driver\":\"file\",\"filename\":\"%s\"}},\"read-only\":true,"
             "\"inject-error\":[{\"iotype\":\"read\",\"errno\":5,\"skip\":12,\"once\":true}]}}",
             disk_path("top"), disk_path("two"));
    top = disk_open_json(json);
    assert_int_equal(stream(top, NULL, 0), 0);
    assert_string_equal(expect_end("s", JOB_EVENT_COMPLETED), "Input/output error");
    assert_non_null(block_backing(top));
    assert_int_equal(stream(top, NULL, 0), 0);
    assert_string_equal(expect_end("s", JOB_EVENT_COMPLETED), "");
    struct guest *guest = guest_start(top, model);
    close_chain(guest, "top");
}

/* --------------------------------------------------------- snapshots and filters */

static void snapshots_and_filters_come_and_go_under_a_guest(void **state)
{
    struct kv_error err = {0};
    char name[16], json[200];
    make_chain();
    struct guest *guest = guest_start(top, model);
    for (int i = 0; i < 10; i++) {
        struct block_node *filter;
        guest_wait(guest, 60);
        snprintf(name, sizeof(name), "snap%d", i);
        disk_create(name, NULL);
        struct block_node *overlay = disk_open(name, name);
        struct block_node *now = guest_node(guest);
        char *below = strdup(block_name(now));
        assert_int_equal(block_change_backing_file(overlay, below, "qcow2", &err), 0);
        assert_int_equal(block_snapshot(now, overlay, &err), 0);
        free(below);
        block_close(overlay);
        snprintf(json, sizeof(json), "{\"driver\":\"throttle\",\"limits\":{\"iops-total\":%d}}",
                 100000);
        json_t *description = json_loads(json, 0, NULL);
        assert_int_equal(block_graph_insert_filter(guest_node(guest), description, &filter, &err),
                         0);
        json_decref(description);
        guest_wait(guest, 60);
        assert_int_equal(block_graph_remove_filter(filter, &err), 0);
        block_close(filter);
    }
    guest_rest(guest);
    assert_int_equal(depth_of(guest_node(guest)), 13);
    guest_go_on(guest);
    close_chain(guest, "snap9");
}

static void two_writers_of_one_image_are_refused(void **state)
{
    struct kv_error err = {0};
    struct block_root *root, *other;
    make_chain();
    assert_int_equal(block_root_create(&root, top, "vda", BLOCK_USE_WRITE, &err), 0);
    assert_int_equal(block_root_create(&other, top, "vdb", BLOCK_USE_WRITE, &err), -EPERM);
    assert_string_equal(err.message,
                        "Conflicts with use by vda as 'root', which does not allow 'write' on top");
    assert_int_equal(block_root_create(&other, layer(1), "vdb", BLOCK_USE_WRITE, &err), -EPERM);
    block_root_free(root);
    block_close(top);
}

static void bitmaps_in_memory_see_the_fast_way_too(void **state)
{
    struct kv_error err = {0};
    make_chain();
    assert_int_equal(block_bitmap_add(top, "b", KIB(64), false, true, &err), 0);
    assert_int_equal(block_bitmap_add(top, "b", 0, true, true, &err), -EEXIST);
    uint8_t *before = malloc(GUEST_DISK);
    memcpy(before, model, GUEST_DISK);
    struct guest *guest = guest_start(top, model);
    guest_wait(guest, 200);
    guest_rest(guest);
    uint64_t changed = 0;
    for (uint64_t at = 0; at < GUEST_DISK; at += KIB(64))
        changed += memcmp(before + at, guest_model(guest) + at, KIB(64)) != 0;
    json_t *bitmaps = block_bitmaps_describe(top);
    json_int_t count = json_integer_value(json_object_get(json_array_get(bitmaps, 0), "count"));
    assert_true(count >= (json_int_t)(changed * KIB(64)));
    json_decref(bitmaps);
    assert_int_equal(block_bitmap_clear(top, "b", &err), 0);
    assert_int_equal(block_bitmap_remove(top, "b", &err), 0);
    guest_go_on(guest);
    free(before);
    close_chain(guest, "top");
}

/* What the path and the format do not tell of it; guests go on in it after the commit. */
static void expect_commit_into(const char *base_json)
{
    char json[1400];
    memset(model, 0, sizeof(model));
    struct block_node *base = disk_open_json(base_json);
    disk_fill(base, model, 1);
    block_close(base);
    disk_create("top", NULL);
    snprintf(json, sizeof(json),
             "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s\","
             "\"node-name\":\"top-file\"},\"backing\":%s}",
             disk_path("top"), base_json);
    top = disk_open_json(json);
    disk_fill(top, model, 2);
    struct guest *guest = guest_start(top, model);
    struct kv_error err = {0};
    if (commit(top, layer(1), &err) < 0)
        fail_msg("%s", err.message);
    expect_job("c", JOB_READY);
    guest_wait(guest, 300);
    struct job *job = job_find("c");
    assert_int_equal(job_complete(job, NULL), 0);
    job_put(job);
    assert_string_equal(expect_end("c", JOB_EVENT_COMPLETED), "");
    guest_wait(guest, 300);
    guest_stop(guest);
    memcpy(model, guest_model(guest), GUEST_DISK);
    guest_free(guest);
    block_close(top);
    base = disk_open_json(base_json);
    expect_content(base, model);
    block_close(base);
}

static void an_encrypted_base_is_committed_into(void **state)
{
    char json[600];
    secret_add("key0", "correct horse", 13, NULL);
    unlink(disk_path("base"));
    image_create(disk_path("base"), "size=8M,encrypt.format=luks,encrypt.key-secret=key0,"
                                    "encrypt.iter-time=1");
    snprintf(json, sizeof(json),
             "{\"driver\":\"qcow2\",\"encrypt\":{\"format\":\"luks\",\"key-secret\":\"key0\"},"
             "\"l2-cache-size\":65536,\"file\":{\"driver\":\"file\",\"filename\":\"%s\","
             "\"node-name\":\"base-file\"},\"node-name\":\"base\"}",
             disk_path("base"));
    expect_commit_into(json);
    secret_clear();
}

static void a_base_that_is_a_part_of_a_file_is_committed_into_there(void **state)
{
    char json[600], around[KIB(64)];
    const char *path = disk_path("base");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    memset(around, 'a', sizeof(around));
    assert_int_equal(fwrite(around, sizeof(around), 1, file), 1);
    assert_int_equal(ftruncate(fileno(file), (off_t)(sizeof(around) + GUEST_DISK)), 0);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    assert_int_equal(fwrite(around, sizeof(around), 1, file), 1);
    fclose(file);
    snprintf(json, sizeof(json),
             "{\"driver\":\"raw\",\"offset\":%zu,\"size\":%zu,\"file\":{\"driver\":\"file\","
             "\"filename\":\"%s\"}}",
             sizeof(around), (size_t)GUEST_DISK, path);
    expect_commit_into(json);
    file = fopen(disk_path("base"), "re");
    assert_non_null(file);
    for (int i = 0; i < 2; i++) {
        char back[sizeof(around)];
        assert_int_equal(fread(back, sizeof(back), 1, file), 1);
        assert_memory_equal(back, around, sizeof(back));
        assert_int_equal(fseek(file, (long)GUEST_DISK, SEEK_CUR), 0);
    }
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_in_the_middle_are_committed),
        cmocka_unit_test(an_overlay_in_the_middle_is_told_of_its_new_backing_file),
        cmocka_unit_test(the_active_layer_is_committed_and_the_guest_goes_on_below),
        cmocka_unit_test(a_commit_that_is_cancelled_changes_nothing_that_can_be_seen),
        cmocka_unit_test(a_base_that_is_too_small_grows),
        cmocka_unit_test(an_encrypted_base_is_committed_into),
        cmocka_unit_test(a_base_that_is_a_part_of_a_file_is_committed_into_there),
        cmocka_unit_test(a_stream_makes_the_image_stand_alone),
        cmocka_unit_test(a_stream_down_to_a_base_keeps_it),
        cmocka_unit_test(an_image_in_the_middle_gets_what_lies_below),
        cmocka_unit_test(a_cancelled_stream_goes_on_where_it_was),
        cmocka_unit_test(a_layer_that_cannot_be_read_fails_the_stream_and_stays),
        cmocka_unit_test(snapshots_and_filters_come_and_go_under_a_guest),
        cmocka_unit_test(two_writers_of_one_image_are_refused),
        cmocka_unit_test(bitmaps_in_memory_see_the_fast_way_too),
    };
    events_listen();
    return cmocka_run_group_tests(tests, disks_setup, disks_teardown);
}
