/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rings in order, requests that are not: each row sends one kind of nonsense to
 * one kind of device, which must answer with an error or ask for a reset, and
 * work after one.
 */
#include "health.h"

static uint8_t out[8192] __attribute__((aligned(4096)));
static uint8_t in[8192] __attribute__((aligned(4096)));
static uint8_t status;

static void desc(struct vdev *dev, unsigned q, unsigned i, void *p, uint32_t len, uint16_t flags)
{
    dev->ring[q].desc[i] = (struct desc){(uint64_t)(uintptr_t)p, len, flags, (uint16_t)(i + 1)};
}

static void start(struct vdev *dev, uint64_t features)
{
    vdev_reset(dev);
    vdev_negotiate(dev, features | 1ull << 32);
    unsigned count = read16(dev->common + CFG_NUM_QUEUES);
    for (unsigned q = 0; q < count && q < VDEV_QUEUES; q++)
        vdev_enable_queue(dev, q);
    vdev_driver_ok(dev);
    memset(out, 0, sizeof(out));
    memset(in, 0, sizeof(in));
    status = 0xee;
}

/* One request; true when the device gave it back or asked for a reset. */
static bool send(struct vdev *dev, unsigned q)
{
    volatile uint16_t *used = &dev->ring[q].used.idx;
    uint16_t before = *used;
    vdev_offer(dev, q, 0);
    for (unsigned n = 0; n < 50 * WAIT_US; n += 10) {
        if (*used != before || (vdev_status(dev) & STATUS_NEEDS_RESET))
            return true;
        pause_us(10);
    }
    return false;
}

/* blk (5.2.6) */

static void blk_header(uint32_t type, uint64_t sector)
{
    *(uint32_t *)out = type;
    *(uint64_t *)(out + 8) = sector;
}

/* Header, len bytes of data in the given direction, status. True when it was refused. */
static bool blk_request(struct vdev *dev, uint32_t type, uint64_t sector, void *p, uint32_t len,
                        uint16_t direction)
{
    blk_header(type, sector);
    desc(dev, 0, 0, out, 16, DESC_NEXT);
    if (p) {
        desc(dev, 0, 1, p, len, (uint16_t)(DESC_NEXT | direction));
        desc(dev, 0, 2, &status, 1, DESC_WRITE);
    } else {
        desc(dev, 0, 1, &status, 1, DESC_WRITE);
    }
    return send(dev, 0) && status != 0;
}

static bool blk_unknown_type(struct vdev *dev)
{
    return blk_request(dev, 0x7fffffff, 0, in, 512, DESC_WRITE) && status == 2;
}

static bool blk_beyond_the_end(struct vdev *dev)
{
    return blk_request(dev, 0, 1ull << 40, in, 512, DESC_WRITE);
}

static bool blk_sector_overflows(struct vdev *dev)
{
    return blk_request(dev, 0, UINT64_MAX, in, 512, DESC_WRITE);
}

static bool blk_sector_times_512_overflows(struct vdev *dev)
{
    return blk_request(dev, 1, 1ull << 55, out, 512, 0);
}

static bool blk_across_the_end(struct vdev *dev)
{
    uint64_t capacity = read64(dev->config);
    return blk_request(dev, 0, capacity - 1, in, 1024, DESC_WRITE);
}

static bool blk_odd_length(struct vdev *dev)
{
    return blk_request(dev, 0, 0, in, 513, DESC_WRITE);
}

/* A buffer of the wrong direction is no data: nothing may be read or written through it. */
static bool blk_read_into_a_readable_buffer(struct vdev *dev)
{
    memset(out + 4096, 0x77, 512);
    blk_request(dev, 0, 0, out + 4096, 512, 0);
    return status != 0xee && out[4096] == 0x77 && out[4607] == 0x77;
}

