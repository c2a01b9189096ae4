/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI commands by which a system learns what a unit is (SPC-4 6, SBC-3 5 and
 * 6.5): INQUIRY and its pages, capacity, mode pages, sense data.
 */
#include <stdio.h>

#include "base/util.h"
#include "vmm/storage/scsi.h"

#define VERSION_SPC3 0x05
#define TYPE_DISK 0x00
#define TYPE_CDROM 0x05
#define REPLY_MAX 256

static void put_text(uint8_t *field, const char *text, size_t len)
{
    memset(field, ' ', len);
    memcpy(field, text, MIN(strlen(text), len));
}

static const char *serial_of(const struct scsi_unit *unit)
{
    return unit->drive.serial ? unit->drive.serial : unit->drive.id;
}

static uint8_t type_of(const struct scsi_unit *unit)
{
    return unit->drive.cdrom ? TYPE_CDROM : TYPE_DISK;
}

/* ------------------------------------------------------------------- INQUIRY */

static size_t page_serial(const struct scsi_unit *unit, uint8_t *data)
{
    size_t len = MIN(strlen(serial_of(unit)), (size_t)36);
    memcpy(data, serial_of(unit), len);
    return len;
}

/* Names of the unit: a T10 vendor's one made of the serial number. */
static size_t page_identification(const struct scsi_unit *unit, uint8_t *data)
{
    size_t len = MIN(strlen(serial_of(unit)), (size_t)36);
    data[0] = 0x02; /* ASCII */
    data[1] = 0x00; /* of the unit, the vendor's own */
    data[3] = (uint8_t)len;
    memcpy(data + 4, serial_of(unit), len);
    return 4 + len;
}

static size_t page_limits(const struct scsi_unit *unit, uint8_t *data)
{
    scsi_put_be(data + 2, unit->physical_block / unit->block, 2);
    if (unit->can_discard) {
        scsi_put_be(data + 16, UINT32_MAX, 4);
        scsi_put_be(data + 20, 255, 4);
        scsi_put_be(data + 24, unit->physical_block / unit->block, 4);
    }
    if (unit->can_write_zeroes)
        scsi_put_be(data + 32, MIB(1024) / unit->block, 8);
    return 60;
}

static size_t page_characteristics(const struct scsi_unit *unit, uint8_t *data)
{
    scsi_put_be(data, 1, 2); /* nothing rotates */
    return 60;
}

static size_t page_provisioning(const struct scsi_unit *unit, uint8_t *data)
{
    if (unit->can_discard)
        data[1] = 0x80 | (unit->can_write_zeroes ? 0x60 : 0); /* UNMAP, WRITE SAME of 16 and 10 */
    data[2] = unit->can_discard ? 0x02 : 0x00;                /* thin */
    return 4;
}

static const struct {
    uint8_t page;
    unsigned kinds;
    size_t (*fill)(const struct scsi_unit *unit, uint8_t *data);
} pages[] = {
    {0x80, SCSI_ANY, page_serial},        {0x83, SCSI_ANY, page_identification},
    {0xb0, SCSI_DISK, page_limits},       {0xb1, SCSI_DISK, page_characteristics},
    {0xb2, SCSI_DISK, page_provisioning},
};

static void inquire_page(struct scsi_task *task, size_t allowed)
{
    uint8_t reply[REPLY_MAX] = {type_of(task->unit), task->cdb[2]};
    unsigned kind = task->unit->drive.cdrom ? SCSI_CDROM : SCSI_DISK;
    size_t len = 0;
    bool found = task->cdb[2] == 0;
    if (found)
        len = 1; /* the list begins with itself */
    for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
        if (!(pages[i].kinds & kind))
            continue;
        if (task->cdb[2] == 0) {
            reply[4 + len++] = pages[i].page;
        } else if (pages[i].page == task->cdb[2]) {
            found = true;
            len = pages[i].fill(task->unit, reply + 4);
        }
    }
    if (!found) {
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    scsi_put_be(reply + 2, len, 2);
    scsi_reply(task, reply, 4 + len, allowed);
}

