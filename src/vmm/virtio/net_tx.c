/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net from the guest (virtio 1.2, 5.1.6.2): each chain is one frame,
 * written from guest memory to the host's end in one system call, header
 * included where the host's end takes one.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "vmm/virtio/net_impl.h"

#define ETHERNET_HEADER 14

/* Drops the first bytes of the frame's buffers; returns how many buffers are left behind *vec. */
static unsigned skip(struct iovec **vec, unsigned count, size_t bytes)
{
    struct iovec *v = *vec;
    while (count && bytes >= v->iov_len) {
        bytes -= v->iov_len;
        v++;
        count--;
    }
    if (count) {
        v->iov_base = (char *)v->iov_base + bytes;
        v->iov_len -= bytes;
    }
    *vec = v;
    return count;
}

/* A host's end without headers cannot finish what the guest left undone. */
static bool is_complete(const struct virtqueue_chain *chain)
{
    struct virtio_net_hdr header;
    virtqueue_read_out(chain, 0, &header, sizeof(header));
    return !(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
           header.gso_type == VIRTIO_NET_HDR_GSO_NONE;
}

/* 0: done with it, sent or not; -EAGAIN: the host's end is full. */
static int transmit(struct net_pair *pair, struct virtqueue_chain *chain)
{
    struct net *net = pair->net;
    struct iovec *vec = chain->iov;
    unsigned count = chain->out_count;
    ssize_t n;

    if (chain->out_bytes < NET_HEADER_SIZE + ETHERNET_HEADER ||
        chain->out_bytes > NET_HEADER_SIZE + NET_FRAME_MAX ||
        !atomic_load_explicit(&net->link_up, memory_order_relaxed)) {
        net_count_drop(&pair->tx_stats);
        return 0;
    }
    if (!net->tap.vnet_hdr) {
        if (!is_complete(chain)) {
            net_count_drop(&pair->tx_stats);
            return 0;
        }
        count = skip(&vec, count, NET_HEADER_SIZE);
    }
    do {
        if (pair->stream) {
            n = net_stream_writev(pair->stream, vec, count);
        } else if (net->tap.is_tap) {
            n = writev(pair->fd, vec, (int)count);
        } else {
            struct msghdr msg = {.msg_iov = vec, .msg_iovlen = count};
            n = sendmsg(pair->fd, &msg, MSG_NOSIGNAL);
        }
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return -EAGAIN;
    if (n < 0) {
        net_count_drop(&pair->tx_stats); /* refused: malformed, or the interface is down */
        return 0;
    }
    net_count(&pair->tx_stats, chain->out_bytes - NET_HEADER_SIZE);
    net_limit_charge(&net->tx_limit, chain->out_bytes - NET_HEADER_SIZE);
    return 0;
}

static void wait_for_host(struct net_pair *pair)
{
    pair->tx_blocked = true;
    loop_modify(&pair->source, EPOLLIN | EPOLLOUT | EPOLLET);
}

void net_tx_run(struct net_pair *pair)
{
    struct virtqueue *vq = &pair->tx->ring;
    bool pushed = false;
    int rc = 0;
    if (!pair->tx_running || pair->tx_blocked || vq->broken)
        return;

    if (pair->stream && net_stream_flush(pair->stream) == -EAGAIN) {
        wait_for_host(pair);
        return;
    }
    virtqueue_disable_kick(vq);
    for (unsigned budget = NET_BATCH;; budget--) {
        int64_t wait = budget ? net_limit_wait(&pair->net->tx_limit) : 1;
        if (wait) {
            loop_timer_arm(pair->loop, &pair->tx_timer, wait, net_pair_transmit, pair);
            break;
        }
        struct virtqueue_chain chain = {.iov = pair->tx_iov, .iov_max = NET_TX_SEGMENTS};
        rc = virtqueue_pop(vq, &chain);
        if (rc < 0)
            break;
        if (rc == 0) {
            if (!virtqueue_enable_kick(vq))
                break;
            virtqueue_disable_kick(vq);
            continue;
        }
        if (transmit(pair, &chain) == -EAGAIN) {
            virtqueue_unpop(vq, &chain);
            wait_for_host(pair);
            break;
        }
        virtqueue_push(vq, &chain, 0);
        pushed = true;
        if (pair->stream && net_stream_flush(pair->stream) == -EAGAIN) {
            wait_for_host(pair); /* has part of the frame */
            break;
        }
    }
    if (pushed)
        virtio_queue_notify(pair->tx);
    if (rc < 0)
        virtio_queue_broken(pair->tx);
}
