/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Matches; see match.h. */
#include "switch/openflow/match.h"

#include <netinet/in.h>

#define OXM_CLASS 0x8000
#define OXM_HEADER 4
#define OXM_MATCH_TYPE 1

/* Of flow_match: a number in the host's order, or bytes as on the wire. */
enum kind {
    NUMBER,
    BYTES,
};

/* A field goes with frames of these types and protocols only; 0: any. */
static const struct field {
    uint8_t oxm, len; /* on the wire */
    enum kind kind;
    uint8_t offset, width; /* in struct flow_key */
    uint8_t bits, shift;   /* of a number that is a part of the field there */
    bool maskable;
    uint16_t type;    /* TYPE_IP: IPv4 or IPv6 */
    uint8_t protocol; /* of IP */
} fields[] = {
#define KEY(member) offsetof(struct flow_key, member), sizeof(((struct flow_key *)0)->member)
#define TYPE_IP 1
    {OXM_IN_PORT, 4, NUMBER, KEY(in_port), 16, 0, false, 0, 0},
    {OXM_ETH_DST, 6, BYTES, KEY(to_mac), 0, 0, true, 0, 0},
    {OXM_ETH_SRC, 6, BYTES, KEY(from_mac), 0, 0, true, 0, 0},
    {OXM_ETH_TYPE, 2, NUMBER, KEY(type), 16, 0, false, 0, 0},
    {OXM_VLAN_VID, 2, NUMBER, KEY(vlan), 13, 0, true, 0, 0},
    {OXM_VLAN_PCP, 1, NUMBER, KEY(pcp), 3, 0, false, 0, 0},
    {OXM_IP_DSCP, 1, NUMBER, KEY(tos), 6, 2, false, TYPE_IP, 0},
    {OXM_IP_ECN, 1, NUMBER, KEY(tos), 2, 0, false, TYPE_IP, 0},
    {OXM_IP_PROTO, 1, NUMBER, KEY(protocol), 8, 0, false, TYPE_IP, 0},
    {OXM_IPV4_SRC, 4, BYTES, KEY(from), 0, 0, true, FLOW_TYPE_IPV4, 0},
    {OXM_IPV4_DST, 4, BYTES, KEY(to), 0, 0, true, FLOW_TYPE_IPV4, 0},
    {OXM_TCP_SRC, 2, NUMBER, KEY(from_port), 16, 0, true, TYPE_IP, IPPROTO_TCP},
    {OXM_TCP_DST, 2, NUMBER, KEY(to_port), 16, 0, true, TYPE_IP, IPPROTO_TCP},
    {OXM_UDP_SRC, 2, NUMBER, KEY(from_port), 16, 0, true, TYPE_IP, IPPROTO_UDP},
    {OXM_UDP_DST, 2, NUMBER, KEY(to_port), 16, 0, true, TYPE_IP, IPPROTO_UDP},
    {OXM_SCTP_SRC, 2, NUMBER, KEY(from_port), 16, 0, true, TYPE_IP, IPPROTO_SCTP},
    {OXM_SCTP_DST, 2, NUMBER, KEY(to_port), 16, 0, true, TYPE_IP, IPPROTO_SCTP},
    {OXM_ICMPV4_TYPE, 1, NUMBER, KEY(from_port), 8, 0, false, FLOW_TYPE_IPV4, IPPROTO_ICMP},
    {OXM_ICMPV4_CODE, 1, NUMBER, KEY(to_port), 8, 0, false, FLOW_TYPE_IPV4, IPPROTO_ICMP},
    {OXM_ARP_OP, 2, NUMBER, KEY(protocol), 8, 0, false, FLOW_TYPE_ARP, 0},
    {OXM_ARP_SPA, 4, BYTES, KEY(from), 0, 0, true, FLOW_TYPE_ARP, 0},
    {OXM_ARP_TPA, 4, BYTES, KEY(to), 0, 0, true, FLOW_TYPE_ARP, 0},
    {OXM_ARP_SHA, 6, BYTES, KEY(arp.from), 0, 0, true, FLOW_TYPE_ARP, 0},
    {OXM_ARP_THA, 6, BYTES, KEY(arp.to), 0, 0, true, FLOW_TYPE_ARP, 0},
    {OXM_IPV6_SRC, 16, BYTES, KEY(from), 0, 0, true, FLOW_TYPE_IPV6, 0},
    {OXM_IPV6_DST, 16, BYTES, KEY(to), 0, 0, true, FLOW_TYPE_IPV6, 0},
    {OXM_ICMPV6_TYPE, 1, NUMBER, KEY(from_port), 8, 0, false, FLOW_TYPE_IPV6, IPPROTO_ICMPV6},
    {OXM_ICMPV6_CODE, 1, NUMBER, KEY(to_port), 8, 0, false, FLOW_TYPE_IPV6, IPPROTO_ICMPV6},
    {OXM_IPV6_ND_TARGET, 16, BYTES, KEY(target), 0, 0, true, FLOW_TYPE_IPV6, IPPROTO_ICMPV6},
};

