/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest for one virtio device, on one thread: fake memory, a fake PCI
 * platform and a loop that runs when it is told to. It talks to the device as
 * a driver does, through the BAR.
 */
#ifndef KV_TESTS_VIRTIO_GUEST_H
#define KV_TESTS_VIRTIO_GUEST_H

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "fake_pci.h"
#include "vmm/virtio/virtio_pci.h"
#include "vring_driver.h"

#define VIRTIO_GUEST_MEMORY MIB(4)
#define VIRTIO_GUEST_RINGS UINT64_C(0x10000) /* rings from here */
#define VIRTIO_GUEST_DATA UINT64_C(0x100000) /* tests' own from here */
#define VIRTIO_GUEST_QUEUES_MAX 16

struct virtio_guest {
    struct fake_pci fake;
    struct loop loop;
    uint8_t *memory; /* VIRTIO_GUEST_MEMORY bytes from gpa 0 */
    struct guest_mem mem;
    struct virtio_pci *vp;
    uint64_t bar; /* where the BAR is */
    uint64_t next_ring;
    struct vring_driver rings[VIRTIO_GUEST_QUEUES_MAX];
};

/* Memory, bus and loop; a device for them may be made afterwards. Aborts when that fails. */
void virtio_guest_init(struct virtio_guest *g);
/* Plugs dev (and owns it) with memory decoding on. */
void virtio_guest_plug(struct virtio_guest *g, struct virtio_device *dev);
void virtio_guest_destroy(struct virtio_guest *g);

uint64_t virtio_guest_read(struct virtio_guest *g, unsigned offset, unsigned len);
void virtio_guest_write(struct virtio_guest *g, unsigned offset, uint64_t value, unsigned len);
unsigned virtio_guest_status(struct virtio_guest *g);

/* MSI-X on, vector 0 for configuration changes, 1 + n for queue n; all unmasked. */
void virtio_guest_use_msix(struct virtio_guest *g);
/* Interrupts since the last call. Of vector n. */
uint64_t virtio_guest_interrupts(struct virtio_guest *g, unsigned vector);

/* Reset, then up to FEATURES_OK with those features (and VERSION_1); false when refused. */
bool virtio_guest_negotiate(struct virtio_guest *g, uint64_t features);
/* A ring of that size for queue n in the format that was negotiated. */
void virtio_guest_set_queue(struct virtio_guest *g, unsigned n, uint16_t size);
void virtio_guest_driver_ok(struct virtio_guest *g);
/* All queues with at most 64 entries, and DRIVER_OK. */
void virtio_guest_start(struct virtio_guest *g, uint64_t features);

/* Rings the doorbell of queue n if the device wants that. */
void virtio_guest_kick(struct virtio_guest *g, unsigned n);
/* Lets the loop do what waits. */
void virtio_guest_run(struct virtio_guest *g);
/* The same until ms went by, for timers. */
void virtio_guest_run_for(struct virtio_guest *g, unsigned ms);

#endif
