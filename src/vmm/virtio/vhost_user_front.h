/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The front end of vhost-user (vring/vhost_user.h) for a virtio device: one
 * connection to a back end, which gets the guest's memory, the rings, their
 * doorbells and their interrupts. The back end is not trusted with more than
 * that: what it answers is checked, and each conversation has an end in time.
 * After an error the connection is to be closed. Functions run on the loop of
 * the device's queue 0, which must be the loop of the rings handed over.
 */
#ifndef KV_VMM_VIRTIO_VHOST_USER_FRONT_H
#define KV_VMM_VIRTIO_VHOST_USER_FRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/virtio/vhost_call.h"
#include "vmm/virtio/virtio.h"
#include "vring/vhost_user.h"

/* Where back ends keep how far they are, for the next one when one dies. Outlives connections. */
struct vhost_user_kept {
    int fd; /* -1: nothing is kept */
    struct vhost_user_inflight said;
};
#define VHOST_USER_KEPT_INIT ((struct vhost_user_kept){.fd = -1})

void vhost_user_kept_drop(struct vhost_user_kept *kept);

struct vhost_user {
    int fd;                     /* -1: not connected */
    uint64_t features;          /* what the back end offers, of the device and the transport */
    uint64_t protocol_features; /* what was agreed */
    unsigned pairs_max;         /* receive and transmit queue pairs that it serves */
    bool switchable;            /* rings are enabled one by one */
};
#define VHOST_USER_INIT ((struct vhost_user){.fd = -1})

/* Takes the connected, non-blocking stream socket over, also on failure, and asks who is there. */
int vhost_user_open(struct vhost_user *vu, int fd, struct kv_error *err);
void vhost_user_close(struct vhost_user *vu);

/*
 * Hands the device's first count rings over, those that are started; calls has
 * a place for each. Bit i of enabled: ring i may move data. kept: what the last back end left, or
 * nothing, and then what this one is going to leave, if it does. On failure some may
 * have been handed over already: they are the back end's until the connection
 * is closed.
 */
int vhost_user_start(struct vhost_user *vu, struct virtio_device *dev, struct vhost_call *calls,
                     unsigned count, struct vhost_user_kept *kept,
                     bool (*enabled)(void *opaque, unsigned ring), void *opaque,
                     struct kv_error *err);

/* Lets a ring that is handed over move data, or not; nothing where the back end cannot do so. */
int vhost_user_enable(struct vhost_user *vu, unsigned ring, bool on, struct kv_error *err);

/* Takes the rings back, with the positions that they have reached. */
int vhost_user_stop(struct vhost_user *vu, struct virtio_device *dev, unsigned count,
                    struct kv_error *err);

/* The back end is gone: the rings go on where the guest sees them. False when that cannot be known
 * (packed rings). */
bool vhost_user_recover(struct virtio_device *dev, unsigned count);

/* Whether the back end goes on where another one that died has kept that it was. */
bool vhost_user_continues(const struct vhost_user *vu);

/* Tells the back end the MTU that the guest is told; nothing where it does not want to know. */
int vhost_user_set_mtu(struct vhost_user *vu, unsigned mtu, struct kv_error *err);

#endif
