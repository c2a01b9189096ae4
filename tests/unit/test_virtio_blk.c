/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk driven through its rings, on fake guest memory and a real file. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "unit.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/blk_internal.h"
#include "vmm/virtio/virtio.h"
#include "vring_driver.h"

#define MEM_SIZE MIB(8)
#define DISK_SIZE MIB(8)
#define RING_GPA 0x10000
#define HEADERS_GPA 0x40000 /* 64 bytes a request: header at 0, range at 16, status at 48 */
#define TABLES_GPA 0x80000
#define DATA_GPA MIB(1)
#define QUEUE_SIZE 64

static char path[256];
static uint8_t *memory;
static struct guest_mem mem;
static struct loop loop;
static struct virtio_device *dev;
static struct vring_driver driver;
static struct drive_config config;
static unsigned interrupts, config_interrupts;
static bool packed;

static void count_interrupt(void *opaque, struct virtio_queue *queue)
{
    interrupts++;
}

static void count_config_interrupt(void *opaque)
{
    config_interrupts++;
}

static int no_fd(void *opaque, struct virtio_queue *queue)
{
    return -1;
}

static const struct virtio_transport_ops transport = {
    .queue_interrupt = count_interrupt,
    .config_interrupt = count_config_interrupt,
    .queue_interrupt_fd = no_fd,
};

static struct loop *one_loop(void *opaque, unsigned index)
{
    return &loop;
}

static void start_device(uint64_t without)
{
    const bool ready[1] = {true};
    dev->driver_features = dev->features & ~without;
    if (!packed)
        dev->driver_features &= ~BIT(VIRTIO_F_RING_PACKED);
    assert_true(virtio_features_ok(dev));
    vring_driver_init(&driver, &mem, QUEUE_SIZE, packed, true, RING_GPA);
    vring_driver_describe(&driver, &dev->queues[0].ring);
    atomic_store(&dev->status, VIRTIO_CONFIG_S_DRIVER_OK);
    assert_int_equal(virtio_device_start(dev, ready), 0);
}

static void stop_and_go_on(void)
{
    const bool ready[1] = {true};
    virtio_device_stop(dev);
    assert_int_equal(virtio_device_start(dev, ready), 0);
}

static void reset_device(void)
{
    virtio_device_reset(dev);
    vring_driver_destroy(&driver);
    start_device(0);
}

static void make_device(void)
{
    struct kv_error err = {0};
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
    close(fd);
    config.path = path;
    config.fd = -1;
    config.queue_size = QUEUE_SIZE;
    if (blk_create(&dev, NULL, &mem, &config, one_loop, NULL, &err) < 0)
        fail_msg("%s", err.message);
    dev->transport = &transport;
    interrupts = config_interrupts = 0;
    start_device(0);
}

static void free_device(void)
{
    vring_driver_destroy(&driver);
    dev->ops->free(dev);
}

static uint8_t *at(uint64_t gpa)
{
    return memory + gpa;
}

static uint64_t header_gpa(unsigned slot)
{
    return HEADERS_GPA + 64 * slot;
}

/* Header, what is between, status, as separate buffers. */
static void add(unsigned slot, uint32_t type, uint64_t sector, const struct vring_buffer *data,
                unsigned count)
{
    struct vring_buffer buffers[16] = {{.gpa = header_gpa(slot), .len = 16}};
    struct virtio_blk_outhdr header = {.type = type, .sector = sector};
    memcpy(at(header_gpa(slot)), &header, sizeof(header));
    *at(header_gpa(slot) + 48) = 0xff;
    for (unsigned i = 0; i < count; i++)
        buffers[1 + i] = data[i];
    buffers[1 + count] = (struct vring_buffer){.gpa = header_gpa(slot) + 48, .len = 1, .in = true};
    assert_true(vring_driver_add(&driver, buffers, count + 2,
                                 slot % 2 ? TABLES_GPA + slot * 1024 : 0, slot));
}

