/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device classes "disk" and "cdrom": a drive goes to the front end that its bus names. */
#include "vmm/storage/ahci.h"
#include "vmm/storage/classes.h"
#include "vmm/storage/drive.h"
#include "vmm/storage/nvme.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/scsi.h"

static int attach(struct machine *machine, const void *opaque, struct kv_error *err)
{
    static int (*const buses[])(struct machine * machine, const struct drive_config *config,
                                struct kv_error *err) = {
        [DRIVE_BUS_VIRTIO] = blk_attach,
        [DRIVE_BUS_SATA] = ahci_attach,
        [DRIVE_BUS_SCSI] = virtio_scsi_attach,
        [DRIVE_BUS_NVME] = nvme_attach,
    };
    const struct drive_config *config = opaque;
    int bus = config->bus;
    if (bus == DRIVE_BUS_DEFAULT)
        bus = config->cdrom ? DRIVE_BUS_SATA : DRIVE_BUS_VIRTIO;
    return buses[bus](machine, config, err);
}

static const char *plug_obstacle(const void *opaque)
{
    const struct drive_config *config = opaque;
    return config->bus == DRIVE_BUS_DEFAULT || config->bus == DRIVE_BUS_VIRTIO
               ? NULL
               : "disks with bus=virtio can";
}

const struct device_class disk_class = {
    .option = "disk",
    .implied = "path",
    .help = "a disk",
    .options = disk_options,
    .config_size = sizeof(struct drive_config),
    .defaults = disk_defaults,
    .create = attach,
    .plug_obstacle = plug_obstacle,
};

const struct device_class cdrom_class = {
    .option = "cdrom",
    .implied = "path",
    .help = "a CD-ROM drive, with a medium or (path and fd not given) without",
    .options = cdrom_options,
    .config_size = sizeof(struct drive_config),
    .defaults = cdrom_defaults,
    .create = attach,
};
