/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI devices that come to a running machine and leave it, by ACPI: the guest is told by a
 * general-purpose event which slots of bus 0 have a new device or are to give theirs up, and
 * ejects when its driver has let go. For the control thread.
 */
#ifndef KV_VMM_PCI_PCI_HOTPLUG_H
#define KV_VMM_PCI_PCI_HOTPLUG_H

#include <stdbool.h>

#include "base/error.h"

struct device;
struct machine;
struct pci_device;

/* Registers at PORT_PCI_HOTPLUG, 32 bits each, a bit a slot; x86/acpi_pci_slots.c has their other
 * side. */
enum pci_hotplug_register {
    PCI_HOTPLUG_UP = 0,    /* slots with a new device; reading clears */
    PCI_HOTPLUG_DOWN = 4,  /* slots whose device is to leave; reading clears */
    PCI_HOTPLUG_EJECT = 8, /* what is written leaves now */
    PCI_HOTPLUG_OST =
        12, /* how the guest fared: slot, event << 8, status << 16 (ACPI 6.5, 6.3.5) */
};

#define PCI_HOTPLUG_NOTIFY_CHECK 1 /* what the slots are notified with (ACPI 6.5, 5.6.6) */
#define PCI_HOTPLUG_NOTIFY_EJECT 3

int pci_hotplug_create(struct machine *machine, struct kv_error *err);

/* Whether the DSDT describes the slot: it is empty, or its device may leave. */
bool pci_hotplug_has_slot(struct machine *machine, unsigned slot);

/* The function of bus 0 that the device is; NULL: none. */
struct pci_device *pci_hotplug_find(struct machine *machine, const struct device *device);

/* Tells the guest of a device that was plugged. */
void pci_hotplug_announce(struct machine *machine, const struct pci_device *dev);

/* Asks the guest to let the device go; DEVICE_DELETED or DEVICE_UNPLUG_GUEST_ERROR tells how that
 * ends, or a reset ends it. May be asked again. force, and before the guest ran: it leaves at once.
 */
int pci_hotplug_remove(struct machine *machine, struct pci_device *dev, bool force,
                       struct kv_error *err);

#endif
