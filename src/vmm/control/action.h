/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of disks that a transaction can hold: each is a row of a table, and a
 * command of its own as well, which is a transaction of one. What is done in
 * common is done while the disks concerned stand still (block_graph_begin()), so
 * that all of it is of one moment; when one fails, those before it are undone.
 */
#ifndef KV_VMM_CONTROL_ACTION_H
#define KV_VMM_CONTROL_ACTION_H

#include "base/list.h"
#include "block/graph.h"
#include "block/job.h"
#include "vmm/control/qmp.h"

struct action {
    struct list link;
    const struct action_type *type;
    struct qmp_call call;     /* its own arguments and error */
    struct block_node *node;  /* what it changes; a reference, given back for it */
    struct block_node *other; /* an overlay or a target; the same */
    struct job_txn *txn;      /* borrowed; NULL: on its own */
    bool alone;               /* a command: nothing behind it can fail */
    bool changed;             /* the type's */
    json_t *result;           /* of a command; NULL: {} */
};

struct action_type {
    const char *name; /* NULL ends the table; there is a command of this name */
    /* Each returns 0, or -errno with action->call.error filled; all may be NULL but prepare. */
    int (*open)(struct action *action);    /* before the disks stand still; fills node */
    int (*prepare)(struct action *action); /* does it, or finds that nothing speaks against it */
    int (*commit)(struct action *action);  /* after all others were prepared */
    void (*undo)(struct action *action);   /* of what was prepared */
};

/* Tables, NULL at the end. */
extern const struct action_type snapshot_actions[], bitmap_actions[], backup_actions[];

/* Runs a command whose name is that of an action. */
json_t *action_run(struct qmp_call *call);

/* A node by an argument that names it or a disk that it is the top of; a new reference. */
struct block_node *action_find_node(struct qmp_call *call, const char *argument);
struct block_node *qmp_find_node(struct qmp_call *call, const char *name);

/* The arguments that all commands that start a job have. */
#define JOB_ARGUMENTS                                                 \
    {"job-id", QMP_STRING, .optional = true}, {"device", QMP_STRING}, \
        {"speed", QMP_INTEGER, .optional = true},                     \
        {"auto-finalize", QMP_BOOLEAN, .optional = true},             \
        {"auto-dismiss", QMP_BOOLEAN, .optional = true},              \
    {                                                                 \
        "filter-node-name", QMP_STRING, .optional = true              \
    }
extern const char *const job_on_error_values[];
/* Reads them. False: the error is filled. */
bool job_options_read(struct qmp_call *call, struct job_options *out);

#endif
