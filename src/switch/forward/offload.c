/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums and segments; see offload.h. */
#include "switch/forward/offload.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include "base/util.h"
#include "switch/forward/checksum.h"

#define GSO_UDP_L4 5      /* VIRTIO_NET_HDR_GSO_UDP_L4, virtio 1.3 */
#define ETHERNET_BYTES 14 /* without a tag */
#define HEADERS_MAX 256   /* of a frame that is cut: addresses, tag, IP with options, TCP */

static const struct gso {
    uint8_t type; /* of the virtio header */
    uint8_t undone;
    uint8_t protocol;
    uint8_t header_min;
    uint8_t csum_offset;
} gsos[] = {
    {VIRTIO_NET_HDR_GSO_TCPV4, FRAME_TSO4, IPPROTO_TCP, sizeof(struct tcphdr),
     offsetof(struct tcphdr, check)},
    {VIRTIO_NET_HDR_GSO_TCPV6, FRAME_TSO6, IPPROTO_TCP, sizeof(struct tcphdr),
     offsetof(struct tcphdr, check)},
    {GSO_UDP_L4, FRAME_USO, IPPROTO_UDP, sizeof(struct udphdr), offsetof(struct udphdr, check)},
};

static const struct gso *gso_of(const struct frame *frame)
{
    for (unsigned i = 0; i < ARRAY_SIZE(gsos); i++) {
        if (gsos[i].undone & frame->offload.undone)
            return &gsos[i];
    }
    return NULL;
}

static uint32_t frame_bytes(const struct frame *frame)
{
    return FRAME_HEAD + frame->rest_bytes;
}

/* --- The virtio header --------------------------------------------------------- */

static bool read_gso(struct frame *frame, const struct virtio_net_hdr *header)
{
    struct frame_offload *offload = &frame->offload;
    for (unsigned i = 0; i < ARRAY_SIZE(gsos); i++) {
        if (gsos[i].type == (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN))
            offload->undone |= gsos[i].undone;
    }
    if (header->gso_type & VIRTIO_NET_HDR_GSO_ECN)
        offload->undone |= FRAME_TSO_ECN;
    offload->gso_size = header->gso_size;
    const struct gso *gso = gso_of(frame);
    if (!gso || !(offload->undone & FRAME_CSUM) || offload->csum_offset != gso->csum_offset ||
        offload->gso_size == 0)
        return false;
    uint32_t headers = (uint32_t)offload->csum_start + gso->header_min;
    return headers < frame_bytes(frame) &&
           (frame_bytes(frame) - headers) / offload->gso_size < OFFLOAD_SEGMENTS_MAX;
}

bool offload_read(struct frame *frame, const struct virtio_net_hdr *header, unsigned allowed)
{
    struct frame_offload *offload = &frame->offload;
    *offload = (struct frame_offload){.verified = header->flags & VIRTIO_NET_HDR_F_DATA_VALID};
    if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        offload->undone = FRAME_CSUM;
        offload->csum_start = header->csum_start;
        offload->csum_offset = header->csum_offset;
        if (header->csum_start < ETHERNET_BYTES ||
            (uint32_t)header->csum_start + header->csum_offset + sizeof(uint16_t) >
                frame_bytes(frame))
            return false;
    }
    if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE && !read_gso(frame, header))
        return false;
    return (offload->undone & ~allowed) == 0;
}

static void describe_undone(const struct frame *frame, unsigned head_len,
                            struct virtio_net_hdr *header)
{
    const struct frame_offload *offload = &frame->offload;
    const struct gso *gso = gso_of(frame);
    header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    /* A tag that was put in or taken out moves all that is behind it. */
    header->csum_start = (uint16_t)(offload->csum_start + head_len - FRAME_HEAD);
    header->csum_offset = offload->csum_offset;
    if (!gso)
        return;
    header->gso_type = gso->type;
    if (offload->undone & FRAME_TSO_ECN)
        header->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
    header->gso_size = offload->gso_size;
    header->hdr_len = (uint16_t)(header->csum_start + gso->header_min); /* a hint */
}

void offload_write(const struct port *port, const struct frame *frame, unsigned head_len, void *to)
{
    struct virtio_net_hdr header = {0};
    if (frame->offload.undone)
        describe_undone(frame, head_len, &header);
    else if (frame->offload.verified && port->takes & FRAME_CSUM)
        header.flags = VIRTIO_NET_HDR_F_DATA_VALID;
    memcpy(to, &header, sizeof(header));
}

/* --- Frames made here ------------------------------------------------------------ */

/* Each forwarding thread has its own, and is done with a burst before it takes the next. */
static _Thread_local struct {
    struct port *port;
    struct frame frames[FRAME_BURST];
    unsigned count;
    size_t used; /* of bytes */
    uint8_t bytes[2 * (FRAME_HEAD + FRAME_BYTES_MAX + HEADERS_MAX)];
} made;

