/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front end of vhost-user; see vhost_user_front.h. */
#include "vmm/virtio/vhost_user_front.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "vring/vhost_user.h"

/* Of a whole conversation: a hand-over, a return of the rings. */
#define PATIENCE_NS INT64_C(2000000000)

#define PROTOCOL_WANTED                                                       \
    (BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |   \
     BIT(VHOST_USER_PROTOCOL_F_NET_MTU) | BIT(VHOST_USER_PROTOCOL_F_STATUS) | \
     BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
#define STATUS_RUNNING                                                                    \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
     VIRTIO_CONFIG_S_DRIVER_OK)

/* A conversation: after the first failure nothing more is said. */
struct talk {
    struct vhost_user *vu;
    int64_t deadline_ns;
    int rc;
    enum vhost_user_request at; /* what failed */
};

static struct talk begin(struct vhost_user *vu)
{
    return (struct talk){.vu = vu, .deadline_ns = clock_monotonic_ns() + PATIENCE_NS};
}

static bool agreed(const struct vhost_user *vu, unsigned feature)
{
    return vu->protocol_features >> feature & 1;
}

static int finish(const struct talk *talk, struct kv_error *err)
{
    return talk->rc < 0 ? kv_error_errno(err, KV_ERR_NET, -talk->rc,
                                         "vhost-user back end, message %d", talk->at)
                        : 0;
}

/* The answer to the request must be one, of this size, and with as many descriptors as there is
 * room for. */
static int receive_reply_with(struct talk *talk, struct vhost_user_message *m, uint32_t request,
                              size_t size, int *fds, size_t room)
{
    size_t count = room;
    int rc = vhost_user_receive(talk->vu->fd, m, fds, &count, talk->deadline_ns);
    if (rc == 0 && (m->header.request != request || m->header.size != size || count != room ||
                    !(m->header.flags & VHOST_USER_FLAG_REPLY))) {
        while (count)
            close(fds[--count]);
        rc = -EPROTO;
    }
    return rc;
}

static int receive_reply(struct talk *talk, struct vhost_user_message *m, uint32_t request,
                         size_t size)
{
    return receive_reply_with(talk, m, request, size, NULL, 0);
}

static void tell_with(struct talk *talk, struct vhost_user_message *m, uint32_t request,
                      size_t size, const int *fds, size_t fd_count)
{
    bool ack = agreed(talk->vu, VHOST_USER_PROTOCOL_F_REPLY_ACK);
    if (talk->rc < 0)
        return;
    m->header = (struct vhost_user_header){
        .request = request,
        .flags = VHOST_USER_VERSION | (ack ? VHOST_USER_FLAG_NEED_REPLY : 0),
        .size = (uint32_t)size,
    };
    talk->at = (enum vhost_user_request)request;
    talk->rc = vhost_user_send(talk->vu->fd, m, fds, fd_count, talk->deadline_ns);
    if (talk->rc < 0 || !ack)
        return;
    talk->rc = receive_reply(talk, m, request, sizeof(m->payload.number));
    if (talk->rc == 0 && m->payload.number != 0)
        talk->rc = -EREMOTEIO;
}

static void tell(struct talk *talk, uint32_t request, uint64_t number)
{
    struct vhost_user_message m = {.payload.number = number};
    tell_with(talk, &m, request, sizeof(m.payload.number), NULL, 0);
}

static void tell_ring(struct talk *talk, uint32_t request, unsigned ring, uint32_t number)
{
    struct vhost_user_message m = {.payload.state = {.index = ring, .num = number}};
    tell_with(talk, &m, request, sizeof(m.payload.state), NULL, 0);
}

/* A question whose answer has the shape of the question. */
static void ask_with(struct talk *talk, struct vhost_user_message *m, uint32_t request,
                     size_t question, size_t answer)
{
    if (talk->rc < 0)
        return;
    m->header = (struct vhost_user_header){
        .request = request,
        .flags = VHOST_USER_VERSION,
        .size = (uint32_t)question,
    };
    talk->at = (enum vhost_user_request)request;
    talk->rc = vhost_user_send(talk->vu->fd, m, NULL, 0, talk->deadline_ns);
    if (talk->rc == 0)
        talk->rc = receive_reply(talk, m, request, answer);
}

static uint64_t ask(struct talk *talk, uint32_t request)
{
    struct vhost_user_message m;
    ask_with(talk, &m, request, 0, sizeof(m.payload.number));
    return talk->rc < 0 ? 0 : m.payload.number;
}

/* --- The connection ----------------------------------------------------- */

void vhost_user_close(struct vhost_user *vu)
{
    if (vu->fd >= 0)
        close(vu->fd);
    *vu = VHOST_USER_INIT;
}

