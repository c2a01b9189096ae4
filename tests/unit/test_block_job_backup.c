/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backups of one moment while a guest writes: full, by bitmaps, pulled; errors; transactions. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "job_guest.h"
#include "unit.h"

static uint8_t model[GUEST_DISK], moment[GUEST_DISK];
static struct block_node *source, *target;

static void open_pair(void)
{
    memset(model, 0, sizeof(model));
    disk_create("base", NULL);
    struct block_node *base = disk_open("base", NULL);
    disk_fill(base, model, 1);
    block_close(base);
    disk_create("source", "base");
    disk_create("target", NULL);
    source = disk_open("source", "source");
    disk_fill(source, model, 2);
    target = disk_open("target", "target");
}

static void close_pair(struct guest *guest)
{
    guest_stop(guest);
    assert_ptr_equal(guest_node(guest), source);
    expect_content(source, guest_model(guest));
    guest_free(guest);
    block_close(source);
    block_close(target);
    disk_assert_sound("source");
    disk_assert_sound("target");
}

/* The guest rests, so that what the disk holds at that moment is known. */
static void start(struct guest *guest, struct backup_options options)
{
    struct kv_error err = {0};
    options.job.id = options.job.id ? options.job.id : "b";
    options.source = source;
    options.target = options.target ? options.target : target;
    guest_rest(guest);
    memcpy(moment, guest_model(guest), GUEST_DISK);
    if (backup_start(&options, &err) < 0)
        fail_msg("%s", err.message);
    guest_go_on(guest);
}

static void cancel(const char *id)
{
    struct job *job = job_find(id);
    assert_non_null(job);
    assert_int_equal(job_cancel(job, true, NULL), 0);
    assert_int_equal(job_wait(job, JOB_NULL, 30), 0);
    job_put(job);
}

static void a_full_backup_is_the_disk_of_one_moment(void **state)
{
    open_pair();
    struct guest *guest = guest_start(source, model);
    for (int i = 0; i < 3; i++) {
        guest_wait(guest, 100);
        start(guest, (struct backup_options){.job = {.speed = i == 1 ? MIB(30) : 0}});
        assert_string_equal(expect_end("b", JOB_EVENT_COMPLETED), "");
        expect_content(target, moment);
    }
    close_pair(guest);
}

static void a_compressed_backup_is_the_same(void **state)
{
    open_pair();
    struct guest *guest = guest_start(source, model);
    start(guest, (struct backup_options){.compress = true});
    assert_string_equal(expect_end("b", JOB_EVENT_COMPLETED), "");
    expect_content(target, moment);
    close_pair(guest);
}

static void the_top_layer_over_the_same_base_is_the_disk(void **state)
{
    open_pair();
    struct guest *guest = guest_start(source, model);
    guest_wait(guest, 100);
    start(guest, (struct backup_options){.sync = JOB_SYNC_TOP});
    assert_string_equal(expect_end("b", JOB_EVENT_COMPLETED), "");
    assert_int_equal(block_set_backing(target, block_backing(source), NULL), 0);
    expect_content(target, moment);
    close_pair(guest);
}

