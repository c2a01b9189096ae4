/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PS/2 keyboard and mouse; see ps2.h. Called by i8042.c. */
#include "vmm/devices/ps2.h"

#include <linux/input-event-codes.h>
#include <string.h>

#include "base/util.h"
#include "vmm/display/input.h"

#define ACK 0xfa
#define RESEND 0xfe
#define SELF_TEST_PASSED 0xaa
#define EXTENDED 0xe0
#define SET2_RELEASED 0xf0
#define SET1_RELEASED 0x80
#define NUMBER_EXTENDED 0x80 /* in numbers of input.h */

enum keyboard_command {
    KEYBOARD_SET_LEDS = 0xed,
    KEYBOARD_ECHO = 0xee,
    KEYBOARD_SCAN_SET = 0xf0,
    KEYBOARD_IDENTIFY = 0xf2,
    KEYBOARD_SET_RATE = 0xf3,
    KEYBOARD_ENABLE = 0xf4,
    KEYBOARD_DISABLE = 0xf5,
    KEYBOARD_DEFAULTS = 0xf6,
    KEYBOARD_RESET = 0xff,
};

enum mouse_command {
    MOUSE_SCALING_1 = 0xe6,
    MOUSE_SCALING_2 = 0xe7,
    MOUSE_SET_RESOLUTION = 0xe8,
    MOUSE_STATUS = 0xe9,
    MOUSE_STREAM = 0xea,
    MOUSE_POLL = 0xeb,
    MOUSE_WRAP_OFF = 0xec,
    MOUSE_WRAP = 0xee,
    MOUSE_REMOTE = 0xf0,
    MOUSE_IDENTIFY = 0xf2,
    MOUSE_SET_RATE = 0xf3,
    MOUSE_ENABLE = 0xf4,
    MOUSE_DISABLE = 0xf5,
    MOUSE_DEFAULTS = 0xf6,
    MOUSE_RESET = 0xff,
};
#define MOUSE_ID_PLAIN 0
#define MOUSE_ID_WHEEL 3
#define MOUSE_STEP_MAX 255 /* in one report */

/* ---------------------------------------------------------------- queues */

bool ps2_pending(const struct ps2_queue *queue)
{
    return queue->count > 0;
}

uint8_t ps2_take(struct ps2_queue *queue)
{
    uint8_t byte = queue->bytes[queue->first % PS2_QUEUE];
    if (queue->count == 0)
        return byte;
    queue->first = (queue->first + 1) % PS2_QUEUE;
    queue->count--;
    return byte;
}

static void send(struct ps2_queue *queue, const uint8_t *bytes, unsigned len)
{
    if (queue->count > PS2_QUEUE - len)
        return;
    for (unsigned i = 0; i < len; i++)
        queue->bytes[(queue->first + queue->count++) % PS2_QUEUE] = bytes[i];
}

static void send_byte(struct ps2_queue *queue, uint8_t byte)
{
    send(queue, &byte, 1);
}

/* A command makes what waited obsolete; its answer always has room. */
static void clear(struct ps2_queue *queue)
{
    queue->first = queue->count = 0;
}

/* ---------------------------------------------------------------- keyboard */

/* Scan codes of set 2 by those of set 1; 0: there is none. */
static const uint8_t set2_of_set1[0x80] = {
    0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03,
    0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x7f, 0x60, 0x61, 0x78, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
    0x47, 0x4f, 0x56, 0x5e, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x6f,
    0x13, 0x19, 0x39, 0x51, 0x53, 0x5c, 0x5f, 0x62, 0x63, 0x64, 0x65, 0x67, 0x68, 0x6a, 0x6d, 0x6e,
};

static void keyboard_defaults(struct ps2_keyboard *keyboard)
{
    keyboard->set = 2;
    keyboard->scanning = true;
    keyboard->leds = keyboard->command = 0;
}

void ps2_keyboard_reset(struct ps2_keyboard *keyboard)
{
    *keyboard = (struct ps2_keyboard){0};
    keyboard_defaults(keyboard);
}

