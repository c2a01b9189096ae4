/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest of a switch by vhost-user, without a machine: the front end, which listens at a socket
 * until a switch connects, and the driver's side of one pair of split rings in a memfd. For
 * programs that measure switches; what goes wrong ends them.
 */
#ifndef KV_BENCH_VHOST_GUEST_H
#define KV_BENCH_VHOST_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "vring_driver.h"

#define VHOST_GUEST_HEADER 12 /* struct virtio_net_hdr_mrg_rxbuf */
#define VHOST_GUEST_PATIENCE_NS INT64_C(10000000000)

struct vhost_guest {
    /* What it is to be. */
    uint64_t features; /* that it wants: without one of them there is no measurement */
    uint16_t ring_size;
    uint32_t rx_buffer; /* bytes of a buffer for received frames */
    uint32_t tx_room;   /* bytes of memory at tx_gpa for what is sent */
    /* What it is. */
    int socket, memory_fd, kick_fd, call_fd;
    struct guest_mem mem;
    uint8_t *memory;
    uint64_t rx_gpa, tx_gpa;
    struct vring_driver rx, tx;
};

_Noreturn void vhost_guest_fail(const char *what);

/* Listens at both paths, waits until a switch has connected to both guests, and starts their rings;
 * all of rx's buffers are the switch's. */
void vhost_guests_connect(struct vhost_guest guests[2], char *paths[2]);

/* Gives a buffer that came back to the switch again. */
void vhost_guest_add_buffer(struct vhost_guest *g, uint64_t slot);
void vhost_guest_kick(struct vhost_guest *g);

#endif
