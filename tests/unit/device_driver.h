/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver for one virtio device on fake memory: rings, a pool of buffers, and
 * the loops that serve the device. For tests of devices without a transport.
 */
#ifndef KV_TESTS_DEVICE_DRIVER_H
#define KV_TESTS_DEVICE_DRIVER_H

#include "base/iothread.h"
#include "vmm/virtio/virtio.h"
#include "vring_driver.h"

#define DRIVER_QUEUES 8
#define DRIVER_MEMORY (8 << 20)
#define DRIVER_LOOPS 2
#define DRIVER_PATIENCE_NS INT64_C(5000000000)

struct device_driver {
    struct iothread threads[DRIVER_LOOPS];
    struct guest_mem mem;
    uint8_t *memory;
    int memory_fd;
    struct virtio_device *dev;
    bool ready[DRIVER_QUEUES];
    struct vring_driver rings[DRIVER_QUEUES];
    uint64_t free_gpa; /* memory from here on is nobody's */
    atomic_uint interrupts[DRIVER_QUEUES], config_interrupts;
};

/* Memory and running loops; the test then makes its device and sets d->dev. */
void driver_set_up(struct device_driver *d);
/* Frees the device too. */
void driver_tear_down(struct device_driver *d);

/* Negotiates features (transport bits as asked) and starts the first count queues. */
void driver_start(struct device_driver *d, uint64_t features, bool packed, unsigned count,
                  uint16_t size);
/* Stops the device, as a reset by the driver does, and forgets the rings. */
void driver_reset(struct device_driver *d);

/* A piece of guest memory. */
uint64_t driver_alloc(struct device_driver *d, size_t len);
void *driver_at(struct device_driver *d, uint64_t gpa);

/* Adds a request, kicks if the device wants it. */
void driver_add(struct device_driver *d, unsigned queue, const struct vring_buffer *buffers,
                unsigned count, uint64_t token);
void driver_kick(struct device_driver *d, unsigned queue);

/* Waits for the next finished request; false: none came in time. */
bool driver_wait(struct device_driver *d, unsigned queue, uint64_t *token, uint32_t *written);
/* False when one came although none should. */
bool driver_nothing_comes(struct device_driver *d, unsigned queue);
bool driver_wait_for(bool (*condition)(void *opaque), void *opaque);

#endif
