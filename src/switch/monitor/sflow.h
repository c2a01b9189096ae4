/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An sFlow agent of one bridge: samples of frames and counters of ports, in datagrams to a
 * collector (sFlow version 5, sflow.org/sflow_version_5.txt). On the control thread.
 */
#ifndef KV_SWITCH_MONITOR_SFLOW_H
#define KV_SWITCH_MONITOR_SFLOW_H

#include "switch/forward/bridge.h"
#include "switch/monitor/collector.h"
#include "switch/monitor/sampler.h"

struct sflow_settings {
    char *collector;
    char *agent;       /* whose address the agent has: an interface, or an address; NULL: that of
                          the way to the collector */
    uint64_t sampling; /* one frame in so many */
    uint64_t header;   /* bytes of a frame */
    uint64_t polling;  /* seconds between counters; 0: none are sent */
};

struct sflow;

/* Begins at once. sub_agent tells agents of one address apart. settings are copied. NULL with err.
 */
struct sflow *sflow_start(struct bridge *bridge, struct loop *loop, uint32_t sub_agent,
                          const struct sflow_settings *settings, struct kv_error *err);
/* Sends what it has, frees it. NULL: nothing. */
void sflow_stop(struct sflow *sflow);

const struct sflow_settings *sflow_settings_of(const struct sflow *sflow);
/* Datagrams sent, datagrams that could not be, samples that nobody had time for. */
void sflow_count(const struct sflow *sflow, uint64_t *sent, uint64_t *lost, uint64_t *missed);

#endif
