/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and pointers on their way into the machine: from viewers and from QMP
 * to the devices that a guest has for them. Keys are Linux's codes
 * (linux/input-event-codes.h), which PS/2, virtio-input and libvirt's keymaps
 * all can be had from. Any thread.
 */
#ifndef KV_VMM_DISPLAY_INPUT_H
#define KV_VMM_DISPLAY_INPUT_H

#include <stdbool.h>
#include <stdint.h>

enum input_button {
    INPUT_LEFT = 1 << 0,
    INPUT_MIDDLE = 1 << 1,
    INPUT_RIGHT = 1 << 2,
    INPUT_WHEEL_UP = 1 << 3,
    INPUT_WHEEL_DOWN = 1 << 4,
};

/* Of a keyboard; the bits are those of PS/2 and of VNC. */
enum input_light {
    INPUT_SCROLL_LOCK = 1 << 0,
    INPUT_NUM_LOCK = 1 << 1,
    INPUT_CAPS_LOCK = 1 << 2,
};

#define INPUT_AXIS_MAX 0x7fff /* of absolute positions */

enum input_type { INPUT_KEYBOARD, INPUT_MOUSE, INPUT_TABLET };

/* One more device that a machine is to have (--input). */
struct input_config {
    char *id;
    int type, bus;
    uint64_t slot; /* of PCI bus 0; 0: the first free one */
    uint64_t port; /* of the USB controller; 0: the first free one */
};

/* A device that takes them; members it does not serve are NULL. Called under no lock of the
 * sender's. */
struct input_sink {
    void *opaque;
    /* Whether the guest listens to it now; NULL: always. */
    bool (*active)(void *opaque);
    void (*key)(void *opaque, unsigned code, bool down);
    /* Where the pointer is, 0 to INPUT_AXIS_MAX, and which buttons are down. */
    void (*absolute)(void *opaque, unsigned x, unsigned y, unsigned buttons);
    /* How far it went, in pixels, and which buttons are down. */
    void (*relative)(void *opaque, int dx, int dy, unsigned buttons);
    /* Which lights the guest has on (enum input_light); of keyboards. */
    unsigned (*lights)(void *opaque);
};

#define INPUT_SINKS_MAX 16

struct input_sinks {
    const struct input_sink *sinks[INPUT_SINKS_MAX];
    unsigned count;
};

struct machine;

/* Before the machine runs. Of those that listen a later sink comes before an earlier one. */
void input_add(struct machine *machine, const struct input_sink *sink);

/* False: no device takes keys. */
bool input_key(struct machine *machine, unsigned code, bool down);
/* The lights of the keyboard that keys go to; none are on without one. */
unsigned input_lights(struct machine *machine);
/* USB and virtio-input count them otherwise: bit 0 num lock, 1 caps lock, 2 scroll lock. */
unsigned input_of_led_bits(unsigned bits);
/* Whether a device takes absolute positions; else movements are sent. */
bool input_is_absolute(struct machine *machine);
void input_absolute(struct machine *machine, unsigned x, unsigned y, unsigned buttons);
void input_relative(struct machine *machine, int dx, int dy, unsigned buttons);

/* Key codes of other sets; 0: there is none. Number: IBM PC scan code set 1, 0x80 marks the prefix
 * e0 (QEMU's "number", libvirt's codeset "qnum"). */
unsigned input_of_number(unsigned number);
unsigned input_number_of(unsigned code);
unsigned input_of_keysym(uint32_t keysym); /* X11's, as VNC has them */
unsigned input_of_name(const char *qcode); /* QMP's QKeyCode */

#endif
