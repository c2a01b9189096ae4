/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB keyboard, mouse and tablet (HID 1.11), at full speed, for the controller
 * that calls usb.h's operations. What is typed and pointed waits in a queue,
 * any thread, until the guest asks for a report.
 */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/hex_state.h"
#include "vmm/usb/usb.h"

#define QUEUE 64
#define PRESSED_MAX 6
#define TOO_MANY 1 /* usage that says so (HID usage tables, 10) */
#define USAGE_MODIFIERS 0xe0
#define STEP_MAX 127
#define VENDOR 0x0627

/* Standard requests (USB 2.0, 9.4) and HID's own (7.2), with their request type. */
enum {
    GET_STATUS = 0x8000,
    GET_STATUS_INTERFACE = 0x8100,
    GET_STATUS_ENDPOINT = 0x8200,
    CLEAR_FEATURE = 0x0001,
    CLEAR_FEATURE_ENDPOINT = 0x0201,
    SET_FEATURE = 0x0003,
    SET_ADDRESS = 0x0005,
    GET_DESCRIPTOR = 0x8006,
    GET_DESCRIPTOR_INTERFACE = 0x8106,
    GET_CONFIGURATION = 0x8008,
    SET_CONFIGURATION = 0x0009,
    GET_INTERFACE = 0x810a,
    SET_INTERFACE = 0x010b,
    GET_REPORT = 0xa101,
    GET_IDLE = 0xa102,
    GET_PROTOCOL = 0xa103,
    SET_REPORT = 0x2109,
    SET_IDLE = 0x210a,
    SET_PROTOCOL = 0x210b,
};
enum {
    DESCRIPTOR_DEVICE = 1,
    DESCRIPTOR_CONFIGURATION = 2,
    DESCRIPTOR_STRING = 3,
    DESCRIPTOR_HID = 0x21,
    DESCRIPTOR_REPORT = 0x22,
};

/* A key that went down or up, or where the pointer is (went) with which buttons. */
struct news {
    int32_t x, y, wheel;
    uint8_t usage, down, buttons;
};

struct hid_state {
    struct news news[QUEUE];
    uint8_t first, count;
    uint8_t modifiers, pressed[PRESSED_MAX + 1], pressed_count; /* in the order they went down */
    struct news pointer;                                        /* as told last */
    uint8_t held;                                               /* buttons of the host's pointer */
    uint8_t configuration, idle, protocol, leds, wakeup;
};

struct hid {
    struct usb_device dev;
    struct input_sink sink;
    enum input_type type;
    pthread_mutex_t lock; /* leaf */
    struct hid_state s;
};

static struct hid *of(struct usb_device *dev)
{
    return container_of(dev, struct hid, dev);
}

/* ---------------------------------------------------------------- descriptors */

static const uint8_t keyboard_report[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,                                     /* a keyboard */
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01,             /* modifiers */
    0x75, 0x01, 0x95, 0x08, 0x81, 0x02,                                     /* a bit each */
    0x75, 0x08, 0x95, 0x01, 0x81, 0x01,                                     /* a byte of nothing */
    0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x75, 0x01, 0x95, 0x05, 0x91, 0x02, /* five lights */
    0x75, 0x03, 0x95, 0x01, 0x91, 0x01, 0x05, 0x07, 0x19, 0x00, 0x29, 0xe7,
    0x15, 0x00, 0x26, 0xe7, 0x00, /* six keys */
    0x75, 0x08, 0x95, 0x06, 0x81, 0x00, 0xc0,
};
#define BUTTONS                                                                                   \
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29,     \
        0x03, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x03, 0x81, 0x02, 0x75, 0x05, 0x95, 0x01, \
        0x81, 0x01
static const uint8_t mouse_report[] = {
    BUTTONS, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09,
    0x38,    0x15, 0x81, 0x25, 0x7f, /* x, y, wheel */
    0x75,    0x08, 0x95, 0x03, 0x81, 0x06, 0xc0, 0xc0,
};
static const uint8_t tablet_report[] = {
    BUTTONS, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f, /* x, y */
    0x35,    0x00, 0x46, 0xff, 0x7f, 0x75, 0x10, 0x95, 0x02, 0x81, 0x02, 0x09,
    0x38,    0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, /* wheel */
    0x75,    0x08, 0x95, 0x01, 0x81, 0x06, 0xc0, 0xc0,
};

