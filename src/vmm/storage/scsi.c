/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI units and tasks: finding a command, conditions that are told before it,
 * replies and sense data; see scsi.h. The commands are in scsi_inquiry.c (of all
 * units), scsi_block.c (reading, writing), scsi_cdrom.c.
 */
#include "vmm/storage/scsi.h"

#include <stdlib.h>

#include "base/util.h"

void scsi_fill_sense(uint8_t sense[SCSI_SENSE_SIZE], uint32_t code)
{
    memset(sense, 0, SCSI_SENSE_SIZE);
    sense[0] = 0x70; /* current, fixed format */
    sense[2] = (uint8_t)(code >> 16 & 0xf);
    sense[7] = SCSI_SENSE_SIZE - 8;
    sense[12] = (uint8_t)(code >> 8);
    sense[13] = (uint8_t)code;
}

void scsi_good(struct scsi_task *task)
{
    task->status = SCSI_GOOD;
    task->done(task);
}

void scsi_fail(struct scsi_task *task, uint32_t sense)
{
    task->unit->sense = sense;
    task->sense = sense;
    task->status = SCSI_CHECK_CONDITION;
    task->done(task);
}

void scsi_reply(struct scsi_task *task, const void *data, size_t len, size_t allowed)
{
    const uint8_t *from = data;
    size_t left = task->to_device ? 0 : MIN(len, allowed);
    for (unsigned i = 0; i < task->iov_count && left; i++) {
        size_t n = MIN(left, task->iov[i].iov_len);
        memcpy(task->iov[i].iov_base, from, n);
        from += n;
        left -= n;
        task->transferred += n;
    }
    scsi_good(task);
}

size_t scsi_take(const struct scsi_task *task, void *data, size_t len)
{
    size_t done = 0;
    for (unsigned i = 0; task->to_device && i < task->iov_count && done < len; i++) {
        size_t n = MIN(len - done, task->iov[i].iov_len);
        memcpy((uint8_t *)data + done, task->iov[i].iov_base, n);
        done += n;
    }
    return done;
}

uint64_t scsi_blocks(const struct scsi_unit *unit)
{
    return drive_sectors(&unit->drive) / (unit->block / DRIVE_SECTOR);
}

static const struct scsi_command *find_command(const struct scsi_unit *unit, uint8_t opcode)
{
    static const struct scsi_command *const tables[] = {scsi_block_commands, scsi_general_commands,
                                                        scsi_cdrom_commands};
    unsigned kind = unit->drive.cdrom ? SCSI_CDROM : SCSI_DISK;
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        for (const struct scsi_command *command = tables[i]; command->run; command++) {
            if (command->opcode == opcode && (command->kinds & kind))
                return command;
        }
    }
    return NULL;
}

/* News, the most important first (SPC-4 5.14); each is told once. */
static uint32_t take_attention(struct scsi_unit *unit)
{
    static const struct {
        unsigned bit;
        uint32_t sense;
    } news[] = {
        {SCSI_ATTENTION_RESET, SENSE_RESET},
        {SCSI_ATTENTION_MEDIUM, SENSE_MEDIUM_CHANGED},
        {SCSI_ATTENTION_CAPACITY, SENSE_CAPACITY_CHANGED},
    };
    unsigned pending = atomic_load(&unit->attention);
    for (unsigned i = 0; i < ARRAY_SIZE(news); i++) {
        if (!(pending & news[i].bit))
            continue;
        atomic_fetch_and(&unit->attention, ~news[i].bit);
        return news[i].sense;
    }
    return SENSE_NONE;
}

void scsi_task_run(struct scsi_task *task)
{
    struct scsi_unit *unit = task->unit;
    const struct scsi_command *command = find_command(unit, task->cdb[0]);
    task->transferred = 0;
    task->sense = SENSE_NONE;
    task->ranges = NULL;
    task->request.queue = &unit->queue;
    uint32_t sense = SENSE_NONE;
    if (!command || !(command->flags & SCSI_KEEPS_ATTENTION))
        sense = take_attention(unit);
    if (!sense && !command)
        sense = SENSE_INVALID_OPCODE;
    if (!sense && command->flags & SCSI_NEEDS_MEDIUM) {
        if (atomic_load(&unit->drive.tray_open))
            sense = SENSE_NO_MEDIUM_OPEN;
        else if (!unit->queue.io)
            sense = SENSE_NO_MEDIUM_CLOSED;
    }
    if (sense) {
        scsi_fail(task, sense);
        return;
    }
    if (task->cdb[0] != 0x03) /* REQUEST SENSE asks for what was before */
        unit->sense = SENSE_NONE;
    command->run(task);
}

