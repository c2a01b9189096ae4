/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-vsock (virtio 1.2, 5.10) whose host side is unix sockets, so that any
 * program can talk to a guest. With the option path=P:
 *  - a host program connects to P, writes "CONNECT <port>\n" and reads
 *    "OK <host port>\n"; from then on it talks to the guest's listener;
 *  - a guest that connects to the host (CID 2) on port N reaches the socket
 *    P_N.
 * vsock.c is the device, vsock_packet.c the packets of the two rings,
 * vsock_conn.c a connection's life, vsock_host.c the unix sockets.
 */
#ifndef KV_VMM_VIRTIO_VSOCK_H
#define KV_VMM_VIRTIO_VSOCK_H

#include <stdint.h>

#include "base/error.h"
#include "vmm/virtio/virtio.h"

/* --vsock */
struct vsock_config {
    char *id;
    uint64_t slot; /* of PCI bus 0; 0: the first free one */
    uint64_t guest_cid;
    char *path;
    int fd; /* inherited listening socket instead of one bound at path, or -1 */
};

void vsock_config_defaults(void *config);

/* The device without a transport, on one loop. */
int vsock_create(struct virtio_device **out, const struct vsock_config *config,
                 struct guest_mem *mem, struct loop *loop, struct kv_error *err);

#endif
