/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VGA's registers, its window and its pictures, and pictures as files. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fake_machine.h"
#include "unit.h"
#include "vmm/devices/vga_state.h"
#include "vmm/display/display.h"

#define MEMORY_SIZE MIB(4)
#define TEXT_WINDOW 0x18000 /* 0xb8000 */

static struct fake_machine fake;
static struct vga_state vga;
static struct display *display;
static uint64_t *dirty;            /* given to the next drawing; NULL: everything */
static unsigned damaged;           /* rectangles */
static struct display_rect damage; /* the last one */

static void draw(void *opaque, bool everything)
{
    vga_draw(&vga.regs, vga.memory, vga.size, everything ? NULL : dirty, display);
}

static void on_damage(void *opaque, const struct display_rect *rect)
{
    damage = *rect;
    damaged++;
}

static void on_resize(void *opaque)
{
}

static const struct display_device_ops device_ops = {.draw = draw};
static const struct display_viewer_ops viewer_ops = {.damaged = on_damage, .resized = on_resize};

static int setup(void **state)
{
    fake_machine_init(&fake);
    vga.size = MEMORY_SIZE;
    vga.memory = calloc(1, vga.size);
    vga_state_reset(&vga);
    assert_int_equal(display_create(&fake.machine, &device_ops, NULL, NULL), 0);
    display = fake.machine.platform.display;
    display->viewer = &viewer_ops;
    dirty = NULL;
    return 0;
}

static int teardown(void **state)
{
    display_free(&fake.machine);
    free(vga.memory);
    fake_machine_destroy(&fake);
    return 0;
}

static void out(unsigned index_port, uint8_t index, uint8_t value)
{
    vga_port_write(&vga, index_port, index);
    vga_port_write(&vga, index_port + 1, value);
}

static void attribute(uint8_t index, uint8_t value)
{
    vga_port_read(&vga, 0x3da);
    vga_port_write(&vga, 0x3c0, index);
    vga_port_write(&vga, 0x3c0, value);
}

/* As the BIOS sets modes: registers of all parts, and a palette whose colour i is (i, 2i, 3i). */
static void set_mode(uint8_t misc, const uint8_t *sequencer, const uint8_t *crtc,
                     const uint8_t *graphics, uint8_t attribute_mode)
{
    vga_port_write(&vga, 0x3c2, misc);
    for (uint8_t i = 0; i < 5; i++)
        out(0x3c4, i, sequencer[i]);
    out(0x3d4, 0x11, 0);
    for (uint8_t i = 0; i < 25; i++)
        out(0x3d4, i, crtc[i]);
    for (uint8_t i = 0; i < 9; i++)
        out(0x3ce, i, graphics[i]);
    for (uint8_t i = 0; i < 16; i++)
        attribute(i, i);
    attribute(0x10, attribute_mode);
    attribute(0x12, 15);
    vga_port_read(&vga, 0x3da);
    vga_port_write(&vga, 0x3c0, 0x20); /* screen on */
    vga_port_write(&vga, 0x3c8, 0);
    for (unsigned i = 0; i < 64; i++)
        for (unsigned c = 1; c <= 3; c++)
            vga_port_write(&vga, 0x3c9, (uint8_t)(i * c & 63));
}

static void set_text_mode(void)
{
    static const uint8_t sequencer[] = {3, 0, 3, 0, 2};
    static const uint8_t crtc[25] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0,
                                     0x4f, 0x20, 0,    0,    0,    0,    0,    0x9c, 0x0e,
                                     0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
    static const uint8_t graphics[] = {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff};
    set_mode(0x67, sequencer, crtc, graphics, 0x0c);
}

static uint32_t color(unsigned i)
{
    uint32_t value = 0;
    for (unsigned c = 1; c <= 3; c++) {
        unsigned v = i * c & 63;
        value = value << 8 | v << 2 | v >> 4;
    }
    return value;
}

static uint32_t pixel(unsigned x, unsigned y)
{
    return display->pixels[y * display->width + x];
}

