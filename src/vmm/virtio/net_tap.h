/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's end of a network device: one descriptor a queue pair, each read
 * and write one frame (of a stream socket: net_stream.h). Opened before the jail closes; afterwards
 * only the ioctls TUNSETOFFLOAD and TUNSETQUEUE are made, on I/O threads.
 */
#ifndef KV_VMM_VIRTIO_NET_TAP_H
#define KV_VMM_VIRTIO_NET_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/virtio/net.h"

struct net_tap {
    unsigned count;
    int fds[NET_PAIRS_MAX];
    bool enabled[NET_PAIRS_MAX]; /* attached queues of a multi-queue tap */
    bool is_tap;                 /* else a socket */
    bool is_stream;              /* one of those: net_stream.h */
    bool multi_queue;
    bool vnet_hdr;       /* frames begin with struct virtio_net_hdr_v1 */
    uint64_t host_gso;   /* VIRTIO_NET_F_* offloads that it can do */
    char name[IFNAMSIZ]; /* of the interface; empty for a socket */
};

/* Opens what the configuration names; takes its descriptors over, also on error. */
int net_tap_open(struct net_tap *tap, const struct net_config *config, struct kv_error *err);
void net_tap_close(struct net_tap *tap);

/* What the guest can take, as VIRTIO_NET_F_GUEST_* bits. 0 or -errno. */
int net_tap_set_offloads(struct net_tap *tap, uint64_t guest_features);

/* Lets the host steer frames to the first n queues only. 0 or -errno. */
int net_tap_enable_queues(struct net_tap *tap, unsigned n);

#endif
