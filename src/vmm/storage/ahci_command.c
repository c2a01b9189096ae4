/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command of a port: header, FIS and buffers are read out of the guest's
 * memory and checked (AHCI 1.3.1, 4.2 and 5.3), and its end is told there
 * (5.5, 5.6). On the port's loop.
 */
#include <stdlib.h>

#include "vmm/storage/ahci_internal.h"

#define HEADER_SIZE 32
#define PACKET_AT 0x40
#define PRDT_AT 0x80
#define PRD_SIZE 16
#define PRD_BATCH 32
#define IOV_GROWN_MAX 8200 /* the longest transfer, 32 MiB, in pages, whatever its offset */
#define IOV_KEPT 256       /* a longer list is given back after its command */
/* Places of received FISes (4.2.1). */
#define PSFIS_AT 0x20
#define RFIS_AT 0x40
#define SDBFIS_AT 0x58
#define FIS_D2H 0x34
#define FIS_PIO_SETUP 0x5f
#define FIS_DEVICE_BITS 0xa1
#define FIS_INTERRUPT 0x40
/* Command header */
#define HEADER_ATAPI BIT(5)
#define HEADER_CLEAR_BUSY BIT(10)

/* Something is not memory; the command stays in PxCI, and the port stands. */
static void fatal(struct ahci_slot *slot, uint32_t interrupt)
{
    struct ahci_port *port = slot->port;
    slot->running = false;
    pthread_mutex_lock(&port->ahci->lock);
    if (port->regs[PX_CMD] & CMD_ST)
        ahci_port_fatal(port, interrupt);
    ahci_port_ended(port, slot->index);
    pthread_mutex_unlock(&port->ahci->lock);
}

/* ------------------------------------------------------------------- buffers */

static bool grow(struct ahci_slot *slot)
{
    unsigned room = slot->iov_room ? 2 * slot->iov_room : 32;
    if (slot->iov_room >= IOV_GROWN_MAX)
        return false;
    struct iovec *iov = realloc(slot->iov, room * sizeof(*iov));
    if (!iov)
        return false;
    slot->iov = iov;
    slot->iov_room = room;
    return true;
}

/* One entry of the table (4.2.3.3). -1: not memory; -2: too many pieces. */
static int add_buffer(struct ahci_slot *slot, const uint8_t *prd, uint64_t wanted)
{
    uint64_t address = load_le(prd, 8) & ~UINT64_C(1);
    uint64_t len = MIN((load_le(prd + 12, 4) & 0x3fffff) + 1, wanted - slot->iov_len);
    while (slot->iov_room - slot->iov_count < GUEST_MEM_REGIONS_MAX) {
        if (!grow(slot))
            return -2;
    }
    int n = guest_mem_iovec(slot->port->ahci->mem, address, len, &slot->iov[slot->iov_count],
                            slot->iov_room - slot->iov_count);
    if (n < 0)
        return -1;
    slot->iov_count += (unsigned)n;
    slot->iov_len += len;
    return 0;
}

bool ahci_slot_gather(struct ahci_slot *slot, uint64_t len)
{
    uint8_t prds[PRD_BATCH * PRD_SIZE];
    slot->iov_count = 0;
    slot->iov_len = 0;
    for (unsigned i = 0; i < slot->prd_count && slot->iov_len < len; i++) {
        unsigned at = i % PRD_BATCH;
        unsigned count = MIN(slot->prd_count - i, (unsigned)PRD_BATCH);
        int rc = 0;
        if (at == 0 &&
            guest_mem_read(slot->port->ahci->mem, slot->table + PRDT_AT + (uint64_t)i * PRD_SIZE,
                           prds, (size_t)count * PRD_SIZE) < 0)
            rc = -1;
        if (rc == 0)
            rc = add_buffer(slot, prds + (size_t)at * PRD_SIZE, len);
        if (rc < 0)
            return rc == -2;
    }
    return true;
}

