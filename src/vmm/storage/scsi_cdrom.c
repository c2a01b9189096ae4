/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI commands of CD-ROM drives (MMC-5 6): table of contents, features, events
 * of tray and medium, tray and its lock.
 */
#include "base/util.h"
#include "vmm/machine/machine.h"
#include "vmm/storage/scsi.h"

#define PROFILE_NONE 0x0000
#define PROFILE_CD_ROM 0x0008
#define PROFILE_DVD_ROM 0x0010
#define CD_BLOCKS_MAX (80u * 60 * 75) /* what is longer must be a DVD */
#define TRACK_DATA 0x14               /* ADR 1, data track */
#define LEAD_OUT 0xaa

static uint16_t profile_of(const struct scsi_unit *unit)
{
    uint64_t blocks = scsi_blocks(unit);
    if (blocks == 0 || atomic_load(&unit->drive.tray_open))
        return PROFILE_NONE;
    return blocks > CD_BLOCKS_MAX ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
}

/* An address in a table of contents: a block, or minute, second, frame. */
static void put_address(uint8_t *field, uint64_t block, bool msf)
{
    block = MIN(block, UINT32_MAX - 150);
    if (!msf) {
        scsi_put_be(field, block, 4);
        return;
    }
    block += 150;
    field[0] = 0;
    field[1] = (uint8_t)MIN(block / 75 / 60, 255u);
    field[2] = (uint8_t)(block / 75 % 60);
    field[3] = (uint8_t)(block % 75);
}

/* One data track, and what ends it. */
static size_t toc_tracks(const struct scsi_unit *unit, uint8_t *toc, bool msf, uint8_t first)
{
    size_t at = 4;
    toc[2] = toc[3] = 1;
    if (first <= 1) {
        toc[at + 1] = TRACK_DATA;
        toc[at + 2] = 1;
        put_address(toc + at + 4, 0, msf);
        at += 8;
    }
    toc[at + 1] = TRACK_DATA;
    toc[at + 2] = LEAD_OUT;
    put_address(toc + at + 4, scsi_blocks(unit), msf);
    return at + 8;
}

static size_t toc_session(uint8_t *toc, bool msf)
{
    toc[2] = toc[3] = 1;
    toc[5] = TRACK_DATA;
    toc[6] = 1;
    put_address(toc + 8, 0, msf);
    return 12;
}

/* Raw: points A0, A1, A2 of the lead-in, and the track. */
static size_t toc_raw(const struct scsi_unit *unit, uint8_t *toc)
{
    static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 0x01};
    size_t at = 4;
    toc[2] = toc[3] = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(points); i++, at += 11) {
        uint8_t address[4] = {0, 1, 0, 0}; /* number of the first or last track */
        if (i >= 2)
            put_address(address, i == 2 ? scsi_blocks(unit) : 0, true);
        toc[at] = 1;
        toc[at + 1] = TRACK_DATA;
        toc[at + 3] = points[i];
        memcpy(toc + at + 8, address + 1, 3);
    }
    return at;
}