static const struct {
    const char *name;
    const uint8_t *report;
    uint8_t report_size, subclass, protocol; /* of its descriptor; boot interface (4.2, 4.3) */
    uint8_t bytes;                           /* of a report */
} kinds[] = {
    [INPUT_KEYBOARD] = {"USB keyboard", keyboard_report, sizeof(keyboard_report), 1, 1, 8},
    [INPUT_MOUSE] = {"USB mouse", mouse_report, sizeof(mouse_report), 1, 2, 4},
    [INPUT_TABLET] = {"USB tablet", tablet_report, sizeof(tablet_report), 0, 0, 6},
};

static int put(uint8_t *data, const uint8_t *bytes, unsigned len)
{
    memcpy(data, bytes, len);
    return (int)len;
}

static int put_device(const struct hid *hid, uint8_t *data)
{
    const uint8_t bytes[] = {
        18,          DESCRIPTOR_DEVICE,        0x10, 0x01, 0, 0, 0, 64, VENDOR & 0xff,
        VENDOR >> 8, (uint8_t)(1 + hid->type), 0,    0,    1, 1, 2, 0,  1};
    return put(data, bytes, sizeof(bytes));
}

#define HID_DESCRIPTOR_AT 18
#define HID_DESCRIPTOR_SIZE 9

static int put_configuration(const struct hid *hid, uint8_t *data)
{
    const uint8_t bytes[] = {
        9,
        DESCRIPTOR_CONFIGURATION,
        34,
        0,
        1,
        1,
        0,
        0xa0 /* can wake */,
        50 /* 100 mA */,
        9,
        4,
        0,
        0,
        1,
        3 /* HID */,
        kinds[hid->type].subclass,
        kinds[hid->type].protocol,
        0,
        HID_DESCRIPTOR_SIZE,
        DESCRIPTOR_HID,
        0x11,
        0x01,
        0,
        1,
        DESCRIPTOR_REPORT,
        kinds[hid->type].report_size,
        0,
        7,
        5,
        0x81,
        3,
        USB_REPORT_MAX,
        0,
        10 /* ms */,
    };
    return put(data, bytes, sizeof(bytes));
}

static int put_string(const struct hid *hid, unsigned index, uint8_t *data)
{
    const char *texts[] = {"", "Kvasir", kinds[hid->type].name};
    if (index >= ARRAY_SIZE(texts))
        return -EPIPE;
    unsigned len = 2;
    for (const char *c = texts[index]; *c; c++) {
        data[len++] = (uint8_t)*c;
        data[len++] = 0;
    }
    if (index == 0) { /* languages: English */
        data[len++] = 0x09;
        data[len++] = 0x04;
    }
    data[0] = (uint8_t)len;
    data[1] = DESCRIPTOR_STRING;
    return (int)len;
}

static int get_descriptor(const struct hid *hid, unsigned value, uint8_t *data)
{
    switch (value >> 8) {
    case DESCRIPTOR_DEVICE:
        return put_device(hid, data);
    case DESCRIPTOR_CONFIGURATION:
        return put_configuration(hid, data);
    case DESCRIPTOR_STRING:
        return put_string(hid, value & 0xff, data);
    case DESCRIPTOR_HID:
        put_configuration(hid, data);
        memmove(data, data + HID_DESCRIPTOR_AT, HID_DESCRIPTOR_SIZE);
        return HID_DESCRIPTOR_SIZE;
    case DESCRIPTOR_REPORT:
        return put(data, kinds[hid->type].report, kinds[hid->type].report_size);
    default:
        return -EPIPE;
    }
}

/* ---------------------------------------------------------------- reports */