int vhost_user_open(struct vhost_user *vu, int fd, struct kv_error *err)
{
    *vu = (struct vhost_user){.fd = fd, .pairs_max = 1};
    struct talk talk = begin(vu);
    vu->features = ask(&talk, VHOST_USER_GET_FEATURES);
    vu->switchable = vu->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1;
    vu->features &= ~BIT(VHOST_USER_F_PROTOCOL_FEATURES);
    if (vu->switchable) {
        uint64_t offered = ask(&talk, VHOST_USER_GET_PROTOCOL_FEATURES) & PROTOCOL_WANTED;
        /* It takes effect with this message, which is not acknowledged itself. */
        tell(&talk, VHOST_USER_SET_PROTOCOL_FEATURES, offered);
        vu->protocol_features = offered;
    }
    if (agreed(vu, VHOST_USER_PROTOCOL_F_MQ)) {
        uint64_t pairs = ask(&talk, VHOST_USER_GET_QUEUE_NUM);
        vu->pairs_max = (unsigned)MIN(pairs, UINT64_C(0x8000));
    }
    tell(&talk, VHOST_USER_SET_OWNER, 0);
    int rc = finish(&talk, err);
    if (rc == 0 && !(vu->features & BIT(VIRTIO_F_VERSION_1)))
        rc =
            kv_error_set(err, KV_ERR_NET, ENOTSUP,
                         "vhost-user back end: it knows legacy devices only; virtio 1.0 is needed");
    if (rc < 0)
        vhost_user_close(vu);
    return rc;
}

int vhost_user_set_mtu(struct vhost_user *vu, unsigned mtu, struct kv_error *err)
{
    struct talk talk = begin(vu);
    if (mtu && agreed(vu, VHOST_USER_PROTOCOL_F_NET_MTU))
        tell(&talk, VHOST_USER_NET_SET_MTU, mtu);
    return finish(&talk, err);
}

/* --- Rings -------------------------------------------------------------- */

static void tell_memory(struct talk *talk, const struct guest_mem *mem)
{
    struct vhost_user_message m = {.payload.memory.count = mem->region_count};
    int fds[VHOST_USER_REGIONS_MAX];
    if (talk->rc == 0 && mem->region_count > VHOST_USER_REGIONS_MAX)
        talk->rc = -E2BIG;
    for (unsigned i = 0; talk->rc == 0 && i < mem->region_count; i++) {
        const struct guest_mem_region *r = &mem->regions[i];
        fds[i] = r->fd;
        m.payload.memory.regions[i] = (struct vhost_user_region){
            .gpa = r->gpa,
            .size = r->size,
            .address = (uintptr_t)r->hva,
            .mmap_offset = r->fd_offset,
        };
    }
    tell_with(talk, &m, VHOST_USER_SET_MEM_TABLE, VHOST_USER_MEMORY_SIZE(mem->region_count), fds,
              mem->region_count);
}

static void tell_eventfd(struct talk *talk, uint32_t request, unsigned ring, int fd)
{
    struct vhost_user_message m = {.payload.number = ring};
    tell_with(talk, &m, request, sizeof(m.payload.number), &fd, 1);
}

static void start_ring(struct talk *talk, struct virtio_queue *queue, struct vhost_call *call)
{
    const struct virtqueue *vq = &queue->ring;
    unsigned ring = queue->index;
    struct vhost_user_message m = {
        .payload.addr =
            {
                .index = ring,
                .desc = (uintptr_t)vq->desc,
                .avail = (uintptr_t)vq->driver,
                .used = (uintptr_t)vq->device,
            },
    };
    tell_ring(talk, VHOST_USER_SET_VRING_NUM, ring, vq->size);
    tell_ring(talk, VHOST_USER_SET_VRING_BASE, ring, virtqueue_get_state(vq));
    tell_with(talk, &m, VHOST_USER_SET_VRING_ADDR, sizeof(m.payload.addr), NULL, 0);
    vhost_call_drop(call);
    int fd = talk->rc < 0 ? talk->rc : vhost_call_fd(call, queue);
    if (fd < 0) {
        talk->rc = fd;
        return;
    }
    /* Without protocol features the ring runs from its doorbell on, which so comes last. */
    tell_eventfd(talk, VHOST_USER_SET_VRING_CALL, ring, fd);
    tell_eventfd(talk, VHOST_USER_SET_VRING_KICK, ring, queue->kick_fd);
}

/* --- What outlives a back end ------------------------------------------- */

void vhost_user_kept_drop(struct vhost_user_kept *kept)
{
    if (kept->fd >= 0)
        close(kept->fd);
    *kept = VHOST_USER_KEPT_INIT;
}

