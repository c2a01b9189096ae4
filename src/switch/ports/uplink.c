/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Uplinks; see uplink.h. Frames arrive in a ring that the kernel fills slot by slot: TPACKET_V2,
 * as V3 hands over whole blocks of frames, up to a millisecond late. What is longer than a slot
 * (segments that were not cut, jumbo frames) waits in the socket, and its slot says so.
 */
#include "switch/ports/uplink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/forward/offload.h"
#include "switch/ports/incoming.h"
#include "switch/ports/interface.h"
#include "switch/ports/opener.h"

#define SLOTS 1024U
#define SLOT_BYTES 2048U
#define BLOCK_BYTES (64U << 10)
#define RING_BYTES (SLOTS * SLOT_BYTES)
#define WAITING_BYTES (4 << 20)               /* of long frames, and of frames on their way out */
#define SEGMENTS_MAX (FRAME_SEGMENTS_MAX + 3) /* two headers, headers that were kept, the rest */

struct uplink_port {
    struct port port;
    int fd;
    uint8_t *ring;
    unsigned next; /* slot */
    char interface[IFNAMSIZ];
};

static const struct port_ops uplink_port_ops;

static struct uplink_port *uplink_of(struct port *port)
{
    return container_of(port, struct uplink_port, port);
}

/* --- Opening -------------------------------------------------------------------- */

static int check_interface(int fd, const char *interface, int *index, struct kv_error *err)
{
    struct ifreq ifr = {0};
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
    if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "interface '%s'", interface);
    if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "interface '%s' is of kind %u; Ethernet (%u) is accepted", interface,
                            ifr.ifr_hwaddr.sa_family, ARPHRD_ETHER);
    if (ioctl(fd, SIOCGIFINDEX, &ifr) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "interface '%s'", interface);
    *index = ifr.ifr_ifindex;
    return 0;
}

struct socket_option {
    int level, name;
    const void *value;
    socklen_t size;
};

/* Nothing arrives before the ring is there and the socket is bound. */
static int set_options(int fd, int index)
{
    static const int version = TPACKET_V2, on = 1, bytes = WAITING_BYTES;
    static const struct tpacket_req ring = {BLOCK_BYTES, RING_BYTES / BLOCK_BYTES, SLOT_BYTES,
                                            SLOTS};
    const struct packet_mreq all = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};
    const struct socket_option options[] = {
        {SOL_PACKET, PACKET_VERSION, &version, sizeof(version)},
        {SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)},
        {SOL_PACKET, PACKET_COPY_THRESH, &on, sizeof(on)},
        {SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)},
        {SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)},
        {SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)},
        {SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)},
        {SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
        if (setsockopt(fd, options[i].level, options[i].name, options[i].value, options[i].size) <
            0)
            return -errno;
    }
    const struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
    return bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

int uplink_open(const char *interface, struct kv_error *err)
{
    int index = 0;
    cleanup_fd int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "interface '%s': packet socket", interface);
    int rc = check_interface(fd, interface, &index, err);
    if (rc == 0)
        rc = interface_bring_up(interface, err);
    if (rc < 0)
        return rc;
    rc = set_options(fd, index);
    return rc < 0 ? kv_error_errno(err, KV_ERR_NET, -rc, "interface '%s': packet socket", interface)
                  : take_fd(&fd);
}

struct port *uplink_port_new(const char *interface, struct kv_error *err)
{
    cleanup_fd int fd = opener_open(OPENER_UPLINK, interface, err);
    if (fd < 0)
        return NULL;
    struct uplink_port *uplink = calloc(1, sizeof(*uplink));
    uint8_t *ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!uplink || ring == MAP_FAILED) {
        kv_error_errno(err, KV_ERR_NET, errno, "interface '%s': its ring", interface);
        free(uplink);
        return NULL;
    }
    uplink->port.ops = &uplink_port_ops;
    uplink->port.leaves = INCOMING_LEAVES;
    uplink->port.takes = FRAME_CSUM | FRAME_TSO4 | FRAME_TSO6 | FRAME_TSO_ECN;
    uplink->ring = ring;
    uplink->fd = take_fd(&fd);
    snprintf(uplink->interface, sizeof(uplink->interface), "%s", interface);
    return &uplink->port;
}

json_t *uplink_port_give(const struct port *port, struct bequest *bequest)
{
    const struct uplink_port *uplink = container_of(port, struct uplink_port, port);
    bequest_add_named(bequest, opener_kind_names[OPENER_UPLINK], uplink->interface, uplink->fd);
    return json_integer(uplink->next);
}

void uplink_port_take(struct port *port, const json_t *state)
{
    uplink_of(port)->next = (unsigned)json_integer_value(state) % SLOTS;
}

void uplink_port_free(struct port *port)
{
    struct uplink_port *uplink = uplink_of(port);
    munmap(uplink->ring, RING_BYTES);
    close(uplink->fd);
    free(uplink);
}

static int uplink_start(struct port *port)
{
    int rc = forward_watch(port->forward, port, uplink_of(port)->fd);
    port->up = rc == 0;
    return rc;
}

static void uplink_stop(struct port *port)
{
    forward_unwatch(port->forward, uplink_of(port)->fd);
    port->up = false;
}

/* --- In --------------------------------------------------------------------------- */

static struct tpacket2_hdr *slot_at(const struct uplink_port *uplink, unsigned ahead)
{
    return (struct tpacket2_hdr *)(uplink->ring + (uplink->next + ahead) % SLOTS * SLOT_BYTES);
}

