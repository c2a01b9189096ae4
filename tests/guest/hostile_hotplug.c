/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that abuses PCI hotplug: registers at random and in every width, ejections of what is
 * not there, of what may not leave, and of devices that run. What may not leave stays, what may is
 * gone for good, and the others work on.
 */
#include "health.h"
#include "hotplug.h"

#define HOST_BRIDGE 0
#define SLOTS 32

static struct vdev device;
static struct ring rings[VDEV_QUEUES];
static uint32_t seed = 1;

static uint32_t random(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8 | seed << 24;
}

static unsigned count_devices(void)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        count += pci_read(slot << 3, 0, 4) != UINT32_MAX;
    return count;
}

/* Everything but the ejection, which works. */
static void registers_at_random(void)
{
    unsigned before = count_devices();
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t value = random();
        uint16_t port = (uint16_t)(HOTPLUG_PORTS + random() % 16);
        bool ejects = port == HOTPLUG_EJECT;
        if (value & 1)
            outb(port, (uint8_t)value);
        else if (value & 2)
            outw(port, (uint16_t)value);
        else if (!ejects)
            outl(port, random());
        inl(port);
        inw(port);
        inb(port);
        outl(HOTPLUG_OST, random());
    }
    result("registers at random", count_devices() == before, "a device went or came");
}

static void what_is_not_there(void)
{
    uint32_t empty = 0;
    unsigned before = count_devices();
    for (unsigned slot = 0; slot < SLOTS; slot++)
        empty |= pci_read(slot << 3, 0, 4) == UINT32_MAX ? 1u << slot : 0;
    for (unsigned i = 0; i < 100; i++)
        outl(HOTPLUG_EJECT, empty);
    result("ejecting empty slots", count_devices() == before, "a device went");
}

static void what_may_not_leave(void)
{
    int console = pci_find(VIRTIO_VENDOR, 0x1040 + VIRTIO_CONSOLE, 0);
    outl(HOTPLUG_EJECT, 1u << HOST_BRIDGE);
    outl(HOTPLUG_EJECT, 1u << ((unsigned)console >> 3));
    bool stays = pci_read(HOST_BRIDGE, 0, 4) != UINT32_MAX &&
                 pci_read((unsigned)console, 0, 4) != UINT32_MAX;
    result("ejecting the host bridge and the console", stays, "one of them went");
}

/* With a request under way, and registers written on afterwards. */
static void a_running_device(uint16_t type, const char *name)
{
    device.ring = rings;
    if (!vdev_find(&device, type, 0) || !vdev_start(&device)) {
        result(name, false, "it does not start");
        return;
    }
    unsigned queue = vdev_kind(&device)->queue;
    vdev_offer(&device, queue, vdev_prepare(&device));
    outl(HOTPLUG_EJECT, 1u << (device.devfn >> 3));
    for (unsigned i = 0; i < 100; i++) {
        vdev_kick(&device, queue);
        write8(device.common + CFG_STATUS, 0);
        pci_write(device.devfn, 4, random(), 2);
    }
    result(name, pci_read(device.devfn, 0, 4) == UINT32_MAX, "it is still there");
}

static void the_rest_works(void)
{
    const char *why = "it is gone";
    device.ring = rings;
    result("the balloon works on",
           vdev_find(&device, VIRTIO_BALLOON, 0) && vdev_works(&device, &why), why);
}

void payload_main(void)
{
    registers_at_random();
    what_is_not_there();
    what_may_not_leave();
    a_running_device(VIRTIO_BLK, "ejecting a running disk");
    a_running_device(VIRTIO_NET, "ejecting a running network device");
    a_running_device(VIRTIO_RNG, "ejecting a running rng");
    what_is_not_there();
    the_rest_works();
    finish();
}
