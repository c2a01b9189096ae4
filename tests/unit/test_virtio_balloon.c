/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-balloon as a guest sees it. */
#include <linux/virtio_balloon.h>
#include <linux/virtio_ring.h>

#include "unit.h"
#include "virtio_guest.h"
#include "vmm/virtio/balloon.h"

#define INFLATE 0
#define DEFLATE 1
#define STATS 2
#define REPORTING 3
#define NUM_PAGES (VIRTIO_PCI_DEVICE + 0)
#define ACTUAL (VIRTIO_PCI_DEVICE + 4)
#define POISON (VIRTIO_PCI_DEVICE + 12)
#define PFNS VIRTIO_GUEST_DATA

static struct virtio_guest g;
static struct virtio_balloon *balloon;
static struct {
    uint64_t gpa, len;
} discards[10000];
static unsigned discard_count;

static void note_discard(void *opaque, uint64_t gpa, uint64_t len)
{
    assert_true(range_within(gpa, len, 0, VIRTIO_GUEST_MEMORY));
    assert_true(discard_count < ARRAY_SIZE(discards));
    discards[discard_count].gpa = gpa;
    discards[discard_count++].len = len;
}

static int setup(void **state)
{
    const struct balloon_config config = {.deflate_on_oom = true, .free_page_reporting = true};
    const struct balloon_backend backend = {.discard = note_discard,
                                            .memory_size = VIRTIO_GUEST_MEMORY};
    struct virtio_device *dev;
    virtio_guest_init(&g);
    assert_int_equal(balloon_create(&dev, &config, &backend, &g.mem, &g.loop, NULL), 0);
    virtio_guest_plug(&g, dev);
    virtio_guest_use_msix(&g);
    balloon = balloon_of(dev);
    discard_count = 0;
    return 0;
}

static int teardown(void **state)
{
    virtio_guest_destroy(&g);
    return 0;
}

static void start(uint64_t features)
{
    virtio_guest_start(&g, features | BIT(VIRTIO_RING_F_EVENT_IDX));
}

/* One request of one buffer; true when it came back. */
static bool send(unsigned queue, uint64_t gpa, uint32_t len, bool in)
{
    const struct vring_buffer buffer = {gpa, len, in};
    uint64_t token;
    uint32_t written;
    assert_true(vring_driver_add(&g.rings[queue], &buffer, 1, 0, 0));
    virtio_guest_kick(&g, queue);
    virtio_guest_run(&g);
    return vring_driver_get(&g.rings[queue], &token, &written);
}

static void assert_discarded(unsigned i, uint64_t gpa, uint64_t len)
{
    assert_true(i < discard_count);
    assert_int_equal(discards[i].gpa, gpa);
    assert_int_equal(discards[i].len, len);
}

static void pages_are_given_back_with_their_neighbours(void **state)
{
    const uint32_t pfns[] = {7, 6, 5, 100, 8, 6, 102};
    start(0);
    memcpy(g.memory + PFNS, pfns, sizeof(pfns));
    assert_true(send(INFLATE, PFNS, sizeof(pfns), false));
    assert_int_equal(discard_count, 3);
    assert_discarded(0, 5 * 4096, 4 * 4096);
    assert_discarded(1, 100 * 4096, 4096);
    assert_discarded(2, 102 * 4096, 4096);
    assert_true(send(DEFLATE, PFNS, sizeof(pfns), false));
    assert_int_equal(discard_count, 3);
}

static void page_numbers_outside_memory_do_nothing(void **state)
{
    const uint32_t last = VIRTIO_GUEST_MEMORY / 4096 - 1;
    const uint32_t pfns[] = {0xffffffff, 0xfffffffe, last, last + 1, 0x80000000};
    start(0);
    memcpy(g.memory + PFNS, pfns, sizeof(pfns));
    assert_true(send(INFLATE, PFNS, sizeof(pfns), false));
    assert_int_equal(discard_count, 1);
    assert_discarded(0, last * 4096, 4096);
    /* Neither do three bytes, nor a buffer to be written. */
    assert_true(send(INFLATE, PFNS, 3, false));
    assert_true(send(INFLATE, PFNS, 64, true));
    assert_int_equal(discard_count, 1);
}

