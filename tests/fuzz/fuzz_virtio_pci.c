/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: registers of virtio over PCI. A guest sets an echo device up and
 * down through the BAR, through the window in config space, moves the BAR,
 * masks vectors, writes rings and kicks, while the machine pauses, resets,
 * saves and restores it. A state that was saved must load again, a status that
 * is reset must read 0.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "require.h"
#include "virtio_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define QUEUES 2
#define RINGS 0x4000 /* bytes of memory that rings of proper set-ups need */
#define KINDS 14

struct act {
    uint8_t kind, width;
    uint16_t where;
    uint64_t value;
} __attribute__((packed));

static struct virtio_guest g;
static struct virtio_device echo;
static uint8_t config[24];

static void echo_config_write(struct virtio_device *dev, unsigned offset, const void *bytes,
                              unsigned len)
{
    memcpy(config + offset, bytes, len);
}

static int echo_start(struct virtio_device *dev)
{
    return config[0] == 0xff ? -EIO : 0;
}

/* As often as the ring holds, so that a bad one does not keep the loop. */
static void echo_kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct iovec iov[16];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = ARRAY_SIZE(iov)};
    char text[64];
    for (unsigned i = 0; i < 16 && virtqueue_pop(&queue->ring, &chain) == 1; i++) {
        size_t n = virtqueue_read_out(&chain, 0, text, sizeof(text));
        virtqueue_push(&queue->ring, &chain, (uint32_t)virtqueue_write_in(&chain, 0, text, n));
    }
    virtqueue_enable_kick(&queue->ring);
    if (!virtio_queue_broken(queue))
        virtio_queue_notify(queue);
}

static void echo_free(struct virtio_device *dev)
{
    virtio_device_destroy(dev);
}

static const struct virtio_device_ops echo_ops = {
    .device_id = VIRTIO_ID_BLOCK,
    .config_write = echo_config_write,
    .start = echo_start,
    .kick = echo_kick,
    .free = echo_free,
};

static void build(void)
{
    static const uint16_t sizes[QUEUES] = {64, 16};
    log_level = LOG_ERROR;
    virtio_guest_init(&g);
    require(virtio_device_init(&echo, &echo_ops, "virtio-echo", 0xff, config, sizeof(config),
                               QUEUES, sizes, &g.mem, &g.loop, NULL) == 0);
    virtio_guest_plug(&g, &echo);
}

static const struct device_ops *ops(void)
{
    return g.vp->pci.device.ops;
}

static void save_and_load(void)
{
    struct device *device = &g.vp->pci.device;
    ops()->quiesce(device);
    json_t *state = ops()->save(device);
    ops()->reset(device);
    require(ops()->load(device, state, NULL) == 0);
    json_t *again = ops()->save(device);
    require(json_equal(state, again));
    json_decref(state);
    json_decref(again);
    ops()->resume(device);
}

/* The BAR where it is now; the guest may have moved or hidden it. */
static void access_bar(const struct act *act, unsigned offset)
{
    unsigned len = 1u << act->width % 4;
    const struct pci_bar *bar = &g.vp->pci.bars[VIRTIO_PCI_BAR];
    if (!bar->mapped)
        return;
    if (act->width & 0x80)
        fake_read(&g.fake.mmio, bar->address + offset, len);
    else
        fake_write(&g.fake.mmio, bar->address + offset, act->value, len);
}

/* Of the common structure, a field in its own width. */
static void write_register(struct act act)
{
    static const struct {
        uint8_t offset, log2_len;
    } fields[] = {{0, 2},  {8, 2},  {12, 2}, {16, 1}, {20, 0}, {22, 1}, {24, 1},
                  {26, 1}, {28, 1}, {32, 2}, {36, 2}, {40, 3}, {48, 3}};
    unsigned i = act.where % ARRAY_SIZE(fields);
    act.width = fields[i].log2_len;
    access_bar(&act, VIRTIO_PCI_COMMON + fields[i].offset);
}

