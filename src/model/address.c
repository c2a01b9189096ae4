/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI and virtio-serial addresses. All PCI devices really are on bus 0; an address on another
 * bus (a root port, in documents that libvirt completed) is kept as written, and the device gets a
 * slot that is free. Slot 0 is the host bridge, 31 the LPC bridge.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

#define SLOT_FIRST 1
#define SLOT_FIRST_PC 2 /* where libvirt begins on pc: 1 is the PIIX3 there */
#define SLOT_LAST 30
#define SERIAL_PORTS_MAX 256

/* Which devices are PCI devices of the guest, in the order in which libvirt places them. */
static const enum model_device_kind pci_order[] = {
    MODEL_VIDEO,      MODEL_NIC, MODEL_CONTROLLER, MODEL_DISK,  MODEL_INPUT,
    MODEL_MEMBALLOON, MODEL_RNG, MODEL_WATCHDOG,   MODEL_VSOCK,
};

static bool is_pci(const struct model_device *device)
{
    if (device->kind == MODEL_CONTROLLER) {
        const struct model_controller *c = (const struct model_controller *)device;
        return strcmp(c->type, "virtio-serial") == 0 || c->real;
    }
    if (device->kind == MODEL_DISK)
        return ((const struct model_disk *)device)->bus == MODEL_DISK_VIRTIO;
    if (device->kind == MODEL_INPUT)
        return ((const struct model_input *)device)->virtio;
    if (device->kind == MODEL_VIDEO)
        return !((const struct model_video *)device)->none;
    if (device->kind == MODEL_MEMBALLOON)
        return !((const struct model_memballoon *)device)->none;
    for (unsigned i = 0; i < ARRAY_SIZE(pci_order); i++) {
        if (pci_order[i] == device->kind)
            return true;
    }
    return false;
}

static int check_doubles(struct read *r)
{
    const struct model_domain *d = r->d;
    for (unsigned i = 0; i < d->device_count; i++) {
        const struct model_address *a = &d->devices[i]->address;
        for (unsigned j = 0; a->kind == MODEL_ADDRESS_PCI && j < i; j++) {
            const struct model_address *b = &d->devices[j]->address;
            if (b->kind == MODEL_ADDRESS_PCI && a->bus == b->bus && a->slot == b->slot &&
                a->function == b->function)
                return read_xml_error(r, "Attempted double use of PCI Address %04x:%02x:%02x.%x",
                                      a->domain, a->bus, a->slot, a->function);
        }
    }
    return 0;
}

static int set_pci(struct read *r, struct model_device *device, unsigned slot)
{
    char text[8];
    snprintf(text, sizeof(text), "0x%02x", slot);
    xmlNode *node = element_child(device->node, "address");
    if (!node || !xml_set_attr(node, "type", "pci") || !xml_set_attr(node, "domain", "0x0000") ||
        !xml_set_attr(node, "bus", "0x00") || !xml_set_attr(node, "slot", text) ||
        !xml_set_attr(node, "function", "0x0"))
        return read_no_memory(r);
    device->address = (struct model_address){.kind = MODEL_ADDRESS_PCI, .slot = slot};
    device->slot = (int)slot;
    return 0;
}

/* used: addresses of bus 0; taken: slots of the guest. Real devices first, so that one that is
 * only written somewhere else never drives one out of its own slot. */
static int place_given(struct read *r, uint32_t *used, uint32_t *taken)
{
    struct model_domain *d = r->d;
    for (unsigned i = 0; i < d->device_count; i++) {
        struct model_device *device = d->devices[i];
        const struct model_address *a = &device->address;
        if (a->kind != MODEL_ADDRESS_PCI || a->bus != 0)
            continue;
        *used |= 1u << a->slot;
        if (!is_pci(device) || a->function != 0)
            continue;
        if (a->slot < SLOT_FIRST || a->slot > SLOT_LAST)
            return read_xml_error(r,
                                  "Invalid PCI address %04x:%02x:%02x.%x. slot must be >= %d "
                                  "and <= %d",
                                  a->domain, a->bus, a->slot, a->function, SLOT_FIRST, SLOT_LAST);
        *taken |= 1u << a->slot;
        device->slot = (int)a->slot;
    }
    return 0;
}

