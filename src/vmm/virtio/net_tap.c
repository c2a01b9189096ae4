/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens the host's end of a network device (net.c): tap interfaces through
 * /dev/net/tun, inherited tap and macvtap descriptors, and datagram sockets.
 * See the kernel's Documentation/networking/tuntap.rst.
 */
#include "vmm/virtio/net_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "vmm/virtio/net_impl.h"

/* Kernel 6.2; older headers lack them. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static const struct {
    unsigned feature, tun_flag;
} offload_map[] = {
    {VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM}, {VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
    {VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6}, {VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
    {NET_F_GUEST_USO4, TUN_F_USO4},        {NET_F_GUEST_USO6, TUN_F_USO6},
};

int net_tap_set_offloads(struct net_tap *tap, uint64_t guest_features)
{
    unsigned flags = 0;
    if (!tap->is_tap || !tap->vnet_hdr)
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(offload_map); i++) {
        if (guest_features & BIT(offload_map[i].feature))
            flags |= offload_map[i].tun_flag;
    }
    /* The setting belongs to the interface, so one queue's descriptor is enough. */
    return ioctl(tap->fds[0], TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

int net_tap_enable_queues(struct net_tap *tap, unsigned n)
{
    for (unsigned i = 0; i < tap->count && tap->is_tap && tap->multi_queue; i++) {
        bool on = i < n;
        if (on == tap->enabled[i])
            continue;
        struct ifreq ifr = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};
        if (ioctl(tap->fds[i], TUNSETQUEUE, &ifr) < 0)
            return -errno;
        tap->enabled[i] = on;
    }
    return 0;
}

void net_tap_close(struct net_tap *tap)
{
    for (unsigned i = 0; i < tap->count; i++) {
        if (tap->fds[i] >= 0)
            close(tap->fds[i]);
    }
    tap->count = 0;
}

/* The header's size and byte order, and what the tap can offload. */
static int prepare_header(struct net_tap *tap, int fd, struct kv_error *err)
{
    int size = NET_HEADER_SIZE, on = 1;
    if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno,
                              "tap '%s' does not take a packet header of %d bytes", tap->name,
                              size);
    /* Needed where the host is big-endian; little-endian kernels may not know it. */
    if (ioctl(fd, TUNSETVNETLE, &on) < 0 && errno != EINVAL && errno != ENOTTY)
        return kv_error_errno(err, KV_ERR_NET, errno, "tap '%s': little-endian headers", tap->name);
    return 0;
}

static void probe_offloads(struct net_tap *tap)
{
    int fd = tap->fds[0];
    tap->host_gso = 0;
    if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) == 0)
        tap->host_gso |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM);
    if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) == 0)
        tap->host_gso |= NET_F_TSO;
    if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6) == 0)
        tap->host_gso |= NET_F_USO;
    ioctl(fd, TUNSETOFFLOAD, 0);
}

static int explain_tunsetiff(const char *name, unsigned queues, int code, struct kv_error *err)
{
    switch (code) {
    case EBUSY:
        return kv_error_set(err, KV_ERR_NET, EBUSY, "tap '%s' is already in use by another process",
                            name);
    case EPERM:
    case EACCES:
        return kv_error_set(err, KV_ERR_NET, code,
                            "no permission for tap '%s': creating one needs CAP_NET_ADMIN; or let "
                            "root create it for you (ip tuntap add %s mode tap user NAME)",
                            name, name);
    case EINVAL:
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "'%s' is not a tap interface that can be opened with %u queue%s", name,
                            queues, queues == 1 ? "" : "s (create it with multi_queue)");
    default:
        return kv_error_errno(err, KV_ERR_NET, code, "cannot open tap '%s'", name);
    }
}

static int open_queue(struct net_tap *tap, const char *name, unsigned queues, struct kv_error *err)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "tap '%s': cannot open /dev/net/tun%s", name,
                              errno == ENOENT ? " (is the tun module loaded?)" : "");
    tap->fds[tap->count++] = fd;

    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    if (queues > 1)
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
    memcpy(ifr.ifr_name, name, strlen(name) + 1);
    int rc = ioctl(fd, TUNSETIFF, &ifr);
    if (rc < 0 && errno == EINVAL && queues == 1) {
        /* An interface made for several queues opens only as one of them. */
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
        rc = ioctl(fd, TUNSETIFF, &ifr);
    }
    if (rc < 0)
        return explain_tunsetiff(name, queues, errno, err);
    tap->multi_queue = queues > 1;
    /* "tap%d" was completed by the kernel; the next queue joins that interface. */
    memcpy(tap->name, ifr.ifr_name, IFNAMSIZ);
    return prepare_header(tap, fd, err);
}

