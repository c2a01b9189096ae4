/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest for one virtio device; see virtio_guest.h. */
#include "virtio_guest.h"

#include <linux/pci_regs.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"

#define MSI_ADDRESS 0xfee00000

void virtio_guest_init(struct virtio_guest *g)
{
    memset(g, 0, sizeof(*g));
    fake_pci_init(&g->fake);
    g->memory = aligned_alloc(4096, VIRTIO_GUEST_MEMORY);
    if (!g->memory || loop_init(&g->loop, NULL) < 0)
        abort();
    memset(g->memory, 0, VIRTIO_GUEST_MEMORY);
    const struct guest_mem_region region = {
        .gpa = 0, .size = VIRTIO_GUEST_MEMORY, .hva = g->memory, .fd = -1};
    if (guest_mem_add(&g->mem, &region) < 0)
        abort();
    g->next_ring = VIRTIO_GUEST_RINGS;
}

void virtio_guest_plug(struct virtio_guest *g, struct virtio_device *dev)
{
    g->vp = virtio_pci_plug(NULL, &g->fake.bus, dev, "device", -1, NULL);
    if (!g->vp)
        abort();
    pci_config_write(&g->vp->pci, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    g->bar = g->vp->pci.bars[VIRTIO_PCI_BAR].address;
}

void virtio_guest_destroy(struct virtio_guest *g)
{
    if (g->vp)
        g->vp->ops.free(&g->vp->pci.device);
    for (unsigned i = 0; i < VIRTIO_GUEST_QUEUES_MAX; i++)
        vring_driver_destroy(&g->rings[i]);
    loop_destroy(&g->loop);
    fake_pci_destroy(&g->fake);
    free(g->memory);
    g->vp = NULL;
}

uint64_t virtio_guest_read(struct virtio_guest *g, unsigned offset, unsigned len)
{
    return fake_read(&g->fake.mmio, g->bar + offset, len);
}

void virtio_guest_write(struct virtio_guest *g, unsigned offset, uint64_t value, unsigned len)
{
    fake_write(&g->fake.mmio, g->bar + offset, value, len);
}

unsigned virtio_guest_status(struct virtio_guest *g)
{
    return (unsigned)virtio_guest_read(g, VIRTIO_PCI_COMMON_STATUS, 1);
}

void virtio_guest_use_msix(struct virtio_guest *g)
{
    struct pci_device *pci = &g->vp->pci;
    for (unsigned i = 0; i < pci->msix.count; i++) {
        unsigned entry = VIRTIO_PCI_MSIX_TABLE + 16 * i;
        virtio_guest_write(g, entry, MSI_ADDRESS, 4);
        virtio_guest_write(g, entry + 8, i, 4);
        virtio_guest_write(g, entry + 12, 0, 4);
    }
    pci_config_write(pci, pci->msix.cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
}

uint64_t virtio_guest_interrupts(struct virtio_guest *g, unsigned vector)
{
    uint64_t n = 0;
    /* The fake platform leaves in the eventfd what KVM would deliver. */
    if (read(pci_msix_eventfd(&g->vp->pci, vector), &n, sizeof(n)) < 0)
        return 0;
    return n;
}

bool virtio_guest_negotiate(struct virtio_guest *g, uint64_t features)
{
    features |= BIT(VIRTIO_F_VERSION_1);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_STATUS, 0, 1);
    g->next_ring = VIRTIO_GUEST_RINGS;
    unsigned status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    virtio_guest_write(g, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_STATUS, status, 1);
    for (unsigned i = 0; i < 2; i++) {
        virtio_guest_write(g, VIRTIO_PCI_COMMON_GFSELECT, i, 4);
        virtio_guest_write(g, VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> 32 * i), 4);
    }
    virtio_guest_write(g, VIRTIO_PCI_COMMON_STATUS, status | VIRTIO_CONFIG_S_FEATURES_OK, 1);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_MSIX, 0, 2);
    return virtio_guest_status(g) & VIRTIO_CONFIG_S_FEATURES_OK;
}

void virtio_guest_set_queue(struct virtio_guest *g, unsigned n, uint16_t size)
{
    struct vring_driver *ring = &g->rings[n];
    const struct virtio_device *dev = g->vp->dev;
    vring_driver_destroy(ring);
    g->next_ring = vring_driver_init(ring, &g->mem, size, virtio_has(dev, VIRTIO_F_RING_PACKED),
                                     virtio_has(dev, VIRTIO_RING_F_EVENT_IDX), g->next_ring);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_Q_SELECT, n, 2);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_Q_SIZE, size, 2);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_Q_MSIX, n + 1, 2);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_Q_DESCLO, ring->desc_gpa, 8);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_Q_AVAILLO, ring->driver_gpa, 8);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_Q_USEDLO, ring->device_gpa, 8);
    virtio_guest_write(g, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

void virtio_guest_driver_ok(struct virtio_guest *g)
{
    virtio_guest_write(g, VIRTIO_PCI_COMMON_STATUS,
                       virtio_guest_status(g) | VIRTIO_CONFIG_S_DRIVER_OK, 1);
}

void virtio_guest_start(struct virtio_guest *g, uint64_t features)
{
    if (!virtio_guest_negotiate(g, features))
        abort();
    for (unsigned i = 0; i < g->vp->dev->queue_count && i < VIRTIO_GUEST_QUEUES_MAX; i++)
        virtio_guest_set_queue(g, i, MIN(g->vp->dev->queues[i].size_max, (uint16_t)64));
    virtio_guest_driver_ok(g);
}

void virtio_guest_kick(struct virtio_guest *g, unsigned n)
{
    if (vring_driver_kick_needed(&g->rings[n]))
        virtio_guest_write(g, VIRTIO_PCI_NOTIFY + VIRTIO_PCI_NOTIFY_MULTIPLIER * n, n, 2);
}

static void stop(void *opaque)
{
    loop_stop(opaque);
}

void virtio_guest_run_for(struct virtio_guest *g, unsigned ms)
{
    struct loop_timer timer = {0};
    loop_timer_arm(&g->loop, &timer, ms * INT64_C(1000000), stop, &g->loop);
    loop_run(&g->loop);
}

void virtio_guest_run(struct virtio_guest *g)
{
    /* The second time for what the first one stirred up. */
    virtio_guest_run_for(g, 0);
    virtio_guest_run_for(g, 0);
}
