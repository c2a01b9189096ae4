/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of a device's state as text and back. */
#include <string.h>

#include "unit.h"
#include "vmm/hex_state.h"

static void every_byte_comes_back_at_every_length(void **state)
{
    uint8_t bytes[300] = {0}, back[300];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = i % 40 < 20 ? (uint8_t)(i * 7) : 0;
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        json_t *text = hex_state_save(bytes, len);
        assert_int_equal(json_string_length(text), 2 * len);
        memset(back, 0xff, sizeof(back));
        assert_true(hex_state_load(text, back, len));
        assert_memory_equal(back, bytes, len);
        assert_false(hex_state_load(text, back, len + 1));
        json_decref(text);
    }
}

static void what_is_no_digit_is_refused_wherever_it_stands(void **state)
{
    static const char wrong[] = {'g', '/', ':', '`', 'A', ' ', '\x7f'};
    char digits[33] = "00000000000000000123456789abcdef";
    uint8_t back[16];
    json_t *text = json_string(digits);
    assert_true(hex_state_load(text, back, sizeof(back)));
    assert_int_equal(back[15], 0xef);
    json_decref(text);
    for (unsigned i = 0; i < 32; i++) {
        char kept = digits[i];
        for (unsigned k = 0; k < sizeof(wrong); k++) {
            digits[i] = wrong[k];
            text = json_string(digits);
            assert_false(hex_state_load(text, back, sizeof(back)));
            json_decref(text);
        }
        digits[i] = kept;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_comes_back_at_every_length),
        cmocka_unit_test(what_is_no_digit_is_refused_wherever_it_stands),
    };
    return cmocka_run_group_tests_name("vmm_hex_state", tests, NULL, NULL);
}
