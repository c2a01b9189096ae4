/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shape of the guest's pointer, where a display device keeps it apart from
 * the picture (virtio-gpu's cursor queue). Viewers draw it themselves; the
 * device tells display.h's display_set_cursor(), from any thread.
 */
#ifndef KV_VMM_DISPLAY_CURSOR_H
#define KV_VMM_DISPLAY_CURSOR_H

#include <pthread.h>
#include <stdint.h>

#define CURSOR_MAX 256 /* pixels, either way */

struct display_cursor {
    pthread_mutex_t lock; /* leaf; for what follows */
    unsigned serial;      /* of the shape; 0: the device never told one */
    unsigned width, height, hot_x, hot_y;
    uint32_t *argb; /* width * height, 0xaarrggbb, not multiplied with alpha; NULL: hidden */
};

#endif