static void increments_by_a_bitmap(bool persistent)
{
    struct kv_error err = {0};
    open_pair();
    assert_int_equal(block_bitmap_add(source, "b0", KIB(64), persistent, true, &err), 0);
    struct guest *guest = guest_start(source, model);
    start(guest, (struct backup_options){.sync = JOB_SYNC_FULL, .bitmap = "b0"});
    expect_end("b", JOB_EVENT_COMPLETED);
    expect_content(target, moment);
    for (int i = 0; i < 4; i++) {
        guest_wait(guest, 40);
        /* One that is cancelled loses nothing of what the next one needs. */
        if (i & 1) {
            start(guest, (struct backup_options){.sync = JOB_SYNC_INCREMENTAL,
                                                 .bitmap = "b0",
                                                 .job = {.speed = KIB(256)}});
            cancel("b");
        }
        start(guest, (struct backup_options){.sync = JOB_SYNC_INCREMENTAL, .bitmap = "b0"});
        assert_string_equal(expect_end("b", JOB_EVENT_COMPLETED), "");
        expect_content(target, moment);
    }
    /* Differential: the bitmap keeps what it has. */
    start(guest, (struct backup_options){
                     .sync = JOB_SYNC_BITMAP, .bitmap = "b0", .bitmap_mode = JOB_BITMAP_NEVER});
    assert_string_equal(expect_end("b", JOB_EVENT_COMPLETED), "");
    start(guest, (struct backup_options){
                     .sync = JOB_SYNC_BITMAP, .bitmap = "b0", .bitmap_mode = JOB_BITMAP_ALWAYS});
    assert_string_equal(expect_end("b", JOB_EVENT_COMPLETED), "");
    expect_content(target, moment);
    assert_int_equal(block_bitmap_remove(source, "b0", &err), 0);
    close_pair(guest);
}

static void increments_by_a_bitmap_in_memory_add_up(void **state)
{
    increments_by_a_bitmap(false);
}

static void increments_by_a_persistent_bitmap_add_up(void **state)
{
    increments_by_a_bitmap(true);
}

/* ------------------------------------------------------------------------- pull */

static void a_target_that_stands_on_the_disk_shows_the_moment(void **state)
{
    open_pair();
    block_close(target);
    disk_create("target", NULL);
    char json[500];
    snprintf(json, sizeof(json),
             "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s\"},"
             "\"backing\":\"source\"}",
             disk_path("target"));
    target = disk_open_json(json);
    struct guest *guest = guest_start(source, model);
    guest_wait(guest, 100);
    start(guest, (struct backup_options){.sync = JOB_SYNC_NONE});
    for (int i = 0; i < 15; i++) {
        guest_wait(guest, 30);
        expect_content(target, moment);
    }
    cancel("b");
    guest_wait(guest, 50);
    guest_rest(guest);
    assert_ptr_equal(block_backing(target), source);
    guest_go_on(guest);
    close_pair(guest);
}

static void snapshot_access_shows_the_moment_of_its_filter(void **state)
{
    char json[300];
    struct kv_error err = {0};
    struct block_node *filter;
    open_pair();
    struct guest *guest = guest_start(source, model);
    guest_wait(guest, 100);
    guest_rest(guest);
    memcpy(moment, guest_model(guest), GUEST_DISK);
    json_t *description = json_pack("{s:s, s:s, s:s}", "driver", "copy-before-write", "target",
                                    "target", "node-name", "cbw");
    assert_int_equal(block_graph_insert_filter(source, description, &filter, &err), 0);
    json_decref(description);
    guest_go_on(guest);
    snprintf(json, sizeof(json),
             "{\"driver\":\"snapshot-access\",\"file\":\"cbw\","
             "\"read-only\":true}");
    struct block_node *access = disk_open_json(json);
    for (int i = 0; i < 15; i++) {
        guest_wait(guest, 30);
        expect_content(access, moment);
    }
    block_close(access);
    assert_int_equal(block_graph_remove_filter(filter, &err), 0);
    block_close(filter);
    close_pair(guest);
}

/* ----------------------------------------------------------------------- errors */

static void open_failing_target(const char *rule)
{
    char json[1000];
    block_close(target);
    snprintf(json, sizeof(json),
             "{\"driver\":\"blkdebug\",\"node-name\":\"bad\",\"image\":{\"driver\":\"qcow2\","
             "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}},\"inject-error\":[%s]}",
             disk_path("target"), rule);
    target = disk_open_json(json);
}

static void a_target_that_fails_ends_the_backup_and_not_the_guest(void **state)
{
    open_pair();
    open_failing_target("{\"iotype\":\"write\",\"errno\":28,\"skip\":5}");
    struct guest *guest = guest_start(source, model);
    start(guest, (struct backup_options){.sync = JOB_SYNC_NONE});
    assert_string_equal(expect_end("b", JOB_EVENT_COMPLETED),
                        "what the guest overwrote could not be copied to 'bad': No space left on "
                        "device");
    guest_wait(guest, 100);
    close_pair(guest);
}

