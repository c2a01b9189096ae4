/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine that is about to be started: the monitor's configuration as it
 * grows, the descriptors that it will inherit, and its record on disk. The
 * config_*.c files fill it from a domain's document; start.c runs it. One
 * worker thread has it at a time.
 */
#ifndef KV_DAEMON_MACHINE_PLAN_H
#define KV_DAEMON_MACHINE_PLAN_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "daemon/machine/machine.h"
#include "daemon/machine/record.h"

#define PLAN_FDS_MAX 4096

struct plan {
    struct machine_host *host;
    const char *uuid, *name; /* the machine's */
    int id;
    json_t *config; /* for kvasir-vmm --config */
    int *fds;       /* owned; the monitor inherits them */
    unsigned fd_count;
    unsigned fdset_count; /* sets of descriptors that stand for files */
    unsigned secret_count;
    struct record record;
    char *cgroup;            /* NULL: none */
    const char *device;      /* whose host's end is being made: it can be removed alone */
    bool runs;               /* for a machine that runs: hand_over.h */
    struct machine *machine; /* what it will be; keeps its UUID from being started twice */
};

/* Makes the machine (event and opaque are its owner's), the record on disk, the control group. */
int plan_init(struct plan *plan, struct machine_host *host, const char *uuid, const char *name,
              int id, machine_event_fn *event, void *opaque, struct kv_error *err);

/* Removes all that was made, the machine included. */
void plan_abort(struct plan *plan);

/* Frees the plan alone. */
void plan_free(struct plan *plan);

/* Closes the descriptors: the monitor has them. What it listens on is its alone, so that a
 * connection to a dead one fails. */
void plan_give_away(struct plan *plan);

/* The monitor inherits fd under its number; taken over, also on failure. */
int plan_add_fd(struct plan *plan, int fd, struct kv_error *err);

/* "fd:N" of such a descriptor as JSON; NULL with err filled. */
json_t *plan_fd_text(struct plan *plan, int fd, struct kv_error *err);

/* fd stands for a file: the path under which the monitor finds it ("/dev/fdset/N"). label says in
 * the monitor's own answers what it is. Taken over. *out is new. */
int plan_add_file(struct plan *plan, int fd, const char *label, json_t **out, struct kv_error *err);

/* Sets a scalar option / adds a device to a repeatable one ("disk", "net"); value is taken over. */
int plan_set(struct plan *plan, const char *option, json_t *value, struct kv_error *err);
int plan_add(struct plan *plan, const char *option, json_t *value, struct kv_error *err);

/* Notes a thing to remove (taken over) before it is made. */
int plan_add_undo(struct plan *plan, json_t *undo, struct kv_error *err);

/* Keeps a fact about a device in the record: facts[kind][alias] = value (taken over). */
int plan_note(struct plan *plan, const char *kind, const char *alias, json_t *value,
              struct kv_error *err);

/* For process_start(), with the plan as opaque: the process is a helper that ends with the machine.
 */
int plan_note_process(void *plan, const struct process *process, struct kv_error *err);

/* A listening unix socket that is removed at the machine's end. Returns the descriptor. */
int plan_listen(struct plan *plan, const char *path, struct kv_error *err);

/* Runs it; consumes the plan, also on failure (then nothing is left). */
int machine_launch(struct machine **out, struct plan *plan, bool paused, struct kv_error *err);

/* All of a domain's document. */
int plan_configure(struct plan *plan, const struct machine_start *start, struct kv_error *err);

#endif
