/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's screen: the picture as pixels, who draws it (a display device),
 * who looks at it (a VNC server, QMP's screendump), and the way of keys and
 * pointer into the machine. Everything belongs to one I/O thread of its own,
 * which exists only with a display device; the control thread comes in by
 * loop_call(). The guest's vCPUs never wait for it.
 *
 * Nothing is drawn while nobody looks.
 */
#ifndef KV_VMM_DISPLAY_DISPLAY_H
#define KV_VMM_DISPLAY_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/iothread.h"
#include "vmm/display/cursor.h"

struct machine;
struct display;

struct display_rect {
    unsigned x, y, width, height;
};

/* The device. Called on the display's thread. */
struct display_device_ops {
    /* Brings the picture up to date by display_resize() and display_put_row(). everything: not only
     * what changed since the last time. */
    void (*draw)(void *opaque, bool everything);
    /* A viewer wants the picture in another size; the guest decides whether it comes. False: not
     * possible. NULL: never. */
    bool (*want_size)(void *opaque, unsigned width, unsigned height);
};

/* Who is told of changes while a picture is brought up to date. On the display's thread. */
struct display_viewer_ops {
    void (*damaged)(void *opaque, const struct display_rect *rect);
    void (*resized)(void *opaque); /* all of it is new */
    /* The device knows that drawing now would show something new. May be NULL. */
    void (*stirred)(void *opaque);
};

struct display {
    struct iothread thread;
    const struct display_device_ops *device;
    void *device_opaque;
    const struct display_viewer_ops *viewer; /* NULL: none */
    void *viewer_opaque;
    unsigned width, height;
    uint32_t *pixels; /* width * height, 0x00rrggbb */
    bool complete;    /* the picture was drawn once in this size */
    /* Rows that changed and were not told yet: [y, y_end), columns [x, x_end). */
    unsigned y, y_end, x, x_end;
    struct display_cursor cursor;
};

/* Makes the machine's display, for its one display device; -EEXIST: it has one. The thread starts
 * with display_start(), inside the jail. */
int display_create(struct machine *machine, const struct display_device_ops *device, void *opaque,
                   struct kv_error *err);
int display_start(struct display *display, struct kv_error *err);
/* Ends the thread; no operation of the device is called afterwards. NULL in machine: nothing. */
void display_free(struct machine *machine);

/* For the device, while it draws. False: out of memory, there is nothing to draw on. */
bool display_resize(struct display *display, unsigned width, unsigned height);
/* row has the width's pixels; what differs is damage. */
void display_put_row(struct display *display, unsigned y, const uint32_t *row);
/* The same for columns x to x_end only; row begins with the pixel of column x. */
void display_put_part(struct display *display, unsigned y, unsigned x, unsigned x_end,
                      const uint32_t *row);

/* For the device, on the display's thread: something changed that viewers wait for. */
void display_stir(struct display *display);

/* For the device, any thread: the shape of the guest's pointer, 0xaarrggbb, which is copied; NULL:
 * the pointer is hidden. The hot spot is within it; false: it is too large, or there is no memory,
 * and the shape stays what it was. */
bool display_set_cursor(struct display *display, unsigned width, unsigned height, unsigned hot_x,
                        unsigned hot_y, const uint32_t *argb);

/* Brings the picture up to date and tells the viewer of what changed. */
void display_refresh(struct display *display);

/* A picture file in memory, for the caller to free; NULL when there is no memory. Any thread, of a
 * picture that stands still. */
enum picture_format { PICTURE_PPM, PICTURE_PNG };
uint8_t *picture_write(enum picture_format format, unsigned width, unsigned height,
                       const uint32_t *pixels, size_t *size);

/* The picture as it is now as a file in memory. Control thread. */
uint8_t *display_screenshot(struct display *display, enum picture_format format, size_t *size,
                            struct kv_error *err);

#endif