/* HID usages of keys by Linux's codes (HID usage tables, 10). */
static const uint8_t usages[] = {
    [KEY_A] = 0x04,
    [KEY_B] = 0x05,
    [KEY_C] = 0x06,
    [KEY_D] = 0x07,
    [KEY_E] = 0x08,
    [KEY_F] = 0x09,
    [KEY_G] = 0x0a,
    [KEY_H] = 0x0b,
    [KEY_I] = 0x0c,
    [KEY_J] = 0x0d,
    [KEY_K] = 0x0e,
    [KEY_L] = 0x0f,
    [KEY_M] = 0x10,
    [KEY_N] = 0x11,
    [KEY_O] = 0x12,
    [KEY_P] = 0x13,
    [KEY_Q] = 0x14,
    [KEY_R] = 0x15,
    [KEY_S] = 0x16,
    [KEY_T] = 0x17,
    [KEY_U] = 0x18,
    [KEY_V] = 0x19,
    [KEY_W] = 0x1a,
    [KEY_X] = 0x1b,
    [KEY_Y] = 0x1c,
    [KEY_Z] = 0x1d,
    [KEY_1] = 0x1e,
    [KEY_2] = 0x1f,
    [KEY_3] = 0x20,
    [KEY_4] = 0x21,
    [KEY_5] = 0x22,
    [KEY_6] = 0x23,
    [KEY_7] = 0x24,
    [KEY_8] = 0x25,
    [KEY_9] = 0x26,
    [KEY_0] = 0x27,
    [KEY_ENTER] = 0x28,
    [KEY_ESC] = 0x29,
    [KEY_BACKSPACE] = 0x2a,
    [KEY_TAB] = 0x2b,
    [KEY_SPACE] = 0x2c,
    [KEY_MINUS] = 0x2d,
    [KEY_EQUAL] = 0x2e,
    [KEY_LEFTBRACE] = 0x2f,
    [KEY_RIGHTBRACE] = 0x30,
    [KEY_BACKSLASH] = 0x31,
    [KEY_SEMICOLON] = 0x33,
    [KEY_APOSTROPHE] = 0x34,
    [KEY_GRAVE] = 0x35,
    [KEY_COMMA] = 0x36,
    [KEY_DOT] = 0x37,
    [KEY_SLASH] = 0x38,
    [KEY_CAPSLOCK] = 0x39,
    [KEY_F1] = 0x3a,
    [KEY_F2] = 0x3b,
    [KEY_F3] = 0x3c,
    [KEY_F4] = 0x3d,
    [KEY_F5] = 0x3e,
    [KEY_F6] = 0x3f,
    [KEY_F7] = 0x40,
    [KEY_F8] = 0x41,
    [KEY_F9] = 0x42,
    [KEY_F10] = 0x43,
    [KEY_F11] = 0x44,
    [KEY_F12] = 0x45,
    [KEY_SYSRQ] = 0x46,
    [KEY_SCROLLLOCK] = 0x47,
    [KEY_PAUSE] = 0x48,
    [KEY_INSERT] = 0x49,
    [KEY_HOME] = 0x4a,
    [KEY_PAGEUP] = 0x4b,
    [KEY_DELETE] = 0x4c,
    [KEY_END] = 0x4d,
    [KEY_PAGEDOWN] = 0x4e,
    [KEY_RIGHT] = 0x4f,
    [KEY_LEFT] = 0x50,
    [KEY_DOWN] = 0x51,
    [KEY_UP] = 0x52,
    [KEY_NUMLOCK] = 0x53,
    [KEY_KPSLASH] = 0x54,
    [KEY_KPASTERISK] = 0x55,
    [KEY_KPMINUS] = 0x56,
    [KEY_KPPLUS] = 0x57,
    [KEY_KPENTER] = 0x58,
    [KEY_KP1] = 0x59,
    [KEY_KP2] = 0x5a,
    [KEY_KP3] = 0x5b,
    [KEY_KP4] = 0x5c,
    [KEY_KP5] = 0x5d,
    [KEY_KP6] = 0x5e,
    [KEY_KP7] = 0x5f,
    [KEY_KP8] = 0x60,
    [KEY_KP9] = 0x61,
    [KEY_KP0] = 0x62,
    [KEY_KPDOT] = 0x63,
    [KEY_102ND] = 0x64,
    [KEY_COMPOSE] = 0x65,
    [KEY_POWER] = 0x66,
    [KEY_MUTE] = 0x7f,
    [KEY_VOLUMEUP] = 0x80,
    [KEY_VOLUMEDOWN] = 0x81,
    [KEY_RO] = 0x87,
    [KEY_KATAKANAHIRAGANA] = 0x88,
    [KEY_YEN] = 0x89,
    [KEY_HENKAN] = 0x8a,
    [KEY_MUHENKAN] = 0x8b,
    [KEY_LEFTCTRL] = 0xe0,
    [KEY_LEFTSHIFT] = 0xe1,
    [KEY_LEFTALT] = 0xe2,
    [KEY_LEFTMETA] = 0xe3,
    [KEY_RIGHTCTRL] = 0xe4,
    [KEY_RIGHTSHIFT] = 0xe5,
    [KEY_RIGHTALT] = 0xe6,
    [KEY_RIGHTMETA] = 0xe7,
};