static bool blk_write_from_a_writable_buffer(struct vdev *dev)
{
    memset(in, 0x77, 512);
    blk_request(dev, 1, 0, in, 512, DESC_WRITE);
    bool answered = status != 0xee;
    start(dev, 0);
    blk_request(dev, 0, 0, in, 512, DESC_WRITE);
    return answered && in[511] != 0x77;
}

static bool blk_header_too_short(struct vdev *dev)
{
    desc(dev, 0, 0, out, 15, DESC_NEXT);
    desc(dev, 0, 1, &status, 1, DESC_WRITE);
    return send(dev, 0);
}

static bool blk_no_status_byte(struct vdev *dev)
{
    desc(dev, 0, 0, out, 16, 0);
    return send(dev, 0);
}

static bool blk_nothing_readable(struct vdev *dev)
{
    desc(dev, 0, 0, in, 512, DESC_WRITE);
    return send(dev, 0);
}

static bool blk_status_of_no_length(struct vdev *dev)
{
    desc(dev, 0, 0, out, 16, DESC_NEXT);
    desc(dev, 0, 1, &status, 0, DESC_WRITE);
    return send(dev, 0);
}

static bool blk_discard_beyond_the_end(struct vdev *dev)
{
    start(dev, 1ull << 13);
    *(uint64_t *)(out + 4096) = UINT64_MAX - 4;
    *(uint32_t *)(out + 4104) = UINT32_MAX;
    return blk_request(dev, 11, 0, out + 4096, 16, 0);
}

static bool blk_discard_of_odd_size(struct vdev *dev)
{
    start(dev, 1ull << 13);
    return blk_request(dev, 11, 0, out + 4096, 17, 0);
}

static bool blk_discard_with_unknown_flags(struct vdev *dev)
{
    start(dev, 1ull << 13);
    *(uint32_t *)(out + 4104) = 8;
    *(uint32_t *)(out + 4108) = 0xfffffffe;
    return blk_request(dev, 11, 0, out + 4096, 16, 0);
}

static bool blk_write_zeroes_of_4_gib(struct vdev *dev)
{
    start(dev, 1ull << 14);
    *(uint32_t *)(out + 4104) = UINT32_MAX;
    return blk_request(dev, 13, 0, out + 4096, 16, 0);
}

static bool blk_write_zeroes_without_segments(struct vdev *dev)
{
    start(dev, 1ull << 14);
    return blk_request(dev, 13, 0, NULL, 0, 0);
}

static bool blk_id_into_a_short_buffer(struct vdev *dev)
{
    blk_request(dev, 8, 0, in, 3, DESC_WRITE);
    return true;
}

static bool blk_a_full_ring_of_nonsense(struct vdev *dev)
{
    blk_header(99, 99);
    for (unsigned i = 0; i < RING_SIZE; i++) {
        desc(dev, 0, i, i % 2 ? in : out, 16 + i, (uint16_t)(i % 2 ? DESC_WRITE : 0));
        dev->ring[0].avail.ring[i] = (uint16_t)i;
    }
    barrier();
    *(volatile uint16_t *)&dev->ring[0].avail.idx = RING_SIZE;
    vdev_kick(dev, 0);
    vdev_wait_needs_reset(dev, WAIT_US);
    return true;
}

/* net (5.1.6) */

static bool net_header_too_short(struct vdev *dev)
{
    desc(dev, 1, 0, out, 11, 0);
    return send(dev, 1);
}

static bool net_header_alone(struct vdev *dev)
{
    desc(dev, 1, 0, out, 12, 0);
    return send(dev, 1);
}

static bool net_frame_of_a_megabyte(struct vdev *dev)
{
    for (unsigned i = 0; i < RING_SIZE; i++)
        desc(dev, 1, i, (void *)0x200000, 65536, (uint16_t)(i + 1 < RING_SIZE ? DESC_NEXT : 0));
    return send(dev, 1);
}

static bool net_writable_buffer_to_transmit(struct vdev *dev)
{
    desc(dev, 1, 0, in, 512, DESC_WRITE);
    return send(dev, 1);
}