static const struct field *field_of(unsigned oxm)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        if (fields[i].oxm == oxm)
            return &fields[i];
    }
    return NULL;
}

/* --- Fields of keys ---------------------------------------------------------- */

static uint64_t get_number(const struct field *field, const struct flow_key *key)
{
    uint64_t number = load_le((const uint8_t *)key + field->offset, field->width);
    return number >> field->shift & (BIT(field->bits) - 1);
}

static void add_number(const struct field *field, struct flow_key *key, uint64_t number)
{
    uint8_t *at = (uint8_t *)key + field->offset;
    store_le(at, load_le(at, field->width) | number << field->shift, field->width);
}

static uint64_t all_ones(const struct field *field)
{
    return BIT(field->bits) - 1;
}

/* Whether some of its bits are looked at. */
static bool is_there(const struct field *field, const struct flow_key *mask)
{
    if (field->kind == NUMBER)
        return get_number(field, mask) != 0;
    for (unsigned i = 0; i < field->len; i++) {
        if (((const uint8_t *)mask)[field->offset + i])
            return true;
    }
    return false;
}

/* Frames with the field are what the match is about. */
static bool has_prerequisites(const struct field *field, const struct flow_match *match)
{
    uint16_t type = match->mask.type ? match->key.type : 0;
    if (field->type == TYPE_IP ? type != FLOW_TYPE_IPV4 && type != FLOW_TYPE_IPV6
                               : field->type && field->type != type)
        return false;
    return !field->protocol || (match->mask.protocol && match->key.protocol == field->protocol);
}

/* --- 1.0 (5.2.3) --------------------------------------------------------------- */

enum {
    ANY_IN_PORT = 1 << 0,
    ANY_VLAN = 1 << 1,
    ANY_FROM_MAC = 1 << 2,
    ANY_TO_MAC = 1 << 3,
    ANY_TYPE = 1 << 4,
    ANY_PROTOCOL = 1 << 5,
    ANY_FROM_PORT = 1 << 6,
    ANY_TO_PORT = 1 << 7,
    ANY_PCP = 1 << 20,
    ANY_TOS = 1 << 21,
    ANY = (1 << 22) - 1,
};
#define FROM_BITS_SHIFT 8 /* how many bits of the IP address do not matter; 32 and more: all */
#define TO_BITS_SHIFT 14
#define ADDRESS_BITS 0x3fU
#define NO_VLAN 0xffff
#define TOS_MASK 0xfc

static void read_address(const uint8_t *data, unsigned any_bits, uint8_t *key, uint8_t *mask)
{
    uint32_t bits = any_bits >= 32 ? 0 : UINT32_MAX << any_bits;
    store_be(mask, bits, 4);
    store_be(key, load_be(data, 4) & bits, 4);
}

static void read_macs(uint32_t any, const uint8_t *data, struct flow_match *match)
{
    if (!(any & ANY_FROM_MAC)) {
        memcpy(match->key.from_mac, data + 6, 6);
        memset(match->mask.from_mac, 0xff, 6);
    }
    if (!(any & ANY_TO_MAC)) {
        memcpy(match->key.to_mac, data + 12, 6);
        memset(match->mask.to_mac, 0xff, 6);
    }
}

