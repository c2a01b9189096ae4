/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames between a guest's rings and the bridge; see vhost.h. A frame is copied once, from the
 * sender's memory into the receiver's. On the forwarding thread.
 */
#include <linux/virtio_net.h>

#include "base/loop.h"
#include "base/util.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/ports/vhost.h"

#define CACHE_LINE 64
#define CHAIN_SEGMENTS 64
#define HEADER_LEN sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define RX_CHAINS 64 /* that a received frame may be spread over (5.1.6.4) */

/* Scratch of a burst. Rows are no multiple of 1 KiB apart, or they would share the processor's
 * cache lines. One forwarding thread, so one of each. */
struct segments {
    struct iovec iov[CHAIN_SEGMENTS + 1];
};
static struct {
    struct virtqueue_chain chains[FRAME_BURST];
    struct frame frames[FRAME_BURST];
    uint32_t written[FRAME_BURST]; /* stays 0 */
    struct segments segments[FRAME_BURST];
} in;
static struct {
    struct virtqueue_chain chains[RX_CHAINS];
    uint32_t written[RX_CHAINS];
    struct segments segments[RX_CHAINS];
} out;

/* After the barrier. */
static void vhost_notify(struct port *port)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++) {
        struct vhost_ring *ring = &vp->rings[i];
        if (virtqueue_wants_interrupt(&ring->vq) && ring->call_fd >= 0)
            notifier_add(&port->forward->notifier, ring->call_fd);
    }
}

/* A virtio header and a short frame. */
static inline void prefetch(const uint8_t *data, bool writing)
{
    if (writing) {
        __builtin_prefetch(data, 1);
        __builtin_prefetch(data + CACHE_LINE, 1);
    } else {
        __builtin_prefetch(data);
        __builtin_prefetch(data + CACHE_LINE);
    }
}

/* Takes chains, and has the processor fetch what comes first in each. writing: they are to be
 * written. */
static inline unsigned pop_many(struct vhost_port *vp, unsigned index,
                                struct virtqueue_chain *chains, struct segments *segments,
                                unsigned max, bool writing)
{
    struct virtqueue *vq = &vp->rings[index].vq;
    unsigned n = 0;
    virtqueue_prefetch(vq, max);
    while (n < max) {
        chains[n].iov = segments[n].iov;
        chains[n].iov_max = CHAIN_SEGMENTS;
        int rc = virtqueue_pop(vq, &chains[n]);
        if (rc <= 0)
            break;
        if (writing && chains[n].out_count) {
            virtqueue_break(vq, "a buffer for received frames cannot be written");
            break;
        }
        prefetch(chains[n].iov[0].iov_base, writing);
        n++;
    }
    return n;
}

/* --- From the guest -------------------------------------------------------- */

/* Takes bytes off the chain's front; into data unless that is NULL. There are enough of them. */
static struct iovec *take_front(struct iovec *iov, unsigned *count, uint8_t *data, size_t len)
{
    while (len) {
        size_t part = MIN(len, iov->iov_len);
        if (data) {
            memcpy(data, iov->iov_base, part);
            data += part;
        }
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
    unsigned header = vp->header_len;
    if (chain->in_count || chain->out_bytes < header + FRAME_BYTES_MIN ||
        chain->out_bytes > header + FRAME_BYTES_MAX)
        return false;
    struct iovec *iov = chain->iov;
    frame->rest_count = chain->out_count;
    frame->rest_bytes = (uint32_t)chain->out_bytes - header - FRAME_HEAD;
    if (__builtin_expect(iov->iov_len > header + FRAME_HEAD, 1)) {
        uint8_t *data = (uint8_t *)iov->iov_base + header;
        memcpy(frame->head, data, FRAME_HEAD);
        iov->iov_base = data + FRAME_HEAD;
        iov->iov_len -= header + FRAME_HEAD;
    } else {
        iov = take_front(iov, &frame->rest_count, NULL, header);
        iov = take_front(iov, &frame->rest_count, frame->head, FRAME_HEAD);
    }
    frame->rest = iov;
    return true;
}

static bool poll_ring(struct vhost_port *vp, unsigned index)
{
    struct vhost_ring *ring = &vp->rings[index];
    unsigned count = pop_many(vp, index, in.chains, in.segments, FRAME_BURST, false);
    unsigned frames = 0;
    for (unsigned i = 0; i < count; i++) {
        if (read_frame(vp, &in.chains[i], &in.frames[frames]))
            frames++;
        else
            port_drop(&vp->port, DROP_MALFORMED);
    }
    if (frames)
        bridge_receive(&vp->port, in.frames, frames);
    if (count) {
        virtqueue_push_many(&ring->vq, in.chains, in.written, count);
        forward_notify_later(&vp->port);
    }
    if (__builtin_expect(ring->vq.broken, 0))
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
    loop_post(vp->loop, &vp->trouble);
}

static bool vhost_poll(struct port *port)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    bool worked = false;
    if (!port->up)
        return false;
    for (unsigned i = 1; i < VHOST_RINGS_MAX; i += 2) {
        if (vp->rings[i].vq.started)
            worked |= poll_ring(vp, i);
    }
    end_if_lost(vp);
    return worked && !vp->ended;
}

