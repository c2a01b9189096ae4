/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI power management, keyboard controller, pvpanic, VM generation ID. */
#include <stdio.h>
#include <string.h>

#include "fake_machine.h"
#include "unit.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/pm.h"
#include "vmm/devices/pvpanic.h"
#include "vmm/devices/vmgenid.h"
#include "vmm/x86/layout.h"

#define PWRBTN 0x100

static struct fake_machine fake;

static int setup(void **state)
{
    fake_machine_init(&fake);
    assert_int_equal(pm_create(&fake.machine, NULL), 0);
    assert_int_equal(i8042_create(&fake.machine, NULL), 0);
    assert_int_equal(pvpanic_create(&fake.machine, NULL), 0);
    return vmgenid_create(&fake.machine, NULL);
}

static int teardown(void **state)
{
    fake_machine_destroy(&fake);
    return 0;
}

static void press_button(void)
{
    fake.machine.platform.power_button(fake.machine.platform.power_button_opaque);
}

static void the_power_button_raises_the_sci_until_its_status_is_cleared(void **state)
{
    press_button();
    assert_false(fake.lines[GSI_SCI]);
    assert_int_equal(port_read(&fake, PORT_PM1_EVENT, 2), PWRBTN);
    port_write(&fake, PORT_PM1_EVENT + 2, PWRBTN, 2);
    assert_true(fake.lines[GSI_SCI]);
    port_write(&fake, PORT_PM1_EVENT, 0, 2);
    assert_true(fake.lines[GSI_SCI]);
    port_write(&fake, PORT_PM1_EVENT, PWRBTN, 2);
    assert_false(fake.lines[GSI_SCI]);
    assert_int_equal(port_read(&fake, PORT_PM1_EVENT, 2), 0);
}

static void registers_may_be_accessed_as_bytes_or_together(void **state)
{
    port_write(&fake, PORT_PM1_EVENT + 3, PWRBTN >> 8, 1);
    assert_int_equal(port_read(&fake, PORT_PM1_EVENT, 4), (uint32_t)PWRBTN << 16);
    press_button();
    port_write(&fake, PORT_PM1_EVENT, (uint32_t)PWRBTN << 16 | PWRBTN, 4);
    assert_int_equal(port_read(&fake, PORT_PM1_EVENT, 4), (uint32_t)PWRBTN << 16);
    assert_false(fake.lines[GSI_SCI]);
}

static void sleeping_in_s5_switches_off(void **state)
{
    port_write(&fake, PORT_PM1_CONTROL, PM1_SLP_TYP_S5 << 10, 2);
    assert_int_equal(fake.requests, 0);
    port_write(&fake, PORT_PM1_CONTROL, PM1_SLP_TYP_S5 << 10 | 1 << 13, 2);
    assert_int_equal(fake.requests, REQUEST_GUEST_SHUTDOWN);
    /* SLP_EN reads as 0; SCI_EN is always set. */
    assert_int_equal(port_read(&fake, PORT_PM1_CONTROL, 2), PM1_SLP_TYP_S5 << 10 | 1);
}

static void other_sleep_states_are_ignored(void **state)
{
    for (unsigned type = 0; type < 8; type++)
        if (type != PM1_SLP_TYP_S5)
            port_write(&fake, PORT_PM1_CONTROL, type << 10 | 1 << 13, 2);
    assert_int_equal(fake.requests, 0);
}

static void the_pm_timer_runs_at_its_frequency_and_stops_while_paused(void **state)
{
    struct device *pm = device_find(&fake.machine, "acpi-pm");
    int64_t start = clock_monotonic_ns();
    uint32_t first = (uint32_t)port_read(&fake, PORT_PM_TIMER, 4);
    while (clock_monotonic_ns() - start < 20000000)
        ;
    uint32_t second = (uint32_t)port_read(&fake, PORT_PM_TIMER, 4);
    int64_t elapsed = clock_monotonic_ns() - start;
    int64_t expected = elapsed * PM_TIMER_HZ / 1000000000;
    assert_in_range(second - first, 20 * 3579, expected + 1);

    pm->ops->quiesce(pm);
    uint32_t paused = (uint32_t)port_read(&fake, PORT_PM_TIMER, 4);
    start = clock_monotonic_ns();
    while (clock_monotonic_ns() - start < 1000000)
        ;
    assert_int_equal(port_read(&fake, PORT_PM_TIMER, 4), paused);
    pm->ops->resume(pm);
    assert_in_range(port_read(&fake, PORT_PM_TIMER, 4) - paused, 0, 3579 * 100);
    port_write(&fake, PORT_PM_TIMER, 0, 4);
    assert_true(port_read(&fake, PORT_PM_TIMER, 4) >= paused);
}

