/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-net for virtio-net (net.c); see net_vhost.h and linux/vhost.h. After
 * the jail closed only ioctls on descriptors that are open already are made.
 */
#include "vmm/virtio/net_vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/util.h"
#include "vmm/virtio/net_impl.h"
#include "vmm/virtio/vhost_call.h"

struct net_vhost {
    unsigned count;
    int fds[NET_PAIRS_MAX];
    bool started[NET_PAIRS_MAX];
    uint64_t features;
    struct vhost_call calls[2 * NET_PAIRS_MAX];
};

/* Bits 24 to 41 are the transport's (virtio 1.2, 6); the kernel knows these of them, and of the
 * device's own the only one that changes what it does is merging. */
#define VHOST_FEATURE_MASK                                                                       \
    (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
     BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_NET_F_MRG_RXBUF))
#define TRANSPORT_FEATURES (BIT(42) - BIT(24))

static int open_all(struct net_vhost *vhost, const char *list, unsigned count, struct kv_error *err)
{
    if (list) {
        int fds[NET_PAIRS_MAX];
        int n = net_fd_list(list, fds, NET_PAIRS_MAX, "network device: vhost-fds", err);
        if (n < 0)
            return n;
        for (int i = 0; i < n; i++)
            vhost->fds[vhost->count++] = fds[i];
        if ((unsigned)n != count)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "network device: %d vhost-fds for %u queue pairs", n, count);
    }
    while (vhost->count < count) {
        int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return kv_error_errno(err, KV_ERR_NET, errno, "/dev/vhost-net");
        vhost->fds[vhost->count++] = fd;
    }
    return 0;
}

int net_vhost_open(struct net_vhost **out, const char *fds, unsigned count, struct kv_error *err)
{
    struct net_vhost *vhost = calloc(1, sizeof(*vhost));
    if (!vhost)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "vhost-net");
    for (unsigned i = 0; i < ARRAY_SIZE(vhost->calls); i++)
        vhost->calls[i] = VHOST_CALL_INIT;
    int rc = open_all(vhost, fds, count, err);
    vhost->features = UINT64_MAX;
    for (unsigned i = 0; rc == 0 && i < vhost->count; i++) {
        uint64_t features;
        if (ioctl(vhost->fds[i], VHOST_SET_OWNER) < 0 ||
            ioctl(vhost->fds[i], VHOST_GET_FEATURES, &features) < 0)
            rc = kv_error_errno(err, KV_ERR_NET, errno, "vhost-net does not start");
        else
            vhost->features &= features;
    }
    if (rc < 0) {
        net_vhost_free(vhost);
        return rc;
    }
    *out = vhost;
    return 0;
}

void net_vhost_free(struct net_vhost *vhost)
{
    if (!vhost)
        return;
    for (unsigned i = 0; i < vhost->count; i++)
        close(vhost->fds[i]);
    free(vhost);
}

uint64_t net_vhost_features(const struct net_vhost *vhost)
{
    uint64_t kernel = vhost->features & VHOST_FEATURE_MASK;
    uint64_t others = ~(TRANSPORT_FEATURES | BIT(VIRTIO_NET_F_MRG_RXBUF));
    return kernel | others;
}

static int set_memory(int fd, const struct guest_mem *mem)
{
    struct {
        struct vhost_memory head;
        struct vhost_memory_region regions[GUEST_MEM_REGIONS_MAX];
    } table = {.head.nregions = mem->region_count};
    for (unsigned i = 0; i < mem->region_count; i++) {
        table.regions[i] = (struct vhost_memory_region){
            .guest_phys_addr = mem->regions[i].gpa,
            .memory_size = mem->regions[i].size,
            .userspace_addr = (uintptr_t)mem->regions[i].hva,
        };
    }
    return ioctl(fd, VHOST_SET_MEM_TABLE, &table) < 0 ? -errno : 0;
}

