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

struct jail_setup;

/* parent.c: waits for the child and ends with its status. On the socket arrive integers: a thread's
 * number inside (its number outside is the answer), or -1 - N: file N was created. */
_Noreturn void jail_wait(pid_t child, int socket, const struct jail_setup *setup);

/* landlock.c: no file can be opened, no port bound or connected. 0, also where the kernel has no
 * Landlock, or -errno. */
int jail_landlock(void);

/* filter.c: readies the filters; then each thread calls jail_filter() for itself. */
int jail_filter_init(struct kv_error *err);
void jail_filter(enum thread_kind kind);

#endif
