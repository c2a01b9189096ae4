/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-gpu as a guest's driver and viewers of its screen see it. */
#include <linux/virtio_gpu.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "unit.h"
#include "virtio_guest.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/gpu.h"

#define CONFIG VIRTIO_PCI_DEVICE
#define REQUEST VIRTIO_GUEST_DATA
#define ANSWER (VIRTIO_GUEST_DATA + 0x10000)
#define PIXELS (VIRTIO_GUEST_DATA + 0x20000)
#define WIDTH 64u
#define HEIGHT 48u

static struct virtio_guest g;
static struct machine machine; /* for the display alone */
static struct virtio_device *dev;
static struct display *display;
static unsigned damaged, resized, stirred;
static struct display_rect damage; /* the last */

static void on_damage(void *opaque, const struct display_rect *rect)
{
    damaged++;
    damage = *rect;
}

static void on_resize(void *opaque)
{
    resized++;
}

static void on_stir(void *opaque)
{
    stirred++;
}

static const struct display_viewer_ops viewer_ops = {
    .damaged = on_damage, .resized = on_resize, .stirred = on_stir};

static int setup(void **state)
{
    const struct gpu_config config = {.xres = 1024, .yres = 768, .memory = MIB(16)};
    virtio_guest_init(&g);
    memset(&machine, 0, sizeof(machine));
    assert_int_equal(virtio_gpu_create(&dev, &config, &g.mem, NULL), 0);
    assert_int_equal(display_create(&machine, &virtio_gpu_display_ops, dev, NULL), 0);
    display = machine.platform.display;
    display->viewer = &viewer_ops;
    virtio_gpu_show(dev, display, &g.loop);
    virtio_guest_plug(&g, dev);
    virtio_guest_use_msix(&g);
    virtio_guest_start(&g, BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_GPU_F_EDID));
    damaged = resized = stirred = 0;
    return 0;
}

static int teardown(void **state)
{
    virtio_guest_destroy(&g);
    display_free(&machine);
    return 0;
}

/* ---------------------------------------------------------------- the driver */

static struct virtio_gpu_ctrl_hdr *answer(void)
{
    return (struct virtio_gpu_ctrl_hdr *)(g.memory + ANSWER);
}

/* Returns the answer's type; 0: there is none. */
static uint32_t send_to(unsigned queue, const void *request, uint32_t len, uint32_t room)
{
    const struct vring_buffer buffers[] = {{REQUEST, len, false}, {ANSWER, room, true}};
    uint64_t token;
    uint32_t written;
    memcpy(g.memory + REQUEST, request, len);
    memset(g.memory + ANSWER, 0, 4096);
    assert_true(vring_driver_add(&g.rings[queue], buffers, room ? 2 : 1, 0, 7));
    virtio_guest_kick(&g, queue);
    virtio_guest_run(&g);
    assert_true(vring_driver_get(&g.rings[queue], &token, &written));
    assert_true(written <= room);
    return written >= sizeof(*answer()) ? answer()->type : 0;
}

#define SEND(request) send_to(0, &(request), sizeof(request), 4096)

static uint32_t create(uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
    struct virtio_gpu_resource_create_2d request = {.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
                                                    .resource_id = id,
                                                    .format = format,
                                                    .width = width,
                                                    .height = height};
    return SEND(request);
}

/* claimed: how many pieces the command says there are. */
static uint32_t attach_claiming(uint32_t id, const struct virtio_gpu_mem_entry *entries,
                                uint32_t count, uint32_t claimed)
{
    struct {
        struct virtio_gpu_resource_attach_backing command;
        struct virtio_gpu_mem_entry entries[2];
    } request = {.command = {.hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
                             .resource_id = id,
                             .nr_entries = claimed}};
    memcpy(request.entries, entries, count * sizeof(*entries));
    return SEND(request);
}

static uint32_t attach(uint32_t id, const struct virtio_gpu_mem_entry *entries, uint32_t count)
{
    return attach_claiming(id, entries, count, count);
}

static uint32_t detach(uint32_t id)
{
    struct virtio_gpu_resource_detach_backing request = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = id};
    return SEND(request);
}

static uint32_t unref(uint32_t id)
{
    struct virtio_gpu_resource_unref request = {.hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF,
                                                .resource_id = id};
    return SEND(request);
}

static uint32_t set_scanout(uint32_t scanout, uint32_t id, struct virtio_gpu_rect rect)
{
    struct virtio_gpu_set_scanout request = {.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
                                             .r = rect,
                                             .scanout_id = scanout,
                                             .resource_id = id};
    return SEND(request);
}

