/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests of the switch for tests; see switch_guest.h. */
#include "switch_guest.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"

#define RINGS_GPA 0x1000
#define RX_BUFFERS_GPA 0x40000
#define TX_BUFFERS_GPA 0x80000
#define LONG_BUFFER_GPA 0xc0000
#define MAC_LIMIT 16

static void require(bool condition)
{
    if (!condition)
        abort();
}

void switch_bench_init(struct switch_bench *bench)
{
    struct kv_error err;
    require(loop_init(&bench->loop, &err) == 0);
    require(forward_init(&bench->forward, FORWARD_CORE_ANY, &err) == 0);
    bench->bridge = bridge_new(&bench->forward, "br0", 1024, 300, &err);
    require(bench->bridge);
    switch_step(bench);
}

void switch_bench_destroy(struct switch_bench *bench)
{
    bridge_free(bench->bridge);
    forward_destroy(&bench->forward);
    loop_destroy(&bench->loop);
}

void switch_step(struct switch_bench *bench)
{
    /* Whoever fell asleep has been kicked. */
    for (unsigned i = 0; i < bench->bridge->slots_used; i++)
        forward_wake_port(bench->bridge->slots[i]);
    forward_round(&bench->forward);
}

static void add_rx_buffer(struct switch_guest *g, uint64_t slot)
{
    struct vring_buffer buffer = {
        .gpa = RX_BUFFERS_GPA + slot * GUEST_BUFFER, .len = g->rx_buffer, .in = true};
    require(vring_driver_add(&g->rx, &buffer, 1, 0, slot));
}

static void lay_rings_out(struct switch_guest *g, bool packed)
{
    uint64_t next = vring_driver_init(&g->rx, &g->mem, GUEST_RING_SIZE, packed, false, RINGS_GPA);
    vring_driver_init(&g->tx, &g->mem, GUEST_RING_SIZE, packed, false, ALIGN_UP(next, 4096));
    for (unsigned i = 0; i < GUEST_RING_SIZE; i++)
        add_rx_buffer(g, i);
}

void switch_guest_renew(struct switch_guest *g)
{
    bool packed = g->rx.packed;
    vhost_session_end(g->vp);
    vhost_session_begin(g->vp);
    /* It may have been cut short. */
    require(ftruncate(g->memory_fd, GUEST_MEMORY) == 0);
    memset(g->memory, 0, GUEST_MEMORY);
    vring_driver_destroy(&g->rx);
    vring_driver_destroy(&g->tx);
    g->sent = 0;
    lay_rings_out(g, packed);
}

void switch_guest_init(struct switch_guest *g, struct switch_bench *bench, bool packed,
                       uint32_t rx_buffer)
{
    struct kv_error err;
    *g = (struct switch_guest){.rx_buffer = rx_buffer};
    g->memory_fd = memfd_create("guest", MFD_CLOEXEC);
    require(g->memory_fd >= 0 && ftruncate(g->memory_fd, GUEST_MEMORY) == 0);
    g->memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, g->memory_fd, 0);
    require(g->memory != MAP_FAILED);
    const struct guest_mem_region region = {.size = GUEST_MEMORY, .hva = g->memory, .fd = -1};
    require(guest_mem_add(&g->mem, &region) == 0);
    lay_rings_out(g, packed);
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, g->sockets) == 0);
    g->kick_fd = eventfd(0, EFD_NONBLOCK);
    g->call_fd = eventfd(0, EFD_NONBLOCK);
    g->vp = vhost_port_new(&bench->loop, "/nowhere", false, &err);
    require(g->vp);
    struct port *port = &g->vp->port;
    port->mac_limit = MAC_LIMIT;
    memset(port->vlans.carried, 0xff, sizeof(port->vlans.carried));
    require(bridge_attach(bench->bridge, port) == 0);
    forward_add_port(&bench->forward, port);
}

void switch_guest_destroy(struct switch_guest *g, struct switch_bench *bench)
{
    vhost_session_end(g->vp);
    vhost_port_stop(g->vp);
    forward_remove_port(&bench->forward, &g->vp->port);
    bridge_detach(bench->bridge, &g->vp->port);
    vhost_port_free(g->vp);
    vring_driver_destroy(&g->rx);
    vring_driver_destroy(&g->tx);
    munmap(g->memory, GUEST_MEMORY);
    close(g->memory_fd);
    close(g->kick_fd);
    close(g->call_fd);
    close(g->sockets[0]);
    close(g->sockets[1]);
}

int switch_guest_say(struct switch_guest *g, uint32_t request, const void *payload, uint32_t size,
                     int fd)
{
    struct vhost_user_message m = {.header = {request, VHOST_USER_VERSION, size}};
    struct kv_error err = {0};
    int fds[1] = {fd >= 0 ? dup(fd) : -1};
    if (size)
        memcpy(&m.payload, payload, size);
    int rc = vhost_session_message(g->vp, &m, fds, fd >= 0, g->sockets[0], &err);
    if (fds[0] >= 0)
        close(fds[0]);
    return rc;
}

