/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a SATA controller with a disk and a CD-ROM. A guest writes its
 * registers and its memory as it likes, issues ATA commands and packets whose
 * frame is right, pauses and resets; the host changes media and sizes. A port
 * that is started properly after all that must carry a command out.
 */
#include <unistd.h>

#include "acts.h"
#include "sata_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    REGISTER,
    POKE,
    COMMAND,
    PACKET,
    ISSUE,
    TURN,
    START,
    PAUSE,
    RESET,
    TRAY,
    RESIZE,
    CONFIG,
    KINDS,
};

static struct sata_guest g;
static int disk_fd, cd_fd;

static void build(void)
{
    disk_fd = acts_file(SATA_DISK_SIZE);
    cd_fd = acts_file(SATA_CD_SIZE);
    sata_guest_init(&g, dup(disk_fd), dup(cd_fd));
}

static void put(const struct act *act, bool packet)
{
    uint8_t cdb[12] = {act->a, (uint8_t)act->value};
    memcpy(cdb + 2, (const uint8_t *)&act->value + 1, 7);
    cdb[9] = (uint8_t)act->b;
    struct sata_command c = {
        .code = packet ? 0xa0 : act->a,
        .feature = (uint8_t)(act->value >> 56),
        .sector = act->value & 0xffffffffffff,
        .count = act->b >> 5 & 0xff,
        .device = 0x40,
        .queued = act->a == 0x60 || act->a == 0x61,
        .write = act->b & 0x8000,
        .packet = packet ? cdb : NULL,
        .data_len = (uint32_t)(act->value >> 44 & 0xfffff),
    };
    unsigned port = packet ? 1 : act->b >> 14 & 1, slot = act->b & 31;
    if (!packet && act->value >> 63)
        c.sector %= SATA_DISK_SIZE / 512;
    sata_put(&g, port, slot, &c);
    if (c.queued)
        sata_write(&g, port, PX_SACT, 1u << slot);
    sata_write(&g, port, PX_CI, 1u << slot);
}

static void run(const struct act *act)
{
    struct device *device = &g.ahci->pci.device;
    struct kv_error err;
    switch (act->kind % KINDS) {
    case REGISTER:
        fake_write(&g.pci.mmio, SATA_ABAR + act->b % 0x400, act->value, 1u << (act->a & 3));
        fake_read(&g.pci.mmio, SATA_ABAR + act->b % 0x400, 1u << (act->a >> 2 & 3));
        break;
    case POKE:
        store_le(g.memory + (SATA_LIST + (act->b & 0x7fff) * 2u), act->value, 8);
        break;
    case COMMAND:
        put(act, false);
        break;
    case PACKET:
        put(act, true);
        break;
    case ISSUE:
        sata_write(&g, act->a & 1, PX_SACT, (uint32_t)(act->value >> 32));
        sata_write(&g, act->a & 1, PX_CI, (uint32_t)act->value);
        break;
    case TURN:
        sata_turn(&g, 0);
        break;
    case START:
        sata_start(&g, act->a & 1);
        break;
    case PAUSE:
        acts_pause(device, act->a & 1);
        break;
    case RESET:
        device->ops->reset(device);
        pci_config_write(&g.ahci->pci, 0x24, SATA_ABAR, 4);
        pci_config_write(&g.ahci->pci, 4, 6, 2);
        break;
    case TRAY:
        acts_tray(&g.ahci->ports[1]->unit.drive, act->a, cd_fd);
        break;
    case RESIZE:
        drive_resize(&g.ahci->ports[0]->unit.drive, act->value % (2 * SATA_DISK_SIZE), &err);
        break;
    default:
        pci_config_write(&g.ahci->pci, act->b % 256, (uint32_t)act->value, 1u << act->a % 3);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct act reset = {.kind = RESET};
    /* A read: unlike a flush it ends without another thread. */
    const struct sata_command last = {.code = 0x25, .device = 0x40, .count = 1, .data_len = 512};
    if (!g.ahci)
        build();
    acts_run(data, size, run);
    sata_turn(&g, 0);
    run(&reset);
    drive_resize(&g.ahci->ports[0]->unit.drive, SATA_DISK_SIZE, NULL);
    sata_start(&g, 0);
    require(sata_do(&g, 0, &last) == ATA_READY);
    return 0;
}
