/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps. In a transaction each action sees what those before it did: what a
 * bitmap held before is kept in one of another name until the transaction is done.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/control/action.h"
#include "vmm/control/commands.h"

static int fail(struct action *action)
{
    return -(action->call.error.code ? action->call.error.code : EINVAL);
}

static int bitmap_open(struct action *action)
{
    action->node = action_find_node(&action->call, "node");
    return action->node ? 0 : fail(action);
}

/* Fills *granularity and *recording, which may be NULL. */
static int check_bitmap(struct action *action, struct block_node *node, const char *name,
                        uint32_t *granularity, bool *recording)
{
    json_t *all = block_bitmaps_describe(node), *row;
    size_t i;
    bool found = false, busy = false;
    json_array_foreach (all, i, row) {
        const char *other = json_string_value(json_object_get(row, "name"));
        if (!other || strcmp(other, name) != 0)
            continue;
        found = true;
        busy = json_is_true(json_object_get(row, "busy"));
        if (granularity)
            *granularity = (uint32_t)json_integer_value(json_object_get(row, "granularity"));
        if (recording)
            *recording = json_is_true(json_object_get(row, "recording"));
    }
    json_decref(all);
    if (found && !busy)
        return 0;
    qmp_fail(&action->call, QMP_GENERIC_ERROR,
             found ? "Bitmap '%s' is currently in use by another operation and cannot be used"
                   : "Dirty bitmap '%s' not found",
             name);
    return -EINVAL;
}

/* What the action changes: "name", or of merge "target". */
static const char *own_name(const struct action *action)
{
    const char *target = qmp_string(&action->call, "target");
    return target ? target : qmp_string(&action->call, "name");
}

static void saved_name(const struct action *action, char name[40])
{
    snprintf(name, 40, ".undo-%" PRIxPTR, (uintptr_t)action);
}

static int drop_saved(struct action *action)
{
    char saved[40];
    saved_name(action, saved);
    return action->alone ? 0 : block_bitmap_remove(action->node, saved, &action->call.error);
}

/* Keeps what the bitmap holds, in case that an action behind this one fails. */
static int save(struct action *action)
{
    char saved[40];
    uint32_t granularity = 0;
    struct kv_error *err = &action->call.error;
    saved_name(action, saved);
    int rc = check_bitmap(action, action->node, own_name(action), &granularity, NULL);
    if (rc < 0 || action->alone)
        return rc;
    rc = block_bitmap_add(action->node, saved, granularity, false, false, err);
    if (rc < 0)
        return rc;
    rc = block_bitmap_merge(action->node, saved, action->node, own_name(action), err);
    if (rc < 0)
        drop_saved(action);
    return rc;
}

static void restore(struct action *action)
{
    char saved[40];
    struct kv_error err = {0};
    saved_name(action, saved);
    block_bitmap_clear(action->node, own_name(action), &err);
    block_bitmap_merge(action->node, own_name(action), action->node, saved, &err);
    drop_saved(action);
}

static int add_prepare(struct action *action)
{
    const struct qmp_call *call = &action->call;
    int64_t granularity = 0;
    bool persistent = false, disabled = false;
    qmp_integer(call, "granularity", &granularity);
    qmp_boolean(call, "persistent", &persistent);
    qmp_boolean(call, "disabled", &disabled);
    if (granularity < 0 || granularity > INT32_MAX || (granularity & (granularity - 1)) ||
        (qmp_integer(call, "granularity", &granularity) && granularity < 512)) {
        qmp_fail(&action->call, QMP_GENERIC_ERROR,
                 "Granularity must be power of 2, 512 bytes or more");
        return -EINVAL;
    }
    return block_bitmap_add(action->node, qmp_string(call, "name"), (uint32_t)granularity,
                            persistent, !disabled, &action->call.error);
}

static void add_undo(struct action *action)
{
    struct kv_error err = {0};
    block_bitmap_remove(action->node, qmp_string(&action->call, "name"), &err);
}

static int remove_prepare(struct action *action)
{
    return check_bitmap(action, action->node, own_name(action), NULL, NULL);
}

static int remove_commit(struct action *action)
{
    return block_bitmap_remove(action->node, own_name(action), &action->call.error);
}

static int clear_prepare(struct action *action)
{
    int rc = save(action);
    if (rc < 0)
        return rc;
    rc = block_bitmap_clear(action->node, own_name(action), &action->call.error);
    if (rc < 0)
        drop_saved(action);
    return rc;
}

