/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about tray and medium of CD-ROMs, with QEMU's names and arguments. */
#include <errno.h>

#include "base/util.h"
#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"
#include "vmm/storage/drive.h"

/* By "id" (what device_add calls it) or "device": both are a drive's one name here. */
static struct drive *find(struct qmp_call *call)
{
    const char *id = qmp_string(call, "id"), *device = qmp_string(call, "device");
    const char *name = id ? id : device;
    struct drive *drive = NULL;
    if (!name || (id && device))
        qmp_fail(call, QMP_GENERIC_ERROR, "Exactly one of 'device' and 'id' must be given");
    else if (!(drive = drive_find(call->machine, name)))
        qmp_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%.100s' not found", name);
    return drive;
}

static json_t *answer(int rc)
{
    return rc < 0 ? NULL : qmp_done();
}

static bool is_forced(const struct qmp_call *call)
{
    bool force = false;
    qmp_boolean(call, "force", &force);
    return force;
}

static json_t *open_tray(struct qmp_call *call)
{
    struct drive *drive = find(call);
    return drive ? answer(drive_open_tray(drive, is_forced(call), &call->error)) : NULL;
}

static json_t *close_tray(struct qmp_call *call)
{
    struct drive *drive = find(call);
    return drive ? answer(drive_close_tray(drive, &call->error)) : NULL;
}

static json_t *remove_medium(struct qmp_call *call)
{
    struct drive *drive = find(call);
    return drive ? answer(drive_remove_medium(drive, &call->error)) : NULL;
}

static json_t *insert_medium(struct qmp_call *call)
{
    struct drive *drive = find(call);
    struct block_node *node =
        drive ? block_find_node(qmp_string(call, "node-name"), &call->error) : NULL;
    int rc = node ? drive_insert_medium(drive, node, &call->error) : -EINVAL;
    block_close(node);
    return answer(rc);
}

static json_t *eject(struct qmp_call *call)
{
    struct drive *drive = find(call);
    if (!drive || drive_open_tray(drive, is_forced(call), &call->error) < 0)
        return NULL;
    return answer(drive_remove_medium(drive, &call->error));
}

/* The new medium is opened before the old one goes, which is put back when the drive cannot have
 * the new one: a failure changes nothing. */
static int exchange(struct drive *drive, struct block_node *node, bool force, struct kv_error *err)
{
    bool was_open = atomic_load(&drive->tray_open);
    struct kv_error ignored;
    int rc = drive_open_tray(drive, force, err);
    if (rc < 0)
        return rc;
    struct block_node *old = drive_node(drive);
    rc = drive_remove_medium(drive, err);
    if (rc == 0)
        rc = drive_insert_medium(drive, node, err);
    if (rc < 0 && old)
        drive_insert_medium(drive, old, &ignored);
    if (rc == 0 || !was_open)
        drive_close_tray(drive, &ignored);
    block_close(old);
    return rc;
}

static json_t *change_medium(struct qmp_call *call)
{
    struct drive *drive = find(call);
    const char *format = qmp_string(call, "format");
    struct block_node *node;
    if (!drive)
        return NULL;
    const struct block_open_options options = {
        .path = qmp_string(call, "filename"),
        .fd = -1,
        .format = format ? format : "raw",
        .readonly = true,
        .cache = drive->cache,
        .aio = drive->aio,
    };
    if (!drive->cdrom)
        return qmp_fail(call, QMP_GENERIC_ERROR, "Device '%s' is not removable", drive->id);
    if (block_open(&node, &options, &call->error) < 0)
        return NULL;
    int rc = exchange(drive, node, is_forced(call), &call->error);
    block_close(node);
    return answer(rc);
}

#define DEVICE                                \
    {"device", QMP_STRING, .optional = true}, \
    {                                         \
        "id", QMP_STRING, .optional = true    \
    }
static const struct qmp_argument device_arguments[] = {DEVICE, {NULL}};
static const struct qmp_argument open_arguments[] = {
    DEVICE, {"force", QMP_BOOLEAN, .optional = true}, {NULL}};
static const struct qmp_argument insert_arguments[] = {
    {"id", QMP_STRING}, {"node-name", QMP_STRING}, {NULL}};
static const char *const read_only_modes[] = {"retain", "read-only", NULL};
static const struct qmp_argument change_arguments[] = {
    DEVICE,
    {"filename", QMP_STRING},
    {"format", QMP_STRING, .optional = true},
    {"force", QMP_BOOLEAN, .optional = true},
    {"read-only-mode", QMP_STRING, .optional = true, .values = read_only_modes},
    {NULL},
};

const struct qmp_command qmp_medium_commands[] = {
    {"eject", "opens a CD-ROM's tray and takes the medium out", eject, open_arguments},
    {"blockdev-open-tray", "opens a CD-ROM's tray; a guest that locked it is asked", open_tray,
     open_arguments},
    {"blockdev-close-tray", "closes a CD-ROM's tray", close_tray, device_arguments},
    {"blockdev-remove-medium", "takes the medium out of an open tray", remove_medium,
     device_arguments},
    {"blockdev-insert-medium", "puts a node into an open tray", insert_medium, insert_arguments},
    {"blockdev-change-medium", "another medium for a CD-ROM, raw unless format says so",
     change_medium, change_arguments},
    {NULL},
};
