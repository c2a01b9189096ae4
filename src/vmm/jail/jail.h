/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Privilege is given away in two steps: jail_fork() right at the start, while
 * there is one thread and nothing is open, makes the namespaces that need a
 * new process; jail_enter(), when everything is open, gives the rest away.
 * Afterwards thread_start() filters each new thread's system calls by its kind;
 * what each kind may still do is the table in rules.c.
 */
#ifndef KV_VMM_JAIL_JAIL_H
#define KV_VMM_JAIL_JAIL_H

#include <stdbool.h>

#include "base/error.h"

#define JAIL_FILES 3

struct jail_setup {
    const char *user; /* for root: "NAME" or "UID[:GID]" to run as; NULL: nobody */
    /* What the process creates outside and cannot remove from inside; NULL: nothing. */
    const char *files[JAIL_FILES];
};

/*
 * Only the child returns (0); the parent waits for it, passes signals on,
 * removes the files that jail_created() told of, and ends with the child's
 * status (128 + N when signal N killed it). Where the host forbids namespaces:
 * as root an error, else 0 with less jail, logged.
 */
int jail_fork(const struct jail_setup *setup, struct kv_error *err);

/* The file with this index in the setup exists now and is ours. */
void jail_created(unsigned index);

/* No new privileges, empty root, no network, no capabilities, Landlock; system-call filters for
 * threads started from now on and for thread_enter(). */
int jail_enter(struct kv_error *err);

/* A thread's number as the rest of the host sees it; the number itself without a jail, 0 when it
 * cannot be learned. Control thread. */
int jail_outer_tid(int tid);

#endif
