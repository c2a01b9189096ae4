/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-gpu's state for save and load: its resources with their pixels and
 * where their originals are, what is shown of them, and the pointer. What is
 * loaded goes through the checks that commands go through. See gpu_internal.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "vmm/hex_state.h"
#include "vmm/virtio/gpu_internal.h"

static json_t *save_entries(const struct gpu_resource *resource)
{
    json_t *out = json_array();
    for (uint32_t i = 0; i < resource->entry_count; i++)
        json_array_append_new(out, json_pack("[I, I]", (json_int_t)resource->entries[i].gpa,
                                             (json_int_t)resource->entries[i].len));
    return out;
}

static size_t pixel_bytes(const struct gpu_resource *resource)
{
    return (size_t)resource->width * resource->height * GPU_PIXEL;
}

static json_t *save_resource(const struct gpu_resource *resource)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "id", (json_int_t)resource->id, "format",
                     (json_int_t)resource->format, "width", (json_int_t)resource->width, "height",
                     (json_int_t)resource->height, "backing", save_entries(resource), "pixels",
                     hex_state_save(resource->pixels, pixel_bytes(resource)));
}

json_t *gpu_save(struct virtio_device *dev)
{
    struct gpu *gpu = gpu_of(dev);
    json_t *resources = json_array();
    pthread_mutex_lock(&gpu->lock);
    list_for_each (node, &gpu->resources)
        json_array_append_new(resources,
                              save_resource(list_entry(node, struct gpu_resource, node)));
    json_t *out = json_pack(
        "{s:i, s:i, s:I, s:b, s:I, s:[I, I, I, I], s:b, s:o, s:o}", "width", (int)gpu->width,
        "height", (int)gpu->height, "events", (json_int_t)gpu->events, "driven", gpu->driven,
        "shown", (json_int_t)(gpu->shown ? gpu->shown->id : 0), "part", (json_int_t)gpu->part.x,
        (json_int_t)gpu->part.y, (json_int_t)gpu->part.width, (json_int_t)gpu->part.height,
        "has-pointer", gpu->has_pointer, "cursor",
        hex_state_save(&gpu->cursor, sizeof(gpu->cursor)), "resources", resources);
    pthread_mutex_unlock(&gpu->lock);
    return out;
}

static bool load_backing(struct gpu *gpu, struct gpu_resource *resource, const json_t *list)
{
    size_t count = json_array_size(list);
    if (count == 0)
        return true;
    struct gpu_entry *entries = count <= GPU_ENTRIES_MAX ? calloc(count, sizeof(*entries)) : NULL;
    bool good = entries;
    for (size_t i = 0; good && i < count; i++) {
        json_int_t gpa, len;
        good = json_unpack(json_array_get(list, i), "[I, I]", &gpa, &len) == 0 && len > 0 &&
               len <= UINT32_MAX;
        if (good)
            entries[i] = (struct gpu_entry){(uint64_t)gpa, (uint32_t)len};
    }
    good = good &&
           gpu_attach_backing(gpu, resource, entries, (uint32_t)count) == VIRTIO_GPU_RESP_OK_NODATA;
    if (!good)
        free(entries);
    return good;
}

static bool load_resource(struct gpu *gpu, const json_t *state)
{
    json_int_t id, format, width, height;
    json_t *backing, *pixels;
    if (json_unpack((json_t *)state, "{s:I, s:I, s:I, s:I, s:o, s:o}", "id", &id, "format", &format,
                    "width", &width, "height", &height, "backing", &backing, "pixels", &pixels) < 0)
        return false;
    if (gpu_create_resource(gpu, (uint32_t)id, (uint32_t)format, (uint32_t)width,
                            (uint32_t)height) != VIRTIO_GPU_RESP_OK_NODATA)
        return false;
    struct gpu_resource *resource = gpu_find_resource(gpu, (uint32_t)id);
    return hex_state_load(pixels, resource->pixels, pixel_bytes(resource)) &&
           load_backing(gpu, resource, backing);
}

static bool load_shown(struct gpu *gpu, uint32_t id, const struct virtio_gpu_rect *part)
{
    struct gpu_resource *resource = gpu_find_resource(gpu, id);
    return !id || (resource && gpu_set_scanout(gpu, resource, part));
}

static bool load_pointer(struct gpu *gpu, const json_t *state)
{
    struct virtio_gpu_update_cursor cursor;
    if (!hex_state_load(state, &cursor, sizeof(cursor)))
        return false;
    /* What it was drawn from may be gone; then it is not seen until the next one. */
    if (gpu_set_pointer(gpu, &cursor) != VIRTIO_GPU_RESP_OK_NODATA) {
        cursor.resource_id = 0;
        gpu_set_pointer(gpu, &cursor);
    }
    return true;
}

static bool load_all(struct gpu *gpu, const json_t *state)
{
    json_int_t width, height, events, shown, x, y, part_width, part_height;
    int driven, has_pointer;
    json_t *cursor, *resources;
    if (json_unpack((json_t *)state, "{s:I, s:I, s:I, s:b, s:I, s:[I, I, I, I], s:b, s:o, s:o}",
                    "width", &width, "height", &height, "events", &events, "driven", &driven,
                    "shown", &shown, "part", &x, &y, &part_width, &part_height, "has-pointer",
                    &has_pointer, "cursor", &cursor, "resources", &resources) < 0)
        return false;
    for (size_t i = 0; i < json_array_size(resources); i++) {
        if (!load_resource(gpu, json_array_get(resources, i)))
            return false;
    }
    const struct virtio_gpu_rect part = {(uint32_t)x, (uint32_t)y, (uint32_t)part_width,
                                         (uint32_t)part_height};
    if (width < GPU_WIDTH_MIN || width > GPU_WIDTH_MAX || height < GPU_HEIGHT_MIN ||
        height > GPU_HEIGHT_MAX || !load_shown(gpu, (uint32_t)shown, &part) ||
        (has_pointer && !load_pointer(gpu, cursor)))
        return false;
    gpu->width = (unsigned)width;
    gpu->height = (unsigned)height;
    gpu->events = (uint32_t)events;
    gpu->driven = driven;
    return true;
}

int gpu_load(struct virtio_device *dev, const json_t *state, struct kv_error *err)
{
    struct gpu *gpu = gpu_of(dev);
    pthread_mutex_lock(&gpu->lock);
    gpu_forget(gpu);
    bool good = load_all(gpu, state);
    if (!good)
        gpu_forget(gpu);
    pthread_mutex_unlock(&gpu->lock);
    return good ? 0
                : kv_error_set(err, KV_ERR_DEVICE, EINVAL, "%s: its state is not that of one",
                               dev->name);
}
