/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI commands of disks and CD-ROMs (SPC-4, SBC-3, MMC-5), in one place for all
 * ways they come in: packets of a SATA CD-ROM (ahci_atapi.c), virtio-scsi. The
 * front end makes a task of a command and of the guest's buffers; it is told
 * when the task is done, with status, sense data and how much was transferred.
 *
 * A unit and its tasks belong to the loop of its queue, except where a field
 * says otherwise.
 */
#ifndef KV_VMM_STORAGE_SCSI_H
#define KV_VMM_STORAGE_SCSI_H

#include "vmm/storage/drive.h"

#define SCSI_CDB_SIZE 32
#define SCSI_SENSE_SIZE 18
#define SCSI_CD_BLOCK 2048u

enum scsi_status {
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
};

/* Sense key, additional code and its qualifier, as 0xKKCCQQ. */
enum scsi_sense {
    SENSE_NONE = 0,
    SENSE_NO_MEDIUM_CLOSED = 0x023a01,
    SENSE_NO_MEDIUM_OPEN = 0x023a02,
    SENSE_READ_ERROR = 0x031100,
    SENSE_WRITE_ERROR = 0x030c00,
    SENSE_TARGET_FAILURE = 0x044400,
    SENSE_INVALID_OPCODE = 0x052000,
    SENSE_LBA_OUT_OF_RANGE = 0x052100,
    SENSE_INVALID_FIELD = 0x052400,
    SENSE_INVALID_LUN = 0x052500,
    SENSE_INVALID_PARAMETER = 0x052600,
    SENSE_PARAMETER_LENGTH = 0x051a00,
    SENSE_REMOVAL_PREVENTED = 0x055302,
    SENSE_MEDIUM_CHANGED = 0x062800,
    SENSE_RESET = 0x062900,
    SENSE_CAPACITY_CHANGED = 0x062a09,
    SENSE_WRITE_PROTECTED = 0x072700,
};

/* Conditions that the next command is told of; bits of scsi_unit.attention. */
enum {
    SCSI_ATTENTION_RESET = 1,
    SCSI_ATTENTION_MEDIUM = 2,
    SCSI_ATTENTION_CAPACITY = 4,
};

struct scsi_unit {
    struct drive drive;
    struct drive_queue queue;
    struct drive_queue *queues[1];
    uint32_t block, physical_block; /* bytes */
    bool can_discard, can_write_zeroes;
    atomic_uint attention; /* any thread sets, the queue's loop takes */
    atomic_uint event;     /* the next GET EVENT STATUS NOTIFICATION tells it; 0: none */
    uint32_t sense;        /* of the last command that failed, for REQUEST SENSE; 0: none */
    /* Asked on the control thread after attention or event were set; may be NULL. */
    void (*notify)(struct scsi_unit *unit, unsigned attention);
};

struct scsi_task {
    struct drive_request request;
    struct scsi_unit *unit;
    uint8_t cdb[SCSI_CDB_SIZE];
    /* The guest's buffers; the list is the front end's and may be cut. */
    struct iovec *iov;
    unsigned iov_count;
    uint64_t len;
    bool to_device; /* the buffers hold data for the device */
    /* Results. */
    enum scsi_status status;
    uint32_t sense;
    uint64_t transferred; /* bytes of the buffers that were filled or read */
    void (*done)(struct scsi_task *task);
    /* The unit's: what UNMAP goes through. */
    uint8_t *ranges;
    unsigned range, range_count;
};

/* Makes the drive and its queue on loop. On error nothing is left. */
int scsi_unit_init(struct scsi_unit *unit, struct machine *machine,
                   const struct drive_config *config, struct loop *loop, unsigned depth,
                   void (*batch_done)(void *opaque), void *opaque, struct kv_error *err);
void scsi_unit_destroy(struct scsi_unit *unit);
/* As after power-on: the next command is told of it. */
void scsi_unit_reset(struct scsi_unit *unit);
json_t *scsi_unit_save(const struct scsi_unit *unit);
void scsi_unit_load(struct scsi_unit *unit, const json_t *state);

/* Carries the command out; done may be called before it returns. drive_kick() at the end of a
 * batch. */
void scsi_task_run(struct scsi_task *task);

/* Fixed format (SPC-4 4.5.3). */
void scsi_fill_sense(uint8_t sense[SCSI_SENSE_SIZE], uint32_t code);

/* Inside: scsi.c, scsi_block.c, scsi_cdrom.c, scsi_inquiry.c. */
struct scsi_command {
    uint8_t opcode;
    unsigned kinds; /* SCSI_DISK, SCSI_CDROM */
    unsigned flags;
    void (*run)(struct scsi_task *task);
};
enum {
    SCSI_DISK = 1,
    SCSI_CDROM = 2,
    SCSI_ANY = SCSI_DISK | SCSI_CDROM,
    /* flags */
    SCSI_NEEDS_MEDIUM = 1,
    SCSI_KEEPS_ATTENTION = 2, /* is carried out although there is news to be told */
};
/* Ended by a row without function. */
extern const struct scsi_command scsi_general_commands[], scsi_block_commands[],
    scsi_cdrom_commands[];

void scsi_good(struct scsi_task *task);
void scsi_fail(struct scsi_task *task, uint32_t sense);
/* Data for the guest, no more than it allows. */
void scsi_reply(struct scsi_task *task, const void *data, size_t len, size_t allowed);
/* Takes data of the guest: how many bytes there were, up to len. */
size_t scsi_take(const struct scsi_task *task, void *data, size_t len);
/* Blocks of the unit that there are now. */
uint64_t scsi_blocks(const struct scsi_unit *unit);

static inline uint64_t scsi_be(const uint8_t *bytes, unsigned len)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

static inline void scsi_put_be(uint8_t *bytes, uint64_t value, unsigned len)
{
    for (unsigned i = len; i-- > 0; value >>= 8)
        bytes[i] = (uint8_t)value;
}

#endif
