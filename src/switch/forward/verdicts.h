/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verdicts on frames, kept from burst to burst where filters have a say: where the frame goes and
 * what both ports' filters say of it, by the port where it came in and its headers. So a frame of a
 * flow that goes on is compared, counted and sent; its headers are not read, and no table is asked.
 *
 * Nothing tells the cache what has changed. Each verdict has the stamp of the time it was made, and
 * everything that another verdict could follow from raises the bridge's stamp: what the control
 * thread has done here, each second (ageing, expiry), ports that come up and go down, addresses
 * learned and forgotten. Of a connection it is told by the connection's own version, as connections
 * begin and end all the time. Who adds to what bridges decide by, on the forwarding thread, raises
 * forward->changes. Belongs to the forwarding thread.
 */
#ifndef KV_SWITCH_FORWARD_VERDICTS_H
#define KV_SWITCH_FORWARD_VERDICTS_H

#include "switch/filter/filter.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"

#define VERDICT_SETS 2048 /* of two each, 768 KiB: what a processor's second cache holds */

/* Whether the next frame shares a verdict. */
enum again {
    ALONE,
    SAME_HEAD,
    SAME_HEADERS, /* with what filters have looked at behind the head */
};

/* What becomes of a frame, by its port and its head, and by its headers where filters looked. */
struct verdict {
    uint64_t head[2];
    enum again again;
    bool admitted, flood, drop;
    enum port_drop why;
    struct port *port; /* the receiver; with drop: where it counts */
    uint16_t vlan;
    bool tagged, service;
    struct filter_verdict in, out; /* of the sender's and the receiver's filters */
};

/* The first cache line mostly says whether it is another flow's, the third is looked at where there
 * are connections. */
struct kept_verdict {
    uint64_t stamp; /* 0: free */
    const struct flow_shape *shape;
    struct flow_masked masked;
    struct port *port;
    struct acl_rule *rules[FILTER_DIRECTIONS]; /* or NULL */
    uint16_t in_port, vlan;
    uint8_t why;
    bool admitted : 1, drop : 1, tagged : 1, service : 1;
    const struct connection *connections[FILTER_DIRECTIONS]; /* or NULL */
    uint32_t versions[FILTER_DIRECTIONS];
} __attribute__((aligned(64)));

struct verdict_cache {
    struct flow_secret secrets[FLOW_SHAPE_VECTORS];
    struct kept_verdict (*sets)[2];
    unsigned refused; /* verdicts that were not kept since the last one took another one's place */
    /* Of the burst, by verdicts_prepare(). */
    struct kept_verdict *places[FRAME_BURST]; /* two of them; NULL: its verdict is not kept */
    bool repeats[FRAME_BURST];                /* the same headers as the frame before */
};

/* NULL with err. */
struct verdict_cache *verdict_cache_new(struct kv_error *err);
void verdict_cache_free(struct verdict_cache *cache);

static inline uint64_t verdict_stamp(const struct bridge *bridge)
{
    /* None ever gets smaller, so the sum is the same only while all are. */
    return 1 + bridge->forward->changes + bridge->macs.changes + bridge->forward->now_s;
}

/* Keeps the headers of all frames, finds out which repeat the one before, and has the places
 * fetched where the others' verdicts may be. The heads must be as they came. */
void verdicts_prepare(struct verdict_cache *cache, struct flow_burst *burst, unsigned in_port,
                      struct frame *frames, unsigned count);

/* Fills in what is kept for frame i. False: nothing is. */
bool verdicts_find(const struct verdict_cache *cache, const struct flow_burst *burst, unsigned i,
                   const struct port *from, struct verdict *v);

/* The verdict on frame i, which was made under that stamp, by its headers alone, and is no flood.
 */
void verdicts_keep(struct verdict_cache *cache, const struct flow_burst *burst, unsigned i,
                   const struct port *from, const struct verdict *v, uint64_t stamp);

#endif
