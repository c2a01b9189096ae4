/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A screen on virtio, two-dimensional (virtio 1.2, 5.7), alone or beside a VGA in one PCI device.
 */
#ifndef KV_VMM_VIRTIO_GPU_H
#define KV_VMM_VIRTIO_GPU_H

#include "vmm/display/display.h"
#include "vmm/virtio/virtio.h"

#define GPU_WIDTH_MIN 640 /* of the monitor's best mode; EDID has no room for larger ones */
#define GPU_WIDTH_MAX 2560
#define GPU_HEIGHT_MIN 480
#define GPU_HEIGHT_MAX 1600
#define GPU_MEMORY_DEFAULT MIB(256)

struct vga;

struct gpu_config {
    char *id;
    uint64_t slot, xres, yres;
    uint64_t memory; /* bytes that the guest's pictures may take here */
    bool keyboard;
};

/* Plugs one as the machine's screen; vga (NULL: none) shows until the guest's driver does, and is
 * the device's from then on, also when it fails. */
int virtio_gpu_attach(struct machine *machine, const struct gpu_config *config, struct vga *vga,
                      struct kv_error *err);

/* The device alone. It draws on nothing until virtio_gpu_show(). */
int virtio_gpu_create(struct virtio_device **out, const struct gpu_config *config,
                      struct guest_mem *mem, struct kv_error *err);
/* What a display needs of it, with dev as opaque. */
extern const struct display_device_ops virtio_gpu_display_ops;
/* Draws on display, and serves its queues on that loop. */
void virtio_gpu_show(struct virtio_device *dev, struct display *display, struct loop *loop);

#endif
