/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the VNC server and the keyboard behind it are made of: the cipher, names of keys, the PS/2
 * devices and their controller. */
#include <linux/input-event-codes.h>
#include <string.h>

#include "fake_machine.h"
#include "unit.h"
#include "vmm/devices/i8042.h"
#include "vmm/display/input.h"
#include "vmm/display/vnc.h"
#include "vmm/x86/layout.h"

static struct fake_machine fake;

static int setup(void **state)
{
    fake_machine_init(&fake);
    assert_int_equal(i8042_create(&fake.machine, NULL), 0);
    i8042_plug(&fake.machine);
    return 0;
}

static int teardown(void **state)
{
    fake_machine_destroy(&fake);
    return 0;
}

static void command(uint8_t byte)
{
    port_write(&fake, PORT_I8042_COMMAND, byte, 1);
}

static void data(uint8_t byte)
{
    port_write(&fake, PORT_I8042_DATA, byte, 1);
}

static void expect_bytes(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        assert_true(port_read(&fake, PORT_I8042_COMMAND, 1) & 1);
        assert_int_equal(port_read(&fake, PORT_I8042_DATA, 1), (uint8_t)bytes[i]);
    }
    assert_false(port_read(&fake, PORT_I8042_COMMAND, 1) & 1);
}
#define EXPECT(text) expect_bytes(text, sizeof(text) - 1)

static void set_config(uint8_t config)
{
    command(0x60);
    data(config);
}

/* Each answer was made by "openssl enc -des-ede3", which with one key thrice is DES. */
static void a_challenge_is_encrypted_with_the_password(void **state)
{
    static const struct {
        const char *password;
        uint8_t wanted[VNC_CHALLENGE];
    } rows[] = {
        {"secret",
         {0xf1, 0x9b, 0x50, 0x47, 0x1f, 0x60, 0xf4, 0x22, 0x98, 0xe5, 0xc0, 0x14, 0x7d, 0xb5, 0x0e,
          0x1e}},
        {"",
         {0x74, 0xf4, 0xae, 0x77, 0x7a, 0xa4, 0x31, 0xe8, 0x9c, 0xa4, 0x75, 0x7b, 0x24, 0x14, 0xf4,
          0xd7}},
        {"longerthaneight",
         {0x93, 0xc4, 0x4a, 0x31, 0x94, 0x9a, 0xcc, 0xab, 0xb5, 0xe3, 0xda, 0x84, 0x14, 0x32, 0xb2,
          0xe1}},
    };
    uint8_t challenge[VNC_CHALLENGE], out[VNC_CHALLENGE];
    struct kv_error err;
    for (unsigned i = 0; i < VNC_CHALLENGE; i++)
        challenge[i] = (uint8_t)(i * 17);
    assert_int_equal(vnc_password_load(&err), 0);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(vnc_respond(rows[i].password, challenge, out), 0);
        assert_memory_equal(out, rows[i].wanted, sizeof(out));
    }
}

static void keys_have_one_place_and_several_names(void **state)
{
    assert_int_equal(input_of_keysym('a'), KEY_A);
    assert_int_equal(input_of_keysym('A'), KEY_A);
    assert_int_equal(input_of_keysym(0xff52), KEY_UP);
    assert_int_equal(input_of_keysym(0), 0);
    assert_int_equal(input_of_keysym(0x20ac), 0);
    assert_int_equal(input_of_name("ret"), KEY_ENTER);
    assert_int_equal(input_of_name("none"), 0);
    assert_int_equal(input_of_number(0xc8), KEY_UP);
    assert_int_equal(input_of_number(0x1c8), 0);
    for (unsigned code = 0; code < 256; code++)
        if (input_number_of(code))
            assert_int_equal(input_of_number(input_number_of(code)), code);
}

