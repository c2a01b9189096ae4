/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net over vhost-user: a driver at one end, back ends that keep the protocol and such that
 * do not at the other. */
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "device_driver.h"
#include "unit.h"
#include "vhost_user_peer.h"
#include "vmm/virtio/net.h"

#define RX 0
#define TX 1
#define RING 64
#define HEADER 12
#define F_RING_PACKED 34
#define F_VERSION_1 32

static struct device_driver d;
static struct net_config config;
static struct peer peer;
static char folder[] = "/tmp/kv-vhost-XXXXXX", path[64], where[32];

static int setup(void **state)
{
    driver_set_up(&d);
    net_config_defaults(&config);
    memcpy(config.mac, "\x52\x54\0\1\2\3", 6);
    peer_init(&peer);
    return 0;
}

static int teardown(void **state)
{
    driver_tear_down(&d);
    peer_stop(&peer);
    unlink(path);
    return 0;
}

static int try_create(struct kv_error *err)
{
    struct loop *loops[] = {&d.threads[0].loop, &d.threads[1].loop};
    config.vhost_user = where;
    return net_create(&d.dev, &config, &d.mem, loops, ARRAY_SIZE(loops), err);
}

static int try_connected(struct kv_error *err)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    snprintf(where, sizeof(where), "fd:%d", pair[0]);
    peer_start(&peer, pair[1]);
    return try_create(err);
}

static void create(void)
{
    struct kv_error err = {0};
    if (try_connected(&err) < 0)
        fail_msg("%s", err.message);
}

/* Back ends may come and go. */
static void create_listening(void)
{
    struct kv_error err = {0};
    int fd = fd_listen_unix(path, &err);
    assert_true(fd >= 0);
    snprintf(where, sizeof(where), "fd:%d", fd);
    peer_connect(&peer, path);
    if (try_create(&err) < 0)
        fail_msg("%s", err.message);
}

static bool link_is_up(void *opaque)
{
    const struct virtio_net_config *c = d.dev->config;
    return c->status & VIRTIO_NET_S_LINK_UP;
}

static bool link_is_down(void *opaque)
{
    return !link_is_up(opaque);
}

static void add_rx(unsigned ring)
{
    struct vring_buffer b = {.gpa = driver_alloc(&d, 1526), .len = 1526, .in = true};
    driver_add(&d, ring, &b, 1, b.gpa);
}

static void add_tx(unsigned ring, uint32_t len, uint8_t byte)
{
    struct vring_buffer b = {.gpa = driver_alloc(&d, HEADER + len), .len = HEADER + len};
    memset(driver_at(&d, b.gpa), 0, HEADER);
    memset(driver_at(&d, b.gpa + HEADER), byte, len);
    driver_add(&d, ring, &b, 1, byte);
}

/* A frame goes out on the pair and comes back, followed by interrupts for both. */
static void expect_echo(unsigned pair, uint32_t len, uint8_t byte)
{
    uint64_t token;
    uint32_t written;
    assert_true(driver_wait(&d, 2 * pair + 1, &token, &written));
    assert_int_equal(token, byte);
    assert_true(driver_wait(&d, 2 * pair, &token, &written));
    assert_int_equal(written, HEADER + len);
    const uint8_t *frame = driver_at(&d, token + HEADER);
    for (unsigned i = 0; i < len; i++)
        assert_int_equal(frame[i], byte);
}

static void echo(unsigned pair, uint32_t len, uint8_t byte)
{
    add_rx(2 * pair);
    add_tx(2 * pair + 1, len, byte);
    expect_echo(pair, len, byte);
}

static void start(bool packed)
{
    driver_start(&d, BIT(VIRTIO_NET_F_CTRL_VQ), packed, 2, RING);
    assert_false(atomic_load(&d.dev->needs_reset));
}

static void frames_go_to_the_back_end(bool packed)
{
    config.packed = packed ? NET_PACKED_ON : NET_PACKED_AUTO;
    config.mtu = 1400;
    create();
    start(packed);
    for (unsigned i = 0; i < 3 * RING; i++)
        echo(0, 60 + i, (uint8_t)i);
    assert_true(atomic_load(&d.interrupts[RX]) > 0);
    assert_true(atomic_load(&d.interrupts[TX]) > 0);
    assert_int_equal(atomic_load(&peer.mtu), 1400);
    assert_int_equal(atomic_load(&peer.status), 0xf);
    assert_int_equal(atomic_load(&peer.enabled), 3);
}

