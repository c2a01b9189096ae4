/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-console between a driver over fake memory and sockets at the host's end. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/iothread.h"
#include "base/util.h"
#include "unit.h"
#include "vmm/virtio/console.h"
#include "vring_driver.h"

#define MEMORY MIB(2)
#define QUEUES 6 /* of ports 0 and 1, and control */
#define RING 16
#define BUFFER 1024 /* bytes of a driver's buffer */
#define PATIENCE_MS 5000
#define MEGABYTE 1000000

static struct fixture {
    struct iothread thread;
    struct guest_mem mem;
    uint8_t *memory;
    struct virtio_console *console;
    struct virtio_device *dev;
    struct vring_driver rings[QUEUES];
    uint64_t buffers[QUEUES]; /* guest address of each queue's RING buffers */
    unsigned next_buffer[QUEUES];
    int host[2]; /* the other ends of the ports' chardevs */
} f;

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 151 ^ i >> 10);
}

struct port_request {
    unsigned number;
    const char *name;
    int rc;
};

static void add_port_now(void *opaque)
{
    struct port_request *request = opaque;
    int pair[2];
    char spec[16];
    struct chardev *chardev;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    snprintf(spec, sizeof(spec), "fd:%d", pair[0]);
    assert_int_equal(chardev_open(&chardev, spec, &f.thread.loop, NULL), 0);
    f.host[request->number] = pair[1];
    request->rc = virtio_console_add_port(f.console, request->name, chardev, NULL);
}

static int add_port(unsigned number, const char *name)
{
    struct port_request request = {.number = number, .name = name};
    loop_call(&f.thread.loop, add_port_now, &request);
    return request.rc;
}

/* The driver finds the device, in one of the two ring formats, and fills the queues that it reads.
 */
static void add_in_buffer(unsigned queue, uint64_t gpa, uint32_t len)
{
    struct vring_buffer buffer = {.gpa = gpa, .len = len, .in = true};
    assert_true(vring_driver_add(&f.rings[queue], &buffer, 1, 0, gpa));
}

static void kick(unsigned queue)
{
    uint64_t one = 1;
    if (vring_driver_kick_needed(&f.rings[queue]))
        assert_int_equal(write(f.dev->queues[queue].kick_fd, &one, sizeof(one)), sizeof(one));
}

static void start_driver(bool packed, bool event_idx, bool multiport, uint32_t control_len)
{
    bool ready[2 * (CONSOLE_PORTS_MAX + 1)] = {false};
    uint64_t gpa = 4096;
    f.dev->driver_features = BIT(VIRTIO_F_VERSION_1);
    if (multiport)
        f.dev->driver_features |= BIT(VIRTIO_CONSOLE_F_MULTIPORT);
    if (packed)
        f.dev->driver_features |= BIT(VIRTIO_F_RING_PACKED);
    if (event_idx)
        f.dev->driver_features |= BIT(29);
    assert_true(virtio_features_ok(f.dev));
    for (unsigned i = 0; i < (multiport ? QUEUES : 2); i++) {
        vring_driver_destroy(&f.rings[i]);
        gpa = ALIGN_UP(vring_driver_init(&f.rings[i], &f.mem, RING, packed, event_idx, gpa),
                       UINT64_C(4096));
        vring_driver_describe(&f.rings[i], &f.dev->queues[i].ring);
        f.buffers[i] = gpa;
        f.next_buffer[i] = 0;
        gpa += RING * BUFFER;
        ready[i] = true;
        for (unsigned n = 0; i % 2 == 0 && n < RING; n++)
            add_in_buffer(i, f.buffers[i] + n * BUFFER, i == 2 ? control_len : BUFFER);
    }
    assert_true(gpa <= MEMORY);
    assert_int_equal(virtio_device_start(f.dev, ready), 0);
    atomic_store(&f.dev->status, VIRTIO_CONFIG_S_DRIVER_OK);
    for (unsigned i = 0; i < QUEUES; i += 2) {
        if (ready[i])
            kick(i);
    }
}

static int set_up_ports(const char *first, const char *second)
{
    f = (struct fixture){.host = {-1, -1}};
    f.memory = aligned_alloc(4096, MEMORY);
    struct guest_mem_region region = {.size = MEMORY, .hva = f.memory, .fd = -1};
    if (guest_mem_add(&f.mem, &region) < 0 || iothread_init(&f.thread, "console", NULL) < 0 ||
        virtio_console_new(&f.console, &f.mem, &f.thread.loop, NULL) < 0)
        return -1;
    f.dev = virtio_console_device(f.console);
    assert_int_equal(add_port(0, first), 0);
    if (second)
        assert_int_equal(add_port(1, second), 0);
    return iothread_start(&f.thread, NULL);
}