static void kick(void)
{
    uint64_t one = 1;
    assert_int_equal(write(dev->queues[0].kick_fd, &one, sizeof(one)), sizeof(one));
}

static void stop_loop(void *opaque)
{
    loop_stop(opaque);
}

/* Runs the loop for a moment. */
static void turn(void)
{
    struct loop_timer timer = {0};
    loop_timer_arm(&loop, &timer, 200000, stop_loop, &loop);
    loop_run(&loop);
}

/* Waits up to 3 s for a finished request. */
static bool finished(uint64_t *token, uint32_t *written)
{
    for (unsigned i = 0; i < 15000; i++) {
        if (vring_driver_get(&driver, token, written))
            return true;
        turn();
    }
    return false;
}

/* One request from start to end: its status byte. */
static int run(uint32_t type, uint64_t sector, const struct vring_buffer *data, unsigned count)
{
    uint64_t token;
    uint32_t written;
    add(1, type, sector, data, count);
    kick();
    assert_true(finished(&token, &written));
    assert_int_equal(token, 1);
    return *at(header_gpa(1) + 48);
}

static int run_one(uint32_t type, uint64_t sector, uint64_t gpa, uint32_t len, bool in)
{
    const struct vring_buffer data = {.gpa = gpa, .len = len, .in = in};
    return run(type, sector, &data, 1);
}

static int run_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
    const struct virtio_blk_discard_write_zeroes range = {
        .sector = sector, .num_sectors = sectors, .flags = flags};
    memcpy(at(header_gpa(1) + 16), &range, sizeof(range));
    return run_one(type, 0, header_gpa(1) + 16, sizeof(range), false);
}

static void fill(uint64_t gpa, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        *at(gpa + i) = (uint8_t)(seed + i * 3 + (i >> 8) * 5);
}

static void scattered_writes_come_back_in_scattered_reads(void **state)
{
    make_device();
    const struct vring_buffer out[] = {
        {.gpa = DATA_GPA, .len = 4096},
        {.gpa = DATA_GPA + 0x10000, .len = 100},
        {.gpa = DATA_GPA + 0x20000, .len = 8092},
    };
    const struct vring_buffer in[] = {
        {.gpa = DATA_GPA + 0x30000, .len = 10000, .in = true},
        {.gpa = DATA_GPA + 0x40000, .len = 2288, .in = true},
    };
    fill(DATA_GPA, 4096, 1);
    fill(DATA_GPA + 0x10000, 100, 2);
    fill(DATA_GPA + 0x20000, 8092, 3);
    for (unsigned round = 0; round < 200; round++) {
        uint64_t sector = round * 24;
        assert_int_equal(run(VIRTIO_BLK_T_OUT, sector, out, 3), VIRTIO_BLK_S_OK);
        memset(at(DATA_GPA + 0x30000), 0, 0x20000);
        assert_int_equal(run(VIRTIO_BLK_T_IN, sector, in, 2), VIRTIO_BLK_S_OK);
        assert_memory_equal(at(DATA_GPA + 0x30000), at(DATA_GPA), 4096);
        assert_memory_equal(at(DATA_GPA + 0x30000 + 4096), at(DATA_GPA + 0x10000), 100);
        assert_memory_equal(at(DATA_GPA + 0x30000 + 4196), at(DATA_GPA + 0x20000), 10000 - 4196);
        assert_memory_equal(at(DATA_GPA + 0x40000), at(DATA_GPA + 0x20000 + 10000 - 4196), 2288);
    }
    free_device();
}

