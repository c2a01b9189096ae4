/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net towards the guest (virtio 1.2, 5.1.6.3 and 5.1.6.4). Frames are
 * read from the host's end straight into receive chains, which are popped a
 * little in advance: a frame may need several of them (merged buffers), and how
 * many is known only once it has been read. What does not fit the chains at
 * hand lands in the pair's spill buffer and is copied when the driver has added
 * more.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/virtio/net_impl.h"

enum rx_result {
    RX_MORE,       /* go on */
    RX_IDLE,       /* nothing to read */
    RX_NO_BUFFERS, /* the driver will kick */
    RX_BROKEN,
};

#define ETHERNET_HEADER 14
/* The guest starts on what it has while more is read. */
#define NOTIFY_BYTES KIB(64)

static bool mergeable(const struct net_pair *pair)
{
    return virtio_has(&pair->net->dev, VIRTIO_NET_F_MRG_RXBUF);
}

static bool is_full(const struct net_pair *pair)
{
    return pair->rx_end == NET_RX_WINDOW ||
           pair->rx_iov_end + NET_RX_SEGMENTS > ARRAY_SIZE(pair->rx_iov);
}

/* Moves the waiting chains to the front of the arrays. */
static void compact(struct net_pair *pair)
{
    unsigned count = pair->rx_end - pair->rx_first;
    if (pair->rx_first == 0)
        return;
    if (count == 0) {
        pair->rx_first = pair->rx_end = pair->rx_iov_end = 0;
        return;
    }
    struct iovec *from = pair->rx_chains[pair->rx_first].iov;
    ptrdiff_t shift = from - pair->rx_iov;
    memmove(pair->rx_iov, from, (pair->rx_iov_end - (size_t)shift) * sizeof(*from));
    memmove(pair->rx_chains, pair->rx_chains + pair->rx_first, count * sizeof(pair->rx_chains[0]));
    for (unsigned i = 0; i < count; i++)
        pair->rx_chains[i].iov -= shift;
    pair->rx_first = 0;
    pair->rx_end = count;
    pair->rx_iov_end -= (unsigned)shift;
}

static bool chain_is_sound(struct virtqueue *vq, const struct virtqueue_chain *chain)
{
    if (chain->in_bytes >= NET_HEADER_SIZE)
        return true;
    virtqueue_break(vq, "a receive buffer is smaller than the packet header");
    return false;
}

/* Pops until the chains hold want bytes; one chain is all a frame gets without merging. */
static int fill(struct net_pair *pair, uint64_t want)
{
    struct virtqueue *vq = &pair->rx->ring;
    if (!mergeable(pair))
        want = 1;
    while (pair->rx_room < want) {
        if (is_full(pair))
            compact(pair);
        if (is_full(pair))
            return 0;
        struct virtqueue_chain *chain = &pair->rx_chains[pair->rx_end];
        chain->iov = pair->rx_iov + pair->rx_iov_end;
        chain->iov_max = NET_RX_SEGMENTS;
        int rc = virtqueue_pop(vq, chain);
        if (rc <= 0)
            return rc;
        pair->rx_end++;
        pair->rx_iov_end += chain->out_count + chain->in_count;
        pair->rx_room += chain->in_bytes;
        if (!chain_is_sound(vq, chain))
            return -EPROTO;
    }
    return 0;
}

void net_rx_release(struct net_pair *pair)
{
    while (pair->rx_end > pair->rx_first)
        virtqueue_unpop(&pair->rx->ring, &pair->rx_chains[--pair->rx_end]);
    pair->rx_first = pair->rx_end = pair->rx_iov_end = 0;
    pair->rx_room = 0;
    pair->rx_waiting = 0;
}