static int set_up(void **state)
{
    return set_up_ports(NULL, "org.example.agent");
}

static int set_up_single(void **state)
{
    return set_up_ports(NULL, NULL);
}

static int tear_down(void **state)
{
    f.dev->ops->free(f.dev);
    iothread_stop(&f.thread);
    for (unsigned i = 0; i < QUEUES; i++)
        vring_driver_destroy(&f.rings[i]);
    for (unsigned i = 0; i < 2; i++) {
        if (f.host[i] >= 0)
            close(f.host[i]);
    }
    free(f.memory);
    return 0;
}

/* Waits for a finished request of a queue; its buffer's address and length. */
static bool wait_used(unsigned queue, uint64_t *gpa, uint32_t *len, int patience_ms)
{
    for (int i = 0; i < patience_ms * 10; i++) {
        if (vring_driver_get(&f.rings[queue], gpa, len))
            return true;
        usleep(100);
    }
    return false;
}

static void send_bytes(unsigned queue, const void *bytes, uint32_t len)
{
    uint64_t gpa = f.buffers[queue] + f.next_buffer[queue]++ % RING * BUFFER, done;
    uint32_t written;
    struct vring_buffer buffer = {.gpa = gpa, .len = len};
    /* With a free slot the oldest buffer is free too: requests finish in their order. */
    while (!f.rings[queue].free_count)
        assert_true(wait_used(queue, &done, &written, PATIENCE_MS));
    memcpy(f.memory + gpa, bytes, len);
    assert_true(vring_driver_add(&f.rings[queue], &buffer, 1, 0, gpa));
    kick(queue);
}

static void send_control(uint32_t id, uint16_t event, uint16_t value)
{
    struct virtio_console_control message = {id, event, value};
    send_bytes(3, &message, sizeof(message));
}

/* The next control message is this one, with this text behind it. */
static void expect_control(uint32_t id, uint16_t event, uint16_t value, const char *text)
{
    struct virtio_console_control message;
    uint64_t gpa;
    uint32_t len;
    assert_true(wait_used(2, &gpa, &len, PATIENCE_MS));
    assert_int_equal(len, sizeof(message) + strlen(text));
    memcpy(&message, f.memory + gpa, sizeof(message));
    assert_int_equal(message.event, event);
    assert_int_equal(message.id, id);
    assert_int_equal(message.value, value);
    assert_memory_equal(f.memory + gpa + sizeof(message), text, strlen(text));
    add_in_buffer(2, gpa, BUFFER);
    kick(2);
}

static void expect_no_control(void)
{
    uint64_t gpa;
    uint32_t len;
    assert_false(wait_used(2, &gpa, &len, 50));
}