static void a_huge_request_breaks_the_queue(void **state)
{
    start(0);
    for (uint32_t i = 0; i < 0x4000; i++)
        store_le(g.memory + PFNS + 4 * i, i % 512, 4);
    assert_true(send(INFLATE, PFNS, 0x10000, false));
    assert_int_equal(discard_count, 0x4000 / 1024);
    assert_false(send(INFLATE, PFNS, 0x10001, false));
    assert_true(virtio_guest_status(&g) & VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_int_equal(g.vp->dev->queues[INFLATE].ring.inflight, 0);
    discard_count = 0;
    start(0);
    assert_true(send(INFLATE, PFNS, 4, false));
    assert_int_equal(discard_count, 1);
}

static void a_guest_cannot_keep_the_loop_to_itself(void **state)
{
    const struct vring_buffer buffer = {PFNS, 512, false};
    uint64_t token;
    uint32_t written;
    start(0);
    for (uint32_t i = 0; i < 128; i++)
        store_le(g.memory + PFNS + 4 * i, 8 * i, 4);
    for (unsigned i = 0; i < 64; i++)
        assert_true(vring_driver_add(&g.rings[INFLATE], &buffer, 1, 0, i));
    virtio_guest_kick(&g, INFLATE);
    virtio_guest_run_for(&g, 0);
    unsigned first = 0;
    while (vring_driver_get(&g.rings[INFLATE], &token, &written))
        first++;
    assert_true(first > 0 && first < 64);
    for (unsigned i = 0; i < 5; i++)
        virtio_guest_run_for(&g, 0);
    while (vring_driver_get(&g.rings[INFLATE], &token, &written))
        first++;
    assert_int_equal(first, 64);
    assert_int_equal(discard_count, 64 * 128);
}

static void the_target_is_asked_for_and_what_is_reached_is_told(void **state)
{
    start(0);
    assert_int_equal(virtio_guest_read(&g, NUM_PAGES, 4), 0);
    balloon_device_set_target(balloon, MIB(1));
    assert_int_equal(virtio_guest_interrupts(&g, 0), 1);
    assert_int_equal(virtio_guest_read(&g, NUM_PAGES, 4), MIB(3) / 4096);
    virtio_guest_write(&g, ACTUAL, 10, 4);
    assert_int_equal(balloon_device_actual(balloon), VIRTIO_GUEST_MEMORY - 10 * 4096);
    balloon_device_set_target(balloon, GIB(100));
    assert_int_equal(virtio_guest_read(&g, NUM_PAGES, 4), 0);
    /* A lie makes no nonsense, and what is the host's cannot be written. */
    virtio_guest_write(&g, ACTUAL, 0xffffffff, 4);
    assert_int_equal(balloon_device_actual(balloon), 0);
    virtio_guest_write(&g, NUM_PAGES, 77, 4);
    virtio_guest_write(&g, ACTUAL, 77, 2);
    assert_int_equal(virtio_guest_read(&g, NUM_PAGES, 4), 0);
    assert_int_equal(virtio_guest_read(&g, ACTUAL, 4), 0xffffffff);
    virtio_guest_write(&g, VIRTIO_PCI_COMMON_STATUS, 0, 1);
    assert_int_equal(balloon_device_actual(balloon), VIRTIO_GUEST_MEMORY);
}

static int64_t stat_of(const char *name)
{
    json_t *all = balloon_device_stats(balloon);
    json_t *value = json_object_get(json_object_get(all, "stats"), name);
    assert_non_null(value);
    int64_t n = json_integer_value(value);
    json_decref(all);
    return n;
}

static void put_stats(int64_t free_memory)
{
    struct virtio_balloon_stat stats[] = {{VIRTIO_BALLOON_S_MEMFREE, (uint64_t)free_memory},
                                          {0xffff, 1},
                                          {VIRTIO_BALLOON_S_MEMTOT, 1000}};
    memcpy(g.memory + PFNS, stats, sizeof(stats));
}

static void statistics_are_asked_for_at_the_interval(void **state)
{
    start(BIT(VIRTIO_BALLOON_F_STATS_VQ));
    assert_int_equal(stat_of("stat-free-memory"), -1);
    put_stats(500);
    /* The device keeps the buffer. */
    assert_false(send(STATS, PFNS, 30, false));
    assert_int_equal(stat_of("stat-free-memory"), 500);
    assert_int_equal(stat_of("stat-total-memory"), 1000);
    assert_int_equal(stat_of("stat-swap-in"), -1);
    virtio_guest_run_for(&g, 20);
    uint64_t token;
    uint32_t written;
    assert_false(vring_driver_get(&g.rings[STATS], &token, &written));
    balloon_device_set_stats_interval(balloon, 1);
    virtio_guest_run_for(&g, 1100);
    assert_true(vring_driver_get(&g.rings[STATS], &token, &written));
    put_stats(400);
    assert_false(send(STATS, PFNS, 30, false));
    assert_int_equal(stat_of("stat-free-memory"), 400);
}

static void statistics_survive_a_pause_and_end_with_a_reset(void **state)
{
    struct device *device = &g.vp->pci.device;
    balloon_device_set_stats_interval(balloon, 1);
    start(BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_F_RING_PACKED));
    put_stats(500);
    assert_false(send(STATS, PFNS, 30, false));
    for (unsigned i = 0; i < 3; i++) {
        device->ops->quiesce(device);
        assert_int_equal(g.vp->dev->queues[STATS].ring.inflight, 0);
        device->ops->resume(device);
        put_stats(600 + i);
        virtio_guest_run(&g);
        assert_int_equal(g.vp->dev->queues[STATS].ring.inflight, 1);
        assert_int_equal(stat_of("stat-free-memory"), 600 + i);
    }
    virtio_guest_write(&g, VIRTIO_PCI_COMMON_STATUS, 0, 1);
    assert_int_equal(stat_of("stat-free-memory"), -1);
}

