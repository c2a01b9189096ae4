/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rectangles of the picture as viewers want them: raw and hextile
 * (vnc_encode.c), ZRLE (vnc_zrle.c) and Tight (vnc_tight.c), the latter two
 * over vnc_zlib.c. All append to a viewer's output and return 0 or -ENOMEM.
 */
#ifndef KV_VMM_DISPLAY_VNC_ENCODE_H
#define KV_VMM_DISPLAY_VNC_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "vmm/display/display.h"

/* How a viewer wants its pixels. */
struct vnc_format {
    uint8_t bytes; /* 1, 2, 4 */
    uint8_t depth; /* bits that count, as it says */
    bool big_endian;
    uint16_t max[3]; /* red, green, blue */
    uint8_t shift[3];
};

/* A stream of a viewer's. All zero: not begun. */
struct vnc_zlib {
    void *stream;
    struct buffer plain; /* what goes into it next */
};

/* What a rectangle is made of. */
struct vnc_source {
    const struct display *display;
    const struct vnc_format *format;
    struct vnc_zlib *zlib; /* of the encoding, or NULL where it needs none */
};

int vnc_put_raw(struct buffer *out, const struct vnc_source *source,
                const struct display_rect *rect);
int vnc_put_hextile(struct buffer *out, const struct vnc_source *source,
                    const struct display_rect *rect);
int vnc_put_zrle(struct buffer *out, const struct vnc_source *source,
                 const struct display_rect *rect);
/* At most VNC_TIGHT_WIDTH columns. */
int vnc_put_tight(struct buffer *out, const struct vnc_source *source,
                  const struct display_rect *rect);
#define VNC_TIGHT_WIDTH 2048

/* Pixels one after the other. */
int vnc_put_pixels(struct buffer *out, const struct vnc_format *format, const uint32_t *pixels,
                   unsigned count);
/* Writes one; the bytes' end. */
uint8_t *vnc_put_pixel(uint8_t *to, const struct vnc_format *format, uint32_t pixel);

static inline const uint32_t *vnc_row(const struct vnc_source *source, unsigned x, unsigned y)
{
    return source->display->pixels + (size_t)y * source->display->width + x;
}

/* Loads zlib; before the jail. */
int vnc_zlib_load(struct kv_error *err);
bool vnc_zlib_is_there(void);
/* Appends what the plain bytes become, which are gone then. */
int vnc_zlib_put(struct vnc_zlib *zlib, struct buffer *out);
/* The same, and the stream's end. */
int vnc_zlib_finish(struct vnc_zlib *zlib, struct buffer *out);
void vnc_zlib_end(struct vnc_zlib *zlib);
/* Appends what a whole stream was made of. -EINVAL: it is none; -ENOBUFS: more than out may hold.
 */
int vnc_zlib_unpack(const uint8_t *bytes, size_t len, struct buffer *out);

#endif
