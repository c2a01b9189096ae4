/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The picture, its thread, and what of it changed; see display.h. */
#include "vmm/display/display.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/machine/machine.h"

int display_create(struct machine *machine, const struct display_device_ops *device, void *opaque,
                   struct kv_error *err)
{
    if (machine->platform.display)
        return kv_error_set(err, KV_ERR_DEVICE, EEXIST,
                            "the machine has a screen already; one of --vga and --gpu is possible");
    struct display *display = calloc(1, sizeof(*display));
    if (!display)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "display: out of memory");
    int rc = iothread_init(&display->thread, "screen", err);
    if (rc < 0) {
        free(display);
        return rc;
    }
    pthread_mutex_init(&display->cursor.lock, NULL);
    display->device = device;
    display->device_opaque = opaque;
    machine->platform.display = display;
    return 0;
}

int display_start(struct display *display, struct kv_error *err)
{
    return iothread_start(&display->thread, err);
}

void display_free(struct machine *machine)
{
    struct display *display = machine->platform.display;
    if (!display)
        return;
    iothread_stop(&display->thread);
    pthread_mutex_destroy(&display->cursor.lock);
    free(display->cursor.argb);
    free(display->pixels);
    free(display);
    machine->platform.display = NULL;
}

/* ---------------------------------------------------------------- damage */

static void tell_damage(struct display *display)
{
    struct display_rect rect = {display->x, display->y, display->x_end - display->x,
                                display->y_end - display->y};
    bool any = display->y < display->y_end;
    display->y = display->y_end = 0;
    if (any && display->viewer)
        display->viewer->damaged(display->viewer_opaque, &rect);
}

/* Rows that follow each other become one rectangle. */
static void add_damage(struct display *display, unsigned y, unsigned x, unsigned x_end)
{
    if (display->y < display->y_end && display->y_end == y) {
        display->x = MIN(display->x, x);
        display->x_end = MAX(display->x_end, x_end);
        display->y_end = y + 1;
        return;
    }
    tell_damage(display);
    display->x = x;
    display->x_end = x_end;
    display->y = y;
    display->y_end = y + 1;
}

bool display_resize(struct display *display, unsigned width, unsigned height)
{
    if (display->width == width && display->height == height && display->pixels)
        return true;
    uint32_t *pixels = calloc((size_t)width * height, sizeof(*pixels));
    if (!pixels)
        return false;
    tell_damage(display);
    free(display->pixels);
    display->pixels = pixels;
    display->width = width;
    display->height = height;
    if (display->viewer)
        display->viewer->resized(display->viewer_opaque);
    return true;
}

void display_put_part(struct display *display, unsigned y, unsigned x, unsigned x_end,
                      const uint32_t *row)
{
    uint32_t *old = display->pixels + (size_t)y * display->width + x;
    unsigned from = 0, to = x_end - x;
    if (memcmp(old, row, to * sizeof(*row)) == 0)
        return;
    while (old[from] == row[from])
        from++;
    while (old[to - 1] == row[to - 1])
        to--;
    memcpy(old + from, row + from, (to - from) * sizeof(*row));
    add_damage(display, y, x + from, x + to);
}

void display_put_row(struct display *display, unsigned y, const uint32_t *row)
{
    display_put_part(display, y, 0, display->width, row);
}

void display_refresh(struct display *display)
{
    bool everything = !display->complete;
    display->complete = true;
    display->device->draw(display->device_opaque, everything);
    tell_damage(display);
}

void display_stir(struct display *display)
{
    if (display->viewer && display->viewer->stirred)
        display->viewer->stirred(display->viewer_opaque);
}

/* ---------------------------------------------------------------- pointer */

bool display_set_cursor(struct display *display, unsigned width, unsigned height, unsigned hot_x,
                        unsigned hot_y, const uint32_t *argb)
{
    struct display_cursor *cursor = &display->cursor;
    size_t size = (size_t)width * height * sizeof(*argb);
    uint32_t *copy = NULL;
    if (argb && (!size || width > CURSOR_MAX || height > CURSOR_MAX || !(copy = malloc(size))))
        return false;
    if (copy)
        memcpy(copy, argb, size);
    pthread_mutex_lock(&cursor->lock);
    uint32_t *old = cursor->argb;
    cursor->argb = copy;
    cursor->width = copy ? width : 0;
    cursor->height = copy ? height : 0;
    cursor->hot_x = copy ? MIN(hot_x, width - 1) : 0;
    cursor->hot_y = copy ? MIN(hot_y, height - 1) : 0;
    cursor->serial++;
    pthread_mutex_unlock(&cursor->lock);
    free(old);
    return true;
}

/* ---------------------------------------------------------------- screenshots */

struct screenshot {
    struct display *display;
    unsigned width, height;
    uint32_t *pixels;
};

/* On the display's thread: takes no longer than a copy. */
static void take(void *opaque)
{
    struct screenshot *shot = opaque;
    struct display *display = shot->display;
    display_refresh(display);
    size_t size = (size_t)display->width * display->height * sizeof(*display->pixels);
    if (!display->pixels || !(shot->pixels = malloc(size)))
        return;
    memcpy(shot->pixels, display->pixels, size);
    shot->width = display->width;
    shot->height = display->height;
}

uint8_t *display_screenshot(struct display *display, enum picture_format format, size_t *size,
                            struct kv_error *err)
{
    struct screenshot shot = {.display = display};
    loop_call(&display->thread.loop, take, &shot);
    uint8_t *file =
        shot.pixels ? picture_write(format, shot.width, shot.height, shot.pixels, size) : NULL;
    free(shot.pixels);
    if (!file)
        kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "screenshot: out of memory");
    return file;
}
