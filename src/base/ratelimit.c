/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Token bucket; see ratelimit.h. */
#include "base/ratelimit.h"

#include "base/util.h"

#define NS_PER_S UINT64_C(1000000000)
#define AMOUNT_MAX (UINT64_C(1) << 53)

void ratelimit_init(struct ratelimit *limit, uint64_t rate, uint64_t burst)
{
    *limit = (struct ratelimit){.rate = MIN(rate, AMOUNT_MAX)};
    limit->burst = burst ? MIN(burst, AMOUNT_MAX) : MAX(limit->rate / 10, 1);
    limit->tokens = (int64_t)limit->burst;
}

static void refill(struct ratelimit *limit, int64_t now_ns)
{
    if (limit->last_ns == 0 || now_ns < limit->last_ns) {
        limit->last_ns = now_ns;
        return;
    }
    unsigned __int128 gained =
        (unsigned __int128)(uint64_t)(now_ns - limit->last_ns) * limit->rate / NS_PER_S;
    if (gained == 0)
        return; /* keep last_ns: fractions of a token add up */
    int64_t room = (int64_t)limit->burst - limit->tokens;
    if (gained >= (unsigned __int128)room) {
        limit->tokens = (int64_t)limit->burst;
        limit->last_ns = now_ns;
        return;
    }
    limit->tokens += (int64_t)gained;
    limit->last_ns += (int64_t)((uint64_t)gained * (unsigned __int128)NS_PER_S / limit->rate);
}

int64_t ratelimit_take(struct ratelimit *limit, uint64_t amount, int64_t now_ns)
{
    if (limit->rate == 0 || amount == 0)
        return 0;
    amount = MIN(amount, AMOUNT_MAX);
    refill(limit, now_ns);
    int64_t need = (int64_t)MIN(amount, limit->burst);
    if (limit->tokens >= need) {
        limit->tokens -= (int64_t)amount;
        return 0;
    }
    unsigned __int128 missing = (unsigned __int128)(uint64_t)(need - limit->tokens);
    int64_t wait = (int64_t)(missing * NS_PER_S / limit->rate) + 1;
    return wait;
}

void ratelimit_return(struct ratelimit *limit, uint64_t amount)
{
    if (limit->rate)
        limit->tokens =
            MIN(limit->tokens + (int64_t)MIN(amount, AMOUNT_MAX), (int64_t)limit->burst);
}
