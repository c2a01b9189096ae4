/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Privilege is given away in three steps: jail_fork() right at the start, while
 * there is one thread and nothing is open, makes the namespaces that need a
 * new process; jail_leave_host(), when everything is open, takes the host's
 * files and networks out of sight; jail_enter(), while there is one thread,
 * gives the rest away.
 * Afterwards thread_start() filters each new thread's system calls by its kind;
 * what each kind may still do is the table in rules.c.
 */
#ifndef KV_VMM_JAIL_JAIL_H
#define KV_VMM_JAIL_JAIL_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Only the child returns (0); the parent waits for it, passes signals on, and
 * ends with its status (128 + N when signal N killed it). user, for root only:
 * "NAME" or "UID[:GID]" that the child will run as; NULL: nobody. Where the
 * host forbids namespaces: as root an error, else 0 with less jail, logged.
 */
int jail_fork(const char *user, struct kv_error *err);

/* The waiting parent removes the file after the child's end: from inside the child cannot. Between
 * jail_fork() and jail_enter(); does nothing without a jail, where the owner can do so itself. */
void jail_remove_at_exit(const char *path);

/* Empty root, no network, for the calling thread and those it starts. */
int jail_leave_host(struct kv_error *err);

/* No new privileges, no user, no capabilities, Landlock; system-call filters for threads started
 * from now on and for thread_enter(). */
int jail_enter(struct kv_error *err);

/* A thread's number as the rest of the host sees it; the number itself without a jail, 0 when it
 * cannot be learned. Control thread. */
int jail_outer_tid(int tid);

#endif
