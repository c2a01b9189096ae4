/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hands a network device's rings to the kernel (vhost-net): one descriptor a
 * queue pair. While they are in the kernel's hands, doorbells go from the guest
 * to its worker and interrupts back without this process. Functions run on the
 * loop of queue 0, which must be the loop of every queue.
 */
#ifndef KV_VMM_VIRTIO_NET_VHOST_H
#define KV_VMM_VIRTIO_NET_VHOST_H

#include <stdint.h>

#include "base/error.h"
#include "vmm/virtio/net_tap.h"
#include "vmm/virtio/virtio.h"

struct net_vhost;

/* Opens /dev/vhost-net (or takes the descriptors given as "3:4:5") for count pairs. */
int net_vhost_open(struct net_vhost **out, const char *fds, unsigned count, struct kv_error *err);
void net_vhost_free(struct net_vhost *vhost);

/* Feature bits, of the device and of the transport, that the kernel can serve. */
uint64_t net_vhost_features(const struct net_vhost *vhost);

/* Between them the rings are the kernel's. Pairs whose queues were not set up are left out. A
 * failed start leaves nothing started. */
int net_vhost_start(struct net_vhost *vhost, struct virtio_device *dev, const struct net_tap *tap,
                    struct kv_error *err);
void net_vhost_stop(struct net_vhost *vhost, struct virtio_device *dev);

/* Without a link the kernel leaves rings and tap alone. 0 or -errno. */
int net_vhost_set_link(struct net_vhost *vhost, const struct net_tap *tap, bool up);

#endif
