/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checksums and segments that a sender leaves to its device (virtio 1.2, 5.1.6.2 to 5.1.6.4):
 * passed on to a receiver that takes them, else completed and cut here. The header comes from
 * guests: its numbers are checked where it comes in, and what it says of the frame's protocols
 * once more, in a copy of the frame's headers, before segments are cut. On the forwarding thread.
 */
#ifndef KV_SWITCH_FORWARD_OFFLOAD_H
#define KV_SWITCH_FORWARD_OFFLOAD_H

#include <linux/virtio_net.h>

#include "switch/forward/frame.h"
#include "switch/ports/port.h"

/* That one frame may be cut into. Senders cut by their peers' segment size, which is 500 and more
 * but for the smallest of peers, and those have no windows of this size. */
#define OFFLOAD_SEGMENTS_MAX 512

/* Takes a virtio header over into a frame whose bytes are filled in. allowed: of enum frame_undone.
 * False: it is not of this frame, or has more than is allowed. */
bool offload_read(struct frame *frame, const struct virtio_net_hdr *header, unsigned allowed);

/* The header for a frame that goes out at the port with head_len bytes of frame_write_head(). to:
 * anywhere, and its memory may be others'. */
void offload_write(const struct port *port, const struct frame *frame, unsigned head_len, void *to);

/* Sends those of the burst that port->pending names; what the port does not take undone is done
 * before. Where that is nothing, port->ops->send() does the same. */
void offload_send(struct port *port, const struct frame *frames);

#endif