static void keys_come_in_the_set_that_the_controller_makes(void **state)
{
    set_config(0x41); /* translated, with interrupts */
    input_key(&fake.machine, KEY_A, true);
    assert_true(fake.lines[GSI_KEYBOARD]);
    input_key(&fake.machine, KEY_A, false);
    EXPECT("\x1e\x9e");
    assert_false(fake.lines[GSI_KEYBOARD]);
    assert_int_equal(fake.edges[GSI_KEYBOARD], 2);
    input_key(&fake.machine, KEY_UP, true);
    input_key(&fake.machine, KEY_UP, false);
    EXPECT("\xe0\x48\xe0\xc8");
    set_config(0x01);
    input_key(&fake.machine, KEY_A, true);
    input_key(&fake.machine, KEY_A, false);
    input_key(&fake.machine, KEY_RIGHTCTRL, false);
    EXPECT("\x1c\xf0\x1c\xe0\xf0\x14");
    input_key(&fake.machine, KEY_PAUSE, true);
    input_key(&fake.machine, KEY_PAUSE, false);
    EXPECT("\xe1\x14\x77\xe1\xf0\x14\xf0\x77");
}

static void a_keyboard_that_is_off_keeps_its_bytes(void **state)
{
    set_config(0x51);
    input_key(&fake.machine, KEY_B, true);
    assert_false(port_read(&fake, PORT_I8042_COMMAND, 1) & 1);
    command(0xae);
    EXPECT("\x30");
}

static void the_keyboard_answers_commands(void **state)
{
    set_config(0x00);
    data(0xff);
    EXPECT("\xfa\xaa");
    data(0xf2);
    EXPECT("\xfa\xab\x83");
    data(0xed);
    EXPECT("\xfa");
    data(0x02);
    EXPECT("\xfa");
    data(0xf5);
    EXPECT("\xfa");
    input_key(&fake.machine, KEY_A, true);
    EXPECT("");
    data(0xf4);
    EXPECT("\xfa");
    data(0x17);
    EXPECT("\xfe");
}

static void to_mouse(uint8_t byte)
{
    command(0xd4);
    data(byte);
}

static void the_mouse_reports_its_moves_and_its_wheel(void **state)
{
    static const uint8_t knock[] = {200, 100, 80};
    set_config(0x02);
    command(0xa9);
    EXPECT("\0");
    to_mouse(0xff);
    assert_true(fake.lines[GSI_MOUSE]);
    EXPECT("\xfa\xaa\0");
    input_relative(&fake.machine, 5, 5, 0);
    EXPECT("");
    for (unsigned i = 0; i < 3; i++) {
        to_mouse(0xf3);
        EXPECT("\xfa");
        to_mouse(knock[i]);
        EXPECT("\xfa");
    }
    to_mouse(0xf2);
    EXPECT("\xfa\x03");
    to_mouse(0xf4);
    EXPECT("\xfa");
    input_relative(&fake.machine, 5, -3, INPUT_LEFT);
    EXPECT("\x09\x05\x03\0");
    input_relative(&fake.machine, -300, 0, 0);
    EXPECT("\x18\x01\0\0\x18\xd3\0\0");
    input_relative(&fake.machine, 0, 0, INPUT_WHEEL_DOWN);
    EXPECT("\x08\0\0\x01");
}

static void what_nobody_reads_is_bounded(void **state)
{
    set_config(0x43);
    for (unsigned i = 0; i < 1000; i++) {
        input_key(&fake.machine, KEY_A, i % 2);
        input_relative(&fake.machine, 1, 1, i % 2);
    }
    unsigned count = 0;
    while (port_read(&fake, PORT_I8042_COMMAND, 1) & 1 && ++count < 1000)
        port_read(&fake, PORT_I8042_DATA, 1);
    assert_in_range(count, 60, 140);
}

static void the_state_of_both_comes_back(void **state)
{
    set_config(0x43);
    input_key(&fake.machine, KEY_A, true);
    input_key(&fake.machine, KEY_B, true);
    save_reset_load(device_find(&fake.machine, "i8042"));
    EXPECT("\x1e\x30");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_challenge_is_encrypted_with_the_password),
        TEST(keys_have_one_place_and_several_names),
        TEST(keys_come_in_the_set_that_the_controller_makes),
        TEST(a_keyboard_that_is_off_keeps_its_bytes),
        TEST(the_keyboard_answers_commands),
        TEST(the_mouse_reports_its_moves_and_its_wheel),
        TEST(what_nobody_reads_is_bounded),
        TEST(the_state_of_both_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
