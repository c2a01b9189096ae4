/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The token bucket, on a clock of its own. */
#include "base/ratelimit.h"
#include "unit.h"

#define SECOND INT64_C(1000000000)

static void a_second_lets_through_the_rate_after_the_burst(void **state)
{
    struct ratelimit limit;
    ratelimit_init(&limit, 1000, 100);
    int64_t now = SECOND, end = 11 * SECOND;
    uint64_t passed = 0;
    while (now < end) {
        int64_t wait = ratelimit_take(&limit, 7, now);
        if (wait == 0)
            passed += 7;
        else
            now += wait;
    }
    assert_in_range(passed, 10000, 10107);
}

static void a_request_above_the_burst_passes_late_but_passes(void **state)
{
    struct ratelimit limit;
    ratelimit_init(&limit, 1000, 100);
    assert_int_equal(ratelimit_take(&limit, 500, SECOND), 0);
    int64_t wait = ratelimit_take(&limit, 1, SECOND);
    assert_in_range(wait, 400 * SECOND / 1000, 402 * SECOND / 1000);
    assert_int_equal(ratelimit_take(&limit, 1, SECOND + wait), 0);
}

static void no_rate_is_no_limit(void **state)
{
    struct ratelimit limit;
    ratelimit_init(&limit, 0, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(ratelimit_take(&limit, UINT64_MAX, SECOND), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_lets_through_the_rate_after_the_burst),
        cmocka_unit_test(a_request_above_the_burst_passes_late_but_passes),
        cmocka_unit_test(no_rate_is_no_limit),
    };
    return cmocka_run_group_tests_name("base_ratelimit", tests, NULL, NULL);
}
