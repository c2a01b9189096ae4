/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Datagrams to a collector; see collector.h. */
#include "switch/monitor/collector.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ADDRESS_MAX 64

/* Splits "HOST:PORT" or "[HOST]:PORT"; false: it is neither. */
static bool split(char *text, char **host, char **port)
{
    char *colon = strrchr(text, ':');
    *host = text;
    if (!colon || colon == text || !colon[1])
        return false;
    *colon = '\0';
    *port = colon + 1;
    if (*text != '[')
        return !strchr(text, ':');
    *host = text + 1;
    colon[-1] = colon[-1] == ']' ? '\0' : colon[-1];
    return *colon == '\0' && colon[-1] == '\0';
}

int collector_open(struct collector *collector, const char *address, struct kv_error *err)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    char text[ADDRESS_MAX], *host, *port;
    *collector = (struct collector){.fd = -1};
    snprintf(text, sizeof(text), "%s", address);
    if (strlen(address) >= sizeof(text) || !split(text, &host, &port) ||
        getaddrinfo(host, port, &hints, &found) != 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "collector '%.64s': ADDRESS:PORT in numbers is accepted, as "
                            "192.0.2.1:6343 or [2001:db8::1]:6343",
                            address);
    int rc = 0;
    collector->fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (collector->fd < 0 || connect(collector->fd, found->ai_addr, found->ai_addrlen) < 0) {
        rc = kv_error_errno(err, KV_ERR_NET, errno, "collector '%s'", address);
        collector_close(collector);
    }
    freeaddrinfo(found);
    return rc;
}

void collector_close(struct collector *collector)
{
    if (collector->fd >= 0)
        close(collector->fd);
    collector->fd = -1;
}

void collector_send(struct collector *collector, const void *data, size_t len)
{
    /* That nobody listened to an earlier one is told once, and this one was not sent then. */
    ssize_t n = send(collector->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == ECONNREFUSED)
        n = send(collector->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        collector->lost++;
    else
        collector->sent++;
}

int collector_local(const struct collector *collector, struct sockaddr_storage *address)
{
    socklen_t len = sizeof(*address);
    return getsockname(collector->fd, (struct sockaddr *)address, &len) < 0 ? -errno : 0;
}