static void general_purpose_events_raise_the_sci(void **state)
{
    pm_gpe_raise(&fake.machine, 13);
    assert_int_equal(port_read(&fake, PORT_GPE0 + 1, 1), 0x20);
    assert_false(fake.lines[GSI_SCI]);
    port_write(&fake, PORT_GPE0 + 8, 0x2000, 8);
    assert_true(fake.lines[GSI_SCI]);
    port_write(&fake, PORT_GPE0, 0x2000, 2);
    assert_false(fake.lines[GSI_SCI]);
    pm_gpe_raise(&fake.machine, 64);
    pm_gpe_raise(&fake.machine, UINT32_MAX);
    assert_true(port_read(&fake, PORT_GPE0, 8) == 0);
}

static void power_management_survives_saving_and_abuse(void **state)
{
    struct device *pm = device_find(&fake.machine, "acpi-pm");
    port_write(&fake, PORT_PM1_EVENT + 2, PWRBTN, 2);
    press_button();
    save_reset_load(pm);
    assert_true(fake.lines[GSI_SCI]);
    assert_int_equal(port_read(&fake, PORT_PM1_EVENT, 4), (uint32_t)PWRBTN << 16 | PWRBTN);
    assert_int_equal(pm->ops->load(pm, NULL, NULL), -22);
    abuse_ports(&fake, PORT_PM_BASE, 0x30);
    pm->ops->reset(pm);
    assert_int_equal(port_read(&fake, PORT_PM1_EVENT, 4), 0);
    assert_false(fake.lines[GSI_SCI]);
}

static void the_keyboard_controller_resets_by_pulse_and_by_output_port(void **state)
{
    port_write(&fake, PORT_I8042_COMMAND, 0xfe, 1);
    assert_int_equal(fake.requests, REQUEST_GUEST_RESET);
    fake.requests = 0;
    port_write(&fake, PORT_I8042_COMMAND, 0xff, 1); /* pulses nothing */
    port_write(&fake, PORT_I8042_COMMAND, 0xd1, 1);
    port_write(&fake, PORT_I8042_DATA, 0xcf, 1);
    assert_int_equal(fake.requests, 0);
    port_write(&fake, PORT_I8042_COMMAND, 0xd1, 1);
    port_write(&fake, PORT_I8042_DATA, 0xce, 1);
    assert_int_equal(fake.requests, REQUEST_GUEST_RESET);
    fake.requests = 0;
    port_write(&fake, 0x92, 3, 1);
    assert_int_equal(fake.requests, REQUEST_GUEST_RESET);
}

static void the_keyboard_controller_passes_its_self_test_without_a_keyboard(void **state)
{
    assert_int_equal(port_read(&fake, PORT_I8042_COMMAND, 1) & 3, 0);
    port_write(&fake, PORT_I8042_COMMAND, 0xaa, 1);
    assert_int_equal(port_read(&fake, PORT_I8042_COMMAND, 1) & 3, 1);
    assert_int_equal(port_read(&fake, PORT_I8042_DATA, 1), 0x55);
    assert_int_equal(port_read(&fake, PORT_I8042_COMMAND, 1) & 3, 0);
    port_write(&fake, PORT_I8042_COMMAND, 0x60, 1);
    port_write(&fake, PORT_I8042_DATA, 0x47, 1);
    port_write(&fake, PORT_I8042_COMMAND, 0x20, 1);
    assert_int_equal(port_read(&fake, PORT_I8042_DATA, 1), 0x47);
    port_write(&fake, PORT_I8042_DATA, 0xed, 1); /* to the keyboard */
    assert_int_equal(port_read(&fake, PORT_I8042_COMMAND, 1) & 1, 0);
    save_reset_load(device_find(&fake.machine, "i8042"));
    port_write(&fake, PORT_I8042_COMMAND, 0x20, 1);
    assert_int_equal(port_read(&fake, PORT_I8042_DATA, 1), 0x47);
    abuse_ports(&fake, PORT_I8042_DATA, 8);
    abuse_ports(&fake, 0x92, 1);
}

