/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net (virtio 1.2, 5.1): a network interface on a tap device, on an
 * inherited tap descriptor, on any socket that carries frames, or on a vhost-user back end.
 * net.c is the device, net_rx.c and net_tx.c move frames, net_ctrl.c serves the
 * control queue, net_tap.c opens host interfaces, net_vhost.c hands the rings
 * to the kernel, net_vhost_user.c to another process.
 */
#ifndef KV_VMM_VIRTIO_NET_H
#define KV_VMM_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/device.h"
#include "vmm/virtio/virtio.h"

#define NET_PAIRS_MAX 64 /* receive and transmit queue pairs of one device */
#define NET_QUEUE_SIZE_MAX 1024

enum net_vhost_mode {
    NET_VHOST_AUTO, /* when the host offers it and nothing speaks against it */
    NET_VHOST_ON,
    NET_VHOST_OFF,
};

enum net_packed {
    NET_PACKED_AUTO, /* offered, but where a back end may go away: only split rings outlive that */
    NET_PACKED_ON,
    NET_PACKED_OFF,
};

/* --net. Rates are per second, 0 means no limit; a burst of 0 is a tenth of a second's worth. */
struct net_config {
    char *id;
    uint64_t slot; /* of PCI bus 0; 0: the first free one */
    uint64_t bootindex;
    char *rom;                /* what BIOS firmware boots from the network by: a path, or "fd:N" */
    char *tap;                /* name of a host interface, opened or created */
    int fd;                   /* one inherited descriptor, or -1 */
    char *fds;                /* several: "3:4:5", one a queue pair */
    char *vhost_fds;          /* inherited /dev/vhost-net descriptors, one a queue pair */
    char *vhost_user;         /* a back end's unix socket: a path, or "fd:N" */
    bool server;              /* the back end connects to us */
    uint64_t reconnect, wait; /* seconds */
    int packed;               /* enum net_packed */
    bool vnet_hdr;            /* frames on a socket begin with a virtio-net header of 12 bytes */
    uint8_t mac[6];           /* all zero: chosen at random */
    uint64_t queues;          /* queue pairs; 0: as many as descriptors, else 1 */
    uint64_t queue_size;
    int vhost;      /* enum net_vhost_mode */
    uint64_t mtu;   /* told to the guest; 0: not told */
    uint64_t speed; /* Mbit/s, told to the guest; 0: not told */
    bool link;      /* the cable is plugged at the start */
    /* rx is towards the guest. */
    uint64_t rx_rate, rx_burst;               /* bytes */
    uint64_t rx_packet_rate, rx_packet_burst; /* frames */
    uint64_t tx_rate, tx_burst;
    uint64_t tx_packet_rate, tx_packet_burst;
};

void net_config_defaults(void *config);

/* Makes the device without a transport, on loops given per queue pair (tests, fuzzers); the
 * descriptors in config belong to it from then on, also when it fails. */
int net_create(struct virtio_device **out, const struct net_config *config, struct guest_mem *mem,
               struct loop *const *loops, unsigned loop_count, struct kv_error *err);

/* Plugs or unplugs the cable (QMP set_link). -ENOENT with a message when id names no network
 * device. Control thread. */
int net_set_link(struct machine *machine, const char *id, bool up, struct kv_error *err);
void net_device_set_link(struct virtio_device *dev, bool up);

#endif
