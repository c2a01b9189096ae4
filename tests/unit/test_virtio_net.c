/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net between a driver over fake memory and sockets in the place of the tap. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "device_driver.h"
#include "unit.h"
#include "vmm/virtio/net.h"

#define RX 0
#define TX 1
#define CTRL 2
#define RING 64
#define HEADER 12

static struct device_driver d;
static int host[2]; /* the other ends, by pair */
static int host_type;
static struct net_config config;

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 1, 2, 3};

static void add_host_ends(unsigned pairs)
{
    static char list[32];
    int fds[2] = {-1, -1};
    for (unsigned i = 0; i < pairs; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, host_type | SOCK_CLOEXEC, 0, pair), 0);
        fds[i] = pair[0];
        host[i] = pair[1];
    }
    if (pairs == 1) {
        config.fd = fds[0];
    } else {
        snprintf(list, sizeof(list), "%d:%d", fds[0], fds[1]);
        config.fds = list;
    }
}

static void create(unsigned pairs)
{
    struct loop *loops[] = {&d.threads[0].loop, &d.threads[1].loop};
    struct kv_error err = {0};
    add_host_ends(pairs);
    memcpy(config.mac, guest_mac, 6);
    if (net_create(&d.dev, &config, &d.mem, loops, ARRAY_SIZE(loops), &err) < 0)
        fail_msg("%s", err.message);
}

static int setup(void **state)
{
    driver_set_up(&d);
    net_config_defaults(&config);
    host[0] = host[1] = -1;
    host_type = SOCK_SEQPACKET;
    return 0;
}

static int teardown(void **state)
{
    driver_tear_down(&d);
    for (unsigned i = 0; i < 2; i++) {
        if (host[i] >= 0)
            close(host[i]);
    }
    return 0;
}

static void make_frame(uint8_t *frame, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        frame[i] = (uint8_t)(i * 31 + seed * 7 + (i >> 8));
    memcpy(frame, guest_mac, 6);
}

static void host_sends(unsigned pair, size_t len, unsigned seed)
{
    uint8_t *frame = malloc(len);
    make_frame(frame, len, seed);
    uint32_t prefix = htonl((uint32_t)len);
    if (host_type == SOCK_STREAM)
        assert_int_equal(send(host[pair], &prefix, sizeof(prefix), 0), (ssize_t)sizeof(prefix));
    assert_int_equal(send(host[pair], frame, len, 0), (ssize_t)len);
    free(frame);
}

static ssize_t host_gets(unsigned pair, void *buf, size_t len)
{
    struct pollfd p = {.fd = host[pair], .events = POLLIN};
    uint32_t prefix;
    if (host_type == SOCK_STREAM)
        return poll(&p, 1, 5000) == 1 && recv(p.fd, &prefix, 4, MSG_WAITALL) == 4 &&
                       ntohl(prefix) <= len
                   ? recv(p.fd, buf, ntohl(prefix), MSG_WAITALL)
                   : -1;
    return poll(&p, 1, 5000) == 1 ? recv(host[pair], buf, len, MSG_TRUNC) : -1;
}

/* One request of len bytes, its token being its address. */
static uint64_t add_rx(unsigned queue, uint32_t len)
{
    struct vring_buffer b = {.gpa = driver_alloc(&d, len), .len = len, .in = true};
    memset(driver_at(&d, b.gpa), 0xee, len);
    driver_add(&d, queue, &b, 1, b.gpa);
    return b.gpa;
}

static void add_tx(unsigned queue, size_t len, unsigned seed)
{
    struct vring_buffer b[2] = {{.gpa = driver_alloc(&d, HEADER), .len = HEADER},
                                {.gpa = driver_alloc(&d, len), .len = (uint32_t)len}};
    memset(driver_at(&d, b[0].gpa), 0, HEADER);
    make_frame(driver_at(&d, b[1].gpa), len, seed);
    driver_add(&d, queue, b, 2, seed);
}

static void expect_host_frame(unsigned pair, size_t len, unsigned seed)
{
    static uint8_t got[70000], want[70000];
    make_frame(want, len, seed);
    assert_int_equal(host_gets(pair, got, sizeof(got)), (ssize_t)len);
    assert_memory_equal(got, want, len);
}

