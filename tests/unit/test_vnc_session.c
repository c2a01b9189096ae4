/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What VNC viewers are told beside pixels: sizes, the pointer's shape, lights. */
#include <linux/input-event-codes.h>
#include <string.h>

#include "unit.h"
#include "vmm/devices/i8042.h"
#include "vmm/x86/layout.h"
#include "vnc_session.h"

#define HEAD 12 /* of a rectangle */
#define UPDATE 4

static struct session session;
static uint8_t bytes[64 * 1024];

static int setup(void **state)
{
    session_init(&session);
    assert_int_equal(i8042_create(&session.fake.machine, NULL), 0);
    i8042_plug(&session.fake.machine);
    session_log_in(&session);
    return 0;
}

static int teardown(void **state)
{
    session_destroy(&session);
    return 0;
}

#define UNDERSTAND(...)                                          \
    session_understand(&session, (const int32_t[]){__VA_ARGS__}, \
                       sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

/* Takes what is due, so that the next update has what changes from now on. */
static void settle(void)
{
    session_update(&session, false, bytes, sizeof(bytes));
}

static void expect_head(const uint8_t *at, unsigned x, unsigned y, unsigned width, unsigned height,
                        int32_t encoding)
{
    assert_int_equal(vnc_be16(at), x);
    assert_int_equal(vnc_be16(at + 2), y);
    assert_int_equal(vnc_be16(at + 4), width);
    assert_int_equal(vnc_be16(at + 6), height);
    assert_int_equal((int32_t)vnc_be32(at + 8), encoding);
}

static const uint32_t shape[] = {0xff102030, 0x80ff8000, 0x00ffffff,
                                 0xffffffff, 0x00000000, 0xff000000};

static void a_pointers_shape_is_told_with_its_transparency(void **state)
{
    static const uint8_t wanted[] = {0, 0,    0, 0, 0x10, 0x20, 0x30, 0xff, 0x80, 0x40,
                                     0, 0x80, 0, 0, 0,    0,    0xff, 0xff, 0xff, 0xff,
                                     0, 0,    0, 0, 0,    0,    0,    0xff};
    UNDERSTAND(ENCODING_CURSOR, ENCODING_CURSOR_ALPHA);
    settle();
    assert_int_equal(session_update(&session, true, bytes, sizeof(bytes)), 0);
    assert_true(display_set_cursor(session.vnc.display, 3, 2, 1, 1, shape));
    assert_int_equal(session_update(&session, true, bytes, sizeof(bytes)),
                     UPDATE + HEAD + sizeof(wanted));
    expect_head(bytes + UPDATE, 1, 1, 3, 2, ENCODING_CURSOR_ALPHA);
    assert_memory_equal(bytes + UPDATE + HEAD, wanted, sizeof(wanted));
    assert_int_equal(session_update(&session, true, bytes, sizeof(bytes)), 0);
}

static void a_pointers_shape_is_told_with_a_mask_to_older_viewers(void **state)
{
    static const uint8_t mask[] = {0xc0, 0xa0};
    UNDERSTAND(ENCODING_CURSOR);
    settle();
    display_set_cursor(session.vnc.display, 3, 2, 9, 9, shape);
    assert_int_equal(session_update(&session, true, bytes, sizeof(bytes)),
                     UPDATE + HEAD + 4 * 6 + sizeof(mask));
    expect_head(bytes + UPDATE, 2, 1, 3, 2, ENCODING_CURSOR);
    assert_memory_equal(bytes + UPDATE + HEAD + 24, mask, sizeof(mask));
    display_set_cursor(session.vnc.display, 0, 0, 0, 0, NULL);
    assert_int_equal(session_update(&session, true, bytes, sizeof(bytes)), UPDATE + HEAD);
    expect_head(bytes + UPDATE, 0, 0, 0, 0, ENCODING_CURSOR);
}

static void a_shape_that_is_too_large_is_refused(void **state)
{
    assert_false(display_set_cursor(session.vnc.display, CURSOR_MAX + 1, 1, 0, 0, shape));
    assert_false(display_set_cursor(session.vnc.display, 0, 1, 0, 0, shape));
    UNDERSTAND(ENCODING_CURSOR);
    settle();
    assert_int_equal(session_update(&session, true, bytes, sizeof(bytes)), 0);
}

static void the_lights_of_the_keyboard_are_told(void **state)
{
    UNDERSTAND(ENCODING_LIGHTS);
    assert_true(session_update(&session, false, bytes, sizeof(bytes)) > UPDATE + HEAD + 1);
    expect_head(bytes + UPDATE, 0, 0, SESSION_WIDTH, SESSION_HEIGHT, ENCODING_LIGHTS);
    assert_int_equal(bytes[UPDATE + HEAD], 0);
    port_write(&session.fake, PORT_I8042_DATA, 0xed, 1);
    port_write(&session.fake, PORT_I8042_DATA, INPUT_CAPS_LOCK | INPUT_SCROLL_LOCK, 1);
    assert_int_equal(session_update(&session, true, bytes, sizeof(bytes)), UPDATE + HEAD + 1);
    assert_int_equal(bytes[UPDATE + HEAD], INPUT_CAPS_LOCK | INPUT_SCROLL_LOCK);
    assert_int_equal(input_of_led_bits(1 << LED_CAPSL), INPUT_CAPS_LOCK);
    assert_int_equal(input_of_led_bits(1 << LED_NUML), INPUT_NUM_LOCK);
    assert_int_equal(input_of_led_bits(1 << LED_SCROLLL), INPUT_SCROLL_LOCK);
}

#define SCREEN (HEAD + 4 + 16)

static void a_viewers_wish_for_another_size_is_answered(void **state)
{
    static const uint8_t wish[] = {251, 0, 0, 100, 0, 50,  1, 0,  0, 0, 0, 7,
                                   0,   0, 0, 0,   0, 100, 0, 50, 0, 0, 0, 0};
    UNDERSTAND(ENCODING_SCREENS);
    assert_true(session_update(&session, false, bytes, sizeof(bytes)) > UPDATE + SCREEN);
    expect_head(bytes + UPDATE, SIZE_BY_SERVER, SIZE_DONE, SESSION_WIDTH, SESSION_HEIGHT,
                ENCODING_SCREENS);
    assert_int_equal(bytes[UPDATE + HEAD], 1);
    assert_int_equal(vnc_be16(bytes + UPDATE + HEAD + 4 + 8), SESSION_WIDTH);
    assert_true(session_send(&session, wish, sizeof(wish)));
    assert_int_equal(session_update(&session, true, bytes, sizeof(bytes)), UPDATE + SCREEN);
    expect_head(bytes + UPDATE, SIZE_BY_VIEWER, SIZE_PROHIBITED, SESSION_WIDTH, SESSION_HEIGHT,
                ENCODING_SCREENS);
}

static void a_viewer_that_never_heard_of_screens_may_wish_for_none(void **state)
{
    assert_false(SESSION_SEND(&session, 251, 0, 0, 100, 0, 50, 0, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pointers_shape_is_told_with_its_transparency),
        TEST(a_pointers_shape_is_told_with_a_mask_to_older_viewers),
        TEST(a_shape_that_is_too_large_is_refused),
        TEST(the_lights_of_the_keyboard_are_told),
        TEST(a_viewers_wish_for_another_size_is_answered),
        TEST(a_viewer_that_never_heard_of_screens_may_wish_for_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
