/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tap ports; see tap.h. */
#include "switch/ports/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"

/* The largest MTU of jumbo frames, header and tag; a longer frame is dropped. */
#define TAP_FRAME_MAX 9234
#define SEGMENTS_MAX (FRAME_SEGMENTS_MAX + 2) /* a head, headers that were kept, the rest */

struct tap_port {
    struct port port;
    int fd;
};

static const struct port_ops tap_port_ops;

/* One forwarding thread, and a burst is done with before the next one, so all taps share them. */
static uint8_t buffers[FRAME_BURST][TAP_FRAME_MAX + 1];

static int bring_up(const char *interface, struct kv_error *err)
{
    struct ifreq ifr = {0};
    cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "tap '%s'", interface);
    ifr.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "tap '%s': bringing it up", interface);
    return 0;
}

struct tap_port *tap_port_new(const char *interface, struct kv_error *err)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    if (strlen(interface) >= sizeof(ifr.ifr_name)) {
        kv_error_set(err, KV_ERR_NET, ENAMETOOLONG,
                     "tap '%s': an interface's name has at most %zu characters", interface,
                     sizeof(ifr.ifr_name) - 1);
        return NULL;
    }
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
    cleanup_fd int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0) {
        kv_error_errno(err, KV_ERR_NET, errno, "tap '%s'", interface);
        return NULL;
    }
    if (bring_up(interface, err) < 0)
        return NULL;
    struct tap_port *tap = calloc(1, sizeof(*tap));
    if (!tap) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "tap '%s'", interface);
        return NULL;
    }
    tap->port.ops = &tap_port_ops;
    tap->fd = take_fd(&fd);
    return tap;
}

struct port *tap_port_of(struct tap_port *tap)
{
    return &tap->port;
}

struct tap_port *tap_port_from(struct port *port)
{
    return container_of(port, struct tap_port, port);
}

void tap_port_free(struct tap_port *tap)
{
    if (!tap)
        return;
    close(tap->fd);
    free(tap);
}

int tap_port_start(struct tap_port *tap)
{
    int rc = forward_watch(tap->port.forward, &tap->port, tap->fd);
    tap->port.up = rc == 0;
    return rc;
}

void tap_port_stop(struct tap_port *tap)
{
    forward_unwatch(tap->port.forward, tap->fd);
    tap->port.up = false;
}

static bool tap_poll(struct port *port)
{
    struct tap_port *tap = tap_port_from(port);
    struct frame frames[FRAME_BURST];
    unsigned count = 0;
    bool empty = false;
    for (unsigned i = 0; i < FRAME_BURST && !empty; i++) {
        ssize_t n = read(tap->fd, buffers[count], sizeof(buffers[count]));
        if (n < 0) {
            empty = true;
        } else if (n < FRAME_BYTES_MIN || n > TAP_FRAME_MAX) {
            port_drop(port, DROP_MALFORMED);
        } else {
            struct frame *frame = &frames[count];
            memcpy(frame->head, buffers[count], FRAME_HEAD);
            frame->one = (struct iovec){buffers[count] + FRAME_HEAD, (size_t)n - FRAME_HEAD};
            frame->rest = &frame->one;
            frame->rest_count = 1;
            frame->rest_bytes = (uint32_t)n - FRAME_HEAD;
            count++;
        }
    }
    if (count)
        bridge_receive(port, frames, count);
    return count > 0 || !empty;
}

static void tap_send(struct port *port, const struct frame *frames)
{
    struct tap_port *tap = tap_port_from(port);
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        uint8_t head[FRAME_HEAD_MAX];
        struct iovec iov[SEGMENTS_MAX] = {{.iov_base = head}};
        iov[0].iov_len = frame_write_head(frame, port_sends_tagged(port, frame), head);
        memcpy(&iov[1], frame->rest, frame->rest_count * sizeof(*iov));
        if (writev(tap->fd, iov, (int)frame->rest_count + 1) < 0) {
            port_drop(port, errno == EIO ? DROP_DOWN : DROP_NO_BUFFER);
            continue;
        }
        port->counters.out_frames++;
        port->counters.out_bytes += iov[0].iov_len + frame->rest_bytes;
    }
}

/* Events come only for what arrives after the last read found nothing, so what came since the
 * last poll has its event. */
static enum port_sleep tap_sleep(struct port *port)
{
    return PORT_ASLEEP;
}

static void tap_wake(struct port *port)
{
}

static const struct port_ops tap_port_ops = {
    .poll = tap_poll,
    .send = tap_send,
    .sleep = tap_sleep,
    .wake = tap_wake,
};
