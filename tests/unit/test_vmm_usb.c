/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The USB controller and what is plugged into it as a driver sees them. */
#include <linux/input-event-codes.h>

#include "unit.h"
#include "usb_guest.h"

static struct usb_guest g;

static int setup(void **state)
{
    usb_guest_init(&g);
    usb_start(&g);
    return 0;
}

static int teardown(void **state)
{
    usb_guest_destroy(&g);
    return 0;
}

static unsigned ready(unsigned port)
{
    unsigned slot = usb_address(&g, port);
    assert_int_not_equal(slot, 0);
    assert_true(usb_configure(&g, slot));
    return slot;
}

/* One transfer's worth of room, and what came into it; its length, -1: nothing yet. */
static void ask(unsigned slot, unsigned len)
{
    memset(g.memory + USB_DATA, 0xee, 64);
    usb_put(&g, slot, 1, USB_DATA, len, TRB_NORMAL << 10 | (uint32_t)(TRB_IOC | TRB_ISP));
    usb_write(&g, 0x2000 + slot * 4, 3);
    usb_turn(&g);
}

static int report(unsigned len, unsigned *code)
{
    struct trb event;
    usb_turn(&g);
    if (!usb_event(&g, &event))
        return -1;
    assert_int_equal(trb_type(&event), TRB_TRANSFER_EVENT);
    *code = event.status >> 24;
    return (int)(len - (event.status & 0xffffff));
}

static void expect_report(unsigned slot, const char *bytes, unsigned len)
{
    unsigned code;
    ask(slot, 8);
    assert_int_equal(report(8, &code), len);
    assert_int_equal(code, len < 8 ? CC_SHORT_PACKET : CC_SUCCESS);
    assert_memory_equal(g.memory + USB_DATA, bytes, len);
}

static void the_registers_say_what_it_is(void **state)
{
    assert_int_equal(usb_read(&g, 0), 0x01000040);
    assert_int_equal(usb_read(&g, 4) >> 24, XHCI_PORTS);
    assert_int_equal(fake_read(&g.pci.mmio, USB_BAR, 1), 0x40);
    assert_int_equal(fake_read(&g.pci.mmio, USB_BAR + 2, 2), 0x100);
    assert_int_equal(fake_read(&g.pci.mmio, USB_BAR + 0x20, 8), 0x2042535502000402);
    assert_int_equal(usb_read(&g, 0x44) & STS_HALTED, 0);
    assert_int_equal(usb_read(&g, 0x440) & 0x3e01, 0x601);
    assert_int_equal(usb_read(&g, 0x440 + 3 * 16) & 1, 0);
    usb_write(&g, 0x40, 0);
    assert_true(usb_read(&g, 0x44) & STS_HALTED);
}

static void ports_tell_of_what_is_plugged_in_and_of_resets(void **state)
{
    struct trb event;
    unsigned seen = 0;
    while (usb_event(&g, &event)) {
        assert_int_equal(trb_type(&event), TRB_PORT_STATUS_CHANGE);
        seen |= 1u << (event.param >> 24);
    }
    assert_int_equal(seen, 0xe);
    assert_int_equal(usb_read(&g, 0x440) & 2, 0);
    usb_write(&g, 0x440, BIT(4) | BIT(17));
    assert_int_equal(usb_read(&g, 0x440) & (2 | 1 << 17 | 1 << 21), 2 | 1 << 21);
    usb_turn(&g);
    assert_true(usb_event(&g, &event));
    assert_int_equal(event.param, 1 << 24);
    usb_write(&g, 0x440, BIT(2 - 1));
    assert_int_equal(usb_read(&g, 0x440) & 2, 0);
}

static void a_device_is_addressed_and_describes_itself(void **state)
{
    unsigned slot = ready(USB_KEYBOARD_PORT);
    uint32_t left;
    const uint8_t *context = g.memory + USB_CONTEXTS + slot * 0x400u;
    assert_int_equal(load_le(context + 12, 4), 3u << 27 | slot);
    assert_int_equal(context[32] & 7, ENDPOINT_RUNNING);
    assert_int_equal(usb_control(&g, slot, 0x8006, 0x100, 64, &left), CC_SUCCESS);
    assert_int_equal(left, 64 - 18);
    assert_memory_equal(g.memory + USB_DATA, "\x12\x01\x10\x01\0\0\0\x40", 8);
    assert_int_equal(usb_control(&g, slot, 0x8006, 0x200, 9, &left), CC_SUCCESS);
    assert_int_equal(g.memory[USB_DATA + 2], 34);
    assert_int_equal(usb_control(&g, slot, 0x8106, 0x2200, 200, &left), CC_SUCCESS);
    assert_memory_equal(g.memory + USB_DATA, "\x05\x01\x09\x06", 4);
    assert_int_equal(usb_control(&g, slot, 0x8006, 0x302, 255, &left), CC_SUCCESS);
    assert_int_equal(g.memory[USB_DATA + 2], 'U');
}

