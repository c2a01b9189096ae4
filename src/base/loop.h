/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event loop: descriptors (epoll), timers, and work handed over from other
 * threads. One thread runs a loop; all functions are for that thread alone,
 * except loop_post(), loop_call() and loop_stop(), which any thread may use.
 * Before loop_run() the thread that sets the loop up counts as its thread.
 */
#ifndef KV_BASE_LOOP_H
#define KV_BASE_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/error.h"
#include "base/list.h"

struct loop;

/* Watches one descriptor. Embedded in its owner; initialise with LOOP_SOURCE_INIT. */
struct loop_source {
    struct loop *loop; /* NULL while not watched */
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT, EPOLLET, ... */
    void (*fn)(void *opaque, uint32_t events);
    void *opaque;
};
#define LOOP_SOURCE_INIT ((struct loop_source){.fd = -1})

/* Fires once at a CLOCK_MONOTONIC time. All zero: not armed. */
struct loop_timer {
    struct list node;
    struct loop *loop; /* NULL while not armed */
    int64_t deadline_ns;
    void (*fn)(void *opaque);
    void *opaque;
};

/* Work for another thread's loop. Embedded; posting it again before it ran does nothing. */
struct loop_work {
    struct list node;
    bool queued; /* under the loop's lock */
    void (*fn)(void *opaque);
    void *opaque;
};

#define LOOP_BATCH 64

struct loop {
    int epoll_fd;
    int wake_fd;               /* eventfd */
    _Atomic(pthread_t) thread; /* who runs it */
    atomic_bool running;
    atomic_bool stopping;
    struct list timers; /* by deadline */
    pthread_mutex_t lock;
    struct list work; /* under lock */
    struct loop_source wake;
    struct epoll_event
        batch[LOOP_BATCH]; /* being delivered; entries of removed sources are nulled */
    int batch_len, batch_pos;
};

int loop_init(struct loop *loop, struct kv_error *err);
void loop_destroy(struct loop *loop);

/* Runs until loop_stop(); work posted before the stop is still done. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* True on the thread that runs the loop (or while none does). */
bool loop_is_mine(const struct loop *loop);

/* Watches fd. The source must not be watched already. 0 or -errno. */
int loop_add(struct loop *loop, struct loop_source *source, int fd, uint32_t events,
             void (*fn)(void *opaque, uint32_t events), void *opaque);
int loop_modify(struct loop_source *source, uint32_t events);

/* Stops watching; no callback comes afterwards. Harmless when not watched. Does not close fd. */
void loop_remove(struct loop_source *source);

/* (Re)arms: fn runs once, delay_ns from now. */
void loop_timer_arm(struct loop *loop, struct loop_timer *timer, int64_t delay_ns,
                    void (*fn)(void *opaque), void *opaque);
void loop_timer_cancel(struct loop_timer *timer);

/* Runs work->fn(work->opaque) on the loop's thread soon. Any thread. Never fails. */
void loop_post(struct loop *loop, struct loop_work *work);

/* Takes posted work back; it does not run afterwards. On the loop's thread. */
void loop_unpost(struct loop *loop, struct loop_work *work);

/*
 * Runs fn(opaque) on the loop's thread and waits until it returned; at once
 * when already there, or when no thread runs the loop. Any thread that the
 * loop's thread never waits for.
 */
void loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque);

int64_t clock_monotonic_ns(void);

#endif