static enum port_sleep vhost_sleep(struct port *port)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    enum port_sleep sleep = PORT_ASLEEP;
    for (unsigned i = 1; i < VHOST_RINGS_MAX && port->up; i += 2) {
        struct vhost_ring *ring = &vp->rings[i];
        if (virtqueue_enable_kick(&ring->vq)) {
            port->ops->wake(port);
            return PORT_HAS_WORK;
        }
        /* Without a descriptor the guest tells us nothing. */
        if (ring->vq.started && ring->kick_fd < 0)
            sleep = PORT_NEEDS_LOOK;
    }
    return sleep;
}

static void vhost_wake(struct port *port)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    for (unsigned i = 1; i < VHOST_RINGS_MAX; i += 2)
        virtqueue_disable_kick(&vp->rings[i].vq);
}

/* --- To the guest ---------------------------------------------------------- */

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
        memcpy((uint8_t *)iov->iov_base + w->offset, from, part);
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
    unsigned ring;
    unsigned used, popped; /* of out.chains: filled, there */
};

static void give_back(struct reception *r)
{
    struct virtqueue *vq = &r->vp->rings[r->ring].vq;
    virtqueue_push_many(vq, out.chains, out.written, r->used);
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
    r->popped += pop_many(r->vp, r->ring, out.chains + before, out.segments + before,
                          MIN(wanted, RX_CHAINS - before), true);
    return r->popped > before;
}

/* A frame of usual length, without a call into the library. */
static inline void copy_rest(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len < 32 || len > 64) {
        memcpy(to, from, len);
        return;
    }
    /* The second half overlaps the first where there are fewer than 64. */
    memcpy(to, from, 32);
    memcpy(to + len - 32, from + len - 32, 32);
}

static void count_out(struct port *port, size_t bytes)
{
    port->counters.out_frames++;
    port->counters.out_bytes += bytes;
}

/* What is mostly there: one piece, the head as it came, and a buffer that holds it all. */
static inline bool deliver_simple(struct reception *r, const struct frame *frame)
{
    struct port *port = &r->vp->port;
    const struct iovec *to = out.segments[r->used].iov;
    size_t len = HEADER_LEN + FRAME_HEAD + frame->rest_bytes;
    if (r->used == r->popped || frame->rest_count != 1 || r->vp->header_len != HEADER_LEN ||
        to->iov_len < len || frame->tagged != port_sends_tagged(port, frame))
        return false;
    static const struct virtio_net_hdr_mrg_rxbuf header = {.num_buffers = 1};
    uint8_t *data = to->iov_base;
    memcpy(data, &header, HEADER_LEN);
    memcpy(data + HEADER_LEN, frame->head, FRAME_HEAD);
    copy_rest(data + HEADER_LEN + FRAME_HEAD, frame->rest->iov_base, frame->rest_bytes);
    out.written[r->used++] = (uint32_t)len;
    count_out(port, FRAME_HEAD + frame->rest_bytes);
    return true;
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
    struct writer w = {.chain = &out.chains[r->used]};
    write_bytes(&w, &header, vp->header_len);
    write_bytes(&w, head, head_len);
    for (unsigned i = 0; i < frame->rest_count; i++)
        write_bytes(&w, frame->rest[i].iov_base, frame->rest[i].iov_len);
    r->used += chains;
    count_out(port, head_len + frame->rest_bytes);
}

/* The guest's receiving rings take turns by the sender, whose frames so stay in order. */
static int choose_ring(const struct vhost_port *vp, const struct frame *frame)
{
    unsigned started = 0;
    int rings[VHOST_PAIRS_MAX];
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i += 2) {
        if (vp->rings[i].vq.started)
            rings[started++] = (int)i;
    }
    return started ? rings[started == 1 ? 0 : frame->head[11] % started] : -1;
}

static void vhost_send(struct port *port, const struct frame *frames)
{
    struct vhost_port *vp = container_of(port, struct vhost_port, port);
    int ring = choose_ring(vp, &frames[port->pending[0]]);
    if (ring < 0) {
        port->counters.drops[DROP_DOWN] += port->pending_count;
        return;
    }
    struct reception r = {.vp = vp, .ring = (unsigned)ring};
    struct virtqueue *vq = &vp->rings[ring].vq;
    pop_more(&r, port->pending_count);
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        if (__builtin_expect(!deliver_simple(&r, frame), 0))
            deliver(&r, frame);
    }
    virtqueue_push_many(vq, out.chains, out.written, r.used);
    while (r.popped > r.used)
        virtqueue_unpop(vq, &out.chains[--r.popped]);
    forward_notify_later(port);
    if (__builtin_expect(vq->broken, 0))
        vhost_ring_broken(vp, (unsigned)ring);
}

const struct port_ops vhost_port_ops = {
    .poll = vhost_poll,
    .send = vhost_send,
    .sleep = vhost_sleep,
    .wake = vhost_wake,
    .notify = vhost_notify,
};
