/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng as a guest sees it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <unistd.h>

#include "base/fd.h"
#include "unit.h"
#include "virtio_guest.h"
#include "vmm/virtio/rng.h"

static struct virtio_guest g;
static int source[2];

static void plug(const struct rng_config *config)
{
    struct virtio_device *dev;
    virtio_guest_init(&g);
    assert_int_equal(rng_create(&dev, config, &g.mem, &g.loop, NULL), 0);
    virtio_guest_plug(&g, dev);
    virtio_guest_use_msix(&g);
    virtio_guest_start(&g, BIT(VIRTIO_RING_F_EVENT_IDX));
}

static int teardown(void **state)
{
    virtio_guest_destroy(&g);
    return 0;
}

static void ask(uint32_t len)
{
    const struct vring_buffer buffer = {VIRTIO_GUEST_DATA, len, true};
    memset(g.memory + VIRTIO_GUEST_DATA, 0, len);
    assert_true(vring_driver_add(&g.rings[0], &buffer, 1, 0, len));
    virtio_guest_kick(&g, 0);
    virtio_guest_run(&g);
}

/* Bytes that the oldest request got, or -1 when it is not answered yet. */
static int64_t answer(void)
{
    uint64_t token;
    uint32_t written;
    return vring_driver_get(&g.rings[0], &token, &written) ? (int64_t)written : -1;
}

static void buffers_are_filled_with_random_bytes(void **state)
{
    const struct rng_config config = {.fd = -1};
    plug(&config);
    for (unsigned i = 0; i < 200; i++) {
        ask(64);
        assert_int_equal(answer(), 64);
        unsigned zeroes = 0;
        for (unsigned k = 0; k < 64; k++)
            zeroes += g.memory[VIRTIO_GUEST_DATA + k] == 0;
        assert_true(zeroes < 16);
    }
    assert_int_not_equal(virtio_guest_interrupts(&g, 1), 0);
}

static void one_answer_is_bounded(void **state)
{
    const struct rng_config config = {.fd = -1};
    plug(&config);
    ask(1 << 20);
    assert_int_equal(answer(), 1 << 16);
}

static void many_requests_are_all_served_in_rounds(void **state)
{
    const struct vring_buffer buffer = {VIRTIO_GUEST_DATA, 8, true};
    const struct rng_config config = {.fd = -1};
    plug(&config);
    for (unsigned i = 0; i < 64; i++)
        assert_true(vring_driver_add(&g.rings[0], &buffer, 1, 0, i));
    virtio_guest_kick(&g, 0);
    for (unsigned i = 0; i < 3; i++)
        virtio_guest_run(&g);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(answer(), 8);
}

static void a_limit_makes_requests_wait(void **state)
{
    /* 100 bytes at once, and 100 more every 50 ms. */
    const struct rng_config config = {.fd = -1, .max_bytes = 100, .period = 50};
    plug(&config);
    ask(100);
    assert_int_equal(answer(), 100);
    ask(100);
    assert_int_equal(answer(), -1);
    assert_int_equal(g.vp->dev->queues[0].ring.inflight, 0);
    int64_t before = clock_monotonic_ns();
    int64_t got;
    do {
        virtio_guest_run_for(&g, 5);
        got = answer();
    } while (got < 0 && clock_monotonic_ns() - before < INT64_C(5000000000));
    assert_int_equal(got, 100);
    assert_true(clock_monotonic_ns() - before > 20000000);
    /* A larger request gets what the limit has at once. */
    ask(1000);
    virtio_guest_run_for(&g, 200);
    assert_int_equal(answer(), 100);
    struct rng_config bad = {.fd = -1, .period = 5};
    struct virtio_device *dev;
    assert_int_equal(rng_create(&dev, &bad, &g.mem, &g.loop, NULL), -EINVAL);
}

static void plug_source(void)
{
    assert_int_equal(pipe2(source, O_NONBLOCK | O_CLOEXEC), 0);
    const struct rng_config config = {.fd = source[0]};
    plug(&config);
}

static void a_source_that_is_empty_is_asked_again(void **state)
{
    plug_source();
    ask(8);
    assert_int_equal(answer(), -1);
    assert_int_equal(fd_write_all(source[1], "abcde", 5), 0);
    virtio_guest_run_for(&g, 100);
    assert_int_equal(answer(), 5);
    assert_memory_equal(g.memory + VIRTIO_GUEST_DATA, "abcde", 5);
    close(source[1]);
}

static void a_source_that_ends_fails_the_device(void **state)
{
    plug_source();
    close(source[1]);
    ask(8);
    assert_int_equal(answer(), -1);
    assert_true(virtio_guest_status(&g) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_waiting_device_can_be_stopped_and_goes_on(void **state)
{
    plug_source();
    struct device *device = &g.vp->pci.device;
    ask(8);
    device->ops->quiesce(device);
    assert_int_equal(fd_write_all(source[1], "12345678", 8), 0);
    virtio_guest_run_for(&g, 30);
    assert_int_equal(answer(), -1);
    device->ops->resume(device);
    virtio_guest_run(&g);
    assert_int_equal(answer(), 8);
    close(source[1]);
}

static void a_buffer_to_be_read_gets_nothing(void **state)
{
    const struct vring_buffer buffer = {VIRTIO_GUEST_DATA, 8, false};
    const struct rng_config config = {.fd = -1};
    plug(&config);
    assert_true(vring_driver_add(&g.rings[0], &buffer, 1, 0, 0));
    virtio_guest_kick(&g, 0);
    virtio_guest_run(&g);
    assert_int_equal(answer(), 0);
    assert_int_equal(g.memory[VIRTIO_GUEST_DATA], 0);
}

#define TEST(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(buffers_are_filled_with_random_bytes),
        TEST(one_answer_is_bounded),
        TEST(many_requests_are_all_served_in_rounds),
        TEST(a_limit_makes_requests_wait),
        TEST(a_source_that_is_empty_is_asked_again),
        TEST(a_source_that_ends_fails_the_device),
        TEST(a_waiting_device_can_be_stopped_and_goes_on),
        TEST(a_buffer_to_be_read_gets_nothing),
    };
    return cmocka_run_group_tests_name("virtio_rng", tests, NULL, NULL);
}
