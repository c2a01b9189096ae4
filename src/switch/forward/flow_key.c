/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of frames; see flow_key.h. */
#include "switch/forward/flow_key.h"

#include <netinet/in.h>

#include "base/util.h"

#define EXTENSIONS_MAX 8 /* headers of one IPv6 packet */

#define ARP_LEN 28
#define IPV4_LEN 20
#define IPV6_LEN 40
#define TCP_LEN 20
#define ND_LEN 24    /* up to the target */
#define ICMP_ERROR 8 /* before the packet that it quotes */
#define QUOTED_MIN 8 /* of what follows the quoted IP header */

/* RFC 792, 4443, 4861 */
#define ECHO 8
#define ECHO_REPLY 0
#define ECHO_IPV6 128
#define ECHO_REPLY_IPV6 129
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136

/* --- Keeping ---------------------------------------------------------------- */

/* Copies len bytes of the frame's rest, and has rest begin with the copy. */
static void keep_rest(struct iovec *iov, uint8_t *to, size_t len, struct frame *frame)
{
    const struct iovec *from = frame->rest;
    unsigned count = frame->rest_count, used = 0;
    size_t offset = 0;
    iov[used++] = (struct iovec){to, len};
    while (len) {
        size_t part = MIN(len, from->iov_len - offset);
        memcpy(to, (const uint8_t *)from->iov_base + offset, part);
        to += part;
        len -= part;
        offset += part;
        if (offset == from->iov_len) {
            from++;
            count--;
            offset = 0;
        }
    }
    if (offset) {
        iov[used++] = (struct iovec){(uint8_t *)from->iov_base + offset, from->iov_len - offset};
        from++;
        count--;
    }
    memcpy(&iov[used], from, count * sizeof(*from));
    frame->rest = iov;
    frame->rest_count = used + count;
}

void flow_headers_keep_any(struct flow_burst *burst, unsigned i, struct frame *frame)
{
    struct flow_headers *headers = &burst->headers[i];
    uint8_t *rest = headers->bytes + FRAME_HEAD;
    size_t len = MIN(frame->rest_bytes, FLOW_HEADERS_MAX - FRAME_HEAD);
    memcpy(headers->bytes, frame->head, FRAME_HEAD);
    headers->len = (uint16_t)(FRAME_HEAD + len);
    headers->frame_bytes = FRAME_HEAD + frame->rest_bytes;
    headers->shape = NULL;
    keep_rest(burst->iov[i], rest, len, frame);
}

/* --- Shapes ----------------------------------------------------------------- */

/* The head, and bytes a to b behind the start of the IP header at l3. */
#define CARE_HEAD [0 ... FRAME_HEAD - 1] = 0xff
#define CARE(l3, a, b) [(l3) + (a)...(l3) + (b)] = 0xff
/* All but length, identification, checksum and flow label. */
#define CARE_IPV4(l3) CARE_HEAD, CARE(l3, 6, 9), CARE(l3, 12, 23)
#define CARE_IPV6(l3) CARE_HEAD, CARE(l3, 6, 43)
#define CARE_TCP(l3, len) CARE(l3, (len) + 12, (len) + 13)
/* Of tagged frames type, version and class lie behind the head. */
#define CARE_TAGGED CARE(TAGGED, -2, 1)

#define UNTAGGED 14
#define TAGGED 18

#define PORTS_LEN 8 /* of UDP's header, and of SCTP's that we look at */
#define PLACE_IPV4(at, next) \
    .l3 = (at), .l4 = (at) + IPV4_LEN, .len_at = (at) + 2, .len_behind = (at), next
#define PLACE_IPV6(at, next) \
    .l3 = (at), .l4 = (at) + IPV6_LEN, .len_at = (at) + 4, .len_behind = (at) + IPV6_LEN, next
#define WITH_TCP .transport = TCP_LEN, .tcp = true
#define WITH_PORTS .transport = PORTS_LEN