static uint32_t transfer(uint32_t id, struct virtio_gpu_rect rect, uint64_t offset)
{
    struct virtio_gpu_transfer_to_host_2d request = {.hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
                                                     .r = rect,
                                                     .offset = offset,
                                                     .resource_id = id};
    return SEND(request);
}

static uint32_t flush(uint32_t id, struct virtio_gpu_rect rect)
{
    struct virtio_gpu_resource_flush request = {
        .hdr.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .r = rect, .resource_id = id};
    return SEND(request);
}

static uint32_t move_pointer(uint32_t type, uint32_t id, uint32_t hot)
{
    struct virtio_gpu_update_cursor request = {
        .hdr.type = type, .resource_id = id, .hot_x = hot, .hot_y = hot};
    return send_to(1, &request, sizeof(request), 4096);
}

static struct virtio_gpu_rect rect(uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    return (struct virtio_gpu_rect){x, y, width, height};
}

static struct virtio_gpu_rect all(void)
{
    return rect(0, 0, WIDTH, HEIGHT);
}

static uint32_t *guest_pixel(unsigned x, unsigned y)
{
    return (uint32_t *)(g.memory + PIXELS) + y * WIDTH + x;
}

static uint32_t shown_pixel(unsigned x, unsigned y)
{
    return display->pixels[y * display->width + x];
}

