/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vhost-user front end says, message by message (QEMU's docs/interop/vhost-user.rst); see
 * vhost.h. On the control thread.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "switch/ports/vhost.h"

#define ANY_LAYOUT 27

/* CSUM and HOST_*: what the guest may leave undone; GUEST_*: what it takes undone. */
#define OFFLOADS                                                                                \
    (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |       \
     BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
     BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))

#define FEATURES                                                                                 \
    (OFFLOADS | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_MQ) | BIT(ANY_LAYOUT) |           \
     BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |                           \
     BIT(VHOST_USER_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | \
     BIT(VIRTIO_F_IN_ORDER))
#define PROTOCOL_FEATURES                                                   \
    (BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) | \
     BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))

struct call {
    struct vhost_port *vp;
    struct vhost_user_message *message;
    int *fds;
    size_t fd_count;
    size_t reply; /* bytes of the payload that go back; 0: none */
    int reply_fd; /* that goes along, or -1 */
    struct kv_error *err;
};

static int refuse(struct call *call, const char *what)
{
    return kv_error_set(call->err, KV_ERR_NET, EPROTO, "message %u: %s",
                        call->message->header.request, what);
}

static int answer(struct call *call, uint64_t number)
{
    call->message->payload.number = number;
    call->reply = sizeof(number);
    return 0;
}

static struct vhost_ring *ring_of(struct call *call, uint64_t index)
{
    if (index < VHOST_RINGS_MAX)
        return &call->vp->rings[index];
    refuse(call, "a ring that is not there");
    return NULL;
}

static bool any_running(const struct vhost_port *vp)
{
    bool running = false;
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
        running |= vp->rings[i].running;
    return running;
}

static int get_features(struct call *call)
{
    return answer(call, FEATURES);
}

static int set_features(struct call *call)
{
    struct vhost_port *vp = call->vp;
    uint64_t features = call->message->payload.number;
    if (features & ~FEATURES)
        return refuse(call, "features that were not offered");
    if (features == vp->features)
        return 0;
    if (any_running(vp))
        return refuse(call, "other features while rings are running");
    vp->features = features;
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
        vp->rings[i].vq.packed = features >> VIRTIO_F_RING_PACKED & 1;
    return 0;
}

static int get_protocol_features(struct call *call)
{
    return answer(call, PROTOCOL_FEATURES);
}

static int set_protocol_features(struct call *call)
{
    if (call->message->payload.number & ~PROTOCOL_FEATURES)
        return refuse(call, "protocol features that were not offered");
    call->vp->protocol = call->message->payload.number;
    return 0;
}

static int get_queue_num(struct call *call)
{
    return answer(call, VHOST_PAIRS_MAX);
}

static int set_owner(struct call *call)
{
    return 0;
}

static int set_mem_table(struct call *call)
{
    struct vhost_port *vp = call->vp;
    if (call->message->payload.memory.count > VHOST_USER_REGIONS_MAX ||
        call->message->header.size < VHOST_USER_MEMORY_SIZE(call->message->payload.memory.count))
        return refuse(call, "a memory table that is longer than its message");
    const struct vhost_user_memory table = call->message->payload.memory;
    struct vhost_memory *memory = vhost_memory_new(&table, call->fds, call->fd_count, call->err);
    if (!memory)
        return -call->err->code;
    vhost_rings_stop(vp);
    vhost_memory_free(vp->memory);
    vp->memory = memory;
    vhost_rings_update(vp);
    return 0;
}

static int set_vring_num(struct call *call)
{
    const struct vhost_user_vring_state state = call->message->payload.state;
    struct vhost_ring *ring = ring_of(call, state.index);
    if (!ring)
        return -EPROTO;
    if (state.num > VIRTQUEUE_SIZE_MAX ||
        virtqueue_size_wrong((uint16_t)state.num, ring->vq.packed))
        return refuse(call, "a size that a ring cannot have");
    if (ring->running)
        return ring->vq.size == state.num ? 0 : refuse(call, "a size while the ring is running");
    ring->vq.size = (uint16_t)state.num;
    return 0;
}

static int set_vring_addr(struct call *call)
{
    const struct vhost_user_vring_addr addr = call->message->payload.addr;
    struct vhost_ring *ring = ring_of(call, addr.index);
    if (!ring)
        return -EPROTO;
    if (addr.flags)
        return refuse(call, "a log of the used ring, which is not offered");
    if (ring->running && ring->desc == addr.desc && ring->avail == addr.avail &&
        ring->used == addr.used)
        return 0;
    vhost_ring_stop(call->vp, addr.index);
    ring->desc = addr.desc;
    ring->avail = addr.avail;
    ring->used = addr.used;
    ring->has_addresses = true;
    vhost_rings_update(call->vp);
    return 0;
}

