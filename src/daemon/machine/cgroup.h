/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A control group (version 2) for each machine, where the host lets us make
 * one: so that its processes are found and ended together, and limits have a
 * place. Needs no systemd. Without a writable hierarchy there are none, and
 * nothing else is different.
 */
#ifndef KV_DAEMON_MACHINE_CGROUP_H
#define KV_DAEMON_MACHINE_CGROUP_H

/* Where machines' groups can go: parent when given (made if missing), else "kvasir" below the
 * root of the hierarchy or, for an ordinary user, below his own group. NULL: nowhere; else to be
 * freed. */
char *cgroup_find_parent(const char *parent);

/* 0 or -errno. */
int cgroup_create(const char *path);

/* A group of threads below that of a machine, whose processor time is its own. 0 or -errno. */
int cgroup_create_threaded(const char *parent, const char *path);

/* Writes a file of a group. 0 or -errno. */
int cgroup_write(const char *directory, const char *name, const char *text);

/* Ends what is still in it and removes it. Blocks until it is empty. */
void cgroup_remove(const char *path);

#endif
