/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests of the switch for tests: a bridge without a forwarding thread, and vhost-user front ends
 * that speak to its ports by the messages themselves, with real rings in a memfd. A step of the
 * forwarding thread is switch_step().
 */
#ifndef KV_TESTS_SWITCH_GUEST_H
#define KV_TESTS_SWITCH_GUEST_H

#include <linux/virtio_net.h>

#include "base/util.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/ports/vhost.h"
#include "vring_driver.h"

#define GUEST_MEMORY 0x100000
#define GUEST_USER_ADDRESS \
    UINT64_C(0x700000000000) /* what the front end calls its memory's begin */
#define GUEST_RING_SIZE 64
#define GUEST_BUFFER 2048
#define GUEST_HEADER 12
#define GUEST_LONG_MAX 65562
#define GUEST_OFFLOADS                                                                          \
    (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |       \
     BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
     BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))

struct switch_guest {
    struct vhost_port *vp;
    struct guest_mem mem;
    uint8_t *memory;
    int memory_fd;
    int sockets[2]; /* the port's, ours */
    struct vring_driver rx, tx;
    int kick_fd, call_fd;
    unsigned sent;
    uint32_t rx_buffer;           /* bytes */
    uint64_t offloads;            /* features that it has beside the others */
    uint8_t header[GUEST_HEADER]; /* of the frame that was received last */
};

struct switch_bench {
    struct loop loop;
    struct forward forward;
    struct bridge *bridge;
};

void switch_bench_init(struct switch_bench *bench);
void switch_bench_destroy(struct switch_bench *bench);

/* A port in all VLANs with nobody at its end. Rings are packed or not, receive buffers have
 * rx_buffer bytes each. */
void switch_guest_init(struct switch_guest *g, struct switch_bench *bench, bool packed,
                       uint32_t rx_buffer);
void switch_guest_destroy(struct switch_guest *g, struct switch_bench *bench);

/* As if it were new, with the memory, which is zeroed, and the port that it has. */
void switch_guest_renew(struct switch_guest *g);

/* The whole conversation up to running rings. */
void switch_guest_start(struct switch_guest *g);

/* One message; fd -1: none. Returns what the port says: 0 or -errno. */
int switch_guest_say(struct switch_guest *g, uint32_t request, const void *payload, uint32_t size,
                     int fd);
int switch_guest_say_memory(struct switch_guest *g);
int switch_guest_say_state(struct switch_guest *g, uint32_t request, unsigned ring, uint32_t num);

/* A frame of that many bytes. */
void switch_guest_send(struct switch_guest *g, const uint8_t *frame, unsigned len);
/* The same with a virtio header; up to a GUEST_LONG_MAX bytes. What was sent so before has been
 * taken. */
void switch_guest_send_with(struct switch_guest *g, const struct virtio_net_hdr *header,
                            const uint8_t *frame, unsigned len);
/* The next frame that came; returns its length, 0: none. */
unsigned switch_guest_receive(struct switch_guest *g, uint8_t *frame, unsigned room);

void switch_step(struct switch_bench *bench);

#endif
