/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of virtio-net, shared by net*.c only.
 *
 * A queue pair belongs to its loop. Its lock is for the control queue, which
 * runs on the loop of pair 0 and changes what all pairs look at; nothing waits
 * for another loop.
 */
#ifndef KV_VMM_VIRTIO_NET_IMPL_H
#define KV_VMM_VIRTIO_NET_IMPL_H

#include <linux/virtio_net.h>
#include <pthread.h>

#include "base/ratelimit.h"
#include "base/util.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/net_stream.h"
#include "vmm/virtio/net_tap.h"

#define NET_HEADER_SIZE 12U /* struct virtio_net_hdr_v1, 5.1.6 */
#define NET_NUM_BUFFERS_OFFSET 10
/* The largest frame: a segment to be cut of 64 KiB, Ethernet and VLAN headers around it. */
#define NET_FRAME_MAX (65535U + 14 + 8)
#define NET_SPILL_SIZE (NET_FRAME_MAX + NET_HEADER_SIZE)
#define NET_TX_SEGMENTS 1024 /* of one chain; UIO_MAXIOV */
#define NET_RX_SEGMENTS 256  /* of one receive chain */
#define NET_RX_WINDOW 128    /* receive chains kept ready */
#define NET_BATCH 256        /* frames before other sources of the loop get their turn */
#define NET_FILTER_MACS 64

/* virtio 1.2 names them; older kernel headers do not. */
#define NET_F_GUEST_USO4 54
#define NET_F_GUEST_USO6 55
#define NET_F_HOST_USO 56

#define NET_F_CSUM (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM))
#define NET_F_TSO                                                                             \
    (BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) | \
     BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))
#define NET_F_USO (BIT(NET_F_GUEST_USO4) | BIT(NET_F_GUEST_USO6) | BIT(NET_F_HOST_USO))
#define NET_F_GUEST_OFFLOADS                                                                      \
    (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
     BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(NET_F_GUEST_USO4) | BIT(NET_F_GUEST_USO6))

/* One direction's limits, shared by the pairs. A frame is paid for after it went: the next one
 * waits until its price is there. */
struct net_limit {
    bool set;
    pthread_mutex_t lock;
    struct ratelimit bytes, packets;
    uint64_t owed_bytes, owed_packets;
};

struct net_stats {
    atomic_uint_fast64_t packets, bytes, drops;
};

struct net;

struct net_pair {
    struct net *net;
    unsigned index;
    struct loop *loop;
    int fd;
    struct net_stream *stream; /* around fd; NULL: each read and write of fd is a frame */
    struct virtio_queue *rx, *tx;
    struct loop_source source; /* the host's end, by edge; while one of the queues runs */
    struct loop_timer rx_timer, tx_timer;
    struct loop_work rx_work; /* the control queue switched the pair on */
    bool rx_running, tx_running;

    pthread_mutex_t lock; /* everything below */

    /* Receive chains popped in advance: chains[rx_first .. rx_end). Their segments lie in rx_iov
     * in the same order. */
    unsigned rx_first, rx_end;
    unsigned rx_iov_end;
    uint64_t rx_room; /* bytes in them */
    struct virtqueue_chain rx_chains[NET_RX_WINDOW];
    struct iovec rx_iov[NET_RX_SEGMENTS * 3];
    uint64_t rx_want;    /* bytes that the next frame may need */
    uint64_t rx_waiting; /* bytes of a frame that waits for room; 0: none */
    uint64_t rx_direct;  /* so many of them are in the chains already, the others in spill */
    uint8_t *spill;      /* NET_SPILL_SIZE: what does not fit the buffers at hand */

    bool tx_blocked; /* the host's end is full; EPOLLOUT goes on */
    struct iovec tx_iov[NET_TX_SEGMENTS];

    struct net_stats rx_stats, tx_stats;
};

/* What the driver wants to receive (5.1.6.5.1, 5.1.6.5.2). */
struct net_filter {
    bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
    bool unicast_overflow, multicast_overflow;
    unsigned unicast_count, multicast_count;
    uint8_t unicast[NET_FILTER_MACS][6], multicast[NET_FILTER_MACS][6];
};

struct net_vhost;
struct net_vhost_user;

struct net {
    struct virtio_device dev;
    struct virtio_net_config config; /* the guest's view; status changes on the control thread */
    uint8_t factory_mac[6];
    uint64_t offered; /* VIRTIO_NET_F_* */
    struct net_tap tap;
    struct net_vhost *vhost;           /* the kernel moves the frames */
    struct net_vhost_user *vhost_user; /* a back end does */
    unsigned pair_count;
    struct net_pair *pairs;
    unsigned active_pairs; /* by VIRTIO_NET_CTRL_MQ; under all pairs' locks */
    bool offloads_chosen;  /* by VIRTIO_NET_CTRL_GUEST_OFFLOADS, else all that were negotiated */
    uint64_t guest_offloads;
    struct net_filter filter;    /* under all pairs' locks */
    atomic_bool link_up;         /* the cable is plugged; a back end may be missing all the same */
    atomic_bool peer_gone;       /* the other end of a stream was closed */
    pthread_mutex_t status_lock; /* leaf; config.status */
    struct net_limit rx_limit, tx_limit;
};

static inline struct net *net_of(struct virtio_device *dev)
{
    return container_of(dev, struct net, dev);
}

/* Somebody else moves the frames; the loop of queue 0 serves all queues. */
static inline bool net_is_offloaded(const struct net *net)
{
    return net->vhost || net->vhost_user;
}

/* The control queue's index depends on what was negotiated (5.1.2). */
static inline unsigned net_ctrl_index(const struct net *net)
{
    return virtio_has(&net->dev, VIRTIO_NET_F_MQ) ? 2 * net->pair_count : 2;
}

/* Nanoseconds until a further frame may go, or 0. */
int64_t net_limit_wait(struct net_limit *limit);
/* A frame of that many bytes went. */
void net_limit_charge(struct net_limit *limit, uint64_t bytes);

static inline void net_count(struct net_stats *stats, uint64_t bytes)
{
    atomic_fetch_add_explicit(&stats->packets, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->bytes, bytes, memory_order_relaxed);
}

static inline void net_count_drop(struct net_stats *stats)
{
    atomic_fetch_add_explicit(&stats->drops, 1, memory_order_relaxed);
}

/* net_rx.c. With the pair's lock held, on its loop. */
void net_rx_run(struct net_pair *pair);
/* Gives the chains that were taken in advance back to the ring. Lock held. */
void net_rx_release(struct net_pair *pair);

/* net_tx.c. With the pair's lock held, on its loop. */
void net_tx_run(struct net_pair *pair);

/* Callbacks for the pair's timers (net.c): take the lock and go on. */
void net_pair_receive(void *opaque);
void net_pair_transmit(void *opaque);

/* net_ctrl.c. */
void net_ctrl_run(struct net *net, struct virtio_queue *queue);
void net_ctrl_reset(struct net *net);
json_t *net_ctrl_save(const struct net *net);
int net_ctrl_load(struct net *net, const json_t *state, struct kv_error *err);
bool net_filter_accepts(const struct net *net, const uint8_t mac[6]);
/* All pairs, in order. */
void net_lock_all(struct net *net);
void net_unlock_all(struct net *net);

/* "3:4:5"; how many, or -errno with err filled. */
int net_fd_list(const char *text, int *fds, unsigned max, const char *what, struct kv_error *err);

#endif
