/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A burst of frames that a port reads from a descriptor, each behind a virtio header. They lie one
 * behind the other, so that small ones take little of the cache and long ones find room. On the
 * forwarding thread; a burst is done with before the next one begins.
 */
#ifndef KV_SWITCH_PORTS_INCOMING_H
#define KV_SWITCH_PORTS_INCOMING_H

#include <linux/virtio_net.h>

#include "switch/ports/port.h"

#define INCOMING_HEADER sizeof(struct virtio_net_hdr)
/* A byte more than can be right, so that what is cut off is noticed. */
#define INCOMING_ROOM (INCOMING_HEADER + FRAME_BYTES_MAX + 1)

/* What the kernel leaves undone: it has headers that we were not told of, too. */
#define INCOMING_LEAVES (FRAME_CSUM | FRAME_GSO | FRAME_TSO_ECN)

void incoming_begin(struct port *port);

/* INCOMING_ROOM bytes for the next header and frame, or NULL when the burst is full. */
uint8_t *incoming_room(void);

/* Header and frame, len bytes together, lie in the room. tag: a VLAN tag to be put in, as on the
 * wire, or NULL. */
void incoming_add(size_t len, const uint8_t *tag);
/* They lie elsewhere, until the burst is delivered. */
void incoming_add_at(const uint8_t *data, size_t len, const uint8_t *tag);

/* The frame lies there, without a header, and has nothing undone. */
void incoming_add_plain(const uint8_t *data, size_t len);
/* The burst takes no more of them. */
bool incoming_is_full(void);

/* Hands the burst to the bridge. */
void incoming_deliver(void);

#endif
