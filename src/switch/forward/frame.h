/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A frame on its way through the switch. Its bytes stay where the sender has them; only the first
 * 16 (both addresses, type or VLAN tag) are read once and kept, because a guest may change its
 * memory while we look: what was checked is what is sent on. IEEE 802.3, 802.1Q clause 9.
 */
#ifndef KV_SWITCH_FORWARD_FRAME_H
#define KV_SWITCH_FORWARD_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define FRAME_BURST 64 /* frames that are looked at together */

#define FRAME_HEAD 16      /* bytes kept */
#define FRAME_HEAD_MAX 20  /* with a tag put in */
#define FRAME_BYTES_MIN 18 /* so that a tag can be taken out and a type is left */
#define FRAME_BYTES_MAX 65550

#define FRAME_SEGMENTS_MAX 64 /* that the sender may have the rest in */

#define FRAME_TYPE_OFFSET 12
#define FRAME_TAG_LEN 4
#define FRAME_TPID 0x8100         /* customer tag */
#define FRAME_TPID_SERVICE 0x88a8 /* service tag */

#define VLAN_COUNT 4096
#define VLAN_ID_MASK 0x0fffU

/* What a sender leaves undone, and a receiver may take undone (virtio 1.2, 5.1.6.2). */
enum frame_undone {
    FRAME_CSUM = 1, /* a checksum */
    FRAME_TSO4 = 2, /* it is many segments in one: TCP over IPv4 */
    FRAME_TSO6 = 4,
    FRAME_TSO_ECN = 8, /* with TSO: its first segment alone has CWR */
    FRAME_USO = 16,    /* many UDP datagrams in one */
};
#define FRAME_GSO (FRAME_TSO4 | FRAME_TSO6 | FRAME_USO)

struct frame_offload {
    uint8_t undone; /* of enum frame_undone; 0: the frame is as it goes over a wire */
    bool verified;  /* its checksum was found right */
    uint16_t gso_size;
    uint16_t csum_start, csum_offset; /* csum_start counts from the frame's begin, as it came */
};

struct frame {
    uint8_t head[FRAME_HEAD];
    const struct iovec *rest; /* what follows the head, in the sender's memory */
    unsigned rest_count;
    uint32_t rest_bytes;
    struct frame_offload offload;
    uint16_t vlan;    /* that it belongs to */
    bool tagged;      /* head has a tag, of that VLAN */
    bool service;     /* a tag that is put in is a service tag */
    struct iovec one; /* where rest may point to */
};

/* For frames that are kept elsewhere: rest may point into the frame itself. */
static inline void frame_copy(struct frame *to, const struct frame *from)
{
    *to = *from;
    if (from->rest == &from->one)
        to->rest = &to->one;
}

/* Fills in a frame that lies in one piece, with nothing undone. len: FRAME_BYTES_MIN at least. */
static inline void frame_set_bytes(struct frame *frame, const uint8_t *data, size_t len)
{
    memcpy(frame->head, data, FRAME_HEAD);
    frame->one = (struct iovec){(uint8_t *)data + FRAME_HEAD, len - FRAME_HEAD};
    frame->rest = &frame->one;
    frame->rest_count = 1;
    frame->rest_bytes = (uint32_t)(len - FRAME_HEAD);
    frame->offload = (struct frame_offload){0};
}

/* Copies as much as there is, at most max (FRAME_HEAD or more); returns how much. */
static inline size_t frame_read(const struct frame *frame, uint8_t *to, size_t max)
{
    memcpy(to, frame->head, FRAME_HEAD);
    size_t len = FRAME_HEAD;
    for (unsigned i = 0; i < frame->rest_count && len < max; i++) {
        size_t part = frame->rest[i].iov_len < max - len ? frame->rest[i].iov_len : max - len;
        memcpy(to + len, frame->rest[i].iov_base, part);
        len += part;
    }
    return len;
}

/* The head as it is sent, with a tag or without; returns its length. out: FRAME_HEAD_MAX bytes. */
static inline unsigned frame_write_head(const struct frame *frame, bool tagged, uint8_t *out)
{
    memcpy(out, frame->head, FRAME_HEAD);
    if (__builtin_expect(frame->tagged == tagged, 1))
        return FRAME_HEAD;
    if (frame->tagged)
        return FRAME_TYPE_OFFSET;
    memcpy(out + FRAME_HEAD, frame->head + FRAME_TYPE_OFFSET, FRAME_TAG_LEN);
    const unsigned tpid = frame->service ? FRAME_TPID_SERVICE : FRAME_TPID;
    out[12] = (uint8_t)(tpid >> 8);
    out[13] = (uint8_t)tpid;
    out[14] = (uint8_t)(frame->vlan >> 8);
    out[15] = (uint8_t)frame->vlan;
    return FRAME_HEAD_MAX;
}

#endif
