/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's end: noticed through pidfds on the loop thread, explained by the
 * monitor's last event, its exit status and its log, then reported.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define TAIL_BYTES 8192
#define STATUS_PANICKED 3 /* exit status of kvasir-vmm */

static const char speaker[] = "kvasir-vmm: ";

/* Control characters would break whoever prints it. */
static void copy_line(char *out, size_t size, const char *line, size_t len)
{
    size_t n = MIN(len, size - 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)line[i] < ' ' || line[i] == 127 ? ' ' : line[i];
    out[n] = '\0';
}

/* The last line in which the monitor itself speaks, else the last one at all. */
void machine_last_words(const char *log_path, off_t from, char *out, size_t size)
{
    char tail[TAIL_BYTES + 1];
    struct stat st;
    out[0] = '\0';
    cleanup_fd int fd = open(log_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= from)
        return;
    off_t start = MAX(from, st.st_size - TAIL_BYTES);
    ssize_t n = pread(fd, tail, TAIL_BYTES, start);
    if (n <= 0)
        return;
    tail[n] = '\0';
    const char *best = NULL, *at = tail;
    size_t best_len = 0;
    bool spoken = false;
    while (*at) {
        size_t len = strcspn(at, "\n");
        bool speaks = strncmp(at, speaker, strlen(speaker)) == 0;
        if (len && (speaks || !spoken)) {
            spoken |= speaks;
            best = speaks ? at + strlen(speaker) : at;
            best_len = speaks ? len - strlen(speaker) : len;
        }
        at += len + (at[len] == '\n');
    }
    if (best)
        copy_line(out, size, best, best_len);
}

/* Under the lock: how it ended, from what is known best to what is known least. */
static void explain_end(struct machine *machine)
{
    int status = 0;
    bool known = process_reap(&machine->processes[0], &status);
    machine_last_words(machine->log_path, machine->log_start, machine->reason,
                       sizeof(machine->reason));
    if (machine->end_known)
        return;
    if (known && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        machine->end = MACHINE_END_SHUTDOWN;
    else if (known && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_PANICKED)
        machine->end = MACHINE_END_CRASHED;
    else
        machine->end = MACHINE_END_FAILED;
    if (machine->end != MACHINE_END_FAILED || machine->reason[0])
        return;
    if (known && WIFSIGNALED(status))
        snprintf(machine->reason, sizeof(machine->reason), "the monitor was killed by signal %d",
                 WTERMSIG(status));
    else if (known)
        snprintf(machine->reason, sizeof(machine->reason), "the monitor ended with status %d",
                 WEXITSTATUS(status));
    else
        snprintf(machine->reason, sizeof(machine->reason), "the monitor's process is gone");
}

static void on_death(void *opaque, uint32_t events)
{
    struct machine *machine = opaque;
    bool all = true;
    for (unsigned i = 0; i < MACHINE_PROCESSES; i++) {
        if (process_wait(&machine->processes[i], 0))
            loop_remove(&machine->deaths[i]);
        else
            all = false;
    }
    if (!all)
        return;
    if (machine->monitor)
        monitor_drain(machine->monitor); /* what it said before */

    pthread_mutex_lock(&machine->lock);
    explain_end(machine);
    machine->dead = true;
    machine->state = MACHINE_DEAD;
    struct machine_event event = {
        .kind = MACHINE_EVENT_DIED,
        .end = machine->end,
        .reason = machine->reason,
        .by_guest = machine->end == MACHINE_END_SHUTDOWN || machine->end == MACHINE_END_CRASHED,
    };
    pthread_cond_broadcast(&machine->changed);
    pthread_mutex_unlock(&machine->lock);
    console_close_all(machine);
    machine_report(machine, &event);
}

struct watch {
    struct machine *machine;
    int rc;
};

static void watch_now(void *opaque)
{
    struct watch *watch = opaque;
    struct machine *machine = watch->machine;
    for (unsigned i = 0; i < MACHINE_PROCESSES && watch->rc == 0; i++) {
        if (machine->processes[i].pidfd >= 0)
            watch->rc = loop_add(&machine->host->loop, &machine->deaths[i],
                                 machine->processes[i].pidfd, EPOLLIN, on_death, machine);
    }
}

int machine_watch(struct machine *machine, struct kv_error *err)
{
    struct watch watch = {.machine = machine};
    loop_call(&machine->host->loop, watch_now, &watch);
    return watch.rc == 0
               ? 0
               : kv_error_errno(err, KV_ERR_CONTROL, -watch.rc, "process %d cannot be watched",
                                machine->processes[0].pid);
}

static void unwatch_now(void *opaque)
{
    struct machine *machine = opaque;
    for (unsigned i = 0; i < MACHINE_PROCESSES; i++)
        loop_remove(&machine->deaths[i]);
    console_close_all(machine);
}

void machine_unwatch(struct machine *machine)
{
    loop_call(&machine->host->loop, unwatch_now, machine);
}

int machine_check_alive(struct machine *machine, struct kv_error *err)
{
    pthread_mutex_lock(&machine->lock);
    bool dead = machine->dead;
    pthread_mutex_unlock(&machine->lock);
    return dead ? api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running") : 0;
}
