/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the media of a running machine's CD-ROMs; see machine.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/machine/config.h"
#include "daemon/machine/hand_over.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define TRAY_WAIT_MS 5000 /* for a guest that was asked to let go; libvirt's */
#define TRAY_STEP_MS 50

static bool tray_is_open(struct machine *machine, const char *alias)
{
    json_t *list;
    bool open = false;
    if (machine_qmp(machine, "query-block", NULL, &list, NULL) < 0)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *device = json_string_value(json_object_get(item, "device"));
        if (device && strcmp(device, alias) == 0)
            open = json_is_true(json_object_get(item, "tray_open"));
    }
    json_decref(list);
    return open;
}

/* A locked tray is refused by the monitor, which asks the guest for it. */
static int run(struct machine *machine, const struct machine_medium *medium, const char *command,
               json_t *arguments, struct kv_error *err)
{
    const char *alias = medium->disk->device.alias;
    struct kv_error why = {0};
    json_object_set_new(arguments, "id", json_string(alias));
    json_object_set_new(arguments, "force", json_boolean(medium->force));
    int rc = machine_qmp(machine, command, json_incref(arguments), NULL, &why);
    bool locked = rc < 0 && strstr(why.message, "is locked and force was not specified");
    for (int ms = 0; locked && ms < TRAY_WAIT_MS; ms += TRAY_STEP_MS) {
        usleep(TRAY_STEP_MS * 1000);
        if (!tray_is_open(machine, alias))
            continue;
        locked = false;
        rc = machine_qmp(machine, command, json_incref(arguments), NULL, &why);
    }
    json_decref(arguments);
    if (locked)
        return api_error(err, VIR_ERR_OPERATION_FAILED, "timed out waiting to open tray of '%s'",
                         medium->disk->target);
    if (rc < 0 && err)
        *err = why;
    return rc;
}

static int eject(struct machine *machine, const struct machine_medium *medium, struct kv_error *err)
{
    const char *alias = medium->disk->device.alias;
    int rc = run(machine, medium, "blockdev-open-tray", json_object(), err);
    if (rc == 0)
        rc = machine_qmp(machine, "blockdev-remove-medium", json_pack("{s:s}", "id", alias), NULL,
                         err);
    return rc < 0 ? rc
                  : machine_qmp(machine, "blockdev-close-tray", json_pack("{s:s}", "id", alias),
                                NULL, err);
}

static int insert(struct machine *machine, const struct machine_medium *medium,
                  struct kv_error *err)
{
    const struct machine_start start = {.volume = medium->volume};
    struct plan plan;
    json_t *path = NULL;
    int rc = hand_over_begin(&plan, machine, medium->disk->device.alias, err);
    if (rc < 0)
        return rc;
    rc = config_image_path(&plan, &start, medium->disk, &path, err);
    if (rc == 0)
        rc = hand_over_files(&plan, err);
    if (rc == 0) {
        const char *format = medium->disk->image.format;
        rc = run(machine, medium, "blockdev-change-medium",
                 json_pack("{s:O, s:s}", "filename", path, "format", format ? format : "raw"), err);
    }
    hand_over_forget_files(&plan);
    json_decref(path);
    plan_free(&plan);
    return rc;
}

/* Where its size is looked at. */
static int note(struct machine *machine, const struct model_disk *disk, struct kv_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&machine->lock);
    json_t *disks = json_copy(json_object_get(machine->record.json, "disks"));
    if (!disks)
        disks = json_object();
    if (disk->image.path)
        json_object_set_new(disks, disk->device.alias, json_string(disk->image.path));
    else
        json_object_del(disks, disk->device.alias);
    if (machine->dead)
        json_decref(disks);
    else
        rc = record_set(&machine->record, "disks", disks, err);
    pthread_mutex_unlock(&machine->lock);
    return rc;
}

int machine_change_medium(struct machine *machine, const struct machine_medium *medium,
                          struct kv_error *err)
{
    int rc = config_has_medium(medium->disk) ? insert(machine, medium, err)
                                             : eject(machine, medium, err);
    return rc < 0 ? rc : note(machine, medium->disk, err);
}
