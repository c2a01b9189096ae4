/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mirrors under a writing guest: pivot, copies of a moment, errors, speed, both copy modes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "block/nbd_server.h"
#include "job_guest.h"
#include "unit.h"

static uint8_t model[GUEST_DISK];
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

static void close_pair(void)
{
    block_close(source);
    block_close(target);
    disk_assert_sound("source");
    disk_assert_sound("target");
}

static struct job *start(struct mirror_options options)
{
    struct kv_error err = {0};
    options.job.id = "m";
    options.source = source;
    options.target = target;
    if (mirror_start(&options, &err) < 0)
        fail_msg("%s", err.message);
    struct job *job = job_find("m");
    assert_non_null(job);
    return job;
}

static void pivot_keeps_every_write(enum job_copy_mode mode)
{
    open_pair();
    struct guest *guest = guest_start(source, model);
    struct job *job = start((struct mirror_options){.copy_mode = mode});
    guest_wait(guest, 500);
    expect_job("m", JOB_READY);
    guest_wait(guest, 500);
    assert_int_equal(job_complete(job, NULL), 0);
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "");
    job_put(job);
    guest_wait(guest, 500);
    guest_stop(guest);
    assert_ptr_equal(guest_node(guest), target);
    expect_content(target, guest_model(guest));
    guest_free(guest);
    close_pair();
}

static void a_guest_goes_on_on_the_target(void **state)
{
    pivot_keeps_every_write(JOB_COPY_BACKGROUND);
}

static void a_guest_whose_writes_go_to_both_goes_on_on_the_target(void **state)
{
    pivot_keeps_every_write(JOB_COPY_WRITE_BLOCKING);
}

static void write_blocking_can_be_switched_on_later(void **state)
{
    open_pair();
    struct guest *guest = guest_start(source, model);
    struct job *job = start((struct mirror_options){0});
    struct job_info info;
    expect_job("m", JOB_READY);
    assert_int_equal(job_set_copy_mode(job, JOB_COPY_WRITE_BLOCKING, NULL), 0);
    for (int i = 0; i < 1000; i++) {
        job_get_info(job, &info);
        if (info.actively_synced)
            break;
        usleep(1000);
    }
    assert_true(info.actively_synced);
    guest_wait(guest, 300);
    assert_int_equal(job_complete(job, NULL), 0);
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "");
    job_put(job);
    guest_stop(guest);
    expect_content(target, guest_model(guest));
    guest_free(guest);
    close_pair();
}

static void cancelled_when_ready_the_target_is_of_one_moment(void **state)
{
    open_pair();
    struct guest *guest = guest_start(source, model);
    struct job *job = start((struct mirror_options){0});
    expect_job("m", JOB_READY);
    guest_wait(guest, 300);
    guest_rest(guest);
    assert_int_equal(job_cancel(job, false, NULL), 0);
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "");
    job_put(job);
    assert_ptr_equal(guest_node(guest), source);
    expect_content(target, guest_model(guest));
    uint8_t *moment = malloc(GUEST_DISK);
    memcpy(moment, guest_model(guest), GUEST_DISK);
    guest_go_on(guest);
    guest_wait(guest, 300);
    guest_stop(guest);
    expect_content(target, moment);
    expect_content(source, guest_model(guest));
    free(moment);
    guest_free(guest);
    close_pair();
}

static void cancelling_at_any_moment_leaves_the_guest_alone(void **state)
{
    open_pair();
    struct guest *guest = guest_start(source, model);
    for (int i = 0; i < 30; i++) {
        struct job *job = start((struct mirror_options){.copy_mode = i & 1 ? JOB_COPY_WRITE_BLOCKING
                                                                           : JOB_COPY_BACKGROUND,
                                                        .job = {.speed = i & 2 ? MIB(40) : 0}});
        usleep((useconds_t)(rand() % 20000));
        job_cancel(job, true, NULL);
        expect_end("m", JOB_EVENT_CANCELLED);
        job_put(job);
    }
    guest_stop(guest);
    assert_ptr_equal(guest_node(guest), source);
    expect_content(source, guest_model(guest));
    guest_free(guest);
    close_pair();
}

static void only_the_top_layer_is_copied_with_sync_top(void **state)
{
    open_pair();
    struct kv_error err = {0};
    struct guest *guest = guest_start(source, model);
    struct job *job = start((struct mirror_options){.sync = JOB_SYNC_TOP});
    expect_job("m", JOB_READY);
    /* As who manages it does before it goes on there: the target stands on the same base. */
    assert_int_equal(block_snapshot(block_backing(source), target, &err), 0);
    assert_int_equal(job_complete(job, NULL), 0);
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "");
    job_put(job);
    guest_wait(guest, 200);
    guest_stop(guest);
    assert_ptr_equal(guest_node(guest), target);
    expect_content(target, guest_model(guest));
    guest_free(guest);
    close_pair();
}