/* The chains' buffers behind skip bytes, then the spill buffer. */
static unsigned gather(const struct net_pair *pair, size_t skip, struct iovec *vec)
{
    unsigned n = 0;
    for (unsigned c = pair->rx_first; c < pair->rx_end; c++) {
        const struct virtqueue_chain *chain = &pair->rx_chains[c];
        for (unsigned i = 0; i < chain->in_count; i++) {
            struct iovec v = chain->iov[chain->out_count + i];
            size_t cut = MIN(skip, v.iov_len);
            skip -= cut;
            if (v.iov_len > cut)
                vec[n++] = (struct iovec){(char *)v.iov_base + cut, v.iov_len - cut};
        }
    }
    vec[n++] = (struct iovec){pair->spill, NET_SPILL_SIZE};
    return n;
}

static void peek(const struct iovec *vec, unsigned count, size_t offset, void *out, size_t len)
{
    for (unsigned i = 0; i < count && len; i++) {
        if (offset >= vec[i].iov_len) {
            offset -= vec[i].iov_len;
            continue;
        }
        size_t n = MIN(len, vec[i].iov_len - offset);
        memcpy(out, (const char *)vec[i].iov_base + offset, n);
        out = (char *)out + n;
        len -= n;
        offset = 0;
    }
}

/* Bytes at an offset of the frame, spread over the chains. */
static void write_chains(struct net_pair *pair, uint64_t offset, const uint8_t *bytes, size_t len)
{
    for (unsigned c = pair->rx_first; c < pair->rx_end && len; c++) {
        const struct virtqueue_chain *chain = &pair->rx_chains[c];
        if (offset >= chain->in_bytes) {
            offset -= chain->in_bytes;
            continue;
        }
        size_t n = virtqueue_write_in(chain, offset, bytes, len);
        bytes += n;
        len -= n;
        offset = 0;
    }
}

/* The fields of the header that the host's end does not fill in. */
static void complete_header(struct net_pair *pair, uint16_t buffers)
{
    const struct virtqueue_chain *first = &pair->rx_chains[pair->rx_first];
    uint8_t count[2];
    store_le(count, buffers, sizeof(count));
    if (!pair->net->tap.vnet_hdr) {
        static const uint8_t zero[NET_NUM_BUFFERS_OFFSET];
        virtqueue_write_in(first, 0, zero, sizeof(zero));
    } else if (!virtio_has(&pair->net->dev, VIRTIO_NET_F_GUEST_CSUM)) {
        static const uint8_t no_flags = 0;
        virtqueue_write_in(first, 0, &no_flags, 1);
    }
    virtqueue_write_in(first, NET_NUM_BUFFERS_OFFSET, count, sizeof(count));
}

/* Gives a complete frame of total bytes, header included, to the driver. */
static void deliver(struct net_pair *pair, uint64_t total)
{
    uint32_t written[NET_RX_WINDOW];
    unsigned first = pair->rx_first, n = 0;
    for (uint64_t left = total; left; n++) {
        const struct virtqueue_chain *chain = &pair->rx_chains[first + n];
        written[n] = (uint32_t)MIN(left, chain->in_bytes);
        left -= written[n];
        pair->rx_room -= chain->in_bytes;
    }
    complete_header(pair, (uint16_t)n);
    virtqueue_push_many(&pair->rx->ring, &pair->rx_chains[first], written, n);
    pair->rx_first += n;
    pair->rx_waiting = 0;
    net_count(&pair->rx_stats, total - NET_HEADER_SIZE);
    net_limit_charge(&pair->net->rx_limit, total - NET_HEADER_SIZE);
}

static enum rx_result drop(struct net_pair *pair)
{
    pair->rx_waiting = 0;
    net_count_drop(&pair->rx_stats);
    return RX_MORE;
}

static enum rx_result wait_for_buffers(struct net_pair *pair)
{
    if (!virtqueue_enable_kick(&pair->rx->ring))
        return RX_NO_BUFFERS;
    virtqueue_disable_kick(&pair->rx->ring);
    return RX_MORE;
}

