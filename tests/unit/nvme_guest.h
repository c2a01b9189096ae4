/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest of an NVMe controller on a fake bus: memory, a disk as namespace 1, queues in their
 * place, and the controller's loop turned by hand. For unit tests and the fuzzer. */
#ifndef KV_TESTS_NVME_GUEST_H
#define KV_TESTS_NVME_GUEST_H

#include "fake_pci.h"
#include "vmm/storage/nvme_internal.h"

#define NVME_MEMORY (4u << 20)
#define NVME_QUEUES_AT 0x10000u /* queue q: commands at + q * 0x2000, completions behind */
#define NVME_ENTRIES 16u
#define NVME_DATA 0x100000u
#define NVME_LIST 0x80000u
#define NVME_DISK_SIZE (4u << 20)
#define NVME_BAR 0xe0000000u

struct nvme_guest {
    struct fake_pci pci;
    struct loop loop;
    uint8_t *memory;
    struct guest_mem mem;
    struct nvme *nvme;
    uint16_t tails[2], heads[2];
};

/* The file's descriptor goes to the drive. */
void nvme_guest_init(struct nvme_guest *g, int disk_fd);
void nvme_guest_destroy(struct nvme_guest *g);
void nvme_turn(struct nvme_guest *g, int64_t nanoseconds);

uint32_t nvme_read(struct nvme_guest *g, unsigned offset);
void nvme_write(struct nvme_guest *g, unsigned offset, uint32_t value);
/* Disabled and enabled, with the admin queues in their place; CSTS afterwards. */
uint32_t nvme_enable(struct nvme_guest *g);
/* And queue 1. False: it could not be made. */
bool nvme_start(struct nvme_guest *g);

/* Puts a command into queue 0 or 1 and rings; nothing is waited for. */
void nvme_put(struct nvme_guest *g, unsigned queue, const struct nvme_command *command);
/* And waits for its end: status without the phase, ~0 when there is none. */
unsigned nvme_do(struct nvme_guest *g, unsigned queue, const struct nvme_command *command,
                 uint32_t *result);

#endif
