/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forwarding threads; see forward.h. */
#include "switch/forward/forward.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/iothread.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "switch/forward/shaper.h"

#define SPIN_NS INT64_C(100000)        /* a port without work is polled for so long */
#define EVENTS_EVERY_NS INT64_C(20000) /* while some ports are busy and others are not */
#define EVENT_BATCH 64
#define COSTLY_FRAMES 16 /* of a burst, that anybody may send */
#define REST_TIMES 15

/* How often ports that tell nothing are looked at: less and less often while nothing is found. */
#define LOOK_MIN_NS INT64_C(1000000)
#define LOOK_MAX_NS INT64_C(32000000)

int forward_init(struct forward *forward, int core, struct kv_error *err)
{
    *forward =
        (struct forward){.epoll_fd = -1, .wake_fd = -1, .core = core, .look_ns = LOOK_MIN_NS};
    forward->now_ns = clock_monotonic_ns();
    forward->now_s = (uint32_t)(forward->now_ns / 1000000000);
    forward->notifier.null_fd = -1;
    list_init(&forward->active);
    list_init(&forward->costly);
    list_init(&forward->shaped);
    list_init(&forward->looked);
    pthread_mutex_init(&forward->lock, NULL);
    pthread_cond_init(&forward->done, NULL);
    forward->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    forward->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Its event has no port. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (forward->epoll_fd < 0 || forward->wake_fd < 0 ||
        epoll_ctl(forward->epoll_fd, EPOLL_CTL_ADD, forward->wake_fd, &event) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "descriptors of the forwarding thread");
    return notifier_init(&forward->notifier, err);
}

/* --- Ports that are polled, ports that sleep ----------------------------- */

void forward_add_port(struct forward *forward, struct port *port)
{
    port->forward = forward;
    port->polled = port->notify = false;
    list_init(&port->active);
    forward->asleep++;
    forward_wake_port(port);
}

void forward_remove_port(struct forward *forward, struct port *port)
{
    /* It is on the list of active ones, on the one of those looked at, or on none. */
    list_del(&port->active);
    if (!port->polled)
        forward->asleep--;
    port->polled = false;
}

void forward_wake_port(struct port *port)
{
    struct forward *forward = port->forward;
    port->busy_ns = forward->now_ns;
    if (port->polled)
        return;
    forward->asleep--;
    port->polled = true;
    list_del(&port->active);
    list_add_tail(&forward->active, &port->active);
    port->ops->wake(port);
}

int forward_watch(struct forward *forward, struct port *port, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = port};
    return epoll_ctl(forward->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void forward_unwatch(struct forward *forward, int fd)
{
    epoll_ctl(forward->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* Of ports that are asleep and whose work has no event. */
static void look(struct forward *forward)
{
    bool found = false;
    list_for_each_safe (node, &forward->looked) {
        struct port *port = list_entry(node, struct port, active);
        if (port->ops->sleep(port) == PORT_HAS_WORK) {
            forward_wake_port(port);
            found = true;
        }
    }
    forward->looked_ns = forward->now_ns;
    forward->look_ns = found ? LOOK_MIN_NS : MIN(2 * forward->look_ns, LOOK_MAX_NS);
}

/* timeout_ms: -1: for good. */
static void take_events(struct forward *forward, int timeout_ms)
{
    struct epoll_event events[EVENT_BATCH];
    int n = epoll_wait(forward->epoll_fd, events, EVENT_BATCH, timeout_ms);
    forward->events_ns = forward->now_ns = clock_monotonic_ns();
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr)
            forward_wake_port(events[i].data.ptr);
    }
    if (!list_empty(&forward->looked) && forward->now_ns - forward->looked_ns >= forward->look_ns)
        look(forward);
}

/* --- Telling ----------------------------------------------------------------- */

static void notify(struct forward *forward)
{
    /* What was given is seen before we look whether somebody wants to be told (virtio 1.2, 2.7.7).
     */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < forward->notify_count; i++) {
        forward->notify[i]->ops->notify(forward->notify[i]);
        forward->notify[i]->notify = false;
    }
    forward->notify_count = 0;
    if (forward->notifier.count)
        notifier_flush(&forward->notifier);
}

void forward_notify_later(struct port *port)
{
    struct forward *forward = port->forward;
    if (port->notify)
        return;
    if (forward->notify_count == FORWARD_NOTIFY_MAX)
        notify(forward);
    port->notify = true;
    forward->notify[forward->notify_count++] = port;
}

/* --- Rounds --------------------------------------------------------------- */

static void fall_asleep(struct forward *forward, struct port *port)
{
    enum port_sleep sleep = port->ops->sleep(port);
    if (sleep == PORT_HAS_WORK)
        return;
    list_del(&port->active);
    port->polled = false;
    forward->asleep++;
    if (sleep == PORT_NEEDS_LOOK) {
        list_add_tail(&forward->looked, &port->active);
        forward->look_ns = LOOK_MIN_NS;
        forward->looked_ns = forward->now_ns;
    }
}

static void release_shaped(struct forward *forward)
{
    list_for_each_safe (node, &forward->shaped)
        shaper_release(list_entry(node, struct shaper, node));
}

static void tell_all(struct forward *forward)
{
    if (!list_empty(&forward->shaped))
        release_shaped(forward);
    if (forward->notify_count)
        notify(forward);
}

static void move_port(struct port *port, struct list *list)
{
    list_del(&port->active);
    list_add_tail(list, &port->active);
}

/* True: the port has work. */
static bool poll_port(struct forward *forward, struct port *port)
{
    if (port->ops->poll(port)) {
        port->busy_ns = forward->now_ns;
        return true;
    }
    if (forward->now_ns - port->busy_ns > SPIN_NS)
        fall_asleep(forward, port);
    return false;
}