/* --------------------------------------------------------------------- units */

#define EVENT_EJECT_REQUEST 1
#define EVENT_NEW_MEDIUM 2
#define EVENT_MEDIUM_REMOVED 3

static void announce(struct scsi_unit *unit, unsigned attention, unsigned event)
{
    atomic_fetch_or(&unit->attention, attention);
    if (event)
        atomic_store(&unit->event, event);
    if (unit->notify)
        unit->notify(unit, attention);
}

static void resized(struct drive *drive)
{
    announce(container_of(drive, struct scsi_unit, drive), SCSI_ATTENTION_CAPACITY, 0);
}

static void medium_changed(struct drive *drive)
{
    bool there = !atomic_load(&drive->tray_open) && drive_has_medium(drive);
    announce(container_of(drive, struct scsi_unit, drive), there ? SCSI_ATTENTION_MEDIUM : 0,
             there ? EVENT_NEW_MEDIUM : EVENT_MEDIUM_REMOVED);
}

static void eject_requested(struct drive *drive)
{
    announce(container_of(drive, struct scsi_unit, drive), 0, EVENT_EJECT_REQUEST);
}

static const struct drive_ops unit_ops = {
    .resized = resized,
    .medium_changed = medium_changed,
    .eject_requested = eject_requested,
};

static void learn_geometry(struct scsi_unit *unit, const struct drive_config *config)
{
    struct block_node *node = drive_node(&unit->drive);
    unit->block = unit->physical_block = unit->drive.cdrom ? SCSI_CD_BLOCK : DRIVE_SECTOR;
    if (node && !unit->drive.cdrom) {
        const struct block_info *info = block_get_info(node);
        unit->block = config->logical_block_size ? (uint32_t)config->logical_block_size
                                                 : MAX(info->logical_block, DRIVE_SECTOR);
        unit->physical_block = drive_physical_block(config, info, unit->block);
        unit->can_discard = info->can_discard;
        unit->can_write_zeroes = info->can_write_zeroes;
    }
    block_close(node);
}

int scsi_unit_init(struct scsi_unit *unit, struct machine *machine,
                   const struct drive_config *config, struct loop *loop, unsigned depth,
                   void (*batch_done)(void *opaque), void *opaque, struct kv_error *err)
{
    int rc = drive_init(&unit->drive, machine, config, &unit_ops, err);
    if (rc < 0)
        return rc;
    learn_geometry(unit, config);
    rc = drive_queue_init(&unit->queue, &unit->drive, loop, depth, batch_done, opaque, err);
    if (rc < 0) {
        drive_destroy(&unit->drive);
        return rc;
    }
    unit->queues[0] = &unit->queue;
    unit->drive.queues = unit->queues;
    unit->drive.queue_count = 1;
    scsi_unit_reset(unit);
    return 0;
}

void scsi_unit_destroy(struct scsi_unit *unit)
{
    drive_queue_destroy(&unit->queue);
    drive_destroy(&unit->drive);
}

void scsi_unit_reset(struct scsi_unit *unit)
{
    atomic_store(&unit->attention, SCSI_ATTENTION_RESET);
    atomic_store(&unit->event, 0);
    unit->sense = SENSE_NONE;
    atomic_store(&unit->drive.tray_locked, false);
    atomic_store(&unit->drive.writeback, unit->drive.default_writeback);
}

json_t *scsi_unit_save(const struct scsi_unit *unit)
{
    return json_pack("{s:i, s:i, s:i, s:b, s:b, s:b}", "attention", atomic_load(&unit->attention),
                     "event", atomic_load(&unit->event), "sense", unit->sense, "locked",
                     atomic_load(&unit->drive.tray_locked), "open",
                     atomic_load(&unit->drive.tray_open), "writeback",
                     atomic_load(&unit->drive.writeback));
}

void scsi_unit_load(struct scsi_unit *unit, const json_t *state)
{
    atomic_store(&unit->attention,
                 (unsigned)json_integer_value(json_object_get(state, "attention")));
    atomic_store(&unit->event, (unsigned)json_integer_value(json_object_get(state, "event")) & 3);
    unit->sense = (uint32_t)json_integer_value(json_object_get(state, "sense")) & 0xfffff;
    atomic_store(&unit->drive.tray_locked, json_is_true(json_object_get(state, "locked")));
    atomic_store(&unit->drive.tray_open, json_is_true(json_object_get(state, "open")));
    atomic_store(&unit->drive.writeback, json_is_true(json_object_get(state, "writeback")));
}
