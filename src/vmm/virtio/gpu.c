/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-gpu, two-dimensional (virtio 1.2, 5.7): its queues, its configuration
 * space, and what of its pictures is to be seen. The driver says which
 * rectangles changed; they are noted, and copied into the display's picture
 * when somebody looks. See gpu_internal.h.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/devices/vga.h"
#include "vmm/virtio/gpu_internal.h"

#define CONTROL_SIZE 256 /* entries: a long list of pieces of memory comes in as many */
#define CURSOR_SIZE 16
#define ROUND_COMMANDS 64 /* before other sources of the loop get their turn */
#define ROUND_BYTES MIB(64)

/* ---------------------------------------------------------------- what is shown */

/* Under the lock. */
static void damage_all(struct gpu *gpu)
{
    gpu->all_damaged = true;
    memset(gpu->bands, 0, sizeof(gpu->bands));
}

bool gpu_set_scanout(struct gpu *gpu, struct gpu_resource *resource,
                     const struct virtio_gpu_rect *part)
{
    if (resource &&
        (!gpu_rect_inside(part, resource->width, resource->height) || part->width == 0 ||
         part->height == 0 || part->width > GPU_PICTURE_MAX || part->height > GPU_PICTURE_MAX))
        return false;
    gpu->driven = gpu->driven || resource;
    gpu->shown = resource;
    if (resource)
        gpu->part = *part;
    damage_all(gpu);
    return true;
}

void gpu_damage(struct gpu *gpu, const struct gpu_resource *resource,
                const struct virtio_gpu_rect *rect)
{
    const struct virtio_gpu_rect *part = &gpu->part;
    if (gpu->shown != resource || gpu->all_damaged)
        return;
    uint32_t x = MAX(rect->x, part->x), x_end = MIN(rect->x + rect->width, part->x + part->width);
    uint32_t y = MAX(rect->y, part->y), y_end = MIN(rect->y + rect->height, part->y + part->height);
    if (x >= x_end || y >= y_end)
        return;
    for (uint32_t i = (y - part->y) / GPU_BAND; i <= (y_end - part->y - 1) / GPU_BAND; i++) {
        bool empty = gpu->bands[i].x == gpu->bands[i].x_end;
        uint16_t from = (uint16_t)(x - part->x), to = (uint16_t)(x_end - part->x);
        gpu->bands[i].x = empty ? from : MIN(from, gpu->bands[i].x);
        gpu->bands[i].x_end = empty ? to : MAX(to, gpu->bands[i].x_end);
    }
}

/* Drivers multiply a pointer's colours by alpha. */
static uint32_t undo_alpha(uint32_t pixel)
{
    uint32_t alpha = pixel >> 24, out = alpha << 24;
    for (unsigned shift = 0; alpha && shift < 24; shift += 8)
        out |= MIN((pixel >> shift & 0xff) * 255 / alpha, 255u) << shift;
    return out;
}

static bool draw_pointer(struct gpu *gpu, const struct gpu_resource *resource)
{
    const struct virtio_gpu_update_cursor *cursor = &gpu->cursor;
    uint32_t pixels[GPU_POINTER * GPU_POINTER];
    if (!resource || !gpu->display)
        return !gpu->display || display_set_cursor(gpu->display, 0, 0, 0, 0, NULL);
    gpu_read_pixels(resource->format, resource->pixels, ARRAY_SIZE(pixels), true, pixels);
    for (unsigned i = 0; i < ARRAY_SIZE(pixels); i++)
        pixels[i] = undo_alpha(pixels[i]);
    return display_set_cursor(gpu->display, GPU_POINTER, GPU_POINTER, le32toh(cursor->hot_x),
                              le32toh(cursor->hot_y), pixels);
}

