/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames from a guest's rings into the bridge; see vhost.h. They stay where they are: who gets them
 * copies them out of the sender's memory. On the forwarding thread.
 */
#include "base/loop.h"
#include "base/prefetch.h"
#include "base/util.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/forward/offload.h"
#include "switch/ports/vhost.h"

/* Scratch of a burst: a forwarding thread is done with one before it takes the next. */
static _Thread_local struct {
    struct frame frames[FRAME_BURST];
    struct virtqueue_buffer buffers[FRAME_BURST];
    struct virtqueue_chain chains[FRAME_BURST];
    uint32_t written[FRAME_BURST]; /* stays 0 */
    struct vhost_segments segments[FRAME_BURST];
} in;

static bool is_length_of_frame(const struct vhost_port *vp, uint64_t len)
{
    return len >= vp->header_len + FRAME_BYTES_MIN && len <= vp->header_len + FRAME_BYTES_MAX;
}

/* Only of guests that leave something undone. False: it is not of that frame. */
static bool read_header(const struct vhost_port *vp, const uint8_t *data, struct frame *frame)
{
    struct virtio_net_hdr header;
    memcpy(&header, data, sizeof(header));
    /* That a checksum is right is the device's to say (5.1.6.2.1). */
    header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    return offload_read(frame, &header, vp->port.leaves);
}

/* --- Chains of one buffer --------------------------------------------------- */

/* Reads the headers in front of the frames; returns how many frames are left. */
static unsigned read_headers(struct vhost_port *vp, unsigned count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        struct frame *frame = &in.frames[kept];
        *frame = in.frames[i];
        frame->rest = &frame->one;
        if (read_header(vp, (uint8_t *)frame->one.iov_base - FRAME_HEAD - vp->header_len, frame))
            kept++;
        else
            port_drop(&vp->port, DROP_MALFORMED);
    }
    return kept;
}

static unsigned poll_buffers(struct vhost_port *vp, struct virtqueue *vq)
{
    unsigned count = virtqueue_pop_buffers(vq, in.buffers, FRAME_BURST, false), frames = 0;
    unsigned header = vp->header_len;
    /* The virtio header says nothing without offloads, and often has a line of its own. */
    unsigned first = vp->port.leaves ? 0 : header;
    for (unsigned i = 0; i < count; i++) {
        prefetch_read(in.buffers[i].data + first);
        prefetch_read(in.buffers[i].data + header + CACHE_LINE - 1);
    }
    for (unsigned i = 0; i < count; i++) {
        const struct virtqueue_buffer *buffer = &in.buffers[i];
        struct frame *frame = &in.frames[frames];
        uint8_t *data = buffer->data + header;
        if (__builtin_expect(!is_length_of_frame(vp, buffer->len), 0)) {
            port_drop(&vp->port, DROP_MALFORMED);
            continue;
        }
        frame_set_bytes(frame, data, buffer->len - header);
        frames++;
    }
    if (vp->port.leaves)
        frames = read_headers(vp, frames);
    if (frames)
        bridge_receive(&vp->port, in.frames, frames);
    virtqueue_push_buffers(vq, in.buffers, count, false);
    return count;
}

/* --- Chains of any shape ----------------------------------------------------- */

/* Takes bytes off the chain's front. There are enough of them. */
static struct iovec *take_front(struct iovec *iov, unsigned *count, uint8_t *data, size_t len)
{
    while (len) {
        size_t part = MIN(len, iov->iov_len);
        memcpy(data, iov->iov_base, part);
        data += part;
        iov->iov_base = (uint8_t *)iov->iov_base + part;
        iov->iov_len -= part;
        len -= part;
        if (iov->iov_len == 0) {
            iov++;
            --*count;
        }
    }
    return iov;
}

/* The frame in a chain, behind its virtio header; false: there is none. */
static bool read_frame(const struct vhost_port *vp, const struct virtqueue_chain *chain,
                       struct frame *frame)
{
    uint8_t header[sizeof(struct virtio_net_hdr_mrg_rxbuf)];
    if (chain->in_count || !is_length_of_frame(vp, chain->out_bytes))
        return false;
    frame->offload = (struct frame_offload){0};
    frame->rest_count = chain->out_count;
    frame->rest_bytes = (uint32_t)chain->out_bytes - vp->header_len - FRAME_HEAD;
    struct iovec *iov = take_front(chain->iov, &frame->rest_count, header, vp->header_len);
    frame->rest = take_front(iov, &frame->rest_count, frame->head, FRAME_HEAD);
    return !vp->port.leaves || read_header(vp, header, frame);
}