int switch_guest_say_state(struct switch_guest *g, uint32_t request, unsigned ring, uint32_t num)
{
    const struct vhost_user_vring_state state = {ring, num};
    return switch_guest_say(g, request, &state, sizeof(state), -1);
}

int switch_guest_say_memory(struct switch_guest *g)
{
    const struct vhost_user_memory table = {
        .count = 1, .regions = {{.size = GUEST_MEMORY, .address = GUEST_USER_ADDRESS}}};
    return switch_guest_say(g, VHOST_USER_SET_MEM_TABLE, &table, VHOST_USER_MEMORY_SIZE(1),
                            g->memory_fd);
}

static void start_ring(struct switch_guest *g, unsigned index, const struct vring_driver *d)
{
    const uint64_t number = index;
    const struct vhost_user_vring_addr addr = {
        .index = index,
        .desc = GUEST_USER_ADDRESS + d->desc_gpa,
        .avail = GUEST_USER_ADDRESS + d->driver_gpa,
        .used = GUEST_USER_ADDRESS + d->device_gpa,
    };
    /* Packed rings begin with their wrap counters set. */
    uint32_t base = d->packed ? 0x80008000U : 0;
    require(switch_guest_say_state(g, VHOST_USER_SET_VRING_NUM, index, d->size) == 0);
    require(switch_guest_say_state(g, VHOST_USER_SET_VRING_BASE, index, base) == 0);
    require(switch_guest_say(g, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1) == 0);
    require(switch_guest_say(g, VHOST_USER_SET_VRING_CALL, &number, 8, g->call_fd) == 0);
    require(switch_guest_say(g, VHOST_USER_SET_VRING_KICK, &number, 8, g->kick_fd) == 0);
    require(switch_guest_say_state(g, VHOST_USER_SET_VRING_ENABLE, index, 1) == 0);
}

void switch_guest_start(struct switch_guest *g)
{
    const uint64_t features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
                              BIT(VHOST_USER_F_PROTOCOL_FEATURES) | g->offloads |
                              (g->rx.packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
    require(switch_guest_say(g, VHOST_USER_SET_FEATURES, &features, 8, -1) == 0);
    require(switch_guest_say_memory(g) == 0);
    start_ring(g, 0, &g->rx);
    start_ring(g, 1, &g->tx);
}

void switch_guest_send(struct switch_guest *g, const uint8_t *frame, unsigned len)
{
    uint32_t written;
    uint64_t token, gpa = TX_BUFFERS_GPA + (uint64_t)(g->sent++ % GUEST_RING_SIZE) * GUEST_BUFFER;
    while (vring_driver_get(&g->tx, &token, &written))
        continue;
    memset(g->memory + gpa, 0, GUEST_HEADER);
    memcpy(g->memory + gpa + GUEST_HEADER, frame, len);
    const struct vring_buffer buffer = {.gpa = gpa, .len = GUEST_HEADER + len};
    require(vring_driver_add(&g->tx, &buffer, 1, 0, 0));
}

void switch_guest_send_with(struct switch_guest *g, const struct virtio_net_hdr *header,
                            const uint8_t *frame, unsigned len)
{
    uint32_t written;
    uint64_t token;
    uint8_t *buffer = g->memory + LONG_BUFFER_GPA;
    while (vring_driver_get(&g->tx, &token, &written))
        continue;
    require(GUEST_HEADER + len <= GUEST_LONG_MAX);
    memset(buffer, 0, GUEST_HEADER);
    memcpy(buffer, header, sizeof(*header));
    memcpy(buffer + GUEST_HEADER, frame, len);
    const struct vring_buffer whole = {.gpa = LONG_BUFFER_GPA, .len = GUEST_HEADER + len};
    require(vring_driver_add(&g->tx, &whole, 1, 0, 0));
}

unsigned switch_guest_receive(struct switch_guest *g, uint8_t *frame, unsigned room)
{
    uint64_t slot;
    uint32_t written;
    unsigned len = 0, buffers = 1;
    for (unsigned i = 0; i < buffers; i++) {
        unsigned skip = i == 0 ? GUEST_HEADER : 0;
        if (!vring_driver_get(&g->rx, &slot, &written))
            return 0;
        const uint8_t *data = g->memory + RX_BUFFERS_GPA + slot * GUEST_BUFFER;
        if (i == 0) {
            memcpy(g->header, data, GUEST_HEADER);
            buffers = (unsigned)load_le(data + 10, 2);
        }
        require(written >= skip && len + written - skip <= room);
        memcpy(frame + len, data + skip, written - skip);
        len += written - skip;
        add_rx_buffer(g, slot);
    }
    return len;
}
