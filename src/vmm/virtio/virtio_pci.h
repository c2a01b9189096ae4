/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of virtio over PCI (virtio 1.2, 4.1, modern only): virtio_pci.c is the
 * function, its BAR and its interrupts; virtio_pci_regs.c the common
 * configuration structure and the status register's rules. Tests and fuzzers
 * plug devices into a bus of their own with virtio_pci_plug().
 *
 * Registers are under pci.lock. I/O threads raise interrupts without it, so
 * that a vCPU may wait for them while it holds it.
 */
#ifndef KV_VMM_VIRTIO_VIRTIO_PCI_H
#define KV_VMM_VIRTIO_VIRTIO_PCI_H

#include <pthread.h>

#include "vmm/pci/pci.h"
#include "vmm/virtio/virtio.h"

/* The BAR and its parts. */
#define VIRTIO_PCI_BAR 0
#define VIRTIO_PCI_BAR_BESIDE 4 /* of a device with a companion */
#define VIRTIO_PCI_BAR_SIZE 0x10000
#define VIRTIO_PCI_COMMON 0x0000
#define VIRTIO_PCI_ISR_STATUS 0x1000
#define VIRTIO_PCI_DEVICE 0x2000
#define VIRTIO_PCI_NOTIFY 0x3000
#define VIRTIO_PCI_NOTIFY_MULTIPLIER 4
#define VIRTIO_PCI_MSIX_TABLE 0x8000
#define VIRTIO_PCI_MSIX_PBA 0xc000
#define VIRTIO_PCI_VECTORS_MAX 1024 /* what fits between the two */

struct virtio_pci_queue {
    bool ready;               /* queue_enable */
    _Atomic(uint16_t) vector; /* read by I/O threads */
};

struct virtio_pci {
    struct pci_device pci; /* first, so that the struct device is at the start */
    struct device_ops ops; /* their type is the virtio device's name */
    struct virtio_device *dev;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select;
    struct virtio_pci_queue *queues;
    _Atomic(uint16_t) config_vector;
    pthread_mutex_t isr_lock; /* leaf, but for pci.irq_lock */
    uint8_t isr;
    unsigned bar;     /* which one */
    unsigned cfg_cap; /* offset of the capability that is a window into the BAR */
    bool mapped;      /* doorbells are registered for the BAR at ... */
    uint64_t bar_address;
};

/* As virtio_pci_create(), on any bus; machine may be NULL. NULL on error, then dev is freed. */
struct virtio_pci *virtio_pci_plug(struct machine *machine, struct pci_bus *bus,
                                   struct virtio_device *dev, const char *id, int slot,
                                   struct kv_error *err);

/* Common configuration structure (4.1.4.3), under pci.lock. Accesses that are not exactly one
 * field (or half of a 64-bit one) read as 0 and write nothing. */
uint64_t virtio_pci_common_read(struct virtio_pci *vp, uint64_t offset, unsigned len);
void virtio_pci_common_write(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len);

/* Device and registers as after power-on; the driver wrote 0 to the status. Under pci.lock. */
void virtio_pci_reset_registers(struct virtio_pci *vp);

/* Starts the device when the driver has finished setting it up and it was not reset since. */
void virtio_pci_start_if_ready(struct virtio_pci *vp);

#endif
