/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VGA shows: text with the characters that the guest loaded, planes of
 * 16 colours, CGA's pairs of bits, 256 colours, and the VBE interface's linear
 * modes, as rows of pixels; see vga_state.h. Called on the display's thread.
 * Geometry comes from registers that a hostile guest wrote: every size is
 * bounded here, every address is masked by the size of the memory.
 */
#include "base/util.h"
#include "vmm/devices/vga_state.h"
#include "vmm/display/display.h"

#define BLANK_WIDTH 640
#define BLANK_HEIGHT 480
#define PAGE_SHIFT 12

#define ATTRIBUTE_MODE 0x10
#define ATTRIBUTE_MODE_LINE_GRAPHICS 0x04 /* characters 0xc0 to 0xdf reach into the ninth dot */
#define ATTRIBUTE_MODE_BLINK 0x08         /* bit 7 of a character's attribute blinks */
#define ATTRIBUTE_MODE_P54 0x80           /* colour bits 5 and 4 come from the colour select */
#define ATTRIBUTE_PLANES 0x12
#define ATTRIBUTE_SELECT 0x14
#define ATTRIBUTE_SHOWN 0x20 /* of the index: the palette belongs to the screen */
#define GRAPHICS_MODE 5
#define GRAPHICS_MISC 6
#define SEQUENCER_CLOCKING 1
#define SEQUENCER_FONT 3

/* All that drawing a row needs. */
struct picture {
    const struct vga_regs *regs;
    const uint8_t *memory;
    uint32_t mask; /* of addresses in memory */
    const uint64_t *dirty;
    uint32_t colors[256];
    unsigned width, height, repeat; /* repeat: scan lines that show one row of pixels */
    uint32_t start, pitch;          /* bytes of memory */
    uint32_t row[VGA_WIDTH_MAX];
};

/* Makes the pixels of a row. */
typedef void fill_fn(struct picture *p, unsigned y);

/* ---------------------------------------------------------------- colours */

static uint32_t dac_color(const struct vga_regs *regs, unsigned index)
{
    const uint8_t *dac = &regs->dac[(index & regs->dac_mask & 0xffU) * 3];
    bool eight =
        regs->dispi[DISPI_ENABLE] & DISPI_ENABLED && regs->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC;
    uint32_t color = 0;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t value = dac[i];
        if (!eight)
            value = (value & 0x3f) << 2 | (value & 0x3f) >> 4;
        color = color << 8 | value;
    }
    return color;
}

/* The 16 colours of text and planes go through the attribute controller's palette. */
static void take_palette(struct picture *p, bool direct)
{
    const struct vga_regs *regs = p->regs;
    uint8_t select = regs->attribute[ATTRIBUTE_SELECT];
    for (unsigned i = 0; i < 256; i++) {
        unsigned index = i;
        if (!direct && regs->attribute[ATTRIBUTE_MODE] & ATTRIBUTE_MODE_P54)
            index = (regs->attribute[i & 15] & 0x0fU) | (select & 0x0fU) << 4;
        else if (!direct)
            index = (regs->attribute[i & 15] & 0x3fU) | (select & 0x0cU) << 4;
        p->colors[i] = dac_color(regs, index);
    }
}

/* ---------------------------------------------------------------- linear modes */

static void fill_8(struct picture *p, unsigned y)
{
    uint32_t at = p->start + y * p->pitch;
    for (unsigned x = 0; x < p->width; x++)
        p->row[x] = p->colors[p->memory[(at + x) & p->mask]];
}

static uint32_t load(const struct picture *p, uint32_t at, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint32_t)p->memory[(at + i) & p->mask] << (8 * i);
    return value;
}

static uint32_t widen(uint32_t value, unsigned bits)
{
    value &= (1U << bits) - 1;
    return value << (8 - bits) | value >> (2 * bits - 8);
}

static void fill_15(struct picture *p, unsigned y)
{
    uint32_t at = p->start + y * p->pitch;
    for (unsigned x = 0; x < p->width; x++) {
        uint32_t v = load(p, at + 2 * x, 2);
        p->row[x] = widen(v >> 10, 5) << 16 | widen(v >> 5, 5) << 8 | widen(v, 5);
    }
}

static void fill_16(struct picture *p, unsigned y)
{
    uint32_t at = p->start + y * p->pitch;
    for (unsigned x = 0; x < p->width; x++) {
        uint32_t v = load(p, at + 2 * x, 2);
        p->row[x] = widen(v >> 11, 5) << 16 | widen(v >> 5, 6) << 8 | widen(v, 5);
    }
}

static void fill_24(struct picture *p, unsigned y)
{
    uint32_t at = p->start + y * p->pitch;
    for (unsigned x = 0; x < p->width; x++)
        p->row[x] = load(p, at + 3 * x, 3);
}

