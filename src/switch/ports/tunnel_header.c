/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Headers of tunnels; see tunnel_header.h. */
#include "switch/ports/tunnel_header.h"

#include <netinet/in.h>

#include "base/util.h"

#define VNI_OFFSET 4
#define VNI_LEN 3

#define VXLAN_HAS_VNI 0x08

#define GENEVE_VERSION 0xc0 /* of the first byte; the rest: options, in words of 4 bytes */
#define GENEVE_OPTIONS 0x3f
#define GENEVE_CONTROL 0x80 /* of the second */
#define GENEVE_CRITICAL 0x40
#define GENEVE_ETHERNET 0x6558 /* the type of what is inside */
#define GENEVE_OPTION_HEADER 4
#define GENEVE_OPTION_WORDS 0x1f
#define GENEVE_OPTION_CRITICAL 0x80 /* of its type */

void tunnel_header_write(enum tunnel_kind kind, uint32_t vni, uint8_t header[TUNNEL_HEADER])
{
    memset(header, 0, TUNNEL_HEADER);
    if (kind == TUNNEL_VXLAN)
        header[0] = VXLAN_HAS_VNI;
    else
        store_be(header + 2, GENEVE_ETHERNET, 2);
    store_be(header + VNI_OFFSET, vni, VNI_LEN);
}

/* Bits that RFC 7348 reserves stand for extensions that change what the rest means (GPE, group
 * policy), so a packet with one of them is none for us. */
static bool read_vxlan(const uint8_t *data, size_t len, size_t *frame)
{
    *frame = TUNNEL_HEADER;
    return data[0] == VXLAN_HAS_VNI && load_be(data + 1, 3) == 0 && data[7] == 0;
}

/* Whether the options fill their room to the end, and none must be understood (3.5). */
static bool options_can_be_left_out(const uint8_t *option, size_t len)
{
    while (len) {
        if (len < GENEVE_OPTION_HEADER || option[2] & GENEVE_OPTION_CRITICAL)
            return false;
        size_t size = GENEVE_OPTION_HEADER + (option[3] & GENEVE_OPTION_WORDS) * 4U;
        if (size > len)
            return false;
        option += size;
        len -= size;
    }
    return true;
}

static bool read_geneve(const uint8_t *data, size_t len, size_t *frame)
{
    size_t options = (data[0] & GENEVE_OPTIONS) * 4U;
    *frame = TUNNEL_HEADER + options;
    return !(data[0] & GENEVE_VERSION) && !(data[1] & (GENEVE_CONTROL | GENEVE_CRITICAL)) &&
           load_be(data + 2, 2) == GENEVE_ETHERNET && *frame <= len &&
           options_can_be_left_out(data + TUNNEL_HEADER, options);
}

bool tunnel_header_read(enum tunnel_kind kind, const uint8_t *data, size_t len, uint32_t *vni,
                        size_t *frame)
{
    static bool (*const read[TUNNEL_KINDS])(const uint8_t *data, size_t len, size_t *frame) = {
        [TUNNEL_VXLAN] = read_vxlan,
        [TUNNEL_GENEVE] = read_geneve,
    };
    if (len < TUNNEL_HEADER)
        return false;
    *vni = (uint32_t)load_be(data + VNI_OFFSET, VNI_LEN);
    return read[kind](data, len, frame);
}

/* --- The frame inside ---------------------------------------------------------- */

#define IPV4_LEN 20
#define IPV4_ADDRESSES 12
#define IPV4_FRAGMENT 0x3fff /* more fragments, offset */
#define IPV6_LEN 40
#define IPV6_ADDRESSES 8
#define PORTS_LEN 4
#define LOOK_BYTES (14 + FRAME_TAG_LEN + 60 + PORTS_LEN) /* with IPv4's options */

static uint64_t hash_bytes(uint64_t hash, const uint8_t *data, size_t len,
                           const struct flow_secret *secret)
{
    for (size_t i = 0; i < len; i += 8)
        hash = flow_hash_add(hash, load_le(data + i, (unsigned)MIN(len - i, 8)), secret);
    return hash;
}

static bool has_ports(uint8_t protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

struct tunnel_inner tunnel_look_inside(const struct frame *frame, const struct flow_secret *secret)
{
    uint8_t bytes[LOOK_BYTES];
    struct tunnel_inner inner = {0};
    size_t len = frame_read(frame, bytes, sizeof(bytes));
    size_t at = load_be(bytes + FRAME_TYPE_OFFSET, 2) == FRAME_TPID ? 14 + FRAME_TAG_LEN : 14;
    uint64_t type = load_be(bytes + at - 2, 2);
    const uint8_t *ip = bytes + at;
    uint64_t hash = hash_bytes(type, bytes, 12, secret);
    if (type == 0x0800 && len >= at + IPV4_LEN) {
        size_t header = (ip[0] & 0xfU) * 4;
        inner = (struct tunnel_inner){.ip = true, .tos = ip[1], .hops = ip[8]};
        hash = hash_bytes(hash + ip[9], ip + IPV4_ADDRESSES, 8, secret);
        if (has_ports(ip[9]) && !(load_be(ip + 6, 2) & IPV4_FRAGMENT) &&
            len >= at + header + PORTS_LEN)
            hash = hash_bytes(hash, ip + header, PORTS_LEN, secret);
    } else if (type == 0x86dd && len >= at + IPV6_LEN) {
        inner =
            (struct tunnel_inner){.ip = true, .tos = (uint8_t)(load_be(ip, 2) >> 4), .hops = ip[7]};
        hash = hash_bytes(hash + ip[6], ip + IPV6_ADDRESSES, 32, secret);
        if (has_ports(ip[6]) && len >= at + IPV6_LEN + PORTS_LEN)
            hash = hash_bytes(hash, ip + IPV6_LEN, PORTS_LEN, secret);
    }
    inner.flow = hash;
    return inner;
}
