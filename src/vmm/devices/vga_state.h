/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VGA is made of, without its bus: registers, video memory, and what
 * these show. vga_ports.c has the registers (IBM VGA; Bochs VBE interface
 * 0xb0c5), vga_window.c the 128 KiB below 0xc0000, vga_draw.c the picture;
 * vga.c makes a PCI device of them. The owner's lock is held in all of them
 * but vga_draw(), which works on a copy of the registers.
 *
 * Video memory holds the four planes byte by byte: plane p of address a is
 * byte 4a + p. So 256 colours, chained or not, and linear frame buffers are
 * pixels in a row.
 */
#ifndef KV_VMM_DEVICES_VGA_STATE_H
#define KV_VMM_DEVICES_VGA_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct display;

#define VGA_WINDOW_BASE 0xa0000
#define VGA_WINDOW_SIZE 0x20000
#define VGA_PLANES_SIZE 0x40000 /* video memory of a VGA without extensions */

#define VGA_WIDTH_MAX 4096
#define VGA_HEIGHT_MAX 4096

enum dispi_register {
    DISPI_ID,
    DISPI_XRES,
    DISPI_YRES,
    DISPI_BPP,
    DISPI_ENABLE,
    DISPI_BANK,
    DISPI_VIRT_WIDTH,
    DISPI_VIRT_HEIGHT,
    DISPI_X_OFFSET,
    DISPI_Y_OFFSET,
    DISPI_MEMORY, /* units of 64 KiB, read-only */
    DISPI_COUNT,
};

#define DISPI_ENABLED 0x01
#define DISPI_GETCAPS 0x02
#define DISPI_8BIT_DAC 0x20
#define DISPI_LFB 0x40
#define DISPI_NOCLEARMEM 0x80

/* Plain data: every index in it is masked where it is used. */
struct vga_regs {
    uint8_t misc, feature;
    uint8_t sequencer_index, sequencer[8];
    uint8_t graphics_index, graphics[16];
    uint8_t crtc_index, crtc[32];
    uint8_t attribute_index, attribute[32], attribute_data; /* the flip-flop: data comes next */
    uint8_t dac_mask, dac_read, dac_write, dac_component, dac_reading, dac_latch[3];
    uint8_t dac[256 * 3];
    uint8_t retrace; /* bits of input status 1, changed by each read */
    uint8_t latch[4];
    uint16_t dispi_index, dispi[DISPI_COUNT];
};

struct vga_state {
    struct vga_regs regs;
    uint8_t *memory;
    size_t size;         /* power of two, at least 1 MiB */
    atomic_bool touched; /* what the registers or the window did may show */
};

/* Back to power-on; memory is left alone. */
void vga_state_reset(struct vga_state *vga);

/* Ports 0x3b4 to 0x3bb and 0x3c0 to 0x3df. */
uint8_t vga_port_read(struct vga_state *vga, unsigned port);
void vga_port_write(struct vga_state *vga, unsigned port, uint8_t value);

uint16_t vga_dispi_read(const struct vga_state *vga, unsigned index);
void vga_dispi_write(struct vga_state *vga, unsigned index, uint16_t value);

/* A linear mode of the VBE interface is on: the window shows one bank of 64 KiB. */
bool vga_is_linear(const struct vga_regs *regs);

/* offset is from 0xa0000 and below 128 KiB. */
uint8_t vga_window_read(struct vga_state *vga, uint32_t offset);
void vga_window_write(struct vga_state *vga, uint32_t offset, uint8_t value);

/* Shows it. dirty: which pages of 4 KiB of the memory changed since the last time, a bit each;
 * NULL: all may have. */
void vga_draw(const struct vga_regs *regs, const uint8_t *memory, size_t size,
              const uint64_t *dirty, struct display *display);

/* 128 bytes that describe the monitor (VESA E-EDID 1.4); width and height of its best mode. */
void vga_make_edid(uint8_t edid[128], unsigned width, unsigned height);

#endif