uint32_t gpu_set_pointer(struct gpu *gpu, const struct virtio_gpu_update_cursor *cursor)
{
    const struct gpu_resource *resource = gpu_find_resource(gpu, le32toh(cursor->resource_id));
    if (cursor->resource_id && !resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (resource && (resource->width != GPU_POINTER || resource->height != GPU_POINTER))
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    gpu->cursor = *cursor;
    gpu->has_pointer = true;
    return draw_pointer(gpu, resource) ? VIRTIO_GPU_RESP_OK_NODATA
                                       : VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
}

static void draw_part(struct gpu *gpu, unsigned y, unsigned y_end, unsigned x, unsigned x_end)
{
    const struct gpu_resource *resource = gpu->shown;
    uint32_t row[GPU_PICTURE_MAX];
    for (; y < y_end; y++) {
        size_t at = (size_t)(gpu->part.y + y) * resource->width + gpu->part.x + x;
        gpu_read_pixels(resource->format, resource->pixels + at * GPU_PIXEL, x_end - x, false, row);
        display_put_part(gpu->display, y, x, x_end, row);
    }
}

static void draw_damage(struct gpu *gpu)
{
    unsigned height = gpu->part.height;
    for (unsigned i = 0; i < ARRAY_SIZE(gpu->bands); i++) {
        if (gpu->bands[i].x != gpu->bands[i].x_end)
            draw_part(gpu, i * GPU_BAND, MIN((i + 1) * GPU_BAND, height), gpu->bands[i].x,
                      gpu->bands[i].x_end);
    }
    memset(gpu->bands, 0, sizeof(gpu->bands));
}

/* A screen that the driver switched off keeps its size. */
static void draw_nothing(struct gpu *gpu)
{
    const uint32_t black[GPU_PICTURE_MAX] = {0};
    struct display *display = gpu->display;
    if (!display->pixels && !display_resize(display, gpu->width, gpu->height))
        return;
    for (unsigned y = 0; y < display->height; y++)
        display_put_row(display, y, black);
}

static void draw(void *opaque, bool everything)
{
    struct gpu *gpu = gpu_of(opaque);
    pthread_mutex_lock(&gpu->lock);
    everything = everything || gpu->all_damaged;
    gpu->all_damaged = false;
    if (gpu->vga && !gpu->driven)
        vga_show(gpu->vga, everything, gpu->display);
    else if (!gpu->shown && everything)
        draw_nothing(gpu);
    else if (gpu->shown && display_resize(gpu->display, gpu->part.width, gpu->part.height)) {
        if (everything)
            draw_part(gpu, 0, gpu->part.height, 0, gpu->part.width);
        else
            draw_damage(gpu);
    }
    pthread_mutex_unlock(&gpu->lock);
}

/* The driver is told, asks for the new size, and sets another picture (5.7.6.9). */
static bool want_size(void *opaque, unsigned width, unsigned height)
{
    struct gpu *gpu = gpu_of(opaque);
    if (width < GPU_WIDTH_MIN || width > GPU_WIDTH_MAX || height < GPU_HEIGHT_MIN ||
        height > GPU_HEIGHT_MAX)
        return false;
    pthread_mutex_lock(&gpu->lock);
    gpu->width = width;
    gpu->height = height;
    gpu->events |= VIRTIO_GPU_EVENT_DISPLAY;
    pthread_mutex_unlock(&gpu->lock);
    virtio_config_changed(&gpu->dev);
    return true;
}

const struct display_device_ops virtio_gpu_display_ops = {.draw = draw, .want_size = want_size};

/* ---------------------------------------------------------------- configuration space */

static void config_read(struct virtio_device *dev)
{
    struct gpu *gpu = gpu_of(dev);
    pthread_mutex_lock(&gpu->lock);
    gpu->config.events_read = htole32(gpu->events);
    pthread_mutex_unlock(&gpu->lock);
}

/* Only events_clear can be written, and reads as 0 (5.7.4.1). */
static void config_write(struct virtio_device *dev, unsigned offset, const void *data, unsigned len)
{
    struct gpu *gpu = gpu_of(dev);
    if (offset != offsetof(struct virtio_gpu_config, events_clear) || len != 4)
        return;
    pthread_mutex_lock(&gpu->lock);
    gpu->events &= ~(uint32_t)load_le(data, 4);
    pthread_mutex_unlock(&gpu->lock);
}

/* ---------------------------------------------------------------- queues */

static bool serve_one(struct gpu *gpu, struct virtio_queue *queue)
{
    struct iovec iov[CONTROL_SIZE];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = CONTROL_SIZE};
    if (virtqueue_pop(&queue->ring, &chain) <= 0)
        return false;
    pthread_mutex_lock(&gpu->lock);
    uint32_t written = gpu_command(gpu, queue->index == GPU_CURSOR, &chain);
    pthread_mutex_unlock(&gpu->lock);
    virtqueue_push(&queue->ring, &chain, written);
    return true;
}