static void read_vlan(uint32_t any, const uint8_t *data, struct flow_match *match)
{
    uint16_t vlan = (uint16_t)load_be(data + 18, 2);
    if (!(any & ANY_VLAN)) {
        match->key.vlan = vlan == NO_VLAN ? 0 : (vlan & VLAN_ID_MASK) | OFP_VLAN_PRESENT;
        match->mask.vlan = OFP_VLAN_MASK;
    }
    if (!(any & ANY_PCP) && !(match->mask.vlan && !match->key.vlan)) {
        match->key.pcp = data[20] & 7;
        match->mask.pcp = 7;
        if (!match->mask.vlan)
            match->key.vlan = match->mask.vlan = OFP_VLAN_PRESENT;
    }
}

/* What goes with IP and ARP only does not matter for other frames. */
static void read_network(uint32_t any, const uint8_t *data, struct flow_match *match)
{
    struct flow_key *key = &match->key, *mask = &match->mask;
    bool ip = key->type == FLOW_TYPE_IPV4;
    if (!ip && key->type != FLOW_TYPE_ARP)
        return;
    read_address(data + 28, any >> FROM_BITS_SHIFT & ADDRESS_BITS, key->from, mask->from);
    read_address(data + 32, any >> TO_BITS_SHIFT & ADDRESS_BITS, key->to, mask->to);
    if (!(any & ANY_PROTOCOL)) {
        key->protocol = data[25];
        mask->protocol = 0xff;
    }
    if (!ip)
        return;
    if (!(any & ANY_TOS)) {
        key->tos = data[24] & TOS_MASK;
        mask->tos = TOS_MASK;
    }
    if (!mask->protocol || (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP &&
                            key->protocol != IPPROTO_SCTP && key->protocol != IPPROTO_ICMP))
        return;
    uint16_t ones = key->protocol == IPPROTO_ICMP ? 0xff : 0xffff;
    if (!(any & ANY_FROM_PORT)) {
        key->from_port = (uint16_t)(load_be(data + 36, 2) & ones);
        mask->from_port = ones;
    }
    if (!(any & ANY_TO_PORT)) {
        key->to_port = (uint16_t)(load_be(data + 38, 2) & ones);
        mask->to_port = ones;
    }
}

enum ofp_error ofp10_match_read(const uint8_t *data, struct flow_match *match)
{
    uint32_t any = (uint32_t)load_be(data, 4);
    *match = (struct flow_match){0};
    if (!(any & ANY_IN_PORT)) {
        match->key.in_port = (uint16_t)load_be(data + 4, 2);
        match->mask.in_port = 0xffff;
    }
    read_macs(any, data, match);
    read_vlan(any, data, match);
    if (!(any & ANY_TYPE)) {
        uint16_t type = (uint16_t)load_be(data + 22, 2);
        /* 0x05ff: frames with a length instead (802.3). */
        match->key.type = type == FLOW_TYPE_MIN - 1 ? 0 : type;
        match->mask.type = 0xffff;
        read_network(any, data, match);
    }
    return OFP_OK;
}

static unsigned any_bits_of(const uint8_t *mask)
{
    uint32_t bits = (uint32_t)load_be(mask, 4);
    return bits ? (unsigned)__builtin_ctz(bits) : 32;
}

void ofp10_match_write(struct wire *wire, const struct flow_match *match)
{
    const struct flow_key *key = &match->key, *mask = &match->mask;
    bool network = mask->type && (key->type == FLOW_TYPE_IPV4 || key->type == FLOW_TYPE_ARP);
    bool untagged = mask->vlan && !key->vlan;
    uint32_t any = 0;
    any |= mask->in_port ? 0 : ANY_IN_PORT;
    any |= (mask->vlan & VLAN_ID_MASK) || untagged ? 0 : ANY_VLAN;
    any |= mask->from_mac[0] || mask->from_mac[5] ? 0 : ANY_FROM_MAC;
    any |= mask->to_mac[0] || mask->to_mac[5] ? 0 : ANY_TO_MAC;
    any |= mask->type ? 0 : ANY_TYPE;
    any |= network && mask->protocol ? 0 : ANY_PROTOCOL;
    any |= network && mask->from_port ? 0 : ANY_FROM_PORT;
    any |= network && mask->to_port ? 0 : ANY_TO_PORT;
    any |= mask->pcp ? 0 : ANY_PCP;
    any |= network && mask->tos ? 0 : ANY_TOS;
    any |= (network ? any_bits_of(mask->from) : 32) << FROM_BITS_SHIFT;
    any |= (network ? any_bits_of(mask->to) : 32) << TO_BITS_SHIFT;
    wire_put(wire, any, 4);
    wire_put(wire, key->in_port, 2);
    wire_bytes(wire, key->from_mac, 6);
    wire_bytes(wire, key->to_mac, 6);
    wire_put(wire, untagged ? NO_VLAN : key->vlan & VLAN_ID_MASK, 2);
    wire_put(wire, key->pcp, 1);
    wire_put(wire, 0, 1);
    wire_put(wire, mask->type && !key->type ? FLOW_TYPE_MIN - 1 : key->type, 2);
    wire_put(wire, key->tos, 1);
    wire_put(wire, network ? key->protocol : 0, 1);
    wire_put(wire, 0, 2);
    wire_bytes(wire, network ? key->from : (const uint8_t[4]){0}, 4);
    wire_bytes(wire, network ? key->to : (const uint8_t[4]){0}, 4);
    wire_put(wire, network ? key->from_port : 0, 2);
    wire_put(wire, network ? key->to_port : 0, 2);
}