static void press(struct hid_state *s, const struct news *news)
{
    if (news->usage >= USAGE_MODIFIERS) {
        uint8_t bit = (uint8_t)(1u << (news->usage - USAGE_MODIFIERS));
        s->modifiers = (uint8_t)(news->down ? s->modifiers | bit : s->modifiers & ~bit);
        return;
    }
    unsigned i = 0;
    while (i < s->pressed_count && s->pressed[i] != news->usage)
        i++;
    if (news->down && i == s->pressed_count && i < sizeof(s->pressed))
        s->pressed[s->pressed_count++] = news->usage;
    else if (!news->down && i < s->pressed_count)
        memmove(s->pressed + i, s->pressed + i + 1, --s->pressed_count - i);
}

static void take(struct hid_state *s)
{
    s->first = (uint8_t)((s->first + 1) % QUEUE);
    s->count--;
}

static int32_t step(int32_t *distance)
{
    int32_t part = MAX(MIN(*distance, STEP_MAX), -STEP_MAX);
    *distance -= part;
    return part;
}

/* What is told next; a way that is too long for one report takes several. */
static void advance(struct hid *hid)
{
    struct hid_state *s = &hid->s;
    struct news *news = &s->news[s->first % QUEUE];
    if (hid->type == INPUT_KEYBOARD) {
        press(s, news);
        take(s);
        return;
    }
    struct news *told = &s->pointer;
    told->buttons = news->buttons;
    told->wheel = step(&news->wheel);
    if (hid->type == INPUT_TABLET) {
        told->x = news->x;
        told->y = news->y;
    } else {
        told->x = step(&news->x);
        told->y = step(&news->y);
    }
    if (!news->wheel && (hid->type == INPUT_TABLET || (!news->x && !news->y)))
        take(s);
}

static int write_report(const struct hid *hid, uint8_t data[USB_REPORT_MAX])
{
    const struct hid_state *s = &hid->s;
    const struct news *told = &s->pointer;
    memset(data, 0, USB_REPORT_MAX);
    if (hid->type == INPUT_KEYBOARD) {
        data[0] = s->modifiers;
        if (s->pressed_count > PRESSED_MAX)
            memset(data + 2, TOO_MANY, PRESSED_MAX);
        else
            memcpy(data + 2, s->pressed, s->pressed_count);
    } else if (hid->type == INPUT_MOUSE) {
        data[0] = told->buttons;
        data[1] = (uint8_t)told->x;
        data[2] = (uint8_t)told->y;
        data[3] = (uint8_t)told->wheel;
    } else {
        data[0] = told->buttons;
        store_le(data + 1, (uint16_t)told->x, 2);
        store_le(data + 3, (uint16_t)told->y, 2);
        data[5] = (uint8_t)told->wheel;
    }
    return kinds[hid->type].bytes;
}