/* By tag, IPv6, TCP; the others are UDP and SCTP. */
static const struct flow_shape shapes[2][2][2] = {
    {{{{CARE_IPV4(UNTAGGED)}, PLACE_IPV4(UNTAGGED, WITH_PORTS)},
      {{CARE_IPV4(UNTAGGED), CARE_TCP(UNTAGGED, IPV4_LEN)}, PLACE_IPV4(UNTAGGED, WITH_TCP)}},
     {{{CARE_IPV6(UNTAGGED)}, PLACE_IPV6(UNTAGGED, WITH_PORTS)},
      {{CARE_IPV6(UNTAGGED), CARE_TCP(UNTAGGED, IPV6_LEN)}, PLACE_IPV6(UNTAGGED, WITH_TCP)}}},
    {{{{CARE_IPV4(TAGGED), CARE_TAGGED}, PLACE_IPV4(TAGGED, WITH_PORTS)},
      {{CARE_IPV4(TAGGED), CARE_TAGGED, CARE_TCP(TAGGED, IPV4_LEN)}, PLACE_IPV4(TAGGED, WITH_TCP)}},
     {{{CARE_IPV6(TAGGED), CARE_TAGGED}, PLACE_IPV6(TAGGED, WITH_PORTS)},
      {{CARE_IPV6(TAGGED), CARE_TAGGED, CARE_TCP(TAGGED, IPV6_LEN)},
       PLACE_IPV6(TAGGED, WITH_TCP)}}},
};

