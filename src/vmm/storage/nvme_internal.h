/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside NVMe: nvme.c is the PCI function, its registers and its life,
 * nvme_queue.c fetches commands and tells their ends, nvme_admin.c has the
 * admin commands, nvme_io.c the others and the guest's buffers.
 *
 * Registers are under the controller's lock. Doorbells are stored by vCPUs and
 * looked at on the loop, which has the queues and everything else.
 */
#ifndef KV_VMM_STORAGE_NVME_INTERNAL_H
#define KV_VMM_STORAGE_NVME_INTERNAL_H

#include "base/util.h"
#include "vmm/pci/pci.h"
#include "vmm/storage/nvme.h"
#include "vring/guest_mem.h"

#define NVME_QUEUES 17 /* pairs: admin, and 16 for I/O */
#define NVME_QUEUE_SIZE_MAX 1024
#define NVME_PAGE 4096u
#define NVME_MDTS 7 /* 2^7 pages at most in a transfer */
#define NVME_TRANSFER_MAX (NVME_PAGE << NVME_MDTS)
#define NVME_PIECES ((1u << NVME_MDTS) + 1)
#define NVME_REQUESTS 256 /* under way together */
#define NVME_EVENTS 4     /* requests for events that are kept */
#define NVME_FEATURES 12
#define NVME_RANGES_MAX 256u /* of one DATASET MANAGEMENT */
#define NVME_RANGE 16u

/* CSTS */
#define CSTS_RDY BIT(0)
#define CSTS_CFS BIT(1)
#define CSTS_SHUT_DOWN (2u << 2)
/* CC */
#define CC_EN BIT(0)

/* Status of a completion (4.6.1): type in bits 10:8, code in 7:0, and "do not retry". */
enum {
    NVME_OK = 0,
    NVME_INVALID_OPCODE = 0x01,
    NVME_INVALID_FIELD = 0x02,
    NVME_TRANSFER_ERROR = 0x04,
    NVME_INTERNAL_ERROR = 0x06,
    NVME_INVALID_NAMESPACE = 0x0b,
    NVME_INVALID_PRP_OFFSET = 0x13,
    NVME_WRITE_PROTECTED = 0x20,
    NVME_LBA_OUT_OF_RANGE = 0x80,
    NVME_INVALID_CQ = 0x100,
    NVME_INVALID_QUEUE = 0x101,
    NVME_INVALID_QUEUE_SIZE = 0x102,
    NVME_TOO_MANY_EVENTS = 0x105,
    NVME_INVALID_VECTOR = 0x108,
    NVME_INVALID_LOG = 0x109,
    NVME_INVALID_DELETION = 0x10c,
    NVME_NOT_SAVEABLE = 0x10d,
    NVME_WRITE_FAULT = 0x280,
    NVME_READ_ERROR = 0x281,
    NVME_DNR = 0x4000,
    /* Inside: the command ends later, or (an event's) never. */
    NVME_LATER = 0x10000,
    NVME_KEPT = 0x10001,
};

struct nvme_command {
    uint8_t opcode, flags; /* fused operation in 1:0, kind of pointers in 7:6 */
    uint16_t cid;
    uint32_t nsid;
    uint64_t reserved, metadata, prp1, prp2;
    uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct nvme_command) == 64, "a command has 64 bytes");

struct nvme_completion {
    uint32_t result, reserved;
    uint16_t sq_head, sq_id, cid, status; /* status: with the phase in bit 0 */
};

struct nvme_namespace {
    struct drive drive;
    struct drive_queue queue;
    struct drive_queue *queues[1];
    struct nvme *nvme;
    unsigned shift; /* of a block's size */
    bool can_discard, can_write_zeroes;
};

struct nvme_request {
    struct drive_request io;
    struct list node; /* in nvme->free */
    struct nvme *nvme;
    struct nvme_namespace *ns;
    uint16_t sq, cid;
    bool to_guest;
    uint8_t *ranges; /* of DATASET MANAGEMENT; its own */
    unsigned range, range_count;
    unsigned iov_count;
    struct iovec iov[NVME_PIECES];
};

struct nvme_cq {
    uint32_t size; /* 0: not there */
    uint64_t base;
    uint32_t tail, head;
    uint32_t reserved; /* for commands under way */
    uint16_t vector;
    bool interrupts, phase;
    unsigned users; /* submission queues */
};

struct nvme_sq {
    uint32_t size; /* 0: not there */
    uint64_t base;
    uint32_t head;
    uint16_t cq;
    uint32_t running;
    struct nvme_request *deletion; /* the command that waits for those that run */
};

struct nvme {
    struct pci_device pci; /* first */
    struct guest_mem *mem;
    struct loop *loop;
    pthread_mutex_t lock;
    uint32_t cc, csts, intms, aqa; /* under lock */
    uint64_t asq, acq;
    atomic_uint doorbells[2 * NVME_QUEUES]; /* SQ 0's tail, CQ 0's head, ... */
    struct loop_work work;
    char serial[DRIVE_SERIAL_MAX + 1];
    struct nvme_namespace *namespaces[NVME_NAMESPACES]; /* NULL: not there */
    struct pci_boot_unit boot_units[NVME_NAMESPACES];
    /* The loop's. */
    bool paused, in_run, broken;
    struct nvme_sq sqs[NVME_QUEUES];
    struct nvme_cq cqs[NVME_QUEUES];
    struct nvme_request *requests[NVME_REQUESTS]; /* made when needed */
    unsigned made, running;
    struct list free;
    unsigned events;
    uint32_t features[NVME_FEATURES];
};

/* nvme_queue.c; on the loop. */
void nvme_run(void *opaque);
/* The guest broke a rule that no completion can tell it of: CSTS.CFS until it resets. */
void nvme_break(struct nvme *nvme);
/* The controller is as after a reset, nothing being under way. */
void nvme_clear(struct nvme *nvme);
void nvme_end(struct nvme_request *request, unsigned status, uint32_t result);
/* What the interrupt pin says follows the completion queues. */
void nvme_update_pin(struct nvme *nvme);

/* Each returns the command's status, or NVME_LATER. */
unsigned nvme_admin(struct nvme_request *request, const struct nvme_command *command,
                    uint32_t *result);
unsigned nvme_io(struct nvme_request *request, const struct nvme_command *command);

/* nvme_io.c: buffers of a command, len bytes, into the request's list. */
unsigned nvme_map(struct nvme_request *request, const struct nvme_command *command, uint64_t len);
/* Data for the guest through them; data and len are the command's whole answer. */
unsigned nvme_reply(struct nvme_request *request, const struct nvme_command *command,
                    const void *data, uint32_t len);

static inline struct nvme_namespace *nvme_find(const struct nvme *nvme, uint32_t nsid)
{
    return nsid >= 1 && nsid <= NVME_NAMESPACES ? nvme->namespaces[nsid - 1] : NULL;
}

static inline uint64_t nvme_blocks(const struct nvme_namespace *ns)
{
    return drive_sectors(&ns->drive) * DRIVE_SECTOR >> ns->shift;
}

#endif
