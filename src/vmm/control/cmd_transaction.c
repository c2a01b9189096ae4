/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transaction, and the commands that are a transaction of one; see action.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/control/action.h"
#include "vmm/control/commands.h"
#include "vmm/storage/drive.h"

#define ACTIONS_MAX 256

static const struct action_type *const tables[] = {snapshot_actions, bitmap_actions, backup_actions,
                                                   NULL};

struct block_node *qmp_find_node(struct qmp_call *call, const char *name)
{
    struct drive *drive = drive_find(call->machine, name);
    return drive && drive_has_medium(drive) ? drive_node(drive)
                                            : block_find_node(name, &call->error);
}

struct block_node *action_find_node(struct qmp_call *call, const char *argument)
{
    const char *name = qmp_string(call, argument);
    if (name)
        return qmp_find_node(call, name);
    qmp_fail(call, QMP_GENERIC_ERROR, "Parameter '%s' is missing", argument);
    return NULL;
}

static const struct action_type *find_type(const char *name)
{
    for (const struct action_type *const *table = tables; *table; table++) {
        for (const struct action_type *type = *table; type->name; type++) {
            if (strcmp(type->name, name) == 0)
                return type;
        }
    }
    return NULL;
}

static void action_free(struct action *action)
{
    list_del(&action->link);
    block_close(action->node);
    block_close(action->other);
    json_decref(action->result);
    free(action);
}

/* NULL: out of memory, or the arguments do not fit; the call's error is filled. */
static struct action *action_new(struct qmp_call *call, const struct action_type *type,
                                 const json_t *arguments)
{
    struct action *action = calloc(1, sizeof(*action));
    if (!action) {
        qmp_fail(call, QMP_GENERIC_ERROR, "out of memory");
        return NULL;
    }
    list_init(&action->link);
    action->type = type;
    action->call = *call;
    action->call.command = qmp_find_command(call->server, type->name);
    action->call.specs = action->call.command->arguments;
    action->call.arguments = arguments;
    if (qmp_check_arguments(&action->call))
        return action;
    call->error = action->call.error;
    free(action);
    return NULL;
}

static int step(struct action *action, int (*fn)(struct action *action))
{
    int rc = fn ? fn(action) : 0;
    if (rc < 0 && !action->call.error.code)
        kv_error_errno(&action->call.error, KV_ERR_CONTROL, -rc, "%s", action->type->name);
    return rc;
}

/* All but what had to be opened, while the disks stand still. */
static struct action *carry_out(struct list *actions)
{
    struct action *failed = NULL;
    list_for_each (pos, actions) {
        struct action *action = list_entry(pos, struct action, link);
        if (step(action, action->type->prepare) == 0)
            continue;
        failed = action;
        while ((pos = pos->prev) != actions) {
            struct action *done = list_entry(pos, struct action, link);
            if (done->type->undo)
                done->type->undo(done);
        }
        return failed;
    }
    list_for_each (pos, actions) {
        struct action *action = list_entry(pos, struct action, link);
        if (step(action, action->type->commit) < 0)
            failed = action;
    }
    return failed;
}

/* The one that failed, or NULL. */
static struct action *run_all(struct list *actions)
{
    struct block_node *nodes[ACTIONS_MAX];
    unsigned count = 0;
    list_for_each (pos, actions) {
        struct action *action = list_entry(pos, struct action, link);
        if (step(action, action->type->open) < 0)
            return action;
        if (action->node)
            nodes[count++] = action->node;
    }
    block_graph_begin(nodes, count);
    struct action *failed = carry_out(actions);
    block_graph_end();
    return failed;
}

static json_t *finish(struct qmp_call *call, struct list *actions)
{
    struct action *failed = run_all(actions);
    json_t *result = NULL;
    if (failed) {
        call->error = failed->call.error;
        call->error_class = failed->call.error_class;
    } else {
        struct action *first = list_entry(actions->next, struct action, link);
        result = take_ptr(first->result);
        result = result ? result : qmp_done();
    }
    while (!list_empty(actions))
        action_free(list_entry(actions->next, struct action, link));
    return result;
}

json_t *action_run(struct qmp_call *call)
{
    struct list actions;
    list_init(&actions);
    struct action *action = action_new(call, find_type(call->command->name), call->arguments);
    if (!action)
        return NULL;
    action->alone = true;
    list_add_tail(&actions, &action->link);
    return finish(call, &actions);
}

static int add_action(struct qmp_call *call, struct list *actions, const json_t *row,
                      struct job_txn *txn)
{
    const char *name = json_string_value(json_object_get(row, "type"));
    const json_t *data = json_object_get(row, "data");
    const struct action_type *type = name ? find_type(name) : NULL;
    if (!name || !json_is_object(data)) {
        qmp_fail(call, QMP_GENERIC_ERROR, "an action has 'type' (a string) and 'data' (an object)");
        return -EINVAL;
    }
    if (!type) {
        qmp_fail(call, QMP_GENERIC_ERROR, "Parameter 'type' does not accept value '%.100s'", name);
        return -EINVAL;
    }
    struct action *action = action_new(call, type, data);
    if (!action)
        return -EINVAL;
    action->txn = txn;
    list_add_tail(actions, &action->link);
    return 0;
}

static json_t *transaction(struct qmp_call *call)
{
    static const char *const modes[] = {"individual", "grouped", NULL};
    const json_t *rows = json_object_get(call->arguments, "actions"), *row;
    const json_t *properties = json_object_get(call->arguments, "properties");
    const char *mode = json_string_value(json_object_get(properties, "completion-mode"));
    size_t i;
    struct list actions;
    list_init(&actions);
    if (json_array_size(rows) > ACTIONS_MAX)
        return qmp_fail(call, QMP_GENERIC_ERROR, "at most %d actions are possible", ACTIONS_MAX);
    if (mode && strcmp(mode, modes[0]) != 0 && strcmp(mode, modes[1]) != 0)
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "Parameter 'completion-mode' does not accept value '%.100s'", mode);
    struct job_txn *txn = mode && strcmp(mode, modes[1]) == 0 ? job_txn_create() : NULL;
    int rc = 0;
    json_array_foreach (rows, i, row) {
        rc = rc < 0 ? rc : add_action(call, &actions, row, txn);
    }
    json_t *result = NULL;
    if (rc == 0 && list_empty(&actions))
        result = qmp_done();
    else if (rc == 0)
        result = finish(call, &actions);
    while (!list_empty(&actions))
        action_free(list_entry(actions.next, struct action, link));
    if (txn)
        job_txn_put(txn);
    if (result)
        json_object_clear(result);
    return result;
}

static const struct qmp_argument transaction_arguments[] = {
    {"actions", QMP_ARRAY},
    {"properties", QMP_OBJECT, .optional = true},
    {NULL},
};

const struct qmp_command qmp_transaction_commands[] = {
    {"transaction", "does several actions, all or none, at one moment of the disks concerned",
     transaction, transaction_arguments},
    {NULL},
};
