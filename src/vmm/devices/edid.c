/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor that a display device says is plugged in: one block of VESA's
 * E-EDID 1.4, with the best mode as its detailed timing (CVT with reduced
 * blanking). Called by vga.c.
 */
#include <string.h>

#include "base/util.h"
#include "vmm/devices/vga_state.h"

#define TIMING 54     /* where the first of four descriptors begins */
#define DESCRIPTOR 18 /* bytes of each */
#define H_BLANK 160   /* CVT's reduced blanking, in pixels and lines */
#define V_BLANK 35
#define REFRESH_HZ 60
#define DPI 96

static unsigned millimetres(unsigned pixels)
{
    return pixels * 254 / 10 / DPI;
}

static void put_timing(uint8_t *at, unsigned width, unsigned height)
{
    unsigned clock = (width + H_BLANK) * (height + V_BLANK) / 10000 * REFRESH_HZ;
    unsigned w_mm = millimetres(width), h_mm = millimetres(height);
    const uint8_t timing[DESCRIPTOR] = {
        (uint8_t)clock,
        (uint8_t)(clock >> 8),
        (uint8_t)width,
        H_BLANK,
        (uint8_t)(width >> 8 << 4),
        (uint8_t)height,
        V_BLANK,
        (uint8_t)(height >> 8 << 4),
        48,   /* front porch, */
        32,   /* and sync: pixels */
        0x36, /* 3 and 6 lines */
        0,
        (uint8_t)w_mm,
        (uint8_t)h_mm,
        (uint8_t)(w_mm >> 8 << 4 | h_mm >> 8),
        0,
        0,
        0x1e, /* digital separate sync, both positive */
    };
    memcpy(at, timing, sizeof(timing));
}

static void put_text(uint8_t *at, uint8_t tag, const char *text)
{
    size_t len = strlen(text);
    at[3] = tag;
    memset(at + 5, ' ', 13);
    memcpy(at + 5, text, len);
    at[5 + len] = '\n';
}

void vga_make_edid(uint8_t edid[128], unsigned width, unsigned height)
{
    /* Header; manufacturer "KVA"; product 1; serial 0; week and year; version; digital; size. */
    static const uint8_t head[] = {0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x2e, 0xc1, 1,
                                   0,    0,    0,    0,    0,    1,    35,   1,    4,    0xa5};
    /* sRGB's chromaticities. */
    static const uint8_t colors[] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
    static const uint8_t ranges[] = {50, 125, 30, 160, 30, 0, 10}; /* Hz, kHz, 10 MHz */
    memset(edid, 0, 128);
    memcpy(edid, head, sizeof(head));
    edid[21] = (uint8_t)(millimetres(width) / 10);
    edid[22] = (uint8_t)(millimetres(height) / 10);
    edid[23] = 120;  /* gamma 2.2 */
    edid[24] = 0x06; /* sRGB, the first timing is the native one */
    memcpy(edid + 25, colors, sizeof(colors));
    edid[35] = 0x21; /* 640x480, 800x600, */
    edid[36] = 0x08; /* 1024x768 */
    memset(edid + 38, 1, 16);
    put_timing(edid + TIMING, width, height);
    put_text(edid + TIMING + DESCRIPTOR, 0xfc, "Kvasir");
    edid[TIMING + 2 * DESCRIPTOR + 3] = 0xfd;
    memcpy(edid + TIMING + 2 * DESCRIPTOR + 5, ranges, sizeof(ranges));
    memset(edid + TIMING + 2 * DESCRIPTOR + 12, ' ', 6);
    edid[TIMING + 2 * DESCRIPTOR + 12] = '\n';
    edid[TIMING + 3 * DESCRIPTOR + 3] = 0x10; /* nothing */
    uint8_t sum = 0;
    for (unsigned i = 0; i < 127; i++)
        sum = (uint8_t)(sum + edid[i]);
    edid[127] = (uint8_t)-sum;
}