/* Collects one frame, merged or not; returns its length without the header. */
static size_t guest_frame(unsigned queue, uint8_t *frame, unsigned *buffers)
{
    uint64_t token;
    uint32_t written;
    size_t len = 0;
    *buffers = 0;
    for (unsigned n = 1, i = 0; i < n; i++) {
        assert_true(driver_wait(&d, queue, &token, &written));
        const uint8_t *p = driver_at(&d, token);
        if (i == 0) {
            n = (unsigned)load_le(p + 10, 2);
            p += HEADER;
            written -= HEADER;
        }
        memcpy(frame + len, p, written);
        len += written;
        ++*buffers;
    }
    return len;
}

static void expect_guest_frame(unsigned queue, size_t len, unsigned seed, unsigned want_buffers)
{
    static uint8_t got[140000], want[70000];
    unsigned buffers;
    make_frame(want, len, seed);
    assert_int_equal(guest_frame(queue, got, &buffers), len);
    assert_int_equal(buffers, want_buffers);
    assert_memory_equal(got, want, len);
}

static void frames_go_both_ways(bool packed)
{
    create(1);
    driver_start(&d, 0, packed, 2, RING);
    for (unsigned i = 0; i < 32; i++)
        add_rx(RX, 1526);
    for (unsigned i = 0; i < 20; i++) {
        add_tx(TX, 60 + 70 * i, i);
        host_sends(0, 60 + 70 * i, i);
    }
    for (unsigned i = 0; i < 20; i++) {
        uint64_t token;
        uint32_t written;
        expect_host_frame(0, 60 + 70 * i, i);
        expect_guest_frame(RX, 60 + 70 * i, i, 1);
        assert_true(driver_wait(&d, TX, &token, &written));
        assert_int_equal(token, i);
        assert_int_equal(written, 0);
    }
    assert_true(atomic_load(&d.interrupts[RX]) > 0);
}

static void frames_go_both_ways_over_split_rings(void **state)
{
    frames_go_both_ways(false);
}

static void frames_go_both_ways_over_packed_rings(void **state)
{
    frames_go_both_ways(true);
}

static void a_frame_is_spread_over_merged_buffers(void **state)
{
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_MRG_RXBUF), false, 2, RING);
    for (unsigned i = 0; i < 16; i++)
        add_rx(RX, 1024);
    host_sends(0, 4000, 1);
    host_sends(0, 100, 2);
    host_sends(0, 1024 - HEADER, 3);
    host_sends(0, 1024 - HEADER + 1, 4);
    expect_guest_frame(RX, 4000, 1, 4);
    expect_guest_frame(RX, 100, 2, 1);
    expect_guest_frame(RX, 1024 - HEADER, 3, 1);
    expect_guest_frame(RX, 1024 - HEADER + 1, 4, 2);
}

static void a_frame_waits_until_there_are_buffers_for_all_of_it(void **state)
{
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_MRG_RXBUF), true, 2, RING);
    add_rx(RX, 1024);
    host_sends(0, 9000, 5);
    host_sends(0, 70, 6);
    assert_true(driver_nothing_comes(&d, RX));
    for (unsigned i = 0; i < 7; i++)
        add_rx(RX, 1024);
    assert_true(driver_nothing_comes(&d, RX));
    for (unsigned i = 0; i < 10; i++)
        add_rx(RX, 1024);
    expect_guest_frame(RX, 9000, 5, 9);
    expect_guest_frame(RX, 70, 6, 1);
}

