/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that outlive the daemon: started in a session of their own, known
 * by pid and start time, watched through a pidfd. Monitors and their helpers
 * (passt) are started here. Functions may be called on any thread.
 */
#ifndef KV_DAEMON_MACHINE_PROCESS_H
#define KV_DAEMON_MACHINE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct process {
    pid_t pid;           /* 0: none */
    int pidfd;           /* -1: none */
    uint64_t start_time; /* clock ticks since the host's boot; tells a reused pid apart */
};
#define PROCESS_INIT ((struct process){.pidfd = -1})

struct process_spec {
    const char *const *argv; /* argv[0] is searched in PATH; NULL at the end */
    const int *fds;          /* inherited under their numbers, all above 2 */
    unsigned fd_count;
    int in, out, err;   /* become 0, 1, 2; -1: /dev/null */
    const char *cgroup; /* directory of the group that it begins in, or NULL */
};

/*
 * Forks; calls before_exec (may be NULL) with the pid known, then lets the new process execute. If
 * the caller dies or before_exec fails in between, the program never runs. -errno with err filled;
 * nothing is left then.
 */
int process_start(struct process *process, const struct process_spec *spec,
                  int (*before_exec)(void *opaque, const struct process *process,
                                     struct kv_error *err),
                  void *opaque, struct kv_error *err);

/* Runs a program to its end, which comes after patience_ms at the latest. Where it is no good one,
 * the first line of its complaint is the error's text. */
int process_run(const char *const *argv, int patience_ms, struct kv_error *err);

/* Opens the process with this number if it is still the one that began at start_time (0: any).
 * -ESRCH otherwise. */
int process_open(struct process *process, pid_t pid, uint64_t start_time);

/* The process inside its process namespace, whose parent this one is; -ESRCH: none. */
int process_open_child(struct process *child, const struct process *parent);

int process_signal(const struct process *process, int signal);

/* True once it ended; waits up to timeout_ms. A process that is none has ended. */
bool process_wait(const struct process *process, int timeout_ms);

/* Takes the exit status (as waitpid's) of a child of ours that ended. False: unknown. */
bool process_reap(const struct process *process, int *status);

/* SIGTERM, after grace_ms SIGKILL, waits for its end, reaps. */
void process_end(struct process *process, int grace_ms);

void process_close(struct process *process);

/* User and system time of all threads, in nanoseconds. 0 or -errno. */
int process_times(pid_t pid, uint64_t *user_ns, uint64_t *system_ns);

/* Fields of /proc/PATH/stat behind the name: field 3 (state) is fields[0]. Returns how many were
 * read, or -errno. */
#define PROCESS_FIELDS 50
int process_read_stat(const char *path, long long fields[PROCESS_FIELDS]);

#endif