static void fill_32(struct picture *p, unsigned y)
{
    uint32_t at = p->start + y * p->pitch;
    if ((uint64_t)at + 4ULL * p->width > (uint64_t)p->mask + 1) {
        for (unsigned x = 0; x < p->width; x++)
            p->row[x] = load(p, at + 4 * x, 3);
        return;
    }
    for (unsigned x = 0; x < p->width; x++)
        p->row[x] = (uint32_t)load_le(p->memory + at + 4 * (size_t)x, 4) & 0xffffff;
}

/* ---------------------------------------------------------------- planes */

static uint32_t scan_address(const struct picture *p, unsigned y)
{
    uint32_t at = p->start + y * p->pitch;
    /* CGA's two banks: the row scan counter's lowest bit is address bit 13. */
    if (!(p->regs->crtc[0x17] & 1))
        at = p->start + y / 2 * p->pitch + (y & 1) * 0x2000 * 4;
    return at;
}

static void fill_planes(struct picture *p, unsigned y)
{
    uint32_t at = scan_address(p, y);
    unsigned enabled = p->regs->attribute[ATTRIBUTE_PLANES] & 15U;
    for (unsigned x = 0; x < p->width; x++) {
        const uint8_t *planes = p->memory + ((at + x / 8 * 4) & p->mask);
        unsigned shift = 7 - x % 8, color = 0;
        for (unsigned plane = 0; plane < 4; plane++)
            color |= (planes[plane] >> shift & 1U) << plane;
        p->row[x] = p->colors[color & enabled];
    }
}

/* Eight pixels of two bits: four in plane 0, four in plane 1. */
static void fill_pairs(struct picture *p, unsigned y)
{
    uint32_t at = scan_address(p, y);
    for (unsigned x = 0; x < p->width; x++) {
        const uint8_t *planes = p->memory + ((at + x / 8 * 4) & p->mask);
        p->row[x] = p->colors[planes[x / 4 % 2] >> (6 - x % 4 * 2) & 3];
    }
}

/* ---------------------------------------------------------------- text */

static unsigned cell_width(const struct vga_regs *regs)
{
    return regs->sequencer[SEQUENCER_CLOCKING] & 1 ? 8 : 9;
}

static unsigned cell_height(const struct vga_regs *regs)
{
    return (regs->crtc[9] & 0x1fU) + 1;
}

/* Where a character set begins in plane 2; bits 3, 2 and 5, or 1, 0 and 4 of its register. */
static uint32_t font_address(const struct vga_regs *regs, bool set_a)
{
    uint8_t map = regs->sequencer[SEQUENCER_FONT];
    unsigned low = set_a ? map >> 2 & 3U : map & 3U, high = set_a ? map >> 5 & 1U : map >> 4 & 1U;
    return low * 0x4000 + high * 0x2000;
}

static bool cursor_here(const struct vga_regs *regs, uint32_t cell, unsigned line)
{
    uint32_t at = (uint32_t)regs->crtc[0xe] << 8 | regs->crtc[0xf];
    bool off = regs->crtc[0xa] & 0x20;
    return !off && cell == at && line >= (regs->crtc[0xa] & 0x1fU) &&
           line <= (regs->crtc[0xb] & 0x1fU);
}

static void fill_text(struct picture *p, unsigned y)
{
    const struct vga_regs *regs = p->regs;
    unsigned cell = cell_width(regs), line = y % cell_height(regs);
    uint8_t mode = regs->attribute[ATTRIBUTE_MODE];
    uint32_t at = p->start + y / cell_height(regs) * p->pitch;
    for (unsigned x = 0; x + cell <= p->width; x += cell, at += 4) {
        const uint8_t *character = p->memory + (at & p->mask);
        uint8_t code = character[0], attribute = character[1];
        uint32_t glyph = font_address(regs, attribute & 8) + code * 32U + line;
        unsigned dots = p->memory[(glyph * 4 + 2) & p->mask] * 2U; /* the ninth dot is bit 0 */
        if (mode & ATTRIBUTE_MODE_LINE_GRAPHICS && code >= 0xc0 && code <= 0xdf)
            dots |= dots >> 1 & 1;
        if (cursor_here(regs, at / 4, line))
            dots = 0x1ff;
        uint32_t front = p->colors[attribute & 15];
        uint32_t back = p->colors[attribute >> 4 & (mode & ATTRIBUTE_MODE_BLINK ? 7 : 15)];
        for (unsigned dot = 0; dot < cell; dot++)
            p->row[x + dot] = dots >> (8 - dot) & 1 ? front : back;
    }
}

static void fill_black(struct picture *p, unsigned y)
{
    memset(p->row, 0, p->width * sizeof(p->row[0]));
}

/* ---------------------------------------------------------------- which mode it is */

