/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory balloon (virtio 1.2, 5.5): the guest gives pages up on request
 * and reports those that it does not use. balloon.c is the device,
 * balloon_class.c its option and what the control socket asks.
 */
#ifndef KV_VMM_VIRTIO_BALLOON_H
#define KV_VMM_VIRTIO_BALLOON_H

#include "vmm/virtio/virtio.h"

struct virtio_balloon;

struct balloon_config {
    char *id;
    uint64_t slot;            /* of PCI bus 0; 0: the first free one */
    bool deflate_on_oom;      /* the guest may take pages back when it runs out of memory */
    bool free_page_reporting; /* pages that the guest does not use go back to the host */
    uint64_t stats_interval;  /* seconds between two statistics; 0: none */
};

/* Where pages go: discards [gpa, gpa + len), which is memory. On the device's loop. */
struct balloon_backend {
    void (*discard)(void *opaque, uint64_t gpa, uint64_t len);
    void *opaque;
    uint64_t memory_size; /* bytes the guest has without a balloon */
};

int balloon_create(struct virtio_device **out, const struct balloon_config *config,
                   const struct balloon_backend *backend, struct guest_mem *mem, struct loop *loop,
                   struct kv_error *err);

/*
 * For the control socket, control thread. All return -ENODEV with a message
 * when the machine has no balloon.
 */

/* Asks the guest to come down (or up) to that much memory in bytes; rounded to pages, at most what
 * it has. The event BALLOON_CHANGE tells how it goes. */
int balloon_set_target(struct machine *machine, uint64_t bytes, struct kv_error *err);

/* How much memory the guest has now, in bytes. */
int balloon_query(struct machine *machine, uint64_t *actual, struct kv_error *err);

/* {"stats": {"stat-free-memory": bytes, ...}, "last-update": seconds since 1970, 0: never}; what
 * the guest did not say is -1. The caller owns it. */
int balloon_query_stats(struct machine *machine, json_t **out, struct kv_error *err);

/* Seconds between two statistics; 0 stops them. */
int balloon_set_stats_interval(struct machine *machine, uint64_t seconds, struct kv_error *err);

/* The same for one device. */
void balloon_device_set_target(struct virtio_balloon *balloon, uint64_t bytes);
uint64_t balloon_device_actual(struct virtio_balloon *balloon);
json_t *balloon_device_stats(struct virtio_balloon *balloon);
void balloon_device_set_stats_interval(struct virtio_balloon *balloon, uint64_t seconds);
struct virtio_balloon *balloon_of(struct virtio_device *dev);

#endif
