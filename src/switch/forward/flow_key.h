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

/* A common kind of headers (TCP, UDP, SCTP in IPv4 without options or IPv6 without extensions, no
 * fragment, with a tag or without), and which of a frame's first bytes a key is made from where
 * they are of that kind: these are compared 16 at a time. */
typedef uint64_t flow_vector __attribute__((vector_size(16)));
#define FLOW_SHAPE_VECTORS 5
#define FLOW_SHAPE_BYTES (FLOW_SHAPE_VECTORS * sizeof(flow_vector))
struct flow_shape {
    uint8_t care[FLOW_SHAPE_BYTES] __attribute__((aligned(16)));
    uint8_t l3, l4;     /* as in struct flow_headers */
    uint8_t len_at;     /* of the IP header's length field, ... */
    uint8_t len_behind; /* ... which counts from here on */
    uint8_t transport;  /* bytes of the transport header at least */
    bool tcp;
};

/* The first bytes of a frame. */
struct flow_headers {
    uint16_t len;         /* that are here */
    uint16_t l3, l4;      /* where the IP header and what follows it begin; 0: there is none */
    uint16_t end;         /* of what the IP header says; may be behind len */
    uint32_t frame_bytes; /* of the whole frame */
    uint32_t fragment_id; /* of a fragment */
    const struct flow_shape *shape; /* NULL: none of the common ones, or nobody looked */
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

/* --- Headers of common kinds -------------------------------------------------- */

/* For who looks at a whole burst: takes the first bytes, enough to find the shape; then
 * flow_headers_end() has the frame sent from them, and keeps the rest of headers that have no
 * shape. Neither changes what the frame is. */
static inline void flow_headers_begin(struct flow_burst *burst, unsigned i, struct frame *frame)
{
    struct flow_headers *headers = &burst->headers[i];
    if (frame->rest_count != 1 || frame->rest_bytes <= FLOW_SHAPE_BYTES - FRAME_HEAD) {
        flow_headers_keep(burst, i, frame);
        return;
    }
    memcpy(headers->bytes, frame->head, FRAME_HEAD);
    memcpy(headers->bytes + FRAME_HEAD, frame->rest->iov_base, FLOW_SHAPE_BYTES - FRAME_HEAD);
    headers->len = FLOW_SHAPE_BYTES;
    headers->frame_bytes = FRAME_HEAD + frame->rest_bytes;
}

static inline void flow_headers_end(struct flow_burst *burst, unsigned i, struct frame *frame)
{
    struct flow_headers *headers = &burst->headers[i];
    const uint32_t kept = FLOW_SHAPE_BYTES - FRAME_HEAD;
    if (frame->rest_count != 1 || frame->rest_bytes <= kept)
        return;
    if (!headers->shape) {
        flow_headers_keep_any(burst, i, frame);
        return;
    }
    struct iovec *iov = burst->iov[i];
    iov[1] = (struct iovec){(uint8_t *)frame->rest->iov_base + kept, frame->rest_bytes - kept};
    iov[0] = (struct iovec){headers->bytes + FRAME_HEAD, kept};
    frame->rest = iov;
    frame->rest_count = 2;
}

/* Whether the frame's lengths are those of whole headers of the shape, the bytes that it cares for
 * being so. What is not, flow_key_read() judges. */
static inline bool flow_shape_fits(const struct flow_shape *shape,
                                   const struct flow_headers *headers)
{
    const uint8_t *len = headers->bytes + shape->len_at;
    unsigned end = shape->len_behind + ((unsigned)len[0] << 8 | len[1]);
    unsigned transport = shape->tcp ? headers->bytes[shape->l4 + 12] >> 4 << 2 : shape->transport;
    return headers->len >= shape->l4 + shape->transport && transport >= shape->transport &&
           shape->l4 + transport <= end && end <= headers->frame_bytes;
}

/* The shape of headers, which fits, or NULL. */
const struct flow_shape *flow_shape_of(const struct flow_headers *headers);

/* The bytes that a shape cares for, the others 0. */
struct flow_masked {
    flow_vector vectors[FLOW_SHAPE_VECTORS];
};

static inline flow_vector flow_headers_vector(const struct flow_headers *headers,
                                              const struct flow_shape *shape, unsigned i)
{
    flow_vector care, bytes;
    memcpy(&care, shape->care + i * sizeof(care), sizeof(care));
    memcpy(&bytes, headers->bytes + i * sizeof(bytes), sizeof(bytes));
    return bytes & care;
}

static inline void flow_headers_mask(struct flow_masked *masked, const struct flow_headers *headers,
                                     const struct flow_shape *shape)
{
    for (unsigned i = 0; i < FLOW_SHAPE_VECTORS; i++)
        masked->vectors[i] = flow_headers_vector(headers, shape, i);
}

/* Written out, as compilers leave a loop of it. */
static inline bool flow_headers_are(const struct flow_headers *headers,
                                    const struct flow_shape *shape,
                                    const struct flow_masked *masked)
{
    const flow_vector *as = masked->vectors;
    _Static_assert(FLOW_SHAPE_VECTORS == 5, "each of them is compared");
    flow_vector differ = (flow_headers_vector(headers, shape, 0) ^ as[0]) |
                         (flow_headers_vector(headers, shape, 1) ^ as[1]) |
                         (flow_headers_vector(headers, shape, 2) ^ as[2]) |
                         (flow_headers_vector(headers, shape, 3) ^ as[3]) |
                         (flow_headers_vector(headers, shape, 4) ^ as[4]);
    return (differ[0] | differ[1]) == 0;
}

/* Whether a frame has the key that another one, of that shape, has. Identification, lengths,
 * checksum and TCP's numbers may differ. */
static inline bool flow_headers_repeat(const struct flow_headers *headers,
                                       const struct flow_shape *shape,
                                       const struct flow_masked *masked)
{
    return flow_headers_are(headers, shape, masked) && flow_shape_fits(shape, headers);
}

#endif