static void a_refused_request_halts_the_endpoint_until_it_is_reset(void **state)
{
    unsigned slot = ready(USB_MOUSE_PORT);
    uint32_t left, of_slot = slot << 24 | 1 << 16;
    assert_int_equal(usb_control(&g, slot, 0x8006, 0x600, 10, &left), CC_STALL);
    const uint8_t *context = g.memory + USB_CONTEXTS + slot * 0x400u + 32;
    assert_int_equal(context[0] & 7, ENDPOINT_HALTED);
    assert_int_equal(usb_control(&g, slot, 0x8008, 0, 1, &left), 0);
    assert_int_equal(usb_command(&g, 0, TRB_SET_DEQUEUE << 10 | of_slot, NULL), CC_CONTEXT_STATE);
    assert_int_equal(usb_command(&g, 0, TRB_RESET_ENDPOINT << 10 | of_slot, NULL), CC_SUCCESS);
    uint64_t next = g.rings[slot][0].at + g.rings[slot][0].index * TRB_SIZE + 1;
    assert_int_equal(usb_command(&g, next, TRB_SET_DEQUEUE << 10 | of_slot, NULL), CC_SUCCESS);
    assert_int_equal(usb_control(&g, slot, 0x8008, 0, 1, &left), CC_SUCCESS);
    assert_int_equal(g.memory[USB_DATA], 1);
}

static void keys_come_as_reports_in_their_order(void **state)
{
    unsigned slot = usb_address(&g, USB_KEYBOARD_PORT), code;
    const struct input_sink *sink = usb_hid_sink(g.devices[USB_KEYBOARD_PORT]);
    assert_false(sink->active(sink->opaque));
    assert_true(usb_configure(&g, slot));
    assert_true(sink->active(sink->opaque));
    ask(slot, 8);
    assert_int_equal(report(8, &code), -1);
    sink->key(sink->opaque, KEY_LEFTSHIFT, true);
    assert_int_equal(report(8, &code), 8);
    assert_memory_equal(g.memory + USB_DATA, "\2\0\0\0\0\0\0\0", 8);
    sink->key(sink->opaque, KEY_A, true);
    sink->key(sink->opaque, KEY_B, true);
    sink->key(sink->opaque, KEY_A, false);
    expect_report(slot, "\2\0\4\0\0\0\0\0", 8);
    expect_report(slot, "\2\0\4\5\0\0\0\0", 8);
    expect_report(slot, "\2\0\5\0\0\0\0\0", 8);
    for (unsigned i = 0; i < 6; i++)
        sink->key(sink->opaque, KEY_1 + i, true);
    for (unsigned i = 0; i < 5; i++)
        ask(slot, 8);
    while (report(8, &code) >= 0)
        ;
    expect_report(slot, "\2\0\1\1\1\1\1\1", 8);
}

static void the_lights_are_those_that_the_guest_set(void **state)
{
    unsigned slot = ready(USB_KEYBOARD_PORT);
    const struct input_sink *sink = usb_hid_sink(g.devices[USB_KEYBOARD_PORT]);
    uint32_t left;
    assert_int_equal(sink->lights(sink->opaque), 0);
    g.memory[USB_DATA] = 1 << 1 | 1 << 2; /* caps lock, scroll lock */
    assert_int_equal(usb_control(&g, slot, 0x2109, 0x0200, 1, &left), CC_SUCCESS);
    assert_int_equal(sink->lights(sink->opaque), INPUT_CAPS_LOCK | INPUT_SCROLL_LOCK);
}

static void the_mouse_goes_a_long_way_in_steps(void **state)
{
    unsigned slot = ready(USB_MOUSE_PORT);
    const struct input_sink *sink = usb_hid_sink(g.devices[USB_MOUSE_PORT]);
    sink->relative(sink->opaque, 200, -3, INPUT_RIGHT);
    expect_report(slot, "\2\x7f\xfd\0", 4);
    expect_report(slot, "\2\x49\0\0", 4);
    sink->relative(sink->opaque, 0, 0, INPUT_WHEEL_DOWN);
    sink->relative(sink->opaque, 0, 0, 0);
    expect_report(slot, "\0\0\0\xff", 4);
    expect_report(slot, "\0\0\0\0", 4);
}

