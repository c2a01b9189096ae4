/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has to hold in a fuzz target: where it does not, the input is kept. */
#ifndef KV_TESTS_FUZZ_REQUIRE_H
#define KV_TESTS_FUZZ_REQUIRE_H

#include <stdbool.h>
#include <stdlib.h>

static inline void require(bool condition)
{
    if (!condition)
        abort();
}

#endif
