/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATA commands of SATA disks and CD-ROMs (ACS-3 7): by a table of their codes.
 * Ranges are checked here, once; packets go on to the SCSI commands.
 */
#include <stdlib.h>

#include "vmm/storage/ahci_internal.h"

#define SECTORS_28 256u
#define SECTORS_48 65536u
#define TRIM_BLOCKS_MAX 8u /* what IDENTIFY DEVICE says */
#define TRIM_RANGE 8u
#define SECTOR DRIVE_SECTOR

/* Flags of commands. */
enum {
    FOR_DISK = 1,
    FOR_CDROM = 2,
    EXTENDED = 4, /* 48-bit addresses and 16-bit counts */
    PIO = 8,
    FORCED = 16, /* on the medium before it is done */
};

struct ata_row {
    uint8_t code;
    uint8_t flags;
    void (*run)(struct ahci_slot *slot, unsigned flags);
};

static struct drive *drive_of(const struct ahci_slot *slot)
{
    return &slot->port->unit.drive;
}

static uint64_t address_of(const struct ahci_slot *slot, bool extended)
{
    const uint8_t *fis = slot->fis;
    uint64_t low = load_le(fis + 4, 3);
    return extended ? low | load_le(fis + 8, 3) << 24 : low | (uint64_t)(fis[7] & 0xf) << 24;
}

static uint32_t count_of(const struct ahci_slot *slot, bool extended)
{
    uint32_t count = (uint32_t)load_le(slot->fis + 12, extended ? 2 : 1);
    return count ? count : extended ? SECTORS_48 : SECTORS_28;
}

static void succeed(struct ahci_slot *slot, unsigned flags)
{
    ahci_slot_finish(slot, ATA_READY, 0);
}

/* ------------------------------------------------------------- reading, writing */

/* Page 10h of the log says which queued command failed (ACS-3 A.14). */
static void note_error(struct ahci_slot *slot, uint8_t error)
{
    uint8_t *log = slot->port->error_log;
    memset(log, 0, sizeof(slot->port->error_log));
    log[0] = (uint8_t)slot->index;
    log[2] = ATA_READY | ATA_ERR;
    log[3] = error;
    memcpy(log + 4, slot->fis + 4, 3);
    log[7] = slot->fis[7];
    memcpy(log + 8, slot->fis + 8, 3);
    memcpy(log + 12, slot->fis + 12, 2);
    ata_checksum(log);
}

static void end(struct ahci_slot *slot, uint8_t error)
{
    if (error && slot->protocol == AHCI_QUEUED)
        note_error(slot, error);
    ahci_slot_finish(slot, error ? ATA_READY | ATA_ERR : ATA_READY, error);
}

static void io_done(struct drive_request *request, bool failed)
{
    struct scsi_task *task = container_of(request, struct scsi_task, request);
    struct ahci_slot *slot = container_of(task, struct ahci_slot, task);
    slot->transferred = failed ? 0 : (uint32_t)request->io.len;
    if (request->io.op != BLOCK_READ && request->io.op != BLOCK_WRITE)
        slot->transferred = 0;
    end(slot, !failed ? 0 : request->io.op == BLOCK_READ ? ATA_UNCORRECTABLE : ATA_ABORTED);
}

static void prepare(struct ahci_slot *slot, enum block_op op, enum drive_stat_kind kind)
{
    struct drive_request *request = &slot->task.request;
    request->io.op = op;
    request->io.offset = request->io.len = 0;
    request->io.iov_count = 0;
    request->io.unmap = false;
    request->io.fua = op != BLOCK_READ && op != BLOCK_FLUSH &&
                      !atomic_load_explicit(&drive_of(slot)->writeback, memory_order_relaxed);
    request->kind = kind;
    request->start_ns = clock_monotonic_ns();
    request->done = io_done;
}