static void flush(void)
{
    struct port *port = made.port;
    for (unsigned i = 0; i < made.count; i++)
        port->pending[i] = (uint8_t)i;
    port->pending_count = (uint8_t)made.count;
    if (made.count)
        port->ops->send(port, made.frames);
    made.count = 0;
    made.used = 0;
}

/* Room for the next frame of that many bytes, which the caller fills in. */
static uint8_t *take_room(size_t len)
{
    if (made.count == FRAME_BURST || made.used + len > sizeof(made.bytes))
        flush();
    uint8_t *room = made.bytes + made.used;
    made.used += len;
    return room;
}

/* Adds what lies in the room that was taken; the rest is as the frame's that it was made of. */
static void add_made(const struct frame *origin, const uint8_t *data, size_t len)
{
    struct frame *frame = &made.frames[made.count++];
    frame_set_bytes(frame, data, len);
    frame->vlan = origin->vlan;
    frame->tagged = origin->tagged;
    frame->service = origin->service;
}

static void add_unchanged(const struct frame *origin)
{
    take_room(0);
    struct frame *frame = &made.frames[made.count++];
    *frame = *origin;
    if (origin->rest == &origin->one)
        frame->rest = &frame->one;
}

/* Where in a frame's bytes one is; the sender's memory is read once. */
struct reader {
    const struct frame *frame;
    unsigned piece;
    size_t offset; /* in the piece */
};

static void read_rest(struct reader *reader, uint8_t *to, size_t len)
{
    while (len) {
        const struct iovec *piece = &reader->frame->rest[reader->piece];
        size_t part = MIN(len, piece->iov_len - reader->offset);
        memcpy(to, (const uint8_t *)piece->iov_base + reader->offset, part);
        to += part;
        len -= part;
        reader->offset += part;
        if (reader->offset == piece->iov_len) {
            reader->piece++;
            reader->offset = 0;
        }
    }
}

/* Of the bytes from start on, among them the field at start + offset, as it is. 0 means in UDP that
 * there is none. */
static void complete_checksum(uint8_t *data, size_t len, size_t start, size_t offset)
{
    uint16_t checksum = checksum_of(checksum_add(0, data + start, len - start));
    if (checksum == 0)
        checksum = UINT16_MAX;
    memcpy(data + start + offset, &checksum, sizeof(checksum));
}

static void add_completed(const struct frame *frame)
{
    struct reader reader = {.frame = frame};
    size_t len = frame_bytes(frame);
    uint8_t *room = take_room(len);
    memcpy(room, frame->head, FRAME_HEAD);
    read_rest(&reader, room + FRAME_HEAD, frame->rest_bytes);
    complete_checksum(room, len, frame->offload.csum_start, frame->offload.csum_offset);
    add_made(frame, room, len);
}

/* --- Segments ---------------------------------------------------------------------- */

struct headers {
    const struct gso *gso;
    bool ipv6;
    size_t ip, transport; /* where they begin */
    size_t len;           /* of all */
    size_t payload;       /* of all segments */
    uint8_t bytes[HEADERS_MAX];
};

static bool find_ip(struct headers *h, const struct frame *frame)
{
    struct iphdr ip;
    unsigned type = 0;
    h->ip = ETHERNET_BYTES + (frame->tagged ? FRAME_TAG_LEN : 0);
    for (unsigned tags = 0; tags < 2 && h->ip + sizeof(ip) <= h->transport; tags++) {
        type = (unsigned)h->bytes[h->ip - 2] << 8 | h->bytes[h->ip - 1];
        if (type != FRAME_TPID && type != FRAME_TPID_SERVICE)
            break;
        h->ip += FRAME_TAG_LEN; /* a customer's tag, which a tunnel leaves alone */
    }
    if (h->ip + sizeof(ip) > h->transport)
        return false;
    h->ipv6 = type == 0x86dd;
    if (h->ipv6)
        return !(frame->offload.undone & FRAME_TSO4) &&
               h->ip + sizeof(struct ip6_hdr) <= h->transport;
    memcpy(&ip, h->bytes + h->ip, sizeof(ip));
    return type == 0x0800 && !(frame->offload.undone & FRAME_TSO6) && ip.ihl >= sizeof(ip) / 4 &&
           h->ip + ip.ihl * 4U == h->transport && ip.protocol == h->gso->protocol;
}

