/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rates of frames; see meter.h. */
#include "switch/forward/meter.h"

#include "base/util.h"

#define NS_PER_S UINT64_C(1000000000)
#define PEAK_DEPTH_NS UINT64_C(5000000) /* so evenly a burst is spread */
#define DEPTH_MIN 4096                  /* some frames */

static uint64_t bytes_in(uint64_t rate, uint64_t ns)
{
    return (uint64_t)((unsigned __int128)rate * ns / NS_PER_S);
}

void meter_init(struct meter *meter, const struct meter_rates *rates, int64_t pause_ns)
{
    uint64_t burst = rates->burst ? rates->burst : rates->average / 10;
    uint64_t least = bytes_in(rates->average, 2 * (uint64_t)pause_ns);
    ratelimit_init(&meter->average, rates->average, MAX(MAX(burst, least), DEPTH_MIN));
    least = bytes_in(rates->peak, MAX(PEAK_DEPTH_NS, 2 * (uint64_t)pause_ns));
    ratelimit_init(&meter->peak, rates->peak, MAX(least, DEPTH_MIN));
}

bool meter_take(struct meter *meter, uint32_t bytes, int64_t now_ns)
{
    if (ratelimit_take(&meter->average, bytes, now_ns) > 0)
        return false;
    if (ratelimit_take(&meter->peak, bytes, now_ns) == 0)
        return true;
    ratelimit_return(&meter->average, bytes);
    return false;
}

void meter_return(struct meter *meter, uint32_t bytes)
{
    ratelimit_return(&meter->average, bytes);
    ratelimit_return(&meter->peak, bytes);
}