static bool net_impossible_offload(struct vdev *dev)
{
    out[0] = 0xff; /* flags */
    out[1] = 0xff; /* GSO type */
    memset(out + 2, 0xff, 10);
    desc(dev, 1, 0, out, 12 + 60, 0);
    return send(dev, 1);
}

static bool net_receive_buffers_of_no_use(struct vdev *dev)
{
    desc(dev, 0, 0, in, 1, DESC_WRITE);
    desc(dev, 0, 1, out, 2048, 0);
    desc(dev, 0, 2, in, 0, DESC_WRITE);
    for (uint16_t i = 0; i < 3; i++)
        vdev_offer(dev, 0, i);
    vdev_wait_needs_reset(dev, WAIT_US);
    return true;
}

static bool net_control_nonsense(struct vdev *dev)
{
    start(dev, 1ull << 17); /* CTRL_VQ: the control queue is queue 2 */
    for (unsigned class = 0; class < 8; class ++) {
        out[0] = (uint8_t) class;
        out[1] = 0xff;
        desc(dev, 2, 0, out, 2 + class * 7, DESC_NEXT);
        desc(dev, 2, 1, &status, 1, DESC_WRITE);
        if (!send(dev, 2))
            return false;
    }
    return status != 0;
}

static bool net_control_filter_table_too_long(struct vdev *dev)
{
    start(dev, 1ull << 17 | 1ull << 18);
    out[0] = 1; /* MAC table */
    *(uint32_t *)(out + 2) = UINT32_MAX;
    desc(dev, 2, 0, out, 64, DESC_NEXT);
    desc(dev, 2, 1, &status, 1, DESC_WRITE);
    return send(dev, 2) && status != 0;
}

static bool net_control_queue_pairs_out_of_range(struct vdev *dev)
{
    start(dev, 1ull << 17 | 1ull << 22);
    out[0] = 4;
    *(uint16_t *)(out + 2) = 0xffff;
    desc(dev, 2, 0, out, 4, DESC_NEXT);
    desc(dev, 2, 1, &status, 1, DESC_WRITE);
    /* Without multi-queue offered the features are refused and nothing comes back. */
    return !(vdev_status(dev) & STATUS_DRIVER_OK) || send(dev, 2) || true;
}

/* console (5.3.6) */

static bool console_control_nonsense(struct vdev *dev)
{
    start(dev, 2); /* MULTIPORT: the control queues are 2 and 3 */
    for (unsigned i = 0; i < 20; i++) {
        *(uint32_t *)out = i % 3 ? 0xffffffff : i;
        *(uint16_t *)(out + 4) = (uint16_t)(i * 37);
        *(uint16_t *)(out + 6) = 0xffff;
        desc(dev, 3, 0, out, i % 2 ? 8 : 3, 0);
        if (!send(dev, 3))
            return false;
    }
    return true;
}

static bool console_control_flood_without_reading(struct vdev *dev)
{
    start(dev, 2);
    for (unsigned i = 0; i < 300; i++) {
        *(uint32_t *)out = 0;
        *(uint16_t *)(out + 4) = 0; /* DEVICE_READY, again and again */
        *(uint16_t *)(out + 6) = 1;
        desc(dev, 3, 0, out, 8, 0);
        if (!send(dev, 3))
            return false;
    }
    return true;
}

static bool console_writable_buffer_to_transmit(struct vdev *dev)
{
    desc(dev, 1, 0, in, 512, DESC_WRITE);
    return send(dev, 1);
}

static bool console_readable_buffer_to_receive(struct vdev *dev)
{
    desc(dev, 0, 0, out, 512, 0);
    vdev_offer(dev, 0, 0);
    return true;
}

/* balloon (5.5.6) */

static bool balloon_pages_outside_memory(struct vdev *dev)
{
    for (unsigned i = 0; i < 1024; i++)
        ((uint32_t *)out)[i] = 0xffffffff - i * 4097;
    desc(dev, 0, 0, out, 4096, 0);
    return send(dev, 0);
}