static void a_full_target_stops_the_backup_which_goes_on_later(void **state)
{
    open_pair();
    open_failing_target("{\"iotype\":\"write\",\"errno\":28,\"skip\":3,\"once\":true}");
    struct guest *guest = guest_start(source, model);
    guest_rest(guest);
    struct backup_options options = {
        .job = {.id = "b", .on_target_error = JOB_ON_ERROR_ENOSPC},
        .source = source,
        .target = target,
    };
    assert_int_equal(backup_start(&options, NULL), 0);
    expect_job("b", JOB_PAUSED);
    struct job *job = job_find("b");
    assert_int_equal(job_resume(job, NULL), 0);
    assert_string_equal(expect_end("b", JOB_EVENT_COMPLETED), "");
    job_put(job);
    expect_content(target, guest_model(guest));
    guest_go_on(guest);
    close_pair(guest);
}

static void jobs_of_a_transaction_fail_together(void **state)
{
    open_pair();
    disk_create("source2", NULL);
    disk_create("target2", NULL);
    struct block_node *source2 = disk_open("source2", NULL), *target2 = disk_open("target2", NULL);
    struct job_txn *txn = job_txn_create();
    struct backup_options one = {
        .job = {.id = "b1", .txn = txn}, .source = source, .target = target};
    struct backup_options two = {.job = {.id = "b2", .txn = txn},
                                 .source = source2,
                                 .target = target2,
                                 .sync = JOB_SYNC_NONE};
    unsigned cancelled = events_of(JOB_EVENT_CANCELLED);
    assert_int_equal(backup_start(&one, NULL), 0);
    assert_int_equal(backup_start(&two, NULL), 0);
    job_txn_put(txn);
    expect_job("b1", JOB_WAITING);
    cancel("b2");
    expect_end("b1", JOB_EVENT_CANCELLED);
    assert_int_equal(events_of(JOB_EVENT_CANCELLED), cancelled + 2);
    block_close(source2);
    block_close(target2);
    close_pair(guest_start(source, model));
}

static void cancelling_at_any_moment_leaves_the_guest_alone(void **state)
{
    open_pair();
    struct guest *guest = guest_start(source, model);
    for (int i = 0; i < 20; i++) {
        start(guest, (struct backup_options){.job = {.speed = MIB(20)},
                                             .sync = i & 1 ? JOB_SYNC_FULL : JOB_SYNC_TOP});
        usleep((useconds_t)(rand() % 15000));
        struct job *job = job_find("b");
        if (job) {
            job_cancel(job, true, NULL);
            assert_int_equal(job_wait(job, JOB_NULL, 30), 0);
        }
        job_put(job);
    }
    close_pair(guest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_backup_is_the_disk_of_one_moment),
        cmocka_unit_test(a_compressed_backup_is_the_same),
        cmocka_unit_test(the_top_layer_over_the_same_base_is_the_disk),
        cmocka_unit_test(increments_by_a_bitmap_in_memory_add_up),
        cmocka_unit_test(increments_by_a_persistent_bitmap_add_up),
        cmocka_unit_test(a_target_that_stands_on_the_disk_shows_the_moment),
        cmocka_unit_test(snapshot_access_shows_the_moment_of_its_filter),
        cmocka_unit_test(a_target_that_fails_ends_the_backup_and_not_the_guest),
        cmocka_unit_test(a_full_target_stops_the_backup_which_goes_on_later),
        cmocka_unit_test(jobs_of_a_transaction_fail_together),
        cmocka_unit_test(cancelling_at_any_moment_leaves_the_guest_alone),
    };
    events_listen();
    return cmocka_run_group_tests(tests, disks_setup, disks_teardown);
}