/* The frame's headers in a copy, found to be what the virtio header says. */
static bool read_headers(struct headers *h, struct reader *reader, const struct frame *frame)
{
    h->gso = gso_of(frame);
    h->transport = frame->offload.csum_start;
    h->len = h->transport + h->gso->header_min;
    /* offload_read() saw to it that the frame is longer. */
    if (h->len > HEADERS_MAX)
        return false;
    memcpy(h->bytes, frame->head, FRAME_HEAD);
    read_rest(reader, h->bytes + FRAME_HEAD, h->len - FRAME_HEAD);
    if (!find_ip(h, frame))
        return false;
    if (h->gso->protocol == IPPROTO_TCP) {
        struct tcphdr tcp;
        memcpy(&tcp, h->bytes + h->transport, sizeof(tcp));
        size_t options = tcp.doff * 4U - sizeof(tcp);
        if (tcp.doff * 4U < sizeof(tcp) || h->len + options > HEADERS_MAX ||
            h->len + options >= frame_bytes(frame))
            return false;
        read_rest(reader, h->bytes + h->len, options);
        h->len += options;
    }
    h->payload = frame_bytes(frame) - h->len;
    return true;
}

static void set_ip_length(const struct headers *h, uint8_t *segment, size_t len, unsigned number)
{
    if (h->ipv6) {
        struct ip6_hdr ip;
        memcpy(&ip, segment + h->ip, sizeof(ip));
        ip.ip6_plen = htons((uint16_t)(len - h->ip - sizeof(ip)));
        memcpy(segment + h->ip, &ip, sizeof(ip));
        return;
    }
    struct iphdr ip;
    memcpy(&ip, segment + h->ip, sizeof(ip));
    ip.tot_len = htons((uint16_t)(len - h->ip));
    ip.id = htons((uint16_t)(ntohs(ip.id) + number));
    ip.check = 0;
    memcpy(segment + h->ip, &ip, sizeof(ip));
    ip.check = checksum_of(checksum_add(0, segment + h->ip, h->transport - h->ip));
    memcpy(segment + h->ip, &ip, sizeof(ip));
}

/* offset: of the segment's payload in all of it. */
static void set_transport(const struct headers *h, uint8_t *segment, size_t len, size_t offset,
                          bool last)
{
    uint8_t *at = segment + h->transport;
    if (h->gso->protocol == IPPROTO_UDP) {
        uint16_t udp_len = htons((uint16_t)(len - h->transport));
        memcpy(at + offsetof(struct udphdr, len), &udp_len, sizeof(udp_len));
    } else {
        struct tcphdr tcp;
        memcpy(&tcp, at, sizeof(tcp));
        tcp.seq = htonl(ntohl(tcp.seq) + (uint32_t)offset);
        if (!last)
            tcp.fin = tcp.psh = 0;
        if (offset)
            tcp.res2 &= ~2U; /* CWR */
        memcpy(at, &tcp, sizeof(tcp));
    }
    /* The field has the pseudo header's sum, in it the length of the whole. */
    uint16_t field;
    memcpy(&field, at + h->gso->csum_offset, sizeof(field));
    uint64_t sum = checksum_add_number(field, (uint32_t)(len - h->transport));
    sum += UINT16_MAX - checksum_fold(htonl((uint32_t)(h->len + h->payload - h->transport)));
    field = checksum_fold(sum);
    memcpy(at + h->gso->csum_offset, &field, sizeof(field));
    complete_checksum(segment, len, h->transport, h->gso->csum_offset);
}

static void add_segments(const struct frame *frame)
{
    struct reader reader = {.frame = frame};
    struct headers h;
    if (!read_headers(&h, &reader, frame)) {
        port_drop(made.port, DROP_SEGMENTS);
        return;
    }
    size_t part;
    unsigned number = 0;
    for (size_t offset = 0; offset < h.payload; offset += part, number++) {
        part = MIN(frame->offload.gso_size, h.payload - offset);
        uint8_t *room = take_room(h.len + part);
        memcpy(room, h.bytes, h.len);
        read_rest(&reader, room + h.len, part);
        set_ip_length(&h, room, h.len + part, number);
        set_transport(&h, room, h.len + part, offset, offset + part == h.payload);
        add_made(frame, room, h.len + part);
    }
}

void offload_send(struct port *port, const struct frame *frames)
{
    uint8_t pending[FRAME_BURST];
    unsigned count = port->pending_count, all = 0;
    for (unsigned i = 0; i < count; i++)
        all |= frames[port->pending[i]].offload.undone;
    if ((all & ~port->takes) == 0) {
        port->ops->send(port, frames);
        return;
    }
    memcpy(pending, port->pending, count);
    made.port = port;
    for (unsigned i = 0; i < count; i++) {
        const struct frame *frame = &frames[pending[i]];
        unsigned undone = frame->offload.undone & ~port->takes;
        if (!undone)
            add_unchanged(frame);
        else if (frame->offload.undone & FRAME_GSO)
            add_segments(frame);
        else
            add_completed(frame);
    }
    flush();
}