static fill_fn *linear_mode(struct picture *p)
{
    const uint16_t *dispi = p->regs->dispi;
    unsigned bytes = (dispi[DISPI_BPP] + 7U) / 8;
    p->width = dispi[DISPI_XRES];
    p->height = dispi[DISPI_YRES];
    p->pitch = MAX(dispi[DISPI_VIRT_WIDTH], dispi[DISPI_XRES]) * bytes;
    p->start = dispi[DISPI_Y_OFFSET] * p->pitch + dispi[DISPI_X_OFFSET] * bytes;
    take_palette(p, true);
    switch (dispi[DISPI_BPP]) {
    case 15:
        return fill_15;
    case 16:
        return fill_16;
    case 24:
        return fill_24;
    case 32:
        return fill_32;
    default:
        return fill_8;
    }
}

static unsigned scan_lines(const struct vga_regs *regs)
{
    unsigned overflow = regs->crtc[7];
    return (regs->crtc[0x12] | (overflow & 0x02) << 7 | (overflow & 0x40) << 3) + 1U;
}

static fill_fn *legacy_mode(struct picture *p)
{
    const struct vga_regs *regs = p->regs;
    bool graphics = regs->graphics[GRAPHICS_MISC] & 1;
    unsigned characters = regs->crtc[1] + 1U, shift = regs->graphics[GRAPHICS_MODE] >> 5 & 3U;
    p->start = ((uint32_t)regs->crtc[0xc] << 8 | regs->crtc[0xd]) * 4;
    p->height = scan_lines(regs);
    take_palette(p, graphics && shift >= 2);
    if (!graphics) {
        p->width = characters * cell_width(regs);
        p->pitch = regs->crtc[0x13] * 2U * 4;
        return fill_text;
    }
    /* Graphics repeat a row instead of having lines of a character; CGA's banks are rows, too. */
    unsigned lines = cell_height(regs);
    if (!(regs->crtc[0x17] & 1))
        lines /= 2;
    p->repeat = MAX(lines, 1U) * (regs->crtc[9] & 0x80 ? 2 : 1);
    p->height /= p->repeat;
    p->pitch = regs->crtc[0x13] * 2U * 4;
    p->width = characters * (shift >= 2 ? 4 : 8);
    if (shift >= 2) {
        p->pitch = regs->crtc[0x13] * 8U;
        return fill_8;
    }
    return shift == 1 ? fill_pairs : fill_planes;
}

static fill_fn *planar_vbe_mode(struct picture *p)
{
    const uint16_t *dispi = p->regs->dispi;
    fill_fn *fill = legacy_mode(p);
    p->repeat = 1;
    p->width = dispi[DISPI_XRES];
    p->height = dispi[DISPI_YRES];
    p->pitch = MAX(dispi[DISPI_VIRT_WIDTH], dispi[DISPI_XRES]) / 8U * 4;
    return fill == fill_text ? fill_planes : fill;
}

static fill_fn *find_mode(struct picture *p)
{
    const struct vga_regs *regs = p->regs;
    fill_fn *fill;
    if (vga_is_linear(regs))
        fill = linear_mode(p);
    else if (!(regs->attribute_index & ATTRIBUTE_SHOWN) ||
             regs->sequencer[SEQUENCER_CLOCKING] & 0x20)
        fill = fill_black;
    else if (regs->dispi[DISPI_ENABLE] & DISPI_ENABLED)
        fill = planar_vbe_mode(p);
    else
        fill = legacy_mode(p);
    if (p->width < 8 || p->height < 8) {
        p->width = BLANK_WIDTH;
        p->height = BLANK_HEIGHT;
        fill = fill_black;
    }
    p->width = MIN(p->width, (unsigned)VGA_WIDTH_MAX);
    p->height = MIN(p->height, (unsigned)VGA_HEIGHT_MAX);
    return fill;
}

/* Whether one of the pages that a row of a linear mode lies in is marked. */
static bool row_is_dirty(const struct picture *p, unsigned y)
{
    uint32_t from = p->start + y * p->pitch, to = from + p->pitch - 1;
    for (uint32_t page = from >> PAGE_SHIFT; page <= to >> PAGE_SHIFT; page++) {
        uint32_t at = page & p->mask >> PAGE_SHIFT;
        if (p->dirty[at / 64] >> at % 64 & 1)
            return true;
    }
    return false;
}

void vga_draw(const struct vga_regs *regs, const uint8_t *memory, size_t size,
              const uint64_t *dirty, struct display *display)
{
    struct picture p = {
        .regs = regs, .memory = memory, .mask = (uint32_t)size - 1, .dirty = dirty, .repeat = 1};
    fill_fn *fill = find_mode(&p);
    bool by_pages =
        dirty && vga_is_linear(regs) && p.width == display->width && p.height == display->height;
    if (!display_resize(display, p.width, p.height))
        return;
    for (unsigned y = 0; y < p.height; y++) {
        if (by_pages && !row_is_dirty(&p, y))
            continue;
        fill(&p, y);
        display_put_row(display, y, p.row);
    }
}
