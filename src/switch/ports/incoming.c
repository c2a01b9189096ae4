/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A burst that was read; see incoming.h. */
#include "switch/ports/incoming.h"

#include "switch/forward/bridge.h"
#include "switch/forward/offload.h"

#define ROOM_BYTES (8 * INCOMING_ROOM)

/* Each forwarding thread has its own, and is done with a burst before it takes the next. */
static _Thread_local struct {
    struct port *port;
    struct frame frames[FRAME_BURST];
    unsigned count;
    size_t used; /* of bytes */
    uint8_t bytes[ROOM_BYTES];
} incoming;

void incoming_begin(struct port *port)
{
    incoming.port = port;
    incoming.count = 0;
    incoming.used = 0;
}

uint8_t *incoming_room(void)
{
    bool full = incoming.count == FRAME_BURST || incoming.used + INCOMING_ROOM > ROOM_BYTES;
    return full ? NULL : incoming.bytes + incoming.used;
}

/* The tag follows the addresses and fills the head up. */
static void put_tag_in(struct frame *frame, const uint8_t *data, size_t len, const uint8_t *tag)
{
    memcpy(frame->head + FRAME_TYPE_OFFSET, tag, FRAME_TAG_LEN);
    frame->one.iov_base = (uint8_t *)data + FRAME_TYPE_OFFSET;
    frame->one.iov_len = len - FRAME_TYPE_OFFSET;
    frame->rest_bytes = (uint32_t)frame->one.iov_len;
}

void incoming_add_at(const uint8_t *data, size_t len, const uint8_t *tag)
{
    struct frame *frame = &incoming.frames[incoming.count];
    struct virtio_net_hdr header;
    size_t tag_len = tag ? FRAME_TAG_LEN : 0;
    if (len < INCOMING_HEADER + FRAME_BYTES_MIN ||
        len > INCOMING_HEADER + FRAME_BYTES_MAX - tag_len) {
        port_drop(incoming.port, DROP_MALFORMED);
        return;
    }
    memcpy(&header, data, sizeof(header));
    frame_set_bytes(frame, data + sizeof(header), len - sizeof(header));
    if (tag) {
        put_tag_in(frame, data + sizeof(header), len - sizeof(header), tag);
        header.csum_start += FRAME_TAG_LEN;
    }
    if (offload_read(frame, &header, INCOMING_LEAVES))
        incoming.count++;
    else
        port_drop(incoming.port, DROP_MALFORMED);
}

void incoming_add(size_t len, const uint8_t *tag)
{
    incoming_add_at(incoming.bytes + incoming.used, len, tag);
    incoming.used += len;
}

void incoming_add_plain(const uint8_t *data, size_t len)
{
    if (len < FRAME_BYTES_MIN || len > FRAME_BYTES_MAX)
        port_drop(incoming.port, DROP_MALFORMED);
    else
        frame_set_bytes(&incoming.frames[incoming.count++], data, len);
}

bool incoming_is_full(void)
{
    return incoming.count == FRAME_BURST;
}

void incoming_deliver(void)
{
    if (incoming.count)
        bridge_receive(incoming.port, incoming.frames, incoming.count);
}
