/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A USB controller (xHCI 1.0) and the devices on it. */
#ifndef KV_VMM_USB_XHCI_H
#define KV_VMM_USB_XHCI_H

#include "vmm/pci/pci.h"
#include "vmm/usb/usb.h"
#include "vring/guest_mem.h"

struct loop;
struct machine;
struct xhci;

#define XHCI_USB2_PORTS 8 /* 1 to 8 */
#define XHCI_USB3_PORTS 1 /* behind them, for systems that want one; nothing fits in */
#define XHCI_PORTS (XHCI_USB2_PORTS + XHCI_USB3_PORTS)

enum xhci_model { XHCI_MODEL_QEMU, XHCI_MODEL_NEC };

struct xhci_config {
    char *id;
    uint64_t slot; /* of PCI bus 0; 0: the first free one */
    int model;
};

/* Plugs one into the bus; machine NULL: into no machine's list. 0 or -errno. */
int xhci_create(struct xhci **out, const struct xhci_config *config, struct machine *machine,
                struct pci_bus *bus, struct guest_mem *mem, struct loop *loop,
                struct kv_error *err);
struct device *xhci_device(struct xhci *xhci);

/* Before the machine runs; the device is the controller's from then on, but for an error. Port 0:
 * the first free one. */
int xhci_add(struct xhci *xhci, struct usb_device *dev, unsigned port, struct kv_error *err);

/* --input ...,bus=usb: on a controller that has room, which is made where there is none. */
int xhci_attach_input(struct machine *machine, const struct input_config *config,
                      struct kv_error *err);

#endif