/* --- 1.3 (7.2.3) --------------------------------------------------------------- */

/* Ports' numbers have 32 bits; false: there is none of that number. */
static bool shorten_port(uint64_t *number)
{
    if (*number >= 0xffff0000 + OFPP_MAX)
        *number &= 0xffff;
    return *number <= 0xffff;
}

static enum ofp_error add_field_number(const struct field *field, const uint8_t *data, bool masked,
                                       struct flow_match *match)
{
    uint64_t value = load_be(data, field->len), mask = all_ones(field);
    if (field->oxm == OXM_IN_PORT && !shorten_port(&value))
        return OFP_MATCH_BAD_VALUE;
    if (masked)
        mask = load_be(data + field->len, field->len);
    if (value & ~all_ones(field))
        return OFP_MATCH_BAD_VALUE;
    if (value & ~mask)
        return OFP_MATCH_BAD_MASK;
    add_number(field, &match->key, value);
    add_number(field, &match->mask, mask & all_ones(field));
    return OFP_OK;
}

static enum ofp_error add_field(const struct field *field, const uint8_t *data, bool masked,
                                struct flow_match *match)
{
    if (!has_prerequisites(field, match))
        return OFP_MATCH_BAD_PREREQUISITE;
    if (is_there(field, &match->mask))
        return OFP_MATCH_DUPLICATE;
    if (masked && !field->maskable)
        return OFP_MATCH_BAD_MASK;
    if (field->kind == NUMBER)
        return add_field_number(field, data, masked, match);
    uint8_t *key = (uint8_t *)&match->key + field->offset;
    uint8_t *mask = (uint8_t *)&match->mask + field->offset;
    for (unsigned i = 0; i < field->len; i++) {
        mask[i] = masked ? data[field->len + i] : 0xff;
        key[i] = data[i];
        if (key[i] & ~mask[i])
            return OFP_MATCH_BAD_MASK;
    }
    return OFP_OK;
}

/* One field's header; *len: bytes behind it, all there. */
static enum ofp_error read_header(const uint8_t *data, size_t left, const struct field **field,
                                  bool *masked, size_t *len)
{
    if (left < OXM_HEADER)
        return OFP_MATCH_BAD_LEN;
    *masked = data[2] & 1;
    *len = data[3];
    *field = load_be(data, 2) == OXM_CLASS ? field_of(data[2] >> 1) : NULL;
    if (*len > left - OXM_HEADER)
        return OFP_MATCH_BAD_LEN;
    if (!*field)
        return OFP_MATCH_BAD_FIELD;
    return *len == (size_t)(*field)->len << *masked ? OFP_OK : OFP_MATCH_BAD_LEN;
}

enum ofp_error ofp13_match_read(const uint8_t *data, size_t len, struct flow_match *match,
                                size_t *used)
{
    *match = (struct flow_match){0};
    if (len < 4)
        return OFP_MATCH_BAD_LEN;
    size_t end = load_be(data + 2, 2);
    *used = ALIGN_UP(end, (size_t)8);
    if (load_be(data, 2) != OXM_MATCH_TYPE)
        return OFP_MATCH_BAD_TYPE;
    if (end < 4 || *used > len)
        return OFP_MATCH_BAD_LEN;
    for (size_t at = 4, bytes; at < end; at += OXM_HEADER + bytes) {
        const struct field *field;
        bool masked;
        enum ofp_error error = read_header(data + at, end - at, &field, &masked, &bytes);
        if (error == OFP_OK)
            error = add_field(field, data + at + OXM_HEADER, masked, match);
        if (error != OFP_OK)
            return error;
    }
    return OFP_OK;
}

