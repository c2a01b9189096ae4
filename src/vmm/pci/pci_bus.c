/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root bus: which device sits where, the two ways into their config space
 * (ports 0xcf8/0xcfc, PCI Local Bus 3.0 3.2.2.3.2; ECAM, PCI Express Base
 * 7.2.2), the shared INTx lines, and where BARs are placed. Port 0xcf9, the
 * chipset's reset control register, lies inside the first of these and is
 * answered here too. Called on vCPU threads, and on the control thread to plug.
 */
#include <errno.h>
#include <linux/pci_regs.h>

#include "base/log.h"
#include "vmm/pci/pci_internal.h"
#include "vmm/x86/layout.h"

#define CONFIG_PORTS 8
#define CONFIG_ENABLE BIT(31)
#define RESET_CONTROL_OFFSET (PORT_RESET - PORT_PCI_CONFIG_ADDRESS)
#define RESET_CONTROL_SYSTEM 0x02 /* hard instead of soft reset */
#define RESET_CONTROL_CPU 0x04    /* a change from 0 to 1 resets */
#define RESET_CONTROL_MASK 0x0e
#define ECAM_FUNCTION_SIZE 4096
#define ECAM_BUS_SIZE MIB(1)

static uint64_t all_ones(unsigned len)
{
    return len >= 8 ? UINT64_MAX : BIT(len * 8) - 1;
}

static struct pci_device *device_at(struct pci_bus *bus, unsigned bus_number, unsigned devfn)
{
    if (bus_number != 0)
        return NULL;
    pthread_mutex_lock(&bus->lock);
    struct pci_device *dev = bus->devices[devfn];
    pthread_mutex_unlock(&bus->lock);
    return dev;
}

static uint64_t config_read(struct pci_bus *bus, unsigned bus_number, unsigned devfn,
                            unsigned offset, unsigned len)
{
    struct pci_device *dev = device_at(bus, bus_number, devfn);
    if (!dev)
        return all_ones(len);
    if (len <= 4)
        return pci_config_read(dev, offset, len);
    return pci_config_read(dev, offset, 4) | (uint64_t)pci_config_read(dev, offset + 4, 4) << 32;
}

static void config_write(struct pci_bus *bus, unsigned bus_number, unsigned devfn, unsigned offset,
                         uint64_t value, unsigned len)
{
    struct pci_device *dev = device_at(bus, bus_number, devfn);
    if (!dev)
        return;
    pci_config_write(dev, offset, (uint32_t)value, MIN(len, 4u));
    if (len > 4)
        pci_config_write(dev, offset + 4, (uint32_t)(value >> 32), 4);
}

static uint32_t latched_address(struct pci_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    uint32_t address = bus->config_address;
    pthread_mutex_unlock(&bus->lock);
    return address;
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned len)
{
    struct pci_bus *bus = opaque;
    uint32_t address = latched_address(bus);
    if (offset == 0 && len == 4)
        return address;
    if (offset == RESET_CONTROL_OFFSET && len == 1) {
        pthread_mutex_lock(&bus->lock);
        uint8_t control = bus->reset_control;
        pthread_mutex_unlock(&bus->lock);
        return control;
    }
    if (offset < 4 || len > 4 || !(address & CONFIG_ENABLE))
        return all_ones(len);
    return config_read(bus, address >> 16 & 0xff, address >> 8 & 0xff,
                       (address & 0xfc) + (offset - 4), len);
}

static void write_reset_control(struct pci_bus *bus, uint8_t value)
{
    pthread_mutex_lock(&bus->lock);
    bool reset = (value & RESET_CONTROL_CPU) && !(bus->reset_control & RESET_CONTROL_CPU);
    bus->reset_control = value & RESET_CONTROL_MASK;
    pthread_mutex_unlock(&bus->lock);
    if (reset && bus->platform->reset)
        bus->platform->reset(bus->platform_opaque);
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct pci_bus *bus = opaque;
    if (offset == 0 && len == 4) {
        pthread_mutex_lock(&bus->lock);
        bus->config_address = (uint32_t)value & (uint32_t)(CONFIG_ENABLE | 0xfffffc);
        pthread_mutex_unlock(&bus->lock);
        return;
    }
    if (offset == RESET_CONTROL_OFFSET && len == 1) {
        write_reset_control(bus, (uint8_t)value);
        return;
    }
    uint32_t address = latched_address(bus);
    if (offset < 4 || len > 4 || !(address & CONFIG_ENABLE))
        return;
    config_write(bus, address >> 16 & 0xff, address >> 8 & 0xff, (address & 0xfc) + (offset - 4),
                 value, len);
}

static const struct bus_ops ports_ops = {.read = ports_read, .write = ports_write};

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned len)
{
    return config_read(opaque, (unsigned)(offset / ECAM_BUS_SIZE),
                       offset / ECAM_FUNCTION_SIZE % PCI_FUNCTIONS, offset % ECAM_FUNCTION_SIZE,
                       len);
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    config_write(opaque, (unsigned)(offset / ECAM_BUS_SIZE),
                 offset / ECAM_FUNCTION_SIZE % PCI_FUNCTIONS, offset % ECAM_FUNCTION_SIZE, value,
                 len);
}

static const struct bus_ops ecam_ops = {.read = ecam_read, .write = ecam_write};

