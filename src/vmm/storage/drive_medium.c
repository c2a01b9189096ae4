/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tray and medium of a CD-ROM, as the host changes them: eject,
 * blockdev-open-tray and so on. The guest's own way is START STOP UNIT
 * (scsi_cdrom.c). Control thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/machine/machine.h"
#include "vmm/storage/drive.h"

static int check_removable(const struct drive *drive, struct kv_error *err)
{
    if (drive->cdrom)
        return 0;
    return kv_error_set(err, KV_ERR_DEVICE, EINVAL, "Device '%s' is not removable", drive->id);
}

static void tell_guest(struct drive *drive)
{
    if (drive->ops->medium_changed)
        drive->ops->medium_changed(drive);
}

static void tell_clients(struct drive *drive)
{
    machine_emit(drive->machine, "DEVICE_TRAY_MOVED",
                 json_pack("{s:s, s:s, s:b}", "device", drive->id, "id", drive->id, "tray-open",
                           atomic_load(&drive->tray_open)));
}

int drive_open_tray(struct drive *drive, bool force, struct kv_error *err)
{
    int rc = check_removable(drive, err);
    if (rc < 0 || atomic_load(&drive->tray_open))
        return rc;
    if (atomic_load(&drive->tray_locked) && !force) {
        if (drive->ops->eject_requested)
            drive->ops->eject_requested(drive);
        return kv_error_set(err, KV_ERR_DEVICE, EBUSY,
                            "Device '%s' is locked and force was not specified, wait for tray to "
                            "open and try again",
                            drive->id);
    }
    atomic_store(&drive->tray_locked, false);
    atomic_store(&drive->tray_open, true);
    tell_guest(drive);
    tell_clients(drive);
    return 0;
}

int drive_close_tray(struct drive *drive, struct kv_error *err)
{
    int rc = check_removable(drive, err);
    if (rc < 0 || !atomic_load(&drive->tray_open))
        return rc;
    atomic_store(&drive->tray_open, false);
    tell_guest(drive);
    tell_clients(drive);
    return 0;
}

static int check_tray(const struct drive *drive, struct kv_error *err)
{
    int rc = check_removable(drive, err);
    if (rc < 0 || atomic_load(&drive->tray_open))
        return rc;
    return kv_error_set(err, KV_ERR_DEVICE, EINVAL, "Tray of device '%s' is not open", drive->id);
}

/* On the queue's loop: what was under way is done, and nothing goes on with the medium. */
static void let_go(void *opaque)
{
    struct drive_queue *queue = opaque;
    if (!queue->io)
        return;
    drive_queue_stop(queue);
    block_queue_free(queue->io);
    queue->io = NULL;
    while (!list_empty(&queue->held)) {
        struct drive_request *request = list_entry(queue->held.next, struct drive_request, node);
        list_del(&request->node);
        request->done(request, true);
    }
}

int drive_remove_medium(struct drive *drive, struct kv_error *err)
{
    int rc = check_tray(drive, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < drive->queue_count; i++)
        loop_call(drive->queues[i]->loop, let_go, drive->queues[i]);
    block_root_free(drive->root);
    drive->root = NULL;
    __atomic_store_n(&drive->sectors, 0, __ATOMIC_RELAXED);
    free(drive->path);
    drive->path = NULL;
    return 0;
}

int drive_insert_medium(struct drive *drive, struct block_node *node, struct kv_error *err)
{
    int rc = check_tray(drive, err);
    if (rc < 0)
        return rc;
    if (drive->root)
        return kv_error_set(err, KV_ERR_DEVICE, EEXIST, "There already is a medium in device '%s'",
                            drive->id);
    drive->path = strdup(block_name(node));
    if (!drive->path)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "disk '%s': out of memory", drive->id);
    rc = drive_attach_medium(drive, node, false, err);
    for (unsigned i = 0; rc == 0 && i < drive->queue_count; i++)
        rc = drive_queue_open(drive->queues[i], err);
    if (rc < 0) {
        struct kv_error ignored;
        drive_remove_medium(drive, &ignored);
    }
    return rc;
}