static bool balloon_odd_list(struct vdev *dev)
{
    desc(dev, 0, 0, out, 7, 0);
    return send(dev, 0);
}

static bool balloon_deflate_never_inflated(struct vdev *dev)
{
    for (unsigned i = 0; i < 1024; i++)
        ((uint32_t *)out)[i] = i;
    desc(dev, 1, 0, out, 4096, 0);
    return send(dev, 1);
}

static bool balloon_same_page_a_thousand_times(struct vdev *dev)
{
    for (unsigned i = 0; i < 1024; i++)
        ((uint32_t *)out)[i] = 0x300;
    desc(dev, 0, 0, out, 4096, 0);
    return send(dev, 0);
}

static bool balloon_writable_list(struct vdev *dev)
{
    desc(dev, 0, 0, in, 64, DESC_WRITE);
    return send(dev, 0);
}

static bool balloon_statistics_nonsense(struct vdev *dev)
{
    start(dev, 2); /* STATS_VQ: queue 2 */
    memset(out, 0xff, sizeof(out));
    desc(dev, 2, 0, out, 8192, 0);
    vdev_offer(dev, 2, 0);
    desc(dev, 2, 1, out, 3, 0);
    vdev_offer(dev, 2, 1);
    vdev_wait_used(dev, 2, 1, WAIT_US);
    return true;
}

static bool balloon_reports_what_is_not_memory(struct vdev *dev)
{
    start(dev, 1ull << 5); /* REPORTING, without statistics and hinting: queue 2 */
    desc(dev, 2, 0, (void *)0x7000000000, 2 << 20, DESC_WRITE);
    vdev_offer(dev, 2, 0);
    vdev_wait_needs_reset(dev, WAIT_US);
    return true;
}

/* rng (5.4.6) */

static bool rng_readable_buffer(struct vdev *dev)
{
    desc(dev, 0, 0, out, 64, 0);
    return send(dev, 0);
}

static bool rng_buffer_of_no_length(struct vdev *dev)
{
    desc(dev, 0, 0, in, 0, DESC_WRITE);
    return send(dev, 0);
}

static bool rng_sixteen_megabytes(struct vdev *dev)
{
    for (unsigned i = 0; i < RING_SIZE; i++)
        desc(dev, 0, i, (void *)0x200000, 1 << 20,
             (uint16_t)(DESC_WRITE | (i + 1 < RING_SIZE ? DESC_NEXT : 0)));
    return send(dev, 0);
}

/* input (5.8) */

static bool input_buffers_that_are_too_short(struct vdev *dev)
{
    desc(dev, 0, 0, in, 7, DESC_WRITE);
    vdev_offer(dev, 0, 0);
    desc(dev, 1, 0, out, 3, 0);
    return send(dev, 1);
}

static bool input_buffers_of_the_wrong_direction(struct vdev *dev)
{
    desc(dev, 0, 0, out, 8, 0);
    vdev_offer(dev, 0, 0);
    desc(dev, 1, 0, in, 8, DESC_WRITE);
    return send(dev, 1);
}

static bool input_lights_that_are_not_there(struct vdev *dev)
{
    for (unsigned i = 0; i < 40; i++) {
        *(uint16_t *)out = (uint16_t)(i % 3 ? 0x11 : i * 1000); /* EV_LED */
        *(uint16_t *)(out + 2) = (uint16_t)(i * 2003);
        *(uint32_t *)(out + 4) = 0xffffffff;
        desc(dev, 1, 0, out, 8, 0);
        if (!send(dev, 1))
            return false;
    }
    return true;
}

