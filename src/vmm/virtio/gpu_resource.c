/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-gpu's resources (virtio 1.2, 5.7.6.8): pictures that the driver draws
 * in its memory and has copied here. Sizes, formats and addresses are the
 * guest's word: they are bounded and checked where they enter, and guest memory
 * is looked up again each time it is read. See gpu_internal.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/virtio/gpu_internal.h"

/* Where the bytes of a pixel are; alpha 4: there is none. */
static const struct pixel_format {
    uint32_t format;
    uint8_t red, green, blue, alpha;
} formats[] = {
    {VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 2, 1, 0, 3}, {VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 2, 1, 0, 4},
    {VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 1, 2, 3, 0}, {VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 1, 2, 3, 4},
    {VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0, 1, 2, 3}, {VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 3, 2, 1, 4},
    {VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 3, 2, 1, 0}, {VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0, 1, 2, 4},
};

static const struct pixel_format *find_format(uint32_t format)
{
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        if (formats[i].format == format)
            return &formats[i];
    }
    return NULL;
}

bool gpu_format_known(uint32_t format)
{
    return find_format(format);
}

void gpu_read_pixels(uint32_t format, const uint8_t *from, unsigned count, bool alpha, uint32_t *to)
{
    const struct pixel_format *f = find_format(format);
    for (unsigned i = 0; i < count; i++, from += GPU_PIXEL) {
        uint32_t a = !alpha ? 0 : f->alpha < GPU_PIXEL ? from[f->alpha] : 0xff;
        to[i] =
            a << 24 | (uint32_t)from[f->red] << 16 | (uint32_t)from[f->green] << 8 | from[f->blue];
    }
}

bool gpu_rect_inside(const struct virtio_gpu_rect *rect, uint32_t width, uint32_t height)
{
    return range_within(rect->x, rect->width, 0, width) &&
           range_within(rect->y, rect->height, 0, height);
}

struct gpu_resource *gpu_find_resource(struct gpu *gpu, uint32_t id)
{
    list_for_each (node, &gpu->resources) {
        struct gpu_resource *resource = list_entry(node, struct gpu_resource, node);
        if (resource->id == id)
            return resource;
    }
    return NULL;
}

static bool take_memory(struct gpu *gpu, uint64_t bytes)
{
    if (bytes > gpu->memory_max - gpu->memory)
        return false;
    gpu->memory += bytes;
    return true;
}

static uint64_t picture_bytes(const struct gpu_resource *resource)
{
    return (uint64_t)resource->width * resource->height * GPU_PIXEL;
}

uint32_t gpu_create_resource(struct gpu *gpu, uint32_t id, uint32_t format, uint32_t width,
                             uint32_t height)
{
    if (id == 0 || gpu_find_resource(gpu, id))
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (!gpu_format_known(format) || width == 0 || height == 0 || width > GPU_RESOURCE_MAX ||
        height > GPU_RESOURCE_MAX)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    uint64_t bytes = (uint64_t)width * height * GPU_PIXEL;
    if (gpu->resource_count == GPU_RESOURCES_MAX || !take_memory(gpu, bytes))
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    struct gpu_resource *resource = malloc(sizeof(*resource));
    uint8_t *pixels = calloc(bytes, 1);
    if (!resource || !pixels) {
        gpu->memory -= bytes;
        free(resource);
        free(pixels);
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    *resource = (struct gpu_resource){
        .id = id, .format = format, .width = width, .height = height, .pixels = pixels};
    list_add_tail(&gpu->resources, &resource->node);
    gpu->resource_count++;
    return VIRTIO_GPU_RESP_OK_NODATA;
}

void gpu_free_resource(struct gpu *gpu, struct gpu_resource *resource)
{
    if (gpu->shown == resource)
        gpu_set_scanout(gpu, NULL, NULL);
    gpu_detach_backing(gpu, resource);
    gpu->memory -= picture_bytes(resource);
    gpu->resource_count--;
    list_del(&resource->node);
    free(resource->pixels);
    free(resource);
}

/* ---------------------------------------------------------------- backing */

uint32_t gpu_attach_backing(struct gpu *gpu, struct gpu_resource *resource,
                            struct gpu_entry *entries, uint32_t count)
{
    uint64_t bytes = 0;
    if (resource->entries)
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    for (uint32_t i = 0; i < count; i++) {
        if (!entries[i].len || !guest_mem_range(gpu->dev.mem, entries[i].gpa, entries[i].len))
            return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        bytes += entries[i].len;
    }
    if (!take_memory(gpu, count * sizeof(*entries)))
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    resource->entries = entries;
    resource->entry_count = count;
    resource->backing = bytes;
    return VIRTIO_GPU_RESP_OK_NODATA;
}

void gpu_detach_backing(struct gpu *gpu, struct gpu_resource *resource)
{
    gpu->memory -= resource->entry_count * sizeof(*resource->entries);
    free(resource->entries);
    resource->entries = NULL;
    resource->entry_count = 0;
    resource->backing = 0;
}

/* Reads the backing at offsets that only grow. */
struct reader {
    const struct gpu_resource *resource;
    uint32_t entry;
    uint64_t start; /* offset where that entry begins */
};

/* The range lies within the backing. False: its memory is not there any more. */
static bool read_backing(struct gpu *gpu, struct reader *reader, uint64_t offset, uint8_t *to,
                         uint64_t len)
{
    while (len) {
        const struct gpu_entry *entry = &reader->resource->entries[reader->entry];
        uint64_t at = offset - reader->start;
        if (at >= entry->len) {
            reader->start += entry->len;
            reader->entry++;
            continue;
        }
        uint64_t n = MIN(len, entry->len - at);
        const void *from = guest_mem_range(gpu->dev.mem, entry->gpa + at, n);
        if (!from)
            return false;
        memcpy(to, from, n);
        to += n;
        offset += n;
        len -= n;
    }
    return true;
}

uint32_t gpu_transfer(struct gpu *gpu, struct gpu_resource *resource,
                      const struct virtio_gpu_rect *rect, uint64_t offset)
{
    struct reader reader = {.resource = resource};
    uint64_t stride = (uint64_t)resource->width * GPU_PIXEL,
             row = (uint64_t)rect->width * GPU_PIXEL;
    if (!gpu_rect_inside(rect, resource->width, resource->height))
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    if (rect->width == 0 || rect->height == 0)
        return VIRTIO_GPU_RESP_OK_NODATA;
    if (!range_within(offset, (rect->height - 1) * stride + row, 0, resource->backing))
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    uint8_t *to = resource->pixels + rect->y * stride + (uint64_t)rect->x * GPU_PIXEL;
    for (uint32_t y = 0; y < rect->height; y++, to += stride, offset += stride) {
        if (!read_backing(gpu, &reader, offset, to, row))
            return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    gpu->copied += row * rect->height;
    return VIRTIO_GPU_RESP_OK_NODATA;
}