bool ahci_slot_map(struct ahci_slot *slot, uint64_t len)
{
    bool memory = ahci_slot_gather(slot, len);
    if (!memory)
        fatal(slot, (uint32_t)IS_HBDS);
    return memory;
}

/* For migration: what the device wrote. */
static void mark_dirty(const struct ahci_slot *slot, uint64_t len)
{
    for (unsigned i = 0; i < slot->iov_count && len; i++) {
        uint64_t n = MIN(slot->iov[i].iov_len, len);
        guest_mem_mark_dirty_hva(slot->port->ahci->mem, slot->iov[i].iov_base, n);
        len -= n;
    }
}

/* ---------------------------------------------------------------------- end */

static void tell_register(struct ahci_port *port, const struct ahci_slot *slot, uint8_t status,
                          uint8_t error)
{
    uint8_t fis[FIS_SIZE] = {FIS_D2H, FIS_INTERRUPT, status, error};
    memcpy(fis + 4, slot->fis + 4, 10);
    if (slot->fis[2] == 0xa0)
        fis[12] = 3; /* of a packet: done */
    ahci_port_receive(port, RFIS_AT, fis, sizeof(fis));
    port->regs[PX_IS] |= (uint32_t)IS_DHRS;
}

static void tell_pio(struct ahci_port *port, const struct ahci_slot *slot, uint8_t status)
{
    uint8_t fis[FIS_SIZE] = {FIS_PIO_SETUP, FIS_INTERRUPT | 0x20, status, 0};
    memcpy(fis + 4, slot->fis + 4, 10);
    fis[15] = status;
    store_le(fis + 16, slot->transferred, 2);
    ahci_port_receive(port, PSFIS_AT, fis, sizeof(fis));
    port->regs[PX_IS] |= (uint32_t)IS_PSS;
}

static void tell_queued(struct ahci_port *port, uint32_t done, uint8_t status, uint8_t error)
{
    uint8_t fis[8] = {FIS_DEVICE_BITS, FIS_INTERRUPT, status & 0x77, error};
    store_le(fis + 4, done, 4);
    ahci_port_receive(port, SDBFIS_AT, fis, sizeof(fis));
    port->regs[PX_SACT] &= ~done;
    port->regs[PX_IS] |= (uint32_t)IS_SDBS;
}

/* Under the lock; the guest still waits for it. */
static void tell_end(struct ahci_slot *slot, uint8_t status, uint8_t error)
{
    struct ahci_port *port = slot->port;
    uint32_t bit = 1u << slot->index;
    bool bad = status & ATA_ERR;
    uint8_t count[4];
    store_le(count, slot->transferred, 4);
    uint64_t list = port->regs[PX_CLB] | (uint64_t)port->regs[PX_CLBU] << 32;
    if (slot->protocol != AHCI_QUEUED)
        guest_mem_write(port->ahci->mem, list + (uint64_t)slot->index * HEADER_SIZE + 4, count, 4);
    port->regs[PX_TFD] = (uint32_t)error << 8 | status;
    if (slot->protocol == AHCI_QUEUED && port->queued & bit)
        tell_queued(port, bad ? 0 : bit, status, error);
    else if (slot->protocol == AHCI_PIO_IN && !bad)
        tell_pio(port, slot, status);
    else
        tell_register(port, slot, status, error);
    if (bad) {
        port->failed = true;
        port->regs[PX_IS] |= (uint32_t)IS_TFES;
    } else {
        port->regs[PX_CI] &= ~bit;
    }
    ahci_update_irq(port->ahci, true);
}

void ahci_slot_finish(struct ahci_slot *slot, uint8_t status, uint8_t error)
{
    struct ahci_port *port = slot->port;
    uint32_t bit = 1u << slot->index;
    slot->running = false;
    if (!slot->task.to_device)
        mark_dirty(slot, slot->transferred);
    if (slot->iov_room > IOV_KEPT) {
        free(slot->iov);
        slot->iov = NULL;
        slot->iov_room = 0;
    }
    pthread_mutex_lock(&port->ahci->lock);
    bool waited_for = port->regs[PX_CMD] & CMD_ST && (port->regs[PX_CI] | port->queued) & bit;
    if (waited_for && !port->failed && !port->resetting)
        tell_end(slot, status, error);
    ahci_port_ended(port, slot->index);
    pthread_mutex_unlock(&port->ahci->lock);
}

