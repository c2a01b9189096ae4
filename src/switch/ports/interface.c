/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interfaces of the host; see interface.h. netdevice(7). */
#include "switch/ports/interface.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"

int interface_check_name(const char *name, struct kv_error *err)
{
    if (*name && strlen(name) < IFNAMSIZ)
        return 0;
    return kv_error_set(err, KV_ERR_NET, EINVAL,
                        "interface '%.60s': an interface's name has 1 to %d characters", name,
                        IFNAMSIZ - 1);
}

int interface_bring_up(const char *name, struct kv_error *err)
{
    struct ifreq ifr = {0};
    cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "interface '%s'", name);
    if (ifr.ifr_flags & IFF_UP)
        return 0;
    ifr.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "interface '%s': bringing it up", name);
    return 0;
}
