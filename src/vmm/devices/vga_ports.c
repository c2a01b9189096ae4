/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VGA's registers at their ports, and the index and data registers of the
 * Bochs VBE interface; see vga_state.h. Called by vga.c with its lock.
 */
#include <string.h>

#include "base/util.h"
#include "vmm/devices/vga_state.h"

#define DISPI_ID_FIRST 0xb0c0
#define DISPI_ID_LAST 0xb0c5

#define MISC_COLOR 0x01 /* the CRTC is at 0x3d4 instead of 0x3b4 */
#define STATUS0_SENSE 0x10
#define STATUS1_RETRACE 0x09 /* vertical retrace, display not enabled */
#define CRTC_PROTECT 0x80    /* of register 0x11: 0 to 7 are read-only */
#define CRTC_OVERFLOW 7
#define CRTC_OVERFLOW_FREE 0x10 /* its one bit that is not protected */
#define ATTRIBUTE_SCREEN_ON 0x20

/* Bits that exist in each register; what is not there reads as zero. */
static const uint8_t sequencer_bits[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t graphics_bits[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};

void vga_state_reset(struct vga_state *vga)
{
    memset(&vga->regs, 0, sizeof(vga->regs));
    vga->regs.dac_mask = 0xff;
    vga->regs.dispi[DISPI_ID] = DISPI_ID_LAST;
    vga->regs.graphics[8] = 0xff;
    atomic_store(&vga->touched, true);
}

/* ---------------------------------------------------------------- palette */

static uint8_t dac_read(struct vga_regs *regs)
{
    uint8_t value = regs->dac[regs->dac_read * 3 + regs->dac_component % 3];
    if (++regs->dac_component >= 3) {
        regs->dac_component = 0;
        regs->dac_read++;
    }
    return value;
}

/* Takes effect with the third byte. */
static void dac_write(struct vga_regs *regs, uint8_t value)
{
    regs->dac_latch[regs->dac_component % 3] = value;
    if (++regs->dac_component >= 3) {
        memcpy(&regs->dac[regs->dac_write * 3], regs->dac_latch, 3);
        regs->dac_component = 0;
        regs->dac_write++;
    }
}

/* ---------------------------------------------------------------- ports */

static void attribute_write(struct vga_regs *regs, uint8_t value)
{
    regs->attribute_data ^= 1;
    if (regs->attribute_data) { /* it was the index */
        regs->attribute_index = value & 0x3f;
        return;
    }
    unsigned index = regs->attribute_index & 0x1f;
    if (index < 16)
        regs->attribute[index] = value & 0x3f;
    else if (index <= 0x14)
        regs->attribute[index] = value;
}

static void crtc_write(struct vga_regs *regs, uint8_t value)
{
    unsigned index = regs->crtc_index & 0x1f;
    if (index > 0x18)
        return;
    if (regs->crtc[0x11] & CRTC_PROTECT && index <= CRTC_OVERFLOW) {
        if (index == CRTC_OVERFLOW)
            regs->crtc[index] =
                (uint8_t)((regs->crtc[index] & ~CRTC_OVERFLOW_FREE) | (value & CRTC_OVERFLOW_FREE));
        return;
    }
    regs->crtc[index] = value;
}

/* The CRTC's three ports stand at 0x3bX or at 0x3dX. */
static bool is_elsewhere(const struct vga_regs *regs, unsigned port)
{
    bool color = regs->misc & MISC_COLOR;
    return (port >= 0x3b0 && port <= 0x3bf && color) || (port >= 0x3d0 && port <= 0x3df && !color);
}

uint8_t vga_port_read(struct vga_state *vga, unsigned port)
{
    struct vga_regs *regs = &vga->regs;
    if (is_elsewhere(regs, port))
        return 0xff;
    switch (port) {
    case 0x3c0:
        return regs->attribute_data ? 0 : regs->attribute_index;
    case 0x3c1:
        return regs->attribute[regs->attribute_index & 0x1f];
    case 0x3c2:
        return STATUS0_SENSE;
    case 0x3c4:
        return regs->sequencer_index;
    case 0x3c5:
        return regs->sequencer[regs->sequencer_index & 7];
    case 0x3c6:
        return regs->dac_mask;
    case 0x3c7:
        return regs->dac_reading ? 3 : 0;
    case 0x3c8:
        return regs->dac_write;
    case 0x3c9:
        return dac_read(regs);
    case 0x3ca:
        return regs->feature;
    case 0x3cc:
        return regs->misc;
    case 0x3ce:
        return regs->graphics_index;
    case 0x3cf:
        return regs->graphics[regs->graphics_index & 15];
    case 0x3b4:
    case 0x3d4:
        return regs->crtc_index;
    case 0x3b5:
    case 0x3d5:
        return regs->crtc[regs->crtc_index & 0x1f];
    case 0x3ba:
    case 0x3da: /* whoever waits for a retrace, or for its end, waits for one read */
        regs->attribute_data = 0;
        regs->retrace ^= STATUS1_RETRACE;
        return regs->retrace & STATUS1_RETRACE;
    default:
        return 0;
    }
}

void vga_port_write(struct vga_state *vga, unsigned port, uint8_t value)
{
    struct vga_regs *regs = &vga->regs;
    if (is_elsewhere(regs, port))
        return;
    switch (port) {
    case 0x3c0:
        attribute_write(regs, value);
        break;
    case 0x3c2:
        regs->misc = value & ~0x10;
        break;
    case 0x3c4:
        regs->sequencer_index = value & 7;
        return;
    case 0x3c5:
        regs->sequencer[regs->sequencer_index & 7] =
            value & sequencer_bits[regs->sequencer_index & 7];
        break;
    case 0x3c6:
        regs->dac_mask = value;
        break;
    case 0x3c7:
        regs->dac_read = value;
        regs->dac_component = 0;
        regs->dac_reading = 1;
        return;
    case 0x3c8:
        regs->dac_write = value;
        regs->dac_component = 0;
        regs->dac_reading = 0;
        return;
    case 0x3c9:
        dac_write(regs, value);
        break;
    case 0x3ce:
        regs->graphics_index = value & 15;
        return;
    case 0x3cf:
        regs->graphics[regs->graphics_index & 15] =
            value & graphics_bits[regs->graphics_index & 15];
        break;
    case 0x3b4:
    case 0x3d4:
        regs->crtc_index = value & 0x3f;
        return;
    case 0x3b5:
    case 0x3d5:
        crtc_write(regs, value);
        break;
    case 0x3ba:
    case 0x3da:
        regs->feature = value & 0x0b;
        return;
    default:
        return;
    }
    atomic_store(&vga->touched, true);
}

/* ---------------------------------------------------------------- VBE interface */

bool vga_is_linear(const struct vga_regs *regs)
{
    return regs->dispi[DISPI_ENABLE] & DISPI_ENABLED && regs->dispi[DISPI_BPP] > 4;
}

uint16_t vga_dispi_read(const struct vga_state *vga, unsigned index)
{
    static const uint16_t capabilities[] = {
        [DISPI_XRES] = VGA_WIDTH_MAX, [DISPI_YRES] = VGA_HEIGHT_MAX, [DISPI_BPP] = 32};
    if (index == DISPI_MEMORY)
        return (uint16_t)(vga->size / KIB(64));
    if (index >= DISPI_COUNT)
        return 0;
    if (vga->regs.dispi[DISPI_ENABLE] & DISPI_GETCAPS && index >= DISPI_XRES && index <= DISPI_BPP)
        return capabilities[index];
    return vga->regs.dispi[index];
}

/* A mode begins: nothing is left of what the one before showed. */
static void dispi_enable(struct vga_state *vga, uint16_t value)
{
    uint16_t *dispi = vga->regs.dispi;
    bool begins = value & DISPI_ENABLED && !(dispi[DISPI_ENABLE] & DISPI_ENABLED);
    dispi[DISPI_ENABLE] = value;
    if (!begins)
        return;
    dispi[DISPI_BANK] = dispi[DISPI_X_OFFSET] = dispi[DISPI_Y_OFFSET] = 0;
    dispi[DISPI_VIRT_WIDTH] = dispi[DISPI_XRES];
    dispi[DISPI_VIRT_HEIGHT] = dispi[DISPI_YRES];
    size_t shown = (size_t)dispi[DISPI_XRES] * dispi[DISPI_YRES] * ((dispi[DISPI_BPP] + 7U) / 8);
    if (!(value & DISPI_NOCLEARMEM))
        memset(vga->memory, 0, MIN(shown, vga->size));
}

void vga_dispi_write(struct vga_state *vga, unsigned index, uint16_t value)
{
    uint16_t *dispi = vga->regs.dispi;
    switch (index) {
    case DISPI_ID:
        if (value >= DISPI_ID_FIRST && value <= DISPI_ID_LAST)
            dispi[index] = value;
        break;
    case DISPI_XRES:
        dispi[index] = MIN(value, (uint16_t)VGA_WIDTH_MAX);
        break;
    case DISPI_YRES:
        dispi[index] = MIN(value, (uint16_t)VGA_HEIGHT_MAX);
        break;
    case DISPI_BPP:
        if (value == 0 || value == 4 || value == 8 || value == 15 || value == 16 || value == 24 ||
            value == 32)
            dispi[index] = value ? value : 8;
        break;
    case DISPI_ENABLE:
        dispi_enable(vga, value);
        break;
    case DISPI_BANK:
        dispi[index] = value & (uint16_t)(vga->size / KIB(64) - 1);
        break;
    case DISPI_VIRT_WIDTH:
        dispi[index] = MAX(value, dispi[DISPI_XRES]);
        break;
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET:
        dispi[index] = value;
        break;
    default:
        return; /* the virtual height follows from memory and width */
    }
    atomic_store(&vga->touched, true);
}