static void the_largest_frames_pass(void **state)
{
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_MRG_RXBUF), false, 2, 128);
    int size = 1 << 20;
    setsockopt(host[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    for (unsigned i = 0; i < 100; i++)
        add_rx(RX, 1536);
    host_sends(0, 65535 + 14, 7);
    host_sends(0, 65535 + 14, 8);
    expect_guest_frame(RX, 65535 + 14, 7, 43);
    expect_guest_frame(RX, 65535 + 14, 8, 43);
    add_tx(TX, 65535 + 14, 9);
    expect_host_frame(0, 65535 + 14, 9);
}

static void without_merging_a_frame_too_large_for_its_buffer_is_dropped(void **state)
{
    create(1);
    driver_start(&d, 0, false, 2, RING);
    for (unsigned i = 0; i < 4; i++)
        add_rx(RX, 1526);
    host_sends(0, 3000, 1);
    host_sends(0, 200, 2);
    expect_guest_frame(RX, 200, 2, 1);
}

static void frames_wait_in_the_host_while_there_are_no_buffers(void **state)
{
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_MRG_RXBUF), false, 2, RING);
    for (unsigned i = 0; i < 5; i++)
        host_sends(0, 100 + i, i);
    assert_true(driver_nothing_comes(&d, RX));
    for (unsigned i = 0; i < 5; i++) {
        add_rx(RX, 1526);
        expect_guest_frame(RX, 100 + i, i, 1);
    }
}

static void a_full_host_end_delays_frames_and_loses_none(void **state)
{
    enum { COUNT = 600, LEN = 1000 };
    unsigned sent = 0, seen = 0;
    uint64_t token;
    uint32_t written;
    create(1);
    driver_start(&d, 0, true, 2, RING);
    uint64_t pool = d.free_gpa;
    while (seen < COUNT) {
        while (sent < COUNT && d.rings[TX].free_count >= 2) {
            d.free_gpa = pool + (sent % (2 * RING)) * 2048;
            add_tx(TX, LEN, sent++);
        }
        if (sent < COUNT && vring_driver_get(&d.rings[TX], &token, &written))
            continue;
        expect_host_frame(0, LEN, seen++);
        while (vring_driver_get(&d.rings[TX], &token, &written))
            ;
    }
}

static void frames_keep_their_borders_in_a_stream(void **state)
{
    host_type = SOCK_STREAM;
    frames_go_both_ways(false);
}

static void a_full_stream_delays_frames_and_loses_none(void **state)
{
    host_type = SOCK_STREAM;
    a_full_host_end_delays_frames_and_loses_none(state);
}

static bool link_is_down(void *opaque)
{
    const struct virtio_net_config *c = d.dev->config;
    return !(c->status & VIRTIO_NET_S_LINK_UP);
}

static void the_cable_is_unplugged_when_the_program_behind_a_stream_ends(void **state)
{
    host_type = SOCK_STREAM;
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_STATUS), false, 2, RING);
    add_rx(RX, 1526);
    host_sends(0, 100, 1);
    close(host[0]);
    host[0] = -1;
    expect_guest_frame(RX, 100, 1, 1);
    assert_true(driver_wait_for(link_is_down, NULL));
    assert_true(atomic_load(&d.config_interrupts) > 0);
    add_tx(TX, 100, 2);
    driver_reset(&d);
    driver_start(&d, BIT(VIRTIO_NET_F_STATUS), false, 2, RING);
    assert_true(link_is_down(NULL));
}

/* Bytes come as the other end likes; a length that no frame has ends it, and nothing else. */
static void a_stream_that_comes_in_pieces_or_is_nonsense_is_survived(void **state)
{
    uint8_t bytes[4 + 300] = {0, 0, 1, 44}, nonsense[4] = {0xff, 0xff, 0xff, 0xff};
    host_type = SOCK_STREAM;
    create(1);
    driver_start(&d, 0, false, 2, RING);
    add_rx(RX, 1526);
    add_rx(RX, 1526);
    make_frame(bytes + 4, 300, 5);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        assert_int_equal(send(host[0], bytes + i, 1, 0), 1);
    expect_guest_frame(RX, 300, 5, 1);
    assert_int_equal(send(host[0], nonsense, sizeof(nonsense), 0), (ssize_t)sizeof(nonsense));
    host_sends(0, 100, 6);
    add_tx(TX, 100, 7);
    expect_host_frame(0, 100, 7);
    uint64_t token;
    uint32_t written;
    assert_false(vring_driver_get(&d.rings[RX], &token, &written));
}