static int interrupt(struct usb_device *dev, unsigned endpoint, uint8_t data[USB_REPORT_MAX])
{
    struct hid *hid = of(dev);
    int len = 0;
    if (endpoint != 1)
        return -EPIPE;
    pthread_mutex_lock(&hid->lock);
    if (hid->s.count && hid->s.configuration) {
        advance(hid);
        len = write_report(hid, data);
        if (hid->type == INPUT_MOUSE)
            hid->s.pointer.x = hid->s.pointer.y = 0;
        hid->s.pointer.wheel = 0;
    }
    pthread_mutex_unlock(&hid->lock);
    return len;
}

/* ---------------------------------------------------------------- requests */

static void clear(struct hid_state *s)
{
    s->first = s->count = s->pressed_count = s->modifiers = 0;
}

/* Under the lock. */
static int answer(struct hid *hid, const struct usb_setup *setup, uint8_t *data, unsigned len)
{
    struct hid_state *s = &hid->s;
    switch (setup->request_type << 8 | setup->request) {
    case GET_STATUS:
        data[0] = (uint8_t)(s->wakeup << 1);
        data[1] = 0;
        return 2;
    case GET_STATUS_INTERFACE:
    case GET_STATUS_ENDPOINT:
        data[0] = data[1] = 0;
        return 2;
    case CLEAR_FEATURE:
    case SET_FEATURE:
        if (setup->value != 1) /* waking the host, which never sleeps */
            return -EPIPE;
        s->wakeup = setup->request == (SET_FEATURE & 0xff);
        return 0;
    case CLEAR_FEATURE_ENDPOINT:
    case SET_ADDRESS:
        return 0;
    case GET_DESCRIPTOR:
    case GET_DESCRIPTOR_INTERFACE:
        return get_descriptor(hid, setup->value, data);
    case GET_CONFIGURATION:
        data[0] = s->configuration;
        return 1;
    case SET_CONFIGURATION:
        if (setup->value > 1)
            return -EPIPE;
        s->configuration = (uint8_t)setup->value;
        clear(s);
        return 0;
    case GET_INTERFACE:
        data[0] = 0;
        return 1;
    case SET_INTERFACE:
        return setup->value ? -EPIPE : 0;
    case GET_REPORT:
        return write_report(hid, data);
    case SET_REPORT:
        if (!len)
            return -EPIPE;
        s->leds = data[0];
        return 0;
    case GET_IDLE:
        data[0] = s->idle;
        return 1;
    case SET_IDLE:
        s->idle = (uint8_t)(setup->value >> 8);
        return 0;
    case GET_PROTOCOL:
        data[0] = s->protocol;
        return 1;
    case SET_PROTOCOL:
        s->protocol = setup->value & 1;
        return 0;
    default:
        return -EPIPE;
    }
}

static int control(struct usb_device *dev, const struct usb_setup *setup, uint8_t *data,
                   unsigned len)
{
    struct hid *hid = of(dev);
    pthread_mutex_lock(&hid->lock);
    int rc = answer(hid, setup, data, len);
    pthread_mutex_unlock(&hid->lock);
    return rc;
}

static void reset(struct usb_device *dev)
{
    struct hid *hid = of(dev);
    pthread_mutex_lock(&hid->lock);
    hid->s = (struct hid_state){.protocol = 1};
    pthread_mutex_unlock(&hid->lock);
}

/* ---------------------------------------------------------------- the host's side */

static bool is_active(void *opaque)
{
    struct hid *hid = opaque;
    pthread_mutex_lock(&hid->lock);
    bool active = hid->s.configuration;
    pthread_mutex_unlock(&hid->lock);
    return active;
}

static unsigned lights(void *opaque)
{
    struct hid *hid = opaque;
    pthread_mutex_lock(&hid->lock);
    unsigned bits = hid->s.leds;
    pthread_mutex_unlock(&hid->lock);
    return input_of_led_bits(bits);
}

/* Under the lock. Where the pointer goes is one way as long as nothing is pressed on it. */
static bool merge(struct hid *hid, const struct news *news)
{
    struct hid_state *s = &hid->s;
    struct news *last = &s->news[(s->first + s->count - 1u) % QUEUE];
    if (hid->type == INPUT_KEYBOARD || s->count < 2 || last->buttons != news->buttons ||
        last->wheel || news->wheel)
        return false;
    bool way = hid->type == INPUT_MOUSE;
    last->x = way ? MAX(MIN(last->x + news->x, 65535), -65535) : news->x;
    last->y = way ? MAX(MIN(last->y + news->y, 65535), -65535) : news->y;
    return true;
}

