/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of virtio devices, for the table of devices (machine/device_table.c). */
#ifndef KV_VMM_VIRTIO_CLASSES_H
#define KV_VMM_VIRTIO_CLASSES_H

#include "vmm/device.h"

extern const struct device_class virtio_net_class;                        /* net.c */
extern const struct device_class virtio_console_class, virtio_port_class; /* console_class.c */
extern const struct device_class virtio_net_class;                        /* net.c */
extern const struct device_class virtio_gpu_class;                        /* gpu_class.c */
extern const struct device_class virtio_scsi_class;                       /* scsi.c */
extern const struct device_class virtio_vsock_class;                      /* vsock.c */
extern const struct device_class virtio_rng_class;                        /* rng.c */
extern const struct device_class virtio_balloon_class;                    /* balloon_class.c */

#endif
