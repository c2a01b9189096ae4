/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tap interfaces and their places on Linux bridges; kernel Documentation/networking/tuntap.rst. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/machine/net/net.h"
#include "model/api_error.h"

#define NAME_TRIES 65536

static int refuse(struct kv_error *err, int code, const char *fmt, const char *name)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    return kv_error_errno(err, KV_ERR_NET, code, fmt, name);
#pragma GCC diagnostic pop
}

static int check_name(const char *name, struct kv_error *err)
{
    size_t len = strlen(name);
    if (len && len < IFNAMSIZ && !strpbrk(name, "/: \t\n") && strcmp(name, ".") != 0 &&
        strcmp(name, "..") != 0)
        return 0;
    return api_error(err, VIR_ERR_INVALID_ARG,
                     "interface name '%.64s': 1 to %d characters without '/', ':' and spaces are "
                     "accepted",
                     name, IFNAMSIZ - 1);
}

int net_free_name(const char *pattern, char name[IFNAMSIZ], struct kv_error *err)
{
    size_t head = strcspn(pattern, "%");
    for (unsigned i = 0; i < NAME_TRIES; i++) {
        if ((size_t)snprintf(name, IFNAMSIZ, "%.*s%u", (int)head, pattern, i) >= IFNAMSIZ)
            break;
        if (if_nametoindex(name) == 0)
            return 0;
    }
    return api_error(err, VIR_ERR_INTERNAL_ERROR, "no free interface name like '%s'", pattern);
}

static int open_queue(int *fd, const char *name, bool several, struct ifreq *ifr,
                      struct kv_error *err)
{
    *fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0)
        return refuse(err, errno, "tap '%s': cannot open /dev/net/tun", name);
    *ifr = (struct ifreq){.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    if (several)
        ifr->ifr_flags |= IFF_MULTI_QUEUE;
    memcpy(ifr->ifr_name, name, strlen(name) + 1);
    int rc = ioctl(*fd, TUNSETIFF, ifr);
    if (rc < 0 && errno == EINVAL && !several) {
        ifr->ifr_flags |= IFF_MULTI_QUEUE; /* one that was made for several queues */
        rc = ioctl(*fd, TUNSETIFF, ifr);
    }
    if (rc == 0)
        return 0;
    if (errno == EPERM || errno == EACCES)
        return refuse(err, errno,
                      "no permission for tap '%s': making one needs CAP_NET_ADMIN; root can make "
                      "one for a user (ip tuntap add NAME mode tap user USER)",
                      name);
    return refuse(err, errno, "tap '%s' cannot be opened", name);
}

static int set_mac(int control, struct ifreq *ifr, const uint8_t mac[6])
{
    ifr->ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(ifr->ifr_hwaddr.sa_data, mac, 6);
    /* Higher than any port's, so that the bridge does not take it for its own address. */
    ifr->ifr_hwaddr.sa_data[0] = (char)0xfe;
    return ioctl(control, SIOCSIFHWADDR, ifr) < 0 ? -errno : 0;
}

static int bridge_mtu(int control, const char *bridge)
{
    struct ifreq ifr = {0};
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", bridge);
    return ioctl(control, SIOCGIFMTU, &ifr) < 0 ? 0 : ifr.ifr_mtu;
}

static int isolate(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/class/net/%s/brport/isolated", name);
    cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd_write_all(fd, "1", 1);
}

static int join_bridge(int control, const char *bridge, const char *name, struct kv_error *err)
{
    struct ifreq ifr = {0};
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", bridge);
    ifr.ifr_ifindex = (int)if_nametoindex(name);
    if (ioctl(control, SIOCBRADDIF, &ifr) == 0)
        return 0;
    int code = errno;
    if (!if_nametoindex(bridge))
        return kv_error_errno(err, KV_ERR_NET, ENODEV, "Cannot get interface MTU on '%s'", bridge);
    return kv_error_errno(err, KV_ERR_NET, code, "Unable to add bridge %s port %s", bridge, name);
}

static int set_up(int control, const char *name)
{
    struct ifreq ifr = {0};
    memcpy(ifr.ifr_name, name, strlen(name) + 1);
    if (ioctl(control, SIOCGIFFLAGS, &ifr) < 0)
        return -errno;
    ifr.ifr_flags |= IFF_UP;
    return ioctl(control, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

static int configure(const struct net_tap_spec *spec, const char *name, struct kv_error *err)
{
    struct ifreq ifr = {0};
    cleanup_fd int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0)
        return refuse(err, errno, "tap '%s'", name);
    memcpy(ifr.ifr_name, name, strlen(name) + 1);
    int rc = spec->mac ? set_mac(control, &ifr, spec->mac) : 0;
    if (rc < 0)
        return refuse(err, -rc, "tap '%s': MAC address", name);
    ifr.ifr_mtu = spec->mtu ? (int)spec->mtu : spec->bridge ? bridge_mtu(control, spec->bridge) : 0;
    if (ifr.ifr_mtu && ioctl(control, SIOCSIFMTU, &ifr) < 0)
        return refuse(err, errno, "tap '%s': MTU", name);
    rc = spec->bridge ? join_bridge(control, spec->bridge, name, err) : 0;
    if (rc < 0)
        return rc;
    rc = spec->isolated ? isolate(name) : 0;
    if (rc < 0)
        return refuse(err, -rc, "tap '%s': isolation of the port", name);
    rc = set_up(control, name);
    return rc < 0 ? refuse(err, -rc, "tap '%s' cannot be set up", name) : 0;
}

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

int net_open_tap(const struct net_tap_spec *spec, int *fds, char name[IFNAMSIZ],
                 struct kv_error *err)
{
    struct ifreq ifr;
    const char *wanted = spec->name ? spec->name : "vnet%d";
    int rc = check_name(wanted, err);
    if (rc < 0)
        return rc;
    if (spec->existing && !if_nametoindex(wanted))
        return kv_error_errno(err, KV_ERR_NET, ENODEV, "tap '%s'", wanted);
    for (unsigned i = 0; i < spec->queues; i++)
        fds[i] = -1;
    memcpy(name, wanted, strlen(wanted) + 1);
    for (unsigned i = 0; i < spec->queues && rc == 0; i++) {
        rc = open_queue(&fds[i], name, spec->queues > 1, &ifr, err);
        if (rc == 0)
            memcpy(name, ifr.ifr_name, IFNAMSIZ); /* "%d" was completed by the kernel */
    }
    if (rc == 0 && !spec->existing)
        rc = configure(spec, name, err);
    if (rc < 0)
        close_all(fds, spec->queues);
    return rc;
}

int net_open_vhost(int *fds, unsigned queues)
{
    for (unsigned i = 0; i < queues; i++) {
        fds[i] = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
        if (fds[i] < 0) {
            int code = errno;
            close_all(fds, i);
            return -code;
        }
    }
    return 0;
}