static int set_vring_base(struct call *call)
{
    const struct vhost_user_vring_state state = call->message->payload.state;
    struct vhost_ring *ring = ring_of(call, state.index);
    if (!ring)
        return -EPROTO;
    if (ring->running)
        return refuse(call, "a position while the ring is running");
    bool packed = ring->vq.packed;
    virtqueue_reset(&ring->vq);
    ring->vq.packed = packed;
    uint32_t position = state.num;
    /* Front ends may tell only where it is taken from: all that was taken was given back. */
    if (packed && position >> 16 == 0)
        position |= position << 16;
    virtqueue_set_state(&ring->vq, position);
    return 0;
}

/* The ring ends with this message; it starts with the next kick descriptor. */
static int get_vring_base(struct call *call)
{
    struct vhost_user_vring_state state = call->message->payload.state;
    struct vhost_ring *ring = ring_of(call, state.index);
    if (!ring)
        return -EPROTO;
    vhost_ring_stop(call->vp, state.index);
    virtqueue_record_end(&ring->vq);
    ring->has_kick = false;
    state.num = virtqueue_get_state(&ring->vq);
    call->message->payload.state = state;
    call->reply = sizeof(state);
    return 0;
}

/* Others than eventfds could make us wait. */
static bool is_eventfd(int fd)
{
    static const char eventfd_name[] = "anon_inode:[eventfd]";
    char path[32], name[sizeof(eventfd_name)];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, name, sizeof(name));
    return n == (ssize_t)sizeof(eventfd_name) - 1 && memcmp(name, eventfd_name, (size_t)n) == 0;
}

static void replace(int *slot, int fd)
{
    if (*slot >= 0)
        close(*slot);
    *slot = fd;
}

/* The ring that a message with an eventfd is about, stopped, and the descriptor (-1: none comes).
 */
static struct vhost_ring *ring_for_fd(struct call *call, int *fd)
{
    uint64_t number = call->message->payload.number;
    unsigned index = number & VHOST_USER_VRING_INDEX_MASK;
    struct vhost_ring *ring = ring_of(call, index);
    if (!ring)
        return NULL;
    bool none = number & VHOST_USER_VRING_NO_FD;
    if (call->fd_count != !none) {
        refuse(call, none ? "a descriptor that it denies" : "not exactly one descriptor");
        return NULL;
    }
    *fd = -1;
    if (!none) {
        if (!is_eventfd(call->fds[0])) {
            refuse(call, "its descriptor is not an eventfd");
            return NULL;
        }
        *fd = call->fds[0];
        call->fds[0] = -1;
    }
    vhost_ring_stop(call->vp, index);
    return ring;
}

static int set_vring_kick(struct call *call)
{
    int fd;
    struct vhost_ring *ring = ring_for_fd(call, &fd);
    if (!ring)
        return -EPROTO;
    replace(&ring->kick_fd, fd);
    ring->has_kick = true;
    vhost_rings_update(call->vp);
    return 0;
}

static int set_vring_call(struct call *call)
{
    int fd;
    struct vhost_ring *ring = ring_for_fd(call, &fd);
    if (!ring)
        return -EPROTO;
    replace(&ring->call_fd, fd);
    vhost_rings_update(call->vp);
    return 0;
}

static int set_vring_err(struct call *call)
{
    int fd;
    struct vhost_ring *ring = ring_for_fd(call, &fd);
    if (!ring)
        return -EPROTO;
    replace(&ring->err_fd, fd);
    vhost_rings_update(call->vp);
    return 0;
}

/* What the next server of the rings finds when this one dies without a word. */
static int get_inflight_fd(struct call *call)
{
    struct vhost_user_inflight inflight = call->message->payload.inflight;
    call->reply_fd = vhost_inflight_make(&inflight, call->err);
    if (call->reply_fd < 0)
        return call->reply_fd;
    call->message->payload.inflight = inflight;
    call->reply = VHOST_USER_INFLIGHT_SIZE;
    return 0;
}

static int set_inflight_fd(struct call *call)
{
    const struct vhost_user_inflight inflight = call->message->payload.inflight;
    if (call->fd_count != 1)
        return refuse(call, "not exactly one descriptor");
    if (any_running(call->vp))
        return refuse(call, "other memory while rings are running");
    return vhost_inflight_take(call->vp, &inflight, &call->fds[0], call->err);
}