static void frames_go_over_split_rings(void **state)
{
    frames_go_to_the_back_end(false);
}

static void frames_go_over_packed_rings(void **state)
{
    frames_go_to_the_back_end(true);
}

static void a_pause_keeps_the_rings_where_they_are(bool packed)
{
    config.packed = packed ? NET_PACKED_ON : NET_PACKED_AUTO;
    create();
    start(packed);
    for (unsigned i = 0; i < 2 * RING; i++) {
        echo(0, 60, (uint8_t)i);
        virtio_device_stop(d.dev);
        assert_int_equal(atomic_load(&peer.status), 0);
        assert_int_equal(virtio_device_start(d.dev, d.ready), 0);
    }
}

static void a_pause_keeps_split_rings_where_they_are(void **state)
{
    a_pause_keeps_the_rings_where_they_are(false);
}

static void a_pause_keeps_packed_rings_where_they_are(void **state)
{
    a_pause_keeps_the_rings_where_they_are(true);
}

static void a_second_pair_moves_frames_once_the_driver_asks_for_it(void **state)
{
    struct virtio_net_ctrl_hdr header = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET};
    const struct vring_buffer b[] = {
        {.gpa = driver_alloc(&d, 4), .len = 4},
        {.gpa = driver_alloc(&d, 1), .len = 1, .in = true},
    };
    uint64_t token;
    uint32_t written;
    config.queues = 2;
    create();
    driver_start(&d, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ), false, 5, RING);
    assert_int_equal(atomic_load(&peer.enabled), 3);
    echo(0, 100, 1);
    memcpy(driver_at(&d, b[0].gpa), &header, sizeof(header));
    memcpy(driver_at(&d, b[0].gpa + 2), "\2\0", 2);
    driver_add(&d, 4, b, 2, 7);
    assert_true(driver_wait(&d, 4, &token, &written));
    assert_int_equal(*(uint8_t *)driver_at(&d, b[1].gpa), VIRTIO_NET_OK);
    assert_int_equal(atomic_load(&peer.enabled), 15);
    echo(1, 100, 2);
    echo(0, 100, 3);
}

static void an_unplugged_cable_disables_the_rings(void **state)
{
    create();
    start(false);
    echo(0, 100, 1);
    net_device_set_link(d.dev, false);
    assert_true(link_is_down(NULL));
    assert_int_equal(atomic_load(&peer.enabled), 0);
    net_device_set_link(d.dev, true);
    assert_true(link_is_up(NULL));
    assert_int_equal(atomic_load(&peer.enabled), 3);
    echo(0, 100, 2);
}

static void after_a_loss_the_next_back_end_goes_on_with_split_rings(void **state)
{
    create_listening();
    start(false);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned n = 0; n < RING + 5; n++)
            echo(0, 60 + n, (uint8_t)n);
        peer_stop(&peer);
        assert_true(driver_wait_for(link_is_down, NULL));
        add_rx(RX);
        add_tx(TX, 200, 77);
        peer_init(&peer);
        peer_connect(&peer, path);
        expect_echo(0, 200, 77);
        assert_true(driver_wait_for(link_is_up, NULL));
    }
}

static bool needs_reset(void *opaque)
{
    return atomic_load(&d.dev->needs_reset);
}

static void packed_rings_need_a_reset_after_a_loss(void **state)
{
    config.packed = NET_PACKED_ON;
    create_listening();
    start(true);
    echo(0, 60, 1);
    peer_stop(&peer);
    assert_true(driver_wait_for(needs_reset, NULL));
    peer_init(&peer);
    peer_connect(&peer, path);
    assert_true(driver_wait_for(link_is_up, NULL));
    driver_reset(&d);
    start(true);
    echo(0, 60, 2);
}

static void with_records(void)
{
    peer_init(&peer);
    peer.protocol_features |= BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
}

