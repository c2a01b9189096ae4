/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paints a picture of 160 by 120 on virtio-gpu: pixel (x, y) is 0x4000xx + 256 y, low 8 bits each,
 * but for a white square of 32 at (40, 50), which came with a later flush; says so on COM1, and
 * halts.
 */
#include "gpu.h"

#define WIDTH 160
#define HEIGHT 120
#define ALL ((struct gpu_rect){0, 0, WIDTH, HEIGHT})

static uint32_t picture[WIDTH * HEIGHT] __attribute__((aligned(4096)));

static bool paint(struct vdev *dev)
{
    const struct gpu_rect square = {40, 50, 32, 32};
    for (unsigned i = 0; i < WIDTH * HEIGHT; i++)
        picture[i] = 0x400000 | (i / WIDTH & 0xff) << 8 | (i % WIDTH & 0xff);
    if (!vdev_start(dev) || gpu_create(dev, 7, 2, WIDTH, HEIGHT) != GPU_OK ||
        gpu_attach(dev, 7, (uintptr_t)picture, sizeof(picture), 1) != GPU_OK ||
        gpu_transfer(dev, 7, ALL, 0) != GPU_OK ||
        gpu_rect_command(dev, GPU_SET_SCANOUT, ALL, 0, 7) != GPU_OK ||
        gpu_rect_command(dev, GPU_FLUSH, ALL, 7, 0) != GPU_OK)
        return false;
    for (unsigned y = square.y; y < square.y + square.height; y++)
        memset(&picture[y * WIDTH + square.x], 0xff, square.width * 4);
    return gpu_transfer(dev, 7, square, (square.y * WIDTH + square.x) * 4ull) == GPU_OK &&
           gpu_rect_command(dev, GPU_FLUSH, square, 7, 0) == GPU_OK;
}

void payload_main(void)
{
    struct vdev dev;
    result("painted", vdev_find(&dev, VIRTIO_GPU, 0) && paint(&dev), "virtio-gpu refused it");
    for (;;)
        __asm__ volatile("cli; hlt");
}