static void buffers_may_be_cut_anywhere(void **state)
{
    uint64_t token;
    uint32_t written;
    struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_OUT, .sector = 8};
    make_device();
    /* The header in two pieces, the second one with the data behind it. */
    memcpy(at(DATA_GPA), &header, sizeof(header));
    fill(DATA_GPA + 16, 512, 4);
    const struct vring_buffer write_request[] = {
        {.gpa = DATA_GPA, .len = 5},
        {.gpa = DATA_GPA + 5, .len = 11 + 512},
        {.gpa = DATA_GPA + 0x1000, .len = 1, .in = true},
    };
    assert_true(vring_driver_add(&driver, write_request, 3, 0, 7));
    kick();
    assert_true(finished(&token, &written));
    assert_int_equal(written, 1);
    /* The status right behind the data. */
    header.type = VIRTIO_BLK_T_IN;
    memcpy(at(DATA_GPA + 0x2000), &header, sizeof(header));
    *at(DATA_GPA + 0x3000 + 512) = 0xff;
    const struct vring_buffer read_request[] = {
        {.gpa = DATA_GPA + 0x2000, .len = 16},
        {.gpa = DATA_GPA + 0x3000, .len = 513, .in = true},
    };
    assert_true(vring_driver_add(&driver, read_request, 2, 0, 8));
    kick();
    assert_true(finished(&token, &written));
    assert_int_equal(written, 513);
    assert_int_equal(*at(DATA_GPA + 0x3000 + 512), VIRTIO_BLK_S_OK);
    assert_memory_equal(at(DATA_GPA + 0x3000), at(DATA_GPA + 16), 512);
    free_device();
}

static void the_serial_is_padded_with_zeros(void **state)
{
    config.serial = (char *)"KV-0001";
    make_device();
    memset(at(DATA_GPA), 0xee, 32);
    assert_int_equal(run_one(VIRTIO_BLK_T_GET_ID, 0, DATA_GPA, 20, true), VIRTIO_BLK_S_OK);
    assert_memory_equal(at(DATA_GPA), "KV-0001\0\0\0\0\0\0\0\0\0\0\0\0\0\xee", 21);
    free_device();
}

static void wrong_requests_get_an_error_and_the_disk_goes_on(void **state)
{
    const uint64_t end = DISK_SIZE / 512;
    make_device();
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, 0, DATA_GPA, 100, true), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(VIRTIO_BLK_T_OUT, 0, DATA_GPA, 511, false), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, end, DATA_GPA, 512, true), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(VIRTIO_BLK_T_OUT, end - 1, DATA_GPA, 1024, false), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, UINT64_MAX, DATA_GPA, 512, true), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(VIRTIO_BLK_T_OUT, UINT64_MAX / 512 + 2, DATA_GPA, 512, false),
                     VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(2, 0, DATA_GPA, 512, true), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(run_one(0x80000000, 0, DATA_GPA, 512, true), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(run_one(VIRTIO_BLK_T_SECURE_ERASE, 0, DATA_GPA, 16, false),
                     VIRTIO_BLK_S_UNSUPP);
    /* Discarding was not offered. */
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(run_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(run_range(VIRTIO_BLK_T_WRITE_ZEROES, end, 8, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA_GPA, 15, false),
                     VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA_GPA, 32, false),
                     VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, 0, DATA_GPA, 512, true), VIRTIO_BLK_S_OK);
    assert_int_equal(atomic_load(&dev->needs_reset), 0);
    free_device();
}

static void a_chain_without_header_or_status_needs_a_reset(void **state)
{
    const struct vring_buffer no_status[] = {{.gpa = DATA_GPA, .len = 16}};
    const struct vring_buffer short_header[] = {{.gpa = DATA_GPA, .len = 15},
                                                {.gpa = DATA_GPA + 512, .len = 1, .in = true}};
    make_device();
    for (unsigned i = 0; i < 2; i++) {
        vring_driver_add(&driver, i ? short_header : no_status, i ? 2 : 1, 0, 1);
        kick();
        for (unsigned j = 0; j < 1000 && !atomic_load(&dev->needs_reset); j++)
            turn();
        assert_true(atomic_load(&dev->status) & VIRTIO_CONFIG_S_NEEDS_RESET);
        assert_true(config_interrupts > i);
        reset_device();
        assert_int_equal(run_one(VIRTIO_BLK_T_IN, 0, DATA_GPA, 512, true), VIRTIO_BLK_S_OK);
    }
    free_device();
}