static int set_vring_enable(struct call *call)
{
    const struct vhost_user_vring_state state = call->message->payload.state;
    struct vhost_ring *ring = ring_of(call, state.index);
    if (!ring)
        return -EPROTO;
    ring->enabled = state.num != 0;
    vhost_rings_update(call->vp);
    return 0;
}

static const struct handler {
    int (*fn)(struct call *call);
    size_t size; /* of the payload, at least */
} handlers[] = {
    [VHOST_USER_GET_FEATURES] = {get_features, 0},
    [VHOST_USER_SET_FEATURES] = {set_features, sizeof(uint64_t)},
    [VHOST_USER_SET_OWNER] = {set_owner, 0},
    [VHOST_USER_RESET_OWNER] = {set_owner, 0}, /* deprecated; means nothing any more */
    [VHOST_USER_SET_MEM_TABLE] = {set_mem_table, VHOST_USER_MEMORY_SIZE(0)},
    [VHOST_USER_SET_VRING_NUM] = {set_vring_num, sizeof(struct vhost_user_vring_state)},
    [VHOST_USER_SET_VRING_ADDR] = {set_vring_addr, sizeof(struct vhost_user_vring_addr)},
    [VHOST_USER_SET_VRING_BASE] = {set_vring_base, sizeof(struct vhost_user_vring_state)},
    [VHOST_USER_GET_VRING_BASE] = {get_vring_base, sizeof(struct vhost_user_vring_state)},
    [VHOST_USER_SET_VRING_KICK] = {set_vring_kick, sizeof(uint64_t)},
    [VHOST_USER_SET_VRING_CALL] = {set_vring_call, sizeof(uint64_t)},
    [VHOST_USER_SET_VRING_ERR] = {set_vring_err, sizeof(uint64_t)},
    [VHOST_USER_GET_PROTOCOL_FEATURES] = {get_protocol_features, 0},
    [VHOST_USER_SET_PROTOCOL_FEATURES] = {set_protocol_features, sizeof(uint64_t)},
    [VHOST_USER_GET_QUEUE_NUM] = {get_queue_num, 0},
    [VHOST_USER_GET_INFLIGHT_FD] = {get_inflight_fd, VHOST_USER_INFLIGHT_SIZE},
    [VHOST_USER_SET_INFLIGHT_FD] = {set_inflight_fd, VHOST_USER_INFLIGHT_SIZE},
    [VHOST_USER_SET_VRING_ENABLE] = {set_vring_enable, sizeof(struct vhost_user_vring_state)},
};

static int send_reply(struct call *call, int socket)
{
    struct vhost_user_message *m = call->message;
    m->header.flags = VHOST_USER_VERSION | VHOST_USER_FLAG_REPLY;
    m->header.size = (uint32_t)call->reply;
    /* A front end that does not read its answers is not waited for. */
    int rc = vhost_user_send(socket, m, &call->reply_fd, call->reply_fd >= 0, 0);
    return rc < 0 ? kv_error_errno(call->err, KV_ERR_NET, -rc, "an answer") : 0;
}

int vhost_session_message(struct vhost_port *vp, struct vhost_user_message *message, int *fds,
                          size_t fd_count, int socket, struct kv_error *err)
{
    struct call call = {
        .vp = vp, .message = message, .fds = fds, .fd_count = fd_count, .reply_fd = -1, .err = err};
    uint32_t request = message->header.request;
    bool ack = message->header.flags & VHOST_USER_FLAG_NEED_REPLY &&
               vp->protocol & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    if (request >= ARRAY_SIZE(handlers) || !handlers[request].fn)
        return refuse(&call, "it is not one of those that were offered");
    if (message->header.size < handlers[request].size)
        return refuse(&call, "its payload is too short");
    int rc = handlers[request].fn(&call);
    if (rc < 0)
        return rc;
    if (call.reply == 0 && ack)
        answer(&call, 0);
    rc = call.reply ? send_reply(&call, socket) : 0;
    if (call.reply_fd >= 0)
        close(call.reply_fd);
    return rc;
}

void vhost_session_begin(struct vhost_port *vp)
{
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
        vp->rings[i] = (struct vhost_ring){.kick_fd = -1, .call_fd = -1, .err_fd = -1};
    vp->inflight.fd = -1;
    vp->features = vp->protocol = 0;
    vp->ended = false;
}

void vhost_session_end(struct vhost_port *vp)
{
    vhost_rings_stop(vp);
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++) {
        replace(&vp->rings[i].kick_fd, -1);
        replace(&vp->rings[i].call_fd, -1);
        replace(&vp->rings[i].err_fd, -1);
    }
    vhost_inflight_drop(vp);
    vhost_memory_free(vp->memory);
    vp->memory = NULL;
    vhost_user_inbox_clear(&vp->inbox);
}