/* Ports that send many costly frames (to all, from new stations, of new connections) are polled
 * after the others. Where these have work, they get a sixteenth of the time between them: what the
 * frames cost is measured, with all that they have others told, and then they rest until the others
 * had 15 times as long. Their guests wait meanwhile; nothing is lost. */
static bool poll_costly(struct forward *forward, bool useful)
{
    bool worked = false;
    int64_t begin_ns = clock_monotonic_ns();
    forward->others_ns += begin_ns - forward->now_ns;
    if (useful && forward->others_ns < REST_TIMES * forward->costly_ns)
        return true;
    forward->now_ns = begin_ns;
    list_for_each_safe (node, &forward->costly) {
        struct port *port = list_entry(node, struct port, active);
        port->costly /= 2;
        worked |= poll_port(forward, port);
        if (port->polled && port->costly == 0)
            move_port(port, &forward->active);
    }
    tell_all(forward);
    forward->costly_ns = clock_monotonic_ns() - begin_ns;
    forward->others_ns = 0;
    return worked;
}

bool forward_round(struct forward *forward)
{
    bool worked = false;
    forward->now_ns = clock_monotonic_ns();
    forward->now_s = (uint32_t)(forward->now_ns / 1000000000);
    list_for_each_safe (node, &forward->active) {
        struct port *port = list_entry(node, struct port, active);
        port->costly = 0;
        worked |= poll_port(forward, port);
        if (__builtin_expect(port->costly > COSTLY_FRAMES, 0))
            move_port(port, &forward->costly);
    }
    tell_all(forward);
    if (__builtin_expect(!list_empty(&forward->costly), 0))
        worked |= poll_costly(forward, worked);
    return worked;
}

static void run_task(struct forward *forward)
{
    struct forward_task *task = atomic_exchange(&forward->task, NULL);
    if (!task)
        return;
    task->fn(task->opaque);
    forward->changes++;
    if (forward->notify_count)
        notify(forward);
    pthread_mutex_lock(&forward->lock);
    forward->finished = true;
    pthread_cond_signal(&forward->done);
    pthread_mutex_unlock(&forward->lock);
}

/* In milliseconds; -1: for good. */
static int sleep_at_most(const struct forward *forward)
{
    if (!list_empty(&forward->shaped))
        return (int)(SHAPER_PAUSE_NS / 1000000);
    return list_empty(&forward->looked) ? -1 : (int)(forward->look_ns / 1000000);
}

static void sleep_until_event(struct forward *forward)
{
    atomic_store(&forward->sleeping, true);
    /* Whoever hands a task over either sees that we sleep, or we see the task. */
    if (!atomic_load(&forward->task))
        take_events(forward, sleep_at_most(forward));
    atomic_store(&forward->sleeping, false);
}

static void *thread_main(void *opaque)
{
    struct forward *forward = opaque;
    pthread_setname_np(pthread_self(), "forward");
    thread_enter(THREAD_IO);
    while (!forward->stop) {
        if (atomic_load_explicit(&forward->task, memory_order_acquire)) {
            run_task(forward);
            continue;
        }
        if (list_empty(&forward->active) && list_empty(&forward->costly)) {
            sleep_until_event(forward);
            if (list_empty(&forward->shaped))
                continue;
        }
        forward_round(forward);
        if (forward->asleep && forward->now_ns - forward->events_ns > EVENTS_EVERY_NS)
            take_events(forward, 0);
    }
    return NULL;
}

/* --- The control thread's side -------------------------------------------- */

int forward_start(struct forward *forward, struct kv_error *err)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    int rc = 0;
    if (forward->core != FORWARD_CORE_ANY) {
        cpu_set_t cores;
        CPU_ZERO(&cores);
        CPU_SET((unsigned)forward->core, &cores);
        rc = pthread_attr_setaffinity_np(&attributes, sizeof(cores), &cores);
    }
    if (rc == 0) {
        sigset_t all, old;
        sigfillset(&all);
        sigdelset(&all, SIGBUS);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        rc = pthread_create(&forward->thread, &attributes, thread_main, forward);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    pthread_attr_destroy(&attributes);
    if (rc != 0) {
        return forward->core == FORWARD_CORE_ANY
                   ? kv_error_errno(err, KV_ERR_NET, rc, "forwarding thread")
                   : kv_error_errno(err, KV_ERR_NET, rc, "forwarding thread on core %d",
                                    forward->core);
    }
    forward->started = true;
    return 0;
}

void forward_run(struct forward *forward, void (*fn)(void *opaque), void *opaque)
{
    struct forward_task task = {fn, opaque};
    if (!forward->started) {
        fn(opaque);
        forward->changes++;
        return;
    }
    forward->finished = false;
    atomic_store(&forward->task, &task);
    if (atomic_load(&forward->sleeping))
        eventfd_write(forward->wake_fd, 1);
    pthread_mutex_lock(&forward->lock);
    while (!forward->finished)
        pthread_cond_wait(&forward->done, &forward->lock);
    pthread_mutex_unlock(&forward->lock);
}

static void end(void *opaque)
{
    struct forward *forward = opaque;
    forward->stop = true;
}

void forward_stop(struct forward *forward)
{
    if (!forward->started)
        return;
    forward_run(forward, end, forward);
    pthread_join(forward->thread, NULL);
    forward->started = forward->stop = false;
}

void forward_destroy(struct forward *forward)
{
    forward_stop(forward);
    if (forward->epoll_fd >= 0)
        close(forward->epoll_fd);
    if (forward->wake_fd >= 0)
        close(forward->wake_fd);
    notifier_destroy(&forward->notifier);
    pthread_cond_destroy(&forward->done);
    pthread_mutex_destroy(&forward->lock);
}
