/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vhost-user back end for tests; see vhost_user_peer.h. */
#include "vhost_user_peer.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"
#include "unit.h"

#define RING_F_EVENT_IDX 29
#define RING_F_INDIRECT_DESC 28
#define F_VERSION_1 32
#define F_RING_PACKED 34
#define SEGMENTS 64
#define FRAME_MAX 70000

void peer_init(struct peer *peer)
{
    *peer = (struct peer){
        .features = BIT(F_VERSION_1) | BIT(F_RING_PACKED) | BIT(RING_F_EVENT_IDX) |
                    BIT(RING_F_INDIRECT_DESC) | BIT(VHOST_USER_F_PROTOCOL_FEATURES) |
                    BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_MQ),
        .protocol_features = BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
                             BIT(VHOST_USER_PROTOCOL_F_NET_MTU) | BIT(VHOST_USER_PROTOCOL_F_STATUS),
        .pairs = PEER_RINGS / 2,
        .socket = -1,
        .reply_fd = -1,
    };
    for (unsigned i = 0; i < PEER_RINGS; i++)
        peer->kick[i] = peer->call[i] = -1;
}

/* --- Frames ------------------------------------------------------------- */

static void interrupt(struct peer *peer, unsigned ring)
{
    uint64_t one = 1;
    if (virtqueue_should_interrupt(&peer->rings[ring]))
        assert_int_equal(write(peer->call[ring], &one, sizeof(one)), sizeof(one));
}

/* What comes on tx goes back on rx while there is room. */
static void echo(struct peer *peer, unsigned pair)
{
    struct virtqueue *rx = &peer->rings[2 * pair], *tx = &peer->rings[2 * pair + 1];
    struct iovec in[SEGMENTS], out[SEGMENTS];
    struct virtqueue_chain to = {.iov = in, .iov_max = SEGMENTS};
    struct virtqueue_chain from = {.iov = out, .iov_max = SEGMENTS};
    static __thread uint8_t frame[FRAME_MAX];
    unsigned enabled = atomic_load(&peer->enabled) >> 2 * pair & 3;
    if (!rx->started || !tx->started || enabled != 3)
        return;
    for (;;) {
        int got = virtqueue_pop(tx, &from);
        if (got < 0 || (got == 0 && !virtqueue_enable_kick(tx)))
            break;
        if (got == 0)
            continue;
        got = virtqueue_pop(rx, &to);
        if (got <= 0) {
            virtqueue_unpop(tx, &from);
            if (got < 0 || !virtqueue_enable_kick(rx))
                break;
            continue;
        }
        size_t len = virtqueue_read_out(&from, 0, frame, sizeof(frame));
        frame[10] = 1; /* num_buffers */
        virtqueue_push(rx, &to, (uint32_t)virtqueue_write_in(&to, 0, frame, len));
        virtqueue_push(tx, &from, 0);
    }
    interrupt(peer, 2 * pair);
    interrupt(peer, 2 * pair + 1);
}

/* --- Messages ----------------------------------------------------------- */

static void forget_memory(struct peer *peer)
{
    for (unsigned i = 0; i < peer->mem.region_count; i++)
        munmap(peer->mem.regions[i].hva, peer->mem.regions[i].size);
    peer->mem.region_count = 0;
}

static void set_memory(struct peer *peer, const struct vhost_user_message *m, const int *fds,
                       size_t count)
{
    forget_memory(peer);
    assert_int_equal(m->header.size, VHOST_USER_MEMORY_SIZE(count));
    assert_int_equal(m->payload.memory.count, count);
    for (unsigned i = 0; i < count; i++) {
        struct vhost_user_region r = m->payload.memory.regions[i];
        void *at =
            mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], (off_t)r.mmap_offset);
        assert_ptr_not_equal(at, MAP_FAILED);
        struct guest_mem_region region = {.gpa = r.gpa, .size = r.size, .hva = at, .fd = -1};
        peer->addresses[i] = r.address;
        assert_int_equal(guest_mem_add(&peer->mem, &region), 0);
    }
}

static uint64_t to_guest(const struct peer *peer, uint64_t address)
{
    for (unsigned i = 0; i < peer->mem.region_count; i++) {
        if (address - peer->addresses[i] < peer->mem.regions[i].size)
            return peer->mem.regions[i].gpa + (address - peer->addresses[i]);
    }
    fail_msg("an address of nothing");
    return 0;
}

