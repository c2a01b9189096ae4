/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots: an overlay takes a node's place, or the image keeps its own state inside. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/cleanup.h"
#include "block/driver.h"
#include "block/image_create.h"
#include "vmm/control/action.h"
#include "vmm/control/commands.h"

/* The image below its filters. */
static struct block_node *image_of(struct block_node *node)
{
    while (node->driver->is_filter)
        node = node->file;
    return node;
}

static int fail(struct action *action)
{
    return -(action->call.error.code ? action->call.error.code : EINVAL);
}

/* ----------------------------------------------------------------- with an overlay */

static int snapshot_open(struct action *action)
{
    action->node = action_find_node(&action->call, "node");
    return action->node ? 0 : fail(action);
}

static int snapshot_prepare(struct action *action)
{
    if (!action->other) /* may have been opened for it */
        action->other = action_find_node(&action->call, "overlay");
    return action->other ? block_snapshot(action->node, action->other, &action->call.error)
                         : fail(action);
}

static void snapshot_undo(struct action *action)
{
    struct kv_error err = {0};
    if (block_replace_node(action->other, action->node, &err) == 0)
        block_set_backing(image_of(action->other), NULL, &err);
}

static int create_overlay(struct action *action, const char *path, const char *format)
{
    const struct qmp_call *call = &action->call;
    static const char *const absolute = "absolute-paths";
    const char *mode = qmp_string(call, "mode");
    if (mode && strcmp(mode, absolute) != 0)
        return 0;
    block_graph_lock();
    const struct block_node *image = image_of(action->node);
    json_t *options =
        json_pack("{s:I, s:s, s:s}", "size", (json_int_t)block_size(image), "backing_file",
                  block_name(image), "backing_fmt", block_format(image));
    block_graph_unlock();
    int rc = block_image_create(path, format, options, &action->call.error);
    json_decref(options);
    return rc;
}

/* With the cache mode and the rest of the node that it will stand for. */
static int open_overlay(struct action *action, const char *path, const char *format)
{
    const char *name = qmp_string(&action->call, "snapshot-node-name");
    json_t *description = json_pack("{s:s, s:{s:s, s:s}, s:n}", "driver", format, "file", "driver",
                                    "file", "filename", path, "backing");
    if (name)
        json_object_set_new(description, "node-name", json_string(name));
    struct block_open_options options = action->node->options;
    options.description = description;
    options.fd = -1;
    options.readonly = options.no_backing = options.check = options.no_io = false;
    int rc = block_open(&action->other, &options, &action->call.error);
    json_decref(description);
    return rc;
}

static int sync_open(struct action *action)
{
    struct qmp_call *call = &action->call;
    bool by_device = qmp_string(call, "device");
    const char *path = qmp_string(call, "snapshot-file"), *format = qmp_string(call, "format");
    if (by_device == (qmp_string(call, "node-name") != NULL)) {
        qmp_fail(call, QMP_GENERIC_ERROR, "Either 'device' or 'node-name' must be given");
        return fail(action);
    }
    action->node = action_find_node(call, by_device ? "device" : "node-name");
    if (!action->node)
        return fail(action);
    format = format ? format : "qcow2";
    int rc = create_overlay(action, path, format);
    return rc < 0 ? rc : open_overlay(action, path, format);
}

/* ---------------------------------------------------------------- inside the image */

static const struct block_snapshot_ops *snapshot_ops(struct action *action)
{
    if (action->node->driver->snapshots)
        return action->node->driver->snapshots;
    qmp_fail(&action->call, QMP_GENERIC_ERROR,
             "Block format '%s' used by device '%s' does not support feature 'internal snapshots'",
             block_format(action->node), qmp_string(&action->call, "device"));
    return NULL;
}

static int device_open(struct action *action)
{
    action->node = action_find_node(&action->call, "device");
    return action->node ? 0 : fail(action);
}

/* The snapshot by name or id, either may be NULL. 1: there is none. */
static int find_internal(struct action *action, const char *id, const char *name,
                         struct block_snapshot *out)
{
    const struct block_snapshot_ops *ops = snapshot_ops(action);
    struct block_snapshot *list = NULL;
    unsigned count = 0;
    int rc = ops ? ops->list(action->node, &list, &count, &action->call.error) : fail(action);
    if (rc < 0)
        return rc;
    rc = 1;
    for (unsigned i = 0; i < count && rc; i++) {
        if ((id && strcmp(list[i].id, id) != 0) || (name && strcmp(list[i].name, name) != 0))
            continue;
        *out = list[i];
        rc = 0;
    }
    free(list);
    return rc;
}