static void introduce_ports(void)
{
    send_control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect_control(0, VIRTIO_CONSOLE_PORT_ADD, 1, "");
    expect_control(1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
    send_control(0, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_control(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, "");
    expect_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
    send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_control(1, VIRTIO_CONSOLE_PORT_NAME, 1, "org.example.agent");
    expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
    send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static size_t read_for(int fd, uint8_t *bytes, size_t len, int quiet_ms)
{
    size_t got = 0;
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (got < len && poll(&poller, 1, quiet_ms) > 0) {
        ssize_t n = read(fd, bytes + got, len - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

static void assert_pattern(const uint8_t *bytes, size_t len, size_t first)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != pattern(first + i))
            fail_msg("byte %zu is %u instead of %u", i, bytes[i], pattern(first + i));
    }
}

/* Reads what the guest sends and sends it back, slowly and in odd pieces. */
static void *echo(void *opaque)
{
    int fd = *(int *)opaque;
    uint8_t bytes[7777];
    for (size_t total = 0; total < MEGABYTE;) {
        size_t n = read_for(fd, bytes, MIN(sizeof(bytes), MEGABYTE - total), PATIENCE_MS);
        if (!n || fd_write_all(fd, bytes, n) < 0)
            break;
        total += n;
        usleep(200);
    }
    return NULL;
}

/* Sends and receives a megabyte through a port, as the guest. */
static void exchange_megabyte(unsigned rx, unsigned tx)
{
    uint8_t bytes[BUFFER], *all = malloc(MEGABYTE);
    size_t sent = 0, got = 0;
    while (got < MEGABYTE) {
        uint64_t gpa;
        uint32_t len = (uint32_t)MIN(sizeof(bytes) - sent % 100, MEGABYTE - sent);
        /* No more than fits on the way, or everybody waits for everybody. */
        if (len && sent - got < 50000) {
            for (uint32_t i = 0; i < len; i++)
                bytes[i] = pattern(sent + i);
            send_bytes(tx, bytes, len);
            sent += len;
        }
        bool wait = sent == MEGABYTE || sent - got >= 50000;
        while (wait_used(rx, &gpa, &len, wait ? PATIENCE_MS : 0)) {
            assert_true(got + len <= MEGABYTE);
            memcpy(all + got, f.memory + gpa, len);
            got += len;
            add_in_buffer(rx, gpa, BUFFER);
            kick(rx);
            wait = false;
        }
        assert_false(wait);
    }
    assert_pattern(all, MEGABYTE, 0);
    free(all);
}

static void a_megabyte_comes_back_through(bool packed, bool event_idx)
{
    pthread_t thread;
    start_driver(packed, event_idx, true, BUFFER);
    introduce_ports();
    for (unsigned port = 0; port < 2; port++) {
        assert_int_equal(pthread_create(&thread, NULL, echo, &f.host[port]), 0);
        exchange_megabyte(port ? 4 : 0, port ? 5 : 1);
        pthread_join(thread, NULL);
    }
}

static void a_megabyte_comes_back_through_split_rings(void **state)
{
    a_megabyte_comes_back_through(false, false);
}

static void a_megabyte_comes_back_through_split_rings_with_event_index(void **state)
{
    a_megabyte_comes_back_through(false, true);
}

static void a_megabyte_comes_back_through_packed_rings(void **state)
{
    a_megabyte_comes_back_through(true, true);
}

static void a_console_alone_needs_no_control_queue(void **state)
{
    pthread_t thread;
    assert_false(f.dev->features & BIT(VIRTIO_CONSOLE_F_MULTIPORT));
    start_driver(false, true, false, 0);
    assert_int_equal(pthread_create(&thread, NULL, echo, &f.host[0]), 0);
    exchange_megabyte(0, 1);
    pthread_join(thread, NULL);
}

static void a_host_that_leaves_is_announced(void **state)
{
    start_driver(false, false, true, BUFFER);
    introduce_ports();
    close(f.host[1]);
    f.host[1] = -1;
    expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
}

static void a_named_port_receives_only_while_it_is_open(void **state)
{
    uint64_t gpa;
    uint32_t len;
    start_driver(false, false, true, BUFFER);
    introduce_ports();
    send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    send_bytes(5, "sync", 4); /* it is closed when this has arrived */
    uint8_t got[4];
    assert_int_equal(read_for(f.host[1], got, 4, PATIENCE_MS), 4);
    usleep(10000);
    assert_int_equal(fd_write_all(f.host[1], "late", 4), 0);
    assert_false(wait_used(4, &gpa, &len, 50));
    send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    assert_true(wait_used(4, &gpa, &len, PATIENCE_MS));
    assert_int_equal(len, 4);
    assert_memory_equal(f.memory + gpa, "late", 4);
}

static void nonsense_on_the_control_queue_is_survived(void **state)
{
    static const struct virtio_console_control nonsense[] = {
        {2, VIRTIO_CONSOLE_PORT_READY, 1},
        {CONSOLE_PORTS_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1},
        {0xffffffff, VIRTIO_CONSOLE_PORT_READY, 1},
        {0x80000000, VIRTIO_CONSOLE_PORT_OPEN, 0},
        {0, VIRTIO_CONSOLE_PORT_ADD, 1},
        {0, 0xffff, 0xffff},
        {1, VIRTIO_CONSOLE_RESIZE, 1},
        {0, VIRTIO_CONSOLE_DEVICE_READY, 0},
        {0, VIRTIO_CONSOLE_PORT_READY, 0},
    };
    start_driver(false, false, true, BUFFER);
    for (unsigned i = 0; i < ARRAY_SIZE(nonsense); i++)
        send_bytes(3, &nonsense[i], sizeof(nonsense[i]));
    for (uint32_t len = 1; len < sizeof(nonsense[0]); len++)
        send_bytes(3, &nonsense[0], len);
    expect_no_control();
    assert_false(atomic_load(&f.dev->needs_reset));
    introduce_ports();
}

static void a_flood_of_requests_is_answered_once_there_is_room(void **state)
{
    uint64_t gpa;
    uint32_t len;
    unsigned messages = 0;
    start_driver(false, false, true, BUFFER);
    for (unsigned i = 0; i < 20000; i++)
        send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    while (wait_used(2, &gpa, &len, 50))
        messages++;
    assert_in_range(messages, 2, RING);
    for (unsigned i = 0; i < messages; i++)
        add_in_buffer(2, f.buffers[2] + i * BUFFER, BUFFER);
    kick(2);
    while (wait_used(2, &gpa, &len, 50))
        messages++;
    assert_in_range(messages, RING, RING + 2);
}

static void a_control_buffer_too_small_breaks_the_device_until_its_reset(void **state)
{
    start_driver(false, false, true, 4);
    send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    unsigned status = 0;
    for (int i = 0; i < PATIENCE_MS && !(status & VIRTIO_CONFIG_S_NEEDS_RESET); i++) {
        usleep(1000);
        status = atomic_load(&f.dev->status);
    }
    assert_true(status & VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_true(atomic_load(&f.dev->needs_reset));
    virtio_device_reset(f.dev);
    start_driver(true, true, true, BUFFER);
    introduce_ports();
}

static void an_emergency_byte_leaves_without_a_driver(void **state)
{
    uint8_t got[2] = {0};
    uint32_t value = 'E';
    unsigned offset = offsetof(struct virtio_console_config, emerg_wr);
    assert_true(f.dev->features & BIT(VIRTIO_CONSOLE_F_EMERG_WRITE));
    f.dev->ops->config_write(f.dev, offset, &value, sizeof(value));
    f.dev->ops->config_write(f.dev, 0, &value, sizeof(value));
    assert_int_equal(read_for(f.host[0], got, 2, 50), 1);
    assert_int_equal(got[0], 'E');
}

static void state_survives_being_saved_and_loaded(void **state)
{
    static uint8_t bytes[RING * BUFFER + 3000];
    uint64_t gpa;
    uint32_t len;
    start_driver(false, false, true, BUFFER);
    introduce_ports();
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = pattern(i);
    /* More than the driver has buffers for: the rest waits in the device. */
    assert_int_equal(fd_write_all(f.host[0], bytes, sizeof(bytes)), 0);
    for (unsigned i = 0; i < RING; i++) {
        assert_true(wait_used(0, &gpa, &len, PATIENCE_MS));
        assert_pattern(f.memory + gpa, len, i * BUFFER);
    }
    usleep(20000);
    virtio_device_stop(f.dev);
    json_t *saved = f.dev->ops->save(f.dev);
    virtio_device_reset(f.dev);
    start_driver(false, false, true, BUFFER);
    virtio_device_stop(f.dev);
    assert_int_equal(f.dev->ops->load(f.dev, saved, NULL), 0);
    json_decref(saved);
    bool ready[2 * (CONSOLE_PORTS_MAX + 1)] = {true, true, true, true, true, true};
    assert_int_equal(virtio_device_start(f.dev, ready), 0);
    virtio_device_kick_all(f.dev);
    for (size_t got = RING * BUFFER; got < sizeof(bytes); got += len) {
        assert_true(wait_used(0, &gpa, &len, PATIENCE_MS));
        assert_pattern(f.memory + gpa, len, got);
    }
    json_t *broken = json_pack("{s:[{s:b}]}", "ports", "ready", 1);
    struct kv_error err;
    assert_int_equal(f.dev->ops->load(f.dev, broken, &err), -EINVAL);
    json_decref(broken);
}

static void ports_that_cannot_be_are_refused(void **state)
{
    char name[16], long_name[CONSOLE_NAME_MAX + 2];
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    int kept = f.host[0];
    assert_int_equal(add_port(0, "org.example.agent"), -EEXIST);
    close(f.host[0]);
    assert_int_equal(add_port(0, long_name), -EINVAL);
    close(f.host[0]);
    assert_int_equal(add_port(0, "a/b"), -EINVAL);
    close(f.host[0]);
    for (unsigned i = 2; i < CONSOLE_PORTS_MAX; i++) {
        snprintf(name, sizeof(name), "port%u", i);
        assert_int_equal(add_port(0, name), 0);
        close(f.host[0]);
    }
    assert_int_equal(add_port(0, "one.more"), -ENOSPC);
    close(f.host[0]);
    f.host[0] = kept;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_megabyte_comes_back_through_split_rings),
        TEST(a_megabyte_comes_back_through_split_rings_with_event_index),
        TEST(a_megabyte_comes_back_through_packed_rings),
        cmocka_unit_test_setup_teardown(a_console_alone_needs_no_control_queue, set_up_single,
                                        tear_down),
        TEST(a_host_that_leaves_is_announced),
        TEST(a_named_port_receives_only_while_it_is_open),
        TEST(nonsense_on_the_control_queue_is_survived),
        TEST(a_flood_of_requests_is_answered_once_there_is_room),
        TEST(a_control_buffer_too_small_breaks_the_device_until_its_reset),
        TEST(an_emergency_byte_leaves_without_a_driver),
        TEST(state_survives_being_saved_and_loaded),
        TEST(ports_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests_name("vmm_console", tests, NULL, NULL);
}
