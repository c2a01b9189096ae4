/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this folder share; devices use pci.h. */
#ifndef KV_VMM_PCI_PCI_INTERNAL_H
#define KV_VMM_PCI_PCI_INTERNAL_H

#include "vmm/pci/pci.h"

/* Places every BAR of a device that nobody sees yet in the bus's windows (PCI 3.0 6.2.5). The bus's
 * lock is held; those of the devices already there are taken. 0 or -ENOSPC. */
int pci_bars_place(struct pci_bus *bus, struct pci_device *dev, struct kv_error *err);

/* Maps and unmaps what command register and BAR registers say. Under the device's lock. */
void pci_bars_update(struct pci_device *dev);

/* Where a BAR register points to, enabled or not. Under the device's lock. */
uint64_t pci_bar_address(const struct pci_device *dev, unsigned bar);

/* The line's level after a change; under the device's irq_lock. */
void pci_intx_update(struct pci_device *dev);

/* Connects and disconnects vectors after message control changed; under the device's lock. */
void pci_msix_control_changed(struct pci_device *dev);
/* All vectors disconnected from the platform; under both locks of the device. */
void pci_msix_detach(struct pci_device *dev);
void pci_msix_reset(struct pci_device *dev);
json_t *pci_msix_save(struct pci_device *dev);
int pci_msix_load(struct pci_device *dev, const json_t *state, struct kv_error *err);

#define PCI_MSI_SIZE 14 /* of the capability, with a 64-bit address */
void pci_msi_reset(struct pci_device *dev);
/* After the capability was written; under the device's lock. */
void pci_msi_changed(struct pci_device *dev);

#endif