static void a_read_only_disk_says_so_and_refuses_writes(void **state)
{
    config.readonly = true;
    make_device();
    assert_true(dev->features & BIT(VIRTIO_BLK_F_RO));
    assert_false(dev->features & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
    assert_int_equal(run_one(VIRTIO_BLK_T_OUT, 0, DATA_GPA, 512, false), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, 0, DATA_GPA, 512, true), VIRTIO_BLK_S_OK);
    virtio_device_reset(dev);
    vring_driver_destroy(&driver);
    start_device(BIT(VIRTIO_BLK_F_RO));
    assert_int_equal(run_one(VIRTIO_BLK_T_OUT, 0, DATA_GPA, 512, false), VIRTIO_BLK_S_IOERR);
    free_device();
}

static void zeroes_and_discards_do_what_they_say(void **state)
{
    config.discard = 1;
    make_device();
    fill(DATA_GPA, KIB(64), 1);
    assert_int_equal(run_one(VIRTIO_BLK_T_OUT, 0, DATA_GPA, KIB(64), false), VIRTIO_BLK_S_OK);
    assert_int_equal(run(VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(run_range(VIRTIO_BLK_T_WRITE_ZEROES, 1, 3, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(run_range(VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 1), VIRTIO_BLK_S_OK);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 64, 64, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 64, 64, 0), VIRTIO_BLK_S_OK);
    memset(at(DATA_GPA + 512), 0, 3 * 512);
    memset(at(DATA_GPA + 4096), 0, 4096);
    memset(at(DATA_GPA + KIB(32)), 0, KIB(32));
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, 0, DATA_GPA + KIB(64), KIB(64), true),
                     VIRTIO_BLK_S_OK);
    assert_memory_equal(at(DATA_GPA), at(DATA_GPA + KIB(64)), KIB(64));
    free_device();
}

static void a_batch_is_answered_completely_with_few_interrupts(void **state)
{
    uint64_t token;
    uint32_t written;
    bool seen[32] = {false};
    make_device();
    for (unsigned i = 0; i < 32; i++) {
        const struct vring_buffer data = {.gpa = DATA_GPA + i * 4096, .len = 4096, .in = true};
        add(i, VIRTIO_BLK_T_IN, i * 8, &data, 1);
    }
    vring_driver_enable_interrupts(&driver, 0);
    kick();
    for (unsigned i = 0; i < 32; i++) {
        assert_true(finished(&token, &written));
        assert_in_range(token, 0, 31);
        assert_false(seen[token]);
        seen[token] = true;
        assert_int_equal(*at(header_gpa((unsigned)token) + 48), VIRTIO_BLK_S_OK);
        assert_int_equal(written, 4097);
    }
    assert_in_range(interrupts, 1, 8);
    struct drive_stats stats;
    drive_get_stats(&container_of(dev, struct blk, virtio)->drive, &stats);
    assert_int_equal(stats.kind[DRIVE_STAT_READ].ops, 32);
    assert_int_equal(stats.kind[DRIVE_STAT_READ].bytes, 32 * 4096);
    free_device();
}

