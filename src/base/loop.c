/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop; see loop.h. */
#include "base/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

int64_t clock_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void wake_drain(void *opaque, uint32_t events)
{
    struct loop *loop = opaque;
    uint64_t count;
    ssize_t ignored = read(loop->wake_fd, &count, sizeof(count));
    (void)ignored;
}

static void wake(struct loop *loop)
{
    uint64_t one = 1;
    ssize_t ignored = write(loop->wake_fd, &one, sizeof(one));
    (void)ignored; /* EAGAIN: the counter is full, so the loop wakes anyway */
}

int loop_init(struct loop *loop, struct kv_error *err)
{
    *loop = (struct loop){.epoll_fd = -1, .wake_fd = -1, .wake = LOOP_SOURCE_INIT};
    list_init(&loop->timers);
    list_init(&loop->work);
    pthread_mutex_init(&loop->lock, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = -errno;
    if (loop->epoll_fd >= 0 && loop->wake_fd >= 0)
        rc = loop_add(loop, &loop->wake, loop->wake_fd, EPOLLIN, wake_drain, loop);
    if (rc < 0) {
        loop_destroy(loop);
        return kv_error_errno(err, KV_ERR_BASE, -rc, "event loop");
    }
    return 0;
}

void loop_destroy(struct loop *loop)
{
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    loop->epoll_fd = loop->wake_fd = -1;
    pthread_mutex_destroy(&loop->lock);
}

bool loop_is_mine(const struct loop *loop)
{
    return !atomic_load(&loop->running) || pthread_equal(loop->thread, pthread_self());
}

/* The loop's own thread looks for work and for the end before it waits. So does one that begins to
 * run after this looked: it says that it runs before it looks. */
static void wake_others(struct loop *loop)
{
    if (!loop_is_mine(loop))
        wake(loop);
}

int loop_add(struct loop *loop, struct loop_source *source, int fd, uint32_t events,
             void (*fn)(void *opaque, uint32_t events), void *opaque)
{
    struct epoll_event ev = {.events = events, .data.ptr = source};
    *source =
        (struct loop_source){.loop = loop, .fd = fd, .events = events, .fn = fn, .opaque = opaque};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        source->loop = NULL;
        return -errno;
    }
    return 0;
}

int loop_modify(struct loop_source *source, uint32_t events)
{
    if (source->events == events)
        return 0;
    struct epoll_event ev = {.events = events, .data.ptr = source};
    if (epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &ev) < 0)
        return -errno;
    source->events = events;
    return 0;
}

void loop_remove(struct loop_source *source)
{
    struct loop *loop = source->loop;
    if (!loop)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    for (int i = loop->batch_pos; i < loop->batch_len; i++) {
        if (loop->batch[i].data.ptr == source)
            loop->batch[i].data.ptr = NULL;
    }
    source->loop = NULL;
}

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, int64_t delay_ns,
                    void (*fn)(void *opaque), void *opaque)
{
    loop_timer_cancel(timer);
    timer->loop = loop;
    timer->deadline_ns = clock_monotonic_ns() + delay_ns;
    timer->fn = fn;
    timer->opaque = opaque;
    struct list *before = &loop->timers;
    list_for_each (pos, &loop->timers) {
        if (list_entry(pos, struct loop_timer, node)->deadline_ns > timer->deadline_ns) {
            before = pos;
            break;
        }
    }
    list_add_tail(before, &timer->node);
}

void loop_timer_cancel(struct loop_timer *timer)
{
    if (!timer->loop)
        return;
    list_del(&timer->node);
    timer->loop = NULL;
}

static void run_timers(struct loop *loop)
{
    int64_t now = clock_monotonic_ns();
    while (!list_empty(&loop->timers)) {
        struct loop_timer *timer = list_entry(loop->timers.next, struct loop_timer, node);
        if (timer->deadline_ns > now)
            return;
        loop_timer_cancel(timer);
        timer->fn(timer->opaque);
    }
}

