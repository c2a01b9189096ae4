/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-input as a guest sees it, and which of several devices events go to. */
#include <linux/input.h>
#include <linux/virtio_input.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "unit.h"
#include "virtio_guest.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/input.h"

#define CONFIG VIRTIO_PCI_DEVICE

static struct virtio_guest g;
static struct virtio_device *dev;
static const struct input_sink *sink;
static unsigned given; /* event buffers */

static void plug(enum input_type type)
{
    virtio_guest_init(&g);
    assert_int_equal(virtio_input_create(&dev, type, &g.mem, &g.loop, NULL), 0);
    sink = virtio_input_sink(dev);
    virtio_guest_plug(&g, dev);
    virtio_guest_use_msix(&g);
    given = 0;
}

static void start(void)
{
    virtio_guest_start(&g, BIT(VIRTIO_RING_F_EVENT_IDX));
}

static int teardown(void **state)
{
    virtio_guest_destroy(&g);
    return 0;
}

static void give(unsigned count, uint32_t len)
{
    for (; count; count--, given++) {
        const struct vring_buffer buffer = {VIRTIO_GUEST_DATA + given * 8, len, true};
        assert_true(vring_driver_add(&g.rings[0], &buffer, 1, 0, given));
    }
    virtio_guest_kick(&g, 0);
    virtio_guest_run(&g);
}

static void expect_event(uint16_t type, uint16_t code, int32_t value)
{
    struct virtio_input_event event;
    uint64_t token;
    uint32_t written;
    assert_true(vring_driver_get(&g.rings[0], &token, &written));
    assert_int_equal(written, sizeof(event));
    memcpy(&event, g.memory + VIRTIO_GUEST_DATA + token * 8, sizeof(event));
    assert_int_equal(event.type, type);
    assert_int_equal(event.code, code);
    assert_int_equal(event.value, (uint32_t)value);
}

static void expect_nothing(void)
{
    uint64_t token;
    uint32_t written;
    assert_false(vring_driver_get(&g.rings[0], &token, &written));
}

static unsigned select_config(uint8_t select, uint8_t subsel)
{
    virtio_guest_write(&g, CONFIG, select, 1);
    virtio_guest_write(&g, CONFIG + 1, subsel, 1);
    return (unsigned)virtio_guest_read(&g, CONFIG + 2, 1);
}

static bool has_bit(uint8_t event, unsigned bit)
{
    unsigned size = select_config(VIRTIO_INPUT_CFG_EV_BITS, event);
    return bit / 8 < size && virtio_guest_read(&g, CONFIG + 8 + bit / 8, 1) >> bit % 8 & 1;
}

static void a_keyboard_says_what_it_has(void **state)
{
    plug(INPUT_KEYBOARD);
    assert_int_equal(select_config(VIRTIO_INPUT_CFG_ID_NAME, 0), strlen("Kvasir virtio keyboard"));
    assert_int_equal(virtio_guest_read(&g, CONFIG + 8, 1), 'K');
    assert_int_equal(select_config(VIRTIO_INPUT_CFG_ID_DEVIDS, 0), 8);
    assert_int_equal(virtio_guest_read(&g, CONFIG + 8, 2), BUS_VIRTUAL);
    assert_true(has_bit(EV_KEY, KEY_A) && has_bit(EV_KEY, KEY_UP) && has_bit(EV_LED, LED_CAPSL));
    assert_false(has_bit(EV_KEY, BTN_LEFT) || has_bit(EV_REL, REL_X));
    assert_int_equal(select_config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_X), 0);
    assert_int_equal(select_config(0xff, 0xff), 0);
}

static void a_tablet_has_axes_and_buttons(void **state)
{
    plug(INPUT_TABLET);
    assert_true(has_bit(EV_ABS, ABS_X) && has_bit(EV_ABS, ABS_Y) && has_bit(EV_KEY, BTN_LEFT) &&
                has_bit(EV_REL, REL_WHEEL));
    assert_false(has_bit(EV_REL, REL_X) || has_bit(EV_KEY, KEY_A));
    assert_int_equal(select_config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_Y), 20);
    assert_int_equal(virtio_guest_read(&g, CONFIG + 12, 4), INPUT_AXIS_MAX);
    assert_int_equal(select_config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_Z), 0);
}

