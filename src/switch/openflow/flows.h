/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flows of one bridge, as OpenFlow changes and reads them (1.0.0, 4.6; 1.3.5, 6.4). Changes are
 * made here and published together (flows_publish), so that many cost little more than one. On the
 * control thread.
 */
#ifndef KV_SWITCH_OPENFLOW_FLOWS_H
#define KV_SWITCH_OPENFLOW_FLOWS_H

#include "base/list.h"
#include "switch/forward/flow_hash.h"
#include "switch/forward/flow_table.h"
#include "switch/openflow/protocol.h"

#define FLOWS_MAX 16384
#define FLOW_BUCKETS 1024

struct ofp_flow {
    struct list node;
    struct list bucket; /* of flows with that hash, while it is there */
    struct list fresh;  /* of those that are not published yet */
    struct flow_match match;
    uint16_t priority, idle_s, hard_s, flags;
    int64_t created_ns;
    struct flow_actions *actions;
    struct flow_rule rule; /* the forwarding thread's, once it is published */
    /* As they were when flows_count() looked. */
    uint64_t frames, bytes;
    int64_t used_ns;
};

struct flows {
    struct bridge *bridge;
    struct ring *packets;
    struct list list;                  /* in the order in which they came */
    struct list buckets[FLOW_BUCKETS]; /* the same by match */
    struct list fresh;                 /* added since they were published last */
    struct flow_secret secret;
    unsigned count;
    struct list removed; /* until they are published */
    bool changed;
    struct flow_table *table; /* published, or NULL: frames go the bridge's own way */
    struct ofp_flow *own;     /* without a table the flow that says so, while it is there */
    /* Masks of the matches. */
    struct {
        struct flow_key bits;
        unsigned flows;
    } masks[CLASSIFIER_MASKS_MAX];
    unsigned mask_count;
    /* What had come in at the ports when the one flow's counters were looked at. */
    uint64_t own_frames, own_bytes;
    uint64_t missed, matched; /* frames of tables and flows that are gone */
};

/* The flow is gone, or about to; it has its last counters. */
typedef void flow_removed_fn(void *opaque, const struct ofp_flow *flow, enum ofp_removed why);

/* What a flow-mod or a question selects. */
struct flow_selection {
    struct flow_match match;
    bool strict; /* this match and priority only */
    uint16_t priority;
    uint16_t out_port; /* OFPP_NONE: any */
    uint64_t cookie, cookie_mask;
};

/* A bridge has one flow at first: all frames go the bridge's own way. packets: where frames for
 * controllers go. -ENOMEM. */
int flows_init(struct flows *flows, struct bridge *bridge, struct ring *packets);
void flows_destroy(struct flows *flows);

bool flow_is_selected(const struct ofp_flow *flow, const struct flow_selection *selection);

/* match, priority, timeouts, flags and cookie of model are those of the new flow. */
enum ofp_error flows_add(struct flows *flows, const struct ofp_flow *model,
                         const struct flow_actions *actions);
/* *count: how many there were. */
enum ofp_error flows_modify(struct flows *flows, const struct flow_selection *selection,
                            const struct flow_actions *actions, bool reset, unsigned *count);
void flows_delete(struct flows *flows, const struct flow_selection *selection,
                  flow_removed_fn *removed, void *opaque);
/* Removes what is over its time; returns in how many nanoseconds to look again, 0: not at all. */
int64_t flows_expire(struct flows *flows, flow_removed_fn *removed, void *opaque);

/* The forwarding thread has what was changed, all of it between two frames; -ENOMEM: it goes on
 * with what it has. Costs what was changed, not what there is. */
int flows_publish(struct flows *flows);

/* Fills in the counters that the forwarding thread has. */
void flows_count(struct flows *flows);
/* Frames that matched and that did not, as of flows_count(). */
void flows_lookups(const struct flows *flows, uint64_t *matched, uint64_t *missed);

#endif
