/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames for tests of the switch's filters; see flow_frames.h. */
#include "flow_frames.h"

#include <netinet/in.h>

#include "base/util.h"

void packet_set16(struct packet *p, unsigned at, unsigned value)
{
    p->bytes[at] = (uint8_t)(value >> 8);
    p->bytes[at + 1] = (uint8_t)value;
}

static void set_lengths(struct packet *p)
{
    if (p->l3 == 0)
        return;
    if (p->bytes[p->l3] >> 4 == 4)
        packet_set16(p, p->l3 + 2, p->len - p->l3);
    else
        packet_set16(p, p->l3 + 4, p->len - p->l3 - 40);
}

void packet_add(struct packet *p, const void *bytes, unsigned len)
{
    memcpy(p->bytes + p->len, bytes, len);
    p->len += len;
    set_lengths(p);
}

void packet_ethernet(struct packet *p, unsigned to, unsigned from, int vlan, unsigned type)
{
    memset(p, 0, sizeof(*p));
    p->bytes[0] = p->bytes[6] = 2;
    p->bytes[5] = (uint8_t)to;
    p->bytes[11] = (uint8_t)from;
    p->len = 12;
    if (vlan >= 0) {
        packet_set16(p, 12, FRAME_TPID);
        packet_set16(p, 14, (unsigned)vlan);
        p->len = 16;
    }
    packet_set16(p, p->len, type);
    p->len += 2;
}

void packet_ipv4(struct packet *p, unsigned to, unsigned from, unsigned protocol)
{
    const uint8_t header[20] = {
        0x45,          0,  0, 0, 0,          0, 0, 0, 64, (uint8_t)protocol, 0, 0, 10, 0, 0,
        (uint8_t)from, 10, 0, 0, (uint8_t)to};
    packet_ethernet(p, to, from, -1, FLOW_TYPE_IPV4);
    p->l3 = p->len;
    packet_add(p, header, sizeof(header));
    p->l4 = p->len;
}

void packet_ipv6(struct packet *p, unsigned to, unsigned from, unsigned next)
{
    uint8_t header[40] = {0x60, 0, 0, 0, 0, 0, (uint8_t)next, 64, 0xfd};
    header[23] = (uint8_t)from;
    header[24] = 0xfd;
    header[39] = (uint8_t)to;
    packet_ethernet(p, to, from, -1, FLOW_TYPE_IPV6);
    p->l3 = p->len;
    packet_add(p, header, sizeof(header));
    p->l4 = p->len;
}

void packet_arp(struct packet *p, unsigned operation, unsigned to, unsigned from)
{
    const uint8_t arp[28] = {0,  1,
                             8,  0,
                             6,  4,
                             0,  (uint8_t)operation,
                             2,  0,
                             0,  0,
                             0,  (uint8_t)from,
                             10, 0,
                             0,  (uint8_t)from,
                             2,  0,
                             0,  0,
                             0,  (uint8_t)to,
                             10, 0,
                             0,  (uint8_t)to};
    packet_ethernet(p, to, from, -1, FLOW_TYPE_ARP);
    packet_add(p, arp, sizeof(arp));
}

void packet_udp(struct packet *p, unsigned to_port, unsigned from_port, unsigned payload)
{
    uint8_t header[8] = {0};
    unsigned at = p->len;
    packet_add(p, header, sizeof(header));
    packet_set16(p, at, from_port);
    packet_set16(p, at + 2, to_port);
    packet_set16(p, at + 4, 8 + payload);
    memset(p->bytes + p->len, 'x', payload);
    p->len += payload;
    set_lengths(p);
}

void packet_tcp(struct packet *p, unsigned to_port, unsigned from_port, unsigned flags)
{
    uint8_t header[20] = {[12] = 0x50};
    unsigned at = p->len;
    packet_add(p, header, sizeof(header));
    packet_set16(p, at, from_port);
    packet_set16(p, at + 2, to_port);
    packet_set16(p, at + 12, 0x5000 | flags);
}

void packet_echo(struct packet *p, unsigned type, unsigned id)
{
    const uint8_t echo[8] = {(uint8_t)type, 0, 0, 0, (uint8_t)(id >> 8), (uint8_t)id, 0, 1};
    packet_add(p, echo, sizeof(echo));
}

void packet_error(struct packet *p, unsigned type, unsigned code, const struct packet *about)
{
    const uint8_t header[8] = {(uint8_t)type, (uint8_t)code};
    packet_add(p, header, sizeof(header));
    packet_add(p, about->bytes + about->l3, MIN(about->len - about->l3, 68));
}

void packet_frame(const struct packet *p, struct frame *frame, struct iovec *iov, unsigned piece)
{
    unsigned at = FRAME_HEAD;
    memset(frame, 0, sizeof(*frame));
    memcpy(frame->head, p->bytes, FRAME_HEAD);
    frame->tagged = (p->bytes[12] << 8 | p->bytes[13]) == FRAME_TPID;
    frame->vlan = frame->tagged ? (uint16_t)((p->bytes[14] << 8 | p->bytes[15]) & VLAN_ID_MASK) : 0;
    frame->rest_bytes = p->len - FRAME_HEAD;
    frame->rest = iov;
    while (at < p->len) {
        unsigned len = p->len - at;
        if (piece && len > piece && frame->rest_count < FRAME_SEGMENTS_MAX - 1)
            len = piece;
        iov[frame->rest_count++] = (struct iovec){(uint8_t *)p->bytes + at, len};
        at += len;
    }
}

bool packet_key(const struct packet *p, struct flow_key *key)
{
    static struct flow_burst burst;
    struct iovec iov[FRAME_SEGMENTS_MAX];
    struct frame frame;
    packet_frame(p, &frame, iov, 0);
    flow_headers_keep(&burst, 0, &frame);
    return flow_key_read(key, &burst.headers[0], &frame, 0);
}
