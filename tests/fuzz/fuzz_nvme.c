/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: an NVMe controller with a disk. A guest writes its registers,
 * doorbells and memory as it likes, gives commands whose frame is right, pauses
 * and resets; the host changes the disk's size. A controller that is started
 * properly after all that must carry a command out.
 */
#include "acts.h"
#include "base/log.h"
#include "nvme_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    REGISTER,
    DOORBELL,
    POKE,
    ADMIN,
    TRANSFER,
    TURN,
    START,
    PAUSE,
    RESET,
    RESIZE,
    CONFIG,
    KINDS
};

static struct nvme_guest g;

/* Its registers are where the guest looks for them. */
static void map(void)
{
    pci_config_write(&g.nvme->pci, 0x10, NVME_BAR, 4);
    pci_config_write(&g.nvme->pci, 0x14, 0, 4);
    pci_config_write(&g.nvme->pci, 4, 6, 2);
}

static void build(void)
{
    log_level = LOG_ERROR;
    nvme_guest_init(&g, acts_file(NVME_DISK_SIZE));
}

static void put(const struct act *act, unsigned queue)
{
    const struct nvme_command command = {
        .opcode = act->a & 0x0f,
        .flags = act->a == 0xff,
        .cid = act->b,
        .nsid = act->b & 0x8000 ? act->b & 3 : 1,
        .prp1 = NVME_DATA + (act->value >> 40 & 0xffffc),
        .prp2 = act->a & 0x80 ? NVME_LIST + (act->value >> 50) * 8 : act->value >> 44,
        .cdw10 = queue ? (uint32_t)(act->value & 0x3fff) : (uint32_t)act->value & 0x01ff003f,
        .cdw11 = queue ? (act->a & 0x40u ? 4 : 0) : (uint32_t)(act->value >> 32) & 0x001f0003,
        .cdw12 = queue ? act->b & 0x7ff : (uint32_t)(act->value >> 32) & 0x3ff,
    };
    nvme_put(&g, queue, &command);
}

static void run(const struct act *act)
{
    struct device *device = &g.nvme->pci.device;
    struct kv_error err;
    switch (act->kind % KINDS) {
    case REGISTER:
        fake_write(&g.pci.mmio, NVME_BAR + act->b % 0x40, act->value, 1u << (act->a & 3));
        fake_read(&g.pci.mmio, NVME_BAR + act->b % 0x4000, 1u << (act->a >> 2 & 3));
        break;
    case DOORBELL:
        fake_write(&g.pci.mmio, NVME_BAR + 0x1000 + act->b % 0x3000, act->value, 4);
        break;
    case POKE:
        store_le(g.memory + (act->a & 1 ? NVME_QUEUES_AT : NVME_LIST) + (act->b & 0x3fff) * 2u,
                 act->a & 2 ? NVME_DATA + act->value % 0x100000 : act->value, 8);
        break;
    case ADMIN:
        put(act, 0);
        break;
    case TRANSFER:
        put(act, 1);
        break;
    case TURN:
        nvme_turn(&g, 0);
        break;
    case START:
        map();
        nvme_start(&g);
        break;
    case PAUSE:
        acts_pause(device, act->a & 1);
        break;
    case RESET:
        device->ops->reset(device);
        map();
        break;
    case RESIZE:
        drive_resize(&g.nvme->namespaces[0]->drive, act->value % (2 * NVME_DISK_SIZE), &err);
        break;
    default:
        pci_config_write(&g.nvme->pci, act->b % 256, (uint32_t)act->value, 1u << act->a % 3);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct act reset = {.kind = RESET};
    /* A read: unlike a flush it ends without another thread. */
    const struct nvme_command last = {.opcode = 2, .nsid = 1, .prp1 = NVME_DATA};
    if (!g.nvme)
        build();
    acts_run(data, size, run);
    nvme_turn(&g, 0);
    run(&reset);
    drive_resize(&g.nvme->namespaces[0]->drive, NVME_DISK_SIZE, NULL);
    require(nvme_start(&g));
    require(nvme_do(&g, 1, &last, NULL) == NVME_OK);
    return 0;
}