static void transfer(struct ahci_slot *slot, enum block_op op, uint64_t sector, uint32_t count,
                     bool forced)
{
    struct drive *drive = drive_of(slot);
    struct drive_request *request = &slot->task.request;
    enum drive_stat_kind kind = op == BLOCK_READ ? DRIVE_STAT_READ : DRIVE_STAT_WRITE;
    uint64_t len = (uint64_t)count * SECTOR;
    bool there = drive_holds(drive, sector, count);
    if (!there || (op == BLOCK_WRITE && drive->readonly)) {
        drive_count_invalid(&slot->port->unit.queue, kind);
        end(slot, there ? ATA_ABORTED : ATA_NOT_FOUND);
        return;
    }
    slot->task.to_device = op == BLOCK_WRITE;
    if (!ahci_slot_map(slot, len))
        return;
    if (slot->iov_len < len) {
        drive_count_invalid(&slot->port->unit.queue, kind);
        pthread_mutex_lock(&slot->port->ahci->lock);
        slot->port->regs[PX_IS] |= (uint32_t)IS_OFS;
        pthread_mutex_unlock(&slot->port->ahci->lock);
        end(slot, ATA_ABORTED);
        return;
    }
    prepare(slot, op, kind);
    request->io.offset = sector * SECTOR;
    request->io.len = len;
    request->io.iov = slot->iov;
    request->io.iov_count = slot->iov_count;
    request->io.fua |= forced && op == BLOCK_WRITE;
    drive_submit(request);
}

static void read_sectors(struct ahci_slot *slot, unsigned flags)
{
    bool extended = flags & EXTENDED;
    if (flags & PIO)
        slot->protocol = AHCI_PIO_IN;
    transfer(slot, BLOCK_READ, address_of(slot, extended), count_of(slot, extended), false);
}

static void write_sectors(struct ahci_slot *slot, unsigned flags)
{
    bool extended = flags & EXTENDED;
    transfer(slot, BLOCK_WRITE, address_of(slot, extended), count_of(slot, extended),
             flags & FORCED);
}

/* Queued: the count is where others have features, the tag, which is the slot, where they have the
 * count; and the slot is free in PxCI as soon as the device has taken the command. */
static void queued(struct ahci_slot *slot, enum block_op op)
{
    struct ahci_port *port = slot->port;
    const uint8_t *fis = slot->fis;
    uint32_t bit = 1u << slot->index, count = fis[3] | (uint32_t)fis[11] << 8;
    pthread_mutex_lock(&port->ahci->lock);
    bool right = (fis[12] >> 3) == slot->index && port->regs[PX_SACT] & bit;
    if (right) {
        port->queued |= bit;
        port->regs[PX_CI] &= ~bit;
    }
    pthread_mutex_unlock(&port->ahci->lock);
    if (!right) {
        ahci_slot_abort(slot);
        return;
    }
    slot->protocol = AHCI_QUEUED;
    transfer(slot, op, address_of(slot, true), count ? count : SECTORS_48, fis[7] & 0x80);
}

static void read_queued(struct ahci_slot *slot, unsigned flags)
{
    queued(slot, BLOCK_READ);
}

static void write_queued(struct ahci_slot *slot, unsigned flags)
{
    queued(slot, BLOCK_WRITE);
}

static void verify(struct ahci_slot *slot, unsigned flags)
{
    bool extended = flags & EXTENDED;
    bool there = drive_holds(drive_of(slot), address_of(slot, extended), count_of(slot, extended));
    end(slot, there ? 0 : ATA_NOT_FOUND);
}

static void flush(struct ahci_slot *slot, unsigned flags)
{
    prepare(slot, BLOCK_FLUSH, DRIVE_STAT_FLUSH);
    drive_submit(&slot->task.request);
}

/* ------------------------------------------------------------------------ trim */

static void next_range(struct ahci_slot *slot);

static void range_done(struct drive_request *request, bool failed)
{
    struct scsi_task *task = container_of(request, struct scsi_task, request);
    struct ahci_slot *slot = container_of(task, struct ahci_slot, task);
    if (!failed) {
        next_range(slot);
        return;
    }
    free(task->ranges);
    task->ranges = NULL;
    end(slot, ATA_ABORTED);
}