static void set_features(struct peer *peer, uint64_t features)
{
    assert_int_equal(features & ~peer->features, 0);
    for (unsigned i = 0; i < PEER_RINGS; i++) {
        peer->rings[i].packed = features >> F_RING_PACKED & 1;
        peer->rings[i].event_idx = features >> RING_F_EVENT_IDX & 1;
        peer->rings[i].indirect = features >> RING_F_INDIRECT_DESC & 1;
    }
}

static void keep_fd(int *place, const int *fds, size_t count)
{
    assert_int_equal(count, 1);
    if (*place >= 0)
        close(*place);
    *place = fds[0];
}

static void make_records(struct peer *peer, struct vhost_user_message *m)
{
    struct vhost_user_inflight said = m->payload.inflight;
    said.mmap_size = said.queues * virtqueue_record_size(said.queue_size);
    said.mmap_offset = 0;
    m->payload.inflight = said;
    m->header.size = VHOST_USER_INFLIGHT_SIZE;
    peer->reply_fd = memfd_create("peer", MFD_CLOEXEC);
    assert_int_equal(ftruncate(peer->reply_fd, (off_t)said.mmap_size), 0);
}

static void take_records(struct peer *peer, const struct vhost_user_message *m, int fd)
{
    const struct vhost_user_inflight said = m->payload.inflight;
    peer->record_size = virtqueue_record_size(said.queue_size);
    peer->records_size = said.mmap_size;
    peer->records = mmap(NULL, said.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(peer->records, MAP_FAILED);
    close(fd);
}

static void start_ring(struct peer *peer, unsigned ring)
{
    struct kv_error err = {0};
    if (peer->records)
        peer->rings[ring].record = (void *)(peer->records + ring * peer->record_size);
    if (virtqueue_start(&peer->rings[ring], &peer->mem, &err) < 0)
        fail_msg("%s", err.message);
}

/* Acts on the message; its payload becomes the answer. False: it has none but an acknowledgement.
 */
static bool obey(struct peer *peer, struct vhost_user_message *m, const int *fds, size_t count)
{
    uint64_t number = m->payload.number;
    struct vhost_user_vring_state state = m->payload.state;
    struct vhost_user_vring_addr addr = m->payload.addr;
    struct virtqueue *vq = &peer->rings[state.index % PEER_RINGS];
    unsigned ring = state.index % PEER_RINGS;
    switch (m->header.request) {
    case VHOST_USER_GET_FEATURES:
        m->payload.number = peer->features;
        return true;
    case VHOST_USER_GET_PROTOCOL_FEATURES:
        m->payload.number = peer->protocol_features;
        return true;
    case VHOST_USER_GET_QUEUE_NUM:
        m->payload.number = peer->pairs;
        return true;
    case VHOST_USER_SET_FEATURES:
        set_features(peer, number);
        break;
    case VHOST_USER_SET_MEM_TABLE:
        set_memory(peer, m, fds, count);
        break;
    case VHOST_USER_SET_VRING_NUM:
        vq->size = (uint16_t)state.num;
        break;
    case VHOST_USER_SET_VRING_BASE:
        virtqueue_set_state(vq, state.num);
        break;
    case VHOST_USER_SET_VRING_ADDR:
        vq->desc_gpa = to_guest(peer, addr.desc);
        vq->driver_gpa = to_guest(peer, addr.avail);
        vq->device_gpa = to_guest(peer, addr.used);
        break;
    case VHOST_USER_SET_VRING_KICK:
        keep_fd(&peer->kick[number % PEER_RINGS], fds, count);
        start_ring(peer, number % PEER_RINGS);
        break;
    case VHOST_USER_SET_VRING_CALL:
        keep_fd(&peer->call[number % PEER_RINGS], fds, count);
        break;
    case VHOST_USER_SET_VRING_ENABLE:
        if (state.num)
            atomic_fetch_or(&peer->enabled, 1u << ring);
        else
            atomic_fetch_and(&peer->enabled, ~(1u << ring));
        break;
    case VHOST_USER_GET_INFLIGHT_FD:
        make_records(peer, m);
        return true;
    case VHOST_USER_SET_INFLIGHT_FD:
        assert_int_equal(count, 1);
        take_records(peer, m, fds[0]);
        break;
    case VHOST_USER_GET_VRING_BASE:
        virtqueue_record_end(vq);
        m->payload.state.num = virtqueue_get_state(vq);
        virtqueue_stop(vq);
        close(peer->kick[ring]);
        peer->kick[ring] = -1;
        return true;
    case VHOST_USER_NET_SET_MTU:
        atomic_store(&peer->mtu, (unsigned)number);
        break;
    case VHOST_USER_SET_STATUS:
        atomic_store(&peer->status, (unsigned)number);
        break;
    default:
        break;
    }
    return false;
}

/* Whether the connection goes on. */
static bool answer(struct peer *peer, struct vhost_user_message *m, bool has_answer)
{
    bool acknowledged = m->header.flags & VHOST_USER_FLAG_NEED_REPLY;
    if (!has_answer && acknowledged) {
        m->payload.number = 0;
        m->header.size = sizeof(m->payload.number);
    } else if (has_answer && peer->reply_fd < 0) {
        m->header.size = sizeof(m->payload.number);
    }
    m->header.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
    if (peer->fault_at == m->header.request) {
        switch (peer->fault) {
        case PEER_SILENT:
            return true;
        case PEER_GONE:
            return false;
        case PEER_REFUSES:
            m->payload.number = has_answer ? UINT64_MAX : 1;
            break;
        case PEER_SHORT:
            m->header.size = 4;
            break;
        case PEER_OTHER:
            m->header.request++;
            break;
        case PEER_NOT_A_REPLY:
            m->header.flags = VHOST_USER_VERSION;
            break;
        case PEER_OTHER_VERSION:
            m->header.flags = 2 | VHOST_USER_FLAG_REPLY;
            break;
        case PEER_HUGE:
            m->header.size = UINT32_MAX;
            return fd_send(peer->socket, m, sizeof(*m), NULL, 0) > 0;
        default:
            break;
        }
    }
    int fd = peer->reply_fd;
    peer->reply_fd = -1;
    bool sent = (!has_answer && !acknowledged) ||
                fd_send(peer->socket, m, sizeof(m->header) + m->header.size, &fd, fd >= 0) > 0;
    if (fd >= 0)
        close(fd);
    return sent;
}

static bool serve_message(struct peer *peer)
{
    struct vhost_user_message m;
    int fds[VHOST_USER_REGIONS_MAX];
    size_t count = ARRAY_SIZE(fds);
    if (vhost_user_receive(peer->socket, &m, fds, &count,
                           clock_monotonic_ns() + INT64_C(1000000000)) < 0)
        return false;
    uint32_t request = m.header.request;
    bool has_answer = obey(peer, &m, fds, count);
    if (request == VHOST_USER_SET_MEM_TABLE) {
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
    }
    atomic_store(&peer->last, request);
    atomic_fetch_add(&peer->messages, 1);
    return answer(peer, &m, has_answer);
}

static void *run(void *opaque)
{
    struct peer *peer = opaque;
    for (;;) {
        struct pollfd wait[1 + PEER_RINGS] = {{.fd = peer->socket, .events = POLLIN}};
        for (unsigned i = 0; i < PEER_RINGS; i++)
            wait[1 + i] = (struct pollfd){.fd = peer->kick[i], .events = POLLIN};
        poll(wait, ARRAY_SIZE(wait), -1);
        if (wait[0].revents && !serve_message(peer))
            break;
        for (unsigned i = 0; i < PEER_RINGS; i++) {
            uint64_t count;
            if (wait[1 + i].revents && peer->kick[i] >= 0 &&
                read(peer->kick[i], &count, sizeof(count)) > 0)
                echo(peer, i / 2);
        }
    }
    shutdown(peer->socket, SHUT_RDWR);
    return NULL;
}

void peer_start(struct peer *peer, int socket)
{
    peer->socket = socket;
    fd_set_nonblocking(socket, true);
    assert_int_equal(pthread_create(&peer->thread, NULL, run, peer), 0);
}

void peer_connect(struct peer *peer, const char *path)
{
    int fd = fd_connect_unix(path);
    assert_true(fd >= 0);
    peer_start(peer, fd);
}

void peer_stop(struct peer *peer)
{
    if (peer->socket < 0)
        return;
    shutdown(peer->socket, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->socket);
    peer->socket = -1;
    forget_memory(peer);
    if (peer->records)
        munmap(peer->records, peer->records_size);
    peer->records = NULL;
    for (unsigned i = 0; i < PEER_RINGS; i++) {
        if (peer->kick[i] >= 0)
            close(peer->kick[i]);
        if (peer->call[i] >= 0)
            close(peer->call[i]);
        peer->kick[i] = peer->call[i] = -1;
    }
}