static int start_ring(struct net_vhost *vhost, int fd, unsigned index, struct virtio_queue *queue)
{
    struct virtqueue *vq = &queue->ring;
    int call = vhost_call_fd(&vhost->calls[queue->index], queue);
    if (call < 0)
        return call;
    struct vhost_vring_state num = {.index = index, .num = vq->size};
    struct vhost_vring_state base = {.index = index, .num = virtqueue_get_state(vq)};
    struct vhost_vring_addr addr = {
        .index = index,
        .desc_user_addr = (uintptr_t)vq->desc,
        .avail_user_addr = (uintptr_t)vq->driver,
        .used_user_addr = (uintptr_t)vq->device,
    };
    struct vhost_vring_file kick_file = {.index = index, .fd = queue->kick_fd};
    struct vhost_vring_file call_file = {.index = index, .fd = call};
    if (ioctl(fd, VHOST_SET_VRING_NUM, &num) < 0 || ioctl(fd, VHOST_SET_VRING_BASE, &base) < 0 ||
        ioctl(fd, VHOST_SET_VRING_ADDR, &addr) < 0 ||
        ioctl(fd, VHOST_SET_VRING_KICK, &kick_file) < 0 ||
        ioctl(fd, VHOST_SET_VRING_CALL, &call_file) < 0)
        return -errno;
    queue->kick_external = true;
    return 0;
}

static int set_backend(int fd, unsigned index, int backend)
{
    struct vhost_vring_file file = {.index = index, .fd = backend};
    return ioctl(fd, VHOST_NET_SET_BACKEND, &file) < 0 ? -errno : 0;
}

static int start_pair(struct net_vhost *vhost, struct virtio_device *dev, unsigned pair, int tap_fd)
{
    int fd = vhost->fds[pair];
    uint64_t features = dev->driver_features & vhost->features & VHOST_FEATURE_MASK;
    int rc = ioctl(fd, VHOST_SET_FEATURES, &features) < 0 ? -errno : 0;
    if (rc == 0)
        rc = set_memory(fd, dev->mem);
    for (unsigned i = 0; rc == 0 && i < 2; i++)
        rc = start_ring(vhost, fd, i, &dev->queues[2 * pair + i]);
    for (unsigned i = 0; rc == 0 && i < 2; i++)
        rc = set_backend(fd, i, tap_fd);
    for (unsigned i = 0; rc == 0 && i < 2; i++) {
        /* Chains added before the hand-over had their doorbell already. */
        uint64_t one = 1;
        ssize_t ignored = write(dev->queues[2 * pair + i].kick_fd, &one, sizeof(one));
        (void)ignored;
    }
    return rc;
}

int net_vhost_start(struct net_vhost *vhost, struct virtio_device *dev, const struct net_tap *tap,
                    struct kv_error *err)
{
    for (unsigned i = 0; i < vhost->count; i++) {
        if (!dev->queues[2 * i].ring.started || !dev->queues[2 * i + 1].ring.started)
            continue;
        vhost->started[i] = true;
        int rc = start_pair(vhost, dev, i, tap->fds[i]);
        if (rc < 0) {
            net_vhost_stop(vhost, dev);
            return kv_error_errno(err, KV_ERR_NET, -rc, "vhost-net, queue pair %u", i);
        }
    }
    return 0;
}

int net_vhost_set_link(struct net_vhost *vhost, const struct net_tap *tap, bool up)
{
    int rc = 0;
    for (unsigned i = 0; i < 2 * vhost->count && rc == 0; i++) {
        if (vhost->started[i / 2])
            rc = set_backend(vhost->fds[i / 2], i % 2, up ? tap->fds[i / 2] : -1);
    }
    return rc;
}

void net_vhost_stop(struct net_vhost *vhost, struct virtio_device *dev)
{
    for (unsigned pair = 0; pair < vhost->count; pair++) {
        if (!vhost->started[pair])
            continue;
        vhost->started[pair] = false;
        for (unsigned i = 0; i < 2; i++)
            set_backend(vhost->fds[pair], i, -1);
        for (unsigned i = 0; i < 2; i++) {
            struct virtio_queue *queue = &dev->queues[2 * pair + i];
            struct vhost_vring_state base = {.index = i};
            struct vhost_vring_file none = {.index = i, .fd = -1};
            /* Fails where the guest's ring was nonsense; then the position does not matter. */
            if (ioctl(vhost->fds[pair], VHOST_GET_VRING_BASE, &base) == 0)
                virtqueue_set_state(&queue->ring, base.num);
            ioctl(vhost->fds[pair], VHOST_SET_VRING_KICK, &none);
            ioctl(vhost->fds[pair], VHOST_SET_VRING_CALL, &none);
            vhost_call_drop(&vhost->calls[queue->index]);
        }
    }
}
