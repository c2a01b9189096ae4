/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio-scsi with a disk of two LUNs and a CD-ROM, between a
 * driver that breaks every rule and a host that changes media and sizes. Commands
 * whose frame is right reach the SCSI commands, which SATA's packets reach, too.
 */
#include <linux/virtio_scsi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "acts.h"
#include "bad_driver.h"
#include "base/util.h"
#include "vmm/storage/scsi.h"
#include "vmm/virtio/scsi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK_SIZE (1u << 20)
#define FRAMES 64 /* of 256 bytes, from FUZZ_DATA on: header, response */

enum {
    COMMAND = FUZZ_OWN,
    MANAGE,
    TRAY,
    RESIZE,
    KINDS,
};

static struct fuzz_device f;
static int cd_fd;

static void add(bool cdrom, unsigned lun, int fd)
{
    struct drive_config config;
    struct kv_error err;
    if (cdrom)
        cdrom_defaults(&config);
    else
        disk_defaults(&config);
    config.fd = fd;
    config.discard = 1;
    config.unit = cdrom;
    config.lun = lun;
    if (virtio_scsi_add(f.dev, &config, &err) < 0)
        abort();
}

static void build(void)
{
    fuzz_device_init(&f);
    cd_fd = acts_file(DISK_SIZE);
    if (virtio_scsi_create(&f.dev, NULL, &f.mem, &f.loop, NULL) < 0)
        abort();
    add(false, 0, acts_file(DISK_SIZE));
    add(false, 1, acts_file(DISK_SIZE));
    add(true, 0, dup(cd_fd));
}

/* The command's bytes are the act's. */
static void command(const struct fuzz_act *act)
{
    uint32_t gpa = FUZZ_DATA + act->small % FRAMES * 256u;
    uint32_t data = 2 * FUZZ_DATA + (uint32_t)(act->value & 0x1ffff);
    uint32_t len = 512u * (act->small >> 6 & 0x1f);
    struct virtio_scsi_cmd_req header = {
        .lun = {1, act->queue >> 1 & 1, 0x40, act->queue >> 2 & 1}};
    bool out = act->queue & 1;
    memcpy(header.cdb, &act->value, 8);
    header.cdb[8] = (uint8_t)(act->small >> 8);
    header.cdb[9] = (uint8_t)act->small;
    header.cdb[13] = act->queue >> 4;
    if (act->queue & 8) /* near the beginning of the disk, where it is there */
        header.cdb[2] = header.cdb[3] = header.cdb[4] = 0;
    memcpy(f.memory + gpa, &header, sizeof(header));
    fuzz_device_add(&f, 2, gpa, sizeof(header), false, true);
    if (len && out)
        fuzz_device_add(&f, 2, data, len, false, true);
    fuzz_device_add(&f, 2, gpa + 128, sizeof(struct virtio_scsi_cmd_resp), true, len && !out);
    if (len && !out)
        fuzz_device_add(&f, 2, data, len, true, false);
    if (act->queue & 0x80)
        fuzz_device_kick(&f, 2);
}

static void manage(const struct fuzz_act *act)
{
    uint32_t gpa = FUZZ_DATA + act->small % FRAMES * 256u;
    const struct virtio_scsi_ctrl_tmf_req tmf = {
        .type = act->queue & 3,
        .subtype = act->queue >> 2 & 7,
        .lun = {1, (uint8_t)act->value & 1, 0x40, (uint8_t)(act->value >> 8) & 1}};
    memcpy(f.memory + gpa, &tmf, sizeof(tmf));
    fuzz_device_add(&f, 0, gpa, sizeof(tmf), false, true);
    fuzz_device_add(&f, 0, gpa + 128, 8, true, false);
    fuzz_device_kick(&f, 0);
}

static void run(const struct fuzz_act *act)
{
    switch (act->kind) {
    case COMMAND:
        command(act);
        break;
    case MANAGE:
        manage(act);
        break;
    case TRAY:
        acts_tray(drive_find(NULL, "cdrom0"), act->queue, cd_fd);
        break;
    case RESIZE:
        drive_resize(drive_find(NULL, "disk0"), act->value % (2 * DISK_SIZE), NULL);
        break;
    default:
        fuzz_device_act(&f, act);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f.dev)
        build();
    fuzz_device_input(&f, data, size, BIT(VIRTIO_SCSI_F_CHANGE), KINDS, run);
    virtio_device_reset(f.dev);
    drive_resize(drive_find(NULL, "disk0"), DISK_SIZE, NULL);
    return 0;
}