static void the_tablet_is_where_it_is_told(void **state)
{
    unsigned slot = ready(USB_TABLET_PORT);
    const struct input_sink *sink = usb_hid_sink(g.devices[USB_TABLET_PORT]);
    for (unsigned i = 0; i < 1000; i++)
        sink->absolute(sink->opaque, i, 0x7fff, 0);
    sink->absolute(sink->opaque, 7, 8, INPUT_LEFT | INPUT_MIDDLE);
    expect_report(slot, "\0\0\0\xff\x7f\0", 6);
    expect_report(slot, "\0\xe7\3\xff\x7f\0", 6);
    expect_report(slot, "\5\7\0\x08\0\0", 6);
}

static void a_report_is_spread_over_a_chain_and_too_short_a_one_babbles(void **state)
{
    unsigned slot = ready(USB_KEYBOARD_PORT), code;
    const struct input_sink *sink = usb_hid_sink(g.devices[USB_KEYBOARD_PORT]);
    sink->key(sink->opaque, KEY_A, true);
    usb_put(&g, slot, 1, USB_DATA, 3, TRB_NORMAL << 10 | (uint32_t)TRB_CHAIN);
    usb_put(&g, slot, 1, USB_DATA + 16, 5, TRB_NORMAL << 10 | (uint32_t)TRB_CHAIN);
    usb_put(&g, slot, 1, 0x1234567890, 0, TRB_EVENT_DATA << 10 | (uint32_t)TRB_IOC);
    usb_write(&g, 0x2000 + slot * 4, 3);
    struct trb event;
    usb_turn(&g);
    assert_true(usb_event(&g, &event));
    assert_int_equal(event.param, 0x1234567890);
    assert_int_equal(event.status, (unsigned)CC_SUCCESS << 24 | 8);
    assert_int_equal(g.memory[USB_DATA + 2], 4);
    sink->key(sink->opaque, KEY_A, false);
    usb_put(&g, slot, 1, USB_DATA, 3, TRB_NORMAL << 10);
    usb_write(&g, 0x2000 + slot * 4, 3);
    assert_int_equal(report(3, &code), 0);
    assert_int_equal(code, CC_BABBLE);
}

