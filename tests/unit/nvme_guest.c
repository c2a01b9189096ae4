/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nvme_guest.h. */
#include "nvme_guest.h"

#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/loop.h"

#define CC 0x14
#define CSTS 0x1c
#define DOORBELLS 0x1000
#define CC_VALUE (4u << 20 | 6u << 16)

static void stop_loop(void *opaque)
{
    loop_stop(opaque);
}

void nvme_turn(struct nvme_guest *g, int64_t nanoseconds)
{
    struct loop_timer timer = {0};
    loop_timer_arm(&g->loop, &timer, nanoseconds, stop_loop, &g->loop);
    loop_run(&g->loop);
    loop_timer_cancel(&timer);
}

void nvme_guest_init(struct nvme_guest *g, int disk_fd)
{
    struct drive_config config;
    memset(g, 0, sizeof(*g));
    fake_pci_init(&g->pci);
    g->memory = mmap(NULL, NVME_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const struct guest_mem_region region = {.size = NVME_MEMORY, .hva = g->memory, .fd = -1};
    disk_defaults(&config);
    config.fd = disk_fd;
    config.discard = 1;
    config.serial = (char *)"serial";
    if (g->memory == MAP_FAILED || guest_mem_add(&g->mem, &region) < 0 ||
        loop_init(&g->loop, NULL) < 0 ||
        nvme_create(&g->nvme, NULL, &g->pci.bus, &g->mem, &g->loop, "nvme", 0, NULL, NULL) < 0 ||
        nvme_add(g->nvme, &config, NULL) < 0)
        abort();
    pci_config_write(&g->nvme->pci, PCI_BASE_ADDRESS_0, NVME_BAR, 4);
    pci_config_write(&g->nvme->pci, PCI_BASE_ADDRESS_1, 0, 4);
    pci_config_write(&g->nvme->pci, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

void nvme_guest_destroy(struct nvme_guest *g)
{
    g->nvme->pci.device.ops->free(&g->nvme->pci.device);
    loop_destroy(&g->loop);
    fake_pci_destroy(&g->pci);
    munmap(g->memory, NVME_MEMORY);
}

uint32_t nvme_read(struct nvme_guest *g, unsigned offset)
{
    return (uint32_t)fake_read(&g->pci.mmio, NVME_BAR + offset, 4);
}

void nvme_write(struct nvme_guest *g, unsigned offset, uint32_t value)
{
    fake_write(&g->pci.mmio, NVME_BAR + offset, value, 4);
}

static uint32_t commands_at(unsigned queue)
{
    return NVME_QUEUES_AT + queue * 0x2000;
}

static void wait_for_ready(struct nvme_guest *g, uint32_t wanted)
{
    for (unsigned i = 0; i < 2000 && (nvme_read(g, CSTS) & 3) != wanted; i++)
        nvme_turn(g, i ? 200000 : 0);
}

uint32_t nvme_enable(struct nvme_guest *g)
{
    nvme_write(g, CC, 0);
    wait_for_ready(g, 0);
    memset(g->memory + NVME_QUEUES_AT, 0, 0x4000);
    memset(g->tails, 0, sizeof(g->tails));
    memset(g->heads, 0, sizeof(g->heads));
    nvme_write(g, 0x24, (NVME_ENTRIES - 1) << 16 | (NVME_ENTRIES - 1));
    nvme_write(g, 0x28, commands_at(0));
    nvme_write(g, 0x2c, 0);
    nvme_write(g, 0x30, commands_at(0) + 0x1000);
    nvme_write(g, 0x34, 0);
    nvme_write(g, CC, CC_VALUE | 1);
    wait_for_ready(g, 1);
    return nvme_read(g, CSTS);
}

bool nvme_start(struct nvme_guest *g)
{
    const struct nvme_command cq = {.opcode = 5,
                                    .prp1 = commands_at(1) + 0x1000,
                                    .cdw10 = (NVME_ENTRIES - 1) << 16 | 1,
                                    .cdw11 = 1 << 16 | 3};
    const struct nvme_command sq = {.opcode = 1,
                                    .prp1 = commands_at(1),
                                    .cdw10 = (NVME_ENTRIES - 1) << 16 | 1,
                                    .cdw11 = 1 << 16 | 1};
    return nvme_enable(g) == CSTS_RDY && nvme_do(g, 0, &cq, NULL) == NVME_OK &&
           nvme_do(g, 0, &sq, NULL) == NVME_OK;
}

void nvme_put(struct nvme_guest *g, unsigned queue, const struct nvme_command *command)
{
    uint16_t *tail = &g->tails[queue];
    memcpy(g->memory + commands_at(queue) + *tail * sizeof(*command), command, sizeof(*command));
    *tail = (uint16_t)((*tail + 1) % NVME_ENTRIES);
    nvme_write(g, DOORBELLS + 8 * queue, *tail);
}

unsigned nvme_do(struct nvme_guest *g, unsigned queue, const struct nvme_command *command,
                 uint32_t *result)
{
    uint16_t *head = &g->heads[queue];
    const struct nvme_completion *at =
        (const void *)(g->memory + commands_at(queue) + 0x1000 + *head * sizeof(*at));
    uint16_t before = at->status & 1;
    nvme_put(g, queue, command);
    for (unsigned i = 0; i < 2000 && !(nvme_read(g, CSTS) & CSTS_CFS); i++) {
        if ((at->status & 1) != before) {
            *head = (uint16_t)((*head + 1) % NVME_ENTRIES);
            nvme_write(g, DOORBELLS + 8 * queue + 4, *head);
            if (result)
                *result = at->result;
            return at->status >> 1;
        }
        nvme_turn(g, i ? 200000 : 0);
    }
    return ~0u;
}