static void next_range(struct ahci_slot *slot)
{
    struct scsi_task *task = &slot->task;
    while (task->range < task->range_count) {
        uint64_t range = load_le(task->ranges + (size_t)TRIM_RANGE * task->range++, 8);
        uint64_t sector = range & 0xffffffffffff, count = range >> 48;
        if (count == 0 || !drive_holds(drive_of(slot), sector, count))
            continue;
        prepare(slot, BLOCK_DISCARD, DRIVE_STAT_DISCARD);
        task->request.done = range_done;
        task->request.io.offset = sector * SECTOR;
        task->request.io.len = count * SECTOR;
        drive_submit(&task->request);
        drive_kick(&slot->port->unit.queue);
        return;
    }
    free(task->ranges);
    task->ranges = NULL;
    end(slot, 0);
}

/* DATA SET MANAGEMENT with TRIM (7.5): up to 64 ranges in each sector of data. */
static void trim(struct ahci_slot *slot, unsigned flags)
{
    struct scsi_task *task = &slot->task;
    uint32_t blocks = (uint32_t)load_le(slot->fis + 12, 2);
    size_t len = (size_t)blocks * SECTOR, at = 0;
    if (slot->fis[3] != 1 || blocks == 0 || blocks > TRIM_BLOCKS_MAX ||
        !slot->port->unit.can_discard || drive_of(slot)->readonly) {
        ahci_slot_abort(slot);
        return;
    }
    task->to_device = true;
    if (!ahci_slot_map(slot, len))
        return;
    task->ranges = slot->iov_len == len ? malloc(len) : NULL;
    if (!task->ranges) {
        ahci_slot_abort(slot);
        return;
    }
    for (unsigned i = 0; i < slot->iov_count; at += slot->iov[i++].iov_len)
        memcpy(task->ranges + at, slot->iov[i].iov_base, slot->iov[i].iov_len);
    for (at = 0; at < len; at += TRIM_RANGE) {
        uint64_t range = load_le(task->ranges + at, 8);
        if (drive_holds(drive_of(slot), range & 0xffffffffffff, range >> 48) || range >> 48 == 0)
            continue;
        free(task->ranges);
        task->ranges = NULL;
        drive_count_invalid(&slot->port->unit.queue, DRIVE_STAT_DISCARD);
        end(slot, ATA_NOT_FOUND);
        return;
    }
    task->range = 0;
    task->range_count = (unsigned)(len / TRIM_RANGE);
    next_range(slot);
}

/* ------------------------------------------------------------- what it is, states */

static void reply_sector(struct ahci_slot *slot, const uint8_t data[512], unsigned flags)
{
    if (flags & PIO)
        slot->protocol = AHCI_PIO_IN;
    ahci_slot_reply(slot, data, SECTOR);
}

static void identify(struct ahci_slot *slot, unsigned flags)
{
    uint8_t data[512];
    if (drive_of(slot)->cdrom)
        ata_identify_cdrom(slot->port, data);
    else
        ata_identify_disk(slot->port, data);
    reply_sector(slot, data, PIO);
}

/* A CD-ROM shows its signature and refuses, so that it is found to be one (7.12.3). */
static void refuse_identify(struct ahci_slot *slot, unsigned flags)
{
    slot->fis[4] = 1;
    slot->fis[5] = 0x14;
    slot->fis[6] = 0xeb;
    slot->fis[12] = 1;
    ahci_slot_abort(slot);
}