static void headers_alone_short_and_oversized_frames_are_dropped(void **state)
{
    uint64_t token;
    uint32_t written;
    create(1);
    driver_start(&d, 0, false, 2, RING);
    uint64_t area = driver_alloc(&d, 140000);
    static const uint32_t sizes[] = {1, 11, 12, 25, 65535 + 14 + 8 + 12 + 1, 140000};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct vring_buffer b = {.gpa = area, .len = sizes[i]};
        driver_add(&d, TX, &b, 1, i);
        assert_true(driver_wait(&d, TX, &token, &written));
        assert_int_equal(token, i);
    }
    struct vring_buffer in_only = {.gpa = area, .len = 2000, .in = true};
    driver_add(&d, TX, &in_only, 1, 99);
    assert_true(driver_wait(&d, TX, &token, &written));
    add_tx(TX, 64, 3);
    expect_host_frame(0, 64, 3);
    assert_true(driver_wait(&d, TX, &token, &written));
    json_t *metrics = json_object();
    d.dev->ops->metrics(d.dev, metrics);
    json_t *tx = json_object_get(json_array_get(json_object_get(metrics, "pairs"), 0), "tx");
    assert_int_equal(json_integer_value(json_object_get(tx, "drops")), 7);
    assert_int_equal(json_integer_value(json_object_get(tx, "packets")), 1);
    assert_int_equal(json_integer_value(json_object_get(tx, "bytes")), 64);
    json_decref(metrics);
}

static bool is_failed(void *opaque)
{
    return atomic_load(&d.dev->needs_reset);
}

static bool config_interrupted(void *opaque)
{
    return atomic_load(&d.config_interrupts);
}

static void a_receive_buffer_without_room_for_the_header_breaks_until_a_reset(void **state)
{
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_MRG_RXBUF), false, 2, RING);
    add_rx(RX, 11);
    host_sends(0, 100, 1);
    assert_true(driver_wait_for(config_interrupted, NULL));
    assert_true(atomic_load(&d.dev->needs_reset));
    driver_reset(&d);
    driver_start(&d, BIT(VIRTIO_NET_F_MRG_RXBUF), false, 2, RING);
    add_rx(RX, 1526);
    expect_guest_frame(RX, 100, 1, 1);
}

static void a_driver_that_gives_readable_receive_buffers_breaks_the_device(void **state)
{
    create(1);
    driver_start(&d, 0, true, 2, RING);
    struct vring_buffer b = {.gpa = driver_alloc(&d, 2000), .len = 2000};
    driver_add(&d, RX, &b, 1, 0);
    assert_true(driver_wait_for(is_failed, NULL));
}

static uint8_t command(uint8_t class, uint8_t cmd, const void *data, size_t len)
{
    uint64_t token;
    uint32_t written;
    uint64_t out = driver_alloc(&d, 2 + len), in = driver_alloc(&d, 1);
    unsigned queue = virtio_has(d.dev, VIRTIO_NET_F_MQ) ? 4 : CTRL;
    uint8_t *p = driver_at(&d, out);
    p[0] = class;
    p[1] = cmd;
    memcpy(p + 2, data, len);
    *(uint8_t *)driver_at(&d, in) = 0xaa;
    struct vring_buffer b[2] = {{.gpa = out, .len = (uint32_t)(2 + len)},
                                {.gpa = in, .len = 1, .in = true}};
    driver_add(&d, queue, b, 2, 1);
    assert_true(driver_wait(&d, queue, &token, &written));
    assert_int_equal(written, 1);
    return *(uint8_t *)driver_at(&d, in);
}

static void send_to(const uint8_t mac[6], unsigned seed)
{
    uint8_t frame[64];
    make_frame(frame, sizeof(frame), seed);
    memcpy(frame, mac, 6);
    assert_int_equal(send(host[0], frame, sizeof(frame), 0), sizeof(frame));
}