/* The host refuses to let the file grow over 64 KiB: what is beyond is a hole and stays one. */
static void host_fails(bool fails)
{
    const struct rlimit limit = {.rlim_cur = fails ? KIB(64) : RLIM_INFINITY,
                                 .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_failed_write_is_reported_or_passed_over_as_asked(void **state)
{
    static const int policies[] = {DRIVE_POLICY_REPORT, DRIVE_POLICY_IGNORE, DRIVE_POLICY_ENOSPC};
    static const int expected[] = {VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_IOERR};
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
        config.werror = policies[i];
        make_device();
        host_fails(true);
        int status = run_one(VIRTIO_BLK_T_OUT, 2048, DATA_GPA, 4096, false);
        host_fails(false);
        assert_int_equal(status, expected[i]);
        assert_int_equal(container_of(dev, struct blk, virtio)->drive.io_status,
                         DRIVE_STATUS_FAILED);
        free_device();
    }
}

static void a_write_that_failed_under_stop_is_done_when_the_machine_goes_on(void **state)
{
    uint64_t token;
    uint32_t written;
    config.werror = DRIVE_POLICY_STOP;
    make_device();
    struct blk *blk = container_of(dev, struct blk, virtio);
    fill(DATA_GPA, 4096, 6);
    host_fails(true);
    const struct vring_buffer data = {.gpa = DATA_GPA, .len = 4096};
    add(3, VIRTIO_BLK_T_OUT, 2048, &data, 1);
    kick();
    for (unsigned i = 0; i < 1000 && list_empty(&blk->queues[0].drive.held); i++)
        turn();
    assert_false(vring_driver_get(&driver, &token, &written));
    stop_and_go_on(); /* fails again */
    assert_false(vring_driver_get(&driver, &token, &written));
    virtio_device_stop(dev);
    host_fails(false);
    stop_and_go_on();
    assert_true(finished(&token, &written));
    assert_int_equal(token, 3);
    assert_int_equal(*at(header_gpa(3) + 48), VIRTIO_BLK_S_OK);
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, 2048, DATA_GPA + 8192, 4096, true), VIRTIO_BLK_S_OK);
    assert_memory_equal(at(DATA_GPA), at(DATA_GPA + 8192), 4096);
    free_device();
}

static void what_was_held_is_forgotten_by_a_reset(void **state)
{
    uint64_t token;
    uint32_t written;
    config.werror = DRIVE_POLICY_STOP;
    make_device();
    struct blk *blk = container_of(dev, struct blk, virtio);
    host_fails(true);
    const struct vring_buffer data = {.gpa = DATA_GPA, .len = 4096};
    for (unsigned i = 0; i < 20; i++)
        add(i, VIRTIO_BLK_T_OUT, 2048 + i * 8, &data, 1);
    kick();
    for (unsigned i = 0; i < 1000 && block_inflight(blk->queues[0].drive.io) +
                                         list_empty(&blk->queues[0].drive.held);
         i++)
        turn();
    host_fails(false);
    reset_device();
    assert_false(vring_driver_get(&driver, &token, &written));
    for (unsigned i = 0; i < 2 * QUEUE_SIZE; i++)
        assert_int_equal(run_one(VIRTIO_BLK_T_IN, 0, DATA_GPA, 512, true), VIRTIO_BLK_S_OK);
    free_device();
}

/* As when a transaction over several disks waits for one on the same loop. */
static void a_stop_does_not_wait_for_a_changing_graph_and_loses_nothing(void **state)
{
    uint64_t token;
    uint32_t written;
    make_device();
    struct blk *blk = container_of(dev, struct blk, virtio);
    struct block_node *node = drive_node(&blk->drive);
    const struct vring_buffer data = {.gpa = DATA_GPA, .len = 4096};
    fill(DATA_GPA, 4096, 9);
    block_graph_begin(&node, 1);
    add(5, VIRTIO_BLK_T_OUT, 64, &data, 1);
    kick();
    for (unsigned i = 0; i < 20; i++)
        turn();
    assert_int_equal(block_inflight(blk->queues[0].drive.io), 1);
    virtio_device_stop(dev);
    assert_int_equal(block_inflight(blk->queues[0].drive.io), 0);
    stop_and_go_on();
    assert_false(vring_driver_get(&driver, &token, &written));
    block_graph_end();
    block_close(node);
    assert_true(finished(&token, &written));
    assert_int_equal(token, 5);
    assert_int_equal(*at(header_gpa(5) + 48), VIRTIO_BLK_S_OK);
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, 64, DATA_GPA + 8192, 4096, true), VIRTIO_BLK_S_OK);
    assert_memory_equal(at(DATA_GPA), at(DATA_GPA + 8192), 4096);
    free_device();
}