static void only_selectors_can_be_written(void **state)
{
    plug(INPUT_TABLET);
    unsigned size = select_config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_X);
    for (unsigned offset = 0; offset < 160; offset++) {
        for (unsigned len = 1; offset > 1 && len <= 8; len *= 2)
            virtio_guest_write(&g, CONFIG + offset, UINT64_MAX, len);
    }
    assert_int_equal(virtio_guest_read(&g, CONFIG, 1), VIRTIO_INPUT_CFG_ABS_INFO);
    assert_int_equal(virtio_guest_read(&g, CONFIG + 2, 1), size);
    assert_int_equal(virtio_guest_read(&g, CONFIG + 12, 4), INPUT_AXIS_MAX);
    virtio_guest_write(&g, CONFIG, VIRTIO_INPUT_CFG_EV_BITS | EV_ABS << 8, 4);
    assert_int_equal(virtio_guest_read(&g, CONFIG + 8, 1), 3);
}

static void keys_come_with_a_report_each(void **state)
{
    plug(INPUT_KEYBOARD);
    assert_false(sink->active(sink->opaque));
    start();
    assert_true(sink->active(sink->opaque));
    give(8, 8);
    expect_nothing();
    sink->key(sink->opaque, KEY_A, true);
    sink->key(sink->opaque, KEY_A, false);
    virtio_guest_run(&g);
    expect_event(EV_KEY, KEY_A, 1);
    expect_event(EV_SYN, SYN_REPORT, 0);
    expect_event(EV_KEY, KEY_A, 0);
    expect_event(EV_SYN, SYN_REPORT, 0);
    expect_nothing();
    assert_int_not_equal(virtio_guest_interrupts(&g, 1), 0);
}

static void a_pointer_tells_buttons_that_changed(void **state)
{
    plug(INPUT_TABLET);
    start();
    give(20, 8);
    sink->absolute(sink->opaque, 5, 0x7fff, INPUT_LEFT);
    sink->absolute(sink->opaque, 6, 0x7fff, INPUT_LEFT | INPUT_WHEEL_UP);
    sink->absolute(sink->opaque, 6, 0x7fff, 0);
    virtio_guest_run(&g);
    expect_event(EV_ABS, ABS_X, 5);
    expect_event(EV_ABS, ABS_Y, 0x7fff);
    expect_event(EV_KEY, BTN_LEFT, 1);
    expect_event(EV_SYN, SYN_REPORT, 0);
    expect_event(EV_ABS, ABS_X, 6);
    expect_event(EV_ABS, ABS_Y, 0x7fff);
    expect_event(EV_REL, REL_WHEEL, 1);
    expect_event(EV_SYN, SYN_REPORT, 0);
    expect_event(EV_ABS, ABS_X, 6);
    expect_event(EV_ABS, ABS_Y, 0x7fff);
    expect_event(EV_KEY, BTN_LEFT, 0);
    expect_event(EV_SYN, SYN_REPORT, 0);
    expect_nothing();
}

static void events_wait_for_buffers(void **state)
{
    plug(INPUT_MOUSE);
    start();
    sink->relative(sink->opaque, -3, 0, 0);
    virtio_guest_run(&g);
    expect_nothing();
    give(1, 8);
    expect_event(EV_REL, REL_X, -3);
    expect_nothing();
    give(1, 8);
    expect_event(EV_SYN, SYN_REPORT, 0);
}

static void a_guest_that_does_not_listen_loses_whole_reports(void **state)
{
    plug(INPUT_MOUSE);
    start();
    for (unsigned i = 0; i < 10000; i++)
        sink->relative(sink->opaque, 1, 1, 0);
    sink->relative(sink->opaque, 0, 0, INPUT_LEFT); /* has room still */
    unsigned reports = 0;
    bool pressed = false;
    for (unsigned i = 0; i < 300; i++) {
        struct virtio_input_event event;
        uint64_t token;
        uint32_t written;
        give(1, 8);
        if (!vring_driver_get(&g.rings[0], &token, &written))
            break;
        memcpy(&event, g.memory + VIRTIO_GUEST_DATA + token * 8, sizeof(event));
        reports += event.type == EV_SYN;
        pressed |= event.type == EV_KEY;
    }
    assert_true(reports > 30 && reports < 60 && pressed);
}