static unsigned poll_chains(struct vhost_port *vp, struct virtqueue *vq)
{
    unsigned count = vhost_pop_chains(vq, in.chains, in.segments, FRAME_BURST), frames = 0;
    for (unsigned i = 0; i < count; i++) {
        if (read_frame(vp, &in.chains[i], &in.frames[frames]))
            frames++;
        else
            port_drop(&vp->port, DROP_MALFORMED);
    }
    if (frames)
        bridge_receive(&vp->port, in.frames, frames);
    virtqueue_push_many(vq, in.chains, in.written, count);
    return count;
}

unsigned vhost_pop_chains(struct virtqueue *vq, struct virtqueue_chain *chains,
                          struct vhost_segments *segments, unsigned max)
{
    unsigned n = 0;
    while (n < max) {
        chains[n].iov = segments[n].iov;
        chains[n].iov_max = ARRAY_SIZE(segments[n].iov);
        if (virtqueue_pop(vq, &chains[n]) <= 0)
            break;
        n++;
    }
    return n;
}

/* --- What the forwarding thread asks ----------------------------------------- */

static bool poll_ring(struct vhost_port *vp, unsigned index)
{
    struct virtqueue *vq = &vp->rings[index].vq;
    unsigned count = poll_buffers(vp, vq);
    /* What is next is something else, or nothing. */
    if (count == 0)
        count = poll_chains(vp, vq);
    if (count)
        forward_notify_later(&vp->port);
    if (__builtin_expect(vq->broken, 0))
        vhost_ring_broken(vp, index);
    return count > 0;
}

/* The control thread ends the connection of a guest whose memory is gone. */
static void end_if_lost(struct vhost_port *vp)
{
    if (vp->ended || !atomic_load_explicit(&vp->memory->lost, memory_order_relaxed))
        return;
    vp->ended = true;
    vp->port.up = false;
    vp->port.forward->changes++;
    loop_post(vp->loop, &vp->trouble);
}

static bool vhost_poll(struct port *port)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    bool worked = false;
    if (!port->up)
        return false;
    /* A ring that is broken leaves the list. */
    for (unsigned i = vp->from_guest.count; i-- > 0;)
        worked |= poll_ring(vp, vp->from_guest.rings[i]);
    end_if_lost(vp);
    return worked && !vp->ended;
}

static enum port_sleep vhost_sleep(struct port *port)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    enum port_sleep sleep = PORT_ASLEEP;
    for (unsigned i = 0; i < vp->from_guest.count && port->up; i++) {
        struct vhost_ring *ring = &vp->rings[vp->from_guest.rings[i]];
        if (virtqueue_enable_kick(&ring->vq)) {
            port->ops->wake(port);
            return PORT_HAS_WORK;
        }
        /* Without a descriptor the guest tells us nothing. */
        if (ring->kick_fd < 0)
            sleep = PORT_NEEDS_LOOK;
    }
    return sleep;
}

static void vhost_wake(struct port *port)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    for (unsigned i = 0; i < vp->from_guest.count; i++)
        virtqueue_disable_kick(&vp->rings[vp->from_guest.rings[i]].vq);
}

static void notify_rings(struct vhost_port *vp, const struct vhost_ring_list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        struct vhost_ring *ring = &vp->rings[list->rings[i]];
        if (virtqueue_wants_interrupt(&ring->vq) && ring->call_fd >= 0)
            notifier_add(&vp->port.forward->notifier, ring->call_fd);
    }
}

static void vhost_notify(struct port *port)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    notify_rings(vp, &vp->from_guest);
    notify_rings(vp, &vp->to_guest);
}

const struct port_ops vhost_port_ops = {
    .poll = vhost_poll,
    .send = vhost_send,
    .sleep = vhost_sleep,
    .wake = vhost_wake,
    .notify = vhost_notify,
};
