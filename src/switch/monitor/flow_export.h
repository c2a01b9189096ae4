/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells a collector of a bridge's flows, as NetFlow version 9 (RFC 3954) or IPFIX (RFC 7011, its
 * elements RFC 7012). On the control thread.
 */
#ifndef KV_SWITCH_MONITOR_FLOW_EXPORT_H
#define KV_SWITCH_MONITOR_FLOW_EXPORT_H

#include "switch/forward/bridge.h"
#include "switch/monitor/collector.h"
#include "switch/monitor/flow_cache.h"

enum flow_protocol {
    FLOW_NETFLOW9,
    FLOW_IPFIX,
    FLOW_PROTOCOLS,
};

struct flow_settings {
    char *collector;
    uint64_t sampling;     /* one frame in so many is counted */
    uint64_t idle, active; /* seconds after which a flow is told */
    uint64_t entries;      /* flows that are kept */
};

struct flow_export;

/* As sflow.h has them. domain: the exporter's number of this bridge. */
struct flow_export *flow_export_start(struct bridge *bridge, struct loop *loop, uint32_t domain,
                                      enum flow_protocol protocol,
                                      const struct flow_settings *settings, struct kv_error *err);
void flow_export_stop(struct flow_export *flow_export);
const struct flow_settings *flow_export_settings(const struct flow_export *flow_export);
/* Datagrams sent, datagrams that could not be, samples that nobody had time for. */
void flow_export_count(const struct flow_export *flow_export, uint64_t *sent, uint64_t *lost,
                       uint64_t *missed);

#endif