/* Its memory lies in two pieces, cut inside a pixel row. */
static void make_picture(uint32_t id, uint32_t format)
{
    const uint32_t size = WIDTH * HEIGHT * 4;
    const struct virtio_gpu_mem_entry entries[] = {{PIXELS, 1000}, {PIXELS + 1000, size - 1000}};
    assert_int_equal(create(id, format, WIDTH, HEIGHT), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(attach(id, entries, 2), VIRTIO_GPU_RESP_OK_NODATA);
    memset(g.memory + PIXELS, 0, size);
}

static void show(uint32_t id)
{
    assert_int_equal(set_scanout(0, id, all()), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(transfer(id, all(), 0), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(flush(id, all()), VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    damaged = 0;
}

/* As a viewer does. */
static bool want_size(unsigned width, unsigned height)
{
    return display->device->want_size(display->device_opaque, width, height);
}

/* ---------------------------------------------------------------- tests */

static void the_best_mode_is_told(void **state)
{
    struct virtio_gpu_ctrl_hdr info = {.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO};
    struct virtio_gpu_cmd_get_edid edid = {.hdr.type = VIRTIO_GPU_CMD_GET_EDID};
    const struct virtio_gpu_resp_display_info *modes = (void *)answer();
    const struct virtio_gpu_resp_edid *block = (void *)answer();
    assert_int_equal(SEND(info), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
    assert_int_equal(modes->pmodes[0].r.width, 1024);
    assert_int_equal(modes->pmodes[0].r.height, 768);
    assert_int_equal(modes->pmodes[0].enabled, 1);
    assert_int_equal(modes->pmodes[1].enabled, 0);
    assert_int_equal(SEND(edid), VIRTIO_GPU_RESP_OK_EDID);
    assert_int_equal(block->size, 128);
    assert_int_equal(block->edid[0x36 + 2] | (block->edid[0x36 + 4] & 0xf0) << 4, 1024);
    edid.scanout = 1;
    assert_int_equal(SEND(edid), VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
    assert_int_equal(virtio_guest_read(&g, CONFIG + 8, 4), 1);
    assert_int_equal(virtio_guest_read(&g, CONFIG + 12, 4), 0);
}

static void a_viewers_wish_for_a_size_reaches_the_driver(void **state)
{
    struct virtio_gpu_ctrl_hdr info = {.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO};
    const struct virtio_gpu_resp_display_info *modes = (void *)answer();
    virtio_guest_interrupts(&g, 0);
    assert_int_equal(virtio_guest_read(&g, CONFIG, 4), 0);
    assert_false(want_size(100, 100));
    assert_false(want_size(1280, 5000));
    assert_int_equal(virtio_guest_interrupts(&g, 0), 0);
    assert_true(want_size(1280, 720));
    assert_int_equal(virtio_guest_interrupts(&g, 0), 1);
    assert_int_equal(virtio_guest_read(&g, CONFIG, 4), VIRTIO_GPU_EVENT_DISPLAY);
    virtio_guest_write(&g, CONFIG, 0, 4);
    assert_int_equal(virtio_guest_read(&g, CONFIG, 4), VIRTIO_GPU_EVENT_DISPLAY);
    virtio_guest_write(&g, CONFIG + 4, VIRTIO_GPU_EVENT_DISPLAY, 4);
    assert_int_equal(virtio_guest_read(&g, CONFIG, 4), 0);
    assert_int_equal(virtio_guest_read(&g, CONFIG + 4, 4), 0);
    assert_int_equal(SEND(info), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
    assert_int_equal(modes->pmodes[0].r.width, 1280);
    assert_int_equal(modes->pmodes[0].r.height, 720);
}

static void what_is_flushed_is_seen_and_nothing_else(void **state)
{
    make_picture(5, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM);
    show(5);
    assert_int_equal(display->width, WIDTH);
    assert_int_equal(display->height, HEIGHT);
    assert_int_not_equal(resized, 0);
    assert_int_not_equal(stirred, 0);
    *guest_pixel(10, 20) = 0xff123456;
    *guest_pixel(11, 20) = 0xff123456;
    *guest_pixel(40, 40) = 0xffffffff;
    display_refresh(display);
    assert_int_equal(damaged, 0);
    assert_int_equal(transfer(5, rect(10, 20, 2, 1), (20 * WIDTH + 10) * 4),
                     VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    assert_int_equal(damaged, 0);
    assert_int_equal(flush(5, rect(8, 18, 4, 4)), VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    assert_int_equal(damaged, 1);
    assert_memory_equal(&damage, (&(struct display_rect){10, 20, 2, 1}), sizeof(damage));
    assert_int_equal(shown_pixel(11, 20), 0x123456);
    assert_int_equal(shown_pixel(40, 40), 0);
}

static void a_part_of_a_picture_can_be_the_screen(void **state)
{
    make_picture(5, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM);
    *guest_pixel(17, 30) = 0xabcdef;
    assert_int_equal(transfer(5, all(), 0), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(set_scanout(0, 5, rect(16, 16, 32, 32)), VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    assert_int_equal(display->width, 32);
    assert_int_equal(shown_pixel(1, 14), 0xabcdef);
    *guest_pixel(17, 30) = 0;
    *guest_pixel(15, 30) = 0xffffff;
    damaged = 0;
    assert_int_equal(transfer(5, all(), 0), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(flush(5, rect(0, 0, 17, HEIGHT)), VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    assert_int_equal(damaged, 0);
    assert_int_equal(flush(5, all()), VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    assert_int_equal(damaged, 1);
    assert_int_equal(shown_pixel(1, 14), 0);
}

static void formats_differ_in_the_order_of_bytes(void **state)
{
    static const struct {
        uint32_t format, pixel; /* as a little-endian word; its colour is 0x010203 */
    } rows[] = {
        {VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 0x99010203},
        {VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 0x99010203},
        {VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 0x03020199},
        {VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 0x03020199},
        {VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0x99030201},
        {VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0x99030201},
        {VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 0x01020399},
        {VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 0x01020399},
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
        make_picture(i + 1, rows[i].format);
        *guest_pixel(3, 2) = rows[i].pixel;
        show(i + 1);
        assert_int_equal(shown_pixel(3, 2), 0x010203);
        assert_int_equal(unref(i + 1), VIRTIO_GPU_RESP_OK_NODATA);
    }
    assert_int_equal(create(1, 3333, WIDTH, HEIGHT), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

static void a_screen_without_a_picture_is_black(void **state)
{
    make_picture(5, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM);
    memset(g.memory + PIXELS, 0xff, WIDTH * HEIGHT * 4);
    show(5);
    assert_int_equal(shown_pixel(63, 47), 0xffffff);
    assert_int_equal(set_scanout(0, 0, rect(0, 0, 0, 0)), VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    assert_int_equal(display->width, WIDTH);
    assert_int_equal(shown_pixel(63, 47), 0);
    show(5);
    assert_int_equal(unref(5), VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    assert_int_equal(shown_pixel(0, 0), 0);
    assert_int_equal(flush(5, all()), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

static void the_pointers_shape_is_told(void **state)
{
    uint32_t *pixels = (uint32_t *)(g.memory + PIXELS);
    const struct virtio_gpu_mem_entry entry = {PIXELS, 64 * 64 * 4};
    assert_int_equal(display->cursor.serial, 0);
    assert_int_equal(create(9, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 64, 64),
                     VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(attach(9, &entry, 1), VIRTIO_GPU_RESP_OK_NODATA);
    pixels[64] = 0x80402010;
    assert_int_equal(transfer(9, rect(0, 0, 64, 64), 0), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(move_pointer(VIRTIO_GPU_CMD_UPDATE_CURSOR, 9, 3), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(display->cursor.width, 64);
    assert_int_equal(display->cursor.hot_x, 3);
    assert_int_equal(display->cursor.argb[64], 0x807f3f1f);
    assert_int_equal(move_pointer(VIRTIO_GPU_CMD_UPDATE_CURSOR, 9, 4000),
                     VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(display->cursor.hot_y, 63);
    assert_int_equal(move_pointer(VIRTIO_GPU_CMD_MOVE_CURSOR, 0, 0), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(move_pointer(VIRTIO_GPU_CMD_UPDATE_CURSOR, 77, 0),
                     VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(display->cursor.width, 64);
    assert_int_equal(move_pointer(VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 0), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(display->cursor.width, 0);
    make_picture(5, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM);
    assert_int_equal(move_pointer(VIRTIO_GPU_CMD_UPDATE_CURSOR, 5, 0),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

static void what_resources_take_is_bounded(void **state)
{
    const struct virtio_gpu_mem_entry entry = {PIXELS, 4096};
    assert_int_equal(create(0, 1, 8, 8), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create(1, 1, 0, 8), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(create(1, 1, 16385, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(create(1, 1, 0xffffffff, 0xffffffff), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(create(1, 1, 16384, 16384), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
    assert_int_equal(create(1, 1, 2048, 2048), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(create(1, 1, 1, 1), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create(2, 1, 1, 1), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
    assert_int_equal(attach(1, &entry, 1), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
    assert_int_equal(unref(1), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(unref(1), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    for (uint32_t id = 1; id <= 1024; id++)
        assert_int_equal(create(id, 1, 1, 1), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(create(1025, 1, 1, 1), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
}

static void backing_lies_in_guest_memory(void **state)
{
    const struct virtio_gpu_mem_entry good = {PIXELS, 4096}, empty = {PIXELS, 0},
                                      outside = {VIRTIO_GUEST_MEMORY - 1, 2},
                                      wraps = {UINT64_MAX - 1, 4};
    assert_int_equal(attach(1, &good, 1), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create(1, 1, 32, 32), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(detach(2), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(transfer(1, rect(0, 0, 1, 1), 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach(1, &empty, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach(1, &outside, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach(1, &wraps, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach_claiming(1, &good, 1, 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach_claiming(1, &good, 1, 9), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach_claiming(1, &good, 1, 0xffffffff),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach(1, &good, 1), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(attach(1, &good, 1), VIRTIO_GPU_RESP_ERR_UNSPEC);
    assert_int_equal(transfer(1, rect(0, 0, 32, 32), 0), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(transfer(1, rect(0, 0, 32, 32), 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(1, rect(0, 0, 1, 1), UINT64_MAX),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(1, rect(0xffffffff, 0, 2, 1), 0),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(1, rect(0, 31, 1, 2), 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(1, rect(32, 32, 0, 0), 0), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(detach(1), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(transfer(1, rect(0, 0, 1, 1), 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach(1, &good, 1), VIRTIO_GPU_RESP_OK_NODATA);
}

static void screens_that_cannot_be_are_refused(void **state)
{
    make_picture(5, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM);
    assert_int_equal(set_scanout(1, 5, all()), VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
    assert_int_equal(set_scanout(0, 6, all()), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(set_scanout(0, 5, rect(0, 0, 0, 8)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(set_scanout(0, 5, rect(1, 0, WIDTH, 8)),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(set_scanout(0, 5, rect(0xffffff00, 0, 0x200, 8)),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(flush(5, rect(0, HEIGHT, 1, 1)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(create(6, 1, 4097, 2), VIRTIO_GPU_RESP_OK_NODATA);
    assert_int_equal(set_scanout(0, 6, rect(0, 0, 4097, 2)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(set_scanout(0, 6, rect(1, 0, 4096, 2)), VIRTIO_GPU_RESP_OK_NODATA);
    display_refresh(display);
    assert_int_equal(display->width, 4096);
}

static void fences_come_back_with_the_answer(void **state)
{
    struct virtio_gpu_ctrl_hdr info = {.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
                                       .flags = VIRTIO_GPU_FLAG_FENCE,
                                       .fence_id = 0x123456789abc,
                                       .ctx_id = 3};
    assert_int_equal(SEND(info), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
    assert_int_equal(answer()->flags, VIRTIO_GPU_FLAG_FENCE);
    assert_int_equal(answer()->fence_id, 0x123456789abc);
    assert_int_equal(answer()->ctx_id, 3);
    info.flags = 0;
    SEND(info);
    assert_int_equal(answer()->flags, 0);
    assert_int_equal(answer()->fence_id, 0);
}

static void requests_of_the_wrong_size_are_answered(void **state)
{
    struct virtio_gpu_ctrl_hdr hdr = {.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO};
    assert_int_equal(send_to(0, &hdr, sizeof(hdr) - 1, 4096),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(send_to(0, &hdr, sizeof(hdr), 100), VIRTIO_GPU_RESP_ERR_UNSPEC);
    assert_int_equal(send_to(0, &hdr, sizeof(hdr), 5), 0);
    assert_int_equal(send_to(0, &hdr, sizeof(hdr), 0), 0);
    hdr.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH;
    assert_int_equal(SEND(hdr), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    hdr.type = VIRTIO_GPU_CMD_CTX_CREATE;
    assert_int_equal(SEND(hdr), VIRTIO_GPU_RESP_ERR_UNSPEC);
    hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR;
    assert_int_equal(SEND(hdr), VIRTIO_GPU_RESP_ERR_UNSPEC);
    hdr.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO;
    assert_int_equal(send_to(1, &hdr, sizeof(hdr), 4096), VIRTIO_GPU_RESP_ERR_UNSPEC);
    assert_int_equal(SEND(hdr), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
}

static void a_reset_forgets_everything(void **state)
{
    make_picture(5, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM);
    memset(g.memory + PIXELS, 0xff, WIDTH * HEIGHT * 4);
    show(5);
    move_pointer(VIRTIO_GPU_CMD_UPDATE_CURSOR, 0, 0);
    assert_int_equal(display->cursor.serial, 1);
    virtio_guest_start(&g, 0);
    display_refresh(display);
    assert_int_equal(display->cursor.serial, 2);
    assert_int_equal(shown_pixel(0, 0), 0);
    assert_int_equal(flush(5, all()), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

static void state_is_saved_and_loaded(void **state)
{
    struct kv_error err;
    make_picture(5, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM);
    *guest_pixel(1, 1) = 0x445566;
    show(5);
    assert_true(want_size(800, 600));
    virtio_device_stop(dev);
    json_t *saved = dev->ops->save(dev);
    assert_non_null(saved);
    dev->ops->reset(dev);
    display_refresh(display);
    assert_int_equal(shown_pixel(1, 1), 0);
    assert_int_equal(dev->ops->load(dev, saved, &err), 0);
    json_t *again = dev->ops->save(dev);
    assert_true(json_equal(saved, again));
    json_decref(again);
    display_refresh(display);
    assert_int_equal(shown_pixel(1, 1), 0x445566);
    json_object_set_new(saved, "shown", json_integer(6));
    assert_int_not_equal(dev->ops->load(dev, saved, &err), 0);
    json_object_set_new(saved, "shown", json_integer(5));
    json_object_set_new(json_array_get(json_object_get(saved, "resources"), 0), "backing",
                        json_pack("[[I, i]]", (json_int_t)VIRTIO_GUEST_MEMORY, 4096));
    assert_int_not_equal(dev->ops->load(dev, saved, &err), 0);
    display_refresh(display);
    json_decref(saved);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_best_mode_is_told),
        TEST(a_viewers_wish_for_a_size_reaches_the_driver),
        TEST(what_is_flushed_is_seen_and_nothing_else),
        TEST(a_part_of_a_picture_can_be_the_screen),
        TEST(formats_differ_in_the_order_of_bytes),
        TEST(a_screen_without_a_picture_is_black),
        TEST(the_pointers_shape_is_told),
        TEST(what_resources_take_is_bounded),
        TEST(backing_lies_in_guest_memory),
        TEST(screens_that_cannot_be_are_refused),
        TEST(fences_come_back_with_the_answer),
        TEST(requests_of_the_wrong_size_are_answered),
        TEST(a_reset_forgets_everything),
        TEST(state_is_saved_and_loaded),
    };
    return cmocka_run_group_tests_name("virtio_gpu", tests, NULL, NULL);
}
