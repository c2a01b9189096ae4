/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a frame takes between two guests of a switch by vhost-user: both guests are this
 * program, which listens at two sockets, waits until a switch has connected to both, and then
 * sends one frame after the other. Prints microseconds, median, 99 % and 99.9 %, of frames that
 * follow each other at once, and of frames that come after the switch had PAUSE_US of rest.
 * usage: vhost_latency SOCKET SOCKET BYTES SAMPLES
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"
#include "vring/vhost_user.h"
#include "vring_driver.h"

#define MEMORY MIB(2)
#define USER_ADDRESS UINT64_C(0x700000000000) /* what we call our memory's begin */
#define RINGS_GPA 0x1000
#define RX_GPA 0x80000
#define TX_GPA 0x100000
#define BUFFER 2048
#define RING_SIZE 256
#define HEADER 12
#define PAUSE_US 1000
#define PATIENCE_NS INT64_C(10000000000)
#define LOST_NS INT64_C(100000000)

struct guest {
    int socket;
    struct guest_mem mem;
    uint8_t *memory;
    int memory_fd, kick_fd, call_fd;
    struct vring_driver rx, tx;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "vhost_latency: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void say(struct guest *g, uint32_t request, const void *payload, uint32_t size, int fd)
{
    struct vhost_user_message m = {.header = {request, VHOST_USER_VERSION, size}};
    if (size)
        memcpy(&m.payload, payload, size);
    if (vhost_user_send(g->socket, &m, &fd, fd >= 0, clock_monotonic_ns() + PATIENCE_NS) < 0)
        fail("a message");
}

static uint64_t ask(struct guest *g, uint32_t request)
{
    struct vhost_user_message m;
    int fds[VHOST_USER_REGIONS_MAX];
    size_t count = ARRAY_SIZE(fds);
    say(g, request, NULL, 0, -1);
    if (vhost_user_receive(g->socket, &m, fds, &count, clock_monotonic_ns() + PATIENCE_NS) < 0)
        fail("an answer");
    return m.payload.number;
}

static void add_rx_buffer(struct guest *g, uint64_t slot)
{
    const struct vring_buffer buffer = {RX_GPA + slot * BUFFER, BUFFER, true};
    if (!vring_driver_add(&g->rx, &buffer, 1, 0, slot))
        fail("a buffer");
}

static void make_memory(struct guest *g)
{
    g->memory_fd = memfd_create("guest", MFD_CLOEXEC);
    if (g->memory_fd < 0 || ftruncate(g->memory_fd, MEMORY) < 0)
        fail("memory");
    g->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, g->memory_fd, 0);
    if (g->memory == MAP_FAILED)
        fail("memory");
    const struct guest_mem_region region = {.size = MEMORY, .hva = g->memory, .fd = -1};
    guest_mem_add(&g->mem, &region);
    uint64_t next = vring_driver_init(&g->rx, &g->mem, RING_SIZE, false, false, RINGS_GPA);
    vring_driver_init(&g->tx, &g->mem, RING_SIZE, false, false, ALIGN_UP(next, 4096));
    for (unsigned i = 0; i < RING_SIZE; i++)
        add_rx_buffer(g, i);
    g->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    g->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void start_ring(struct guest *g, uint32_t index, const struct vring_driver *d)
{
    const uint64_t number = index;
    const struct vhost_user_vring_state size = {index, RING_SIZE}, base = {index, 0};
    const struct vhost_user_vring_addr addr = {
        .index = index,
        .desc = USER_ADDRESS + d->desc_gpa,
        .avail = USER_ADDRESS + d->driver_gpa,
        .used = USER_ADDRESS + d->device_gpa,
    };
    say(g, VHOST_USER_SET_VRING_NUM, &size, sizeof(size), -1);
    say(g, VHOST_USER_SET_VRING_BASE, &base, sizeof(base), -1);
    say(g, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
    say(g, VHOST_USER_SET_VRING_KICK, &number, sizeof(number), g->kick_fd);
    say(g, VHOST_USER_SET_VRING_CALL, &number, sizeof(number), g->call_fd);
}

static void connect_guest(struct guest *g, int listener)
{
    g->socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (g->socket < 0 || fd_set_nonblocking(g->socket, true) < 0)
        fail("no switch");
    make_memory(g);
    const uint64_t features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF);
    const struct vhost_user_memory table = {.count = 1,
                                            .regions = {{.size = MEMORY, .address = USER_ADDRESS}}};
    if ((ask(g, VHOST_USER_GET_FEATURES) & features) != features)
        fail("the switch's features");
    say(g, VHOST_USER_SET_OWNER, NULL, 0, -1);
    say(g, VHOST_USER_SET_FEATURES, &features, sizeof(features), -1);
    say(g, VHOST_USER_SET_MEM_TABLE, &table, VHOST_USER_MEMORY_SIZE(1), g->memory_fd);
    start_ring(g, 0, &g->rx);
    start_ring(g, 1, &g->tx);
}

static void transmit(struct guest *g, const uint8_t *frame, uint32_t len)
{
    uint64_t token;
    uint32_t written;
    while (vring_driver_get(&g->tx, &token, &written))
        continue;
    const struct vring_buffer buffer = {TX_GPA, HEADER + len, false};
    memcpy(g->memory + TX_GPA + HEADER, frame, len);
    if (!vring_driver_add(&g->tx, &buffer, 1, 0, 0))
        fail("room to send");
    if (vring_driver_kick_needed(&g->tx))
        eventfd_write(g->kick_fd, 1);
}

static bool receive(struct guest *g)
{
    uint64_t slot;
    uint32_t written;
    if (!vring_driver_get(&g->rx, &slot, &written))
        return false;
    add_rx_buffer(g, slot);
    return true;
}

static void make_frame(uint8_t *frame, uint8_t to, uint8_t from)
{
    const uint8_t head[14] = {2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5};
    memset(frame, 0, BUFFER);
    memcpy(frame, head, sizeof(head));
}

static int64_t once(struct guest *a, struct guest *b, const uint8_t *frame, uint32_t len)
{
    int64_t start = clock_monotonic_ns(), took = 0;
    transmit(a, frame, len);
    while (!receive(b) && took < LOST_NS)
        took = clock_monotonic_ns() - start;
    return clock_monotonic_ns() - start;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void measure(struct guest *guests, uint32_t len, unsigned count, unsigned pause_us)
{
    uint8_t frame[BUFFER];
    int64_t *samples = calloc(count, sizeof(*samples));
    if (!samples)
        fail("memory");
    make_frame(frame, 2, 1);
    for (unsigned i = 0; i < count; i++) {
        if (pause_us)
            usleep(pause_us);
        samples[i] = once(&guests[0], &guests[1], frame, len);
    }
    qsort(samples, count, sizeof(*samples), compare);
    printf("%.2f %.2f %.2f\n", (double)samples[count / 2] / 1e3,
           (double)samples[count / 100 * 99] / 1e3, (double)samples[count / 1000 * 999] / 1e3);
    free(samples);
}

/* The first frames are lost until the switch has seen both guests. */
static void meet(struct guest *guests)
{
    uint8_t frame[BUFFER];
    int64_t deadline = clock_monotonic_ns() + PATIENCE_NS;
    for (;;) {
        make_frame(frame, 1, 2);
        if (once(&guests[1], &guests[0], frame, 60) < LOST_NS)
            return;
        if (clock_monotonic_ns() > deadline)
            fail("no frame came");
    }
}

int main(int argc, char **argv)
{
    struct guest guests[2] = {0};
    struct kv_error err;
    if (argc != 5) {
        fprintf(stderr, "usage: vhost_latency SOCKET SOCKET BYTES SAMPLES\n");
        return 2;
    }
    uint32_t len = (uint32_t)strtoul(argv[3], NULL, 10);
    unsigned samples = (unsigned)strtoul(argv[4], NULL, 10);
    if (len < 60 || len > BUFFER - HEADER || samples < 1000)
        return 2;
    int listeners[2];
    for (unsigned i = 0; i < 2; i++) {
        listeners[i] = fd_listen_unix(argv[1 + i], &err);
        if (listeners[i] < 0 || fd_set_nonblocking(listeners[i], false) < 0)
            fail(argv[1 + i]);
    }
    for (unsigned i = 0; i < 2; i++)
        connect_guest(&guests[i], listeners[i]);
    meet(guests);
    measure(guests, len, samples, 0);
    measure(guests, len, samples / 100 < 1000 ? 1000 : samples / 100, PAUSE_US);
    unlink(argv[1]);
    unlink(argv[2]);
    return 0;
}
