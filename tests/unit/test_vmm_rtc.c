/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real-time clock, on a host clock that the test moves. */
#include "fake_machine.h"
#include "unit.h"
#include "vmm/devices/rtc_calendar.h"
#include "vmm/x86/layout.h"

#define NS INT64_C(1000000000)
#define TIME INT64_C(1709251199) /* Thursday 2024-02-29 23:59:59 UTC */

#define B_24H 0x02
#define B_BINARY 0x04
#define B_UPDATE 0x10
#define B_ALARM 0x20
#define B_PERIODIC 0x40
#define B_SET 0x80

static struct fake_machine fake;
static int64_t host_ns;
static bool host_clock_runs;

static int64_t host_clock(void)
{
    return host_clock_runs ? host_ns + clock_monotonic_ns() : host_ns;
}

static int setup(void **state)
{
    fake_machine_init(&fake);
    host_ns = TIME * NS;
    host_clock_runs = false;
    return rtc_create_with_clock(&fake.machine, host_clock, NULL);
}

static int setup_an_hour_ahead(void **state)
{
    fake_machine_init(&fake);
    fake.machine.config.rtc.offset = 3600;
    host_ns = TIME * NS;
    host_clock_runs = false;
    return rtc_create_with_clock(&fake.machine, host_clock, NULL);
}

static int teardown(void **state)
{
    fake_machine_destroy(&fake);
    return 0;
}

static uint8_t get(uint8_t index)
{
    port_write(&fake, PORT_RTC, index, 1);
    return (uint8_t)port_read(&fake, PORT_RTC + 1, 1);
}

static void set(uint8_t index, uint8_t value)
{
    port_write(&fake, PORT_RTC, index, 1);
    port_write(&fake, PORT_RTC + 1, value, 1);
}

static void check_time(uint8_t century, uint8_t year, uint8_t month, uint8_t day, uint8_t hour,
                       uint8_t minute, uint8_t second)
{
    assert_int_equal(get(RTC_CENTURY), century);
    assert_int_equal(get(RTC_YEAR), year);
    assert_int_equal(get(RTC_MONTH), month);
    assert_int_equal(get(RTC_DAY), day);
    assert_int_equal(get(RTC_HOURS), hour);
    assert_int_equal(get(RTC_MINUTES), minute);
    assert_int_equal(get(RTC_SECONDS), second);
}

static void the_host_time_is_shown_in_bcd(void **state)
{
    check_time(0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x59);
    assert_int_equal(get(RTC_WEEKDAY), 5);
    host_ns += NS;
    check_time(0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00);
    assert_int_equal(get(RTC_D), 0x80);
}

static void the_first_time_is_the_configurations(void **state)
{
    check_time(0x20, 0x24, 0x03, 0x01, 0x00, 0x59, 0x59);
    struct device *rtc = device_find(&fake.machine, "rtc");
    rtc->ops->reset(rtc);
    check_time(0x20, 0x24, 0x03, 0x01, 0x00, 0x59, 0x59);
}

static void the_format_follows_register_b(void **state)
{
    set(RTC_B, B_24H | B_BINARY);
    check_time(20, 24, 2, 29, 23, 59, 59);
    set(RTC_B, B_BINARY);
    check_time(20, 24, 2, 29, 11 | 0x80, 59, 59);
    set(RTC_B, 0);
    check_time(0x20, 0x24, 0x02, 0x29, 0x11 | 0x80, 0x59, 0x59);
    host_ns += NS; /* midnight is 12 in the morning */
    assert_int_equal(get(RTC_HOURS), 0x12);
    host_ns += 12 * 3600 * NS;
    assert_int_equal(get(RTC_HOURS), 0x12 | 0x80);
}

static void a_time_set_by_the_guest_runs_on(void **state)
{
    set(RTC_B, B_SET | B_24H);
    set(RTC_YEAR, 0x99);
    set(RTC_CENTURY, 0x19);
    set(RTC_MONTH, 0x12);
    set(RTC_DAY, 0x31);
    set(RTC_HOURS, 0x23);
    set(RTC_MINUTES, 0x59);
    set(RTC_SECONDS, 0x58);
    host_ns += 100 * NS; /* stands still while it is set */
    check_time(0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58);
    set(RTC_B, B_24H);
    check_time(0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58);
    host_ns += 3 * NS;
    check_time(0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01);

    struct device *rtc = device_find(&fake.machine, "rtc");
    rtc->ops->reset(rtc);
    check_time(0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01);
    save_reset_load(rtc);
    check_time(0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01);
}

static void the_afternoon_can_be_set_in_12_hours(void **state)
{
    set(RTC_B, 0);
    set(RTC_HOURS, 0x12 | 0x80);
    set(RTC_B, B_24H);
    assert_int_equal(get(RTC_HOURS), 0x12);
    set(RTC_B, 0);
    set(RTC_HOURS, 0x12);
    set(RTC_B, B_24H);
    assert_int_equal(get(RTC_HOURS), 0x00);
}