void ahci_slot_abort(struct ahci_slot *slot)
{
    ahci_slot_finish(slot, ATA_READY | ATA_ERR, ATA_ABORTED);
}

void ahci_slot_reply(struct ahci_slot *slot, const void *data, size_t len)
{
    const uint8_t *from = data;
    slot->task.to_device = false;
    if (!ahci_slot_map(slot, len))
        return;
    for (unsigned i = 0; i < slot->iov_count; i++) {
        memcpy(slot->iov[i].iov_base, from, slot->iov[i].iov_len);
        from += slot->iov[i].iov_len;
    }
    slot->transferred = (uint32_t)slot->iov_len;
    ahci_slot_finish(slot, ATA_READY, 0);
}

/* --------------------------------------------------------------------- begin */

/* The control register's write: software reset while its bit is set, and the signature after it
 * (SATA 3, 11.4). */
static void control(struct ahci_slot *slot)
{
    struct ahci_port *port = slot->port;
    bool reset = slot->fis[15] & 0x04, over = port->srst && !reset;
    port->srst = reset;
    slot->running = false;
    if (over)
        ata_reset(port);
    pthread_mutex_lock(&port->ahci->lock);
    port->regs[PX_CI] &= ~(1u << slot->index);
    if (over)
        ahci_port_signature(port);
    else if (reset && !(slot->flags & HEADER_CLEAR_BUSY))
        port->regs[PX_TFD] |= ATA_BSY;
    ahci_port_ended(port, slot->index);
    pthread_mutex_unlock(&port->ahci->lock);
}

void ahci_slot_start(struct ahci_slot *slot)
{
    struct ahci_port *port = slot->port;
    const struct guest_mem *mem = port->ahci->mem;
    uint8_t header[HEADER_SIZE];
    slot->running = true;
    slot->protocol = AHCI_REGISTER;
    slot->transferred = 0;
    slot->iov_count = 0;
    slot->iov_len = 0;
    slot->task.to_device = false;
    slot->task.ranges = NULL;
    slot->task.request.queue = &port->unit.queue;
    pthread_mutex_lock(&port->ahci->lock);
    uint64_t list = port->regs[PX_CLB] | (uint64_t)port->regs[PX_CLBU] << 32;
    pthread_mutex_unlock(&port->ahci->lock);
    if (guest_mem_read(mem, list + (uint64_t)slot->index * HEADER_SIZE, header, sizeof(header)) <
        0) {
        fatal(slot, (uint32_t)IS_HBFS);
        return;
    }
    slot->flags = (uint16_t)load_le(header, 2);
    slot->prd_count = (unsigned)load_le(header + 2, 2);
    slot->table = load_le(header + 8, 8) & ~UINT64_C(0x7f);
    bool packet = slot->flags & HEADER_ATAPI;
    if (guest_mem_read(mem, slot->table, slot->fis, sizeof(slot->fis)) < 0 ||
        (packet &&
         guest_mem_read(mem, slot->table + PACKET_AT, slot->packet, sizeof(slot->packet)) < 0)) {
        fatal(slot, (uint32_t)IS_HBFS);
        return;
    }
    /* A whole register FIS to the one device there is; nothing else goes out here. */
    if ((slot->flags & 0x1f) < 5 || slot->fis[0] != FIS_H2D || slot->fis[1] & 0x0f)
        ahci_slot_abort(slot);
    else if (!(slot->fis[1] & 0x80))
        control(slot);
    else if (packet != (slot->fis[2] == 0xa0))
        ahci_slot_abort(slot);
    else
        ata_command(slot);
}
