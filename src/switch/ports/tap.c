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
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/forward/offload.h"
#include "switch/ports/incoming.h"
#include "switch/ports/interface.h"
#include "switch/ports/opener.h"

#define SEGMENTS_MAX (FRAME_SEGMENTS_MAX + 3) /* two headers, headers that were kept, the rest */

struct tap_port {
    struct port port;
    int fd;
    char interface[IFNAMSIZ];
};

static const struct port_ops tap_port_ops;

static struct tap_port *tap_of(struct port *port)
{
    return container_of(port, struct tap_port, port);
}

int tap_open(const char *interface, struct kv_error *err)
{
    const unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int header = INCOMING_HEADER;
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
    cleanup_fd int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
        ioctl(fd, TUNSETOFFLOAD, offloads) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "tap '%s'", interface);
    int rc = interface_bring_up(interface, err);
    return rc < 0 ? rc : take_fd(&fd);
}

struct port *tap_port_new(const char *interface, struct kv_error *err)
{
    cleanup_fd int fd = opener_open(OPENER_TAP, interface, err);
    if (fd < 0)
        return NULL;
    struct tap_port *tap = calloc(1, sizeof(*tap));
    if (!tap) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "tap '%s'", interface);
        return NULL;
    }
    tap->port.ops = &tap_port_ops;
    tap->port.leaves = INCOMING_LEAVES;
    tap->port.takes = FRAME_CSUM | FRAME_TSO4 | FRAME_TSO6 | FRAME_TSO_ECN;
    tap->fd = take_fd(&fd);
    snprintf(tap->interface, sizeof(tap->interface), "%s", interface);
    return &tap->port;
}

void tap_port_give(const struct port *port, struct bequest *bequest)
{
    const struct tap_port *tap = container_of(port, struct tap_port, port);
    bequest_add_named(bequest, opener_kind_names[OPENER_TAP], tap->interface, tap->fd);
}

void tap_port_free(struct port *port)
{
    close(tap_of(port)->fd);
    free(tap_of(port));
}

static int tap_start(struct port *port)
{
    int rc = forward_watch(port->forward, port, tap_of(port)->fd);
    port->up = rc == 0;
    return rc;
}

static void tap_stop(struct port *port)
{
    forward_unwatch(port->forward, tap_of(port)->fd);
    port->up = false;
}

static bool tap_poll(struct port *port)
{
    bool worked = false;
    uint8_t *room;
    ssize_t n = 0;
    incoming_begin(port);
    while ((room = incoming_room()) && (n = read(tap_of(port)->fd, room, INCOMING_ROOM)) > 0) {
        incoming_add((size_t)n, NULL);
        worked = true;
    }
    incoming_deliver();
    return worked;
}

static void tap_send(struct port *port, const struct frame *frames)
{
    struct tap_port *tap = tap_of(port);
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        uint8_t head[FRAME_HEAD_MAX];
        struct virtio_net_hdr header;
        unsigned head_len = frame_write_head(frame, port_sends_tagged(port, frame), head);
        struct iovec iov[SEGMENTS_MAX] = {{&header, sizeof(header)}, {head, head_len}};
        offload_write(port, frame, head_len, &header);
        memcpy(&iov[2], frame->rest, frame->rest_count * sizeof(*iov));
        if (writev(tap->fd, iov, (int)frame->rest_count + 2) < 0) {
            port_drop(port, errno == EIO ? DROP_DOWN : DROP_NO_BUFFER);
            continue;
        }
        port->counters.out_frames++;
        port->counters.out_bytes += head_len + frame->rest_bytes;
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
    .start = tap_start,
    .stop = tap_stop,
    .poll = tap_poll,
    .send = tap_send,
    .sleep = tap_sleep,
    .wake = tap_wake,
};
