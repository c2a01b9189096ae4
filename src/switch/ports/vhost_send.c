/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames from the bridge into a guest's buffers; see vhost.h. Each is copied once, from the
 * sender's memory into the receiver's. On the forwarding thread.
 */
#include <linux/virtio_net.h>

#include "base/copy.h"
#include "base/prefetch.h"
#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/forward/offload.h"
#include "switch/ports/vhost.h"

#define HEADER_LEN sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define RX_CHAINS 64 /* that a received frame may be spread over (5.1.6.4) */

/* Scratch of a burst: a forwarding thread is done with one before it takes the next. */
static _Thread_local struct {
    struct virtqueue_chain chains[RX_CHAINS];
    uint32_t written[RX_CHAINS];
    struct vhost_segments segments[RX_CHAINS];
} out;

/* --- A buffer for each frame ------------------------------------------------- */

/* What follows the head; small frames without a call into the library. */
static inline void copy_rest(uint8_t *to, const struct frame *frame)
{
    size_t len = frame->rest_bytes;
    const uint8_t *from = frame->rest->iov_base;
    if (__builtin_expect(frame->rest_count == 1 && len >= 32 && len <= 64, 1)) {
        /* The second half overlaps the first where there are fewer than 64. */
        memcpy(to, from, 32);
        memcpy(to + len - 32, from + len - 32, 32);
        return;
    }
    for (unsigned i = 0; i < frame->rest_count; i++) {
        copy_bytes(to, frame->rest[i].iov_base, frame->rest[i].iov_len);
        to += frame->rest[i].iov_len;
    }
}

/* False: the frame is longer. */
static inline bool fill(const struct vhost_port *vp, struct virtqueue_buffer *buffer,
                        const struct frame *frame)
{
    static const struct virtio_net_hdr_mrg_rxbuf header = {.num_buffers = 1};
    uint8_t *data = buffer->data;
    unsigned head_len = FRAME_HEAD, header_len = vp->header_len;
    bool tagged = port_sends_tagged(&vp->port, frame);
    if (__builtin_expect(header_len + FRAME_HEAD_MAX + frame->rest_bytes > buffer->len, 0))
        return false;
    if (__builtin_expect(header_len == HEADER_LEN, 1))
        memcpy(data, &header, HEADER_LEN);
    else
        memcpy(data, &header, header_len);
    data += header_len;
    if (__builtin_expect(frame->tagged == tagged, 1))
        memcpy(data, frame->head, FRAME_HEAD);
    else
        head_len = frame_write_head(frame, tagged, data);
    copy_rest(data + head_len, frame);
    buffer->len = header_len + head_len + frame->rest_bytes;
    return true;
}

/* Takes buffers until a burst's are there, and has their first lines fetched. */
static void get_ready(const struct vhost_port *vp, struct vhost_ring *ring)
{
    struct vhost_ready *ready = &ring->ready;
    if (ready->first) {
        memmove(ready->buffers, ready->buffers + ready->first,
                ready->count * sizeof(*ready->buffers));
        ready->first = 0;
    }
    struct virtqueue_buffer *more = ready->buffers + ready->count;
    unsigned count = virtqueue_pop_buffers(&ring->vq, more, FRAME_BURST - ready->count, true);
    for (unsigned i = 0; i < count; i++) {
        prefetch_write(more[i].data);
        prefetch_write(more[i].data + vp->header_len + CACHE_LINE - 1);
    }
    ready->count += count;
}

void vhost_ready_return(struct vhost_ring *ring)
{
    virtqueue_unpop_buffers(&ring->vq, ring->ready.count);
    ring->ready.first = ring->ready.count = 0;
}

/* The headers of frames that fill() put into buffers, with nothing but zeroes until now. */
static void write_headers(const struct vhost_port *vp, const struct virtqueue_buffer *buffers,
                          const struct frame *frames, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct frame *frame = &frames[vp->port.pending[i]];
        unsigned head_len = buffers[i].len - vp->header_len - frame->rest_bytes;
        offload_write(&vp->port, frame, head_len, buffers[i].data);
    }
}

/* Sends as many of the pending frames, from the first on, as the next buffers of the ring hold each
 * in one; returns how many. */
static unsigned send_in_buffers(struct vhost_port *vp, struct vhost_ring *ring,
                                const struct frame *frames)
{
    struct port *port = &vp->port;
    struct vhost_ready *ready = &ring->ready;
    uint64_t bytes = 0;
    unsigned done = 0;
    if (ready->count < port->pending_count)
        get_ready(vp, ring);
    struct virtqueue_buffer *buffers = ready->buffers + ready->first;
    while (done < MIN(port->pending_count, ready->count) &&
           fill(vp, &buffers[done], &frames[port->pending[done]])) {
        bytes += buffers[done].len - vp->header_len;
        done++;
    }
    if (port->takes)
        write_headers(vp, buffers, frames, done);
    ready->first += done;
    ready->count -= done;
    virtqueue_push_buffers(&ring->vq, buffers, done, true);
    port->counters.out_frames += done;
    port->counters.out_bytes += bytes;
    return done;
}

/* --- Chains of any shape, frames spread over buffers ---------------------------- */

/* Writes flat bytes at a place in the chains' buffers. */
struct writer {
    const struct virtqueue_chain *chain;
    unsigned segment;
    size_t offset; /* in the segment */
};