static void set_features(struct ahci_slot *slot, unsigned flags)
{
    struct drive *drive = drive_of(slot);
    switch (slot->fis[3]) {
    case 0x02:
    case 0x82: /* write cache */
        atomic_store(&drive->writeback, slot->fis[3] == 0x02);
        break;
    case 0x03: /* transfer mode: each of them is as fast */
    case 0x05:
    case 0x85: /* power management levels */
    case 0x10:
    case 0x90: /* features of serial ATA */
    case 0x55:
    case 0xaa: /* read ahead */
    case 0x66:
    case 0xcc: /* back to defaults at reset */
        break;
    default:
        ahci_slot_abort(slot);
        return;
    }
    ahci_slot_finish(slot, ATA_READY, 0);
}

static void set_multiple(struct ahci_slot *slot, unsigned flags)
{
    uint8_t count = slot->fis[12];
    if (count > 16 || count & (count - 1)) {
        ahci_slot_abort(slot);
        return;
    }
    slot->port->multiple = count;
    ahci_slot_finish(slot, ATA_READY, 0);
}

static void check_power(struct ahci_slot *slot, unsigned flags)
{
    slot->fis[12] = 0xff; /* active */
    ahci_slot_finish(slot, ATA_READY, 0);
}

static void native_max(struct ahci_slot *slot, unsigned flags)
{
    uint64_t last = drive_sectors(drive_of(slot)) - 1;
    bool extended = flags & EXTENDED;
    last = MIN(last, extended ? UINT64_C(0xffffffffffff) : 0xfffffff);
    store_le(slot->fis + 4, last, 3);
    if (extended)
        store_le(slot->fis + 8, last >> 24, 3);
    else
        slot->fis[7] = (uint8_t)((slot->fis[7] & 0xf0) | last >> 24);
    ahci_slot_finish(slot, ATA_READY, 0);
}

/* The directory, the log of queued errors, and an empty SMART summary. */
static void read_log(struct ahci_slot *slot, unsigned flags)
{
    uint8_t data[512] = {0};
    uint8_t page = slot->fis[4];
    if (load_le(slot->fis + 12, 2) != 1) {
        ahci_slot_abort(slot);
        return;
    }
    if (page == 0) {
        data[0] = 1; /* version */
        data[2 * 0x10] = 1;
    } else if (page == 0x10) {
        memcpy(data, slot->port->error_log, sizeof(data));
    } else {
        ahci_slot_abort(slot);
        return;
    }
    reply_sector(slot, data, flags);
}

static void smart(struct ahci_slot *slot, unsigned flags)
{
    uint8_t data[512] = {0};
    if (slot->fis[5] != 0x4f || slot->fis[6] != 0xc2) {
        ahci_slot_abort(slot);
        return;
    }
    switch (slot->fis[3]) {
    case 0xd0:
        ata_smart_data(slot->port, data);
        reply_sector(slot, data, PIO);
        break;
    case 0xd1: /* thresholds: none is ever passed */
        data[0] = 1;
        ata_checksum(data);
        reply_sector(slot, data, PIO);
        break;
    case 0xd5: /* log: its directory, and error logs without an entry */
        data[0] = 1;
        if (slot->fis[4])
            ata_checksum(data);
        reply_sector(slot, data, PIO);
        break;
    case 0xd2: /* saving of attributes, tests, switching it on and off, and: all is well */
    case 0xd4:
    case 0xd8:
    case 0xd9:
    case 0xda:
    case 0xdb:
        ahci_slot_finish(slot, ATA_READY, 0);
        break;
    default:
        ahci_slot_abort(slot);
    }
}

/* ------------------------------------------------------------------------ packets */

static void packet_done(struct scsi_task *task)
{
    struct ahci_slot *slot = container_of(task, struct ahci_slot, task);
    bool good = task->status == SCSI_GOOD;
    slot->transferred = (uint32_t)task->transferred;
    task->ranges = NULL;
    ahci_slot_finish(slot, good ? ATA_READY : ATA_READY | ATA_ERR,
                     good ? 0 : (uint8_t)(task->sense >> 16 << 4));
}