static void a_hidden_keyboard_controller_reads_as_nobody_and_resets(void **state)
{
    i8042_hide(&fake.machine);
    assert_int_equal(port_read(&fake, PORT_I8042_COMMAND, 1), 0xff);
    port_write(&fake, PORT_I8042_COMMAND, 0xfe, 1);
    assert_int_equal(fake.requests, REQUEST_GUEST_RESET);
    i8042_plug(&fake.machine);
    assert_int_not_equal(port_read(&fake, PORT_I8042_COMMAND, 1), 0xff);
}

static void a_panic_is_reported_by_its_bit(void **state)
{
    assert_int_equal(port_read(&fake, PORT_PVPANIC, 1), 7);
    port_write(&fake, PORT_PVPANIC, 1, 1);
    assert_int_equal(fake.requests, REQUEST_PANIC);
    port_write(&fake, PORT_PVPANIC, 6, 1);
    assert_int_equal(fake.requests, REQUEST_PANIC | REQUEST_CRASH_LOADED | REQUEST_PVSHUTDOWN);
    fake.requests = 0;
    port_write(&fake, PORT_PVPANIC, 0xf8, 1);
    assert_int_equal(fake.requests, 0);
}

static void the_generation_id_lies_in_memory_as_a_guid_and_its_change_is_announced(void **state)
{
    static const uint8_t expected[16] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
                                         0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    uint8_t memory[16], random[16];
    char text[VMGENID_TEXT];
    guest_mem_read(&fake.machine.mem, LAYOUT_VMGENID, random, sizeof(random));
    assert_int_equal(vmgenid_text(&fake.machine, text), 0);
    assert_int_equal(text[14], '4');
    assert_int_equal(vmgenid_change(&fake.machine, "00112233-4455-6677-8899-aabbccddeeff", NULL),
                     0);
    guest_mem_read(&fake.machine.mem, LAYOUT_VMGENID, memory, sizeof(memory));
    assert_memory_equal(memory, expected, sizeof(memory));
    assert_int_equal(port_read(&fake, PORT_GPE0, 1), 1 << GPE_VMGENID);
    vmgenid_text(&fake.machine, text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");

    struct kv_error err;
    assert_int_equal(vmgenid_change(&fake.machine, "tomorrow", &err), -22);
    assert_non_null(strstr(err.message, "tomorrow"));
    struct device *gen = device_find(&fake.machine, "vmgenid");
    memset(memory, 0, sizeof(memory));
    guest_mem_write(&fake.machine.mem, LAYOUT_VMGENID, memory, sizeof(memory));
    save_reset_load(gen);
    guest_mem_read(&fake.machine.mem, LAYOUT_VMGENID, memory, sizeof(memory));
    assert_memory_equal(memory, expected, sizeof(memory));
    assert_int_equal(vmgenid_change(&fake.machine, NULL, NULL), 0);
    guest_mem_read(&fake.machine.mem, LAYOUT_VMGENID, memory, sizeof(memory));
    assert_memory_not_equal(memory, expected, sizeof(memory));
    assert_memory_not_equal(memory, random, sizeof(memory));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_power_button_raises_the_sci_until_its_status_is_cleared),
        T(registers_may_be_accessed_as_bytes_or_together),
        T(sleeping_in_s5_switches_off),
        T(other_sleep_states_are_ignored),
        T(the_pm_timer_runs_at_its_frequency_and_stops_while_paused),
        T(general_purpose_events_raise_the_sci),
        T(power_management_survives_saving_and_abuse),
        T(the_keyboard_controller_resets_by_pulse_and_by_output_port),
        T(the_keyboard_controller_passes_its_self_test_without_a_keyboard),
        T(a_hidden_keyboard_controller_reads_as_nobody_and_resets),
        T(a_panic_is_reported_by_its_bit),
        T(the_generation_id_lies_in_memory_as_a_guid_and_its_change_is_announced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