static void limited_requests_take_their_time_and_others_do_not(void **state)
{
    uint64_t token;
    uint32_t written;
    config.limits.limits[THROTTLE_IOPS_WRITE].average = 100; /* ten at once, then one each 10 ms */
    make_device();
    const struct vring_buffer data = {.gpa = DATA_GPA, .len = 512};
    int64_t begin = clock_monotonic_ns();
    for (unsigned i = 10; i < 40; i++)
        add(i, VIRTIO_BLK_T_OUT, i, &data, 1);
    kick();
    for (unsigned i = 0; i < 10; i++)
        assert_true(finished(&token, &written));
    assert_int_equal(run_one(VIRTIO_BLK_T_GET_ID, 0, DATA_GPA, 20, true), VIRTIO_BLK_S_OK);
    assert_true(clock_monotonic_ns() - begin < 100000000);
    for (unsigned i = 0; i < 10; i++)
        assert_true(finished(&token, &written));
    assert_true(clock_monotonic_ns() - begin >= 90000000);
    /* A stop does not wait for the limit. */
    begin = clock_monotonic_ns();
    virtio_device_stop(dev);
    assert_true(clock_monotonic_ns() - begin < 80000000);
    for (unsigned i = 0; i < 10; i++)
        assert_true(vring_driver_get(&driver, &token, &written));
    free_device();
}

/* A driver with indirect tables has as many requests in flight as the ring has places. */
static void a_full_ring_is_no_fault_of_the_guest(void **state)
{
    uint64_t token;
    uint32_t written;
    config.limits.limits[THROTTLE_BPS_WRITE].average = 1; /* the first one goes, others wait */
    make_device();
    const struct vring_buffer data = {.gpa = DATA_GPA, .len = 512};
    for (unsigned i = 0; i < QUEUE_SIZE; i++)
        add(2 * i + 1, VIRTIO_BLK_T_OUT, i, &data, 1);
    kick();
    assert_true(finished(&token, &written));
    add((unsigned)token, VIRTIO_BLK_T_OUT, 0, &data, 1);
    for (unsigned i = 0; i < 2; i++) {
        kick();
        turn();
    }
    assert_int_equal(dev->queues[0].ring.inflight, QUEUE_SIZE);
    assert_false(dev->queues[0].ring.broken);
    virtio_device_stop(dev);
    free_device();
}

static void contradictory_options_are_refused_by_name(void **state)
{
    struct kv_error err = {0};
    struct virtio_device *none;
    config.path = path;
    config.fd = -1;
    config.limits.limits[THROTTLE_BPS_TOTAL].average = 1000;
    config.limits.limits[THROTTLE_BPS_READ].average = 1000;
    assert_int_equal(blk_create(&none, NULL, &mem, &config, one_loop, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.message, "bps-read"));
    config.limits.limits[THROTTLE_BPS_TOTAL].average = 0;
    config.limits.limits[THROTTLE_BPS_READ].average = 0;
    config.limits.limits[THROTTLE_BPS_READ].max = 10;
    assert_int_equal(blk_create(&none, NULL, &mem, &config, one_loop, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.message, "bps-read"));
    config.limits.limits[THROTTLE_BPS_READ].max = 0;
    config.queue_size = 48;
    assert_int_equal(blk_create(&none, NULL, &mem, &config, one_loop, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.message, "queue-size"));
    config.queue_size = 64;
    config.serial = (char *)"123456789012345678901";
    assert_int_equal(blk_create(&none, NULL, &mem, &config, one_loop, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.message, "serial"));
    config.serial = NULL;
    config.path = NULL;
    assert_int_equal(blk_create(&none, NULL, &mem, &config, one_loop, NULL, &err), -EINVAL);
}

