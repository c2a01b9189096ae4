/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rings of a vhost-user port come and go; see vhost.h. What touches them runs on the forwarding
 * thread. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/ports/vhost.h"

#define LEGACY_HEADER_LEN 10

struct ring_task {
    struct vhost_port *vp;
    unsigned index;
    int rc;
    struct kv_error err;
};

static bool has(const struct vhost_port *vp, unsigned feature)
{
    return vp->features >> feature & 1;
}

/* Which rings are started. Somebody is there when one ring of each direction runs. */
static void set_up(struct vhost_port *vp)
{
    vp->to_guest.count = vp->from_guest.count = 0;
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++) {
        struct vhost_ring_list *list = i & 1 ? &vp->from_guest : &vp->to_guest;
        if (vp->rings[i].vq.started)
            list->rings[list->count++] = (uint8_t)i;
    }
    vp->port.up = vp->to_guest.count && vp->from_guest.count;
    vp->port.forward->changes++;
}

/* What the guest may leave undone, and what it takes so (5.1.3.1: the others need the checksum). */
static void set_offloads(struct vhost_port *vp)
{
    static const struct offload {
        uint8_t host, guest; /* features */
        uint8_t undone;
    } offloads[] = {
        {VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, FRAME_CSUM},
        {VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4, FRAME_TSO4},
        {VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6, FRAME_TSO6},
        {VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN, FRAME_TSO_ECN},
    };
    vp->port.leaves = vp->port.takes = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(offloads); i++) {
        if (has(vp, offloads[i].host) && has(vp, VIRTIO_NET_F_CSUM))
            vp->port.leaves |= offloads[i].undone;
        if (has(vp, offloads[i].guest) && has(vp, VIRTIO_NET_F_GUEST_CSUM))
            vp->port.takes |= offloads[i].undone;
    }
}

static void start_here(void *opaque)
{
    struct ring_task *task = opaque;
    struct vhost_port *vp = task->vp;
    struct vhost_ring *ring = &vp->rings[task->index];
    bool mergeable = has(vp, VIRTIO_NET_F_MRG_RXBUF);
    vp->mergeable = mergeable;
    set_offloads(vp);
    vp->header_len = mergeable || has(vp, VIRTIO_F_VERSION_1)
                         ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
                         : LEGACY_HEADER_LEN;
    task->rc = virtqueue_start(&ring->vq, &vp->memory->mem, &task->err);
    if (task->rc < 0)
        return;
    if (ring->kick_fd >= 0 && task->index & 1)
        task->rc = forward_watch(vp->port.forward, &vp->port, ring->kick_fd);
    if (task->rc < 0) {
        kv_error_errno(&task->err, KV_ERR_NET, -task->rc, "its kick descriptor");
        virtqueue_stop(&ring->vq);
        return;
    }
    /* Buffers that the guest gives us are never waited for. */
    virtqueue_disable_kick(&ring->vq);
    set_up(vp);
    forward_wake_port(&vp->port);
}

static void stop(struct vhost_port *vp, unsigned index)
{
    struct vhost_ring *ring = &vp->rings[index];
    if (ring->kick_fd >= 0 && index & 1)
        forward_unwatch(vp->port.forward, ring->kick_fd);
    vhost_ready_return(ring);
    virtqueue_stop(&ring->vq);
    set_up(vp);
}

static void stop_here(void *opaque)
{
    struct ring_task *task = opaque;
    stop(task->vp, task->index);
}

void vhost_ring_stop(struct vhost_port *vp, unsigned index)
{
    struct ring_task task = {.vp = vp, .index = index};
    if (!vp->rings[index].running)
        return;
    forward_run(vp->port.forward, stop_here, &task);
    vp->rings[index].running = false;
    free(vp->rings[index].ready.buffers);
    vp->rings[index].ready.buffers = NULL;
}

void vhost_rings_stop(struct vhost_port *vp)
{
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
        vhost_ring_stop(vp, i);
}

/* Rings are enabled one by one where the front end knows how, else from the beginning. */
static bool is_wanted(const struct vhost_port *vp, const struct vhost_ring *ring)
{
    return vp->memory && ring->has_addresses && ring->has_kick && ring->vq.size &&
           (ring->enabled || !has(vp, VHOST_USER_F_PROTOCOL_FEATURES));
}

static int start_ring(struct vhost_port *vp, unsigned index, struct kv_error *err)
{
    struct vhost_ring *ring = &vp->rings[index];
    struct virtqueue *vq = &ring->vq;
    if (!vhost_memory_translate(vp->memory, ring->desc, &vq->desc_gpa) ||
        !vhost_memory_translate(vp->memory, ring->avail, &vq->driver_gpa) ||
        !vhost_memory_translate(vp->memory, ring->used, &vq->device_gpa))
        return kv_error_set(err, KV_ERR_NET, EFAULT, "it is not in the guest's memory");
    vq->event_idx = has(vp, VIRTIO_RING_F_EVENT_IDX);
    vq->indirect = has(vp, VIRTIO_RING_F_INDIRECT_DESC);
    vq->in_order = has(vp, VIRTIO_F_IN_ORDER);
    vq->record = vhost_inflight_record(vp, index);
    struct ring_task task = {.vp = vp, .index = index};
    if (index % 2 == 0) {
        ring->ready =
            (struct vhost_ready){.buffers = calloc(FRAME_BURST, sizeof(*ring->ready.buffers))};
        if (!ring->ready.buffers)
            return kv_error_errno(err, KV_ERR_NET, ENOMEM, "its buffers");
    }
    forward_run(vp->port.forward, start_here, &task);
    *err = task.err;
    ring->running = task.rc == 0;
    if (!ring->running) {
        free(ring->ready.buffers);
        ring->ready.buffers = NULL;
    }
    return task.rc;
}

void vhost_rings_update(struct vhost_port *vp)
{
    struct kv_error err = {0};
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++) {
        struct vhost_ring *ring = &vp->rings[i];
        bool wanted = is_wanted(vp, ring);
        if (!wanted) {
            vhost_ring_stop(vp, i);
        } else if (!ring->running && start_ring(vp, i, &err) < 0) {
            ring->has_addresses = false;
            log_guest("port '%s': ring %u: %s", vp->port.name, i, err.message);
        }
    }
}

void vhost_ring_broken(struct vhost_port *vp, unsigned index)
{
    struct vhost_ring *ring = &vp->rings[index];
    log_guest("port '%s': ring %u is stopped: %s", vp->port.name, index, ring->vq.broken_reason);
    if (ring->err_fd >= 0)
        notifier_add(&vp->port.forward->notifier, ring->err_fd);
    forward_notify_later(&vp->port);
    stop(vp, index);
}