static void keyboard_parameter(struct ps2_keyboard *keyboard, uint8_t command, uint8_t byte)
{
    send_byte(&keyboard->queue, ACK);
    if (command == KEYBOARD_SET_LEDS)
        keyboard->leds = byte & 7;
    if (command == KEYBOARD_SCAN_SET && byte == 0)
        send_byte(&keyboard->queue, keyboard->set);
    if (command == KEYBOARD_SCAN_SET && (byte == 1 || byte == 2))
        keyboard->set = byte;
}

static void keyboard_command(struct ps2_keyboard *keyboard, uint8_t byte)
{
    static const uint8_t identity[] = {ACK, 0xab, 0x83}, reset[] = {ACK, SELF_TEST_PASSED};
    clear(&keyboard->queue);
    switch (byte) {
    case KEYBOARD_SET_LEDS:
    case KEYBOARD_SCAN_SET:
    case KEYBOARD_SET_RATE:
        keyboard->command = byte;
        break;
    case KEYBOARD_ECHO:
        send_byte(&keyboard->queue, KEYBOARD_ECHO);
        return;
    case KEYBOARD_IDENTIFY:
        send(&keyboard->queue, identity, sizeof(identity));
        return;
    case KEYBOARD_ENABLE:
        keyboard->scanning = true;
        break;
    case KEYBOARD_DISABLE:
        keyboard_defaults(keyboard);
        keyboard->scanning = false;
        break;
    case KEYBOARD_DEFAULTS:
        keyboard_defaults(keyboard);
        break;
    case KEYBOARD_RESET:
        keyboard_defaults(keyboard);
        send(&keyboard->queue, reset, sizeof(reset));
        return;
    default:
        send_byte(&keyboard->queue, RESEND);
        return;
    }
    send_byte(&keyboard->queue, ACK);
}

void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte)
{
    uint8_t command = keyboard->command;
    keyboard->command = 0;
    if (command && byte < 0x80)
        keyboard_parameter(keyboard, command, byte);
    else
        keyboard_command(keyboard, byte);
}

void ps2_keyboard_key(struct ps2_keyboard *keyboard, unsigned code, bool down, bool translate)
{
    static const uint8_t pause1[] = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
    static const uint8_t pause2[] = {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
    bool set1 = translate || keyboard->set == 1;
    unsigned number = input_number_of(code), len = 0;
    uint8_t bytes[3];
    if (!keyboard->scanning || !number)
        return;
    if (code == KEY_PAUSE) { /* sends both at once */
        if (down && set1)
            send(&keyboard->queue, pause1, sizeof(pause1));
        else if (down)
            send(&keyboard->queue, pause2, sizeof(pause2));
        return;
    }
    if (number & NUMBER_EXTENDED)
        bytes[len++] = EXTENDED;
    number &= 0x7f;
    if (!set1 && !down)
        bytes[len++] = SET2_RELEASED;
    bytes[len++] = (uint8_t)(set1 ? number | (down ? 0 : SET1_RELEASED) : set2_of_set1[number]);
    send(&keyboard->queue, bytes, len);
}

/* ---------------------------------------------------------------- mouse */

static void mouse_defaults(struct ps2_mouse *mouse)
{
    mouse->reporting = mouse->remote = mouse->wrap = mouse->scaling = false;
    mouse->resolution = 2;
    mouse->rate = 100;
    mouse->dx = mouse->dy = mouse->dz = 0;
    mouse->command = 0;
}

void ps2_mouse_reset(struct ps2_mouse *mouse)
{
    *mouse = (struct ps2_mouse){.id = MOUSE_ID_PLAIN};
    mouse_defaults(mouse);
}

static int step(int *distance)
{
    int part = MAX(MIN(*distance, MOUSE_STEP_MAX), -MOUSE_STEP_MAX);
    *distance -= part;
    return part;
}

static void report(struct ps2_mouse *mouse)
{
    int dx = step(&mouse->dx), dy = step(&mouse->dy), dz = MAX(MIN(mouse->dz, 7), -7);
    mouse->dz -= dz;
    const uint8_t bytes[] = {
        (uint8_t)(0x08 | mouse->buttons | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0)),
        (uint8_t)dx,
        (uint8_t)dy,
        (uint8_t)dz,
    };
    send(&mouse->queue, bytes, mouse->id == MOUSE_ID_WHEEL ? 4 : 3);
}

