/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flash of firmware's variables: commands, status, and what the file holds. */
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_machine.h"
#include "vmm/devices/flash.h"

#define BASE UINT64_C(0xffc00000)
#define SIZE (8 * FLASH_BLOCK)

static struct fake_machine fake;
static struct bus_cache cache;
static int file;

static int setup(void **state)
{
    static uint8_t bytes[SIZE];
    char path[] = "/tmp/kvasir-flash-XXXXXX";
    for (unsigned i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    file = mkstemp(path);
    unlink(path);
    assert_int_equal(pwrite(file, bytes, SIZE, 0), SIZE);
    fake_machine_init(&fake);
    cache = (struct bus_cache){0};
    const struct flash_config config = {.name = "vars", .fd = file, .base = BASE, .size = SIZE};
    assert_int_equal(flash_create(&fake.machine, &config, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    fake_machine_destroy(&fake);
    close(file);
    return 0;
}

static struct device *device(void)
{
    return list_entry(fake.machine.devices.next, struct device, node);
}

static uint64_t get(uint32_t offset, unsigned len)
{
    uint64_t value = 0;
    assert_true(bus_read(&fake.machine.mmio, &cache, BASE + offset, &value, len));
    return value;
}

static void put(uint32_t offset, uint64_t value, unsigned len)
{
    assert_true(bus_write(&fake.machine.mmio, &cache, BASE + offset, value, len));
}

static void program(uint32_t offset, uint8_t value)
{
    put(offset, 0x10, 1);
    put(offset, value, 1);
}

static void erase(uint32_t offset)
{
    put(offset, 0x20, 1);
    put(offset, 0xd0, 1);
}

static uint8_t in_file(uint32_t offset)
{
    uint8_t byte;
    assert_int_equal(pread(file, &byte, 1, offset), 1);
    return byte;
}

static void test_the_array_is_the_file(void **state)
{
    assert_int_equal(get(0, 1), in_file(0));
    assert_int_equal(get(5, 1), in_file(5));
    assert_int_equal(get(SIZE - 1, 1), in_file(SIZE - 1));
    uint64_t eight;
    assert_int_equal(pread(file, &eight, 8, 4096), 8);
    assert_int_equal(get(4096, 8), eight);
}

static void test_an_erased_block_is_all_ones_and_its_neighbours_stay(void **state)
{
    uint8_t before = in_file(2 * FLASH_BLOCK - 1), after = in_file(3 * FLASH_BLOCK);
    erase(2 * FLASH_BLOCK + 77);
    assert_int_equal(get(2 * FLASH_BLOCK, 1), 0x80); /* the status, ready */
    put(0, 0xff, 1);
    for (unsigned i = 0; i < FLASH_BLOCK; i += 8)
        assert_true(get(2 * FLASH_BLOCK + i, 8) == UINT64_MAX);
    assert_int_equal(get(2 * FLASH_BLOCK - 1, 1), before);
    assert_int_equal(get(3 * FLASH_BLOCK, 1), after);
    assert_int_equal(in_file(2 * FLASH_BLOCK), 0xff);
    assert_int_equal(in_file(3 * FLASH_BLOCK - 1), 0xff);
}

static void test_programming_clears_bits_and_never_sets_them(void **state)
{
    erase(0);
    program(9, 0xa5);
    program(9, 0x0f);
    put(9, 0xff, 1);
    assert_int_equal(get(9, 1), 0x05);
    assert_int_equal(in_file(9), 0x05);
}

static void test_a_run_of_bytes_is_in_the_file_when_the_array_is_shown(void **state)
{
    erase(FLASH_BLOCK);
    for (unsigned i = 0; i < 300; i++)
        program(FLASH_BLOCK + i, (uint8_t)i);
    put(FLASH_BLOCK + 299, 0xff, 1);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(in_file(FLASH_BLOCK + i), (uint8_t)i);
}

static void test_bytes_far_apart_reach_the_file_without_each_other(void **state)
{
    program(3, 0);
    program(5 * FLASH_BLOCK, 0);
    assert_int_equal(in_file(3), 0);
    assert_int_not_equal(in_file(4), 0);
    device()->ops->quiesce(device());
    assert_int_equal(in_file(5 * FLASH_BLOCK), 0);
}

/* In this order OVMF tells flash from memory. */
static void test_ovmf_takes_it_for_flash(void **state)
{
    uint8_t original = (uint8_t)get(1, 1);
    put(1, 0x50, 1);
    assert_int_not_equal(get(1, 1), 0x50);
    put(1, 0x70, 1);
    assert_int_equal(get(1, 1), 0);
    put(1, 0xff, 1);
    assert_int_equal(get(1, 1), original);
}

static void test_a_wrong_confirmation_erases_nothing_and_is_an_error(void **state)
{
    uint8_t original = in_file(0);
    put(0, 0x20, 1);
    put(0, 0x42, 1);
    assert_int_equal(get(0, 1), 0xb0);
    put(0, 0x50, 1);
    assert_int_equal(get(0, 1), original);
    assert_int_equal(in_file(0), original);
}

static void test_a_file_that_cannot_be_written_is_an_error_of_programming(void **state)
{
    int readonly = open("/dev/null", O_RDONLY);
    assert_int_equal(dup2(readonly, file), file);
    close(readonly);
    program(0, 0);
    put(0, 0x70, 1);
    assert_int_equal(get(0, 1), 0x90);
}

static void test_a_query_tells_the_command_set_and_the_size(void **state)
{
    put(0x55, 0x98, 1);
    assert_int_equal(get(0x10, 1), 'Q');
    assert_int_equal(get(0x11, 1), 'R');
    assert_int_equal(get(0x12, 1), 'Y');
    assert_int_equal(get(0x13, 2), 1);
    assert_int_equal(1u << get(0x27, 1), SIZE);
    assert_int_equal(get(0x2c, 1), 1);
    assert_int_equal(get(0x2d, 2), 7);
    assert_int_equal(get(0x2f, 2) * 256, FLASH_BLOCK);
    assert_int_equal(get(get(0x15, 2), 1), 'P');
    assert_int_equal(get(SIZE - 8, 8), 0);
    put(0, 0x90, 1);
    assert_int_equal(get(0, 1), 0x89);
    put(0, 0xff, 1);
    assert_int_equal(get(0, 1), in_file(0));
}

static void test_commands_of_every_value_and_width_leave_the_array_alone(void **state)
{
    for (unsigned command = 0; command < 256; command++) {
        if (command == 0x10 || command == 0x40)
            continue;
        put(64, command, 4);
        get(SIZE - 8, 8);
        put(64, 0, 8); /* no confirmation */
    }
    put(0, 0xff, 1);
    uint8_t bytes[256];
    assert_int_equal(pread(file, bytes, sizeof(bytes), 0), sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        assert_int_equal(get(i, 1), bytes[i]);
}

static void test_an_access_over_the_end_is_not_answered(void **state)
{
    uint64_t value;
    assert_false(bus_read(&fake.machine.mmio, &cache, BASE + SIZE - 4, &value, 8));
    assert_false(bus_write(&fake.machine.mmio, &cache, BASE + SIZE - 4, 0, 8));
}

static void test_the_state_survives_and_a_reset_shows_the_array(void **state)
{
    put(0, 0x90, 1);
    save_reset_load(device());
    assert_int_equal(get(0, 1), 0x89);
    device()->ops->reset(device());
    assert_int_equal(get(0, 1), in_file(0));
}

static void test_a_file_that_is_too_short_is_refused(void **state)
{
    struct kv_error err;
    const struct flash_config config = {
        .name = "vars", .fd = file, .base = BASE - 2 * SIZE, .size = 2 * SIZE};
    assert_true(flash_create(&fake.machine, &config, &err) < 0);
    assert_non_null(strstr(err.message, "vars"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_array_is_the_file),
        TEST(test_an_erased_block_is_all_ones_and_its_neighbours_stay),
        TEST(test_programming_clears_bits_and_never_sets_them),
        TEST(test_a_run_of_bytes_is_in_the_file_when_the_array_is_shown),
        TEST(test_bytes_far_apart_reach_the_file_without_each_other),
        TEST(test_ovmf_takes_it_for_flash),
        TEST(test_a_wrong_confirmation_erases_nothing_and_is_an_error),
        TEST(test_a_file_that_cannot_be_written_is_an_error_of_programming),
        TEST(test_a_query_tells_the_command_set_and_the_size),
        TEST(test_commands_of_every_value_and_width_leave_the_array_alone),
        TEST(test_an_access_over_the_end_is_not_answered),
        TEST(test_the_state_survives_and_a_reset_shows_the_array),
        TEST(test_a_file_that_is_too_short_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
