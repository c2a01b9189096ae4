/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver for one virtio device; see device_driver.h. */
#include "device_driver.h"

#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "unit.h"

/* linux/virtio_ring.h and vring_driver.h do not go together. */
#define RING_F_INDIRECT_DESC 28
#define RING_F_EVENT_IDX 29

static void interrupt(void *opaque, struct virtio_queue *queue)
{
    struct device_driver *d = opaque;
    atomic_fetch_add(&d->interrupts[queue->index], 1);
}

static void config_interrupt(void *opaque)
{
    struct device_driver *d = opaque;
    atomic_fetch_add(&d->config_interrupts, 1);
}

static const struct virtio_transport_ops transport = {
    .queue_interrupt = interrupt,
    .config_interrupt = config_interrupt,
};

void driver_set_up(struct device_driver *d)
{
    *d = (struct device_driver){.free_gpa = 4096};
    d->memory_fd = memfd_create("guest", MFD_CLOEXEC);
    assert_int_equal(ftruncate(d->memory_fd, DRIVER_MEMORY), 0);
    d->memory = mmap(NULL, DRIVER_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, d->memory_fd, 0);
    assert_ptr_not_equal(d->memory, MAP_FAILED);
    struct guest_mem_region region = {.size = DRIVER_MEMORY, .hva = d->memory, .fd = d->memory_fd};
    assert_int_equal(guest_mem_add(&d->mem, &region), 0);
    for (unsigned i = 0; i < DRIVER_LOOPS; i++) {
        assert_int_equal(iothread_init(&d->threads[i], "test", NULL), 0);
        assert_int_equal(iothread_start(&d->threads[i], NULL), 0);
    }
}

void driver_tear_down(struct device_driver *d)
{
    if (d->dev)
        d->dev->ops->free(d->dev);
    for (unsigned i = 0; i < DRIVER_LOOPS; i++)
        iothread_stop(&d->threads[i]);
    for (unsigned i = 0; i < DRIVER_QUEUES; i++)
        vring_driver_destroy(&d->rings[i]);
    munmap(d->memory, DRIVER_MEMORY);
    close(d->memory_fd);
}

uint64_t driver_alloc(struct device_driver *d, size_t len)
{
    uint64_t gpa = d->free_gpa;
    d->free_gpa = ALIGN_UP(gpa + len, UINT64_C(64));
    assert_true(d->free_gpa <= DRIVER_MEMORY);
    return gpa;
}

void *driver_at(struct device_driver *d, uint64_t gpa)
{
    return d->memory + gpa;
}

void driver_start(struct device_driver *d, uint64_t features, bool packed, unsigned count,
                  uint16_t size)
{
    d->dev->transport = &transport;
    d->dev->transport_opaque = d;
    d->dev->driver_features =
        features | BIT(VIRTIO_F_VERSION_1) | BIT(RING_F_EVENT_IDX) | BIT(RING_F_INDIRECT_DESC);
    if (packed)
        d->dev->driver_features |= BIT(VIRTIO_F_RING_PACKED);
    assert_true(virtio_features_ok(d->dev));
    assert_true(count <= DRIVER_QUEUES);
    for (unsigned i = 0; i < d->dev->queue_count && i < DRIVER_QUEUES; i++) {
        d->ready[i] = i < count;
        if (!d->ready[i])
            continue;
        d->free_gpa = vring_driver_init(&d->rings[i], &d->mem, size, packed, true, d->free_gpa);
        vring_driver_describe(&d->rings[i], &d->dev->queues[i].ring);
    }
    d->free_gpa = ALIGN_UP(d->free_gpa, UINT64_C(4096));
    atomic_store(&d->dev->status, VIRTIO_CONFIG_S_DRIVER_OK);
    virtio_device_start(d->dev, d->ready);
}

void driver_reset(struct device_driver *d)
{
    virtio_device_reset(d->dev);
    for (unsigned i = 0; i < DRIVER_QUEUES; i++)
        vring_driver_destroy(&d->rings[i]);
}

void driver_kick(struct device_driver *d, unsigned queue)
{
    uint64_t one = 1;
    if (vring_driver_kick_needed(&d->rings[queue]))
        assert_int_equal(write(d->dev->queues[queue].kick_fd, &one, sizeof(one)), sizeof(one));
}

void driver_add(struct device_driver *d, unsigned queue, const struct vring_buffer *buffers,
                unsigned count, uint64_t token)
{
    assert_true(vring_driver_add(&d->rings[queue], buffers, count, 0, token));
    driver_kick(d, queue);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

bool driver_wait_for(bool (*condition)(void *opaque), void *opaque)
{
    int64_t end = clock_monotonic_ns() + DRIVER_PATIENCE_NS;
    while (!condition(opaque)) {
        if (clock_monotonic_ns() > end)
            return false;
        nap();
    }
    return true;
}

struct waiting {
    struct vring_driver *ring;
    uint64_t *token;
    uint32_t *written;
};

static bool finished(void *opaque)
{
    struct waiting *w = opaque;
    return vring_driver_get(w->ring, w->token, w->written);
}

bool driver_wait(struct device_driver *d, unsigned queue, uint64_t *token, uint32_t *written)
{
    struct waiting w = {.ring = &d->rings[queue], .token = token, .written = written};
    return driver_wait_for(finished, &w);
}

bool driver_nothing_comes(struct device_driver *d, unsigned queue)
{
    uint64_t token;
    uint32_t written;
    for (unsigned i = 0; i < 200; i++) {
        if (vring_driver_get(&d->rings[queue], &token, &written))
            return false;
        nap();
    }
    return true;
}
