/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk (virtio 1.2, 5.2): a front end of a drive (storage/drive.h), which
 * has its configuration and what QMP asks. Functions are for the control thread.
 */
#ifndef KV_VMM_VIRTIO_BLK_H
#define KV_VMM_VIRTIO_BLK_H

#include "vmm/storage/drive.h"

struct guest_mem;
struct loop;
struct virtio_device;

/* Makes the device without a transport, for tests and fuzzers too: machine may be NULL. queue_loop
 * gives each queue its loop. */
int blk_create(struct virtio_device **out, struct machine *machine, struct guest_mem *mem,
               const struct drive_config *config,
               struct loop *(*queue_loop)(void *opaque, unsigned index), void *opaque,
               struct kv_error *err);

/* The same behind a PCI function of the machine. */
int blk_attach(struct machine *machine, const struct drive_config *config, struct kv_error *err);

#endif