static void an_update_is_announced_at_the_end_of_a_second(void **state)
{
    assert_int_equal(get(RTC_A) & 0x80, 0);
    host_ns += NS - 200000;
    assert_int_equal(get(RTC_A) & 0x80, 0x80);
    set(RTC_B, B_SET | B_24H);
    assert_int_equal(get(RTC_A) & 0x80, 0);
}

static void flags_are_seen_by_polling_and_cleared_by_reading(void **state)
{
    get(RTC_C);
    assert_int_equal(get(RTC_C), 0);
    host_ns += NS;
    assert_int_equal(get(RTC_C) & B_UPDATE, B_UPDATE);
    assert_int_equal(get(RTC_C), 0);
    assert_int_equal(fake.edges[GSI_RTC], 0);
}

static void an_alarm_in_the_past_second_range_is_found(void **state)
{
    set(RTC_HOURS_ALARM, 0x00);
    set(RTC_MINUTES_ALARM, 0x01);
    set(RTC_SECONDS_ALARM, 0x30);
    get(RTC_C);
    host_ns += 60 * NS;
    assert_int_equal(get(RTC_C) & B_ALARM, 0);
    host_ns += 60 * NS;
    assert_int_equal(get(RTC_C) & B_ALARM, B_ALARM);
    set(RTC_HOURS_ALARM, 0xff);
    set(RTC_MINUTES_ALARM, 0xc0);
    set(RTC_SECONDS_ALARM, 0xff);
    host_ns += NS;
    assert_int_equal(get(RTC_C) & B_ALARM, B_ALARM);
    host_ns += INT64_C(3153600000) * NS; /* a century later: bounded work */
    get(RTC_C);
}

static void update_interrupts_come_every_second_once_the_last_was_read(void **state)
{
    host_clock_runs = true;
    host_ns = -clock_monotonic_ns() + TIME * NS + NS - 20000000;
    set(RTC_B, B_24H | B_UPDATE);
    fake_machine_run(&fake, 60000000);
    assert_true(fake.lines[GSI_RTC]);
    assert_int_equal(get(RTC_C) & (0x80 | B_UPDATE), 0x80 | B_UPDATE);
    assert_false(fake.lines[GSI_RTC]);
    assert_int_equal(fake.edges[GSI_RTC], 1);
}

static void periodic_interrupts_wait_for_the_guest(void **state)
{
    host_clock_runs = true;
    set(RTC_A, 0x26); /* 1024 Hz */
    set(RTC_B, B_24H | B_PERIODIC);
    fake_machine_run(&fake, 20000000);
    assert_true(fake.lines[GSI_RTC]);
    assert_int_equal(fake.edges[GSI_RTC], 1);
    for (unsigned i = 0; i < 5; i++) {
        get(RTC_C);
        fake_machine_run(&fake, 20000000);
    }
    assert_int_equal(fake.edges[GSI_RTC], 6);
    set(RTC_B, B_24H);
    assert_false(fake.lines[GSI_RTC]);
}

static void memory_sizes_are_where_firmware_looks(void **state)
{
    assert_int_equal(get(0x15) | get(0x16) << 8, 640);
    assert_int_equal(get(0x34), 0);
    set(0x3d, 0x12);
    assert_int_equal(get(0x3d), 0x12);
    set(0x8e, 0x77); /* bit 7 is no part of the index */
    assert_int_equal(get(0x0e), 0x77);
}

static void nonsense_dates_and_accesses_do_no_harm(void **state)
{
    for (unsigned b = 0; b < 256; b++) {
        set(RTC_B, (uint8_t)b);
        for (uint8_t index = 0; index < 128; index++)
            if (index != RTC_B)
                set(index, (uint8_t)(b * 37 + index * 11));
        set(RTC_B, (uint8_t)b & 0x7f);
        host_ns += NS;
        for (uint8_t index = 0; index < 128; index++)
            get(index);
    }
    static const uint8_t calendar[] = {0, 2, 4, 6, 7, 8, 9, RTC_CENTURY};
    for (unsigned i = 0; i < ARRAY_SIZE(calendar); i++)
        set(calendar[i], 0xff);
    for (unsigned i = 0; i < ARRAY_SIZE(calendar); i++)
        get(calendar[i]);
    abuse_ports(&fake, PORT_RTC, 2);
    fake_machine_run(&fake, 1000000);
    struct device *rtc = device_find(&fake.machine, "rtc");
    assert_int_equal(rtc->ops->load(rtc, NULL, NULL), -22);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_host_time_is_shown_in_bcd),
        cmocka_unit_test_setup_teardown(the_first_time_is_the_configurations, setup_an_hour_ahead,
                                        teardown),
        T(the_format_follows_register_b),
        T(a_time_set_by_the_guest_runs_on),
        T(the_afternoon_can_be_set_in_12_hours),
        T(an_update_is_announced_at_the_end_of_a_second),
        T(flags_are_seen_by_polling_and_cleared_by_reading),
        T(an_alarm_in_the_past_second_range_is_found),
        T(update_interrupts_come_every_second_once_the_last_was_read),
        T(periodic_interrupts_wait_for_the_guest),
        T(memory_sizes_are_where_firmware_looks),
        T(nonsense_dates_and_accesses_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