static void packet(struct ahci_slot *slot, unsigned flags)
{
    struct scsi_task *task = &slot->task;
    task->to_device = slot->flags & BIT(6);
    /* Up to the longest transfer that the interface can ask for. How much it takes only the command
     * says, and firmware's tables for those without data say 4 MiB. */
    ahci_slot_gather(slot, (uint64_t)SECTORS_48 * SECTOR);
    memset(task->cdb, 0, sizeof(task->cdb));
    memcpy(task->cdb, slot->packet, sizeof(slot->packet));
    task->iov = slot->iov;
    task->iov_count = slot->iov_count;
    task->len = slot->iov_len;
    task->done = packet_done;
    scsi_task_run(task);
}

static void device_reset(struct ahci_slot *slot, unsigned flags)
{
    ata_reset(slot->port);
    refuse_identify(slot, flags);
}

static const struct ata_row rows[] = {
    {0x00, FOR_DISK | FOR_CDROM, succeed},
    {0x06, FOR_DISK, trim},
    {0x08, FOR_CDROM, device_reset},
    {0x10, FOR_DISK, succeed}, /* recalibrate */
    {0x20, FOR_DISK | PIO, read_sectors},
    {0x24, FOR_DISK | PIO | EXTENDED, read_sectors},
    {0x25, FOR_DISK | EXTENDED, read_sectors},
    {0x27, FOR_DISK | EXTENDED, native_max},
    {0x29, FOR_DISK | PIO | EXTENDED, read_sectors},
    {0x2f, FOR_DISK | PIO, read_log},
    {0x30, FOR_DISK, write_sectors},
    {0x34, FOR_DISK | EXTENDED, write_sectors},
    {0x35, FOR_DISK | EXTENDED, write_sectors},
    {0x39, FOR_DISK | EXTENDED, write_sectors},
    {0x3d, FOR_DISK | EXTENDED | FORCED, write_sectors},
    {0x40, FOR_DISK, verify},
    {0x42, FOR_DISK | EXTENDED, verify},
    {0x47, FOR_DISK, read_log},
    {0x60, FOR_DISK, read_queued},
    {0x61, FOR_DISK, write_queued},
    {0x91, FOR_DISK, succeed}, /* initialize parameters */
    {0xa0, FOR_CDROM, packet},
    {0xa1, FOR_CDROM, identify},
    {0xb0, FOR_DISK, smart},
    {0xc4, FOR_DISK | PIO, read_sectors},
    {0xc5, FOR_DISK, write_sectors},
    {0xc6, FOR_DISK, set_multiple},
    {0xc8, FOR_DISK, read_sectors},
    {0xca, FOR_DISK, write_sectors},
    {0xce, FOR_DISK | EXTENDED | FORCED, write_sectors},
    {0xe0, FOR_DISK | FOR_CDROM, succeed}, /* standby, idle, sleep: there is no motor */
    {0xe1, FOR_DISK | FOR_CDROM, succeed},
    {0xe2, FOR_DISK | FOR_CDROM, succeed},
    {0xe3, FOR_DISK | FOR_CDROM, succeed},
    {0xe5, FOR_DISK | FOR_CDROM, check_power},
    {0xe6, FOR_DISK | FOR_CDROM, succeed},
    {0xe7, FOR_DISK, flush},
    {0xea, FOR_DISK, flush},
    {0xec, FOR_DISK, identify},
    {0xec, FOR_CDROM, refuse_identify},
    {0xef, FOR_DISK | FOR_CDROM, set_features},
    {0xf8, FOR_DISK, native_max},
};

void ata_command(struct ahci_slot *slot)
{
    unsigned kind = drive_of(slot)->cdrom ? FOR_CDROM : FOR_DISK;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].code == slot->fis[2] && rows[i].flags & kind) {
            rows[i].run(slot, rows[i].flags);
            return;
        }
    }
    ahci_slot_abort(slot);
}

void ata_reset(struct ahci_port *port)
{
    port->multiple = 16;
    memset(port->error_log, 0, sizeof(port->error_log));
    port->error_log[0] = 0x80; /* no queued command has failed */
    ata_checksum(port->error_log);
}
