/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio device's life without its transport (virtio 1.2, 2.1 and 3.1):
 * queues, starting and stopping on the loops that serve them, notifications,
 * and failing. Called by the transport and by the devices' files; saving is in
 * virtio_state.c.
 */
#include "vmm/virtio/virtio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define FEATURES_OF_TRANSPORT                                                             \
    (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
     BIT(VIRTIO_RING_F_INDIRECT_DESC))

int virtio_device_init(struct virtio_device *dev, const struct virtio_device_ops *ops,
                       const char *name, uint64_t features, void *config, unsigned config_size,
                       unsigned queue_count, const uint16_t *queue_sizes, struct guest_mem *mem,
                       struct loop *loop, struct kv_error *err)
{
    *dev = (struct virtio_device){
        .ops = ops,
        .name = name,
        .mem = mem,
        .features = features | FEATURES_OF_TRANSPORT,
        .config = config,
        .config_size = config_size,
    };
    if (queue_count == 0 || queue_count > VIRTIO_QUEUES_MAX)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL, "%s: %u queues; 1 to %u are supported",
                            name, queue_count, VIRTIO_QUEUES_MAX);
    dev->queues = calloc(queue_count, sizeof(*dev->queues));
    if (!dev->queues)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "%s: %u queues: out of memory", name,
                            queue_count);
    for (unsigned i = 0; i < queue_count; i++) {
        struct virtio_queue *queue = &dev->queues[i];
        queue->device = dev;
        queue->index = i;
        queue->size_max = queue->ring.size = queue_sizes[i];
        queue->loop = loop;
        queue->kick = LOOP_SOURCE_INIT;
        queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->kick_fd < 0) {
            int code = errno;
            virtio_device_destroy(dev);
            return kv_error_errno(err, KV_ERR_DEVICE, code, "%s: doorbell of queue %u", name, i);
        }
        dev->queue_count = i + 1;
    }
    return 0;
}

void virtio_device_destroy(struct virtio_device *dev)
{
    virtio_device_stop(dev);
    for (unsigned i = 0; i < dev->queue_count; i++)
        close(dev->queues[i].kick_fd);
    free(dev->queues);
    dev->queues = NULL;
    dev->queue_count = 0;
}