static void only_addresses_that_the_driver_asked_for_are_received(void **state)
{
    static const uint8_t listed[6] = {0x02, 9, 9, 9, 9, 9}, group[6] = {0x33, 0x33, 0, 0, 0, 1},
                         other_group[6] = {0x33, 0x33, 0, 0, 0, 2}, other[6] = {0x02, 1, 1, 1, 1},
                         broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t off = 0, on = 1, table[4 + 6 + 4 + 6] = {1};
    uint8_t got[128];
    unsigned buffers;
    memcpy(table + 4, listed, 6);
    table[10] = 1;
    memcpy(table + 14, group, 6);
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX), false, 3, RING);
    for (unsigned i = 0; i < 16; i++)
        add_rx(RX, 1526);
    assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), 0);
    assert_int_equal(
        command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)), 0);
    send_to(other, 0);
    send_to(other_group, 0);
    send_to(listed, 0);
    send_to(group, 0);
    send_to(broadcast, 0);
    send_to(guest_mac, 0);
    const uint8_t *const expected[] = {listed, group, broadcast, guest_mac, other_group, other};
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(guest_frame(RX, got, &buffers), 64);
        assert_memory_equal(got, expected[i], 6);
    }
    assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1), 0);
    send_to(other_group, 0);
    assert_int_equal(guest_frame(RX, got, &buffers), 64);
    assert_memory_equal(got, expected[4], 6);
    assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), 0);
    send_to(other, 0);
    assert_int_equal(guest_frame(RX, got, &buffers), 64);
    assert_memory_equal(got, expected[5], 6);
}

static void malformed_control_commands_are_answered_with_an_error(void **state)
{
    uint8_t zero[64] = {0};
    create(2);
    driver_start(&d, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_MQ),
                 false, 5, RING);
    static const uint8_t huge_count[8] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t second_count[8] = {0, 0, 0, 0, 1};
    static const struct {
        uint8_t class, cmd;
        const uint8_t *data;
        size_t len;
    } wrong[] = {
        {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, NULL, 0},
        {VIRTIO_NET_CTRL_RX, 77, (const uint8_t *)"\1", 1},
        {99, 0, (const uint8_t *)"\1\1\1\1", 4},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, huge_count, 4},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, huge_count, 8},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, second_count, 8},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, guest_mac, 5},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (const uint8_t *)"\0\0", 2},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (const uint8_t *)"\3\0", 2},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (const uint8_t *)"\2", 1},
        {VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, huge_count, 8},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(command(wrong[i].class, wrong[i].cmd, wrong[i].len ? wrong[i].data : zero,
                                 wrong[i].len),
                         VIRTIO_NET_ERR);
    assert_false(is_failed(NULL));
    assert_int_equal(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0", 2), 0);
}

static void a_control_command_without_room_for_the_answer_breaks_the_device(void **state)
{
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_CTRL_VQ), false, 3, RING);
    struct vring_buffer b = {.gpa = driver_alloc(&d, 8), .len = 8};
    driver_add(&d, CTRL, &b, 1, 0);
    assert_true(driver_wait_for(is_failed, NULL));
}

static void a_second_pair_is_served_once_the_driver_asks_for_it(void **state)
{
    create(2);
    driver_start(&d, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ), true, 5, RING);
    assert_ptr_not_equal(d.dev->queues[0].loop, d.dev->queues[2].loop);
    for (unsigned i = 0; i < 4; i++) {
        add_rx(0, 1526);
        add_rx(2, 1526);
    }
    host_sends(1, 80, 1);
    assert_true(driver_nothing_comes(&d, 2));
    assert_int_equal(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0", 2), 0);
    expect_guest_frame(2, 80, 1, 1);
    host_sends(0, 90, 2);
    expect_guest_frame(0, 90, 2, 1);
    add_tx(3, 100, 3);
    expect_host_frame(1, 100, 3);
}

static void without_multiqueue_the_third_queue_is_the_control_queue(void **state)
{
    uint8_t on = 1;
    create(2);
    driver_start(&d, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX), false, 3, RING);
    assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), 0);
}

static void limits_slow_frames_down_and_lose_none(void **state)
{
    config.tx_packet_rate = 200;
    config.tx_packet_burst = 10;
    config.rx_rate = 20000;
    config.rx_burst = 1000;
    create(1);
    driver_start(&d, 0, false, 2, RING);
    for (unsigned i = 0; i < 30; i++)
        add_rx(RX, 1526);
    int64_t begin = clock_monotonic_ns();
    for (unsigned i = 0; i < 30; i++)
        add_tx(TX, 100, i);
    for (unsigned i = 0; i < 30; i++)
        expect_host_frame(0, 100, i);
    int64_t sent = clock_monotonic_ns();
    assert_in_range(sent - begin, 80000000, 400000000); /* 20 frames beyond the burst: 100 ms */
    for (unsigned i = 0; i < 30; i++)
        host_sends(0, 100, i);
    for (unsigned i = 0; i < 30; i++)
        expect_guest_frame(RX, 100, i, 1);
    assert_in_range(clock_monotonic_ns() - sent, 80000000, 400000000);
}