static void a_resized_disk_tells_the_guest_and_serves_the_new_end(void **state)
{
    struct kv_error err = {0};
    make_device();
    struct blk *blk = container_of(dev, struct blk, virtio);
    unsigned generation = atomic_load(&dev->config_generation);
    assert_int_equal(drive_resize(&blk->drive, 2 * DISK_SIZE, &err), 0);
    assert_int_equal(((struct virtio_blk_config *)dev->config)->capacity, 2 * DISK_SIZE / 512);
    assert_int_equal(config_interrupts, 1);
    assert_true(atomic_load(&dev->config_generation) != generation);
    assert_int_equal(run_one(VIRTIO_BLK_T_OUT, DISK_SIZE / 512, DATA_GPA, 512, false),
                     VIRTIO_BLK_S_OK);
    assert_int_equal(drive_resize(&blk->drive, DISK_SIZE / 2, &err), 0);
    assert_int_equal(config_interrupts, 2);
    assert_int_equal(run_one(VIRTIO_BLK_T_IN, DISK_SIZE / 1024, DATA_GPA, 512, true),
                     VIRTIO_BLK_S_IOERR);
    assert_true(drive_resize(&blk->drive, 1000, &err) < 0);
    assert_int_equal(((struct virtio_blk_config *)dev->config)->capacity, DISK_SIZE / 1024);
    free_device();
}

static void the_guest_may_switch_the_cache_mode_and_a_reset_undoes_it(void **state)
{
    uint8_t zero = 0, junk[8] = {0};
    make_device();
    struct virtio_blk_config *c = dev->config;
    uint64_t capacity = c->capacity;
    assert_int_equal(c->wce, 1);
    dev->ops->config_write(dev, offsetof(struct virtio_blk_config, capacity), junk, 8);
    assert_int_equal(c->capacity, capacity);
    dev->ops->config_write(dev, offsetof(struct virtio_blk_config, wce), &zero, 1);
    assert_int_equal(c->wce, 0);
    assert_int_equal(run_one(VIRTIO_BLK_T_OUT, 0, DATA_GPA, 4096, false), VIRTIO_BLK_S_OK);
    reset_device();
    assert_int_equal(c->wce, 1);
    free_device();
}

static int prepare(void **state)
{
    struct kv_error err;
    config = (struct drive_config){.fd = -1, .queue_size = QUEUE_SIZE};
    return loop_init(&loop, &err);
}

static int clean_up(void **state)
{
    loop_destroy(&loop);
    unlink(path);
    return 0;
}

#define BLK_TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLK_TEST(scattered_writes_come_back_in_scattered_reads),
        BLK_TEST(buffers_may_be_cut_anywhere),
        BLK_TEST(the_serial_is_padded_with_zeros),
        BLK_TEST(wrong_requests_get_an_error_and_the_disk_goes_on),
        BLK_TEST(a_chain_without_header_or_status_needs_a_reset),
        BLK_TEST(a_read_only_disk_says_so_and_refuses_writes),
        BLK_TEST(zeroes_and_discards_do_what_they_say),
        BLK_TEST(a_batch_is_answered_completely_with_few_interrupts),
        BLK_TEST(a_failed_write_is_reported_or_passed_over_as_asked),
        BLK_TEST(a_write_that_failed_under_stop_is_done_when_the_machine_goes_on),
        BLK_TEST(what_was_held_is_forgotten_by_a_reset),
        BLK_TEST(a_stop_does_not_wait_for_a_changing_graph_and_loses_nothing),
        BLK_TEST(limited_requests_take_their_time_and_others_do_not),
        BLK_TEST(a_full_ring_is_no_fault_of_the_guest),
        BLK_TEST(contradictory_options_are_refused_by_name),
        BLK_TEST(a_resized_disk_tells_the_guest_and_serves_the_new_end),
        BLK_TEST(the_guest_may_switch_the_cache_mode_and_a_reset_undoes_it),
    };
    const char *dir = getenv("MESON_BUILD_ROOT");
    snprintf(path, sizeof(path), "%.200s/test-blk-%d", dir ? dir : ".", (int)getpid());
    memory = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const struct guest_mem_region region = {.size = MEM_SIZE, .hva = memory, .fd = -1};
    if (memory == MAP_FAILED || guest_mem_add(&mem, &region) < 0)
        return 1;
    int failed = cmocka_run_group_tests_name("virtio_blk, split rings", tests, NULL, NULL);
    packed = true;
    return failed + cmocka_run_group_tests_name("virtio_blk, packed rings", tests, NULL, NULL);
}
