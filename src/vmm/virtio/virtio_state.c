/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio device's state as JSON, and its counters; called by the transport's save, load and
 * metrics while the device is stopped (metrics: any time). */
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/virtio/virtio.h"

static json_t *save_queue(const struct virtio_queue *queue)
{
    const struct virtqueue *ring = &queue->ring;
    json_t *out = json_pack("{s:i, s:I, s:I, s:I}", "size", (int)ring->size, "desc",
                            (json_int_t)ring->desc_gpa, "driver", (json_int_t)ring->driver_gpa,
                            "device", (json_int_t)ring->device_gpa);
    if (ring->positioned)
        json_object_set_new(out, "position", json_integer(virtqueue_get_state(ring)));
    if (ring->broken)
        json_object_set_new(out, "broken", json_true());
    return out;
}

static char *to_hex(const uint8_t *data, unsigned len)
{
    char *text = malloc(2 * (size_t)len + 1);
    for (unsigned i = 0; text && i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
    if (text && len == 0)
        *text = '\0';
    return text;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool from_hex(const char *text, uint8_t *data, unsigned len)
{
    if (strlen(text) != 2 * (size_t)len)
        return false;
    for (unsigned i = 0; i < 2 * len; i++) {
        if (hex_digit(text[i]) < 0)
            return false;
    }
    for (unsigned i = 0; i < len; i++)
        data[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return true;
}

json_t *virtio_device_save(struct virtio_device *dev)
{
    cleanup_free char *config = to_hex(dev->config, dev->config_size);
    json_t *queues = json_array();
    for (unsigned i = 0; i < dev->queue_count; i++)
        json_array_append_new(queues, save_queue(&dev->queues[i]));
    json_t *out = json_pack(
        "{s:I, s:i, s:i, s:s?, s:o}", "features", (json_int_t)dev->driver_features, "status",
        (int)atomic_load(&dev->status), "generation",
        (int)(atomic_load(&dev->config_generation) & 0xff), "config", config, "queues", queues);
    if (out && dev->ops->save)
        json_object_set_new(out, "device", dev->ops->save(dev));
    return out;
}

static int load_queue(struct virtio_queue *queue, const json_t *state, struct kv_error *err)
{
    struct virtqueue *ring = &queue->ring;
    const char *name = queue->device->name;
    json_int_t size, desc, driver, device, position = -1;
    int is_broken = 0;
    if (json_unpack((json_t *)state, "{s:I, s:I, s:I, s:I, s?:I, s?:b}", "size", &size, "desc",
                    &desc, "driver", &driver, "device", &device, "position", &position, "broken",
                    &is_broken) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "%s: queue %u of the state lacks size, desc, driver or device", name,
                            queue->index);
    if (size < 1 || size > queue->size_max)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "%s: queue %u of the state has size %lld; up to %u are offered", name,
                            queue->index, (long long)size, queue->size_max);
    virtqueue_reset(ring);
    ring->size = (uint16_t)size;
    ring->desc_gpa = (uint64_t)desc;
    ring->driver_gpa = (uint64_t)driver;
    ring->device_gpa = (uint64_t)device;
    ring->packed = virtio_has(queue->device, VIRTIO_F_RING_PACKED);
    if (position >= 0)
        virtqueue_set_state(ring, (uint32_t)position);
    if (is_broken)
        virtqueue_break(ring, "it was broken when it was saved");
    return 0;
}

int virtio_device_load(struct virtio_device *dev, const json_t *state, struct kv_error *err)
{
    json_int_t features, status, generation;
    const char *config;
    json_t *queues, *device = NULL;
    if (json_unpack((json_t *)state, "{s:I, s:I, s:I, s:s, s:o, s?:o}", "features", &features,
                    "status", &status, "generation", &generation, "config", &config, "queues",
                    &queues, "device", &device) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "%s: the state lacks features, status, generation, config or queues",
                            dev->name);
    /* Until they are agreed on, the driver may have written anything. */
    const unsigned agreed = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
    if ((unsigned)status & agreed && (uint64_t)features & ~dev->features)
        return kv_error_set(err, KV_ERR_DEVICE, ENOTSUP,
                            "%s: the state has features 0x%" PRIx64 "; 0x%" PRIx64 " are offered",
                            dev->name, (uint64_t)features, dev->features);
    if (json_array_size(queues) != dev->queue_count)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "%s: the state has %zu queues, the device has %u", dev->name,
                            json_array_size(queues), dev->queue_count);
    if (!from_hex(config, dev->config, dev->config_size))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "%s: the state's configuration space is not %u bytes in hexadecimal",
                            dev->name, dev->config_size);
    dev->driver_features = (uint64_t)features;
    atomic_store(&dev->status, (unsigned)status & 0xff);
    atomic_store(&dev->needs_reset, (status & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
    atomic_store(&dev->config_generation, (unsigned)generation);
    for (unsigned i = 0; i < dev->queue_count; i++) {
        int rc = load_queue(&dev->queues[i], json_array_get(queues, i), err);
        if (rc < 0)
            return rc;
    }
    return device && dev->ops->load ? dev->ops->load(dev, device, err) : 0;
}

void virtio_device_metrics(struct virtio_device *dev, json_t *out)
{
    json_t *queues = json_array();
    for (unsigned i = 0; i < dev->queue_count; i++) {
        struct virtio_queue *queue = &dev->queues[i];
        json_array_append_new(
            queues, json_pack("{s:I, s:I}", "kicks", (json_int_t)atomic_load(&queue->kicks),
                              "interrupts", (json_int_t)atomic_load(&queue->interrupts)));
    }
    json_object_set_new(out, "queues", queues);
    if (dev->ops->metrics)
        dev->ops->metrics(dev, out);
}