bool vhost_user_continues(const struct vhost_user *vu)
{
    return agreed(vu, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
}

/* Asks for memory that rings of these sizes need. */
static void ask_kept(struct talk *talk, const struct virtio_device *dev, unsigned count,
                     struct vhost_user_kept *kept)
{
    struct vhost_user_message m = {.payload.inflight.queues = (uint16_t)count};
    for (unsigned i = 0; i < count; i++)
        m.payload.inflight.queue_size =
            MAX(m.payload.inflight.queue_size, dev->queues[i].ring.size);
    if (talk->rc < 0)
        return;
    talk->at = VHOST_USER_GET_INFLIGHT_FD;
    m.header = (struct vhost_user_header){.request = VHOST_USER_GET_INFLIGHT_FD,
                                          .flags = VHOST_USER_VERSION,
                                          .size = VHOST_USER_INFLIGHT_SIZE};
    talk->rc = vhost_user_send(talk->vu->fd, &m, NULL, 0, talk->deadline_ns);
    if (talk->rc == 0)
        talk->rc = receive_reply_with(talk, &m, VHOST_USER_GET_INFLIGHT_FD,
                                      VHOST_USER_INFLIGHT_SIZE, &kept->fd, 1);
    if (talk->rc < 0)
        kept->fd = -1;
    else
        kept->said = m.payload.inflight;
}

static void tell_kept(struct talk *talk, const struct virtio_device *dev, unsigned count,
                      struct vhost_user_kept *kept)
{
    if (!vhost_user_continues(talk->vu)) {
        vhost_user_kept_drop(kept);
        return;
    }
    if (kept->fd < 0)
        ask_kept(talk, dev, count, kept);
    struct vhost_user_message m = {.payload.inflight = kept->said};
    tell_with(talk, &m, VHOST_USER_SET_INFLIGHT_FD, VHOST_USER_INFLIGHT_SIZE, &kept->fd, 1);
}

int vhost_user_start(struct vhost_user *vu, struct virtio_device *dev, struct vhost_call *calls,
                     unsigned count, struct vhost_user_kept *kept,
                     bool (*enabled)(void *opaque, unsigned ring), void *opaque,
                     struct kv_error *err)
{
    struct talk talk = begin(vu);
    uint64_t features = dev->driver_features & vu->features;
    if (vu->switchable)
        features |= BIT(VHOST_USER_F_PROTOCOL_FEATURES);
    tell(&talk, VHOST_USER_SET_FEATURES, features);
    tell_memory(&talk, dev->mem);
    tell_kept(&talk, dev, count, kept);
    for (unsigned i = 0; i < count; i++) {
        if (dev->queues[i].ring.started)
            start_ring(&talk, &dev->queues[i], &calls[i]);
    }
    for (unsigned i = 0; i < count && vu->switchable; i++) {
        if (dev->queues[i].ring.started)
            tell_ring(&talk, VHOST_USER_SET_VRING_ENABLE, i, enabled(opaque, i));
    }
    if (agreed(vu, VHOST_USER_PROTOCOL_F_STATUS))
        tell(&talk, VHOST_USER_SET_STATUS, STATUS_RUNNING);
    for (unsigned i = 0; i < count; i++) {
        /* Chains added before the hand-over had their doorbell already. */
        if (dev->queues[i].ring.started)
            virtio_queue_again(&dev->queues[i]);
    }
    return finish(&talk, err);
}

int vhost_user_enable(struct vhost_user *vu, unsigned ring, bool on, struct kv_error *err)
{
    struct talk talk = begin(vu);
    if (vu->switchable)
        tell_ring(&talk, VHOST_USER_SET_VRING_ENABLE, ring, on);
    return finish(&talk, err);
}

/* Of a packed ring some back ends tell only how far they took. They give back all that they took
 * before they answer, so that is where they gave back, too. */
static uint32_t complete_position(const struct virtqueue *vq, uint32_t position)
{
    return vq->packed && position >> 16 == 0 ? position | position << 16 : position;
}

int vhost_user_stop(struct vhost_user *vu, struct virtio_device *dev, unsigned count,
                    struct kv_error *err)
{
    struct talk talk = begin(vu);
    for (unsigned i = 0; i < count; i++) {
        struct virtqueue *vq = &dev->queues[i].ring;
        struct vhost_user_message m = {.payload.state.index = i};
        if (!vq->started)
            continue;
        ask_with(&talk, &m, VHOST_USER_GET_VRING_BASE, sizeof(m.payload.state),
                 sizeof(m.payload.state));
        if (talk.rc == 0 && m.payload.state.index != i)
            talk.rc = -EPROTO;
        if (talk.rc == 0)
            virtqueue_set_state(vq, complete_position(vq, m.payload.state.num));
    }
    if (agreed(vu, VHOST_USER_PROTOCOL_F_STATUS))
        tell(&talk, VHOST_USER_SET_STATUS, 0);
    return finish(&talk, err);
}

bool vhost_user_recover(struct virtio_device *dev, unsigned count)
{
    bool known = true;
    for (unsigned i = 0; i < count; i++) {
        if (dev->queues[i].ring.started)
            known &= virtqueue_recover(&dev->queues[i].ring);
    }
    return known;
}
