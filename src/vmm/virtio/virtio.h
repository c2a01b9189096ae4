/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio device (virtio 1.2) without its transport. The device's file gives
 * features, configuration space and operations; the transport (virtio_pci.c)
 * negotiates, and carries kicks in and interrupts out. Nothing here knows KVM,
 * so that tests and fuzzers run devices on fake memory.
 *
 * Threads: a queue is touched only by the loop it is assigned to. Register
 * writes arrive on vCPU threads under the transport's lock; starting and
 * stopping is handed over to the loops and waited for.
 */
#ifndef KV_VMM_VIRTIO_VIRTIO_H
#define KV_VMM_VIRTIO_VIRTIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "vmm/device.h"
#include "vring/virtqueue.h"

struct pci_boot_unit;
struct pci_device;
struct virtio_device;

struct virtio_queue {
    struct virtqueue ring;
    struct virtio_device *device;
    unsigned index;
    uint16_t size_max;  /* what the device offers */
    struct loop *loop;  /* whose thread serves it; set by the device before it is plugged */
    int kick_fd;        /* eventfd that a guest's doorbell signals; never read, watched by edge */
    bool kick_external; /* set by ops->start: somebody else (vhost) watches kick_fd */
    struct loop_source kick;
    atomic_bool active; /* between start and stop */
    /* Counters for metrics; written by the loop's thread. */
    atomic_uint_fast64_t kicks, interrupts;
};

struct virtio_device_ops {
    uint16_t device_id; /* virtio 1.2 chapter 5 */
    bool removable;     /* may leave a running machine: nobody else knows it */
    /* Bytes of configuration space were written by the driver (copied into dev->config where the
     * device allows it by doing so). Register side. */
    void (*config_write)(struct virtio_device *dev, unsigned offset, const void *data,
                         unsigned len);
    /* May refresh dev->config before the driver reads. */
    void (*config_read)(struct virtio_device *dev);
    /* Is this set of acknowledged features, all of them offered, one that the device can work with?
     * May be NULL: any is. Register side. */
    bool (*features_ok)(struct virtio_device *dev, uint64_t features);
    /* DRIVER_OK: features are final, the rings of ready queues are started. On the loop of queue 0.
     * 0, or -errno: the device goes to NEEDS_RESET. */
    int (*start)(struct virtio_device *dev);
    /* After start, for each ready queue on its own loop, before its first kick. May be NULL. */
    void (*queue_start)(struct virtio_device *dev, struct virtio_queue *queue);
    /* The opposite, for each active queue on its own loop before stop: the place to finish what the
     * queue has in flight. A loop must never wait for another one. May be NULL. */
    void (*queue_stop)(struct virtio_device *dev, struct virtio_queue *queue);
    /* Reset, quiesce or removal: returns once nothing is in flight; chains that were popped are
     * pushed or unpopped. On the loop of queue 0; loops of other queues no longer deliver kicks.
     * Not called when start failed. May be NULL. */
    void (*stop)(struct virtio_device *dev);
    /* The driver kicked the queue (or the machine resumed). On the queue's loop. */
    void (*kick)(struct virtio_device *dev, struct virtio_queue *queue);
    /* Forget what the driver set up; features were un-negotiated. After stop. May be NULL. */
    void (*reset)(struct virtio_device *dev);
    /* Device-specific part of the state (configuration space is saved anyway), may be NULL.
     * Stopped; load comes after features, configuration space and queues. */
    json_t *(*save)(struct virtio_device *dev);
    int (*load)(struct virtio_device *dev, const json_t *state, struct kv_error *err);
    void (*metrics)(struct virtio_device *dev, json_t *out);
    /* virtio_device_destroy() and then the struct around dev. */
    void (*free)(struct virtio_device *dev);
};

/* What the transport does for the device. Any thread. */
struct virtio_transport_ops {
    void (*queue_interrupt)(void *opaque, struct virtio_queue *queue);
    void (*config_interrupt)(void *opaque);
    /* An eventfd that interrupts for the queue (vhost, vhost-user), or -1. */
    int (*queue_interrupt_fd)(void *opaque, struct virtio_queue *queue);
};

/* What else answers in the PCI function of a device (a VGA beside virtio-gpu): it has BARs 0 to 3,
 * virtio has BAR 4. */
struct virtio_companion {
    uint32_t class_code;
    void (*join)(struct virtio_device *dev, struct pci_device *pci); /* before it is plugged */
    void (*bar_changed)(struct virtio_device *dev, unsigned bar, bool mapped, uint64_t address);
    /* The machine's hooks. */
    void (*reset)(struct virtio_device *dev);
    json_t *(*save)(struct virtio_device *dev);
    int (*load)(struct virtio_device *dev, const json_t *state, struct kv_error *err);
};

