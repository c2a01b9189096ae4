/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Token bucket. Units are the caller's (bytes, operations). Tokens refill with
 * time up to the burst; a request larger than the burst may overdraw a full
 * bucket, so that it is served late but never starved. Not thread-safe.
 */
#ifndef KV_BASE_RATELIMIT_H
#define KV_BASE_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct ratelimit {
    uint64_t rate;  /* tokens per second; 0: no limit */
    uint64_t burst; /* tokens a full bucket holds; at least 1 when rate is set */
    int64_t tokens; /* may be negative after an overdraft */
    int64_t last_ns;
};

/* burst 0: one tenth of a second's worth. The bucket starts full. */
void ratelimit_init(struct ratelimit *limit, uint64_t rate, uint64_t burst);

/*
 * Takes amount tokens at time now_ns (CLOCK_MONOTONIC) and returns 0, or takes
 * nothing and returns after how many nanoseconds it is worth trying again.
 */
int64_t ratelimit_take(struct ratelimit *limit, uint64_t amount, int64_t now_ns);

/* Gives back tokens that were taken for a request that did not go out. */
void ratelimit_return(struct ratelimit *limit, uint64_t amount);

#endif
