/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a guest that writes and reads a VGA's ports, its window and the
 * VBE interface's registers while its picture is drawn. Each 4 bytes of input
 * are one act. Whatever it does, the picture stays within its bounds. Most inputs
 * have small pictures: a large one takes as long as a thousand acts.
 */
#include <stdlib.h>

#include "base/util.h"
#include "fake_machine.h"
#include "vmm/devices/vga_state.h"
#include "vmm/display/display.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY_SIZE MIB(1)
#define DRAWS_MAX 2           /* in one input */
#define LARGE_PICTURES 0xffff /* an input that begins so has them */
#define SIDE_MASK 0x3f        /* of small ones */

static struct fake_machine fake;
static struct vga_state vga;
static uint64_t dirty[MEMORY_SIZE / 4096 / 64];
static bool by_pages, large;

static struct vga_regs shown(void)
{
    struct vga_regs regs = vga.regs;
    if (large)
        return regs;
    regs.dispi[DISPI_XRES] &= SIDE_MASK;
    regs.dispi[DISPI_YRES] &= SIDE_MASK;
    regs.crtc[1] &= SIDE_MASK / 8;
    regs.crtc[7] = 0;
    regs.crtc[0x12] &= SIDE_MASK;
    return regs;
}

static void draw(void *opaque, bool everything)
{
    const struct vga_regs regs = shown();
    vga_draw(&regs, vga.memory, vga.size, by_pages ? dirty : NULL, fake.machine.platform.display);
}

static const struct display_device_ops device_ops = {.draw = draw};

static void build(void)
{
    fake_machine_init(&fake);
    vga.size = MEMORY_SIZE;
    vga.memory = malloc(vga.size);
    if (!vga.memory || display_create(&fake.machine, &device_ops, NULL, NULL) < 0)
        abort();
}

static void look(bool pages)
{
    struct display *display = fake.machine.platform.display;
    by_pages = pages;
    display_refresh(display);
    if (display->width < 8 || display->width > VGA_WIDTH_MAX || display->height < 8 ||
        display->height > VGA_HEIGHT_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned draws = 0;
    if (!vga.memory)
        build();
    large = size >= 2 && load_le(data, 2) == LARGE_PICTURES;
    vga_state_reset(&vga);
    memset(vga.memory, 0, KIB(256));
    for (; size >= 4; data += 4, size -= 4) {
        uint16_t value = (uint16_t)load_le(data + 2, 2);
        uint32_t at = (uint32_t)(data[1] << 8 | data[2]) << (data[0] >> 7);
        switch (data[0] % 8) {
        case 0:
            vga_port_write(&vga, 0x3b0 + data[1] % 48, data[2]);
            break;
        case 1: /* an index and its data */
            vga_port_write(&vga, 0x3c0 + (data[1] % 16 & ~1U), data[2]);
            vga_port_write(&vga, 0x3c1 + (data[1] % 16 & ~1U), data[3]);
            break;
        case 2:
            vga_port_write(&vga, 0x3d4, data[2]);
            vga_port_write(&vga, 0x3d5, data[3]);
            break;
        case 3:
            vga_port_read(&vga, 0x3b0 + data[1] % 48);
            break;
        case 4:
            vga_window_write(&vga, at % VGA_WINDOW_SIZE, data[3]);
            break;
        case 5:
            vga_window_read(&vga, at % VGA_WINDOW_SIZE);
            break;
        case 6:
            vga_dispi_write(&vga, data[1] % 12, value);
            vga_dispi_read(&vga, data[1] % 12);
            break;
        default:
            dirty[data[1] % ARRAY_SIZE(dirty)] ^= value;
            if (draws++ < DRAWS_MAX)
                look(data[3] & 1);
        }
    }
    if (draws == 0)
        look(false);
    return 0;
}