/* As disks go to another host: the target is what a server there exports. */
static void the_target_may_be_behind_an_nbd_server(void **state)
{
    char json[400];
    struct kv_error err = {0};
    struct nbd_server *server;
    open_pair();
    struct block_node *exported = target;
    const struct nbd_export_options export = {.name = "disk", .node = exported};
    assert_int_equal(nbd_server_create(&server, &(struct nbd_server_options){0}, &err), 0);
    assert_int_equal(nbd_server_add_export(server, &export, &err), 0);
    assert_int_equal(nbd_server_listen_unix(server, disk_path("socket"), &err), 0);
    snprintf(json, sizeof(json),
             "{\"driver\":\"raw\",\"file\":{\"driver\":\"nbd\",\"export\":\"disk\",\"server\":{"
             "\"type\":\"unix\",\"path\":\"%s\"}}}",
             disk_path("socket"));
    target = disk_open_json(json);
    struct guest *guest = guest_start(source, model);
    struct job *job = start((struct mirror_options){.copy_mode = JOB_COPY_WRITE_BLOCKING});
    expect_job("m", JOB_READY);
    assert_int_equal(job_complete(job, NULL), 0);
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "");
    job_put(job);
    guest_wait(guest, 200);
    guest_stop(guest);
    assert_ptr_equal(guest_node(guest), target);
    expect_content(exported, guest_model(guest));
    guest_free(guest);
    block_close(target);
    nbd_server_free(server);
    target = exported;
    close_pair();
}

static void speed_is_a_limit_that_can_change(void **state)
{
    open_pair();
    int64_t start_ns = clock_monotonic_ns();
    struct job *job = start((struct mirror_options){.job = {.speed = MIB(1)}});
    usleep(700000);
    struct job_info info;
    job_get_info(job, &info);
    assert_int_equal(info.status, JOB_RUNNING);
    assert_in_range(info.current, 1, MIB(3));
    assert_int_equal(job_set_speed(job, 0, NULL), 0);
    expect_job("m", JOB_READY);
    assert_true(clock_monotonic_ns() - start_ns < INT64_C(4000000000));
    job_cancel(job, true, NULL);
    expect_end("m", JOB_EVENT_CANCELLED);
    job_put(job);
    close_pair();
}

static void a_paused_job_does_nothing_until_it_is_resumed(void **state)
{
    open_pair();
    struct kv_error err = {0};
    struct job_info before, after;
    struct job *job = start((struct mirror_options){.job = {.speed = MIB(4)}});
    assert_int_equal(job_pause(job, NULL), 0);
    assert_true(job_pause(job, &err) < 0);
    assert_string_equal(err.message, "Job is already paused");
    expect_job("m", JOB_PAUSED);
    job_get_info(job, &before);
    usleep(200000);
    job_get_info(job, &after);
    assert_int_equal(before.current, after.current);
    assert_true(job_complete(job, &err) < 0);
    assert_string_equal(err.message,
                        "Job 'm' in state 'paused' cannot accept command verb 'complete'");
    assert_int_equal(job_set_speed(job, 0, NULL), 0);
    assert_int_equal(job_resume(job, NULL), 0);
    expect_job("m", JOB_READY);
    assert_int_equal(job_pause(job, NULL), 0);
    expect_job("m", JOB_STANDBY);
    assert_int_equal(job_resume(job, NULL), 0);
    expect_job("m", JOB_READY);
    job_cancel(job, true, NULL);
    expect_end("m", JOB_EVENT_CANCELLED);
    job_put(job);
    close_pair();
}

/* --------------------------------------------------------------------- errors */

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

static void an_error_fails_the_job_when_it_is_reported(void **state)
{
    open_pair();
    open_failing_target("{\"iotype\":\"write\",\"errno\":5,\"skip\":10}");
    struct guest *guest = guest_start(source, model);
    unsigned errors = events_of(JOB_EVENT_ERROR);
    struct job *job = start((struct mirror_options){0});
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "Input/output error");
    assert_int_equal(events_of(JOB_EVENT_ERROR), errors + 1);
    job_put(job);
    guest_wait(guest, 100);
    guest_stop(guest);
    assert_ptr_equal(guest_node(guest), source);
    expect_content(source, guest_model(guest));
    guest_free(guest);
    close_pair();
}

static void a_full_target_stops_the_job_which_goes_on_later(void **state)
{
    open_pair();
    open_failing_target("{\"iotype\":\"write\",\"errno\":28,\"skip\":10,\"once\":true}");
    struct guest *guest = guest_start(source, model);
    struct job_info info;
    struct job *job =
        start((struct mirror_options){.job = {.on_target_error = JOB_ON_ERROR_ENOSPC}});
    expect_job("m", JOB_PAUSED);
    job_get_info(job, &info);
    assert_true(info.failed_io && info.no_space);
    guest_wait(guest, 100);
    assert_int_equal(job_resume(job, NULL), 0);
    expect_job("m", JOB_READY);
    assert_int_equal(job_complete(job, NULL), 0);
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "");
    job_put(job);
    guest_stop(guest);
    expect_content(target, guest_model(guest));
    guest_free(guest);
    close_pair();
}

