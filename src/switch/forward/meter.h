/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast a port's frames may be, one meter a direction: libvirt's bandwidth, as two token
 * buckets. The deep one fills at the average rate and holds the burst; the shallow one, if there is
 * a peak, says how fast a burst may go through. bridge.c asks it for what comes in (and drops what
 * is too much), shaper.c for what goes out. Belongs to the forwarding thread.
 */
#ifndef KV_SWITCH_FORWARD_METER_H
#define KV_SWITCH_FORWARD_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ratelimit.h"

/* Bytes a second, and bytes; average 0: no limit, peak 0: bursts go as they come, burst 0: a tenth
 * of a second at the average rate. */
struct meter_rates {
    uint64_t average, peak, burst;
};

struct meter {
    struct ratelimit average, peak;
};

/* pause_ns: nobody asks more often than that, so a bucket holds at least what comes in meanwhile.
 */
void meter_init(struct meter *meter, const struct meter_rates *rates, int64_t pause_ns);

/* Whether a frame may pass now (CLOCK_MONOTONIC); then its bytes are taken off. */
bool meter_take(struct meter *meter, uint32_t bytes, int64_t now_ns);
/* Of a frame that passed and then did not. */
void meter_return(struct meter *meter, uint32_t bytes);

#endif