static int set_enabled(struct action *action, bool enabled)
{
    bool recording = false;
    int rc = check_bitmap(action, action->node, own_name(action), NULL, &recording);
    action->changed = recording != enabled;
    return rc < 0 || !action->changed
               ? rc
               : block_bitmap_enable(action->node, own_name(action), enabled, &action->call.error);
}

static int enable_prepare(struct action *action)
{
    return set_enabled(action, true);
}

static int disable_prepare(struct action *action)
{
    return set_enabled(action, false);
}

static void enable_undo(struct action *action)
{
    if (action->changed)
        set_enabled(action, false);
}

static void disable_undo(struct action *action)
{
    if (action->changed)
        set_enabled(action, true);
}

/* Calls fn for each source: a name of the same node's, or {"node": NODE, "name": NAME}. */
static int each_source(struct action *action,
                       int (*fn)(struct action *action, struct block_node *node, const char *name))
{
    const json_t *sources = json_object_get(action->call.arguments, "bitmaps"), *source;
    size_t i;
    int rc = 0;
    json_array_foreach (sources, i, source) {
        const char *name = json_string_value(source), *in = NULL;
        if (json_is_object(source)) {
            name = json_string_value(json_object_get(source, "name"));
            in = json_string_value(json_object_get(source, "node"));
        }
        if (!name || (json_is_object(source) && !in)) {
            qmp_fail(&action->call, QMP_GENERIC_ERROR,
                     "'bitmaps' holds names, or objects with 'node' and 'name'");
            return -EINVAL;
        }
        struct block_node *node = in ? qmp_find_node(&action->call, in) : block_ref(action->node);
        rc = node ? fn(action, node, name) : fail(action);
        block_close(node);
        if (rc < 0)
            break;
    }
    return rc;
}

static int check_source(struct action *action, struct block_node *node, const char *name)
{
    return check_bitmap(action, node, name, NULL, NULL);
}

static int merge_one(struct action *action, struct block_node *node, const char *name)
{
    return block_bitmap_merge(action->node, own_name(action), node, name, &action->call.error);
}

static int merge_prepare(struct action *action)
{
    int rc = each_source(action, check_source);
    if (rc == 0)
        rc = save(action);
    if (rc < 0)
        return rc;
    rc = each_source(action, merge_one);
    if (rc < 0 && !action->alone)
        restore(action);
    return rc;
}

static const struct qmp_argument add_arguments[] = {
    {"node", QMP_STRING},
    {"name", QMP_STRING},
    {"granularity", QMP_INTEGER, .optional = true},
    {"persistent", QMP_BOOLEAN, .optional = true},
    {"disabled", QMP_BOOLEAN, .optional = true},
    {NULL},
};
static const struct qmp_argument named_arguments[] = {
    {"node", QMP_STRING},
    {"name", QMP_STRING},
    {NULL},
};
static const struct qmp_argument merge_arguments[] = {
    {"node", QMP_STRING},
    {"target", QMP_STRING},
    {"bitmaps", QMP_ARRAY},
    {NULL},
};

const struct action_type bitmap_actions[] = {
    {"block-dirty-bitmap-add", bitmap_open, add_prepare, NULL, add_undo},
    {"block-dirty-bitmap-remove", bitmap_open, remove_prepare, remove_commit, NULL},
    {"block-dirty-bitmap-clear", bitmap_open, clear_prepare, drop_saved, restore},
    {"block-dirty-bitmap-enable", bitmap_open, enable_prepare, NULL, enable_undo},
    {"block-dirty-bitmap-disable", bitmap_open, disable_prepare, NULL, disable_undo},
    {"block-dirty-bitmap-merge", bitmap_open, merge_prepare, drop_saved, restore},
    {NULL},
};

const struct qmp_command qmp_bitmap_commands[] = {
    {"block-dirty-bitmap-add", "records what is written from now on", action_run, add_arguments},
    {"block-dirty-bitmap-remove", "forgets a bitmap", action_run, named_arguments},
    {"block-dirty-bitmap-clear", "nothing is dirty any more", action_run, named_arguments},
    {"block-dirty-bitmap-enable", "a bitmap records writes again", action_run, named_arguments},
    {"block-dirty-bitmap-disable", "a bitmap stays as it is", action_run, named_arguments},
    {"block-dirty-bitmap-merge", "what is dirty in others becomes dirty in one", action_run,
     merge_arguments},
    {NULL},
};