static void mouse_status(struct ps2_mouse *mouse)
{
    const uint8_t bytes[] = {
        ACK,
        (uint8_t)(mouse->buttons | (mouse->scaling ? 0x10 : 0) | (mouse->reporting ? 0x20 : 0) |
                  (mouse->remote ? 0x40 : 0)),
        mouse->resolution,
        mouse->rate,
    };
    send(&mouse->queue, bytes, sizeof(bytes));
}

/* Rates 200, 100, 80 one after the other turn the wheel on. */
static void set_rate(struct ps2_mouse *mouse, uint8_t rate)
{
    static const uint8_t knock[] = {200, 100, 80};
    mouse->rate = rate;
    memmove(mouse->rates, mouse->rates + 1, 2);
    mouse->rates[2] = rate;
    if (memcmp(mouse->rates, knock, sizeof(knock)) == 0)
        mouse->id = MOUSE_ID_WHEEL;
}

static void mouse_command(struct ps2_mouse *mouse, uint8_t byte)
{
    const uint8_t identity[] = {ACK, mouse->id};
    static const uint8_t reset[] = {ACK, SELF_TEST_PASSED, MOUSE_ID_PLAIN};
    clear(&mouse->queue);
    if (mouse->wrap && byte != MOUSE_WRAP_OFF && byte != MOUSE_RESET) {
        send_byte(&mouse->queue, byte);
        return;
    }
    switch (byte) {
    case MOUSE_SCALING_1:
    case MOUSE_SCALING_2:
        mouse->scaling = byte == MOUSE_SCALING_2;
        break;
    case MOUSE_SET_RESOLUTION:
    case MOUSE_SET_RATE:
        mouse->command = byte;
        break;
    case MOUSE_STATUS:
        mouse_status(mouse);
        return;
    case MOUSE_STREAM:
    case MOUSE_REMOTE:
        mouse->remote = byte == MOUSE_REMOTE;
        break;
    case MOUSE_POLL:
        send_byte(&mouse->queue, ACK);
        report(mouse);
        return;
    case MOUSE_WRAP:
    case MOUSE_WRAP_OFF:
        mouse->wrap = byte == MOUSE_WRAP;
        break;
    case MOUSE_IDENTIFY:
        send(&mouse->queue, identity, sizeof(identity));
        return;
    case MOUSE_ENABLE:
    case MOUSE_DISABLE:
        mouse->reporting = byte == MOUSE_ENABLE;
        break;
    case MOUSE_DEFAULTS:
        mouse_defaults(mouse);
        break;
    case MOUSE_RESET:
        ps2_mouse_reset(mouse);
        send(&mouse->queue, reset, sizeof(reset));
        return;
    default:
        send_byte(&mouse->queue, RESEND);
        return;
    }
    send_byte(&mouse->queue, ACK);
}

void ps2_mouse_write(struct ps2_mouse *mouse, uint8_t byte)
{
    uint8_t command = mouse->command;
    mouse->command = 0;
    if (!command) {
        mouse_command(mouse, byte);
        return;
    }
    if (command == MOUSE_SET_RATE)
        set_rate(mouse, byte);
    else
        mouse->resolution = byte & 3;
    send_byte(&mouse->queue, ACK);
}

void ps2_mouse_move(struct ps2_mouse *mouse, int dx, int dy, unsigned buttons)
{
    /* Its own order: left, right, middle. */
    uint8_t down = (uint8_t)((buttons & INPUT_LEFT ? 1 : 0) | (buttons & INPUT_RIGHT ? 2 : 0) |
                             (buttons & INPUT_MIDDLE ? 4 : 0));
    int wheel = (buttons & INPUT_WHEEL_DOWN ? 1 : 0) - (buttons & INPUT_WHEEL_UP ? 1 : 0);
    bool pressed = down != mouse->buttons;
    mouse->buttons = down;
    if (!mouse->reporting || mouse->remote)
        return;
    mouse->dx = MAX(MIN(mouse->dx + dx, 4096), -4096);
    mouse->dy = MAX(MIN(mouse->dy - dy, 4096), -4096); /* its y grows upwards */
    mouse->dz += mouse->id == MOUSE_ID_WHEEL ? wheel : 0;
    if (pressed || mouse->dx || mouse->dy || mouse->dz)
        report(mouse);
    while ((mouse->dx || mouse->dy) && mouse->queue.count < PS2_QUEUE - 4)
        report(mouse);
}