static bool is_filled(const struct tpacket2_hdr *slot)
{
    return __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* The tag that the kernel took out, as on the wire; NULL: none. */
static const uint8_t *tag_of(const struct tpacket2_hdr *slot, uint8_t *tag)
{
    if (!(slot->tp_status & TP_STATUS_VLAN_VALID))
        return NULL;
    unsigned tpid =
        slot->tp_status & TP_STATUS_VLAN_TPID_VALID ? slot->tp_vlan_tpid : (unsigned)FRAME_TPID;
    tag[0] = (uint8_t)(tpid >> 8);
    tag[1] = (uint8_t)tpid;
    tag[2] = (uint8_t)(slot->tp_vlan_tci >> 8);
    tag[3] = (uint8_t)slot->tp_vlan_tci;
    return tag;
}

/* False: the burst has no room for it, so that it waits for the next one. */
static bool take_slot(struct uplink_port *uplink, const struct tpacket2_hdr *slot)
{
    uint8_t tag[FRAME_TAG_LEN];
    if (slot->tp_status & TP_STATUS_COPY) {
        uint8_t *room = incoming_room();
        if (!room)
            return false;
        ssize_t n = recv(uplink->fd, room, INCOMING_ROOM, 0);
        if (n > 0)
            incoming_add((size_t)n, tag_of(slot, tag));
        else
            port_drop(&uplink->port, DROP_NO_BUFFER);
    } else if (slot->tp_snaplen < slot->tp_len) {
        port_drop(&uplink->port, DROP_NO_BUFFER);
    } else {
        const uint8_t *data = (const uint8_t *)slot + slot->tp_mac - INCOMING_HEADER;
        incoming_add_at(data, INCOMING_HEADER + slot->tp_len, tag_of(slot, tag));
    }
    return true;
}

static bool uplink_poll(struct port *port)
{
    struct uplink_port *uplink = uplink_of(port);
    unsigned taken = 0;
    incoming_begin(port);
    while (taken < FRAME_BURST && is_filled(slot_at(uplink, taken)) &&
           take_slot(uplink, slot_at(uplink, taken)))
        taken++;
    incoming_deliver();
    for (unsigned i = 0; i < taken; i++)
        __atomic_store_n(&slot_at(uplink, i)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    uplink->next = (uplink->next + taken) % SLOTS;
    return taken > 0;
}

static enum port_sleep uplink_sleep(struct port *port)
{
    return is_filled(slot_at(uplink_of(port), 0)) ? PORT_HAS_WORK : PORT_ASLEEP;
}

static void uplink_wake(struct port *port)
{
}

/* --- Out -------------------------------------------------------------------------- */

/* Each forwarding thread has its own, and is done with a burst before it takes the next. */
static _Thread_local struct {
    struct mmsghdr messages[FRAME_BURST];
    struct virtio_net_hdr headers[FRAME_BURST];
    uint8_t heads[FRAME_BURST][FRAME_HEAD_MAX];
    struct iovec iov[FRAME_BURST][SEGMENTS_MAX];
} out;

static void prepare(const struct port *port, const struct frame *frame, unsigned i)
{
    unsigned head_len = frame_write_head(frame, port_sends_tagged(port, frame), out.heads[i]);
    struct iovec *iov = out.iov[i];
    offload_write(port, frame, head_len, &out.headers[i]);
    iov[0] = (struct iovec){&out.headers[i], INCOMING_HEADER};
    iov[1] = (struct iovec){out.heads[i], head_len};
    memcpy(&iov[2], frame->rest, frame->rest_count * sizeof(*iov));
    out.messages[i].msg_hdr = (struct msghdr){.msg_iov = iov, .msg_iovlen = frame->rest_count + 2};
}

static enum port_drop why_not_sent(int code)
{
    switch (code) {
    case ENETDOWN:
    case ENXIO:
    case ENODEV:
        return DROP_DOWN;
    case EMSGSIZE:
        return DROP_TOO_LONG;
    case EINVAL:
        return DROP_MALFORMED;
    default:
        return DROP_NO_BUFFER;
    }
}

/* An interface that went down leaves an error behind, which is told when it is up again. */
static int send_some(int fd, struct mmsghdr *messages, unsigned count)
{
    int sent = sendmmsg(fd, messages, count, MSG_DONTWAIT);
    return sent < 0 && errno == ENETDOWN ? sendmmsg(fd, messages, count, MSG_DONTWAIT) : sent;
}

static void uplink_send(struct port *port, const struct frame *frames)
{
    unsigned count = port->pending_count, i = 0;
    for (; i < count; i++)
        prepare(port, &frames[port->pending[i]], i);
    for (i = 0; i < count;) {
        int sent = send_some(uplink_of(port)->fd, out.messages + i, count - i);
        if (sent <= 0) {
            port_drop(port, why_not_sent(errno));
            i++;
            continue;
        }
        for (unsigned end = i + (unsigned)sent; i < end; i++) {
            port->counters.out_frames++;
            port->counters.out_bytes += out.messages[i].msg_len - INCOMING_HEADER;
        }
    }
}

static const struct port_ops uplink_port_ops = {
    .start = uplink_start,
    .stop = uplink_stop,
    .poll = uplink_poll,
    .send = uplink_send,
    .sleep = uplink_sleep,
    .wake = uplink_wake,
};
