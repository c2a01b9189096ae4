/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many frames a second are flooded for the stations of a port: broadcasts, multicasts, and
 * those whose receiver nobody knows, each kind with a limit of its own. bridge.c asks before it
 * floods, so what goes to one known port costs nothing. Belongs to the forwarding thread.
 */
#ifndef KV_SWITCH_FORWARD_STORM_H
#define KV_SWITCH_FORWARD_STORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ratelimit.h"

/* Frames a second; 0: no limit. */
struct storm_rates {
    uint64_t broadcast, multicast, unknown;
};

struct storm {
    struct ratelimit broadcast, multicast, unknown;
};

/* A tenth of a second's frames may come at once, one at least. */
void storm_init(struct storm *storm, const struct storm_rates *rates);

/* Whether a frame to the address (of 6 bytes) may be flooded now (CLOCK_MONOTONIC). */
bool storm_take(struct storm *storm, const uint8_t *to_mac, int64_t now_ns);

#endif
