/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio-pci driver that can be made to misbehave; see virtio.h. */
#include "virtio.h"

#define CAP_VENDOR 9

static struct ring rings[VDEV_QUEUES];

static void find_structures(struct vdev *dev)
{
    unsigned cap = 0;
    while ((cap = pci_find_capability(dev->devfn, CAP_VENDOR, cap))) {
        unsigned type = pci_read(dev->devfn, cap + 3, 1);
        uint64_t at = pci_bar(dev->devfn, pci_read(dev->devfn, cap + 4, 1)) +
                      pci_read(dev->devfn, cap + 8, 4);
        if (type == 1) {
            dev->common = at;
            dev->bar0 = pci_bar(dev->devfn, pci_read(dev->devfn, cap + 4, 1));
        } else if (type == 2) {
            dev->notify = at;
            dev->notify_multiplier = pci_read(dev->devfn, cap + 16, 4);
        } else if (type == 3) {
            dev->isr = at;
        } else if (type == 4) {
            dev->config = at;
        }
    }
}

bool vdev_find(struct vdev *dev, uint16_t type, unsigned n)
{
    int devfn = pci_find(VIRTIO_VENDOR, (uint16_t)(0x1040 + type), n);
    memset(dev, 0, sizeof(*dev));
    if (devfn < 0)
        return false;
    dev->devfn = (unsigned)devfn;
    dev->type = type;
    dev->ring = rings;
    pci_write(dev->devfn, 4, 6, 2); /* memory space, bus master */
    find_structures(dev);
    return dev->common && dev->notify && dev->isr;
}

void vdev_reset(struct vdev *dev)
{
    write8(dev->common + CFG_STATUS, 0);
    while (read8(dev->common + CFG_STATUS))
        ;
}

uint8_t vdev_status(struct vdev *dev)
{
    return read8(dev->common + CFG_STATUS);
}

bool vdev_negotiate(struct vdev *dev, uint64_t features)
{
    write8(dev->common + CFG_STATUS, STATUS_ACKNOWLEDGE);
    write8(dev->common + CFG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    for (uint32_t i = 0; i < 2; i++) {
        write32(dev->common + CFG_DRIVER_FEATURE_SELECT, i);
        write32(dev->common + CFG_DRIVER_FEATURE, (uint32_t)(features >> 32 * i));
    }
    write8(dev->common + CFG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return vdev_status(dev) & STATUS_FEATURES_OK;
}

void vdev_enable_queue(struct vdev *dev, unsigned q)
{
    struct ring *r = &dev->ring[q];
    memset(r, 0, sizeof(*r));
    write16(dev->common + CFG_QUEUE_SELECT, (uint16_t)q);
    if (read16(dev->common + CFG_QUEUE_SIZE) < RING_SIZE)
        return;
    write16(dev->common + CFG_QUEUE_SIZE, RING_SIZE);
    write64(dev->common + CFG_QUEUE_DESC, (uint64_t)(uintptr_t)r->desc);
    write64(dev->common + CFG_QUEUE_DRIVER, (uint64_t)(uintptr_t)&r->avail);
    write64(dev->common + CFG_QUEUE_DEVICE, (uint64_t)(uintptr_t)&r->used);
    write16(dev->common + CFG_QUEUE_ENABLE, 1);
}

void vdev_driver_ok(struct vdev *dev)
{
    write8(dev->common + CFG_STATUS,
           STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

bool vdev_start(struct vdev *dev)
{
    vdev_reset(dev);
    if (!vdev_negotiate(dev, 1ull << 32))
        return false;
    unsigned count = read16(dev->common + CFG_NUM_QUEUES);
    for (unsigned q = 0; q < count && q < VDEV_QUEUES; q++)
        vdev_enable_queue(dev, q);
    vdev_driver_ok(dev);
    return !(vdev_status(dev) & STATUS_NEEDS_RESET);
}

void vdev_kick(struct vdev *dev, unsigned q)
{
    write16(dev->common + CFG_QUEUE_SELECT, (uint16_t)q);
    uint16_t offset = read16(dev->common + CFG_QUEUE_NOTIFY_OFF);
    barrier();
    write16(dev->notify + (uint64_t)offset * dev->notify_multiplier, (uint16_t)q);
}

void vdev_offer(struct vdev *dev, unsigned q, uint16_t head)
{
    struct ring *r = &dev->ring[q];
    r->avail.ring[r->avail.idx % RING_SIZE] = head;
    barrier();
    *(volatile uint16_t *)&r->avail.idx = (uint16_t)(r->avail.idx + 1);
    vdev_kick(dev, q);
}

bool vdev_wait_used(struct vdev *dev, unsigned q, uint16_t want, unsigned limit_us)
{
    volatile uint16_t *idx = &dev->ring[q].used.idx;
    for (unsigned n = 0; n < limit_us; n += 10) {
        if (*idx == want)
            return true;
        pause_us(10);
    }
    return *idx == want;
}

bool vdev_wait_needs_reset(struct vdev *dev, unsigned limit_us)
{
    for (unsigned n = 0; n < limit_us; n += 10) {
        if (vdev_status(dev) & STATUS_NEEDS_RESET)
            return true;
        pause_us(10);
    }
    return false;
}