static void commands_that_make_no_sense_are_answered(void **state)
{
    unsigned slot = ready(USB_TABLET_PORT), of_slot = slot << 24;
    static const struct {
        uint64_t param;
        uint32_t control;
        unsigned code;
        bool of_slot;
    } rows[] = {
        {0, TRB_NOOP_COMMAND << 10, CC_SUCCESS, false},
        {0, 49 << 10, CC_TRB_ERROR, false},
        {0, TRB_DISABLE_SLOT << 10, CC_SLOT_NOT_ENABLED, false},
        {0, TRB_DISABLE_SLOT << 10 | 255u << 24, CC_SLOT_NOT_ENABLED, false},
        {UINT64_MAX, TRB_ADDRESS_DEVICE << 10, CC_TRB_ERROR, true},
        {USB_DATA, TRB_ADDRESS_DEVICE << 10, CC_PARAMETER, true},
        {UINT64_MAX - 64, TRB_CONFIGURE_ENDPOINT << 10, CC_TRB_ERROR, true},
        {USB_DATA, TRB_CONFIGURE_ENDPOINT << 10, CC_PARAMETER, true},
        {USB_MEMORY - 32, TRB_EVALUATE_CONTEXT << 10, CC_SUCCESS, true},
        {0, TRB_STOP_ENDPOINT << 10, CC_ENDPOINT_NOT_ENABLED, true},
        {0, TRB_STOP_ENDPOINT << 10 | 31 << 16, CC_ENDPOINT_NOT_ENABLED, true},
        {0, TRB_RESET_ENDPOINT << 10 | 3 << 16, CC_CONTEXT_STATE, true},
        {0, TRB_STOP_ENDPOINT << 10 | 3 << 16, CC_SUCCESS, true},
        {0, TRB_STOP_ENDPOINT << 10 | 3 << 16, CC_CONTEXT_STATE, true},
        {0, TRB_RESET_DEVICE << 10, CC_SUCCESS, true},
        {0, TRB_RESET_DEVICE << 10, CC_CONTEXT_STATE, true},
        {0, TRB_CONFIGURE_ENDPOINT << 10, CC_CONTEXT_STATE, true},
        {0, TRB_DISABLE_SLOT << 10, CC_SUCCESS, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned code =
            usb_command(&g, rows[i].param, rows[i].control | (rows[i].of_slot ? of_slot : 0), NULL);
        if (code != rows[i].code)
            fail_msg("row %u: code %u", i, code);
    }
    for (unsigned i = 0; i < XHCI_SLOTS; i++)
        assert_int_equal(usb_command(&g, 0, TRB_ENABLE_SLOT << 10, NULL), CC_SUCCESS);
    assert_int_equal(usb_command(&g, 0, TRB_ENABLE_SLOT << 10, NULL), CC_NO_SLOTS);
}

static bool died(void)
{
    for (unsigned i = 0; i < 4; i++)
        usb_turn(&g);
    return usb_read(&g, 0x44) & STS_ERROR;
}

static void rings_that_are_none_stop_the_controller_until_it_is_reset(void **state)
{
    /* A command ring of nothing but links. */
    store_le(g.memory + USB_COMMANDS, USB_COMMANDS, 8);
    store_le(g.memory + USB_COMMANDS + 12, TRB_LINK << 10 | 1, 4);
    usb_write(&g, 0x2000, 0);
    assert_true(died());
    usb_write(&g, 0x40, CMD_RUN);
    assert_true(usb_read(&g, 0x44) & STS_HALTED);
    /* Elsewhere than in memory. */
    usb_start(&g);
    usb_write(&g, 0x5c, 0xffffffff);
    usb_write(&g, 0x2000, 0);
    assert_true(died());
    /* An event ring out of memory, too short, and a dequeue pointer beside it. */
    usb_start(&g);
    store_le(g.memory + USB_ERST, UINT64_MAX - 63, 8);
    usb_write(&g, 0x1030, USB_ERST);
    usb_write(&g, 0x2000, 0);
    assert_true(died());
    usb_start(&g);
    store_le(g.memory + USB_ERST + 8, 15, 4);
    usb_write(&g, 0x1030, USB_ERST);
    usb_write(&g, 0x2000, 0);
    assert_true(died());
    usb_start(&g);
    usb_write(&g, 0x1038, USB_EVENTS - 16);
    usb_write(&g, 0x2000, 0);
    assert_true(died());
    usb_start(&g);
    assert_int_equal(usb_command(&g, 0, TRB_NOOP_COMMAND << 10, NULL), CC_SUCCESS);
}

static void an_endless_ring_of_commands_holds_up_nobody(void **state)
{
    for (unsigned i = 0; i < 31; i++)
        usb_put_command(&g, 0, TRB_NOOP_COMMAND << 10);
    store_le(g.memory + USB_COMMANDS + 31 * TRB_SIZE, USB_COMMANDS, 8);
    store_le(g.memory + USB_COMMANDS + 31 * TRB_SIZE + 12, TRB_LINK << 10 | 1, 4);
    usb_write(&g, 0x2000, 0);
    for (unsigned i = 0; i < 20; i++) {
        struct trb event;
        usb_turn(&g);
        while (usb_event(&g, &event))
            ;
    }
    assert_false(usb_read(&g, 0x44) & STS_ERROR);
    usb_write(&g, 0x58, 4);
    usb_turn(&g);
    assert_int_equal(usb_read(&g, 0x58), 0);
}

static void a_full_event_ring_keeps_commands_waiting(void **state)
{
    struct trb event;
    while (usb_event(&g, &event))
        ;
    for (unsigned i = 0; i < 31; i++)
        usb_put_command(&g, 0, TRB_NOOP_COMMAND << 10);
    usb_write(&g, 0x2000, 0);
    usb_turn(&g);
    usb_put_command(&g, 0, TRB_NOOP_COMMAND << 10);
    usb_put_command(&g, 0, TRB_NOOP_COMMAND << 10);
    usb_write(&g, 0x2000, 0);
    usb_turn(&g);
    unsigned count = 0;
    for (unsigned i = 0; i < 40; i++, usb_turn(&g))
        count += usb_event(&g, &event);
    assert_int_equal(count, 33);
}

static void interrupts_come_until_they_are_acknowledged(void **state)
{
    struct trb event;
    while (usb_event(&g, &event))
        ;
    usb_write(&g, 0x1020, IMAN_ENABLE | IMAN_PENDING);
    assert_false(g.pci.lines[pci_intx_gsi(g.xhci->pci.devfn >> 3)]);
    usb_put_command(&g, 0, TRB_NOOP_COMMAND << 10);
    usb_write(&g, 0x2000, 0);
    usb_turn(&g);
    assert_true(g.pci.lines[pci_intx_gsi(g.xhci->pci.devfn >> 3)]);
    assert_true(usb_read(&g, 0x44) & STS_EVENT);
    usb_write(&g, 0x1020, IMAN_ENABLE | IMAN_PENDING);
    assert_false(g.pci.lines[pci_intx_gsi(g.xhci->pci.devfn >> 3)]);
    /* Busy: no further one before the guest has moved on. */
    usb_put_command(&g, 0, TRB_NOOP_COMMAND << 10);
    usb_write(&g, 0x2000, 0);
    usb_turn(&g);
    assert_false(g.pci.lines[pci_intx_gsi(g.xhci->pci.devfn >> 3)]);
    assert_true(usb_event(&g, &event));
    assert_true(g.pci.lines[pci_intx_gsi(g.xhci->pci.devfn >> 3)]);
}

static void a_saved_controller_goes_on(void **state)
{
    unsigned slot = ready(USB_KEYBOARD_PORT), code;
    const struct input_sink *sink = usb_hid_sink(g.devices[USB_KEYBOARD_PORT]);
    struct device *device = xhci_device(g.xhci);
    struct kv_error err = {0};
    ask(slot, 8);
    device->ops->quiesce(device);
    sink->key(sink->opaque, KEY_Z, true);
    assert_int_equal(report(8, &code), -1);
    json_t *saved = device->ops->save(device);
    device->ops->reset(device);
    assert_false(sink->active(sink->opaque));
    assert_int_equal(device->ops->load(device, saved, &err), 0);
    json_object_set_new(saved, "devices", json_array());
    assert_true(device->ops->load(device, saved, &err) < 0);
    json_decref(saved);
    device->ops->resume(device);
    usb_write(&g, 0x2000 + slot * 4, 3);
    assert_int_equal(report(8, &code), 8);
    assert_int_equal(g.memory[USB_DATA + 2], 0x1d);
}

static void a_controller_whose_event_ring_was_just_changed_is_saved(void **state)
{
    struct device *device = xhci_device(g.xhci);
    struct kv_error err;
    ready(USB_KEYBOARD_PORT); /* its events are not at the ring's beginning */
    usb_write(&g, 0x1030, USB_ERST + 64);
    json_t *saved = device->ops->save(device);
    assert_int_equal(device->ops->load(device, saved, &err), 0);
    json_decref(saved);
}

static void registers_can_be_accessed_in_any_way(void **state)
{
    static const uint64_t values[] = {UINT64_MAX, 0, UINT64_C(0x8000000080000000), 0x5555};
    for (unsigned v = 0; v < ARRAY_SIZE(values); v++) {
        for (unsigned offset = 0; offset < 0x4000; offset++) {
            for (unsigned len = 1; len <= 8 && offset + len <= 0x4000; len *= 2) {
                fake_write(&g.pci.mmio, USB_BAR + offset, values[v], len);
                fake_read(&g.pci.mmio, USB_BAR + offset, len);
            }
        }
        usb_turn(&g);
    }
    usb_start(&g);
    ready(USB_TABLET_PORT);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_registers_say_what_it_is),
        TEST(ports_tell_of_what_is_plugged_in_and_of_resets),
        TEST(a_device_is_addressed_and_describes_itself),
        TEST(a_refused_request_halts_the_endpoint_until_it_is_reset),
        TEST(keys_come_as_reports_in_their_order),
        TEST(the_lights_are_those_that_the_guest_set),
        TEST(the_mouse_goes_a_long_way_in_steps),
        TEST(the_tablet_is_where_it_is_told),
        TEST(a_report_is_spread_over_a_chain_and_too_short_a_one_babbles),
        TEST(commands_that_make_no_sense_are_answered),
        TEST(rings_that_are_none_stop_the_controller_until_it_is_reset),
        TEST(an_endless_ring_of_commands_holds_up_nobody),
        TEST(a_full_event_ring_keeps_commands_waiting),
        TEST(interrupts_come_until_they_are_acknowledged),
        TEST(a_saved_controller_goes_on),
        TEST(a_controller_whose_event_ring_was_just_changed_is_saved),
        TEST(registers_can_be_accessed_in_any_way),
    };
    return cmocka_run_group_tests_name("vmm_usb", tests, NULL, NULL);
}
