/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is plugged into the keyboard controller: a keyboard (IBM PS/2 enhanced,
 * scan code sets 1 and 2) and a mouse (PS/2, with Microsoft's wheel). Each has
 * a queue of bytes that it wants to send; i8042.c asks for them. Under the
 * controller's lock.
 */
#ifndef KV_VMM_DEVICES_PS2_H
#define KV_VMM_DEVICES_PS2_H

#include <stdbool.h>
#include <stdint.h>

#define PS2_QUEUE 64 /* bytes; what does not fit is lost as on a real one, whole events */

struct ps2_queue {
    uint8_t bytes[PS2_QUEUE];
    unsigned first, count;
};

struct ps2_keyboard {
    struct ps2_queue queue;
    uint8_t command; /* waits for its parameter; 0: none */
    uint8_t set;     /* of scan codes, 1 or 2 */
    uint8_t scanning, leds;
};

struct ps2_mouse {
    struct ps2_queue queue;
    uint8_t command;
    uint8_t reporting, remote, wrap, scaling; /* on or off */
    uint8_t resolution, rate, id;
    uint8_t rates[3]; /* the last ones set: the knock that turns the wheel on */
    int dx, dy, dz;   /* not reported yet */
    uint8_t buttons;
};

void ps2_keyboard_reset(struct ps2_keyboard *keyboard);
void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte);
/* translate: the controller turns set 2 into set 1. */
void ps2_keyboard_key(struct ps2_keyboard *keyboard, unsigned code, bool down, bool translate);

void ps2_mouse_reset(struct ps2_mouse *mouse);
void ps2_mouse_write(struct ps2_mouse *mouse, uint8_t byte);
void ps2_mouse_move(struct ps2_mouse *mouse, int dx, int dy, unsigned buttons);

bool ps2_pending(const struct ps2_queue *queue);
uint8_t ps2_take(struct ps2_queue *queue);

#endif