static int internal_prepare(struct action *action)
{
    struct qmp_call *call = &action->call;
    const char *name = qmp_string(call, "name"), *device = qmp_string(call, "device");
    struct block_snapshot snapshot = {.icount = UINT64_MAX}, same;
    struct timeval now;
    int rc = *name && strlen(name) < sizeof(snapshot.name)
                 ? find_internal(action, NULL, name, &same)
                 : -EINVAL;
    if (rc == 0 || (rc < 0 && !call->error.code)) {
        qmp_fail(call, QMP_GENERIC_ERROR,
                 rc ? "Name is empty or too long"
                    : "Snapshot with name '%s' already exists on device '%s'",
                 name, device);
        return -EINVAL;
    }
    if (rc < 0)
        return rc;
    gettimeofday(&now, NULL);
    snprintf(snapshot.name, sizeof(snapshot.name), "%s", name);
    snapshot.date_sec = (uint64_t)now.tv_sec;
    snapshot.date_nsec = (uint32_t)now.tv_usec * 1000;
    return snapshot_ops(action)->create(action->node, &snapshot, &call->error);
}

static void internal_undo(struct action *action)
{
    struct block_snapshot snapshot;
    struct kv_error err = {0};
    if (find_internal(action, NULL, qmp_string(&action->call, "name"), &snapshot) == 0)
        action->node->driver->snapshots->remove(action->node, snapshot.id, &err);
}

static int delete_prepare(struct action *action)
{
    struct qmp_call *call = &action->call;
    const char *id = qmp_string(call, "id"), *name = qmp_string(call, "name");
    struct block_snapshot s;
    if (!id && !name) {
        qmp_fail(call, QMP_GENERIC_ERROR, "Name or id must be provided");
        return -EINVAL;
    }
    int rc = find_internal(action, id, name, &s);
    if (rc > 0) {
        qmp_fail(call, QMP_GENERIC_ERROR,
                 "Snapshot with id '%s' and name '%s' does not exist on device '%s'",
                 id ? id : "(null)", name ? name : "(null)", qmp_string(call, "device"));
        return -EINVAL;
    }
    if (rc == 0)
        rc = snapshot_ops(action)->remove(action->node, s.id, &call->error);
    if (rc == 0)
        action->result = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "id", s.id, "name",
                                   s.name, "vm-state-size", (json_int_t)s.vm_state_size, "date-sec",
                                   (json_int_t)s.date_sec, "date-nsec", (json_int_t)s.date_nsec,
                                   "vm-clock-sec", (json_int_t)(s.vm_clock_nsec / 1000000000),
                                   "vm-clock-nsec", (json_int_t)(s.vm_clock_nsec % 1000000000));
    return rc;
}

/* -------------------------------------------------------------------------- tables */

static const char *const modes[] = {"absolute-paths", "existing", NULL};

static const struct qmp_argument snapshot_arguments[] = {
    {"node", QMP_STRING},
    {"overlay", QMP_STRING},
    {NULL},
};
static const struct qmp_argument sync_arguments[] = {
    {"device", QMP_STRING, .optional = true},
    {"node-name", QMP_STRING, .optional = true},
    {"snapshot-file", QMP_STRING},
    {"snapshot-node-name", QMP_STRING, .optional = true},
    {"format", QMP_STRING, .optional = true},
    {"mode", QMP_STRING, .optional = true, .values = modes},
    {NULL},
};
static const struct qmp_argument internal_arguments[] = {
    {"device", QMP_STRING},
    {"name", QMP_STRING},
    {NULL},
};
static const struct qmp_argument delete_arguments[] = {
    {"device", QMP_STRING},
    {"id", QMP_STRING, .optional = true},
    {"name", QMP_STRING, .optional = true},
    {NULL},
};

const struct action_type snapshot_actions[] = {
    {"blockdev-snapshot", snapshot_open, snapshot_prepare, NULL, snapshot_undo},
    {"blockdev-snapshot-sync", sync_open, snapshot_prepare, NULL, snapshot_undo},
    {"blockdev-snapshot-internal-sync", device_open, internal_prepare, NULL, internal_undo},
    {"blockdev-snapshot-delete-internal-sync", device_open, delete_prepare, NULL, NULL},
    {NULL},
};

const struct qmp_command qmp_snapshot_commands[] = {
    {"blockdev-snapshot", "an overlay that was added takes the place of a node", action_run,
     snapshot_arguments},
    {"blockdev-snapshot-sync", "makes an overlay over a disk or node; '/dev/fdset/N' in a jail",
     action_run, sync_arguments},
    {"blockdev-snapshot-internal-sync", "keeps the state of a disk inside its image", action_run,
     internal_arguments},
    {"blockdev-snapshot-delete-internal-sync", "forgets a state that was kept inside", action_run,
     delete_arguments},
    {NULL},
};
