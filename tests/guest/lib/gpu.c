/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See gpu.h. */
#include "gpu.h"

#define PATIENCE_US 1000000

static uint8_t request[256] __attribute__((aligned(64)));
static uint8_t answer[2048] __attribute__((aligned(64)));

uint32_t gpu_send(struct vdev *dev, unsigned q, uint32_t type, const void *rest, uint32_t len)
{
    struct ring *r = &dev->ring[q];
    uint16_t want = (uint16_t)(r->used.idx + 1);
    memset(request, 0, sizeof(request));
    memset(answer, 0, sizeof(answer));
    *(uint32_t *)request = type;
    memcpy(request + 24, rest, len);
    r->desc[0] = (struct desc){(uint64_t)(uintptr_t)request, 24 + len, DESC_NEXT, 1};
    r->desc[1] = (struct desc){(uint64_t)(uintptr_t)answer, sizeof(answer), DESC_WRITE, 0};
    vdev_offer(dev, q, 0);
    vdev_wait_used(dev, q, want, PATIENCE_US);
    return *(volatile uint32_t *)answer;
}

uint32_t gpu_create(struct vdev *dev, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
    const uint32_t rest[] = {id, format, width, height};
    return gpu_send(dev, 0, GPU_CREATE, rest, sizeof(rest));
}

uint32_t gpu_attach(struct vdev *dev, uint32_t id, uint64_t address, uint32_t len, uint32_t claimed)
{
    const uint32_t rest[] = {id, claimed, (uint32_t)address, (uint32_t)(address >> 32), len, 0};
    return gpu_send(dev, 0, GPU_ATTACH, rest, sizeof(rest));
}

uint32_t gpu_transfer(struct vdev *dev, uint32_t id, struct gpu_rect rect, uint64_t offset)
{
    const uint32_t rest[] = {
        rect.x, rect.y, rect.width, rect.height, (uint32_t)offset, (uint32_t)(offset >> 32), id, 0};
    return gpu_send(dev, 0, GPU_TRANSFER, rest, sizeof(rest));
}

uint32_t gpu_rect_command(struct vdev *dev, uint32_t type, struct gpu_rect rect, uint32_t first,
                          uint32_t second)
{
    const uint32_t rest[] = {rect.x, rect.y, rect.width, rect.height, first, second};
    return gpu_send(dev, 0, type, rest, sizeof(rest));
}

uint32_t gpu_drop(struct vdev *dev, uint32_t type, uint32_t id)
{
    const uint32_t rest[] = {id, 0};
    return gpu_send(dev, 0, type, rest, sizeof(rest));
}

uint32_t gpu_pointer(struct vdev *dev, uint32_t scanout, uint32_t id)
{
    const uint32_t rest[] = {scanout, 0, 0, 0, id, 5, 6, 0};
    return gpu_send(dev, 1, GPU_POINTER, rest, sizeof(rest));
}