static void inquiry(struct scsi_task *task)
{
    bool cdrom = task->unit->drive.cdrom;
    size_t allowed = scsi_be(task->cdb + 3, 2);
    if (task->cdb[1] & 1) {
        inquire_page(task, allowed);
        return;
    }
    if (task->cdb[2]) {
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    uint8_t reply[36] = {
        type_of(task->unit), cdrom ? 0x80 : 0, VERSION_SPC3, 0x02, sizeof(reply) - 5, 0, 0, 0x02};
    put_text(reply + 8, "KVASIR", 8);
    put_text(reply + 16, cdrom ? "CD-ROM" : "DISK", 16);
    put_text(reply + 32, "1.0", 4);
    scsi_reply(task, reply, sizeof(reply), allowed);
}

/* -------------------------------------------------------------- state, capacity */

static void test_ready(struct scsi_task *task)
{
    scsi_good(task);
}

static void request_sense(struct scsi_task *task)
{
    uint8_t sense[SCSI_SENSE_SIZE];
    scsi_fill_sense(sense, task->unit->sense);
    task->unit->sense = SENSE_NONE;
    scsi_reply(task, sense, sizeof(sense), task->cdb[4]);
}

static void read_capacity(struct scsi_task *task)
{
    uint64_t blocks = scsi_blocks(task->unit);
    uint8_t reply[8];
    scsi_put_be(reply, MIN(blocks ? blocks - 1 : 0, UINT32_MAX), 4);
    scsi_put_be(reply + 4, task->unit->block, 4);
    scsi_reply(task, reply, sizeof(reply), sizeof(reply));
}

/* READ CAPACITY(16) among the service actions. */
static void service_action_in(struct scsi_task *task)
{
    const struct scsi_unit *unit = task->unit;
    uint64_t blocks = scsi_blocks(unit);
    uint8_t reply[32] = {0};
    if ((task->cdb[1] & 0x1f) != 0x10) {
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    scsi_put_be(reply, blocks ? blocks - 1 : 0, 8);
    scsi_put_be(reply + 8, unit->block, 4);
    reply[13] = (uint8_t)__builtin_ctz(unit->physical_block / unit->block);
    if (unit->can_discard)
        reply[14] = 0x80; /* thin; what was given back is not promised to read as zeros */
    scsi_reply(task, reply, sizeof(reply), scsi_be(task->cdb + 10, 4));
}

/* --------------------------------------------------------------------- modes */

static size_t mode_caching(const struct scsi_unit *unit, uint8_t *page, bool changeable)
{
    page[0] = 0x08;
    page[1] = 18;
    if (changeable || atomic_load(&unit->drive.writeback))
        page[2] = 0x04; /* write cache */
    return 20;
}

static size_t mode_recovery(const struct scsi_unit *unit, uint8_t *page, bool changeable)
{
    page[0] = 0x01;
    page[1] = unit->drive.cdrom ? 6 : 10;
    if (!changeable)
        page[2] = 0x80;
    return 2u + page[1];
}

static size_t mode_control(const struct scsi_unit *unit, uint8_t *page, bool changeable)
{
    page[0] = 0x0a;
    page[1] = 10;
    return 12;
}

/* MMC-3 6.3.11: reads CDs and DVDs, a tray that locks and opens. */
static size_t mode_capabilities(const struct scsi_unit *unit, uint8_t *page, bool changeable)
{
    page[0] = 0x2a;
    page[1] = 20;
    if (changeable)
        return 22;
    page[2] = 0x3b;
    page[4] = 0x70;
    page[6] = 0x29 | (atomic_load(&unit->drive.tray_locked) ? 0x02 : 0);
    scsi_put_be(page + 8, 50 * 176, 2); /* kB/s */
    scsi_put_be(page + 12, 512, 2);
    scsi_put_be(page + 14, 50 * 176, 2);
    return 22;
}

static const struct {
    uint8_t page;
    unsigned kinds;
    size_t (*fill)(const struct scsi_unit *unit, uint8_t *page, bool changeable);
} modes[] = {
    {0x01, SCSI_ANY, mode_recovery},
    {0x08, SCSI_DISK, mode_caching},
    {0x0a, SCSI_ANY, mode_control},
    {0x2a, SCSI_CDROM, mode_capabilities},
};

static void mode_sense(struct scsi_task *task)
{
    const struct scsi_unit *unit = task->unit;
    uint8_t reply[REPLY_MAX] = {0};
    bool ten = task->cdb[0] == 0x5a;
    unsigned kind = unit->drive.cdrom ? SCSI_CDROM : SCSI_DISK;
    uint8_t wanted = task->cdb[2] & 0x3f, control = task->cdb[2] >> 6;
    size_t allowed = ten ? scsi_be(task->cdb + 7, 2) : task->cdb[4], at = ten ? 8 : 4;
    uint8_t *parameter = reply + (ten ? 3 : 2);
    bool found = wanted == 0x3f || wanted == 0;
    if (control == 3) { /* saved values */
        scsi_fail(task, 0x053900);
        return;
    }
    if (!unit->drive.cdrom) {
        *parameter = (unit->drive.readonly ? 0x80 : 0) | 0x10; /* write protected; FUA is known */
        if (!(task->cdb[1] & 0x08)) {
            scsi_put_be(reply + at, MIN(scsi_blocks(unit), UINT32_MAX), 4);
            scsi_put_be(reply + at + 5, unit->block, 3);
            reply[ten ? 7 : 3] = 8;
            at += 8;
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        if (!(modes[i].kinds & kind) || (wanted != 0x3f && wanted != modes[i].page))
            continue;
        at += modes[i].fill(unit, reply + at, control == 1);
        found = true;
    }
    if (!found) {
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    if (ten)
        scsi_put_be(reply, at - 2, 2);
    else
        reply[0] = (uint8_t)(at - 1);
    scsi_reply(task, reply, at, allowed);
}

/* The one thing that may be changed is the write cache of a disk. */
static void mode_select(struct scsi_task *task)
{
    uint8_t list[64];
    bool ten = task->cdb[0] == 0x55;
    size_t len = ten ? scsi_be(task->cdb + 7, 2) : task->cdb[4], at = ten ? 8 : 4;
    len = scsi_take(task, list, MIN(len, sizeof(list)));
    task->transferred = len;
    if (len < at) {
        if (len)
            scsi_fail(task, SENSE_PARAMETER_LENGTH);
        else
            scsi_good(task);
        return;
    }
    at += ten ? scsi_be(list + 6, 2) : list[3];
    while (at + 2 < len) {
        if ((list[at] & 0x3f) == 0x08 && !task->unit->drive.cdrom)
            atomic_store(&task->unit->drive.writeback, list[at + 2] & 0x04);
        else if ((list[at] & 0x3f) != 0x01 && (list[at] & 0x3f) != 0x0a) {
            scsi_fail(task, SENSE_INVALID_PARAMETER);
            return;
        }
        at += 2u + list[at + 1];
    }
    scsi_good(task);
}

/* The front end answers for all its units; a unit asked for itself has one. */
static void report_luns(struct scsi_task *task)
{
    static const uint8_t reply[16] = {0, 0, 0, 8};
    scsi_reply(task, reply, sizeof(reply), scsi_be(task->cdb + 6, 4));
}

const struct scsi_command scsi_general_commands[] = {
    {0x00, SCSI_ANY, SCSI_NEEDS_MEDIUM, test_ready},
    {0x03, SCSI_ANY, SCSI_KEEPS_ATTENTION, request_sense},
    {0x12, SCSI_ANY, SCSI_KEEPS_ATTENTION, inquiry},
    {0x15, SCSI_ANY, 0, mode_select},
    {0x1a, SCSI_ANY, 0, mode_sense},
    {0x25, SCSI_ANY, SCSI_NEEDS_MEDIUM, read_capacity},
    {0x55, SCSI_ANY, 0, mode_select},
    {0x5a, SCSI_ANY, 0, mode_sense},
    {0x9e, SCSI_DISK, SCSI_NEEDS_MEDIUM, service_action_in},
    {0xa0, SCSI_ANY, SCSI_KEEPS_ATTENTION, report_luns},
    {0, 0, 0, NULL},
};
