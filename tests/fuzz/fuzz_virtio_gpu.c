/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio-gpu between a driver that breaks every rule, or only gets
 * the numbers in its commands wrong, and a viewer of its screen who wants other
 * sizes.
 */
#include <linux/virtio_gpu.h>
#include <stdlib.h>

#include "bad_driver.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/gpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUEST FUZZ_DATA
#define ANSWER (FUZZ_DATA + 0x1000)
#define ANSWER_ROOM 1056 /* for the longest one */
#define RESOURCES 4
#define SIDE_MAX 128 /* of resources, mostly: pictures take time */
#define LOOKS_MAX 4  /* in one input, for the same reason */

enum {
    COMMANDS = FUZZ_OWN,
    LOOKS,
    WISHES,
    CLEARS,
    KINDS,
};

static struct fuzz_device f;
static struct machine machine; /* for the display alone */
static unsigned looks;

static void build(void)
{
    const struct gpu_config config = {.xres = 800, .yres = 600, .memory = MIB(1)};
    fuzz_device_init(&f);
    if (virtio_gpu_create(&f.dev, &config, &f.mem, NULL) < 0 ||
        display_create(&machine, &virtio_gpu_display_ops, f.dev, NULL) < 0)
        abort();
    virtio_gpu_show(f.dev, machine.platform.display, &f.loop);
}

/* Numbers that are mostly right, so that what lies behind the checks is reached. */
static struct virtio_gpu_rect rect_of(uint64_t value)
{
    if (value >> 63)
        return (struct virtio_gpu_rect){(uint32_t)value, (uint32_t)(value >> 8),
                                        (uint32_t)(value >> 16), (uint32_t)(value >> 24)};
    return (struct virtio_gpu_rect){value & 31, value >> 8 & 31, value >> 16 & 127,
                                    value >> 24 & 127};
}

static void put_request(const struct fuzz_act *act)
{
    static const uint32_t types[] = {
        VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
        VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
        VIRTIO_GPU_CMD_SET_SCANOUT,
        VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
        VIRTIO_GPU_CMD_RESOURCE_FLUSH,
        VIRTIO_GPU_CMD_UPDATE_CURSOR,
        VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
        VIRTIO_GPU_CMD_RESOURCE_UNREF,
        VIRTIO_GPU_CMD_MOVE_CURSOR,
        VIRTIO_GPU_CMD_GET_EDID,
        VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
        VIRTIO_GPU_CMD_SUBMIT_3D,
    };
    static const uint32_t formats[] = {1, 2, 3, 4, 67, 68, 121, 134};
    uint32_t id = act->small % RESOURCES, type = types[(act->small >> 4) % ARRAY_SIZE(types)];
    uint64_t v = act->value;
    uint8_t *to = f.memory + REQUEST;
    *(struct virtio_gpu_ctrl_hdr *)to =
        (struct virtio_gpu_ctrl_hdr){.type = type, .flags = v >> 60 & 1, .fence_id = v};
    switch (type) {
    case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D: {
        struct virtio_gpu_resource_create_2d *c = (void *)to;
        c->resource_id = id;
        c->format = v & 0x80 ? formats[v & 7] : (uint32_t)v & 0xff;
        c->width = v & 0x40 ? 64 : v >> 63 ? (uint32_t)(v >> 16) : v >> 16 & (SIDE_MAX - 1);
        c->height = v & 0x40 ? 64 : v >> 63 ? (uint32_t)(v >> 24) : v >> 24 & (SIDE_MAX - 1);
        break;
    }
    case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING: {
        struct virtio_gpu_resource_attach_backing *c = (void *)to;
        struct virtio_gpu_mem_entry *entries = (void *)(c + 1);
        c->resource_id = id;
        c->nr_entries = v >> 63 ? (uint32_t)v : 1 + (v & 3);
        for (unsigned i = 0; i < 4; i++)
            entries[i] = (struct virtio_gpu_mem_entry){
                .addr = v >> (8 * i) & 0x1ffff, .length = (uint32_t)(v >> (8 * i + 4) & 0xffff)};
        break;
    }
    case VIRTIO_GPU_CMD_SET_SCANOUT: {
        struct virtio_gpu_set_scanout *c = (void *)to;
        c->r = rect_of(v);
        c->scanout_id = v >> 62 == 2;
        c->resource_id = id;
        break;
    }
    case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D: {
        struct virtio_gpu_transfer_to_host_2d *c = (void *)to;
        c->r = rect_of(v);
        c->offset = v >> 62 == 1 ? v : v >> 40 & 0xfff;
        c->resource_id = id;
        break;
    }
    case VIRTIO_GPU_CMD_RESOURCE_FLUSH: {
        struct virtio_gpu_resource_flush *c = (void *)to;
        c->r = rect_of(v);
        c->resource_id = id;
        break;
    }
    case VIRTIO_GPU_CMD_UPDATE_CURSOR:
    case VIRTIO_GPU_CMD_MOVE_CURSOR: {
        struct virtio_gpu_update_cursor *c = (void *)to;
        c->pos.scanout_id = v >> 62 == 2;
        c->resource_id = id;
        c->hot_x = (uint32_t)v;
        c->hot_y = (uint32_t)(v >> 20);
        break;
    }
    default: /* of the others a number follows the header */
        store_le(to + sizeof(struct virtio_gpu_ctrl_hdr), id, 8);
        break;
    }
}

static void command(const struct fuzz_act *act)
{
    bool cursor = (act->small >> 4) % 12 == 5 || (act->small >> 4) % 12 == 8;
    unsigned queue = (act->queue & 0x40 ? !cursor : cursor) % f.queue_count;
    put_request(act);
    fuzz_device_add(&f, queue, REQUEST, act->queue & 0x20 ? act->queue & 0x1f : 256, false, true);
    fuzz_device_add(&f, queue, ANSWER, ANSWER_ROOM, true, false);
    fuzz_device_kick(&f, queue);
}

static void run(const struct fuzz_act *act)
{
    switch (act->kind) {
    case COMMANDS:
        command(act);
        break;
    case LOOKS:
        if (looks++ < LOOKS_MAX)
            display_refresh(machine.platform.display);
        break;
    case WISHES:
        virtio_gpu_display_ops.want_size(f.dev, act->small, (unsigned)act->value & 0xfff);
        break;
    case CLEARS:
        f.dev->ops->config_write(f.dev, act->small % 16u & ~3U, &act->value, 4);
        f.dev->ops->config_read(f.dev);
        break;
    default:
        fuzz_device_act(&f, act);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f.dev)
        build();
    looks = 0;
    fuzz_device_input(&f, data, size, 0, KINDS, run);
    fuzz_device_end(&f);
    return 0;
}