static bool run_work(struct loop *loop)
{
    bool any = false;
    pthread_mutex_lock(&loop->lock);
    while (!list_empty(&loop->work)) {
        struct loop_work *work = list_entry(loop->work.next, struct loop_work, node);
        list_del(&work->node);
        work->queued = false;
        pthread_mutex_unlock(&loop->lock);
        work->fn(work->opaque);
        any = true;
        pthread_mutex_lock(&loop->lock);
    }
    pthread_mutex_unlock(&loop->lock);
    return any;
}

/* Waits with nanosecond precision where the kernel has epoll_pwait2 (5.11), else rounds up to ms.
 */
static int wait_events(struct loop *loop)
{
    static atomic_bool no_pwait2;
    struct timespec ts, *timeout = NULL;
    int64_t left = -1;

    if (!list_empty(&loop->timers)) {
        left = list_entry(loop->timers.next, struct loop_timer, node)->deadline_ns -
               clock_monotonic_ns();
        left = MAX(left, 0);
        ts = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        timeout = &ts;
    }
    if (!timeout)
        return epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, -1);
#ifdef SYS_epoll_pwait2
    if (!atomic_load(&no_pwait2)) {
        int n = (int)syscall(SYS_epoll_pwait2, loop->epoll_fd, loop->batch, LOOP_BATCH, timeout,
                             NULL, 0);
        if (n >= 0 || errno != ENOSYS)
            return n;
        atomic_store(&no_pwait2, true);
    }
#endif
    return epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH,
                      (int)MIN((left + 999999) / 1000000, INT64_C(60000)));
}

void loop_run(struct loop *loop)
{
    loop->thread = pthread_self();
    atomic_store(&loop->running, true);
    while (run_work(loop) || !atomic_load(&loop->stopping)) {
        /* There was work and a stop: the wake-up for both may have been taken already. */
        if (atomic_load(&loop->stopping))
            continue;
        int n = wait_events(loop);
        loop->batch_len = MAX(n, 0);
        for (loop->batch_pos = 0; loop->batch_pos < loop->batch_len;) {
            struct epoll_event *ev = &loop->batch[loop->batch_pos++];
            struct loop_source *source = ev->data.ptr;
            if (source)
                source->fn(source->opaque, ev->events);
        }
        loop->batch_len = 0;
        run_timers(loop);
    }
    atomic_store(&loop->running, false);
    atomic_store(&loop->stopping, false);
    run_work(loop);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopping, true);
    wake_others(loop);
}

void loop_post(struct loop *loop, struct loop_work *work)
{
    pthread_mutex_lock(&loop->lock);
    bool first = list_empty(&loop->work);
    if (!work->queued) {
        work->queued = true;
        list_add_tail(&loop->work, &work->node);
    }
    pthread_mutex_unlock(&loop->lock);
    if (first)
        wake_others(loop);
}

void loop_unpost(struct loop *loop, struct loop_work *work)
{
    pthread_mutex_lock(&loop->lock);
    if (work->queued)
        list_del(&work->node);
    work->queued = false;
    pthread_mutex_unlock(&loop->lock);
}

struct call {
    void (*fn)(void *opaque);
    void *opaque;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void call_run(void *opaque)
{
    struct call *call = opaque;
    call->fn(call->opaque);
    pthread_mutex_lock(&call->lock);
    call->done = true;
    pthread_cond_signal(&call->cond);
    pthread_mutex_unlock(&call->lock);
}

void loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
    if (loop_is_mine(loop)) {
        fn(opaque);
        return;
    }
    struct call call = {.fn = fn, .opaque = opaque};
    struct loop_work work = {.fn = call_run, .opaque = &call};
    pthread_mutex_init(&call.lock, NULL);
    pthread_cond_init(&call.cond, NULL);
    loop_post(loop, &work);
    pthread_mutex_lock(&call.lock);
    while (!call.done)
        pthread_cond_wait(&call.cond, &call.lock);
    pthread_mutex_unlock(&call.lock);
    pthread_cond_destroy(&call.cond);
    pthread_mutex_destroy(&call.lock);
}