enum ofp_error ofp13_field_read(const uint8_t *data, size_t len, struct ofp_field_value *value,
                                size_t *used)
{
    const struct field *field;
    bool masked;
    size_t bytes;
    enum ofp_error error = read_header(data, len, &field, &masked, &bytes);
    if (error == OFP_MATCH_BAD_LEN)
        return OFP_ACTION_BAD_LEN;
    if (error != OFP_OK || masked)
        return OFP_ACTION_BAD_FIELD;
    *value = (struct ofp_field_value){.field = field->oxm};
    memcpy(value->bytes, data + OXM_HEADER, field->len);
    if (field->kind == NUMBER)
        value->number = load_be(data + OXM_HEADER, field->len);
    *used = OXM_HEADER + bytes;
    return OFP_OK;
}

static void write_field(struct wire *wire, const struct field *field,
                        const struct flow_match *match)
{
    const uint8_t *mask = (const uint8_t *)&match->mask + field->offset;
    bool masked = false;
    uint64_t number = 0;
    if (field->kind == NUMBER) {
        number = get_number(field, &match->key);
        masked = get_number(field, &match->mask) != all_ones(field);
        if (field->oxm == OXM_IN_PORT && number >= OFPP_MAX)
            number |= 0xffff0000;
    }
    for (unsigned i = 0; field->kind == BYTES && i < field->len; i++)
        masked |= mask[i] != 0xff;
    wire_put(wire, OXM_CLASS, 2);
    wire_put(wire, (unsigned)field->oxm << 1 | masked, 1);
    wire_put(wire, (unsigned)field->len << masked, 1);
    if (field->kind == NUMBER) {
        wire_put(wire, number, field->len);
        if (masked)
            wire_put(wire, get_number(field, &match->mask), field->len);
        return;
    }
    wire_bytes(wire, (const uint8_t *)&match->key + field->offset, field->len);
    if (masked)
        wire_bytes(wire, mask, field->len);
}

void ofp13_match_write(struct wire *wire, const struct flow_match *match)
{
    size_t start = wire->len;
    wire_put(wire, OXM_MATCH_TYPE, 2);
    wire_put(wire, 0, 2);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        if (is_there(&fields[i], &match->mask) && has_prerequisites(&fields[i], match))
            write_field(wire, &fields[i], match);
    }
    size_t len = wire->len - start;
    wire_patch(wire, start + 2, len, 2);
    wire_zeroes(wire, ALIGN_UP(len, (size_t)8) - len);
}

void ofp13_put_field_headers(struct wire *wire, bool settable)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        unsigned oxm = fields[i].oxm;
        if (settable && oxm != OXM_ETH_DST && oxm != OXM_ETH_SRC && oxm != OXM_VLAN_VID &&
            oxm != OXM_VLAN_PCP && oxm != OXM_IP_DSCP)
            continue;
        wire_put(wire, OXM_CLASS, 2);
        wire_put(wire, oxm << 1, 1);
        wire_put(wire, fields[i].len, 1);
    }
}

/* --- Comparing ------------------------------------------------------------------- */

bool ofp_match_covers(const struct flow_match *a, const struct flow_match *b)
{
    for (unsigned i = 0; i < FLOW_KEY_WORDS; i++) {
        uint64_t mask = flow_key_word(&a->mask, i);
        if (mask & ~flow_key_word(&b->mask, i) ||
            (flow_key_word(&a->key, i) ^ flow_key_word(&b->key, i)) & mask)
            return false;
    }
    return true;
}

bool ofp_match_overlaps(const struct flow_match *a, const struct flow_match *b)
{
    for (unsigned i = 0; i < FLOW_KEY_WORDS; i++) {
        uint64_t both = flow_key_word(&a->mask, i) & flow_key_word(&b->mask, i);
        if ((flow_key_word(&a->key, i) ^ flow_key_word(&b->key, i)) & both)
            return false;
    }
    return true;
}