static void an_unplugged_cable_loses_frames_and_is_seen_by_the_guest(void **state)
{
    uint64_t token;
    uint32_t written;
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_STATUS), false, 2, RING);
    const struct virtio_net_config *c = d.dev->config;
    assert_int_equal(c->status, VIRTIO_NET_S_LINK_UP);
    add_rx(RX, 1526);
    net_device_set_link(d.dev, false);
    assert_int_equal(c->status, 0);
    assert_int_equal(atomic_load(&d.config_interrupts), 1);
    add_tx(TX, 100, 1);
    assert_true(driver_wait(&d, TX, &token, &written));
    host_sends(0, 100, 2);
    assert_true(driver_nothing_comes(&d, RX));
    net_device_set_link(d.dev, true);
    add_tx(TX, 100, 3);
    expect_host_frame(0, 100, 3);
    host_sends(0, 100, 4);
    expect_guest_frame(RX, 100, 4, 1);
}

static void a_pause_keeps_every_buffer_and_frame(void **state)
{
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_MRG_RXBUF), true, 2, RING);
    for (unsigned i = 0; i < 20; i++)
        add_rx(RX, 300);
    for (unsigned i = 0; i < 5; i++) {
        host_sends(0, 500, i);
        expect_guest_frame(RX, 500, i, 2);
        virtio_device_stop(d.dev);
        assert_int_equal(d.dev->queues[RX].ring.inflight, 0);
        host_sends(0, 100, 10 + i);
        assert_int_equal(virtio_device_start(d.dev, d.ready), 0);
        expect_guest_frame(RX, 100, 10 + i, 1);
    }
}

static void offloads_are_not_offered_where_nobody_does_them(void **state)
{
    uint64_t token;
    uint32_t written;
    create(1);
    assert_int_equal(d.dev->features & (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4)), 0);
    driver_start(&d, 0, false, 2, RING);
    struct vring_buffer b = {.gpa = driver_alloc(&d, 112), .len = 112};
    memset(driver_at(&d, b.gpa), 0, 112);
    *(uint8_t *)driver_at(&d, b.gpa) = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    driver_add(&d, TX, &b, 1, 0);
    assert_true(driver_wait(&d, TX, &token, &written));
    add_tx(TX, 70, 1);
    expect_host_frame(0, 70, 1);
}

static void with_vnet_hdr_the_header_travels_with_the_frame(void **state)
{
    uint8_t got[256];
    config.vnet_hdr = true;
    create(1);
    driver_start(&d, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM), false, 2, RING);
    struct vring_buffer b = {.gpa = driver_alloc(&d, 112), .len = 112};
    memset(driver_at(&d, b.gpa), 0x11, 112);
    *(uint8_t *)driver_at(&d, b.gpa) = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    driver_add(&d, TX, &b, 1, 0);
    assert_int_equal(host_gets(0, got, sizeof(got)), 112);
    assert_int_equal(got[0], VIRTIO_NET_HDR_F_NEEDS_CSUM);
    uint64_t rx = add_rx(RX, 1526);
    memset(got, 0, sizeof(got));
    got[0] = VIRTIO_NET_HDR_F_DATA_VALID;
    assert_int_equal(send(host[0], got, 100, 0), 100);
    unsigned buffers;
    assert_int_equal(guest_frame(RX, got, &buffers), 88);
    assert_int_equal(*(uint8_t *)driver_at(&d, rx), VIRTIO_NET_HDR_F_DATA_VALID);
}

static void features_without_what_they_need_are_refused(void **state)
{
    create(1);
    d.dev->driver_features = BIT(32) | BIT(VIRTIO_NET_F_CTRL_RX);
    assert_false(virtio_features_ok(d.dev));
    d.dev->driver_features |= BIT(VIRTIO_NET_F_CTRL_VQ);
    assert_true(virtio_features_ok(d.dev));
}

