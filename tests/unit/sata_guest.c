/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sata_guest.h. */
#include "sata_guest.h"

#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/loop.h"

static void stop_loop(void *opaque)
{
    loop_stop(opaque);
}

void sata_turn(struct sata_guest *g, int64_t nanoseconds)
{
    struct loop_timer timer = {0};
    loop_timer_arm(&g->loop, &timer, nanoseconds, stop_loop, &g->loop);
    loop_run(&g->loop);
    loop_timer_cancel(&timer);
}

static void add(struct sata_guest *g, int fd, bool cdrom)
{
    struct drive_config config;
    struct kv_error err = {0};
    if (cdrom)
        cdrom_defaults(&config);
    else
        disk_defaults(&config);
    config.fd = fd;
    config.discard = 1;
    config.serial = (char *)(cdrom ? "cd" : "serial");
    if (ahci_add(g->ahci, &config, &err) < 0)
        abort();
}

void sata_guest_init(struct sata_guest *g, int disk_fd, int cd_fd)
{
    memset(g, 0, sizeof(*g));
    fake_pci_init(&g->pci);
    g->memory = mmap(NULL, SATA_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const struct guest_mem_region region = {.size = SATA_MEMORY, .hva = g->memory, .fd = -1};
    if (g->memory == MAP_FAILED || guest_mem_add(&g->mem, &region) < 0 ||
        loop_init(&g->loop, NULL) < 0 ||
        ahci_create(&g->ahci, NULL, &g->pci.bus, &g->mem, &g->loop, "sata", 0, NULL) < 0)
        abort();
    add(g, disk_fd, false);
    add(g, cd_fd, true);
    pci_config_write(&g->ahci->pci, PCI_BASE_ADDRESS_5, SATA_ABAR, 4);
    pci_config_write(&g->ahci->pci, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

void sata_guest_destroy(struct sata_guest *g)
{
    g->ahci->pci.device.ops->free(&g->ahci->pci.device);
    loop_destroy(&g->loop);
    fake_pci_destroy(&g->pci);
    munmap(g->memory, SATA_MEMORY);
}

static uint64_t register_at(unsigned port, unsigned reg)
{
    return SATA_ABAR + AHCI_PORTS_AT + AHCI_PORT_SIZE * port + 4 * reg;
}

uint32_t sata_read(struct sata_guest *g, unsigned port, unsigned reg)
{
    return (uint32_t)fake_read(&g->pci.mmio, register_at(port, reg), 4);
}

void sata_write(struct sata_guest *g, unsigned port, unsigned reg, uint32_t value)
{
    fake_write(&g->pci.mmio, register_at(port, reg), value, 4);
}

void sata_start(struct sata_guest *g, unsigned port)
{
    sata_write(g, port, PX_CMD, 0);
    sata_write(g, port, PX_CLB, SATA_LIST + port * 0x1000);
    sata_write(g, port, PX_CLBU, 0);
    sata_write(g, port, PX_FB, SATA_FIS + port * 0x100);
    sata_write(g, port, PX_FBU, 0);
    sata_write(g, port, PX_CMD, (uint32_t)CMD_FRE);
    sata_write(g, port, PX_SERR, UINT32_MAX);
    sata_write(g, port, PX_IS, UINT32_MAX);
    sata_write(g, port, PX_IE, UINT32_MAX);
    sata_write(g, port, PX_CMD, (uint32_t)(CMD_FRE | CMD_ST));
}

void sata_put(struct sata_guest *g, unsigned port, unsigned slot, const struct sata_command *c)
{
    uint8_t *header = g->memory + SATA_LIST + port * 0x1000 + slot * 32;
    uint32_t table_at = SATA_TABLES + port * 0x4000 + slot * 0x200;
    uint8_t *table = g->memory + table_at;
    unsigned prds = c->data_len ? 1 : 0;
    memset(table, 0, 0x200);
    memset(header, 0, 32);
    store_le(header, 5u | (c->write ? 0x40u : 0) | (c->packet ? 0x20u : 0), 2);
    store_le(header + 2, prds, 2);
    store_le(header + 8, table_at, 8);
    table[0] = FIS_H2D;
    table[1] = 0x80;
    table[2] = c->code;
    table[3] = c->queued ? (uint8_t)c->count : c->feature;
    store_le(table + 4, c->sector, 3);
    table[7] = c->device;
    store_le(table + 8, c->sector >> 24, 3);
    table[11] = c->queued ? (uint8_t)(c->count >> 8) : 0;
    store_le(table + 12, c->queued ? slot << 3 : c->count, 2);
    if (c->packet)
        memcpy(table + 0x40, c->packet, 12);
    store_le(table + 0x80, SATA_DATA, 8);
    store_le(table + 0x8c, c->data_len - 1, 4);
}

uint32_t sata_do(struct sata_guest *g, unsigned port, const struct sata_command *c)
{
    sata_put(g, port, 0, c);
    if (c->queued)
        sata_write(g, port, PX_SACT, 1);
    sata_write(g, port, PX_CI, 1);
    for (unsigned i = 0; i < 2000; i++) {
        bool waits = (sata_read(g, port, PX_CI) | sata_read(g, port, PX_SACT)) & 1;
        if (!waits || sata_read(g, port, PX_IS) & (IS_TFES | IS_HBFS | IS_HBDS))
            break;
        sata_turn(g, 200000);
    }
    return sata_read(g, port, PX_TFD) & 0xffff;
}