static bool has_ports(uint8_t protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static unsigned be16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

const struct flow_shape *flow_shape_of(const struct flow_headers *headers)
{
    bool tagged = be16(headers->bytes + UNTAGGED - 2) == FRAME_TPID;
    const uint8_t *ip = headers->bytes + (tagged ? TAGGED : UNTAGGED);
    unsigned type = be16(ip - 2);
    uint8_t protocol;
    if (type == FLOW_TYPE_IPV4 && ip[0] == (4 << 4 | IPV4_LEN / 4) && !(be16(ip + 6) & 0x3fff))
        protocol = ip[9];
    else if (type == FLOW_TYPE_IPV6 && ip[0] >> 4 == 6)
        protocol = ip[6];
    else
        return NULL;
    if (!has_ports(protocol))
        return NULL;
    const struct flow_shape *shape =
        &shapes[tagged][type == FLOW_TYPE_IPV6][protocol == IPPROTO_TCP];
    return flow_shape_fits(shape, headers) ? shape : NULL;
}

/* --- Reading ---------------------------------------------------------------- */

/* Headers one after the other; no byte at or behind end is looked at. */
struct reader {
    const uint8_t *bytes;
    unsigned at, end;
    unsigned l4, packet_end; /* as in struct flow_headers */
    uint32_t fragment_id;
    bool quoted; /* cut short by an ICMP error, which is no fault */
};

static const uint8_t *peek(const struct reader *r, unsigned len)
{
    return r->at + len <= r->end ? r->bytes + r->at : NULL;
}

static bool read_tcp(const struct reader *r, struct flow_key *key)
{
    const uint8_t *p = peek(r, TCP_LEN);
    if (!p)
        return false;
    unsigned len = (p[12] >> 4) * 4U;
    key->tcp_flags = (uint16_t)(be16(p + 12) & 0xfff);
    return len >= TCP_LEN && (key->fragment || r->at + len <= r->packet_end);
}

static bool read_nd(const struct reader *r, struct flow_key *key)
{
    const uint8_t *p = peek(r, ND_LEN);
    if (!p)
        return false;
    memcpy(key->target, p + 8, sizeof(key->target));
    return true;
}

static bool read_icmp(const struct reader *r, struct flow_key *key)
{
    const uint8_t *p = peek(r, 4);
    if (!p)
        return false;
    bool ipv6 = key->protocol == IPPROTO_ICMPV6;
    key->from_port = p[0];
    key->to_port = p[1];
    if (ipv6 && (p[0] == ND_SOLICITATION || p[0] == ND_ADVERTISEMENT))
        return r->quoted || read_nd(r, key);
    if (p[0] != (ipv6 ? ECHO_IPV6 : ECHO) && p[0] != (ipv6 ? ECHO_REPLY_IPV6 : ECHO_REPLY))
        return true;
    if (!peek(r, 8))
        return false;
    key->icmp_id = (uint16_t)be16(p + 4);
    return true;
}

/* What follows the IP headers of a packet that is whole or the first of its fragments. */
static bool read_transport(struct reader *r, struct flow_key *key)
{
    bool ipv6 = key->type == FLOW_TYPE_IPV6;
    r->l4 = r->at;
    if (key->protocol == (ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
        return read_icmp(r, key);
    if (!has_ports(key->protocol))
        return true;
    const uint8_t *p = peek(r, QUOTED_MIN);
    if (!p)
        return false;
    key->from_port = (uint16_t)be16(p);
    key->to_port = (uint16_t)be16(p + 2);
    return key->protocol != IPPROTO_TCP || r->quoted || read_tcp(r, key);
}

/* The packet ends where its header says, not behind the frame's end. */
static bool set_end(struct reader *r, unsigned end, unsigned frame_end)
{
    if (end > frame_end && !r->quoted)
        return false;
    r->packet_end = MIN(end, frame_end);
    r->end = MIN(r->end, r->packet_end);
    return true;
}

static bool read_ipv4(struct reader *r, unsigned frame_end, struct flow_key *key)
{
    const uint8_t *p = peek(r, IPV4_LEN);
    if (!p || p[0] >> 4 != 4)
        return false;
    unsigned len = (p[0] & 15) * 4U, total = be16(p + 2), place = be16(p + 6);
    if (len < IPV4_LEN || total < len || !set_end(r, r->at + total, frame_end) || !peek(r, len))
        return false;
    key->tos = p[1];
    key->ttl = p[8];
    key->protocol = p[9];
    memcpy(key->from, p + 12, 4);
    memcpy(key->to, p + 16, 4);
    unsigned offset = place & 0x1fff;
    key->fragment =
        (uint8_t)((place & 0x3fff ? FLOW_FRAGMENT : 0) | (offset ? FLOW_FRAGMENT_LATER : 0));
    r->fragment_id = be16(p + 4);
    r->at += len;
    if (offset) /* one that would overwrite TCP's flags (RFC 3128) is no honest one */
        return offset > 1 || key->protocol != IPPROTO_TCP;
    return read_transport(r, key);
}

/* Bytes of an extension header; 0: it is none. */
static unsigned extension_len(uint8_t protocol, const uint8_t *p)
{
    switch (protocol) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS:
        return (p[1] + 1U) * 8;
    case IPPROTO_FRAGMENT:
        return 8;
    case IPPROTO_AH:
        return (p[1] + 2U) * 4;
    default:
        return 0;
    }
}

/* Goes over extension headers up to what they carry (RFC 8200 4.1). */
static bool skip_extensions(struct reader *r, struct flow_key *key)
{
    for (unsigned i = 0; i <= EXTENSIONS_MAX; i++) {
        static const uint8_t none[8];
        const uint8_t *p = peek(r, 8);
        unsigned len = extension_len(key->protocol, p ? p : none);
        if (len == 0)
            return true;
        if (!p || !peek(r, len))
            return false;
        if (key->protocol == IPPROTO_FRAGMENT) {
            unsigned place = be16(p + 2);
            r->fragment_id = be16(p + 4) << 16 | be16(p + 6);
            key->fragment |= (uint8_t)((place & 0xfff9 ? FLOW_FRAGMENT : 0) |
                                       (place & 0xfff8 ? FLOW_FRAGMENT_LATER : 0));
        }
        key->protocol = p[0];
        r->at += len;
        if (key->fragment & FLOW_FRAGMENT_LATER)
            return true;
    }
    return false;
}

static bool read_ipv6(struct reader *r, unsigned frame_end, struct flow_key *key)
{
    const uint8_t *p = peek(r, IPV6_LEN);
    if (!p || p[0] >> 4 != 6 || !set_end(r, r->at + IPV6_LEN + be16(p + 4), frame_end))
        return false;
    key->tos = (uint8_t)(p[0] << 4 | p[1] >> 4);
    key->protocol = p[6];
    key->ttl = p[7];
    memcpy(key->from, p + 8, 16);
    memcpy(key->to, p + 24, 16);
    r->at += IPV6_LEN;
    if (!skip_extensions(r, key))
        return false;
    return key->fragment & FLOW_FRAGMENT_LATER || read_transport(r, key);
}

static bool read_arp(const struct reader *r, struct flow_key *key)
{
    static const uint8_t ethernet_ipv4[7] = {0, 1, FLOW_TYPE_IPV4 >> 8, FLOW_TYPE_IPV4 & 0xff,
                                             6, 4};
    const uint8_t *p = peek(r, ARP_LEN);
    if (!p || memcmp(p, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
        return false;
    key->protocol = p[7];
    memcpy(key->arp.from, p + 8, 6);
    memcpy(key->from, p + 14, 4);
    memcpy(key->arp.to, p + 18, 6);
    memcpy(key->to, p + 24, 4);
    return true;
}

bool flow_key_read(struct flow_key *key, struct flow_headers *headers, const struct frame *frame,
                   unsigned in_port)
{
    unsigned l3 = frame->tagged ? TAGGED : UNTAGGED;
    unsigned type = be16(headers->bytes + l3 - 2);
    struct reader r = {.bytes = headers->bytes, .at = l3, .end = headers->len};
    bool good = true;
    *key = (struct flow_key){
        .vlan = frame->vlan,
        .type = (uint16_t)(type < FLOW_TYPE_MIN ? 0 : type),
        .pcp = frame->tagged ? headers->bytes[14] >> 5 : 0,
        .in_port = (uint16_t)in_port,
    };
    memcpy(key->to_mac, headers->bytes, 12);
    headers->l3 = headers->l4 = headers->end = 0;
    headers->shape = NULL;
    if (type == FLOW_TYPE_ARP)
        good = read_arp(&r, key);
    else if (type == FLOW_TYPE_IPV4)
        good = read_ipv4(&r, headers->frame_bytes, key);
    else if (type == FLOW_TYPE_IPV6)
        good = read_ipv6(&r, headers->frame_bytes, key);
    else
        return true;
    if (!good)
        return false;
    headers->l3 = (uint16_t)l3;
    headers->l4 = (uint16_t)r.l4;
    headers->fragment_id = r.fragment_id;
    headers->end = (uint16_t)MIN(r.packet_end, UINT16_MAX);
    headers->shape = flow_shape_of(headers);
    /* A customer's tag is none of ours: its bytes look like headers that were not read. */
    if (headers->shape && headers->shape->l4 != headers->l4)
        headers->shape = NULL;
    return true;
}

bool flow_key_read_quoted(struct flow_key *quoted, const struct flow_headers *headers,
                          const struct flow_key *key)
{
    struct reader r = {
        .bytes = headers->bytes,
        .at = headers->l4 + ICMP_ERROR,
        .end = MIN(headers->len, headers->end),
        .quoted = true,
    };
    *quoted = (struct flow_key){.vlan = key->vlan, .type = key->type, .in_port = key->in_port};
    if (!headers->l4)
        return false;
    bool good = key->type == FLOW_TYPE_IPV6 ? read_ipv6(&r, headers->end, quoted)
                                            : read_ipv4(&r, headers->end, quoted);
    return good && !(quoted->fragment & FLOW_FRAGMENT_LATER);
}
