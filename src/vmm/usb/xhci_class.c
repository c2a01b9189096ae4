/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB controllers as they are asked for, and devices on their ports. */
#include <errno.h>

#include "vmm/devices/classes.h"
#include "vmm/machine/machine.h"
#include "vmm/usb/xhci_internal.h"
#include "vmm/virtio/virtio.h"

static unsigned free_port(const struct xhci *xhci)
{
    for (unsigned i = 1; i <= XHCI_USB2_PORTS; i++) {
        if (!xhci->devices[i])
            return i;
    }
    return 0;
}

int xhci_add(struct xhci *xhci, struct usb_device *dev, unsigned port, struct kv_error *err)
{
    if (port == 0)
        port = free_port(xhci);
    if (port == 0 || port > XHCI_USB2_PORTS || xhci->devices[port])
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC,
                            "port %u of the USB controller is taken or not there; it has %d", port,
                            XHCI_USB2_PORTS);
    dev->port = port;
    dev->wake = xhci_wake;
    dev->wake_opaque = xhci;
    pthread_mutex_lock(&xhci->lock);
    xhci->devices[port] = dev;
    xhci_power_on_port(xhci, port - 1);
    pthread_mutex_unlock(&xhci->lock);
    return 0;
}

static struct xhci *find(struct machine *machine, unsigned port)
{
    list_for_each (pos, &machine->devices) {
        struct device *device = list_entry(pos, struct device, node);
        struct xhci *xhci = xhci_of(device);
        if (!xhci)
            continue;
        if (port ? port <= XHCI_USB2_PORTS && !xhci->devices[port] : free_port(xhci))
            return xhci;
    }
    return NULL;
}

int xhci_attach_input(struct machine *machine, const struct input_config *config,
                      struct kv_error *err)
{
    static const struct xhci_config plain;
    struct xhci *xhci = find(machine, (unsigned)config->port);
    int rc = 0;
    if (config->slot || config->id)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "slot and id are for bus=virtio");
    if (!xhci)
        rc = xhci_create(&xhci, &plain, machine, &machine->pci, &machine->mem,
                         machine_pick_loop(machine), err);
    if (rc < 0)
        return rc;
    struct usb_device *dev = usb_hid_create((enum input_type)config->type);
    if (!dev)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "USB device: out of memory");
    rc = xhci_add(xhci, dev, (unsigned)config->port, err);
    if (rc < 0)
        dev->ops->free(dev);
    else
        input_add(machine, usb_hid_sink(dev));
    return rc;
}

static const char *const models[] = {
    [XHCI_MODEL_QEMU] = "qemu-xhci", [XHCI_MODEL_NEC] = "nec-xhci", NULL};

static const struct option_spec xhci_options[] = {
    OPTION(STRING, struct xhci_config, id, .help = "name of the controller"),
    OPTION(UINT, struct xhci_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION(ENUM, struct xhci_config, model, .values = models,
           .help = "whose numbers it has; default: qemu-xhci"),
    OPTION_END,
};

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    struct xhci *xhci;
    return xhci_create(&xhci, opaque, machine, &machine->pci, &machine->mem,
                       machine_pick_loop(machine), err);
}

const struct device_class xhci_class = {
    .option = "usb",
    .implied = "model",
    .help = "a USB controller (xHCI)",
    .options = xhci_options,
    .config_size = sizeof(struct xhci_config),
    .create = create,
};
