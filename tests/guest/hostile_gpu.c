/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of virtio-gpu with numbers that cannot be: each row is to be
 * refused, and after it a picture is still created, filled and shown.
 */
#include "gpu.h"

#define SIDE 64
#define FORMAT 2
#define ALL ((struct gpu_rect){0, 0, SIDE, SIDE})

static uint32_t picture[SIDE * SIDE] __attribute__((aligned(4096)));

static uint64_t address(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static bool prepare(struct vdev *dev)
{
    return vdev_start(dev) && gpu_create(dev, 1, FORMAT, SIDE, SIDE) == GPU_OK &&
           gpu_attach(dev, 1, address(picture), sizeof(picture), 1) == GPU_OK;
}

static bool works(struct vdev *dev)
{
    return prepare(dev) && gpu_transfer(dev, 1, ALL, 0) == GPU_OK &&
           gpu_rect_command(dev, GPU_SET_SCANOUT, ALL, 0, 1) == GPU_OK &&
           gpu_rect_command(dev, GPU_FLUSH, ALL, 1, 0) == GPU_OK &&
           gpu_pointer(dev, 0, 1) == GPU_OK;
}

static uint32_t size_that_overflows(struct vdev *dev)
{
    return gpu_create(dev, 2, FORMAT, 0x40000001, 0x40000001);
}

static uint32_t picture_of_the_whole_host(struct vdev *dev)
{
    uint32_t answer = GPU_OK;
    for (uint32_t id = 2; id < 40 && answer == GPU_OK; id++)
        answer = gpu_create(dev, id, FORMAT, 16384, 512);
    return answer;
}

static uint32_t too_many_pictures(struct vdev *dev)
{
    uint32_t answer = GPU_OK;
    for (uint32_t id = 2; id < 3000 && answer == GPU_OK; id++)
        answer = gpu_create(dev, id, FORMAT, 1, 1);
    return answer;
}

static uint32_t the_same_number_twice(struct vdev *dev)
{
    return gpu_create(dev, 1, FORMAT, 8, 8);
}

static uint32_t unknown_format(struct vdev *dev)
{
    return gpu_create(dev, 2, 0xffffffff, 8, 8);
}

static uint32_t memory_outside_the_machine(struct vdev *dev)
{
    gpu_drop(dev, GPU_DETACH, 1);
    return gpu_attach(dev, 1, 1ull << 45, 4096, 1);
}

static uint32_t memory_that_wraps(struct vdev *dev)
{
    gpu_drop(dev, GPU_DETACH, 1);
    return gpu_attach(dev, 1, 0xfffffffffffff000, 0x2000, 1);
}

static uint32_t memory_that_is_a_device(struct vdev *dev)
{
    gpu_drop(dev, GPU_DETACH, 1);
    return gpu_attach(dev, 1, dev->bar0, 4096, 1);
}

static uint32_t more_pieces_than_there_are(struct vdev *dev)
{
    gpu_drop(dev, GPU_DETACH, 1);
    return gpu_attach(dev, 1, address(picture), sizeof(picture), 0x10000001);
}

static uint32_t memory_twice(struct vdev *dev)
{
    return gpu_attach(dev, 1, address(picture), sizeof(picture), 1);
}

static uint32_t transfer_beyond_the_memory(struct vdev *dev)
{
    return gpu_transfer(dev, 1, ALL, 4);
}

static uint32_t transfer_at_an_offset_that_wraps(struct vdev *dev)
{
    return gpu_transfer(dev, 1, ALL, UINT64_MAX - 3);
}

static uint32_t transfer_beyond_the_picture(struct vdev *dev)
{
    return gpu_transfer(dev, 1, (struct gpu_rect){1, 0, SIDE, 1}, 0);
}

static uint32_t transfer_of_a_rectangle_that_wraps(struct vdev *dev)
{
    return gpu_transfer(dev, 1, (struct gpu_rect){0xffffffff, 0xffffffff, 2, 2}, 0);
}

static uint32_t transfer_without_memory(struct vdev *dev)
{
    gpu_drop(dev, GPU_DETACH, 1);
    return gpu_transfer(dev, 1, ALL, 0);
}

static uint32_t second_screen(struct vdev *dev)
{
    return gpu_rect_command(dev, GPU_SET_SCANOUT, ALL, 1, 1);
}

static uint32_t screen_beyond_the_picture(struct vdev *dev)
{
    return gpu_rect_command(dev, GPU_SET_SCANOUT, (struct gpu_rect){0, 0, SIDE, SIDE + 1}, 0, 1);
}

static uint32_t screen_of_a_picture_that_is_gone(struct vdev *dev)
{
    gpu_rect_command(dev, GPU_SET_SCANOUT, ALL, 0, 1);
    gpu_drop(dev, GPU_UNREF, 1);
    return gpu_rect_command(dev, GPU_FLUSH, ALL, 1, 0);
}

static uint32_t flush_beyond_the_picture(struct vdev *dev)
{
    return gpu_rect_command(dev, GPU_FLUSH, (struct gpu_rect){0, 0xfffffff0, 1, 0x20}, 1, 0);
}

static uint32_t pointer_of_another_size(struct vdev *dev)
{
    gpu_create(dev, 2, FORMAT, 8, 8);
    return gpu_pointer(dev, 0, 2);
}

static uint32_t three_dimensions(struct vdev *dev)
{
    const uint32_t rest[] = {16, 0};
    return gpu_send(dev, 0, 0x207, rest, sizeof(rest));
}

static uint32_t command_on_the_pointers_queue(struct vdev *dev)
{
    return gpu_send(dev, 1, GPU_DISPLAY_INFO, "", 0);
}

static uint32_t command_cut_short(struct vdev *dev)
{
    return gpu_send(dev, 0, GPU_TRANSFER, "", 1);
}

static const struct {
    const char *what;
    uint32_t (*misuse)(struct vdev *dev);
} rows[] = {
    {"a size that overflows", size_that_overflows},
    {"pictures as large as the host", picture_of_the_whole_host},
    {"too many pictures", too_many_pictures},
    {"the same number twice", the_same_number_twice},
    {"an unknown format", unknown_format},
    {"memory outside the machine", memory_outside_the_machine},
    {"memory that wraps", memory_that_wraps},
    {"memory that is a device", memory_that_is_a_device},
    {"more pieces than there are", more_pieces_than_there_are},
    {"memory twice", memory_twice},
    {"a transfer beyond the memory", transfer_beyond_the_memory},
    {"a transfer at an offset that wraps", transfer_at_an_offset_that_wraps},
    {"a transfer beyond the picture", transfer_beyond_the_picture},
    {"a transfer of a rectangle that wraps", transfer_of_a_rectangle_that_wraps},
    {"a transfer without memory", transfer_without_memory},
    {"a second screen", second_screen},
    {"a screen beyond the picture", screen_beyond_the_picture},
    {"a screen of a picture that is gone", screen_of_a_picture_that_is_gone},
    {"a flush beyond the picture", flush_beyond_the_picture},
    {"a pointer of another size", pointer_of_another_size},
    {"three dimensions", three_dimensions},
    {"a command on the pointer's queue", command_on_the_pointers_queue},
    {"a command cut short", command_cut_short},
};

void payload_main(void)
{
    struct vdev dev;
    if (!vdev_find(&dev, VIRTIO_GPU, 0)) {
        result("gpu", false, "the device is not there");
        finish();
    }
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool refused = prepare(&dev) && rows[i].misuse(&dev) >= GPU_REFUSED;
        result(rows[i].what, refused && works(&dev), refused ? "it works no more" : "not refused");
    }
    finish();
}
