/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One port of the AHCI controller: its registers (AHCI 1.3.1, 3.3), starting and
 * stopping (5.3, 10.1 to 10.4), and which command goes next. A guest's write only
 * changes registers and wakes the loop, so that no vCPU waits for a disk.
 */
#include "vmm/storage/ahci_internal.h"

#define CMD_WRITABLE (CMD_ST | CMD_FRE | CMD_ATAPI)
#define SSTS_CONNECTED 0x133 /* active, 6 Gb/s, device there and talked to */
#define SSTS_RESETTING 0x001
#define SIGNATURE_DISK 0x00000101
#define SIGNATURE_CDROM 0xeb140101
#define RFIS_AT 0x40
#define FIS_D2H 0x34

static uint64_t address_of(const struct ahci_port *port, unsigned low)
{
    return port->regs[low] | (uint64_t)port->regs[low + 1] << 32;
}

void ahci_port_receive(struct ahci_port *port, unsigned offset, const void *fis, size_t len)
{
    if (port->regs[PX_CMD] & CMD_FRE &&
        guest_mem_write(port->ahci->mem, address_of(port, PX_FB) + offset, fis, len) < 0)
        ahci_port_fatal(port, (uint32_t)IS_HBFS);
}

void ahci_port_fatal(struct ahci_port *port, uint32_t interrupt)
{
    port->failed = true;
    port->regs[PX_IS] |= interrupt;
    ahci_update_irq(port->ahci, true);
}

void ahci_port_signature(struct ahci_port *port)
{
    uint32_t signature = port->unit.drive.cdrom ? SIGNATURE_CDROM : SIGNATURE_DISK;
    uint8_t fis[FIS_SIZE] = {FIS_D2H, 0, ATA_READY, 1};
    fis[4] = (uint8_t)(signature >> 8);
    fis[5] = (uint8_t)(signature >> 16);
    fis[6] = (uint8_t)(signature >> 24);
    fis[12] = (uint8_t)signature;
    port->regs[PX_SIG] = signature;
    port->regs[PX_TFD] = 1 << 8 | ATA_READY;
    ahci_port_receive(port, RFIS_AT, fis, sizeof(fis));
}

void ahci_port_reset_registers(struct ahci_port *port)
{
    memset(port->regs, 0, sizeof(port->regs));
    port->queued = 0;
    port->failed = false;
    port->regs[PX_CMD] = (uint32_t)(CMD_SUD | CMD_POD);
    port->regs[PX_SSTS] = SSTS_CONNECTED;
    port->regs[PX_SERR] = (uint32_t)SERR_EXCHANGED;
    port->regs[PX_IS] = (uint32_t)IS_PCS;
    ahci_port_signature(port);
}

/* ------------------------------------------------------------------- registers */

uint32_t ahci_port_read(struct ahci_port *port, unsigned reg)
{
    return port->regs[reg];
}

/* Commands that were not done are forgotten (10.3.1). */
static void stopped(struct ahci_port *port)
{
    port->regs[PX_CI] = port->regs[PX_SACT] = 0;
    port->queued = 0;
    port->failed = false;
    port->regs[PX_CMD] &= ~(uint32_t)(CMD_CR | 0x1fu << CMD_CCS_SHIFT);
}

static void write_cmd(struct ahci_port *port, uint32_t value)
{
    uint32_t *cmd = &port->regs[PX_CMD], old = *cmd;
    uint32_t wanted = (old & ~(uint32_t)CMD_WRITABLE) | (value & (uint32_t)CMD_WRITABLE);
    /* It begins again only after it has come to a stop, and reception ends after that. */
    if (old & CMD_CR && !(old & CMD_ST))
        wanted &= ~(uint32_t)CMD_ST;
    if (old & CMD_CR && wanted & CMD_CR)
        wanted |= old & (uint32_t)CMD_FRE;
    *cmd = wanted;
    if (wanted & CMD_FRE)
        *cmd |= (uint32_t)CMD_FR;
    else
        *cmd &= ~(uint32_t)CMD_FR;
    if (wanted & CMD_FRE && !(old & CMD_FRE) && !(old & CMD_CR))
        ahci_port_signature(port); /* it has waited for a place to go to */
    if (value & CMD_CLO && !(wanted & CMD_ST))
        port->regs[PX_TFD] &= ~(uint32_t)(ATA_BSY | 0x08);
    if (wanted & CMD_ST && !(old & CMD_ST))
        *cmd |= (uint32_t)CMD_CR;
    if (!(wanted & CMD_ST) && old & CMD_ST && !port->running)
        stopped(port);
}

