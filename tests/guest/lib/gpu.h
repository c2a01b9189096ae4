/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver for virtio-gpu (virtio 1.2, 5.7) whose every number the payload chooses. */
#ifndef PAYLOAD_GPU_H
#define PAYLOAD_GPU_H

#include "virtio.h"

enum {
    GPU_DISPLAY_INFO = 0x100,
    GPU_CREATE,
    GPU_UNREF,
    GPU_SET_SCANOUT,
    GPU_FLUSH,
    GPU_TRANSFER,
    GPU_ATTACH,
    GPU_DETACH,
    GPU_EDID = 0x10a,
    GPU_POINTER = 0x300,
    GPU_OK = 0x1100,
    GPU_OK_DISPLAY_INFO,
    GPU_REFUSED = 0x1200, /* and above */
};

struct gpu_rect {
    uint32_t x, y, width, height;
};

/* A request with len bytes behind its header; what it is answered, 0: nothing. */
uint32_t gpu_send(struct vdev *dev, unsigned q, uint32_t type, const void *rest, uint32_t len);

uint32_t gpu_create(struct vdev *dev, uint32_t id, uint32_t format, uint32_t width,
                    uint32_t height);
/* claimed: how many pieces the command says follow the one that does. */
uint32_t gpu_attach(struct vdev *dev, uint32_t id, uint64_t address, uint32_t len,
                    uint32_t claimed);
uint32_t gpu_transfer(struct vdev *dev, uint32_t id, struct gpu_rect rect, uint64_t offset);
/* GPU_SET_SCANOUT, GPU_FLUSH: a rectangle, then two numbers. */
uint32_t gpu_rect_command(struct vdev *dev, uint32_t type, struct gpu_rect rect, uint32_t first,
                          uint32_t second);
/* GPU_UNREF, GPU_DETACH. */
uint32_t gpu_drop(struct vdev *dev, uint32_t type, uint32_t id);
uint32_t gpu_pointer(struct vdev *dev, uint32_t scanout, uint32_t id);

#endif