static bool input_every_selector(struct vdev *dev)
{
    uint64_t sum = 0;
    for (unsigned select = 0; select < 0x20; select++) {
        for (unsigned subsel = 0; subsel < 256; subsel += 15) {
            write8(dev->config, (uint8_t)select);
            write8(dev->config + 1, (uint8_t)subsel);
            sum += read8(dev->config + 2) + read64(dev->config + 128) + read64(dev->config + 1024);
        }
    }
    write64(dev->config + 130, UINT64_MAX);
    return sum;
}

/* vsock (5.10.6) */

static bool vsock_send(struct vdev *dev, uint16_t op, uint32_t len, uint32_t bytes)
{
    *(uint64_t *)out = 3;
    *(uint64_t *)(out + 8) = 2;
    *(uint32_t *)(out + 16) = 1000;
    *(uint32_t *)(out + 20) = 1;
    *(uint32_t *)(out + 24) = len;
    *(uint16_t *)(out + 28) = 1;
    *(uint16_t *)(out + 30) = op;
    desc(dev, 1, 0, out, bytes, 0);
    return send(dev, 1);
}

static bool vsock_every_operation(struct vdev *dev)
{
    for (unsigned op = 0; op < 16; op++) {
        if (!vsock_send(dev, (uint16_t)op, 0, 44))
            return false;
    }
    return vsock_send(dev, 0xffff, 0, 44);
}

static bool vsock_length_beyond_the_buffer(struct vdev *dev)
{
    return vsock_send(dev, 5, UINT32_MAX, 44) && vsock_send(dev, 5, 4096, 45);
}

static bool vsock_header_too_short(struct vdev *dev)
{
    return vsock_send(dev, 1, 0, 43);
}

static bool vsock_foreign_source(struct vdev *dev)
{
    *(uint64_t *)out = 2;
    *(uint64_t *)(out + 8) = 99;
    *(uint16_t *)(out + 28) = 77;
    *(uint16_t *)(out + 30) = 1;
    desc(dev, 1, 0, out, 44, 0);
    return send(dev, 1);
}

static bool vsock_connects_without_receive_buffers(struct vdev *dev)
{
    for (unsigned i = 0; i < 600; i++) {
        if (!vsock_send(dev, 1, 0, 44))
            return true; /* it may stop taking requests until it can answer */
    }
    return true;
}

static bool vsock_data_without_connection(struct vdev *dev)
{
    return vsock_send(dev, 5, 1000, 1044);
}

static bool vsock_receive_buffer_too_small(struct vdev *dev)
{
    desc(dev, 0, 0, in, 10, DESC_WRITE);
    vdev_offer(dev, 0, 0);
    vsock_send(dev, 1, 0, 44);
    return true;
}

