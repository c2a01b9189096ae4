/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets whose first fragment a port's rules allowed: the later ones have no ports to ask rules
 * about, and follow the first. The table has a fixed size; when it is full, a port that has many
 * loses its own first. Belongs to the forwarding thread. RFC 791, RFC 8200 4.5.
 */
#ifndef KV_SWITCH_FILTER_FRAGMENTS_H
#define KV_SWITCH_FILTER_FRAGMENTS_H

#include "switch/filter/acl.h"
#include "switch/forward/flow_hash.h"

#define FRAGMENTS_SETS 256
#define FRAGMENTS_WAYS 4

struct fragment_tuple {
    uint8_t from[16], to[16];
    uint32_t id;
    uint16_t port, vlan; /* the port's index */
    uint8_t direction;   /* enum filter_direction */
    uint8_t protocol;    /* of IPv4; an IPv6 fragment's is its sender's choice */
    uint8_t unused[6];   /* 0 */
};

struct fragmented {
    struct fragment_tuple tuple;
    uint32_t expires_s; /* 0: free */
};

struct fragments {
    struct flow_secret secret;
    struct fragmented sets[FRAGMENTS_SETS][FRAGMENTS_WAYS];
};

/* The key is a fragment's. */
void fragment_tuple_make(struct fragment_tuple *tuple, unsigned port,
                         enum filter_direction direction, const struct flow_key *key,
                         const struct flow_headers *headers);

void fragments_add(struct fragments *fragments, const struct fragment_tuple *tuple, uint32_t now_s);
bool fragments_has(const struct fragments *fragments, const struct fragment_tuple *tuple,
                   uint32_t now_s);

#endif