static void what_the_driver_chose_survives_saving_and_loading(void **state)
{
    uint8_t off = 0;
    struct kv_error err = {0};
    create(1);
    uint64_t features =
        BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR);
    driver_start(&d, features, false, 3, RING);
    assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), 0);
    assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\2\1\1\1\1\1", 6),
                     0);
    virtio_device_stop(d.dev);
    json_t *state_json = virtio_device_save(d.dev);
    driver_reset(&d);
    assert_int_equal(virtio_device_load(d.dev, state_json, &err), 0);
    json_decref(state_json);
    const struct virtio_net_config *c = d.dev->config;
    assert_memory_equal(c->mac, "\2\1\1\1\1\1", 6);
    json_t *again = d.dev->ops->save(d.dev);
    assert_true(json_is_false(json_object_get(again, "promiscuous")));
    json_decref(again);
}

static void backends_that_do_not_suit_are_refused_with_a_reason(void **state)
{
    struct loop *loop = &d.threads[0].loop;
    struct kv_error err = {0};
    assert_int_equal(net_create(&d.dev, &config, &d.mem, &loop, 1, &err), -EINVAL);
    assert_non_null(strstr(err.message, "exactly one of tap, fd and fds"));
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    config.fd = pipes[0];
    assert_int_equal(net_create(&d.dev, &config, &d.mem, &loop, 1, &err), -EINVAL);
    assert_non_null(strstr(err.message, "neither a tap nor a socket"));
    close(pipes[1]);
    add_host_ends(1);
    config.vhost = NET_VHOST_ON;
    assert_int_equal(net_create(&d.dev, &config, &d.mem, &loop, 1, &err), -EINVAL);
    assert_non_null(strstr(err.message, "tap with packet headers"));
    config.fd = -1;
    config.tap = (char *)"name-far-too-long-for-one";
    assert_int_equal(net_create(&d.dev, &config, &d.mem, &loop, 1, &err), -EINVAL);
    assert_null(d.dev);
}

#define NET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(frames_go_both_ways_over_split_rings),
        NET_TEST(frames_go_both_ways_over_packed_rings),
        NET_TEST(a_frame_is_spread_over_merged_buffers),
        NET_TEST(a_frame_waits_until_there_are_buffers_for_all_of_it),
        NET_TEST(the_largest_frames_pass),
        NET_TEST(without_merging_a_frame_too_large_for_its_buffer_is_dropped),
        NET_TEST(frames_wait_in_the_host_while_there_are_no_buffers),
        NET_TEST(a_full_host_end_delays_frames_and_loses_none),
        NET_TEST(frames_keep_their_borders_in_a_stream),
        NET_TEST(a_full_stream_delays_frames_and_loses_none),
        NET_TEST(the_cable_is_unplugged_when_the_program_behind_a_stream_ends),
        NET_TEST(a_stream_that_comes_in_pieces_or_is_nonsense_is_survived),
        NET_TEST(headers_alone_short_and_oversized_frames_are_dropped),
        NET_TEST(a_receive_buffer_without_room_for_the_header_breaks_until_a_reset),
        NET_TEST(a_driver_that_gives_readable_receive_buffers_breaks_the_device),
        NET_TEST(only_addresses_that_the_driver_asked_for_are_received),
        NET_TEST(malformed_control_commands_are_answered_with_an_error),
        NET_TEST(a_control_command_without_room_for_the_answer_breaks_the_device),
        NET_TEST(a_second_pair_is_served_once_the_driver_asks_for_it),
        NET_TEST(without_multiqueue_the_third_queue_is_the_control_queue),
        NET_TEST(limits_slow_frames_down_and_lose_none),
        NET_TEST(an_unplugged_cable_loses_frames_and_is_seen_by_the_guest),
        NET_TEST(a_pause_keeps_every_buffer_and_frame),
        NET_TEST(offloads_are_not_offered_where_nobody_does_them),
        NET_TEST(with_vnet_hdr_the_header_travels_with_the_frame),
        NET_TEST(features_without_what_they_need_are_refused),
        NET_TEST(what_the_driver_chose_survives_saving_and_loading),
        NET_TEST(backends_that_do_not_suit_are_refused_with_a_reason),
    };
    return cmocka_run_group_tests_name("virtio_net", tests, NULL, NULL);
}
