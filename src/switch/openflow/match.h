/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OpenFlow's matches as the classifier has them: the struct of 1.0 (5.2.3) and the list of fields
 * (OXM) of 1.3 (7.2.3). In flows' keys in_port is an OpenFlow number, and vlan has OFP_VLAN_PRESENT
 * when there is a tag (as OXM's VLAN_VID).
 */
#ifndef KV_SWITCH_OPENFLOW_MATCH_H
#define KV_SWITCH_OPENFLOW_MATCH_H

#include <stddef.h>

#include "base/wire.h"
#include "switch/forward/classifier.h"
#include "switch/openflow/protocol.h"

#define OFP10_MATCH_LEN 40
#define OFP_VLAN_PRESENT 0x1000
#define OFP_VLAN_MASK 0x1fff

/* data: OFP10_MATCH_LEN bytes. */
enum ofp_error ofp10_match_read(const uint8_t *data, struct flow_match *match);
/* Fields that 1.0 does not have are left out. */
void ofp10_match_write(struct wire *wire, const struct flow_match *match);

/* A match with its header and padding at the front of len bytes; *used: how many it takes. */
enum ofp_error ofp13_match_read(const uint8_t *data, size_t len, struct flow_match *match,
                                size_t *used);
void ofp13_match_write(struct wire *wire, const struct flow_match *match);

/* One field of a set-field action (1.3, 7.2.5), header and value; bytes: of both. */
struct ofp_field_value {
    uint8_t field; /* enum ofp_oxm */
    uint64_t number;
    uint8_t bytes[16];
};
enum ofp_error ofp13_field_read(const uint8_t *data, size_t len, struct ofp_field_value *value,
                                size_t *used);

/* Headers of the fields that matches have, or that set-field changes. */
void ofp13_put_field_headers(struct wire *wire, bool settable);

enum ofp_oxm {
    OXM_IN_PORT = 0,
    OXM_ETH_DST = 3,
    OXM_ETH_SRC = 4,
    OXM_ETH_TYPE = 5,
    OXM_VLAN_VID = 6,
    OXM_VLAN_PCP = 7,
    OXM_IP_DSCP = 8,
    OXM_IP_ECN = 9,
    OXM_IP_PROTO = 10,
    OXM_IPV4_SRC = 11,
    OXM_IPV4_DST = 12,
    OXM_TCP_SRC = 13,
    OXM_TCP_DST = 14,
    OXM_UDP_SRC = 15,
    OXM_UDP_DST = 16,
    OXM_SCTP_SRC = 17,
    OXM_SCTP_DST = 18,
    OXM_ICMPV4_TYPE = 19,
    OXM_ICMPV4_CODE = 20,
    OXM_ARP_OP = 21,
    OXM_ARP_SPA = 22,
    OXM_ARP_TPA = 23,
    OXM_ARP_SHA = 24,
    OXM_ARP_THA = 25,
    OXM_IPV6_SRC = 26,
    OXM_IPV6_DST = 27,
    OXM_ICMPV6_TYPE = 29,
    OXM_ICMPV6_CODE = 30,
    OXM_IPV6_ND_TARGET = 31,
};

/* Whether each frame that b matches is matched by a, too (1.0, 4.6: what commands that are not
 * strict go by). */
bool ofp_match_covers(const struct flow_match *a, const struct flow_match *b);
/* Whether some frame is matched by both. */
bool ofp_match_overlaps(const struct flow_match *a, const struct flow_match *b);

#endif