static void kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct gpu *gpu = gpu_of(dev);
    uint64_t copied = gpu->copied;
    unsigned rounds = 0;
    do {
        while (rounds < ROUND_COMMANDS && gpu->copied - copied < ROUND_BYTES &&
               serve_one(gpu, queue))
            rounds++;
    } while (rounds < ROUND_COMMANDS && gpu->copied - copied < ROUND_BYTES &&
             virtqueue_enable_kick(&queue->ring));
    if (rounds && gpu->display)
        display_stir(gpu->display);
    if (virtio_queue_broken(queue))
        return;
    virtio_queue_notify(queue);
    if (rounds == ROUND_COMMANDS || gpu->copied - copied >= ROUND_BYTES)
        virtio_queue_again(queue);
}

/* ---------------------------------------------------------------- life */

void gpu_forget(struct gpu *gpu)
{
    while (!list_empty(&gpu->resources))
        gpu_free_resource(gpu, list_entry(gpu->resources.next, struct gpu_resource, node));
    gpu->driven = false;
    gpu->shown = NULL;
    if (gpu->has_pointer)
        draw_pointer(gpu, NULL);
    gpu->cursor = (struct virtio_gpu_update_cursor){0};
    gpu->has_pointer = false;
    damage_all(gpu);
}

static void reset(struct virtio_device *dev)
{
    struct gpu *gpu = gpu_of(dev);
    pthread_mutex_lock(&gpu->lock);
    gpu_forget(gpu);
    gpu->events = 0;
    pthread_mutex_unlock(&gpu->lock);
}

static void metrics(struct virtio_device *dev, json_t *out)
{
    struct gpu *gpu = gpu_of(dev);
    pthread_mutex_lock(&gpu->lock);
    json_object_set_new(out, "resources", json_integer(gpu->resource_count));
    json_object_set_new(out, "memory", json_integer((json_int_t)gpu->memory));
    json_object_set_new(out, "commands", json_integer((json_int_t)gpu->commands));
    json_object_set_new(out, "refused", json_integer((json_int_t)gpu->refused));
    json_object_set_new(out, "copied", json_integer((json_int_t)gpu->copied));
    pthread_mutex_unlock(&gpu->lock);
}

static void gpu_free(struct virtio_device *dev)
{
    struct gpu *gpu = gpu_of(dev);
    struct machine *machine = dev->machine;
    virtio_device_destroy(dev);
    if (machine)
        display_free(machine);
    gpu->display = NULL;
    if (gpu->vga)
        vga_free(gpu->vga);
    gpu_forget(gpu);
    pthread_mutex_destroy(&gpu->lock);
    free(gpu);
}

static const struct virtio_device_ops gpu_ops = {
    .device_id = VIRTIO_ID_GPU,
    .config_write = config_write,
    .config_read = config_read,
    .kick = kick,
    .reset = reset,
    .save = gpu_save,
    .load = gpu_load,
    .metrics = metrics,
    .free = gpu_free,
};

int virtio_gpu_create(struct virtio_device **out, const struct gpu_config *config,
                      struct guest_mem *mem, struct kv_error *err)
{
    static const uint16_t sizes[GPU_QUEUES] = {CONTROL_SIZE, CURSOR_SIZE};
    struct gpu *gpu = calloc(1, sizeof(*gpu));
    if (!gpu)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "virtio-gpu: out of memory");
    int rc =
        virtio_device_init(&gpu->dev, &gpu_ops, "virtio-gpu", BIT(VIRTIO_GPU_F_EDID), &gpu->config,
                           sizeof(gpu->config), GPU_QUEUES, sizes, mem, NULL, err);
    if (rc < 0) {
        free(gpu);
        return rc;
    }
    pthread_mutex_init(&gpu->lock, NULL);
    list_init(&gpu->resources);
    gpu->config.num_scanouts = htole32(1);
    gpu->width = (unsigned)config->xres;
    gpu->height = (unsigned)config->yres;
    gpu->memory_max = config->memory;
    *out = &gpu->dev;
    return 0;
}

void virtio_gpu_show(struct virtio_device *dev, struct display *display, struct loop *loop)
{
    gpu_of(dev)->display = display;
    for (unsigned i = 0; i < GPU_QUEUES; i++)
        dev->queues[i].loop = loop;
}
