/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network device whose frames a vhost-user back end moves: who connects to
 * whom, what happens when the back end goes and comes back, and which of the
 * rings move data. vhost_user_front.c speaks with it. While there is none the
 * link is down and the rings stand still.
 *
 * Functions run on the loop of queue 0, which serves all queues, unless they
 * say otherwise.
 */
#ifndef KV_VMM_VIRTIO_NET_VHOST_USER_H
#define KV_VMM_VIRTIO_NET_VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/virtio.h"

struct net_vhost_user;

/* Connects to the back end, or waits for it to do so; before the device's loops run or on any
 * thread but theirs. changed is called on the loop when a back end came or went. */
int net_vhost_user_open(struct net_vhost_user **out, const struct net_config *config,
                        struct loop *loop, unsigned pairs, struct kv_error *err);
/* The device that it works for, before it starts. */
void net_vhost_user_attach(struct net_vhost_user *nvu, struct virtio_device *dev,
                           void (*changed)(struct virtio_device *dev));
/* Any thread that the loop does not wait for. */
void net_vhost_user_free(struct net_vhost_user *nvu);

/* Features of the device and the transport that the first back end offers; what a back end decides
 * about. */
uint64_t net_vhost_user_features(const struct net_vhost_user *nvu);

/* The device runs from here to there; rings are with the back end while there is one. */
void net_vhost_user_start(struct net_vhost_user *nvu, unsigned active_pairs, bool link_up);
void net_vhost_user_stop(struct net_vhost_user *nvu);

/* Which pairs move data. */
void net_vhost_user_select(struct net_vhost_user *nvu, unsigned active_pairs, bool link_up);

/* Any thread. */
bool net_vhost_user_connected(const struct net_vhost_user *nvu);

#endif
