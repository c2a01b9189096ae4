/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside AHCI: ahci.c is the PCI function, its registers and its life,
 * ahci_port.c a port's registers and the order of its commands,
 * ahci_command.c a command's table, buffers and completion, ata.c what the
 * commands do, ata_identify.c what a device says of itself.
 *
 * Registers and the masks of slots are under the controller's lock, which is
 * held for moments and never while a command is carried out. Slots belong to
 * the loop.
 */
#ifndef KV_VMM_STORAGE_AHCI_INTERNAL_H
#define KV_VMM_STORAGE_AHCI_INTERNAL_H

#include "base/util.h"
#include "vmm/pci/pci.h"
#include "vmm/storage/ahci.h"
#include "vmm/storage/scsi.h"
#include "vring/guest_mem.h"

#define AHCI_SLOTS 32
#define AHCI_PORTS_AT 0x100
#define AHCI_PORT_SIZE 0x80

/* Port registers (3.3), as indices of 32-bit words. */
enum {
    PX_CLB,
    PX_CLBU,
    PX_FB,
    PX_FBU,
    PX_IS,
    PX_IE,
    PX_CMD,
    PX_RESERVED,
    PX_TFD,
    PX_SIG,
    PX_SSTS,
    PX_SCTL,
    PX_SERR,
    PX_SACT,
    PX_CI,
    PX_SNTF,
    PX_FBS,
    PX_COUNT,
};

/* PxCMD */
#define CMD_ST BIT(0)
#define CMD_SUD BIT(1)
#define CMD_POD BIT(2)
#define CMD_CLO BIT(3)
#define CMD_FRE BIT(4)
#define CMD_CCS_SHIFT 8
#define CMD_FR BIT(14)
#define CMD_CR BIT(15)
#define CMD_ATAPI BIT(24)
/* PxIS, PxIE */
#define IS_DHRS BIT(0)  /* a register FIS came with its interrupt bit */
#define IS_PSS BIT(1)   /* a PIO setup FIS */
#define IS_SDBS BIT(3)  /* a set device bits FIS */
#define IS_PCS BIT(6)   /* something was connected */
#define IS_OFS BIT(24)  /* the table has less room than the transfer needs */
#define IS_HBDS BIT(28) /* a buffer is not memory */
#define IS_HBFS BIT(29) /* a command list or table is not memory */
#define IS_TFES BIT(30) /* the device says error */
#define IS_ALL 0xfdc000af
/* PxSERR */
#define SERR_EXCHANGED BIT(26)

/* ATA status and error (ACS-3 6). */
#define ATA_BSY 0x80
#define ATA_READY 0x50 /* DRDY, seek complete */
#define ATA_DF 0x20
#define ATA_ERR 0x01
#define ATA_ABORTED 0x04
#define ATA_NOT_FOUND 0x10
#define ATA_UNCORRECTABLE 0x40

#define FIS_H2D 0x27
#define FIS_SIZE 20

struct ahci_port;

/* How a command's end is told (5.6.2): by which FIS. */
enum ahci_protocol {
    AHCI_REGISTER, /* register FIS: no data, DMA, packets */
    AHCI_PIO_IN,   /* PIO setup FIS in front of the data */
    AHCI_QUEUED,   /* set device bits FIS */
};

struct ahci_slot {
    struct scsi_task task; /* its request serves ATA commands as well */
    struct ahci_port *port;
    unsigned index;
    enum ahci_protocol protocol;
    bool running;
    uint8_t fis[FIS_SIZE];
    uint8_t packet[16];
    uint16_t flags; /* of the command header */
    uint64_t table;
    unsigned prd_count;
    struct iovec *iov; /* kept from command to command, up to a bound */
    unsigned iov_count, iov_room;
    uint64_t iov_len;
    uint32_t transferred;
};

struct ahci_port {
    struct ahci *ahci;
    unsigned index;
    bool present;
    struct scsi_unit unit; /* a disk uses its drive and queue only */
    struct loop_work work;
    uint32_t regs[PX_COUNT];
    uint32_t running; /* slots being carried out */
    uint32_t queued;  /* those of them that are queued commands, whose bit in PxCI is 0 by then */
    bool failed;      /* nothing is begun until PxCMD.ST was 0 */
    bool resetting;   /* of the device by the controller's; ends when nothing runs */
    /* The loop's. */
    bool in_run, paused, srst;
    uint8_t features_word85, multiple;
    struct ahci_slot slots[AHCI_SLOTS];
    uint8_t error_log[512]; /* page 10h: the queued command that failed */
};

struct ahci {
    struct pci_device pci; /* first */
    struct guest_mem *mem;
    struct loop *loop;
    pthread_mutex_t lock;
    uint32_t ghc;                        /* IE, and HR while a reset goes on */
    struct ahci_port *ports[AHCI_PORTS]; /* NULL: nothing connected */
    struct pci_boot_unit boot_units[AHCI_PORTS];
};

/* ahci.c */
/* Interrupt line and message follow the ports' registers. Under the lock; news: something came that
 * a message should tell. */
void ahci_update_irq(struct ahci *ahci, bool news);
/* The controller's reset is over when all its ports' are. Under the lock. */
void ahci_reset_step(struct ahci *ahci);

/* ahci_port.c; under the lock. */
uint32_t ahci_port_read(struct ahci_port *port, unsigned reg);
void ahci_port_write(struct ahci_port *port, unsigned reg, uint32_t value);
void ahci_port_reset_registers(struct ahci_port *port);
/* Something the guest gave is not memory: the port stands until it is started again. */
void ahci_port_fatal(struct ahci_port *port, uint32_t interrupt);
/* The device says its name: after reset. */
void ahci_port_signature(struct ahci_port *port);
/* A FIS arrives in the guest's memory. */
void ahci_port_receive(struct ahci_port *port, unsigned offset, const void *fis, size_t len);
/* Slots that ended: bookkeeping of what runs. */
void ahci_port_ended(struct ahci_port *port, unsigned slot);
/* Without the lock, on the loop. */
void ahci_port_run(void *opaque);

/* ahci_command.c; on the loop, without the lock. */
void ahci_slot_start(struct ahci_slot *slot);
/* Buffers of the command for at least len bytes, no more; false: the command has ended in error. */
bool ahci_slot_map(struct ahci_slot *slot, uint64_t len);
/* The same up to the first entry that is not memory; false: there was one. */
bool ahci_slot_gather(struct ahci_slot *slot, uint64_t len);
/* Ends it. */
void ahci_slot_finish(struct ahci_slot *slot, uint8_t status, uint8_t error);
/* Data of at most the buffers' size goes to the guest, and the command ends well. */
void ahci_slot_reply(struct ahci_slot *slot, const void *data, size_t len);
void ahci_slot_abort(struct ahci_slot *slot);

/* ata.c */
void ata_command(struct ahci_slot *slot);
/* The device is as after a reset. */
void ata_reset(struct ahci_port *port);

/* ata_identify.c: 512 bytes each. */
void ata_identify_disk(const struct ahci_port *port, uint8_t data[512]);
void ata_identify_cdrom(const struct ahci_port *port, uint8_t data[512]);
void ata_smart_data(const struct ahci_port *port, uint8_t data[512]);
void ata_checksum(uint8_t data[512]);

#endif
