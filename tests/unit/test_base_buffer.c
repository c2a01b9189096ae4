/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bounded byte queue. */
#include <errno.h>
#include <string.h>

#include "base/buffer.h"
#include "unit.h"

static void bytes_come_out_in_the_order_they_went_in(void **state)
{
    struct buffer b = BUFFER_INIT(0);
    uint8_t next_in = 0, next_out = 0;
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < 7; i++, next_in++)
            assert_int_equal(buffer_append(&b, &next_in, 1), 0);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(*buffer_bytes(&b), next_out++);
            buffer_consume(&b, 1);
        }
    }
    assert_int_equal(b.len, 2000);
    buffer_free(&b);
}

static void the_bound_holds(void **state)
{
    struct buffer b = BUFFER_INIT(10);
    assert_int_equal(buffer_append(&b, "12345678", 8), 0);
    assert_int_equal(buffer_append(&b, "abc", 3), -ENOBUFS);
    assert_int_equal(b.len, 8);
    assert_int_equal(buffer_append_some(&b, "abc", 3), 2);
    assert_int_equal(buffer_room(&b), 0);
    assert_memory_equal(buffer_bytes(&b), "12345678ab", 10);
    buffer_free(&b);
}

static void a_buffer_that_never_held_anything_has_no_address(void **state)
{
    struct buffer b = BUFFER_INIT(10);
    assert_null(buffer_bytes(&b)); /* the sanitizers' build says how it came to that */
    buffer_consume(&b, b.len);
    assert_null(buffer_bytes(&b));
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_in_the_order_they_went_in),
        cmocka_unit_test(the_bound_holds),
        cmocka_unit_test(a_buffer_that_never_held_anything_has_no_address),
    };
    return cmocka_run_group_tests_name("base_buffer", tests, NULL, NULL);
}
