/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio over PCI with virtio-rng or virtio-balloon behind it, on
 * a platform that takes notes: registers, config space and its window into the
 * BAR, doorbells, interrupts, pause, reset, and state that is saved and loaded.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>

#include "base/log.h"
#include "virtio_guest.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct act {
    uint8_t kind, small;
    uint16_t offset;
    uint64_t value;
} __attribute__((packed));

enum {
    BAR_WRITE,
    BAR_READ,
    REGISTER_WRITE, /* of the common structure, in the field's own width */
    CONFIG_WRITE,
    CONFIG_READ,
    WINDOW, /* an access through config space */
    POKE,
    SET_UP, /* as a good driver does */
    ADD,    /* a request that may be a good one */
    DOORBELL,
    TURN,
    PAUSE,
    RESET,
    RELOAD,
    HOST, /* what the control thread may ask */
    KINDS,
};

static struct virtio_guest guests[2];

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void discard(void *opaque, uint64_t gpa, uint64_t len)
{
    require(len > 0 && range_within(gpa, len, 0, VIRTIO_GUEST_MEMORY));
}

static void build(void)
{
    const struct rng_config rng = {.fd = -1, .max_bytes = 100000, .period = 10};
    const struct balloon_config balloon = {
        .deflate_on_oom = true, .free_page_reporting = true, .stats_interval = 1};
    const struct balloon_backend backend = {.discard = discard, .memory_size = VIRTIO_GUEST_MEMORY};
    struct virtio_device *dev;
    log_level = LOG_ERROR;
    virtio_guest_init(&guests[0]);
    require(rng_create(&dev, &rng, &guests[0].mem, &guests[0].loop, NULL) == 0);
    virtio_guest_plug(&guests[0], dev);
    virtio_guest_init(&guests[1]);
    require(balloon_create(&dev, &balloon, &backend, &guests[1].mem, &guests[1].loop, NULL) == 0);
    virtio_guest_plug(&guests[1], dev);
}

static void register_write(struct virtio_guest *g, const struct act *act)
{
    static const struct {
        uint8_t offset, len;
    } fields[] = {{0, 4},  {8, 4},  {12, 4}, {16, 2}, {20, 1}, {22, 2}, {24, 2},
                  {26, 2}, {28, 2}, {32, 4}, {36, 4}, {40, 8}, {48, 8}};
    unsigned i = act->small % ARRAY_SIZE(fields);
    virtio_guest_write(g, fields[i].offset, act->value, fields[i].len);
}

static void window(struct virtio_guest *g, const struct act *act)
{
    struct pci_device *pci = &g->vp->pci;
    unsigned cap = g->vp->cfg_cap, len = 1u << act->small % 3;
    pci_config_write(pci, cap + 4, act->small >> 2 & 1, 1);
    pci_config_write(pci, cap + 8, act->offset, 4);
    pci_config_write(pci, cap + 12, act->small & 0x40 ? (uint32_t)(act->value >> 32) : len, 4);
    if (act->small & 0x80)
        pci_config_write(pci, cap + 16, (uint32_t)act->value, 4);
    else
        pci_config_read(pci, cap + 16, 4);
}

static void set_up(struct virtio_guest *g, const struct act *act)
{
    const uint64_t features = (act->value & 0x3f) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
                              (act->value & 0x40 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
                              (act->value & 0x80 ? BIT(VIRTIO_F_RING_PACKED) : 0);
    if (act->small & 1)
        virtio_guest_use_msix(g);
    virtio_guest_start(g, features & g->vp->dev->features);
}

static void add(struct virtio_guest *g, const struct act *act)
{
    struct vring_driver *ring = &g->rings[act->small % g->vp->dev->queue_count];
    uint64_t gpa = VIRTIO_GUEST_DATA + (act->value & 0x3fffff);
    const struct vring_buffer buffers[] = {
        {gpa, act->offset, act->small & 0x20},
        {gpa, (uint32_t)(act->value >> 32), act->small & 0x40},
    };
    if (ring->size)
        vring_driver_add(ring, buffers, 1 + (act->small >> 7), act->small & 0x10 ? 0x8000 : 0, 0);
}

static void require_idle(struct virtio_guest *g)
{
    for (unsigned i = 0; i < g->vp->dev->queue_count; i++)
        require(g->vp->dev->queues[i].ring.inflight == 0);
}

static void pause_and_resume(struct virtio_guest *g)
{
    struct device *device = &g->vp->pci.device;
    device->ops->quiesce(device);
    require_idle(g);
    device->ops->resume(device);
}

static void reload(struct virtio_guest *g)
{
    struct device *device = &g->vp->pci.device;
    struct kv_error err = {0};
    device->ops->quiesce(device);
    json_t *before = device->ops->save(device);
    require(before && device->ops->load(device, before, &err) == 0);
    json_t *after = device->ops->save(device);
    require(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    device->ops->resume(device);
}

static void ask_host(struct virtio_guest *g, const struct act *act)
{
    if (g != &guests[1])
        return;
    struct virtio_balloon *balloon = balloon_of(g->vp->dev);
    balloon_device_set_target(balloon, act->value);
    balloon_device_set_stats_interval(balloon, act->small);
    json_decref(balloon_device_stats(balloon));
}

static void run(struct virtio_guest *g, const struct act *act)
{
    struct pci_device *pci = &g->vp->pci;
    struct device *device = &pci->device;
    unsigned len = 1u << act->small % 4;
    switch (act->kind % KINDS) {
    case BAR_WRITE:
        virtio_guest_write(g, act->offset, act->value, len);
        break;
    case BAR_READ:
        virtio_guest_read(g, act->offset, len);
        break;
    case REGISTER_WRITE:
        register_write(g, act);
        break;
    case CONFIG_WRITE:
        pci_config_write(pci, act->offset % 260, (uint32_t)act->value, MIN(len, 4u));
        break;
    case CONFIG_READ:
        pci_config_read(pci, act->offset % 260, MIN(len, 4u));
        break;
    case WINDOW:
        window(g, act);
        break;
    case POKE:
        store_le(g->memory + (VIRTIO_GUEST_RINGS + act->offset) % (VIRTIO_GUEST_MEMORY - 8),
                 act->value, len);
        break;
    case SET_UP:
        set_up(g, act);
        break;
    case ADD:
        add(g, act);
        break;
    case DOORBELL:
        virtio_guest_write(g, VIRTIO_PCI_NOTIFY + 4 * (act->small % 8), 0, 2);
        break;
    case TURN:
        virtio_guest_run_for(g, 0);
        break;
    case PAUSE:
        pause_and_resume(g);
        break;
    case RESET:
        device->ops->reset(device);
        pci_config_write(pci, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
        break;
    case RELOAD:
        reload(g);
        break;
    default:
        ask_host(g, act);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct act act;
    if (!guests[0].vp)
        build();
    if (size < 1)
        return 0;
    struct virtio_guest *g = &guests[data[0] & 1];
    struct device *device = &g->vp->pci.device;
    pci_config_write(&g->vp->pci, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    if (data[0] & 2)
        set_up(g, &(struct act){.small = data[0] >> 2 & 1, .value = data[0] << 1 | 3});
    for (data++, size--; size >= sizeof(act); data += sizeof(act), size -= sizeof(act)) {
        memcpy(&act, data, sizeof(act));
        run(g, &act);
    }
    virtio_guest_run_for(g, 0);
    device->ops->reset(device);
    require_idle(g);
    require(!g->vp->dev->running && virtio_guest_status(g) != 0);
    return 0;
}
