/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests without machines; see vhost_guest.h. */
#include "vhost_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"
#include "vring/vhost_user.h"

#define USER_ADDRESS UINT64_C(0x700000000000) /* what we call our memory's begin */
#define RINGS_GPA 0x1000

_Noreturn void vhost_guest_fail(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

static void say(struct vhost_guest *g, uint32_t request, const void *payload, uint32_t size, int fd)
{
    struct vhost_user_message m = {.header = {request, VHOST_USER_VERSION, size}};
    if (size)
        memcpy(&m.payload, payload, size);
    if (vhost_user_send(g->socket, &m, &fd, fd >= 0,
                        clock_monotonic_ns() + VHOST_GUEST_PATIENCE_NS) < 0)
        vhost_guest_fail("a message");
}

static uint64_t ask(struct vhost_guest *g, uint32_t request)
{
    struct vhost_user_message m;
    int fds[VHOST_USER_REGIONS_MAX];
    size_t count = ARRAY_SIZE(fds);
    say(g, request, NULL, 0, -1);
    if (vhost_user_receive(g->socket, &m, fds, &count,
                           clock_monotonic_ns() + VHOST_GUEST_PATIENCE_NS) < 0)
        vhost_guest_fail("an answer");
    return m.payload.number;
}

void vhost_guest_add_buffer(struct vhost_guest *g, uint64_t slot)
{
    const struct vring_buffer buffer = {g->rx_gpa + slot * g->rx_buffer, g->rx_buffer, true};
    if (!vring_driver_add(&g->rx, &buffer, 1, 0, slot))
        vhost_guest_fail("a buffer");
}

void vhost_guest_kick(struct vhost_guest *g)
{
    if (vring_driver_kick_needed(&g->tx))
        eventfd_write(g->kick_fd, 1);
}

/* Both rings, buffers for reception, and what is sent, one behind the other; returns its size. The
 * rings take less than 64 bytes a descriptor. */
static uint64_t lay_out(struct vhost_guest *g)
{
    g->rx_gpa = ALIGN_UP(RINGS_GPA + 2 * 64 * (uint64_t)g->ring_size, 4096);
    g->tx_gpa = ALIGN_UP(g->rx_gpa + (uint64_t)g->ring_size * g->rx_buffer, 4096);
    return ALIGN_UP(g->tx_gpa + g->tx_room, MIB(2));
}

static uint64_t make_memory(struct vhost_guest *g)
{
    uint64_t size = lay_out(g);
    g->memory_fd = memfd_create("guest", MFD_CLOEXEC);
    if (g->memory_fd < 0 || ftruncate(g->memory_fd, (off_t)size) < 0)
        vhost_guest_fail("memory");
    g->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, g->memory_fd, 0);
    if (g->memory == MAP_FAILED)
        vhost_guest_fail("memory");
    const struct guest_mem_region region = {.size = size, .hva = g->memory, .fd = -1};
    guest_mem_add(&g->mem, &region);
    uint64_t next = vring_driver_init(&g->rx, &g->mem, g->ring_size, false, false, RINGS_GPA);
    next = vring_driver_init(&g->tx, &g->mem, g->ring_size, false, false, ALIGN_UP(next, 4096));
    if (next > g->rx_gpa)
        vhost_guest_fail("room for the rings");
    for (unsigned i = 0; i < g->ring_size; i++)
        vhost_guest_add_buffer(g, i);
    g->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    g->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return size;
}

static void start_ring(struct vhost_guest *g, uint32_t index, const struct vring_driver *d)
{
    const uint64_t number = index;
    const struct vhost_user_vring_state size = {index, g->ring_size}, base = {index, 0};
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

static void connect_guest(struct vhost_guest *g, int listener)
{
    g->socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (g->socket < 0 || fd_set_nonblocking(g->socket, true) < 0)
        vhost_guest_fail("no switch");
    uint64_t size = make_memory(g);
    const struct vhost_user_memory table = {.count = 1,
                                            .regions = {{.size = size, .address = USER_ADDRESS}}};
    uint64_t missing = g->features & ~ask(g, VHOST_USER_GET_FEATURES);
    if (missing) {
        fprintf(stderr, "%s: the switch has no features %#llx\n", program_invocation_short_name,
                (unsigned long long)missing);
        exit(1);
    }
    say(g, VHOST_USER_SET_OWNER, NULL, 0, -1);
    say(g, VHOST_USER_SET_FEATURES, &g->features, sizeof(g->features), -1);
    say(g, VHOST_USER_SET_MEM_TABLE, &table, VHOST_USER_MEMORY_SIZE(1), g->memory_fd);
    start_ring(g, 0, &g->rx);
    start_ring(g, 1, &g->tx);
}

void vhost_guests_connect(struct vhost_guest guests[2], char *paths[2])
{
    struct kv_error err;
    int listeners[2];
    for (unsigned i = 0; i < 2; i++) {
        listeners[i] = fd_listen_unix(paths[i], &err);
        if (listeners[i] < 0 || fd_set_nonblocking(listeners[i], false) < 0)
            vhost_guest_fail(paths[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        connect_guest(&guests[i], listeners[i]);
        unlink(paths[i]);
    }
}