static void add(struct hid *hid, const struct news *news)
{
    struct hid_state *s = &hid->s;
    pthread_mutex_lock(&hid->lock);
    if (s->configuration && !merge(hid, news) && s->count < QUEUE)
        s->news[(s->first + s->count++) % QUEUE] = *news;
    pthread_mutex_unlock(&hid->lock);
    if (hid->dev.wake)
        hid->dev.wake(hid->dev.wake_opaque, hid->dev.port);
}

static void key(void *opaque, unsigned code, bool down)
{
    const struct news news = {.usage = code < sizeof(usages) ? usages[code] : 0, .down = down};
    if (news.usage)
        add(opaque, &news);
}

/* Its own order of buttons: left, right, middle. The wheel turns when it is pressed. */
static void point(struct hid *hid, int32_t x, int32_t y, unsigned buttons)
{
    struct news news = {
        .x = x,
        .y = y,
        .buttons = (uint8_t)((buttons & INPUT_LEFT ? 1 : 0) | (buttons & INPUT_RIGHT ? 2 : 0) |
                             (buttons & INPUT_MIDDLE ? 4 : 0)),
    };
    pthread_mutex_lock(&hid->lock);
    unsigned turned = buttons & ~hid->s.held;
    hid->s.held = (uint8_t)buttons;
    pthread_mutex_unlock(&hid->lock);
    news.wheel = (turned & INPUT_WHEEL_UP ? 1 : 0) - (turned & INPUT_WHEEL_DOWN ? 1 : 0);
    add(hid, &news);
}

static void absolute(void *opaque, unsigned x, unsigned y, unsigned buttons)
{
    point(opaque, (int32_t)x, (int32_t)y, buttons);
}

static void relative(void *opaque, int dx, int dy, unsigned buttons)
{
    point(opaque, MAX(MIN(dx, 65535), -65535), MAX(MIN(dy, 65535), -65535), buttons);
}

static json_t *save(struct usb_device *dev)
{
    struct hid *hid = of(dev);
    pthread_mutex_lock(&hid->lock);
    struct hid_state s = hid->s;
    pthread_mutex_unlock(&hid->lock);
    return hex_state_save(&s, sizeof(s));
}

static bool load(struct usb_device *dev, const json_t *state)
{
    struct hid *hid = of(dev);
    struct hid_state s;
    if (!hex_state_load(state, &s, sizeof(s)) || s.first >= QUEUE || s.count > QUEUE ||
        s.pressed_count > sizeof(s.pressed))
        return false;
    pthread_mutex_lock(&hid->lock);
    hid->s = s;
    pthread_mutex_unlock(&hid->lock);
    return true;
}

static void hid_free(struct usb_device *dev)
{
    struct hid *hid = of(dev);
    pthread_mutex_destroy(&hid->lock);
    free(hid);
}

static const struct usb_device_ops hid_ops = {
    .reset = reset,
    .control = control,
    .interrupt = interrupt,
    .save = save,
    .load = load,
    .free = hid_free,
};

struct usb_device *usb_hid_create(enum input_type type)
{
    struct hid *hid = calloc(1, sizeof(*hid));
    if (!hid)
        return NULL;
    pthread_mutex_init(&hid->lock, NULL);
    hid->type = type;
    hid->dev.ops = &hid_ops;
    hid->sink = (struct input_sink){
        .opaque = hid,
        .active = is_active,
        .key = type == INPUT_KEYBOARD ? key : NULL,
        .absolute = type == INPUT_TABLET ? absolute : NULL,
        .relative = type == INPUT_MOUSE ? relative : NULL,
        .lights = type == INPUT_KEYBOARD ? lights : NULL,
    };
    reset(&hid->dev);
    return &hid->dev;
}

const struct input_sink *usb_hid_sink(struct usb_device *dev)
{
    return &of(dev)->sink;
}
