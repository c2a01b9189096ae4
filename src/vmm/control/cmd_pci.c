/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-pci: the functions of the root bus as config space shows them (PCI 3.0 6.1). */
#include "base/util.h"
#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"

#define PCI_VENDOR 0x00
#define PCI_DEVICE 0x02
#define PCI_CLASS 0x0a
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM 0x2e
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_INTERRUPT_PIN 0x3d
#define UNMAPPED (-1) /* QEMU's way to say so */

static const struct {
    unsigned class;
    const char *description;
} class_names[] = {
    {0x0100, "SCSI controller"},    {0x0180, "Storage controller"}, {0x0200, "Ethernet controller"},
    {0x0280, "Network controller"}, {0x0600, "Host bridge"},        {0x0601, "ISA bridge"},
    {0x0604, "PCI bridge"},         {0x0700, "Serial controller"},  {0x0780, "Serial controller"},
    {0x0500, "RAM controller"},
};

static json_t *describe_class(unsigned class)
{
    json_t *out = json_pack("{s:i}", "class", (int)class);
    for (unsigned i = 0; i < ARRAY_SIZE(class_names); i++) {
        if (class_names[i].class == class)
            json_object_set_new(out, "desc", json_string(class_names[i].description));
    }
    return out;
}

/* Under the function's lock. */
static json_t *describe_regions(const struct pci_device *dev)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &dev->bars[i];
        if (!bar->size)
            continue;
        json_int_t address = bar->mapped ? (json_int_t)bar->address : UNMAPPED;
        json_t *region =
            json_pack("{s:i, s:I, s:I, s:s}", "bar", (int)i, "size", (json_int_t)bar->size,
                      "address", address, "type", bar->io ? "io" : "memory");
        if (!bar->io) {
            json_object_set_new(region, "prefetch", json_boolean(bar->prefetchable));
            json_object_set_new(region, "mem_type_64", json_boolean(bar->is_64bit));
        }
        json_array_append_new(list, region);
    }
    return list;
}

static json_t *describe_function(struct pci_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    json_t *id = json_pack("{s:i, s:i}", "device", (int)pci_config_read(dev, PCI_DEVICE, 2),
                           "vendor", (int)pci_config_read(dev, PCI_VENDOR, 2));
    int subsystem_vendor = (int)pci_config_read(dev, PCI_SUBSYSTEM_VENDOR, 2);
    if (subsystem_vendor) {
        json_object_set_new(id, "subsystem-vendor", json_integer(subsystem_vendor));
        json_object_set_new(id, "subsystem", json_integer(pci_config_read(dev, PCI_SUBSYSTEM, 2)));
    }
    json_t *out = json_pack(
        "{s:i, s:i, s:i, s:o, s:o, s:s, s:i, s:o}", "bus", 0, "slot", dev->devfn >> 3, "function",
        dev->devfn & 7, "class_info", describe_class(pci_config_read(dev, PCI_CLASS, 2)), "id", id,
        "qdev_id", dev->device.id, "irq_pin", (int)pci_config_read(dev, PCI_INTERRUPT_PIN, 1),
        "regions", describe_regions(dev));
    if (pci_config_read(dev, PCI_INTERRUPT_PIN, 1))
        json_object_set_new(out, "irq", json_integer(pci_config_read(dev, PCI_INTERRUPT_LINE, 1)));
    pthread_mutex_unlock(&dev->lock);
    return out;
}

static json_t *query_pci(struct qmp_call *call)
{
    struct pci_bus *bus = &call->machine->pci;
    json_t *devices = json_array();
    for (unsigned devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
        pthread_mutex_lock(&bus->lock);
        struct pci_device *dev = bus->devices[devfn];
        pthread_mutex_unlock(&bus->lock);
        if (dev) /* only this thread unplugs */
            json_array_append_new(devices, describe_function(dev));
    }
    return json_pack("[{s:i, s:o}]", "bus", 0, "devices", devices);
}

const struct qmp_command qmp_pci_commands[] = {
    {"query-pci", "the functions on the PCI bus", query_pci},
    {NULL},
};