static int first_free(uint32_t used, unsigned first)
{
    for (unsigned slot = first; slot <= SLOT_LAST; slot++) {
        if (!(used & (1u << slot)))
            return (int)slot;
    }
    return first > SLOT_FIRST ? first_free(used, SLOT_FIRST) : -1;
}

static int no_more_slots(struct read *r)
{
    return api_error(r->err, VIR_ERR_INTERNAL_ERROR, "No more available PCI slots");
}

static int place_kind(struct read *r, enum model_device_kind kind, uint32_t *used, uint32_t *taken)
{
    struct model_domain *d = r->d;
    unsigned first = strncmp(d->machine, "pc-i440fx", 9) == 0 ? SLOT_FIRST_PC : SLOT_FIRST;
    for (unsigned i = 0; i < d->device_count; i++) {
        struct model_device *device = d->devices[i];
        if (device->kind != kind || !is_pci(device) || device->slot >= 0)
            continue;
        bool written = device->address.kind == MODEL_ADDRESS_PCI;
        int slot = first_free(written ? *taken : *used | *taken, first);
        if (slot < 0)
            return no_more_slots(r);
        *taken |= 1u << slot;
        device->slot = slot;
        if (written)
            continue;
        *used |= 1u << slot;
        int ret = set_pci(r, device, (unsigned)slot);
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* ------------------------------------------------------------ virtio-serial */

/* Port 0 of the controller is the first console's. */
static int assign_channels(struct read *r)
{
    struct model_domain *d = r->d;
    bool used[SERIAL_PORTS_MAX] = {true};
    for (unsigned i = 0; i < d->channel_count; i++) {
        const struct model_address *a = &d->channels[i].device.address;
        if (a->kind != MODEL_ADDRESS_VIRTIO_SERIAL || a->controller)
            continue;
        if (a->port >= SERIAL_PORTS_MAX || (a->port && used[a->port]))
            return read_xml_error(r, "virtio serial port %u on controller %u is %s", a->port,
                                  a->controller,
                                  a->port < SERIAL_PORTS_MAX ? "already occupied" : "too large");
        used[a->port] = true;
    }
    unsigned port = 1;
    for (unsigned i = 0; i < d->channel_count; i++) {
        struct model_device *device = &d->channels[i].device;
        if (device->address.kind != MODEL_ADDRESS_NONE)
            continue;
        while (port < SERIAL_PORTS_MAX && used[port])
            port++;
        if (port == SERIAL_PORTS_MAX)
            return read_xml_error(r, "Unable to find a free virtio-serial port");
        used[port] = true;
        char text[12];
        snprintf(text, sizeof(text), "%u", port);
        xmlNode *node = element_child(device->node, "address");
        if (!node || !xml_set_attr(node, "type", "virtio-serial") ||
            !xml_set_attr(node, "controller", "0") || !xml_set_attr(node, "bus", "0") ||
            !xml_set_attr(node, "port", text))
            return read_no_memory(r);
        device->address = (struct model_address){.kind = MODEL_ADDRESS_VIRTIO_SERIAL, .port = port};
    }
    return 0;
}

int model_device_set_slot(struct model_device *device, unsigned slot)
{
    char text[8];
    struct model_address *a = &device->address;
    device->slot = (int)slot;
    if (a->kind != MODEL_ADDRESS_PCI || a->bus != 0)
        return 0;
    a->slot = slot;
    snprintf(text, sizeof(text), "0x%02x", slot);
    return xml_set_attr(xml_child(device->node, "address"), "slot", text) ? 0 : -ENOMEM;
}

int assign_addresses(struct read *r)
{
    uint32_t used = 0, taken = 0;
    int ret = check_doubles(r);
    if (ret == 0)
        ret = place_given(r, &used, &taken);
    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(pci_order); i++)
        ret = place_kind(r, pci_order[i], &used, &taken);
    if (ret == 0)
        ret = assign_drives(r);
    return ret < 0 ? ret : assign_channels(r);
}