static void packed_rings_go_on_where_a_lost_back_end_kept_that_it_was(void **state)
{
    with_records();
    config.packed = NET_PACKED_ON;
    create_listening();
    start(true);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned n = 0; n < RING + 5 + i; n++)
            echo(0, 60 + n, (uint8_t)n);
        peer_stop(&peer);
        assert_true(driver_wait_for(link_is_down, NULL));
        assert_false(needs_reset(NULL));
        add_rx(RX);
        add_tx(TX, 200, 77);
        with_records();
        peer_connect(&peer, path);
        expect_echo(0, 200, 77);
        assert_true(driver_wait_for(link_is_up, NULL));
    }
    /* What the device knows itself is not taken from there. */
    virtio_device_stop(d.dev);
    assert_int_equal(virtio_device_start(d.dev, d.ready), 0);
    echo(0, 60, 99);
    driver_reset(&d);
    start(true);
    echo(0, 60, 100);
}

static void a_back_end_that_cannot_go_on_with_packed_rings_is_not_used(void **state)
{
    with_records();
    config.packed = NET_PACKED_ON;
    create_listening();
    start(true);
    echo(0, 60, 1);
    peer_stop(&peer);
    assert_true(driver_wait_for(link_is_down, NULL));
    peer_init(&peer);
    peer_connect(&peer, path);
    peer_stop(&peer);
    assert_true(link_is_down(NULL));
    with_records();
    peer_connect(&peer, path);
    assert_true(driver_wait_for(link_is_up, NULL));
    echo(0, 60, 2);
}

static void a_back_end_that_can_do_less_than_the_first_one_is_not_used(void **state)
{
    create_listening();
    driver_start(&d, BIT(VIRTIO_NET_F_MRG_RXBUF), false, 2, RING);
    echo(0, 60, 1);
    peer_stop(&peer);
    assert_true(driver_wait_for(link_is_down, NULL));
    peer_init(&peer);
    peer.features &= ~BIT(VIRTIO_NET_F_MRG_RXBUF);
    peer_connect(&peer, path);
    sleep(1);
    assert_true(link_is_down(NULL));
    peer_stop(&peer);
    peer_init(&peer);
    peer_connect(&peer, path);
    assert_true(driver_wait_for(link_is_up, NULL));
    echo(0, 60, 2);
}

static void what_the_back_end_cannot_do_is_not_offered(void **state)
{
    peer.features = BIT(F_VERSION_1);
    create();
    assert_int_equal(d.dev->features & (BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CSUM) |
                                        BIT(F_RING_PACKED) | BIT(VIRTIO_NET_F_HOST_TSO4)),
                     0);
    assert_true(d.dev->features & BIT(VIRTIO_NET_F_CTRL_MAC_ADDR));
}

/* Without protocol features rings run as soon as they have a doorbell. */
static void an_old_back_end_without_protocol_features_is_served(void **state)
{
    peer.features = BIT(F_VERSION_1) | BIT(28) | BIT(29);
    atomic_store(&peer.enabled, 3);
    create();
    start(false);
    for (unsigned i = 0; i < 10; i++)
        echo(0, 60 + i, (uint8_t)i);
    virtio_device_stop(d.dev);
    assert_int_equal(virtio_device_start(d.dev, d.ready), 0);
    echo(0, 60, 99);
}

static void back_ends_that_do_not_suit_are_refused_with_a_reason(void **state)
{
    struct kv_error err = {0};
    peer.features &= ~BIT(F_VERSION_1);
    assert_int_equal(try_connected(&err), -ENOTSUP);
    assert_non_null(strstr(err.message, "virtio 1.0 is needed"));
    peer_stop(&peer);
    peer_init(&peer);
    config.queues = 3;
    assert_int_equal(try_connected(&err), -ENOTSUP);
    assert_non_null(strstr(err.message, "it serves 2 queue pairs; 3 are needed"));
    peer_stop(&peer);
    peer_init(&peer);
    config.queues = 1;
    config.tx_rate = 1000;
    assert_int_equal(try_connected(&err), -EINVAL);
    assert_non_null(strstr(err.message, "cannot limit"));
}