static const struct {
    uint16_t type;
    const char *what;
    bool (*misuse)(struct vdev *dev);
} rows[] = {
    {VIRTIO_BLK, "unknown request type", blk_unknown_type},
    {VIRTIO_BLK, "read beyond the end", blk_beyond_the_end},
    {VIRTIO_BLK, "sector that overflows", blk_sector_overflows},
    {VIRTIO_BLK, "sector whose byte offset overflows", blk_sector_times_512_overflows},
    {VIRTIO_BLK, "read across the end", blk_across_the_end},
    {VIRTIO_BLK, "length that is no multiple of 512", blk_odd_length},
    {VIRTIO_BLK, "read into a readable buffer", blk_read_into_a_readable_buffer},
    {VIRTIO_BLK, "write from a writable buffer", blk_write_from_a_writable_buffer},
    {VIRTIO_BLK, "header too short", blk_header_too_short},
    {VIRTIO_BLK, "no status byte", blk_no_status_byte},
    {VIRTIO_BLK, "nothing readable", blk_nothing_readable},
    {VIRTIO_BLK, "status of no length", blk_status_of_no_length},
    {VIRTIO_BLK, "discard beyond the end", blk_discard_beyond_the_end},
    {VIRTIO_BLK, "discard segment of odd size", blk_discard_of_odd_size},
    {VIRTIO_BLK, "discard with unknown flags", blk_discard_with_unknown_flags},
    {VIRTIO_BLK, "write zeroes beyond the end", blk_write_zeroes_of_4_gib},
    {VIRTIO_BLK, "write zeroes without segments", blk_write_zeroes_without_segments},
    {VIRTIO_BLK, "serial number into a short buffer", blk_id_into_a_short_buffer},
    {VIRTIO_BLK, "a full ring of nonsense", blk_a_full_ring_of_nonsense},
    {VIRTIO_NET, "header too short", net_header_too_short},
    {VIRTIO_NET, "header alone", net_header_alone},
    {VIRTIO_NET, "frame of a megabyte", net_frame_of_a_megabyte},
    {VIRTIO_NET, "writable buffer to transmit", net_writable_buffer_to_transmit},
    {VIRTIO_NET, "impossible offload", net_impossible_offload},
    {VIRTIO_NET, "receive buffers of no use", net_receive_buffers_of_no_use},
    {VIRTIO_NET, "control commands of nonsense", net_control_nonsense},
    {VIRTIO_NET, "control filter table too long", net_control_filter_table_too_long},
    {VIRTIO_NET, "control queue pairs out of range", net_control_queue_pairs_out_of_range},
    {VIRTIO_CONSOLE, "control messages of nonsense", console_control_nonsense},
    {VIRTIO_CONSOLE, "control flood without reading", console_control_flood_without_reading},
    {VIRTIO_CONSOLE, "writable buffer to transmit", console_writable_buffer_to_transmit},
    {VIRTIO_CONSOLE, "readable buffer to receive", console_readable_buffer_to_receive},
    {VIRTIO_BALLOON, "pages outside memory", balloon_pages_outside_memory},
    {VIRTIO_BALLOON, "list of odd length", balloon_odd_list},
    {VIRTIO_BALLOON, "deflate of what was never inflated", balloon_deflate_never_inflated},
    {VIRTIO_BALLOON, "the same page a thousand times", balloon_same_page_a_thousand_times},
    {VIRTIO_BALLOON, "list in a writable buffer", balloon_writable_list},
    {VIRTIO_BALLOON, "statistics of nonsense", balloon_statistics_nonsense},
    {VIRTIO_BALLOON, "free pages that are not memory", balloon_reports_what_is_not_memory},
    {VIRTIO_RNG, "readable buffer", rng_readable_buffer},
    {VIRTIO_RNG, "buffer of no length", rng_buffer_of_no_length},
    {VIRTIO_RNG, "sixteen megabytes at once", rng_sixteen_megabytes},
    {VIRTIO_INPUT, "buffers that are too short", input_buffers_that_are_too_short},
    {VIRTIO_INPUT, "buffers of the wrong direction", input_buffers_of_the_wrong_direction},
    {VIRTIO_INPUT, "lights that are not there", input_lights_that_are_not_there},
    {VIRTIO_INPUT, "every selector", input_every_selector},
    {VIRTIO_VSOCK, "every operation without a connection", vsock_every_operation},
    {VIRTIO_VSOCK, "length beyond the buffer", vsock_length_beyond_the_buffer},
    {VIRTIO_VSOCK, "header too short", vsock_header_too_short},
    {VIRTIO_VSOCK, "foreign source, socket type unknown", vsock_foreign_source},
    {VIRTIO_VSOCK, "connects without receive buffers", vsock_connects_without_receive_buffers},
    {VIRTIO_VSOCK, "data without a connection", vsock_data_without_connection},
    {VIRTIO_VSOCK, "receive buffer too small", vsock_receive_buffer_too_small},
};

void payload_main(void)
{
    struct vdev dev;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!vdev_find(&dev, rows[i].type, 0)) {
            result(rows[i].what, false, "the device is not there");
            continue;
        }
        start(&dev, 0);
        if (rows[i].misuse(&dev))
            check_recovers(&dev, rows[i].what);
        else
            result(rows[i].what, false, "neither refused nor a reset asked for");
    }
    finish();
}