static void access_config(const struct act *act, unsigned offset)
{
    unsigned len = 1u << act->width % 3;
    if (act->width & 0x80)
        pci_config_read(&g.vp->pci, offset & ~(len - 1), len);
    else
        pci_config_write(&g.vp->pci, offset & ~(len - 1), (uint32_t)act->value, len);
}

static void reset_status(void)
{
    if (!g.vp->pci.bars[VIRTIO_PCI_BAR].mapped)
        return;
    g.bar = g.vp->pci.bars[VIRTIO_PCI_BAR].address;
    virtio_guest_write(&g, VIRTIO_PCI_COMMON_STATUS, 0, 1);
    require(virtio_guest_status(&g) == 0 && !echo.running);
}

/* What a driver does, so that the rest has something to break. */
static void set_up(const struct act *act)
{
    reset_status();
    if (!g.vp->pci.bars[VIRTIO_PCI_BAR].mapped ||
        !virtio_guest_negotiate(&g, act->value & echo.features))
        return;
    for (unsigned i = 0; i < QUEUES; i++)
        virtio_guest_set_queue(&g, i, (uint16_t)(1u << act->where % 5));
    virtio_guest_driver_ok(&g);
}

static void add(const struct act *act)
{
    unsigned n = act->where % QUEUES;
    const struct vring_buffer buffers[] = {
        {VIRTIO_GUEST_DATA + act->where, (uint32_t)act->value & 0xff, false},
        {VIRTIO_GUEST_DATA + act->where, (uint32_t)act->value >> 8 & 0xff, true},
    };
    if (!g.rings[n].mem || !g.vp->pci.bars[VIRTIO_PCI_BAR].mapped)
        return;
    vring_driver_add(&g.rings[n], buffers, 2, 0, 0);
    virtio_guest_write(&g, VIRTIO_PCI_NOTIFY + VIRTIO_PCI_NOTIFY_MULTIPLIER * n, n, 2);
}

static void perform(const struct act *act)
{
    struct device *device = &g.vp->pci.device;
    switch (act->kind % KINDS) {
    case 0:
        access_bar(act, VIRTIO_PCI_COMMON + act->where % 0x40);
        break;
    case 1:
        write_register(*act);
        break;
    case 2:
        access_bar(act, act->where);
        break;
    case 3:
        access_bar(act, VIRTIO_PCI_MSIX_TABLE + act->where % 0x50);
        break;
    case 4:
        access_bar(act, VIRTIO_PCI_NOTIFY + act->where % 16);
        break;
    case 5:
        access_config(act, g.vp->cfg_cap + act->where % 20);
        break;
    case 6:
        access_config(act, act->where % 256);
        break;
    case 7:
        store_le(g.memory + VIRTIO_GUEST_RINGS + act->where % (RINGS - 8), act->value, 8);
        break;
    case 8:
        add(act);
        break;
    case 9:
        virtio_guest_run_for(&g, 0);
        break;
    case 10:
        save_and_load();
        break;
    case 11:
        if (act->where & 1)
            ops()->reset(device);
        else
            virtio_config_changed(&echo);
        break;
    case 12:
        ops()->quiesce(device);
        ops()->resume(device);
        break;
    default:
        set_up(act);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct act act;
    if (!g.vp)
        build();
    memset(config, 0, sizeof(config));
    memset(g.memory + VIRTIO_GUEST_RINGS, 0, RINGS);
    ops()->reset(&g.vp->pci.device);
    pci_config_write(&g.vp->pci, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    g.bar = g.vp->pci.bars[VIRTIO_PCI_BAR].address;
    if (size && data[0] & 0x80)
        virtio_guest_use_msix(&g);
    for (; size >= sizeof(act); data += sizeof(act), size -= sizeof(act)) {
        memcpy(&act, data, sizeof(act));
        perform(&act);
    }
    virtio_guest_run_for(&g, 0);
    ops()->reset(&g.vp->pci.device);
    for (unsigned i = 0; i < VIRTIO_GUEST_QUEUES_MAX; i++)
        vring_driver_destroy(&g.rings[i]);
    return 0;
}
