/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processor's way to a VGA's planes: 128 KiB below 0xc0000, of which the
 * graphics controller decodes a part, with its latches and write modes (IBM
 * VGA); see vga_state.h. Called by vga.c with its lock.
 */
#include <string.h>

#include "base/util.h"
#include "vmm/devices/vga_state.h"

#define SEQUENCER_MAP_MASK 2
#define SEQUENCER_MEMORY_MODE 4
#define MEMORY_CHAIN4 0x08
#define MEMORY_NO_ODD_EVEN 0x04

enum graphics_register {
    SET_RESET,
    ENABLE_SET_RESET,
    COLOR_COMPARE,
    ROTATE,
    READ_MAP,
    MODE,
    MISCELLANEOUS,
    COLOR_CARE,
    BIT_MASK,
};
#define MODE_WRITE 0x03
#define MODE_READ_COMPARE 0x08
#define MODE_ODD_EVEN 0x10

/* Where an access lands. */
enum way { NOWHERE, ONE_BYTE, PLANAR };

struct place {
    enum way way;
    uint32_t at;    /* of memory: the byte, or the first of four planes */
    unsigned plane; /* ONE_BYTE */
};

static struct place find_place(const struct vga_state *vga, uint32_t offset)
{
    /* Which part of the window is decoded, by bits 2 and 3 of the miscellaneous register. */
    static const struct {
        uint32_t start, size;
    } parts[] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
    const struct vga_regs *regs = &vga->regs;
    uint32_t mask = (uint32_t)vga->size - 1;
    if (vga_is_linear(regs)) {
        if (offset >= KIB(64))
            return (struct place){.way = NOWHERE};
        uint32_t at = ((uint32_t)regs->dispi[DISPI_BANK] * (uint32_t)KIB(64) + offset) & mask;
        return (struct place){ONE_BYTE, at, at & 3};
    }
    unsigned part = regs->graphics[MISCELLANEOUS] >> 2 & 3;
    if (offset < parts[part].start || offset - parts[part].start >= parts[part].size)
        return (struct place){.way = NOWHERE};
    offset -= parts[part].start;
    uint8_t memory_mode = regs->sequencer[SEQUENCER_MEMORY_MODE];
    if (memory_mode & MEMORY_CHAIN4)
        return (struct place){ONE_BYTE, offset & mask, offset & 3};
    if (!(memory_mode & MEMORY_NO_ODD_EVEN)) {
        unsigned plane = (regs->graphics[READ_MAP] & 2) | (offset & 1);
        return (struct place){ONE_BYTE, (((offset & ~1U) << 1) | plane) & mask, plane};
    }
    return (struct place){PLANAR, (offset * 4) & mask, 0};
}

uint8_t vga_window_read(struct vga_state *vga, uint32_t offset)
{
    struct vga_regs *regs = &vga->regs;
    struct place place = find_place(vga, offset);
    if (place.way == NOWHERE)
        return 0xff;
    memcpy(regs->latch, vga->memory + (place.at & ~3U), 4);
    if (place.way == ONE_BYTE)
        return vga->memory[place.at];
    if (!(regs->graphics[MODE] & MODE_READ_COMPARE))
        return regs->latch[regs->graphics[READ_MAP] & 3];
    uint8_t differs = 0;
    for (unsigned plane = 0; plane < 4; plane++) {
        if (!(regs->graphics[COLOR_CARE] >> plane & 1))
            continue;
        uint8_t wanted = regs->graphics[COLOR_COMPARE] >> plane & 1 ? 0xff : 0;
        differs |= regs->latch[plane] ^ wanted;
    }
    return (uint8_t)~differs;
}

static uint8_t rotate_right(uint8_t value, unsigned count)
{
    return (uint8_t)(value >> count | value << (8 - count));
}

/* The four functions of the ALU, by bits 3 and 4 of the rotate register. */
static uint8_t combine(unsigned function, uint8_t value, uint8_t latch)
{
    switch (function) {
    case 1:
        return value & latch;
    case 2:
        return value | latch;
    case 3:
        return value ^ latch;
    default:
        return value;
    }
}

static void planar_write(struct vga_state *vga, uint8_t *at, uint8_t value)
{
    const struct vga_regs *regs = &vga->regs;
    const uint8_t *graphics = regs->graphics;
    unsigned mode = graphics[MODE] & MODE_WRITE, function = graphics[ROTATE] >> 3 & 3;
    uint8_t rotated = rotate_right(value, graphics[ROTATE] & 7);
    uint8_t bits = mode == 3 ? graphics[BIT_MASK] & rotated : graphics[BIT_MASK];
    for (unsigned plane = 0; plane < 4; plane++) {
        uint8_t set = graphics[SET_RESET] >> plane & 1 ? 0xff : 0, latch = regs->latch[plane], byte;
        if (!(regs->sequencer[SEQUENCER_MAP_MASK] >> plane & 1))
            continue;
        if (mode == 1) {
            at[plane] = latch;
            continue;
        }
        if (mode == 0)
            byte = graphics[ENABLE_SET_RESET] >> plane & 1 ? set : rotated;
        else if (mode == 2)
            byte = value >> plane & 1 ? 0xff : 0;
        else
            byte = set;
        byte = combine(mode == 3 ? 0 : function, byte, latch);
        at[plane] = (uint8_t)((byte & bits) | (latch & ~bits));
    }
}

void vga_window_write(struct vga_state *vga, uint32_t offset, uint8_t value)
{
    struct place place = find_place(vga, offset);
    if (place.way == NOWHERE)
        return;
    if (place.way == PLANAR)
        planar_write(vga, vga->memory + place.at, value);
    else if (vga_is_linear(&vga->regs) ||
             vga->regs.sequencer[SEQUENCER_MAP_MASK] >> place.plane & 1)
        vga->memory[place.at] = value;
    atomic_store_explicit(&vga->touched, true, memory_order_release);
}
