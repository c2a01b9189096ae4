/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What rules can say about a frame: the fields of its headers in one struct of a fixed size, which
 * the classifier hashes and compares word by word. A guest may change its memory while we look, so
 * a frame's headers are copied once (flow_headers_keep) and sent from that copy: what was matched
 * is what is sent. Used by bridges that have filters, meters or flows; the others read no keys. On
 * the forwarding thread. RFC 791, 8200, 792, 4443, 4861, 826, 9293, 768, 9260.
 */
#ifndef KV_SWITCH_FORWARD_FLOW_KEY_H
#define KV_SWITCH_FORWARD_FLOW_KEY_H

#include "switch/forward/frame.h"

#define FLOW_HEADERS_MAX \
    192 /* bytes of a frame that are kept; headers that are longer are refused */

#define FLOW_TYPE_IPV4 0x0800
#define FLOW_TYPE_ARP 0x0806
#define FLOW_TYPE_IPV6 0x86dd
#define FLOW_TYPE_MIN 0x0600 /* below: a length (802.3), told as type 0 */

/* Bits of flow_key.fragment. The first of several has ports, the later ones have none. */
#define FLOW_FRAGMENT 1
#define FLOW_FRAGMENT_LATER 2

/* Addresses are as on the wire (IPv4: the first 4 bytes), numbers in the host's order. What a
 * frame's protocol has not is 0. */
struct flow_key {
    uint8_t to_mac[6], from_mac[6];
    uint16_t vlan;    /* that it belongs to; 0: none */
    uint16_t type;    /* behind the VLAN tag */
    uint8_t protocol; /* of IPv4 and IPv6, behind extension headers; ARP's operation */
    uint8_t pcp, tos, ttl;
    uint8_t fragment;
    uint8_t unused;   /* 0 */
    uint16_t icmp_id; /* of echoes */
    uint16_t in_port; /* index in the bridge */
    uint16_t tcp_flags;
    uint16_t from_port, to_port; /* of TCP, UDP and SCTP; ICMP: type and code */
    uint8_t from[16], to[16];    /* of IPv4 and IPv6; ARP's protocol addresses */
    union {
        uint8_t target[16]; /* of neighbour solicitations and advertisements */
        struct {
            uint8_t from[6], to[6]; /* ARP's hardware addresses */
            uint8_t unused[4];      /* 0 */
        } arp;
    };
} __attribute__((aligned(8)));

#define FLOW_KEY_WORDS (sizeof(struct flow_key) / sizeof(uint64_t))
_Static_assert(sizeof(struct flow_key) == 80, "no padding, which would be compared");

static inline uint64_t flow_key_word(const struct flow_key *key, unsigned i)
{
    uint64_t word;
    memcpy(&word, (const uint8_t *)key + i * sizeof(word), sizeof(word));
    return word;
}

/* Which of the bytes behind the head a key was made from, where its headers are of a common kind:
 * they are compared 16 at a time. */
typedef uint64_t flow_vector __attribute__((vector_size(16)));
#define FLOW_SHAPE_VECTORS 4
struct flow_shape {
    uint8_t care[FLOW_SHAPE_VECTORS * sizeof(flow_vector)] __attribute__((aligned(16)));
};

/* The first bytes of a frame. */
struct flow_headers {
    uint16_t len;         /* that are here */
    uint16_t l3, l4;      /* where the IP header and what follows it begin; 0: there is none */
    uint16_t end;         /* of what the IP header says; may be behind len */
    uint32_t frame_bytes; /* of the whole frame */
    uint32_t fragment_id; /* of a fragment */
    const struct flow_shape *shape; /* NULL: none of the common ones */
    uint8_t bytes[FLOW_HEADERS_MAX] __attribute__((aligned(16)));
};

/* Of a burst. Bytes that nothing was copied to are 0 or of earlier bursts. */
struct flow_burst {
    struct flow_headers headers[FRAME_BURST];
    struct iovec iov[FRAME_BURST][FRAME_SEGMENTS_MAX + 1];
};

/* As flow_headers_keep(), for all frames. */
void flow_headers_keep_any(struct flow_burst *burst, unsigned i, struct frame *frame);

/* Copies the headers of frame i and has it sent from the copy. The head must be as it is sent. */
static inline void flow_headers_keep(struct flow_burst *burst, unsigned i, struct frame *frame)
{
    struct flow_headers *headers = &burst->headers[i];
    uint32_t len = frame->rest_bytes;
    /* Most of a flood are short and in one piece. */
    if (__builtin_expect(frame->rest_count != 1 || len < 32 || len > 64, 0)) {
        flow_headers_keep_any(burst, i, frame);
        return;
    }
    const uint8_t *from = frame->rest->iov_base;
    uint8_t *to = headers->bytes + FRAME_HEAD;
    memcpy(headers->bytes, frame->head, FRAME_HEAD);
    memcpy(to, from, 32);
    /* The second half overlaps the first where there are fewer than 64. */
    memcpy(to + len - 32, from + len - 32, 32);
    headers->len = (uint16_t)(FRAME_HEAD + len);
    headers->frame_bytes = FRAME_HEAD + len;
    headers->shape = NULL;
    frame->one = (struct iovec){to, len};
    frame->rest = &frame->one;
}

/* Reads the key. The frame's VLAN is known. False: its headers contradict each other, are cut
 * short, or are too many: nobody can tell what a receiver makes of them (RFC 1858, 3128, 7112). */
bool flow_key_read(struct flow_key *key, struct flow_headers *headers, const struct frame *frame,
                   unsigned in_port);

/* The key of the packet that an ICMP error tells of (RFC 792, RFC 4443 2.4); headers were read as
 * key. False: there is none that is whole up to its ports. */
bool flow_key_read_quoted(struct flow_key *quoted, const struct flow_headers *headers,
                          const struct flow_key *key);

/* Whether a frame has the key that the one before, which was read, has. Their heads are the same.
 * Identification, checksum and TCP's numbers may differ. */
static inline bool flow_headers_repeat(const struct flow_headers *before,
                                       const struct flow_headers *headers)
{
    if (!before->shape || before->frame_bytes != headers->frame_bytes)
        return false;
    flow_vector differ = {0};
    for (unsigned i = 0; i < FLOW_SHAPE_VECTORS; i++) {
        flow_vector care, a, b;
        memcpy(&care, before->shape->care + i * sizeof(care), sizeof(care));
        memcpy(&a, before->bytes + FRAME_HEAD + i * sizeof(a), sizeof(a));
        memcpy(&b, headers->bytes + FRAME_HEAD + i * sizeof(b), sizeof(b));
        differ |= (a ^ b) & care;
    }
    return (differ[0] | differ[1]) == 0;
}

#endif