/* A frame that did not fit: its tail follows when there is room for all of it. */
static enum rx_result finish_waiting(struct net_pair *pair)
{
    if (fill(pair, pair->rx_waiting) < 0)
        return RX_BROKEN;
    if (pair->rx_room < pair->rx_waiting)
        return is_full(pair) ? drop(pair) : wait_for_buffers(pair);
    write_chains(pair, pair->rx_direct, pair->spill, pair->rx_waiting - pair->rx_direct);
    deliver(pair, pair->rx_waiting);
    return RX_MORE;
}

static enum rx_result receive(struct net_pair *pair)
{
    struct net *net = pair->net;
    struct iovec vec[ARRAY_SIZE(pair->rx_iov) + 1];

    if (fill(pair, pair->rx_want) < 0)
        return RX_BROKEN;
    if (pair->rx_first == pair->rx_end)
        return wait_for_buffers(pair);

    size_t missing_header = net->tap.vnet_hdr ? 0 : NET_HEADER_SIZE;
    unsigned count = gather(pair, missing_header, vec);
    ssize_t n;
    do {
        n = pair->stream ? net_stream_readv(pair->stream, vec, count)
                         : readv(pair->fd, vec, (int)count);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return RX_IDLE; /* nothing there, the interface is gone, or the socket was closed */

    uint64_t total = (uint64_t)n + missing_header;
    if (total < NET_HEADER_SIZE + ETHERNET_HEADER)
        return drop(pair);
    if (!net->filter.promisc) {
        uint8_t mac[6];
        peek(vec, count, NET_HEADER_SIZE - missing_header, mac, sizeof(mac));
        if (!net_filter_accepts(net, mac))
            return drop(pair);
    }
    if (total <= pair->rx_room) {
        deliver(pair, total);
        return RX_MORE;
    }
    if (!mergeable(pair) || total - pair->rx_room >= NET_SPILL_SIZE)
        return drop(pair);
    pair->rx_want = NET_SPILL_SIZE;
    pair->rx_waiting = total;
    pair->rx_direct = pair->rx_room;
    return finish_waiting(pair);
}

/* The cable is out: frames are lost, not kept for later. */
static enum rx_result discard(struct net_pair *pair)
{
    const struct iovec all = {pair->spill, NET_SPILL_SIZE};
    ssize_t n = pair->stream ? net_stream_readv(pair->stream, &all, 1)
                             : read(pair->fd, pair->spill, NET_SPILL_SIZE);
    if (n < 0 && errno == EINTR)
        return RX_MORE;
    return n <= 0 ? RX_IDLE : drop(pair);
}

static enum rx_result step(struct net_pair *pair)
{
    if (!atomic_load_explicit(&pair->net->link_up, memory_order_relaxed))
        return discard(pair);
    return pair->rx_waiting ? finish_waiting(pair) : receive(pair);
}

void net_rx_run(struct net_pair *pair)
{
    struct net *net = pair->net;
    if (!pair->rx_running || pair->index >= net->active_pairs || pair->rx->ring.broken)
        return;

    uint64_t told = atomic_load_explicit(&pair->rx_stats.bytes, memory_order_relaxed), now = told;
    enum rx_result result = RX_MORE;
    unsigned budget = NET_BATCH;
    virtqueue_disable_kick(&pair->rx->ring);
    while (result == RX_MORE) {
        int64_t wait = budget-- ? net_limit_wait(&net->rx_limit) : 1;
        if (wait) {
            loop_timer_arm(pair->loop, &pair->rx_timer, wait, net_pair_receive, pair);
            break;
        }
        result = step(pair);
        now = atomic_load_explicit(&pair->rx_stats.bytes, memory_order_relaxed);
        if (now - told >= NOTIFY_BYTES) {
            virtio_queue_notify(pair->rx);
            told = now;
        }
    }
    if (now != told)
        virtio_queue_notify(pair->rx);
    if (result == RX_BROKEN)
        virtio_queue_broken(pair->rx);
}