static void buffers_that_are_too_short_come_back_empty(void **state)
{
    plug(INPUT_KEYBOARD);
    start();
    give(1, 7);
    sink->key(sink->opaque, KEY_B, true);
    virtio_guest_run(&g);
    uint64_t token;
    uint32_t written;
    assert_true(vring_driver_get(&g.rings[0], &token, &written));
    assert_int_equal(written, 0);
    give(1, 8);
    expect_event(EV_KEY, KEY_B, 1);
}

static void lights_go_on_as_the_guest_says(void **state)
{
    static const struct virtio_input_event orders[] = {
        {EV_LED, LED_CAPSL, 1}, {EV_LED, LED_NUML, 1}, {EV_LED, LED_NUML, 0},
        {EV_LED, 0xffff, 1},    {EV_SND, SND_BELL, 1},
    };
    const struct vring_buffer stub = {VIRTIO_GUEST_DATA, 3, false};
    const struct vring_buffer wrong = {VIRTIO_GUEST_DATA, 8, true};
    plug(INPUT_KEYBOARD);
    start();
    memcpy(g.memory + VIRTIO_GUEST_DATA, orders, sizeof(orders));
    for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
        const struct vring_buffer buffer = {VIRTIO_GUEST_DATA + i * 8, 8, false};
        assert_true(vring_driver_add(&g.rings[1], &buffer, 1, 0, i));
    }
    assert_true(vring_driver_add(&g.rings[1], &stub, 1, 0, 0));
    assert_true(vring_driver_add(&g.rings[1], &wrong, 1, 0, 0));
    virtio_guest_kick(&g, 1);
    virtio_guest_run(&g);
    uint64_t token;
    uint32_t written;
    for (unsigned i = 0; i < ARRAY_SIZE(orders) + 2; i++)
        assert_true(vring_driver_get(&g.rings[1], &token, &written));
    json_t *metrics = json_object();
    dev->ops->metrics(dev, metrics);
    assert_int_equal(json_integer_value(json_object_get(metrics, "leds")), 1 << LED_CAPSL);
    assert_int_equal(sink->lights(sink->opaque), INPUT_CAPS_LOCK);
    json_decref(metrics);
}

static void a_reset_forgets_and_is_heard_no_more(void **state)
{
    plug(INPUT_KEYBOARD);
    start();
    sink->key(sink->opaque, KEY_A, true);
    virtio_guest_write(&g, VIRTIO_PCI_COMMON_STATUS, 0, 1);
    assert_false(sink->active(sink->opaque));
    start();
    given = 0;
    give(2, 8);
    expect_nothing();
}

static unsigned heard[3];

static void hear(void *opaque, unsigned x, unsigned y, unsigned buttons)
{
    heard[*(unsigned *)opaque]++;
}

static bool awake[3];

static bool is_awake(void *opaque)
{
    return awake[*(unsigned *)opaque];
}

static void events_go_to_the_last_device_that_listens(void **state)
{
    static unsigned numbers[] = {0, 1, 2};
    static struct input_sink sinks[3];
    static struct machine machine;
    assert_false(input_is_absolute(&machine));
    for (unsigned i = 0; i < 3; i++) {
        sinks[i] = (struct input_sink){
            .opaque = &numbers[i], .active = i ? is_awake : NULL, .absolute = hear};
        input_add(&machine, &sinks[i]);
    }
    input_absolute(&machine, 0, 0, 0);
    awake[2] = true;
    input_absolute(&machine, 0, 0, 0);
    awake[1] = true;
    awake[2] = false;
    input_absolute(&machine, 0, 0, 0);
    assert_true(heard[0] == 1 && heard[1] == 1 && heard[2] == 1);
    assert_false(input_key(&machine, KEY_A, true));
}

#define TEST(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_keyboard_says_what_it_has),
        TEST(a_tablet_has_axes_and_buttons),
        TEST(only_selectors_can_be_written),
        TEST(keys_come_with_a_report_each),
        TEST(a_pointer_tells_buttons_that_changed),
        TEST(events_wait_for_buffers),
        TEST(a_guest_that_does_not_listen_loses_whole_reports),
        TEST(buffers_that_are_too_short_come_back_empty),
        TEST(lights_go_on_as_the_guest_says),
        TEST(a_reset_forgets_and_is_heard_no_more),
        cmocka_unit_test(events_go_to_the_last_device_that_listens),
    };
    return cmocka_run_group_tests_name("virtio_input", tests, NULL, NULL);
}