/* COMRESET (10.4.2): the device comes back when the reset is let go of. */
static void write_sctl(struct ahci_port *port, uint32_t value)
{
    bool was = (port->regs[PX_SCTL] & 0xf) == 1, is = (value & 0xf) == 1;
    port->regs[PX_SCTL] = value & 0xfff;
    if (is) {
        port->regs[PX_SSTS] = SSTS_RESETTING;
        port->regs[PX_TFD] = 0x7f;
    } else if (was) {
        port->regs[PX_CI] = port->regs[PX_SACT] = 0;
        port->queued = 0;
        port->regs[PX_SSTS] = SSTS_CONNECTED;
        port->regs[PX_SERR] |= (uint32_t)SERR_EXCHANGED;
        port->regs[PX_IS] |= (uint32_t)IS_PCS;
        ahci_port_signature(port);
    }
}

void ahci_port_write(struct ahci_port *port, unsigned reg, uint32_t value)
{
    uint32_t *at = &port->regs[reg];
    bool started = (port->regs[PX_CMD] & CMD_ST) != 0;
    switch (reg) {
    case PX_CLB:
        *at = value & ~0x3ffu;
        break;
    case PX_FB:
        *at = value & ~0xffu;
        break;
    case PX_CLBU:
    case PX_FBU:
        *at = value;
        break;
    case PX_IS:
        *at &= ~value;
        if (port->regs[PX_SERR] & SERR_EXCHANGED)
            *at |= (uint32_t)IS_PCS; /* goes with the bit in PxSERR (3.3.5) */
        break;
    case PX_IE:
        *at = value & (uint32_t)IS_ALL;
        break;
    case PX_CMD:
        write_cmd(port, value);
        break;
    case PX_SCTL:
        write_sctl(port, value);
        break;
    case PX_SERR:
        *at &= ~value;
        if (!(*at & SERR_EXCHANGED))
            port->regs[PX_IS] &= ~(uint32_t)IS_PCS;
        break;
    case PX_SACT:
    case PX_CI:
        if (started)
            *at |= value;
        if (started && reg == PX_CI)
            loop_post(port->ahci->loop, &port->work);
        break;
    default: /* read-only, or not there */
        break;
    }
}

/* ---------------------------------------------------------------------- order */

/* The slot to begin with now, or -1. Queued commands run together; any other one alone. */
static int pick(const struct ahci_port *port)
{
    uint32_t ready = port->regs[PX_CI] & ~port->running;
    uint32_t alone = port->running & ~port->queued;
    if (!(port->regs[PX_CMD] & CMD_ST) || port->failed || port->resetting || alone || !ready)
        return -1;
    int slot = __builtin_ctz(ready);
    if (port->running && !(port->regs[PX_SACT] >> slot & 1))
        return -1;
    return slot;
}

void ahci_port_run(void *opaque)
{
    struct ahci_port *port = opaque;
    if (port->in_run || port->paused)
        return;
    port->in_run = true;
    for (;;) {
        pthread_mutex_lock(&port->ahci->lock);
        int slot = pick(port);
        if (slot >= 0) {
            port->running |= 1u << slot;
            port->regs[PX_CMD] &= ~(uint32_t)(0x1fu << CMD_CCS_SHIFT);
            port->regs[PX_CMD] |= (uint32_t)slot << CMD_CCS_SHIFT;
        }
        pthread_mutex_unlock(&port->ahci->lock);
        if (slot < 0)
            break;
        ahci_slot_start(&port->slots[slot]);
    }
    port->in_run = false;
    drive_kick(&port->unit.queue);
}

void ahci_port_ended(struct ahci_port *port, unsigned slot)
{
    port->running &= ~(1u << slot);
    port->queued &= ~(1u << slot);
    if (port->resetting)
        ahci_reset_step(port->ahci);
    else if (!port->running && port->regs[PX_CMD] & CMD_CR && !(port->regs[PX_CMD] & CMD_ST))
        stopped(port);
    else if (pick(port) >= 0 && !port->in_run)
        loop_post(port->ahci->loop, &port->work);
}
