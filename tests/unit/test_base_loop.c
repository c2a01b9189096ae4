/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/iothread.h"
#include "base/loop.h"
#include "base/util.h"
#include "unit.h"

static struct loop loop;
static int order[8], order_len;

static void stop_loop(void *opaque)
{
    loop_stop(&loop);
}

static void note(void *opaque)
{
    order[order_len++] = (int)(intptr_t)opaque;
}

static void timers_fire_in_the_order_of_their_deadlines(void **state)
{
    struct loop_timer t[4] = {0};
    order_len = 0;
    assert_int_equal(loop_init(&loop, NULL), 0);
    loop_timer_arm(&loop, &t[0], 3000000, note, (void *)3);
    loop_timer_arm(&loop, &t[1], 1000000, note, (void *)1);
    loop_timer_arm(&loop, &t[2], 2000000, note, (void *)2);
    loop_timer_cancel(&t[2]);
    loop_timer_arm(&loop, &t[3], 4000000, stop_loop, NULL);
    loop_run(&loop);
    assert_int_equal(order_len, 2);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 3);
    loop_destroy(&loop);
}

static struct loop_source readers[2];

static void remove_both(void *opaque, uint32_t events)
{
    order_len++;
    loop_remove(&readers[0]);
    loop_remove(&readers[1]);
    loop_stop(&loop);
}

static void a_source_removed_in_a_callback_is_not_called_again(void **state)
{
    int a[2], b[2];
    order_len = 0;
    assert_int_equal(pipe(a) | pipe(b), 0);
    assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
    assert_int_equal(loop_init(&loop, NULL), 0);
    assert_int_equal(loop_add(&loop, &readers[0], a[0], EPOLLIN, remove_both, NULL), 0);
    assert_int_equal(loop_add(&loop, &readers[1], b[0], EPOLLIN, remove_both, NULL), 0);
    loop_run(&loop);
    assert_int_equal(order_len, 1);
    loop_destroy(&loop);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static void add_one(void *opaque)
{
    ++*(int *)opaque;
}

static void calls_from_another_thread_are_done_when_they_return(void **state)
{
    struct iothread thread;
    int count = 0;
    assert_int_equal(iothread_init(&thread, "test", NULL), 0);
    loop_call(&thread.loop, add_one, &count);
    assert_int_equal(count, 1);
    assert_int_equal(iothread_start(&thread, NULL), 0);
    for (int i = 2; i <= 1000; i++) {
        loop_call(&thread.loop, add_one, &count);
        assert_int_equal(count, i);
    }
    iothread_stop(&thread);
}

static void work_posted_twice_before_it_ran_runs_once(void **state)
{
    int count = 0;
    struct loop_work work = {.fn = add_one, .opaque = &count};
    struct loop_work stop = {.fn = stop_loop};
    assert_int_equal(loop_init(&loop, NULL), 0);
    loop_post(&loop, &work);
    loop_post(&loop, &work);
    loop_post(&loop, &stop);
    loop_run(&loop);
    assert_int_equal(count, 1);
    loop_destroy(&loop);
}

static void nothing(void *opaque)
{
}

static struct loop_work late = {.fn = nothing};

static void post_and_stop(void *opaque, uint32_t events)
{
    loop_post(&loop, &late);
    loop_stop(&loop);
}

/* The one wake-up is taken by the batch in which both were asked for. */
static void a_stop_with_work_beside_it_ends_the_loop(void **state)
{
    struct loop_source source = LOOP_SOURCE_INIT;
    struct loop_work early = {.fn = nothing};
    int fd = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(loop_init(&loop, NULL), 0);
    assert_int_equal(loop_add(&loop, &source, fd, EPOLLIN, post_and_stop, NULL), 0);
    loop_post(&loop, &early);
    alarm(10);
    loop_run(&loop);
    alarm(0);
    loop_remove(&source);
    close(fd);
    loop_destroy(&loop);
}

static void cancelled_work_does_not_run(void **state)
{
    int count = 0;
    struct loop_work work = {.fn = add_one, .opaque = &count};
    struct loop_work stop = {.fn = stop_loop};
    assert_int_equal(loop_init(&loop, NULL), 0);
    loop_post(&loop, &work);
    loop_post(&loop, &stop);
    loop_unpost(&loop, &work);
    loop_unpost(&loop, &work);
    loop_run(&loop);
    assert_int_equal(count, 0);
    loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_the_order_of_their_deadlines),
        cmocka_unit_test(a_source_removed_in_a_callback_is_not_called_again),
        cmocka_unit_test(calls_from_another_thread_are_done_when_they_return),
        cmocka_unit_test(work_posted_twice_before_it_ran_runs_once),
        cmocka_unit_test(a_stop_with_work_beside_it_ends_the_loop),
        cmocka_unit_test(cancelled_work_does_not_run),
    };
    return cmocka_run_group_tests_name("base_loop", tests, NULL, NULL);
}