static void write_bytes(struct writer *w, const void *data, size_t len)
{
    const uint8_t *from = data;
    while (len) {
        if (w->segment == w->chain->in_count) {
            w->chain++;
            w->segment = 0;
        }
        const struct iovec *iov = &w->chain->iov[w->segment];
        size_t part = MIN(len, iov->iov_len - w->offset);
        copy_bytes((uint8_t *)iov->iov_base + w->offset, from, part);
        from += part;
        len -= part;
        w->offset += part;
        if (w->offset == iov->iov_len) {
            w->segment++;
            w->offset = 0;
        }
    }
}

/* How many chains from the first on the bytes fill; written[] says how much of each. 0: more than
 * there are. */
static unsigned spread(unsigned first, unsigned last, size_t len)
{
    for (unsigned i = first; i < last; i++) {
        size_t part = MIN(len, out.chains[i].in_bytes);
        out.written[i] = (uint32_t)part;
        len -= part;
        if (len == 0)
            return i + 1 - first;
    }
    return 0;
}

struct reception {
    struct vhost_port *vp;
    struct virtqueue *vq;
    unsigned used, popped; /* of out.chains: filled, there */
};

static void give_back(struct reception *r)
{
    virtqueue_push_many(r->vq, out.chains, out.written, r->used);
    /* What is left moves to the front, with its segments. */
    for (unsigned i = r->used; r->used && i < r->popped; i++) {
        struct virtqueue_chain *to = &out.chains[i - r->used];
        *to = out.chains[i];
        to->iov = out.segments[i - r->used].iov;
        memcpy(to->iov, out.segments[i].iov, to->in_count * sizeof(struct iovec));
    }
    r->popped -= r->used;
    r->used = 0;
}

/* More buffers behind those that are there; false: none came. */
static bool pop_more(struct reception *r, unsigned wanted)
{
    if (r->popped + wanted > RX_CHAINS)
        give_back(r);
    unsigned before = r->popped;
    unsigned count = vhost_pop_chains(r->vq, out.chains + before, out.segments + before,
                                      MIN(wanted, RX_CHAINS - before));
    for (unsigned i = 0; i < count; i++) {
        if (out.chains[before + i].out_count) {
            virtqueue_break(r->vq, "a buffer for received frames cannot be written");
            return false;
        }
    }
    r->popped += count;
    return count > 0;
}

/* The chains that the frame of len bytes with its header takes, from r->used on; 0: it was
 * dropped. */
static unsigned find_chains(struct reception *r, size_t len)
{
    struct port *port = &r->vp->port;
    unsigned chains;
    while ((chains = spread(r->used, r->popped, len)) == 0) {
        bool full = r->popped - r->used == RX_CHAINS;
        if (full || (!r->vp->mergeable && r->popped > r->used)) {
            port_drop(port, DROP_TOO_LONG);
            return 0;
        }
        if (!pop_more(r, r->vp->mergeable ? FRAME_BURST : 1)) {
            port_drop(port, DROP_NO_BUFFER);
            return 0;
        }
    }
    if (chains > 1 && !r->vp->mergeable) {
        port_drop(port, DROP_TOO_LONG);
        return 0;
    }
    return chains;
}

static void deliver(struct reception *r, const struct frame *frame)
{
    struct vhost_port *vp = r->vp;
    struct port *port = &vp->port;
    uint8_t head[FRAME_HEAD_MAX];
    unsigned head_len = frame_write_head(frame, port_sends_tagged(port, frame), head);
    unsigned chains = find_chains(r, vp->header_len + head_len + frame->rest_bytes);
    if (chains == 0)
        return;
    struct virtio_net_hdr_mrg_rxbuf header = {.num_buffers = (uint16_t)chains};
    offload_write(port, frame, head_len, &header.hdr);
    struct writer w = {.chain = &out.chains[r->used]};
    write_bytes(&w, &header, vp->header_len);
    write_bytes(&w, head, head_len);
    for (unsigned i = 0; i < frame->rest_count; i++)
        write_bytes(&w, frame->rest[i].iov_base, frame->rest[i].iov_len);
    r->used += chains;
    port->counters.out_frames++;
    port->counters.out_bytes += head_len + frame->rest_bytes;
}

static void send_in_chains(struct vhost_port *vp, struct virtqueue *vq, const struct frame *frames,
                           unsigned first)
{
    struct port *port = &vp->port;
    struct reception r = {.vp = vp, .vq = vq};
    for (unsigned i = first; i < port->pending_count; i++)
        deliver(&r, &frames[port->pending[i]]);
    virtqueue_push_many(vq, out.chains, out.written, r.used);
    while (r.popped > r.used)
        virtqueue_unpop(vq, &out.chains[--r.popped]);
}

/* The guest's receiving rings take turns by the sender, whose frames so stay in order. */
static unsigned choose_ring(const struct vhost_port *vp, const struct frame *frame)
{
    const struct vhost_ring_list *list = &vp->to_guest;
    return list->rings[list->count == 1 ? 0 : frame->head[11] % list->count];
}

void vhost_send(struct port *port, const struct frame *frames)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    if (vp->to_guest.count == 0) {
        port->counters.drops[DROP_DOWN] += port->pending_count;
        return;
    }
    unsigned index = choose_ring(vp, &frames[port->pending[0]]);
    struct vhost_ring *ring = &vp->rings[index];
    struct virtqueue *vq = &ring->vq;
    unsigned done = send_in_buffers(vp, ring, frames);
    if (done < port->pending_count) {
        vhost_ready_return(ring);
        if (virtqueue_empty(vq))
            port->counters.drops[DROP_NO_BUFFER] += port->pending_count - done;
        else
            send_in_chains(vp, vq, frames, done);
    } else {
        get_ready(vp, ring);
    }
    forward_notify_later(port);
    if (__builtin_expect(vq->broken, 0))
        vhost_ring_broken(vp, index);
}