static void text_is_drawn_with_the_characters_that_were_loaded(void **state)
{
    set_text_mode();
    vga.memory[('A' * 32 + 3) * 4 + 2] = 0x81; /* line 3 of the character: its two outer dots */
    vga_window_write(&vga, TEXT_WINDOW + 2 * 81, 'A');
    vga_window_write(&vga, TEXT_WINDOW + 2 * 81 + 1, 0x1e);
    display_refresh(display);
    assert_int_equal(display->width, 720);
    assert_int_equal(display->height, 400);
    assert_int_equal(pixel(9, 16 + 3), color(0xe));
    assert_int_equal(pixel(10, 16 + 3), color(1));
    assert_int_equal(pixel(16, 16 + 3), color(0xe));
    assert_int_equal(pixel(17, 16 + 3), color(1)); /* the ninth dot */
    assert_int_equal(pixel(9, 16 + 4), color(1));
    assert_int_equal(vga_window_read(&vga, TEXT_WINDOW + 2 * 81), 'A');
}

static void only_what_changed_is_damage(void **state)
{
    set_text_mode();
    display_refresh(display);
    damaged = 0;
    display_refresh(display);
    assert_int_equal(damaged, 0);
    vga_window_write(&vga, TEXT_WINDOW + 2 * (80 * 2 + 5) + 1, 0x70);
    display_refresh(display);
    assert_int_equal(damaged, 1);
    assert_int_equal(damage.x, 45);
    assert_int_equal(damage.y, 32);
    assert_int_equal(damage.width, 9);
    assert_int_equal(damage.height, 16);
}

static void the_cursor_is_a_block_of_lines(void **state)
{
    set_text_mode();
    vga_window_write(&vga, TEXT_WINDOW + 1, 0x07);
    out(0x3d4, 0xa, 14);
    out(0x3d4, 0xb, 15);
    display_refresh(display);
    assert_int_equal(pixel(0, 13), color(0));
    assert_int_equal(pixel(0, 14), color(7));
    assert_int_equal(pixel(8, 15), color(7));
}

static void write_modes_of_planes_work_bit_by_bit(void **state)
{
    out(0x3c4, 4, 0x06);
    out(0x3c4, 2, 0x0f);
    out(0x3ce, 6, 0x05); /* 64 KiB from 0xa0000 */
    out(0x3ce, 8, 0xff);
    vga_window_write(&vga, 5, 0xa5);
    assert_memory_equal(vga.memory + 20, "\xa5\xa5\xa5\xa5", 4);
    out(0x3c4, 2, 0x05);
    vga_window_write(&vga, 5, 0xff);
    assert_memory_equal(vga.memory + 20, "\xff\xa5\xff\xa5", 4);

    out(0x3c4, 2, 0x0f); /* mode 2: a colour where the bit mask is */
    out(0x3ce, 5, 0x02);
    out(0x3ce, 8, 0x0f);
    vga_window_read(&vga, 5);
    vga_window_write(&vga, 5, 0x2);
    assert_memory_equal(vga.memory + 20, "\xf0\xaf\xf0\xa0", 4);

    out(0x3ce, 5, 0x01); /* mode 1: the latches */
    vga_window_read(&vga, 5);
    vga_window_write(&vga, 6, 0);
    assert_memory_equal(vga.memory + 24, "\xf0\xaf\xf0\xa0", 4);

    out(0x3ce, 5, 0x03); /* mode 3: set/reset where the byte and the bit mask are */
    out(0x3ce, 0, 0x01);
    out(0x3ce, 8, 0xff);
    vga_window_read(&vga, 7);
    vga_window_write(&vga, 7, 0x3c);
    assert_memory_equal(vga.memory + 28, "\x3c\0\0\0", 4);

    out(0x3ce, 5, 0x08); /* read mode 1: which pixels have the colour */
    out(0x3ce, 2, 0x01);
    out(0x3ce, 7, 0x0f);
    assert_int_equal(vga_window_read(&vga, 7), 0x3c);
}

static void words_of_the_retrace_register_end_waiting(void **state)
{
    vga_port_write(&vga, 0x3c2, 1);
    uint8_t first = vga_port_read(&vga, 0x3da), second = vga_port_read(&vga, 0x3da);
    assert_int_equal((first ^ second) & 0x09, 0x09);
    assert_int_equal(vga_port_read(&vga, 0x3ba), 0xff); /* that is the other monitor's */
}

