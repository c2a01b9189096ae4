/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of floods; see storm.h. */
#include "switch/forward/storm.h"

#include <string.h>

void storm_init(struct storm *storm, const struct storm_rates *rates)
{
    ratelimit_init(&storm->broadcast, rates->broadcast, 0);
    ratelimit_init(&storm->multicast, rates->multicast, 0);
    ratelimit_init(&storm->unknown, rates->unknown, 0);
}

bool storm_take(struct storm *storm, const uint8_t *to_mac, int64_t now_ns)
{
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct ratelimit *limit = &storm->unknown;
    if (to_mac[0] & 1)
        limit = memcmp(to_mac, everybody, sizeof(everybody)) == 0 ? &storm->broadcast
                                                                  : &storm->multicast;
    return ratelimit_take(limit, 1, now_ns) == 0;
}