struct virtio_device {
    const struct virtio_device_ops *ops;
    const struct virtio_companion *companion; /* NULL: none; set before it is plugged */
    const char *name;                         /* "virtio-blk" */
    struct machine *machine;                  /* NULL in tests */
    struct guest_mem *mem;
    unsigned boot_index;                    /* as in struct pci_device, which takes it over */
    const char *rom;                        /* path of its ROM or "fd:N", until it is plugged */
    const struct pci_boot_unit *boot_units; /* instead of it, for controllers; the same */
    unsigned boot_unit_count;
    uint64_t features;        /* offered, VIRTIO_F_* of the transport included */
    uint64_t driver_features; /* acknowledged */
    void *config;             /* device configuration space, little-endian; the device's memory */
    unsigned config_size;
    atomic_uint config_generation;
    unsigned queue_count;
    struct virtio_queue *queues;
    bool running; /* DRIVER_OK and not quiesced */
    atomic_bool needs_reset;

    const struct virtio_transport_ops *transport;
    void *transport_opaque;
    atomic_uint status; /* device status register (2.1) */
};

#define VIRTIO_QUEUES_MAX 1024

/* Allocates queues of the given sizes; all served by loop (may be changed per queue afterwards).
 * Offers VERSION_1, RING_PACKED, EVENT_IDX and INDIRECT_DESC besides features. On error nothing is
 * left to destroy. */
int virtio_device_init(struct virtio_device *dev, const struct virtio_device_ops *ops,
                       const char *name, uint64_t features, void *config, unsigned config_size,
                       unsigned queue_count, const uint16_t *queue_sizes, struct guest_mem *mem,
                       struct loop *loop, struct kv_error *err);
void virtio_device_destroy(struct virtio_device *dev);

static inline bool virtio_has(const struct virtio_device *dev, unsigned feature_bit)
{
    return dev->driver_features >> feature_bit & 1;
}

/* For the device, on the queue's loop: interrupts if the driver wants one. */
void virtio_queue_notify(struct virtio_queue *queue);

/* Asks for one more ops->kick. A driver that adds requests as fast as they are served must not keep
 * its loop to itself, so a device serves a bounded number and then calls this. */
void virtio_queue_again(struct virtio_queue *queue);

/* The configuration space changed: generation up, interrupt. Any thread. */
void virtio_config_changed(struct virtio_device *dev);

/* DEVICE_NEEDS_RESET (2.1.1): logs the reason once, interrupts. Nothing is served until a reset.
 * Any thread. virtio_queue_broken() does it when the ring says it is broken. */
void virtio_fail(struct virtio_device *dev, const char *reason);
bool virtio_queue_broken(struct virtio_queue *queue);

/*
 * The transport's side (virtio_pci.c, tests, fuzzers). Start: sets up the
 * rings that are marked ready, calls ops->start, adds the kick sources; when
 * it fails the device is in NEEDS_RESET and not running. Stop: the opposite,
 * waits for the loops, so never from a thread that a loop waits for. Kicks are
 * delivered by writing kick_fd. One register-side thread at a time.
 */
bool virtio_features_ok(struct virtio_device *dev);
int virtio_device_start(struct virtio_device *dev, const bool *queue_ready);
void virtio_device_stop(struct virtio_device *dev);
/* Stop, ops->reset, and all negotiated state cleared. */
void virtio_device_reset(struct virtio_device *dev);
/* Kicks every active queue: after resume, requests may be waiting. */
void virtio_device_kick_all(struct virtio_device *dev);

/* Stopped: what was negotiated, configuration space, ring positions and the device's own state. */
json_t *virtio_device_save(struct virtio_device *dev);
int virtio_device_load(struct virtio_device *dev, const json_t *state, struct kv_error *err);

/* Adds counters, a queue each and the device's own. Any time. */
void virtio_device_metrics(struct virtio_device *dev, json_t *out);

/* Puts the device behind a PCI function and plugs that; the function owns dev from then on, also
 * when it fails. id NULL: made from the name. slot 0: first free. */
int virtio_pci_create(struct machine *machine, struct virtio_device *dev, const char *id,
                      uint64_t slot, struct kv_error *err);
#define BOOT_INDEX_HELP "firmware tries to boot from it: 1 first, 2 then; default: in its own order"
#define BOOT_INDEX_MAX 65535
#define VIRTIO_PCI_SLOT_HELP "slot of PCI bus 0; default: the first free one"

#endif