static int open_named(struct net_tap *tap, const char *name, unsigned queues, struct kv_error *err)
{
    if (strlen(name) >= IFNAMSIZ || !*name)
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "tap name '%s': 1 to %d characters are accepted", name, IFNAMSIZ - 1);
    tap->is_tap = tap->vnet_hdr = true;
    for (unsigned i = 0; i < queues; i++) {
        int rc = open_queue(tap, i ? tap->name : name, queues, err);
        if (rc < 0)
            return rc;
        tap->enabled[i] = true;
    }
    probe_offloads(tap);
    return 0;
}

/* An inherited descriptor: which kind of backend it is, and whether that suits. */
static int adopt(struct net_tap *tap, int fd, bool socket_header, struct kv_error *err)
{
    struct ifreq ifr = {0};
    int type, rc;
    socklen_t len = sizeof(type);

    rc = fd_set_nonblocking(fd, true);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_NET, -rc, "network descriptor %d", fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (ioctl(fd, TUNGETIFF, &ifr) == 0) {
        if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI))
            return kv_error_set(err, KV_ERR_NET, EINVAL,
                                "descriptor %d is not a tap with IFF_TAP and IFF_NO_PI set", fd);
        tap->is_tap = true;
        tap->vnet_hdr = ifr.ifr_flags & IFF_VNET_HDR;
        tap->multi_queue = ifr.ifr_flags & IFF_MULTI_QUEUE;
        memcpy(tap->name, ifr.ifr_name, IFNAMSIZ);
        return tap->vnet_hdr ? prepare_header(tap, fd, err) : 0;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
        (type == SOCK_DGRAM || type == SOCK_SEQPACKET || type == SOCK_STREAM)) {
        tap->vnet_hdr = socket_header;
        tap->is_stream = type == SOCK_STREAM;
        return 0;
    }
    return kv_error_set(err, KV_ERR_NET, EINVAL,
                        "descriptor %d is neither a tap nor a socket (datagram, seqpacket, stream)",
                        fd);
}

int net_fd_list(const char *text, int *fds, unsigned max, const char *what, struct kv_error *err)
{
    unsigned n = 0;
    while (*text) {
        char *end;
        unsigned long fd = strtoul(text, &end, 10);
        if (end == text || fd > INT32_MAX || (*end && *end != ':') || (*end && !end[1]))
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "%s: '%s' is not a list of descriptors such as 3:4:5", what, text);
        if (n == max)
            return kv_error_set(err, KV_ERR_CONFIG, E2BIG, "%s: at most %u descriptors", what, max);
        fds[n++] = (int)fd;
        text = *end ? end + 1 : end;
    }
    return (int)n;
}

static int adopt_all(struct net_tap *tap, const struct net_config *config, struct kv_error *err)
{
    int fds[NET_PAIRS_MAX] = {config->fd};
    int n = 1;
    if (config->fds) {
        n = net_fd_list(config->fds, fds, NET_PAIRS_MAX, "network device: fds", err);
        if (n < 0)
            return n;
    }
    for (int i = 0; i < n; i++)
        tap->fds[tap->count++] = fds[i];
    if (n == 0 || (config->queues && config->queues != (unsigned)n))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "network device: %d descriptors for %u queue pairs; one each is needed",
                            n, (unsigned)config->queues);
    struct net_tap first = {0};
    for (int i = 0; i < n; i++) {
        int rc = adopt(tap, tap->fds[i], config->vnet_hdr, err);
        if (rc < 0)
            return rc;
        tap->enabled[i] = true;
        if (i == 0)
            first = *tap;
        else if (first.is_tap != tap->is_tap || first.vnet_hdr != tap->vnet_hdr ||
                 strcmp(first.name, tap->name) != 0)
            return kv_error_set(err, KV_ERR_NET, EINVAL,
                                "network device: descriptors %d and %d are of different kinds or "
                                "interfaces",
                                tap->fds[0], tap->fds[i]);
    }
    if (tap->is_tap && tap->vnet_hdr)
        probe_offloads(tap);
    else if (tap->vnet_hdr)
        tap->host_gso = NET_F_CSUM | NET_F_TSO;
    if (n == 1)
        tap->multi_queue = false;
    return 0;
}

int net_tap_open(struct net_tap *tap, const struct net_config *config, struct kv_error *err)
{
    *tap = (struct net_tap){0};
    int rc = config->tap
                 ? open_named(tap, config->tap, config->queues ? (unsigned)config->queues : 1, err)
                 : adopt_all(tap, config, err);
    if (rc < 0)
        net_tap_close(tap);
    return rc;
}
