/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-scsi (virtio 1.2, 5.6): a controller whose targets have disks and
 * CD-ROMs as their logical units (storage/scsi.h). Control thread.
 */
#ifndef KV_VMM_VIRTIO_SCSI_H
#define KV_VMM_VIRTIO_SCSI_H

#include "vmm/storage/drive.h"

struct guest_mem;
struct loop;
struct virtio_device;

/* Without a transport, for tests and fuzzers too: machine may be NULL. All queues are on loop. */
int virtio_scsi_create(struct virtio_device **out, struct machine *machine, struct guest_mem *mem,
                       struct loop *loop, struct kv_error *err);

/* Adds a unit at the target and LUN that config names, or at the first target that is free. Before
 * the device runs. */
int virtio_scsi_add(struct virtio_device *dev, const struct drive_config *config,
                    struct kv_error *err);

/* The same to the controller that config names, or the first, which is made when there is none. */
int virtio_scsi_attach(struct machine *machine, const struct drive_config *config,
                       struct kv_error *err);

#endif
