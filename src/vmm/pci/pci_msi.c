/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI with one message and a 64-bit address (PCI Local Bus 3.0 6.8.1), for
 * devices whose drivers know no MSI-X. What is delivered stands under irq_lock,
 * so that an I/O thread may raise it while a vCPU holds the device's lock.
 */
#include <linux/pci_regs.h>

#include "vmm/pci/pci_internal.h"

void pci_msi_init(struct pci_device *dev)
{
    unsigned cap = pci_add_capability(dev, PCI_CAP_ID_MSI, PCI_MSI_SIZE);
    store_le(dev->config + cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT, 2);
    store_le(dev->write_mask + cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, 2);
    store_le(dev->write_mask + cap + PCI_MSI_ADDRESS_LO, UINT32_MAX & ~3u, 4);
    store_le(dev->write_mask + cap + PCI_MSI_ADDRESS_HI, UINT32_MAX, 4);
    store_le(dev->write_mask + cap + PCI_MSI_DATA_64, UINT16_MAX, 2);
    dev->msi = (struct pci_msi){.cap = cap};
}

void pci_msi_changed(struct pci_device *dev)
{
    const uint8_t *cap = dev->config + dev->msi.cap;
    pthread_mutex_lock(&dev->irq_lock);
    dev->msi.enabled = load_le(cap + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_ENABLE;
    dev->msi.address = load_le(cap + PCI_MSI_ADDRESS_LO, 8);
    dev->msi.data = (uint32_t)load_le(cap + PCI_MSI_DATA_64, 2);
    pci_intx_update(dev);
    pthread_mutex_unlock(&dev->irq_lock);
}

void pci_msi_reset(struct pci_device *dev)
{
    uint8_t *cap = dev->config + dev->msi.cap;
    store_le(cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT, 2);
    memset(cap + PCI_MSI_ADDRESS_LO, 0, PCI_MSI_SIZE - PCI_MSI_ADDRESS_LO);
    pci_msi_changed(dev);
}

bool pci_msi_notify(struct pci_device *dev)
{
    pthread_mutex_lock(&dev->irq_lock);
    bool sent = dev->bus && dev->msi.cap && dev->msi.enabled;
    if (sent)
        dev->bus->platform->msi_send(dev->bus->platform_opaque, dev->msi.address, dev->msi.data);
    pthread_mutex_unlock(&dev->irq_lock);
    return sent;
}
