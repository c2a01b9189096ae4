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

struct frame {
    uint8_t head[FRAME_HEAD];
    const struct iovec *rest; /* what follows the head, in the sender's memory */
    unsigned rest_count;
    uint32_t rest_bytes;
    uint16_t vlan;    /* that it belongs to */
    bool tagged;      /* head has a tag, of that VLAN */
    struct iovec one; /* where rest may point to */
};

/* The head as it is sent, with a tag or without; returns its length. out: FRAME_HEAD_MAX bytes. */
static inline unsigned frame_write_head(const struct frame *frame, bool tagged, uint8_t *out)
{
    memcpy(out, frame->head, FRAME_HEAD);
    if (__builtin_expect(frame->tagged == tagged, 1))
        return FRAME_HEAD;
    if (frame->tagged)
        return FRAME_TYPE_OFFSET;
    memcpy(out + FRAME_HEAD, frame->head + FRAME_TYPE_OFFSET, FRAME_TAG_LEN);
    out[12] = FRAME_TPID >> 8;
    out[13] = FRAME_TPID & 0xff;
    out[14] = (uint8_t)(frame->vlan >> 8);
    out[15] = (uint8_t)frame->vlan;
    return FRAME_HEAD_MAX;
}

#endif
