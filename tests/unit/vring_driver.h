/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's side of a virtqueue over fake guest memory, split and packed,
 * with indirect tables and event index (virtio 1.2, 2.7.13 and 2.8.21), for
 * tests, fuzzers and measurements of what is on the other side. It is a
 * well-behaved driver; tests of bad ones write the rings themselves, for which
 * the layout is here too.
 */
#ifndef KV_TESTS_VRING_DRIVER_H
#define KV_TESTS_VRING_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "vring/guest_mem.h"
#include "vring/virtqueue.h"

#define VRING_DESC_F_NEXT_ 1u
#define VRING_DESC_F_WRITE_ 2u
#define VRING_DESC_F_INDIRECT_ 4u
#define VRING_PACKED_AVAIL_ (1u << 7)
#define VRING_PACKED_USED_ (1u << 15)

struct driver_split_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

struct driver_packed_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t id, flags;
};

struct vring_buffer {
    uint64_t gpa;
    uint32_t len;
    bool in; /* the device writes it */
};

struct vring_driver {
    struct guest_mem *mem;
    uint16_t size;
    bool packed, event_idx;
    uint64_t desc_gpa, driver_gpa, device_gpa;

    /* A free slot (split) or id (packed) names the next one; a used one knows its request. */
    uint16_t *next_free;
    uint16_t *slots; /* descriptors the request with this head or id takes */
    uint64_t *tokens;
    uint16_t free_head, free_count;

    uint16_t avail_idx; /* split: index; packed: slot */
    uint16_t used_idx;  /* split: index; packed: slot */
    bool avail_wrap, used_wrap;
    unsigned added; /* slots since the last vring_driver_kick_needed() */
};

/* Lays the three areas out from gpa on, inside one region, zeroes them, and returns the first
 * address behind. size must suit the format. */
uint64_t vring_driver_init(struct vring_driver *d, struct guest_mem *mem, uint16_t size,
                           bool packed, bool event_idx, uint64_t gpa);
void vring_driver_destroy(struct vring_driver *d);

/* Size, format and addresses for the device's side. */
void vring_driver_describe(const struct vring_driver *d, struct virtqueue *vq);

/* Makes a request available. indirect_gpa: where to put an indirect table, 0: none. False when the
 * ring has no room. */
bool vring_driver_add(struct vring_driver *d, const struct vring_buffer *buffers, unsigned count,
                      uint64_t indirect_gpa, uint64_t token);

/* Whether the device has to be told of what was added since the last call. */
bool vring_driver_kick_needed(struct vring_driver *d);

/* Takes a finished request. False when there is none. */
bool vring_driver_get(struct vring_driver *d, uint64_t *token, uint32_t *written);

/* Interrupts off; on again: true when requests finished meanwhile. ahead: with event index, wait
 * for that many further ones (0: the next one). */
void vring_driver_disable_interrupts(struct vring_driver *d);
bool vring_driver_enable_interrupts(struct vring_driver *d, uint16_t ahead);

/* The device's memory as a driver sees it. */
struct driver_split_desc *vring_split_desc_at(const struct vring_driver *d, unsigned index);
uint16_t *vring_split_avail(const struct vring_driver *d); /* flags, idx, ring[], used_event */
uint16_t *vring_split_used(const struct vring_driver *d);  /* flags, idx, elements, avail_event */
struct driver_packed_desc *vring_packed_desc_at(const struct vring_driver *d, unsigned slot);

#endif
