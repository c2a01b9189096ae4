/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Macvtap interfaces by rtnetlink(7); their queues are opened through character devices. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "daemon/machine/net/net.h"
#include "model/api_error.h"

struct request {
    struct nlmsghdr header;
    struct ifinfomsg link;
    char attributes[512];
};

static void begin(struct request *request, int type, int flags)
{
    *request = (struct request){
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(request->link)),
                   .nlmsg_type = (uint16_t)type,
                   .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags)},
        .link = {.ifi_family = AF_UNSPEC},
    };
}

/* The callers' attributes fit: names are bounded. Returns the attribute for end_nest(). */
static struct rtattr *add(struct request *request, int type, const void *data, size_t len)
{
    struct rtattr *attribute =
        (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
    attribute->rta_type = (uint16_t)type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(len);
    if (len)
        memcpy(RTA_DATA(attribute), data, len);
    request->header.nlmsg_len =
        (uint32_t)(NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
    return attribute;
}

static void end_nest(struct request *request, struct rtattr *nest)
{
    nest->rta_len = (uint16_t)((char *)request + request->header.nlmsg_len - (char *)nest);
}

/* 0 or the kernel's -errno. */
static int talk(struct request *request)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char more[1024];
    } answer;
    cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    if (send(fd, request, request->header.nlmsg_len, 0) < 0)
        return -errno;
    ssize_t n = recv(fd, &answer, sizeof(answer), 0);
    if (n < 0)
        return -errno;
    if ((size_t)n < NLMSG_LENGTH(sizeof(answer.error)) || answer.header.nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return answer.error.error;
}

static const struct {
    const char *name;
    uint32_t mode;
} modes[] = {
    {"vepa", MACVLAN_MODE_VEPA},
    {"bridge", MACVLAN_MODE_BRIDGE},
    {"private", MACVLAN_MODE_PRIVATE},
    {"passthrough", MACVLAN_MODE_PASSTHRU},
};

static int create_link(const struct net_macvtap_spec *spec, uint32_t mode)
{
    struct request request;
    uint32_t lower = if_nametoindex(spec->lower);
    begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    request.link.ifi_flags = request.link.ifi_change = IFF_UP;
    add(&request, IFLA_IFNAME, spec->name, strlen(spec->name) + 1);
    add(&request, IFLA_LINK, &lower, sizeof(lower));
    if (spec->mac)
        add(&request, IFLA_ADDRESS, spec->mac, 6);
    if (spec->mtu)
        add(&request, IFLA_MTU, &(uint32_t){spec->mtu}, sizeof(uint32_t));
    if (spec->queues > 1)
        add(&request, IFLA_NUM_TX_QUEUES, &(uint32_t){spec->queues}, sizeof(uint32_t));
    struct rtattr *info = add(&request, IFLA_LINKINFO, NULL, 0);
    add(&request, IFLA_INFO_KIND, "macvtap", strlen("macvtap"));
    struct rtattr *data = add(&request, IFLA_INFO_DATA, NULL, 0);
    add(&request, IFLA_MACVLAN_MODE, &mode, sizeof(mode));
    end_nest(&request, data);
    end_nest(&request, info);
    return talk(&request);
}

/* The interface's character device: /dev/tapN or, without a device manager, a node of our own that
 * is gone again once it is open. */
static int open_device(const char *name)
{
    char path[128], text[32];
    unsigned index = if_nametoindex(name), device_major, device_minor;
    snprintf(path, sizeof(path), "/sys/class/net/%s/tap%u/dev", name, index);
    FILE *file = fopen(path, "re");
    bool known = file && fgets(text, sizeof(text), file) &&
                 sscanf(text, "%u:%u", &device_major, &device_minor) == 2;
    if (file)
        fclose(file);
    if (!known)
        return -ENODEV;
    struct stat st;
    dev_t device = makedev(device_major, device_minor);
    snprintf(path, sizeof(path), "/dev/tap%u", index);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == device)
        return fd;
    int code = fd < 0 ? errno : ENODEV;
    if (fd >= 0)
        close(fd);
    if (code != ENOENT && code != ENODEV)
        return -code;
    snprintf(path, sizeof(path), "/dev/kvasir-tap%u", index);
    if (mknod(path, S_IFCHR | 0600, device) < 0)
        return -errno;
    fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    code = errno;
    unlink(path);
    return fd < 0 ? -code : fd;
}

static int open_queues(const struct net_macvtap_spec *spec, int *fds)
{
    for (unsigned i = 0; i < spec->queues; i++) {
        struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
        if (spec->queues > 1)
            ifr.ifr_flags |= IFF_MULTI_QUEUE;
        fds[i] = open_device(spec->name);
        if (fds[i] < 0)
            return fds[i];
        if (ioctl(fds[i], TUNSETIFF, &ifr) < 0)
            return -errno;
    }
    return 0;
}

int net_open_macvtap(const struct net_macvtap_spec *spec, int *fds, struct kv_error *err)
{
    for (unsigned i = 0; i < spec->queues; i++)
        fds[i] = -1;
    if (!if_nametoindex(spec->lower))
        return kv_error_errno(err, KV_ERR_NET, ENODEV, "interface '%s'", spec->lower);
    unsigned mode = 0;
    while (mode < ARRAY_SIZE(modes) && strcmp(modes[mode].name, spec->mode) != 0)
        mode++;
    if (mode == ARRAY_SIZE(modes))
        return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "macvtap mode '%s'; vepa, bridge, private and passthrough are possible",
                         spec->mode);
    int rc = create_link(spec, modes[mode].mode);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_NET, -rc, "error creating macvtap interface %s@%s",
                              spec->name, spec->lower);
    rc = open_queues(spec, fds);
    if (rc < 0) {
        for (unsigned i = 0; i < spec->queues; i++) {
            if (fds[i] >= 0)
                close(fds[i]);
        }
        kv_error_errno(err, KV_ERR_NET, -rc, "macvtap interface '%s' cannot be opened", spec->name);
    }
    return rc;
}

static bool has_mac(const char *name, const char *text)
{
    struct ifreq ifr = {0};
    uint8_t mac[6];
    cleanup_fd int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    return !*text ||
           (control >= 0 && parse_mac(text, mac) == 0 && ioctl(control, SIOCGIFHWADDR, &ifr) == 0 &&
            memcmp(ifr.ifr_hwaddr.sa_data, mac, 6) == 0);
}

void net_remove_link(const char *name, const char *mac)
{
    struct request request;
    unsigned index = if_nametoindex(name);
    if (!index || !has_mac(name, mac))
        return;
    begin(&request, RTM_DELLINK, 0);
    request.link.ifi_index = (int)index;
    int rc = talk(&request);
    if (rc < 0 && rc != -ENODEV)
        log_warning("interface '%s' is left behind: %s", name, strerror(-rc));
}
