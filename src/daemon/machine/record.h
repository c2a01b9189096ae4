/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is on disk about a machine: one JSON document that says which process
 * runs and what has to be removed when it is gone. A thing to remove ("undo")
 * is recorded before it is made, so that a daemon killed at any moment leaves
 * nothing that the next one does not find. Not thread-safe: the machine's lock
 * guards its record.
 */
#ifndef KV_DAEMON_MACHINE_RECORD_H
#define KV_DAEMON_MACHINE_RECORD_H

#include <jansson.h>

#include "base/error.h"
#include "daemon/machine/process.h"

struct record {
    char *path;   /* RUN_DIR/UUID.json */
    json_t *json; /* the document */
};

/* A new document for this machine; nothing is on disk yet. */
int record_init(struct record *record, const char *run_dir, const char *uuid, const char *name,
                int id, struct kv_error *err);
/* Reads the one of this machine. -ENOENT, -EINVAL. */
int record_load(struct record *record, const char *run_dir, const char *uuid, struct kv_error *err);
void record_free(struct record *record);

/* Whole or not at all. */
int record_save(const struct record *record, struct kv_error *err);

/* Sets a member (value is taken over) and saves. */
int record_set(struct record *record, const char *name, json_t *value, struct kv_error *err);
const char *record_string(const struct record *record, const char *name); /* "" when missing */

/* The process, with the boot it belongs to. */
json_t *record_describe_process(const struct process *process);
/* -ESRCH when it is no more (or was started before the host's last boot). */
int record_open_process(const json_t *described, struct process *process);

/* Adds a thing to remove (taken over) and saves: {"kind": ..., what that kind needs}. */
int record_add_undo(struct record *record, json_t *undo, struct kv_error *err);

/* The things to remove of one device (those whose "device" it is), a new array; removing them, the
 * last first, which may block; and taking them off the record, which is saved. */
json_t *record_undo_of(const struct record *record, const char *device);
void record_run_undo(const json_t *undo);
void record_drop_undo(struct record *record, const json_t *undo);

/* Removes all of it, the last first, and the record's own files. Blocks. */
void record_undo_all(struct record *record);

#endif