static void a_second_buffer_for_statistics_waits_for_the_first(void **state)
{
    start(BIT(VIRTIO_BALLOON_F_STATS_VQ));
    for (unsigned i = 0; i < 10; i++)
        assert_false(send(STATS, PFNS, 10, false));
    assert_int_equal(g.vp->dev->queues[STATS].ring.inflight, 1);
}

static void reported_pages_are_given_back_whole(void **state)
{
    start(BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_REPORTING));
    assert_true(send(REPORTING, 0x200000, 0x100000, true));
    assert_int_equal(discard_count, 1);
    assert_discarded(0, 0x200000, 0x100000);
    assert_true(send(REPORTING, 0x300800, 0x2000, true));
    assert_discarded(1, 0x301000, 0x1000);
    assert_true(send(REPORTING, 0x300800, 0x800, true));
    assert_true(send(REPORTING, 0x300000, 0x1000, false));
    assert_int_equal(discard_count, 2);
    /* The queue that the specification means. */
    assert_true(send(4, 0x200000, 0x1000, true));
    assert_int_equal(discard_count, 3);
}

static void reporting_is_the_next_queue_where_statistics_are_not_wanted(void **state)
{
    start(BIT(VIRTIO_BALLOON_F_REPORTING));
    assert_true(send(STATS, 0x200000, 0x1000, true));
    assert_int_equal(discard_count, 1);
}

static void poisoned_pages_are_left_alone(void **state)
{
    start(BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_REPORTING) |
          BIT(VIRTIO_BALLOON_F_PAGE_POISON));
    virtio_guest_write(&g, POISON, 0xaaaaaaaa, 4);
    assert_int_equal(virtio_guest_read(&g, POISON, 4), 0xaaaaaaaa);
    assert_true(send(REPORTING, 0x200000, 0x1000, true));
    assert_int_equal(discard_count, 0);
    virtio_guest_write(&g, POISON, 0, 4);
    assert_true(send(REPORTING, 0x200000, 0x1000, true));
    assert_int_equal(discard_count, 1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pages_are_given_back_with_their_neighbours),
        TEST(page_numbers_outside_memory_do_nothing),
        TEST(a_huge_request_breaks_the_queue),
        TEST(a_guest_cannot_keep_the_loop_to_itself),
        TEST(the_target_is_asked_for_and_what_is_reached_is_told),
        TEST(statistics_are_asked_for_at_the_interval),
        TEST(statistics_survive_a_pause_and_end_with_a_reset),
        TEST(a_second_buffer_for_statistics_waits_for_the_first),
        TEST(reported_pages_are_given_back_whole),
        TEST(reporting_is_the_next_queue_where_statistics_are_not_wanted),
        TEST(poisoned_pages_are_left_alone),
    };
    return cmocka_run_group_tests_name("virtio_balloon", tests, NULL, NULL);
}