/* Only the queue's loop writes them, so the sum needs no locked instruction. */
static void count(atomic_uint_fast64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void kicked(void *opaque, uint32_t events)
{
    struct virtio_queue *queue = opaque;
    struct virtio_device *dev = queue->device;
    count(&queue->kicks);
    if (queue->ring.started && !atomic_load_explicit(&dev->needs_reset, memory_order_relaxed))
        dev->ops->kick(dev, queue);
}

void virtio_queue_notify(struct virtio_queue *queue)
{
    struct virtio_device *dev = queue->device;
    if (!virtqueue_should_interrupt(&queue->ring))
        return;
    count(&queue->interrupts);
    if (dev->transport)
        dev->transport->queue_interrupt(dev->transport_opaque, queue);
}

static void config_interrupt(struct virtio_device *dev)
{
    if (dev->transport && atomic_load(&dev->status) & VIRTIO_CONFIG_S_DRIVER_OK)
        dev->transport->config_interrupt(dev->transport_opaque);
}

void virtio_config_changed(struct virtio_device *dev)
{
    atomic_fetch_add(&dev->config_generation, 1);
    config_interrupt(dev);
}

void virtio_fail(struct virtio_device *dev, const char *reason)
{
    if (atomic_exchange(&dev->needs_reset, true))
        return;
    log_guest("%s: %s; the device needs a reset", dev->name, reason);
    atomic_fetch_or(&dev->status, VIRTIO_CONFIG_S_NEEDS_RESET);
    config_interrupt(dev);
}

bool virtio_queue_broken(struct virtio_queue *queue)
{
    if (!queue->ring.broken)
        return false;
    virtio_fail(queue->device, queue->ring.broken_reason);
    return true;
}

bool virtio_features_ok(struct virtio_device *dev)
{
    uint64_t features = dev->driver_features;
    if (features & ~dev->features || !(features & BIT(VIRTIO_F_VERSION_1)))
        return false;
    return !dev->ops->features_ok || dev->ops->features_ok(dev, features);
}

struct start {
    struct virtio_device *dev;
    int rc;
};

static void start_on_loop(void *opaque)
{
    struct start *start = opaque;
    start->rc = start->dev->ops->start(start->dev);
}

static void start_queue_on_loop(void *opaque)
{
    struct virtio_queue *queue = opaque;
    struct virtio_device *dev = queue->device;
    atomic_store(&queue->active, true);
    if (dev->ops->queue_start)
        dev->ops->queue_start(dev, queue);
    if (queue->kick_external)
        return;
    /* By edge: each doorbell is one event, and the count needs no read(). */
    int rc = loop_add(queue->loop, &queue->kick, queue->kick_fd, EPOLLIN | EPOLLET, kicked, queue);
    if (rc < 0)
        virtio_fail(dev, "its doorbell cannot be watched");
}

static void stop_queue_on_loop(void *opaque)
{
    struct virtio_queue *queue = opaque;
    struct virtio_device *dev = queue->device;
    loop_remove(&queue->kick);
    if (dev->ops->queue_stop)
        dev->ops->queue_stop(dev, queue);
    atomic_store(&queue->active, false);
}

static void stop_on_loop(void *opaque)
{
    struct virtio_device *dev = opaque;
    dev->ops->stop(dev);
}

static void stop_rings(struct virtio_device *dev)
{
    for (unsigned i = 0; i < dev->queue_count; i++) {
        virtqueue_stop(&dev->queues[i].ring);
        dev->queues[i].kick_external = false;
    }
}

static int start_rings(struct virtio_device *dev, const bool *queue_ready)
{
    struct kv_error err = {0};
    char reason[sizeof(err.message) + 32];
    for (unsigned i = 0; i < dev->queue_count; i++) {
        struct virtqueue *ring = &dev->queues[i].ring;
        if (!queue_ready[i])
            continue;
        ring->packed = virtio_has(dev, VIRTIO_F_RING_PACKED);
        ring->event_idx = virtio_has(dev, VIRTIO_RING_F_EVENT_IDX);
        ring->indirect = virtio_has(dev, VIRTIO_RING_F_INDIRECT_DESC);
        ring->in_order = virtio_has(dev, VIRTIO_F_IN_ORDER);
        int rc = virtqueue_start(ring, dev->mem, &err);
        if (rc < 0) {
            snprintf(reason, sizeof(reason), "queue %u: %s", i, err.message);
            virtio_fail(dev, reason);
            return rc;
        }
    }
    return 0;
}

int virtio_device_start(struct virtio_device *dev, const bool *queue_ready)
{
    if (dev->running)
        return 0;
    int rc = start_rings(dev, queue_ready);
    if (rc == 0 && dev->ops->start) {
        struct start start = {.dev = dev};
        loop_call(dev->queues[0].loop, start_on_loop, &start);
        rc = start.rc;
        if (rc < 0)
            virtio_fail(dev, "it could not start");
    }
    if (rc < 0) {
        stop_rings(dev);
        return rc;
    }
    dev->running = true;
    for (unsigned i = 0; i < dev->queue_count; i++) {
        struct virtio_queue *queue = &dev->queues[i];
        if (queue->ring.started)
            loop_call(queue->loop, start_queue_on_loop, queue);
    }
    return 0;
}

void virtio_device_stop(struct virtio_device *dev)
{
    if (!dev->running)
        return;
    for (unsigned i = 0; i < dev->queue_count; i++) {
        struct virtio_queue *queue = &dev->queues[i];
        if (atomic_load(&queue->active))
            loop_call(queue->loop, stop_queue_on_loop, queue);
    }
    if (dev->ops->stop)
        loop_call(dev->queues[0].loop, stop_on_loop, dev);
    /* What finished during the stop may be waited for. */
    for (unsigned i = 0; i < dev->queue_count; i++)
        virtio_queue_notify(&dev->queues[i]);
    stop_rings(dev);
    dev->running = false;
}

void virtio_device_reset(struct virtio_device *dev)
{
    virtio_device_stop(dev);
    dev->driver_features = 0;
    atomic_store(&dev->needs_reset, false);
    atomic_store(&dev->status, 0);
    for (unsigned i = 0; i < dev->queue_count; i++) {
        struct virtio_queue *queue = &dev->queues[i];
        queue->ring.size = queue->size_max;
        virtqueue_reset(&queue->ring);
    }
    if (dev->ops->reset)
        dev->ops->reset(dev);
}

void virtio_queue_again(struct virtio_queue *queue)
{
    uint64_t one = 1;
    /* EAGAIN: the count is full, so that the edge was seen already. */
    ssize_t written = write(queue->kick_fd, &one, sizeof(one));
    (void)written;
}

void virtio_device_kick_all(struct virtio_device *dev)
{
    for (unsigned i = 0; i < dev->queue_count; i++) {
        if (atomic_load(&dev->queues[i].active))
            virtio_queue_again(&dev->queues[i]);
    }
}