/* Whatever it does at whichever message, the device stays usable: reset, and by the next one. */
static void a_back_end_that_breaks_the_protocol_is_dropped(void **state)
{
    static const uint32_t at_start[] = {
        VHOST_USER_SET_FEATURES,   VHOST_USER_SET_MEM_TABLE,  VHOST_USER_SET_VRING_NUM,
        VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR, VHOST_USER_SET_VRING_KICK,
        VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_STATUS,     VHOST_USER_SET_VRING_ENABLE,
        VHOST_USER_GET_VRING_BASE,
    };
    create_listening();
    for (unsigned i = 0; i < ARRAY_SIZE(at_start); i++) {
        /* Silence costs seconds each: at one message. */
        enum peer_fault fault = i == 1 ? PEER_SILENT : PEER_GONE + i % (PEER_FAULTS - PEER_GONE);
        bool at_end = at_start[i] == VHOST_USER_GET_VRING_BASE;
        peer_stop(&peer);
        assert_true(driver_wait_for(link_is_down, NULL));
        peer_init(&peer);
        peer.fault_at = at_start[i];
        peer.fault = at_end ? PEER_OTHER : fault;
        peer_connect(&peer, path);
        assert_true(driver_wait_for(link_is_up, NULL));
        start(false);
        if (at_end)
            virtio_device_stop(d.dev);
        assert_true(driver_wait_for(link_is_down, NULL));
        driver_reset(&d);
    }
    peer_stop(&peer);
    peer_init(&peer);
    peer_connect(&peer, path);
    assert_true(driver_wait_for(link_is_up, NULL));
    start(false);
    echo(0, 60, 1);
}

static void a_back_end_that_breaks_the_protocol_at_once_is_refused(void **state)
{
    static const uint32_t at_once[] = {
        VHOST_USER_GET_FEATURES,
        VHOST_USER_GET_PROTOCOL_FEATURES,
        VHOST_USER_GET_QUEUE_NUM,
        VHOST_USER_SET_OWNER,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(at_once); i++) {
        for (enum peer_fault fault = PEER_GONE; fault < PEER_FAULTS; fault++) {
            struct kv_error err = {0};
            /* All ones are features, too, and pairs. */
            if (fault == PEER_REFUSES && at_once[i] != VHOST_USER_SET_OWNER)
                continue;
            peer_init(&peer);
            peer.fault_at = at_once[i];
            peer.fault = fault;
            assert_true(try_connected(&err) < 0);
            assert_null(d.dev);
            peer_stop(&peer);
        }
    }
}

static void a_back_end_that_speaks_by_itself_is_dropped(void **state)
{
    create();
    start(false);
    echo(0, 60, 1);
    assert_int_equal(send(peer.socket, "hello", 5, 0), 5);
    assert_true(driver_wait_for(link_is_down, NULL));
    driver_reset(&d);
    start(false);
}

#define VHOST_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VHOST_TEST(frames_go_over_split_rings),
        VHOST_TEST(frames_go_over_packed_rings),
        VHOST_TEST(a_pause_keeps_split_rings_where_they_are),
        VHOST_TEST(a_pause_keeps_packed_rings_where_they_are),
        VHOST_TEST(a_second_pair_moves_frames_once_the_driver_asks_for_it),
        VHOST_TEST(an_unplugged_cable_disables_the_rings),
        VHOST_TEST(after_a_loss_the_next_back_end_goes_on_with_split_rings),
        VHOST_TEST(packed_rings_need_a_reset_after_a_loss),
        VHOST_TEST(packed_rings_go_on_where_a_lost_back_end_kept_that_it_was),
        VHOST_TEST(a_back_end_that_cannot_go_on_with_packed_rings_is_not_used),
        VHOST_TEST(a_back_end_that_can_do_less_than_the_first_one_is_not_used),
        VHOST_TEST(what_the_back_end_cannot_do_is_not_offered),
        VHOST_TEST(an_old_back_end_without_protocol_features_is_served),
        VHOST_TEST(back_ends_that_do_not_suit_are_refused_with_a_reason),
        VHOST_TEST(a_back_end_that_breaks_the_protocol_is_dropped),
        VHOST_TEST(a_back_end_that_breaks_the_protocol_at_once_is_refused),
        VHOST_TEST(a_back_end_that_speaks_by_itself_is_dropped),
    };
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/vu", folder);
    int failed = cmocka_run_group_tests_name("vhost_user", tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
