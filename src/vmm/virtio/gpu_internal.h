/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of virtio-gpu: gpu.c is the device and what of it is drawn,
 * gpu_command.c carries out what the driver asks for, gpu_resource.c holds its
 * pictures, gpu_state.c saves all that. Queues and drawing belong to the
 * display's thread; resets and configuration space come from vCPU threads, so
 * that everything is under the lock.
 */
#ifndef KV_VMM_VIRTIO_GPU_INTERNAL_H
#define KV_VMM_VIRTIO_GPU_INTERNAL_H

#include <linux/virtio_gpu.h>
#include <pthread.h>

#include "base/list.h"
#include "vmm/virtio/gpu.h"

#define GPU_PICTURE_MAX 4096   /* columns and rows of what is shown */
#define GPU_RESOURCE_MAX 16384 /* columns and rows of a resource */
#define GPU_RESOURCES_MAX 1024
#define GPU_ENTRIES_MAX 16384 /* pieces of guest memory behind a resource */
#define GPU_PIXEL 4           /* bytes, in all formats */
#define GPU_BAND 16           /* rows; damage is noted for each so many */
#define GPU_POINTER 64        /* columns and rows of a pointer (5.7.6.10) */

enum { GPU_CONTROL, GPU_CURSOR, GPU_QUEUES };

/* A piece of guest memory that was there when the driver named it. */
struct gpu_entry {
    uint64_t gpa;
    uint32_t len;
};

/* A picture of the driver's: our copy, and where in its memory the original is. */
struct gpu_resource {
    struct list node;
    uint32_t id, width, height;
    uint32_t format; /* one of enum virtio_gpu_formats */
    uint8_t *pixels; /* width * height * GPU_PIXEL bytes */
    struct gpu_entry *entries;
    uint32_t entry_count;
    uint64_t backing; /* bytes that the entries hold */
};

struct gpu {
    struct virtio_device dev;
    struct virtio_gpu_config config;
    struct display *display; /* NULL: nothing is drawn yet */
    struct vga *vga;         /* shows while the driver does not; NULL: none */
    pthread_mutex_t lock;    /* leaf; for what follows */
    unsigned width, height;  /* the monitor's best mode */
    uint32_t events;         /* VIRTIO_GPU_EVENT_* that the driver did not clear yet */

    struct list resources;
    unsigned resource_count;
    uint64_t memory_max, memory; /* bytes: allowed, taken */

    bool driven; /* the driver set its screen up: the VGA is out */
    struct gpu_resource *shown;
    struct virtio_gpu_rect part; /* of it; in our byte order */
    bool all_damaged;
    struct {
        uint16_t x, x_end; /* columns of the picture; nothing: equal */
    } bands[GPU_PICTURE_MAX / GPU_BAND];

    struct virtio_gpu_update_cursor cursor; /* the last one; in the driver's byte order */
    bool has_pointer;                       /* it was told one */

    uint64_t commands, refused, copied; /* counters; copied: bytes */
};

static inline struct gpu *gpu_of(struct virtio_device *dev)
{
    return container_of(dev, struct gpu, dev);
}

/* All of these under the lock. The numbers that they return are the protocol's:
 * VIRTIO_GPU_RESP_OK_NODATA or VIRTIO_GPU_RESP_ERR_*. */

/* Carries out the request in the chain and writes the answer; returns its length. */
uint32_t gpu_command(struct gpu *gpu, bool cursor_queue, const struct virtqueue_chain *chain);

bool gpu_format_known(uint32_t format);
/* count pixels as the display has them. alpha: with it, and the colours multiplied by it. */
void gpu_read_pixels(uint32_t format, const uint8_t *from, unsigned count, bool alpha,
                     uint32_t *to);

struct gpu_resource *gpu_find_resource(struct gpu *gpu, uint32_t id);
uint32_t gpu_create_resource(struct gpu *gpu, uint32_t id, uint32_t format, uint32_t width,
                             uint32_t height);
void gpu_free_resource(struct gpu *gpu, struct gpu_resource *resource);
/* Takes entries over if it succeeds. */
uint32_t gpu_attach_backing(struct gpu *gpu, struct gpu_resource *resource,
                            struct gpu_entry *entries, uint32_t count);
void gpu_detach_backing(struct gpu *gpu, struct gpu_resource *resource);
/* Copies a rectangle from guest memory, whose first pixel is at offset. */
uint32_t gpu_transfer(struct gpu *gpu, struct gpu_resource *resource,
                      const struct virtio_gpu_rect *rect, uint64_t offset);
bool gpu_rect_inside(const struct virtio_gpu_rect *rect, uint32_t width, uint32_t height);

/* What is shown from now on; NULL: nothing. False: that part is none of the resource, or too large.
 */
bool gpu_set_scanout(struct gpu *gpu, struct gpu_resource *resource,
                     const struct virtio_gpu_rect *part);
/* A rectangle of the resource is to be seen. */
void gpu_damage(struct gpu *gpu, const struct gpu_resource *resource,
                const struct virtio_gpu_rect *rect);
uint32_t gpu_set_pointer(struct gpu *gpu, const struct virtio_gpu_update_cursor *cursor);
/* Everything that the driver set up is gone. */
void gpu_forget(struct gpu *gpu);

json_t *gpu_save(struct virtio_device *dev);
int gpu_load(struct virtio_device *dev, const json_t *state, struct kv_error *err);

#endif
