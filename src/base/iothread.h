/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads of known kinds, and I/O threads: a thread that runs an event loop.
 * The kind decides what a jailed thread may still ask of the kernel.
 */
#ifndef KV_BASE_IOTHREAD_H
#define KV_BASE_IOTHREAD_H

#include <pthread.h>

#include "base/error.h"
#include "base/loop.h"

enum thread_kind {
    THREAD_CONTROL,
    THREAD_VCPU,
    THREAD_IO,
    THREAD_WORKER,
};

/* Called first on each thread started from now on; the jail puts its system-call filter there. */
void thread_set_enter_hook(void (*hook)(enum thread_kind kind));

/* Runs the hook on a thread that was not started by thread_start() (the main thread). */
void thread_enter(enum thread_kind kind);

/* Starts a joinable thread with a small stack and all signals but the vCPU kick blocked. The name
 * is cut to 15 bytes. 0 or -errno. */
int thread_start(pthread_t *thread, enum thread_kind kind, const char *name, void *(*fn)(void *),
                 void *opaque);

/* The kernel's number of a thread that was started and stores its own in *tid first of all: waits
 * for that, a second at most. 0: it did not run yet. */
int thread_number(const atomic_int *tid);

struct iothread {
    struct loop loop;
    pthread_t thread;
    bool started;
    atomic_int tid; /* of the thread, for pinning; 0 before it runs */
    char name[16];
};

/* Makes the loop, so that sources can be added before the thread runs. */
int iothread_init(struct iothread *iothread, const char *name, struct kv_error *err);

/* Starts the thread; its loop runs until iothread_stop(). */
int iothread_start(struct iothread *iothread, struct kv_error *err);

/* Ends and joins the thread, if it runs, and frees the loop. */
void iothread_stop(struct iothread *iothread);

#endif
