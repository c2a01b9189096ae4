/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads; see iothread.h. */
#include "base/iothread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

#define STACK_SIZE KIB(256)
#define START_PATIENCE_MS 1000

struct thread_arg {
    enum thread_kind kind;
    char name[16];
    void *(*fn)(void *);
    void *opaque;
};

static void (*enter_hook)(enum thread_kind kind);

void thread_set_enter_hook(void (*hook)(enum thread_kind kind))
{
    enter_hook = hook;
}

void thread_enter(enum thread_kind kind)
{
    if (enter_hook)
        enter_hook(kind);
}

static void *thread_main(void *opaque)
{
    struct thread_arg arg = *(struct thread_arg *)opaque;
    free(opaque);
    pthread_setname_np(pthread_self(), arg.name);
    thread_enter(arg.kind);
    return arg.fn(arg.opaque);
}

int thread_start(pthread_t *thread, enum thread_kind kind, const char *name, void *(*fn)(void *),
                 void *opaque)
{
    struct thread_arg *arg = malloc(sizeof(*arg));
    if (!arg)
        return -ENOMEM;
    *arg = (struct thread_arg){.kind = kind, .fn = fn, .opaque = opaque};
    snprintf(arg->name, sizeof(arg->name), "%s", name);

    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSYS);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(thread, &attr, thread_main, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (rc)
        free(arg);
    return -rc;
}

int thread_number(const atomic_int *tid)
{
    int number = atomic_load(tid);
    for (unsigned i = 0; !number && i < START_PATIENCE_MS; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        number = atomic_load(tid);
    }
    return number;
}

static void *iothread_main(void *opaque)
{
    struct iothread *iothread = opaque;
    atomic_store(&iothread->tid, gettid());
    loop_run(&iothread->loop);
    return NULL;
}

int iothread_init(struct iothread *iothread, const char *name, struct kv_error *err)
{
    *iothread = (struct iothread){.started = false};
    snprintf(iothread->name, sizeof(iothread->name), "%s", name);
    return loop_init(&iothread->loop, err);
}

int iothread_start(struct iothread *iothread, struct kv_error *err)
{
    /* From here on the loop is the new thread's, even before it gets to run: until loop_run()
     * says who that is, loop_is_mine() must be false for everybody. */
    iothread->loop.thread = (pthread_t)0;
    atomic_store(&iothread->loop.running, true);
    int rc = thread_start(&iothread->thread, THREAD_IO, iothread->name, iothread_main, iothread);
    if (rc < 0) {
        atomic_store(&iothread->loop.running, false);
        return kv_error_errno(err, KV_ERR_BASE, -rc, "I/O thread '%s'", iothread->name);
    }
    iothread->started = true;
    return 0;
}

void iothread_stop(struct iothread *iothread)
{
    if (iothread->started) {
        loop_stop(&iothread->loop);
        pthread_join(iothread->thread, NULL);
        iothread->started = false;
    }
    loop_destroy(&iothread->loop);
}