static void mode_13h_has_256_colors_in_a_row(void **state)
{
    static const uint8_t sequencer[] = {3, 1, 15, 0, 14};
    static const uint8_t crtc[25] = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0,
                                     0x41, 0x20, 0,    0,    0,    0,    0,    0x9c, 0x8e,
                                     0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff};
    static const uint8_t graphics[] = {0, 0, 0, 0, 0, 0x40, 0x05, 15, 0xff};
    set_mode(0x63, sequencer, crtc, graphics, 0x41);
    vga_window_write(&vga, 320 * 10 + 7, 33);
    display_refresh(display);
    assert_int_equal(display->width, 320);
    assert_int_equal(display->height, 200);
    assert_int_equal(pixel(7, 10), color(33));
    assert_int_equal(pixel(8, 10), color(0));
}

static void mode_12h_has_four_planes(void **state)
{
    static const uint8_t sequencer[] = {3, 1, 15, 0, 6};
    static const uint8_t crtc[25] = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0,
                                     0x40, 0x20, 0,    0,    0,    0,    0,    0xea, 0x8c,
                                     0xdf, 0x28, 0,    0xe7, 0x04, 0xe3, 0xff};
    static const uint8_t graphics[] = {0, 0, 0, 0, 0, 0, 0x05, 15, 0xff};
    set_mode(0xe3, sequencer, crtc, graphics, 0x01);
    out(0x3c4, 2, 0x09);
    vga_window_write(&vga, 80 * 100 + 1, 0x80);
    display_refresh(display);
    assert_int_equal(display->width, 640);
    assert_int_equal(display->height, 480);
    assert_int_equal(pixel(8, 100), color(9));
    assert_int_equal(pixel(9, 100), color(0));
}

static void set_linear(uint16_t width, uint16_t height, uint16_t bpp)
{
    vga_dispi_write(&vga, DISPI_ENABLE, 0);
    vga_dispi_write(&vga, DISPI_XRES, width);
    vga_dispi_write(&vga, DISPI_YRES, height);
    vga_dispi_write(&vga, DISPI_BPP, bpp);
    vga_dispi_write(&vga, DISPI_ENABLE, DISPI_ENABLED | DISPI_LFB);
}

static void the_vbe_interface_tells_what_it_can(void **state)
{
    assert_int_equal(vga_dispi_read(&vga, DISPI_ID), 0xb0c5);
    assert_int_equal(vga_dispi_read(&vga, DISPI_MEMORY), 64);
    vga_dispi_write(&vga, DISPI_ENABLE, DISPI_GETCAPS);
    assert_int_equal(vga_dispi_read(&vga, DISPI_XRES), VGA_WIDTH_MAX);
    assert_int_equal(vga_dispi_read(&vga, DISPI_BPP), 32);
    vga_dispi_write(&vga, DISPI_ENABLE, 0);
    assert_int_equal(vga_dispi_read(&vga, DISPI_XRES), 0);
    assert_int_equal(vga_dispi_read(&vga, 99), 0);
}

static void linear_modes_show_pixels_of_every_width(void **state)
{
    set_linear(800, 600, 32);
    store_le(vga.memory + 4 * (800 * 2 + 3), 0x123456, 4);
    display_refresh(display);
    assert_int_equal(pixel(3, 2), 0x123456);
    set_linear(800, 600, 16);
    store_le(vga.memory + 2 * (800 * 2 + 3), 0xf81f, 2);
    display_refresh(display);
    assert_int_equal(pixel(3, 2), 0xff00ff);
    set_linear(640, 480, 24);
    store_le(vga.memory + 3 * (640 * 2 + 3), 0x0a0b0c, 3);
    display_refresh(display);
    assert_int_equal(display->width, 640);
    assert_int_equal(pixel(3, 2), 0x0a0b0c);
}

