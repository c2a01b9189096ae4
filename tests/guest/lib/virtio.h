/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio-pci driver (virtio 1.2, 4.1) for split rings, polled. Every field it
 * writes is open to the caller, so that a payload can break any rule.
 */
#ifndef PAYLOAD_VIRTIO_H
#define PAYLOAD_VIRTIO_H

#include "payload.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_NET 1
#define VIRTIO_BLK 2
#define VIRTIO_CONSOLE 3
#define VIRTIO_RNG 4
#define VIRTIO_BALLOON 5
#define VIRTIO_GPU 16
#define VIRTIO_INPUT 18
#define VIRTIO_VSOCK 19

/* Common configuration (4.1.4.3). */
enum {
    CFG_DEVICE_FEATURE_SELECT = 0,
    CFG_DEVICE_FEATURE = 4,
    CFG_DRIVER_FEATURE_SELECT = 8,
    CFG_DRIVER_FEATURE = 12,
    CFG_MSIX_VECTOR = 16,
    CFG_NUM_QUEUES = 18,
    CFG_STATUS = 20,
    CFG_GENERATION = 21,
    CFG_QUEUE_SELECT = 22,
    CFG_QUEUE_SIZE = 24,
    CFG_QUEUE_MSIX = 26,
    CFG_QUEUE_ENABLE = 28,
    CFG_QUEUE_NOTIFY_OFF = 30,
    CFG_QUEUE_DESC = 32,
    CFG_QUEUE_DRIVER = 40,
    CFG_QUEUE_DEVICE = 48,
};

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER 2
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64

#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4

#define RING_SIZE 16
#define VDEV_QUEUES 4

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

struct ring {
    struct desc desc[RING_SIZE] __attribute__((aligned(4096)));
    struct {
        uint16_t flags, idx, ring[RING_SIZE], used_event;
    } avail __attribute__((aligned(64)));
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } ring[RING_SIZE];
        uint16_t avail_event;
    } used __attribute__((aligned(64)));
};

struct vdev {
    unsigned devfn;
    uint16_t type;
    uint64_t bar0; /* address of the BAR that holds the structures */
    uint64_t common, notify, isr, config;
    uint32_t notify_multiplier;
    struct ring *ring; /* VDEV_QUEUES of them */
};

/* Finds the nth device of a type and its structures; false when there is none. */
bool vdev_find(struct vdev *dev, uint16_t type, unsigned n);

void vdev_reset(struct vdev *dev);

/* ACKNOWLEDGE, DRIVER, the features, FEATURES_OK. False when the device does not accept them. */
bool vdev_negotiate(struct vdev *dev, uint64_t features);

/* Places queue q at its ring (which is cleared) and enables it. */
void vdev_enable_queue(struct vdev *dev, unsigned q);
void vdev_driver_ok(struct vdev *dev);

/* All of it with VERSION_1 only: the device runs, with as many of its queues as we have rings. */
bool vdev_start(struct vdev *dev);

uint8_t vdev_status(struct vdev *dev);
void vdev_kick(struct vdev *dev, unsigned q);

/* Makes head available and kicks. */
void vdev_offer(struct vdev *dev, unsigned q, uint16_t head);

/* Waits until the queue's used index is want; false after about limit microseconds. */
bool vdev_wait_used(struct vdev *dev, unsigned q, uint16_t want, unsigned limit_us);
bool vdev_wait_needs_reset(struct vdev *dev, unsigned limit_us);

#endif
