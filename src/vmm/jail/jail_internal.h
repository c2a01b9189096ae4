/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of jail/ only. */
#ifndef KV_VMM_JAIL_JAIL_INTERNAL_H
#define KV_VMM_JAIL_JAIL_INTERNAL_H

#include <sys/types.h>

#include "base/error.h"
#include "base/iothread.h"

/* Signals that the waiting parent passes on. */
#define JAIL_SIGNALS            \
    {                           \
        SIGTERM, SIGINT, SIGHUP \
    }

/* On the socket between the two processes; the first byte of a message. */
enum {
    JAIL_FILE = 'f',    /* a path follows: to be removed at the end */
    JAIL_CLOSED = 'c',  /* from now on the child is not trusted */
    JAIL_NETWORK = 'n', /* from the parent, first: with the descriptor of an empty network */
    JAIL_THREAD = 't',  /* an int follows: thread's number inside; the answer is jail_thread */
};
#define JAIL_MESSAGE_MAX 4096

/* A thread's number in the jail and outside it; 0: there is no such thread. */
struct jail_thread {
    int inner, outer;
};

/* parent.c: waits for the child and ends with its status; serves the socket. */
_Noreturn void jail_wait(pid_t child, int socket);

/* landlock.c: no file can be opened, no port bound or connected. 0, also where the kernel has no
 * Landlock, or -errno. */
int jail_landlock(void);

/* filter.c: readies the filters; then each thread calls jail_filter() for itself. */
int jail_filter_init(struct kv_error *err);
void jail_filter(enum thread_kind kind);

#endif
