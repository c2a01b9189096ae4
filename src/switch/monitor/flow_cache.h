/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IP flows of a bridge: frames that came in at one port with the same addresses, ports, protocol,
 * class and VLAN, counted until nothing has come for a while, or for so long that it is told in
 * between (RFC 7011, 2). Of a fixed size: where it is full, the flow that was silent longest is
 * told early. Fed with samples, on the control thread.
 */
#ifndef KV_SWITCH_MONITOR_FLOW_CACHE_H
#define KV_SWITCH_MONITOR_FLOW_CACHE_H

#include "base/error.h"
#include "base/list.h"
#include "switch/forward/flow_hash.h"
#include "switch/forward/flow_key.h"
#include "switch/monitor/sampler.h"

/* Why a flow is told; the numbers of RFC 5102, 5.11.3. */
enum flow_end {
    FLOW_IDLE = 1,
    FLOW_ACTIVE = 2,
    FLOW_FORCED = 4,
    FLOW_NO_ROOM = 5,
};

/* Numbers in the host's order, addresses as on the wire, no padding. */
struct flow_id {
    uint8_t from[16], to[16];
    uint32_t in_port;
    uint16_t from_port, to_port; /* ICMP: 0, and type and code */
    uint16_t vlan, type;         /* FLOW_TYPE_IPV4 or FLOW_TYPE_IPV6 */
    uint8_t protocol, tos;
    uint8_t unused[2]; /* 0 */
};
_Static_assert(sizeof(struct flow_id) % sizeof(uint64_t) == 0, "hashed by words");

struct flow {
    struct flow_id id;
    struct list bucket, node; /* node: by when it was seen last */
    uint8_t from_mac[6], to_mac[6];
    uint32_t out_port; /* 0: none, or several */
    uint8_t tcp_flags; /* all that were seen */
    uint64_t frames, bytes;
    int64_t first_ns, last_ns; /* CLOCK_MONOTONIC */
};

struct flow_cache {
    struct flow *flows;
    struct list *buckets;
    struct list by_age, unused;
    unsigned size;
    struct flow_secret secret;
    int64_t idle_ns, active_ns;
    void (*tell)(void *opaque, const struct flow *flow, enum flow_end why);
    void *opaque;
};

/* size: flows. tell is called for each flow before it is forgotten. */
int flow_cache_init(struct flow_cache *cache, unsigned size, struct kv_error *err);
void flow_cache_free(struct flow_cache *cache);

void flow_cache_add(struct flow_cache *cache, const struct sample *sample, int64_t now_ns);
/* Tells what has ended by now. */
void flow_cache_expire(struct flow_cache *cache, int64_t now_ns);
/* Tells all. */
void flow_cache_flush(struct flow_cache *cache);

#endif
