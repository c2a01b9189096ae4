/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QMP's clients are told of viewers: VNC_CONNECTED, VNC_INITIALIZED, VNC_DISCONNECTED. */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmm/display/vnc.h"
#include "vmm/machine/machine.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* As in QEMU's VncBasicInfo; a unix socket has its path as service. */
static json_t *describe(int (*get)(int, struct sockaddr *, socklen_t *), int fd, bool websocket)
{
    union address address = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(address) - 1; /* a path ends with a zero */
    char host[INET6_ADDRSTRLEN] = "", service[8] = "";
    const char *family = "unix", *path = NULL;
    if (get(fd, &address.any, &len) < 0)
        address.any.sa_family = AF_UNSPEC;
    if (address.any.sa_family == AF_INET) {
        family = "ipv4";
        inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host));
        snprintf(service, sizeof(service), "%u", ntohs(address.v4.sin_port));
    } else if (address.any.sa_family == AF_INET6) {
        family = "ipv6";
        inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host));
        snprintf(service, sizeof(service), "%u", ntohs(address.v6.sin6_port));
    } else if (address.any.sa_family == AF_UNIX && len > sizeof(sa_family_t)) {
        path = address.local.sun_path;
    }
    return json_pack("{s:s, s:s, s:s, s:b}", "host", host, "service", path ? path : service,
                     "family", family, "websocket", websocket);
}

void vnc_tell(const struct vnc *vnc, const char *event, int fd, const char *auth, bool websocket)
{
    if (fd < 0)
        return;
    json_t *server = describe(getsockname, fd, websocket);
    json_object_set_new(server, "auth", json_string(auth));
    machine_emit(
        vnc->machine, event,
        json_pack("{s:o, s:o}", "server", server, "client", describe(getpeername, fd, websocket)));
}
