/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest of a SATA controller on a fake bus: memory, a disk at port 0, a CD-ROM at port 1, and the
 * controller's loop turned by hand. For unit tests and the fuzzer. */
#ifndef KV_TESTS_SATA_GUEST_H
#define KV_TESTS_SATA_GUEST_H

#include "fake_pci.h"
#include "vmm/storage/ahci_internal.h"

#define SATA_MEMORY (4u << 20)
#define SATA_LIST 0x1000u   /* command list of port n: + n * 0x1000 */
#define SATA_FIS 0x8000u    /* received FISes of port n: + n * 0x100 */
#define SATA_TABLES 0x9000u /* command tables of port n: + n * 0x4000, 0x200 a slot */
#define SATA_DATA 0x100000u
#define SATA_DISK_SIZE (4u << 20)
#define SATA_CD_SIZE (2u << 20)
#define SATA_ABAR 0xe0000000u

struct sata_guest {
    struct fake_pci pci;
    struct loop loop;
    uint8_t *memory;
    struct guest_mem mem;
    struct ahci *ahci;
};

/* Files in memory; their descriptors go to the drives. */
void sata_guest_init(struct sata_guest *g, int disk_fd, int cd_fd);
void sata_guest_destroy(struct sata_guest *g);
void sata_turn(struct sata_guest *g, int64_t nanoseconds);

uint32_t sata_read(struct sata_guest *g, unsigned port, unsigned reg);
void sata_write(struct sata_guest *g, unsigned port, unsigned reg, uint32_t value);
/* Lists and received FISes are where they belong, and the port runs. */
void sata_start(struct sata_guest *g, unsigned port);

struct sata_command {
    uint8_t code, feature;
    uint64_t sector;
    uint32_t count; /* as the register has it */
    uint8_t device;
    bool queued, write;
    const uint8_t *packet; /* 12 bytes; NULL: none */
    uint32_t data_len;     /* at SATA_DATA */
};
/* Fills the slot; issues nothing. */
void sata_put(struct sata_guest *g, unsigned port, unsigned slot, const struct sata_command *c);
/* Puts it into slot 0, issues it and turns until it has ended. The task file: status, error. */
uint32_t sata_do(struct sata_guest *g, unsigned port, const struct sata_command *c);

#endif
