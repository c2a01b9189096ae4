/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies arrive whole and write nothing else, whatever their length and places. */
#include "base/copy.h"
#include "unit.h"

#define ROOM 4400

static void copies_are_whole_and_touch_nothing_else(void **state)
{
    static uint8_t from[ROOM], to[ROOM], expected[ROOM];
    for (unsigned i = 0; i < ROOM; i++)
        from[i] = (uint8_t)(i * 7 + i / 256);
    for (unsigned len = 0; len < 4200; len += len < 200 ? 1 : 37) {
        unsigned at = 1 + len % 61, behind = len % 13;
        memset(to, 0xee, sizeof(to));
        memset(expected, 0xee, sizeof(expected));
        memcpy(expected + at, from + behind, len);
        copy_bytes(to + at, from + behind, len);
        assert_memory_equal(to, expected, sizeof(to));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_whole_and_touch_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
