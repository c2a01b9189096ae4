/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A forwarding thread: polls the ports that have had work lately, waits for events of the
 * others, and sleeps when there are only others, so that an idle switch takes no processor time
 * and the cost of a frame does not grow with the number of idle ports. It owns bridges' tables and
 * ports' rings; the control thread changes them by having a function run here between two bursts.
 */
#ifndef KV_SWITCH_FORWARD_FORWARD_H
#define KV_SWITCH_FORWARD_FORWARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "switch/forward/notifier.h"
#include "switch/ports/port.h"

#define FORWARD_CORE_ANY (-1)
#define FORWARD_CORE_MAX 1023
#define FORWARD_NOTIFY_MAX 16

struct forward_task {
    void (*fn)(void *opaque);
    void *opaque;
};

struct forward {
    int epoll_fd, wake_fd;
    pthread_t thread;
    /* The control thread's. */
    bool started;
    int core;         /* of the host, or FORWARD_CORE_ANY */
    unsigned index;   /* among the switch's */
    unsigned bridges; /* that are its own */
    bool stop;
    struct list active; /* ports that are polled */
    struct list costly; /* likewise, with many costly frames lately (port.h): they have to rest */
    struct list shaped; /* shapers (shaper.h) with frames that wait */
    struct list looked; /* ports asleep whose work has no event: they are looked at each look_ns */
    unsigned asleep;    /* ports that are not polled */
    int64_t now_ns, events_ns, looked_ns, look_ns;
    int64_t costly_ns, others_ns; /* the last turn of costly ports, and the others' since then */
    struct port *notify[FORWARD_NOTIFY_MAX]; /* have something to tell */
    unsigned notify_count;
    struct notifier notifier;
    uint32_t now_s;
    uint64_t changes; /* raised by all that verdicts on frames may change with (verdicts.h) */
    /* Handing over: the control thread has one task at a time. */
    _Atomic(struct forward_task *) task;
    atomic_bool sleeping;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished; /* under lock */
};

/* core: of the host, or FORWARD_CORE_ANY. */
int forward_init(struct forward *forward, int core, struct kv_error *err);
int forward_start(struct forward *forward, struct kv_error *err);
/* Ends the thread between two bursts: frames stay where they are until the next start. */
void forward_stop(struct forward *forward);
/* Ends the thread. Ports must have been removed. */
void forward_destroy(struct forward *forward);

/* Runs fn(opaque) on the forwarding thread between two bursts and waits; at once while there is no
 * thread. By the control thread. */
void forward_run(struct forward *forward, void (*fn)(void *opaque), void *opaque);

/* The rest is for the forwarding thread. */
void forward_add_port(struct forward *forward, struct port *port);
void forward_remove_port(struct forward *forward, struct port *port);

/* Events of fd (each new one, EPOLLET) wake the port. -errno. */
int forward_watch(struct forward *forward, struct port *port, int fd);
void forward_unwatch(struct forward *forward, int fd);

/* There may be work: polls it from now on. */
void forward_wake_port(struct port *port);

/* The port's other end is told (port_ops.notify) at the end of the round at the latest, after a
 * barrier that all such ports share. */
void forward_notify_later(struct port *port);

/* One round over the ports that are polled; for tests, which have no thread. True: there was work.
 */
bool forward_round(struct forward *forward);

#endif