void pci_bus_init(struct pci_bus *bus, struct bus *mmio, struct bus *pio,
                  const struct pci_platform_ops *platform, void *opaque)
{
    *bus = (struct pci_bus){
        .mmio = mmio,
        .pio = pio,
        .platform = platform,
        .platform_opaque = opaque,
        .ecam_base = LAYOUT_ECAM_BASE,
        .ecam_size = LAYOUT_ECAM_SIZE,
        .mmio32_base = LAYOUT_MMIO32_BASE,
        .mmio32_end = LAYOUT_MMIO32_END,
        .mmio32_limit = LAYOUT_IOAPIC_BASE,
        .mmio64_base = LAYOUT_MMIO64_MIN,
        .mmio64_end = LAYOUT_MMIO64_MIN + LAYOUT_MMIO64_SIZE,
        .io_base = LAYOUT_PCI_IO_BASE,
        .io_end = LAYOUT_PCI_IO_END,
    };
    pthread_mutex_init(&bus->lock, NULL);
    pthread_mutex_init(&bus->intx_lock, NULL);
}

void pci_bus_destroy(struct pci_bus *bus)
{
    pthread_mutex_destroy(&bus->lock);
    pthread_mutex_destroy(&bus->intx_lock);
}

int pci_bus_map_config(struct pci_bus *bus, struct kv_error *err)
{
    int rc = bus_map(bus->pio,
                     &(struct bus_region){.base = PORT_PCI_CONFIG_ADDRESS,
                                          .size = CONFIG_PORTS,
                                          .ops = &ports_ops,
                                          .opaque = bus,
                                          .name = "pci-config"},
                     err);
    if (rc < 0 || bus->ecam_size == 0)
        return rc;
    rc = bus_map(bus->mmio,
                 &(struct bus_region){.base = bus->ecam_base,
                                      .size = bus->ecam_size,
                                      .ops = &ecam_ops,
                                      .opaque = bus,
                                      .name = "pci-ecam"},
                 err);
    if (rc < 0)
        bus_unmap(bus->pio, PORT_PCI_CONFIG_ADDRESS);
    return rc;
}

unsigned pci_intx_gsi(unsigned slot)
{
    return GSI_PCI_FIRST + slot % PCI_INTX_LINES;
}

void pci_intx_update(struct pci_device *dev)
{
    struct pci_bus *bus = dev->bus;
    bool drive =
        bus && dev->intx_high && !dev->intx_disabled && !dev->msix.enabled && !dev->msi.enabled;
    if (!bus || drive == dev->intx_driven)
        return;
    dev->intx_driven = drive;
    unsigned gsi = pci_intx_gsi(dev->devfn >> 3);
    unsigned *users = &bus->intx_users[gsi - GSI_PCI_FIRST];
    pthread_mutex_lock(&bus->intx_lock);
    if (drive && (*users)++ == 0)
        bus->platform->set_line(bus->platform_opaque, gsi, true);
    else if (!drive && --*users == 0)
        bus->platform->set_line(bus->platform_opaque, gsi, false);
    pthread_mutex_unlock(&bus->intx_lock);
}

/* The bus's lock is held. */
static int find_slot(const struct pci_bus *bus)
{
    for (int slot = 0; slot < PCI_SLOTS; slot++) {
        bool empty = true;
        for (unsigned fn = 0; fn < 8 && empty; fn++)
            empty = !bus->devices[PCI_DEVFN(slot, fn)];
        if (empty && slot != PCI_SLOT_LPC)
            return slot;
    }
    return -1;
}

int pci_plug(struct pci_bus *bus, struct pci_device *dev, int slot, struct kv_error *err)
{
    if (slot < -1 || slot >= PCI_SLOTS)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL, "PCI slot %d: slots are 0 to %d", slot,
                            PCI_SLOTS - 1);
    pthread_mutex_lock(&bus->lock);
    int rc = 0;
    if (slot < 0)
        slot = find_slot(bus);
    if (slot < 0)
        rc = kv_error_set(err, KV_ERR_DEVICE, ENOSPC, "no PCI slot is free: all %d are taken",
                          PCI_SLOTS - 1);
    else if (bus->devices[PCI_DEVFN(slot, 0)])
        rc = kv_error_set(err, KV_ERR_DEVICE, EEXIST, "PCI slot %d is taken by device '%s'", slot,
                          bus->devices[PCI_DEVFN(slot, 0)]->device.id);
    else
        rc = pci_bars_place(bus, dev, err);
    if (rc == 0) {
        pthread_mutex_lock(&dev->lock);
        pthread_mutex_lock(&dev->irq_lock);
        dev->bus = bus;
        dev->devfn = (uint8_t)PCI_DEVFN(slot, 0);
        pci_intx_update(dev);
        pthread_mutex_unlock(&dev->irq_lock);
        pthread_mutex_unlock(&dev->lock);
        bus->devices[dev->devfn] = dev;
    }
    pthread_mutex_unlock(&bus->lock);
    return rc;
}

void pci_unplug(struct pci_device *dev)
{
    struct pci_bus *bus = dev->bus;
    if (!bus)
        return;
    pthread_mutex_lock(&bus->lock);
    bus->devices[dev->devfn] = NULL;
    pthread_mutex_unlock(&bus->lock);

    pthread_mutex_lock(&dev->lock);
    store_le(dev->config + PCI_COMMAND, 0, 2);
    pci_bars_update(dev);
    pthread_mutex_lock(&dev->irq_lock);
    dev->intx_high = false;
    pci_intx_update(dev);
    pci_msix_detach(dev);
    dev->bus = NULL;
    pthread_mutex_unlock(&dev->irq_lock);
    pthread_mutex_unlock(&dev->lock);
}