static void ignored_errors_are_tried_again(void **state)
{
    open_pair();
    open_failing_target("{\"iotype\":\"write\",\"errno\":5,\"skip\":10,\"once\":true},"
                        "{\"iotype\":\"write\",\"errno\":5,\"skip\":30,\"once\":true}");
    struct job *job =
        start((struct mirror_options){.job = {.on_target_error = JOB_ON_ERROR_IGNORE}});
    expect_job("m", JOB_READY);
    assert_int_equal(job_cancel(job, false, NULL), 0);
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "");
    job_put(job);
    expect_content(target, model);
    close_pair();
}

static void a_target_that_fails_does_not_fail_the_guest(void **state)
{
    open_pair();
    open_failing_target("{\"iotype\":\"write\",\"errno\":5,\"skip\":200}");
    struct guest *guest = guest_start(source, model);
    struct job *job = start((struct mirror_options){.copy_mode = JOB_COPY_WRITE_BLOCKING});
    assert_string_equal(expect_end("m", JOB_EVENT_COMPLETED), "Input/output error");
    job_put(job);
    guest_stop(guest);
    expect_content(source, guest_model(guest));
    guest_free(guest);
    close_pair();
}

/* ----------------------------------------------------------------------- control */

static void what_a_job_uses_no_other_job_takes(void **state)
{
    open_pair();
    struct kv_error err = {0};
    struct job *job = start((struct mirror_options){.job = {.speed = MIB(1)}});
    struct mirror_options again = {.job = {.id = "n"}, .source = source, .target = target};
    assert_int_equal(mirror_start(&again, &err), -EPERM);
    again.job.id = "m";
    assert_int_equal(mirror_start(&again, &err), -EEXIST);
    assert_string_equal(err.message, "Job ID 'm' already in use");
    struct commit_options commit = {.job = {.id = "n"}, .top = source, .base_fd = -1};
    assert_int_equal(commit_start(&commit, &err), -EBUSY);
    assert_string_equal(err.message,
                        "Node 'source' is busy: block device is in use by block job: mirror");
    job_cancel(job, true, NULL);
    expect_end("m", JOB_EVENT_CANCELLED);
    job_put(job);
    close_pair();
}

static void who_manages_it_may_have_the_last_word(void **state)
{
    open_pair();
    struct kv_error err = {0};
    struct job *job =
        start((struct mirror_options){.job = {.manual_finalize = true, .manual_dismiss = true}});
    struct guest *guest = guest_start(source, model);
    expect_job("m", JOB_READY);
    assert_true(job_finalize(job, &err) < 0);
    assert_int_equal(job_complete(job, NULL), 0);
    expect_job("m", JOB_PENDING);
    guest_wait(guest, 300);
    assert_int_equal(job_finalize(job, NULL), 0);
    expect_job("m", JOB_CONCLUDED);
    guest_stop(guest);
    assert_ptr_equal(guest_node(guest), target);
    expect_content(target, guest_model(guest));
    assert_int_equal(job_dismiss(job, NULL), 0);
    assert_null(job_find("m"));
    job_put(job);
    guest_free(guest);
    close_pair();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_goes_on_on_the_target),
        cmocka_unit_test(a_guest_whose_writes_go_to_both_goes_on_on_the_target),
        cmocka_unit_test(write_blocking_can_be_switched_on_later),
        cmocka_unit_test(cancelled_when_ready_the_target_is_of_one_moment),
        cmocka_unit_test(cancelling_at_any_moment_leaves_the_guest_alone),
        cmocka_unit_test(only_the_top_layer_is_copied_with_sync_top),
        cmocka_unit_test(the_target_may_be_behind_an_nbd_server),
        cmocka_unit_test(speed_is_a_limit_that_can_change),
        cmocka_unit_test(a_paused_job_does_nothing_until_it_is_resumed),
        cmocka_unit_test(an_error_fails_the_job_when_it_is_reported),
        cmocka_unit_test(a_full_target_stops_the_job_which_goes_on_later),
        cmocka_unit_test(ignored_errors_are_tried_again),
        cmocka_unit_test(a_target_that_fails_does_not_fail_the_guest),
        cmocka_unit_test(what_a_job_uses_no_other_job_takes),
        cmocka_unit_test(who_manages_it_may_have_the_last_word),
    };
    events_listen();
    return cmocka_run_group_tests(tests, disks_setup, disks_teardown);
}
