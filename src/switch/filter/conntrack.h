/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections that ports have open, so that answers to what a rule allowed are allowed. Each port
 * has its own: what one port's rules let pass says nothing about another's. Connections are told
 * apart by VLAN, protocol, both addresses and ports, of ICMP by the echo's identifier. The table
 * has a fixed size and its hash a secret; a connection lies in either of two buckets, so that
 * nothing a guest sends makes a look longer, and a port has at most as many as it may. Belongs to
 * the forwarding thread. RFC 9293, 5382, 4787, 5508.
 */
#ifndef KV_SWITCH_FILTER_CONNTRACK_H
#define KV_SWITCH_FILTER_CONNTRACK_H

#include "base/error.h"
#include "switch/filter/acl.h"
#include "switch/forward/flow_hash.h"
#include "switch/forward/flow_key.h"
#include "switch/forward/mac_table.h"

#define CONNTRACK_ENTRIES 65536
#define CONNTRACK_BUCKET 4

/* Seen from the port: local is on its side, whoever speaks. */
struct conntrack_tuple {
    uint8_t local[16], remote[16];
    uint16_t local_port, remote_port;
    uint16_t port, vlan; /* the port's index */
    uint8_t protocol;
    bool ipv6;
    uint8_t unused[6]; /* 0 */
};

enum connection_state {
    CONNECTION_FREE,
    CONNECTION_NEW,     /* nobody answered */
    CONNECTION_REPLIED, /* of TCP: by SYN and ACK, the handshake's last part is missing */
    CONNECTION_ESTABLISHED,
    CONNECTION_CLOSING, /* of TCP: one side has said all */
    CONNECTION_CLOSED,  /* of TCP: both have, or one reset it */
};

struct connection {
    struct conntrack_tuple tuple;
    uint32_t expires_s;
    uint32_t checked; /* serial of the ACL that allowed it */
    uint8_t state;    /* enum connection_state */
    uint8_t origin;   /* enum filter_direction of its first packet */
    uint8_t closing;  /* of TCP: bits by direction, who has said all */
    bool loose;       /* of TCP: was under way when it was seen first */
    uint32_t
        version; /* of the place in the table: another one when anything above changes but times */
} __attribute__((aligned(64)));

struct conntrack_bucket {
    struct connection slots[CONNTRACK_BUCKET];
};

struct conntrack {
    struct conntrack_bucket *buckets;
    struct flow_secret secret;
    uint32_t mask; /* buckets, less 1 */
    uint32_t hand; /* bucket that is looked through for expired ones next */
    unsigned used_by[MAC_TABLE_PORTS];
};

enum tracking {
    TRACKING_NONE, /* belongs to no connection and makes none */
    TRACKING_NEW,
    TRACKING_KNOWN,
    TRACKING_RELATED, /* an ICMP error about one that is known */
    TRACKING_INVALID, /* no honest packet of any */
};

/* What is known of a packet. */
struct tracked {
    enum tracking kind;
    struct conntrack_tuple tuple;
    struct connection
        *connection; /* KNOWN, RELATED; NEW: a closed one that it takes the place of */
};

/* entries: room, a power of two. -errno with err. */
int conntrack_init(struct conntrack *conntrack, unsigned entries, struct kv_error *err);
void conntrack_free(struct conntrack *conntrack);

/* What the packet is to its port; changes nothing. No later fragment. */
void conntrack_look(const struct conntrack *conntrack, unsigned port,
                    enum filter_direction direction, const struct flow_key *key,
                    const struct flow_headers *headers, uint32_t now_s, struct tracked *tracked);

/* A NEW packet was allowed. limit: connections that the port may have. False: there is no room. */
bool conntrack_add(struct conntrack *conntrack, struct tracked *tracked,
                   enum filter_direction direction, const struct flow_key *key, unsigned limit,
                   uint32_t now_s);

/* A packet of a KNOWN connection was allowed. */
void conntrack_seen(struct connection *connection, enum filter_direction direction,
                    const struct flow_key *key, uint32_t now_s);

/* A connection of another table, of a port of this one. False: there is no room. */
bool conntrack_put(struct conntrack *conntrack, const struct connection *connection);

void conntrack_forget(struct conntrack *conntrack, struct connection *connection);
void conntrack_forget_port(struct conntrack *conntrack, unsigned port);

/* The key that the connection's first packet would have, from one of either direction. */
void conntrack_origin_key(const struct connection *connection, enum filter_direction direction,
                          const struct flow_key *key, struct flow_key *origin);

#endif