static void read_toc(struct scsi_task *task)
{
    uint8_t toc[64] = {0};
    bool msf = task->cdb[1] & 2;
    uint8_t format = task->cdb[2] & 0xf, first = task->cdb[6];
    size_t len = 0;
    if (format == 0)
        format = task->cdb[9] >> 6; /* where it was before MMC */
    if (format == 0 && (first <= 1 || first == LEAD_OUT))
        len = toc_tracks(task->unit, toc, msf, first);
    else if (format == 1)
        len = toc_session(toc, msf);
    else if (format == 2)
        len = toc_raw(task->unit, toc);
    if (len == 0) {
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    scsi_put_be(toc, len - 2, 2);
    scsi_reply(task, toc, len, scsi_be(task->cdb + 7, 2));
}

/* ------------------------------------------------------------------ features */

/* Code, version and persistence, data. Current profiles are filled in. */
static const struct {
    uint16_t code;
    uint8_t flags, len;
    uint8_t data[8];
} features[] = {
    {0x0000, 0x03, 8, {PROFILE_DVD_ROM >> 8, PROFILE_DVD_ROM, 0, 0, 0, PROFILE_CD_ROM, 0, 0}},
    {0x0001, 0x0b, 8, {0, 0, 0, 8, 1, 0, 0, 0}}, /* core: serial ATA */
    {0x0002, 0x07, 4, {0x02, 0, 0, 0}},          /* morphing: asynchronous, class of operations */
    {0x0003, 0x03, 4, {0x29, 0, 0, 0}},          /* removable: tray, ejects, locks */
    {0x0010, 0x01, 8, {0, 0, 0x08, 0, 0, 1, 0, 0}},
    {0x001e, 0x08, 4, {0, 0, 0, 0}}, /* CD read */
    {0x001f, 0x00, 0, {0}},          /* DVD read */
    {0x0100, 0x03, 0, {0}},          /* power management */
    {0x0105, 0x07, 4, {0, 0, 0, 0}}, /* timeout */
};

static void get_configuration(struct scsi_task *task)
{
    uint8_t reply[128] = {0};
    uint16_t profile = profile_of(task->unit);
    unsigned from = (unsigned)scsi_be(task->cdb + 2, 2), kind = task->cdb[1] & 3;
    size_t at = 8;
    if (kind == 3) {
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    scsi_put_be(reply + 6, profile, 2);
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        uint8_t *feature = reply + at;
        uint8_t flags = features[i].flags;
        bool current = flags & 1;
        if (features[i].code == 0x0010)
            current = profile != PROFILE_NONE;
        if (features[i].code == 0x001e || features[i].code == 0x001f)
            current = profile == (features[i].code == 0x001e ? PROFILE_CD_ROM : PROFILE_DVD_ROM);
        if (features[i].code < from || (kind == 1 && !current) ||
            (kind == 2 && features[i].code != from))
            continue;
        scsi_put_be(feature, features[i].code, 2);
        feature[2] = (uint8_t)((flags & ~1u) | current);
        feature[3] = features[i].len;
        memcpy(feature + 4, features[i].data, features[i].len);
        if (features[i].code == 0) {
            feature[6] = profile == PROFILE_DVD_ROM;
            feature[10] = profile == PROFILE_CD_ROM;
        }
        at += 4u + features[i].len;
    }
    scsi_put_be(reply, at - 4, 4);
    scsi_reply(task, reply, at, scsi_be(task->cdb + 7, 2));
}

/* -------------------------------------------------------------- tray and medium */

#define EVENTS_MEDIA 4 /* class of notifications; others have none */

static void get_event(struct scsi_task *task)
{
    struct scsi_unit *unit = task->unit;
    uint8_t reply[8] = {0, 2, 0x80, 1 << EVENTS_MEDIA};
    size_t len = 4;
    if (!(task->cdb[1] & 1)) { /* to be told later is not possible */
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    if (task->cdb[4] & 1 << EVENTS_MEDIA) {
        bool open = atomic_load(&unit->drive.tray_open);
        len = 8;
        reply[1] = 6;
        reply[2] = EVENTS_MEDIA;
        reply[4] = (uint8_t)atomic_exchange(&unit->event, 0);
        reply[5] = (uint8_t)(open | (unit->queue.io && !open ? 2 : 0));
    }
    scsi_reply(task, reply, len, scsi_be(task->cdb + 7, 2));
}

static void prevent_removal(struct scsi_task *task)
{
    atomic_store(&task->unit->drive.tray_locked, task->cdb[4] & 1);
    scsi_good(task);
}

static void start_stop(struct scsi_task *task)
{
    struct drive *drive = &task->unit->drive;
    bool load = task->cdb[4] & 1, move = task->cdb[4] & 2;
    if (!move || task->cdb[4] >> 4) { /* spinning or power: nothing does */
        scsi_good(task);
        return;
    }
    if (!load && !atomic_load(&drive->tray_open) && atomic_load(&drive->tray_locked)) {
        scsi_fail(task, SENSE_REMOVAL_PREVENTED);
        return;
    }
    if (atomic_exchange(&drive->tray_open, !load) == load) {
        if (load)
            atomic_fetch_or(&task->unit->attention, SCSI_ATTENTION_MEDIUM);
        machine_emit(
            drive->machine, "DEVICE_TRAY_MOVED",
            json_pack("{s:s, s:s, s:b}", "device", drive->id, "id", drive->id, "tray-open", !load));
    }
    scsi_good(task);
}

static void mechanism_status(struct scsi_task *task)
{
    uint8_t reply[8] = {0, atomic_load(&task->unit->drive.tray_open) ? 0x10 : 0};
    scsi_reply(task, reply, sizeof(reply), scsi_be(task->cdb + 8, 2));
}

static void disc_information(struct scsi_task *task)
{
    uint8_t reply[34] = {0, 32, 0x0e, 1, 1, 1, 1, 0x20};
    if (task->cdb[1] & 7) {
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    scsi_reply(task, reply, sizeof(reply), scsi_be(task->cdb + 7, 2));
}

static void disc_structure(struct scsi_task *task)
{
    struct scsi_unit *unit = task->unit;
    uint8_t reply[4 + 2048] = {0};
    uint64_t blocks = scsi_blocks(unit);
    if (profile_of(unit) != PROFILE_DVD_ROM || task->cdb[7] > 1 || task->cdb[6]) {
        scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    size_t len = task->cdb[7] == 0 ? 4 + 2048 : 8; /* format; copyright: none */
    if (task->cdb[7] == 0) {
        reply[4] = 1;    /* DVD-ROM, part version 1 */
        reply[5] = 0x0f; /* 120 mm, no maximum rate given */
        reply[6] = 1;    /* one layer, embossed */
        scsi_put_be(reply + 8, 0x30000, 4);
        scsi_put_be(reply + 12, MIN(blocks - 1 + 0x30000, UINT32_MAX), 4);
    }
    scsi_put_be(reply, len - 2, 2);
    scsi_reply(task, reply, len, scsi_be(task->cdb + 8, 2));
}

/* READ CD of whole data sectors without headers is reading (MMC-5 6.20). */
static void read_cd(struct scsi_task *task)
{
    uint8_t parts = task->cdb[9];
    uint32_t block = (uint32_t)scsi_be(task->cdb + 2, 4),
             count = (uint32_t)scsi_be(task->cdb + 6, 3);
    if (task->cdb[0] != 0xbe || (parts & 0xf8) != 0x10) {
        if ((parts & 0xf8) == 0 || count == 0)
            scsi_good(task);
        else
            scsi_fail(task, SENSE_INVALID_FIELD);
        return;
    }
    memset(task->cdb, 0, sizeof(task->cdb));
    task->cdb[0] = 0xa8;
    scsi_put_be(task->cdb + 2, block, 4);
    scsi_put_be(task->cdb + 6, count, 4);
    scsi_task_run(task);
}

static void set_speed(struct scsi_task *task)
{
    scsi_good(task);
}

const struct scsi_command scsi_cdrom_commands[] = {
    {0x1b, SCSI_CDROM, 0, start_stop},
    {0x1e, SCSI_CDROM, 0, prevent_removal},
    {0x43, SCSI_CDROM, SCSI_NEEDS_MEDIUM, read_toc},
    {0x46, SCSI_CDROM, SCSI_KEEPS_ATTENTION, get_configuration},
    {0x4a, SCSI_CDROM, SCSI_KEEPS_ATTENTION, get_event},
    {0x51, SCSI_CDROM, SCSI_NEEDS_MEDIUM, disc_information},
    {0xad, SCSI_CDROM, SCSI_NEEDS_MEDIUM, disc_structure},
    {0xbb, SCSI_CDROM, 0, set_speed},
    {0xbd, SCSI_CDROM, 0, mechanism_status},
    {0xbe, SCSI_CDROM, SCSI_NEEDS_MEDIUM, read_cd},
    {0, 0, 0, NULL},
};