static void of_a_linear_mode_only_written_pages_are_looked_at(void **state)
{
    uint64_t pages[MEMORY_SIZE / 4096 / 64] = {0};
    set_linear(1024, 768, 32);
    display_refresh(display);
    store_le(vga.memory + 4096 * 10, 0xff, 4);
    store_le(vga.memory + 4096 * 20, 0xff, 4);
    pages[0] = BIT(20);
    dirty = pages;
    display_refresh(display);
    assert_int_equal(pixel(0, 20), 0xff);
    assert_int_equal(pixel(0, 10), 0);
}

static void a_bank_of_the_window_is_a_part_of_the_frame_buffer(void **state)
{
    set_linear(640, 480, 32);
    vga_dispi_write(&vga, DISPI_BANK, 3);
    vga_window_write(&vga, 5, 0x77);
    assert_int_equal(vga.memory[3 * 65536 + 5], 0x77);
    assert_int_equal(vga_window_read(&vga, 0x10005), 0xff);
}

static void a_mode_larger_than_the_memory_wraps_within_it(void **state)
{
    set_linear(4096, 4096, 32);
    vga_dispi_write(&vga, DISPI_VIRT_WIDTH, 0xffff);
    vga_dispi_write(&vga, DISPI_X_OFFSET, 0xffff);
    vga_dispi_write(&vga, DISPI_Y_OFFSET, 0xffff);
    display_refresh(display);
    assert_int_equal(display->width, 4096);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void a_png_has_the_pixels_and_right_checksums(void **state)
{
    enum { W = 331, H = 57 };
    static uint32_t pixels[W * H];
    for (unsigned i = 0; i < W * H; i++)
        pixels[i] = i % 7 < 5 ? 0x102030 : (uint32_t)(i * 2654435761U) & 0xffffff;
    size_t size;
    uint8_t *file = picture_write(PICTURE_PNG, W, H, pixels, &size);
    uint8_t lines[H][3 * W + 1];
    uLongf len = sizeof(lines);
    for (size_t at = 8; at < size;) {
        uint32_t chunk = be32(file + at);
        assert_int_equal(be32(file + at + 8 + chunk), crc32(0, file + at + 4, chunk + 4));
        if (memcmp(file + at + 4, "IDAT", 4) == 0)
            assert_int_equal(uncompress(&lines[0][0], &len, file + at + 8, chunk), Z_OK);
        at += chunk + 12;
    }
    assert_int_equal(len, sizeof(lines));
    for (unsigned y = 0; y < H; y++) {
        assert_int_equal(lines[y][0], 2);
        for (unsigned i = 1; y && i <= 3 * W; i++)
            lines[y][i] = (uint8_t)(lines[y][i] + lines[y - 1][i]);
        for (unsigned x = 0; x < W; x++) {
            const uint8_t *p = &lines[y][1 + 3 * x];
            assert_int_equal((uint32_t)p[0] << 16 | p[1] << 8 | p[2], pixels[y * W + x]);
        }
    }
    free(file);
}

static void an_edid_is_whole(void **state)
{
    uint8_t edid[128], sum = 0;
    vga_make_edid(edid, 1280, 800);
    for (unsigned i = 0; i < sizeof(edid); i++)
        sum = (uint8_t)(sum + edid[i]);
    assert_int_equal(sum, 0);
    assert_int_equal(edid[56] | (edid[58] & 0xf0) << 4, 1280);
    assert_int_equal(edid[59] | (edid[61] & 0xf0) << 4, 800);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_is_drawn_with_the_characters_that_were_loaded),
        TEST(only_what_changed_is_damage),
        TEST(the_cursor_is_a_block_of_lines),
        TEST(write_modes_of_planes_work_bit_by_bit),
        TEST(words_of_the_retrace_register_end_waiting),
        TEST(mode_13h_has_256_colors_in_a_row),
        TEST(mode_12h_has_four_planes),
        TEST(the_vbe_interface_tells_what_it_can),
        TEST(linear_modes_show_pixels_of_every_width),
        TEST(of_a_linear_mode_only_written_pages_are_looked_at),
        TEST(a_bank_of_the_window_is_a_part_of_the_frame_buffer),
        TEST(a_mode_larger_than_the_memory_wraps_within_it),
        TEST(a_png_has_the_pixels_and_right_checksums),
        TEST(an_edid_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
