/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The eventfd by which somebody else who serves a device's rings (the kernel,
 * a vhost-user back end) interrupts the guest: the transport's own where it has
 * one, which then needs no thread of ours, else one that is watched here.
 * Functions run on the queue's loop.
 */
#ifndef KV_VMM_VIRTIO_VHOST_CALL_H
#define KV_VMM_VIRTIO_VHOST_CALL_H

#include "vmm/virtio/virtio.h"

struct vhost_call {
    struct virtio_queue *queue;
    int fd; /* -1: the transport's is used, or none */
    struct loop_source source;
};
#define VHOST_CALL_INIT ((struct vhost_call){.fd = -1, .source = LOOP_SOURCE_INIT})

/* The eventfd to be signalled for the queue, or -errno. It stays ours. */
int vhost_call_fd(struct vhost_call *call, struct virtio_queue *queue);
void vhost_call_drop(struct vhost_call *call);

#endif
