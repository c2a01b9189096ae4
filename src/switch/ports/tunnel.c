/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tunnels' ports, and how frames leave; see tunnel.h. udp(7), ip(7), ipv6(7). */
#include "switch/ports/tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/ports/tunnel_socket.h"

#define UDP_HEADER 8
#define ETHERNET_HEADER 14
#define IPV4_HEADER 20
#define IPV6_HEADER 40

#define SEGMENTS_MAX                                                             \
    (FRAME_SEGMENTS_MAX + 4)  /* the tunnel's header, two of the frame, the rest \
                               */
#define TRAIN_MAX 64          /* datagrams that the kernel cuts a train into */
#define TRAIN_BYTES_MAX 65000 /* IP has no longer packets */
#define TTL_USUAL 64

static const struct port_ops tunnel_port_ops;

static struct tunnel_port *tunnel_of(struct port *port)
{
    return container_of(port, struct tunnel_port, port);
}

socklen_t tunnel_sockaddr(int family, const struct tunnel_address *address, uint16_t port,
                          struct sockaddr_storage *out)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memset(out, 0, sizeof(*out));
    if (family == AF_INET) {
        memcpy(&ipv4.sin_addr, address->bytes, sizeof(ipv4.sin_addr));
        memcpy(out, &ipv4, sizeof(ipv4));
        return sizeof(ipv4);
    }
    memcpy(&ipv6.sin6_addr, address->bytes, sizeof(ipv6.sin6_addr));
    memcpy(out, &ipv6, sizeof(ipv6));
    return sizeof(ipv6);
}

/* --- Making: the control thread -------------------------------------------------- */

static int set_number(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Nobody reads what is sent to these sockets, so nothing waits there. */
static int hear_nothing(int fd)
{
    struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog program = {.len = 1, .filter = &none};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

static int set_headers(int fd, const struct tunnel_settings *s)
{
    bool ipv4 = s->family == AF_INET;
    int level = ipv4 ? IPPROTO_IP : IPPROTO_IPV6;
    int cut = ipv4 ? IP_PMTUDISC_DONT : IPV6_PMTUDISC_DONT;
    int whole = ipv4 ? IP_PMTUDISC_DO : IPV6_PMTUDISC_DO;
    int rc = set_number(fd, level, ipv4 ? IP_TOS : IPV6_TCLASS, s->tos);
    if (rc == 0)
        rc = set_number(fd, level, ipv4 ? IP_TTL : IPV6_UNICAST_HOPS, s->ttl ? s->ttl : TTL_USUAL);
    if (rc == 0)
        rc = set_number(fd, level, ipv4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
                        s->may_be_cut ? cut : whole);
    if (rc == 0 && s->without_checksum)
        rc = ipv4 ? set_number(fd, SOL_SOCKET, SO_NO_CHECK, 1)
                  : set_number(fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, 1);
    return rc;
}

/* At the local address, with a port of the kernel's choice. -errno. */
static int open_sender(const struct tunnel_settings *settings)
{
    struct sockaddr_storage local;
    socklen_t len = tunnel_sockaddr(settings->family, &settings->local, 0, &local);
    cleanup_fd int fd = socket(settings->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = hear_nothing(fd);
    if (rc == 0)
        rc = set_headers(fd, settings);
    if (rc == 0 && bind(fd, (struct sockaddr *)&local, len) < 0)
        rc = -errno;
    return rc < 0 ? rc : take_fd(&fd);
}

struct port *tunnel_port_new(const struct tunnel_settings *settings, struct kv_error *err)
{
    struct tunnel_port *tunnel = calloc(1, sizeof(*tunnel));
    if (!tunnel || flow_secret_make(&tunnel->secret) < 0) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "tunnel");
        free(tunnel);
        return NULL;
    }
    tunnel->port.ops = &tunnel_port_ops;
    tunnel->settings = *settings;
    list_init(&tunnel->node);
    tunnel_header_write(settings->kind, settings->vni, tunnel->header);
    for (unsigned i = 0; i < TUNNEL_FLOWS; i++)
        tunnel->fds[i] = -1;
    for (unsigned i = 0; i < TUNNEL_FLOWS; i++) {
        tunnel->fds[i] = open_sender(settings);
        if (tunnel->fds[i] < 0) {
            kv_error_errno(err, KV_ERR_NET, -tunnel->fds[i], "socket of a tunnel");
            tunnel_port_free(&tunnel->port);
            return NULL;
        }
    }
    tunnel->socket = tunnel_socket_get(settings, err);
    if (!tunnel->socket) {
        tunnel_port_free(&tunnel->port);
        return NULL;
    }
    return &tunnel->port;
}

void tunnel_port_free(struct port *port)
{
    struct tunnel_port *tunnel = tunnel_of(port);
    for (unsigned i = 0; i < TUNNEL_FLOWS; i++) {
        if (tunnel->fds[i] >= 0)
            close(tunnel->fds[i]);
    }
    if (tunnel->socket)
        tunnel_socket_put(tunnel->socket);
    free(tunnel);
}

/* The kernel knows the way, and how long packets on it may be, of a socket that is connected. */
unsigned tunnel_port_mtu(const struct tunnel_port *tunnel)
{
    const struct tunnel_settings *s = &tunnel->settings;
    unsigned headers = (s->family == AF_INET ? IPV4_HEADER : IPV6_HEADER) + UDP_HEADER +
                       TUNNEL_HEADER + ETHERNET_HEADER;
    struct sockaddr_storage remote;
    socklen_t len = tunnel_sockaddr(s->family, &s->remote, s->dst_port, &remote);
    int mtu = 0;
    socklen_t size = sizeof(mtu);
    cleanup_fd int fd = open_sender(s);
    if (fd < 0 || connect(fd, (struct sockaddr *)&remote, len) < 0 ||
        getsockopt(fd, s->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
                   s->family == AF_INET ? IP_MTU : IPV6_MTU, &mtu, &size) < 0)
        return 0;
    return mtu > (int)headers ? (unsigned)mtu - headers : 0;
}

struct start {
    struct tunnel_port *tunnel;
    int rc;
};

static void join_here(void *opaque)
{
    struct start *start = opaque;
    start->rc = tunnel_socket_join(start->tunnel->socket, start->tunnel);
    start->tunnel->port.up = start->rc == 0;
}

static void leave_here(void *opaque)
{
    struct tunnel_port *tunnel = opaque;
    tunnel_socket_leave(tunnel->socket, tunnel);
    tunnel->port.up = false;
}

int tunnel_port_start(struct port *port, struct kv_error *err)
{
    struct start start = {.tunnel = tunnel_of(port)};
    struct tunnel_socket *socket = start.tunnel->socket;
    if (socket->forward && socket->forward != port->forward)
        return kv_error_set(err, KV_ERR_NET, EXDEV,
                            "tunnels of UDP port %u are on a bridge of core %d, this one's bridge "
                            "is of core %d: one core, or another dst-port, is possible",
                            socket->port, socket->forward->core, port->forward->core);
    forward_run(port->forward, join_here, &start);
    if (start.rc == -EEXIST)
        return kv_error_set(err, KV_ERR_NET, EEXIST,
                            "another tunnel has these addresses and the key %u",
                            start.tunnel->settings.vni);
    if (start.rc < 0)
        return kv_error_errno(err, KV_ERR_NET, -start.rc, "its events");
    socket->forward = port->forward;
    return 0;
}

void tunnel_port_stop(struct port *port)
{
    struct tunnel_socket *socket = tunnel_of(port)->socket;
    forward_run(port->forward, leave_here, tunnel_of(port));
    if (list_empty(&socket->members))
        socket->forward = NULL;
}

json_t *tunnel_port_give(struct port *port, struct bequest *bequest)
{
    tunnel_socket_give(tunnel_of(port)->socket, bequest);
    return json_null();
}

static bool tunnel_poll(struct port *port)
{
    return tunnel_socket_poll(tunnel_of(port)->socket, tunnel_of(port));
}

/* Events come only for what arrives after the last read found nothing. */
static enum port_sleep tunnel_sleep(struct port *port)
{
    return PORT_ASLEEP;
}

static void tunnel_wake(struct port *port)
{
}

/* --- Out ------------------------------------------------------------------------------ */

/* A frame of the burst. */
struct leaving {
    unsigned flow; /* of the tunnel's sockets */
    uint8_t tos, ttl;
    unsigned head_len;
    uint32_t size;              /* of its datagram */
    unsigned iov_at, iov_count; /* once it is part of a message */
};

/* A datagram, or a train of datagrams of one size, of which the last may be shorter. */
struct train {
    unsigned first, count; /* among out.order */
    uint32_t bytes;
};

/* Each forwarding thread has its own, and is done with a burst before it takes the next. */
static _Thread_local struct {
    struct leaving leaving[FRAME_BURST];
    uint8_t heads[FRAME_BURST][FRAME_HEAD_MAX];
    uint8_t order[FRAME_BURST]; /* frames, as they lie in messages */
    struct train trains[FRAME_BURST];
    struct mmsghdr messages[FRAME_BURST];
    struct {
        uint8_t bytes[3 * CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    } control[FRAME_BURST];
    struct iovec iov[FRAME_BURST * SEGMENTS_MAX];
    struct sockaddr_storage to;
    socklen_t to_len;
} out;

/* Returns the flow. */
static unsigned look_at(const struct tunnel_port *tunnel, const struct frame *frame, unsigned index)
{
    const struct tunnel_settings *s = &tunnel->settings;
    struct leaving *l = &out.leaving[index];
    struct tunnel_inner inner = tunnel_look_inside(frame, &tunnel->secret);
    l->flow = (unsigned)(inner.flow >> 32) % TUNNEL_FLOWS;
    l->tos = s->tos_of_frame && inner.ip ? inner.tos & 0xfc : 0;
    l->ttl = s->ttl_of_frame && inner.ip ? inner.hops : TTL_USUAL;
    l->head_len =
        frame_write_head(frame, port_sends_tagged(&tunnel->port, frame), out.heads[index]);
    l->size = TUNNEL_HEADER + l->head_len + frame->rest_bytes;
    return l->flow;
}

static void add_iov(struct tunnel_port *tunnel, const struct frame *frame, unsigned index,
                    unsigned *used)
{
    struct leaving *l = &out.leaving[index];
    struct iovec *iov = &out.iov[*used];
    l->iov_at = *used;
    l->iov_count = frame->rest_count + 2;
    iov[0] = (struct iovec){tunnel->header, TUNNEL_HEADER};
    iov[1] = (struct iovec){out.heads[index], l->head_len};
    memcpy(&iov[2], frame->rest, frame->rest_count * sizeof(*iov));
    *used += l->iov_count;
}

static bool fits_train(const struct tunnel_settings *s, const struct train *train, unsigned index)
{
    const struct leaving *first = &out.leaving[out.order[train->first]];
    const struct leaving *last = &out.leaving[out.order[train->first + train->count - 1]];
    const struct leaving *l = &out.leaving[index];
    /* The kernel cuts only what it makes checksums for. */
    return !s->without_checksum && train->count < TRAIN_MAX && last->size == first->size &&
           l->size <= first->size && train->bytes + l->size <= TRAIN_BYTES_MAX &&
           l->tos == first->tos && l->ttl == first->ttl &&
           l->iov_at + l->iov_count - first->iov_at <= UIO_MAXIOV;
}

static void add_control(struct msghdr *header, int level, int type, const void *value, size_t size)
{
    struct cmsghdr *c =
        (struct cmsghdr *)(void *)((uint8_t *)header->msg_control + header->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), value, size);
    header->msg_controllen += CMSG_SPACE(size);
}

/* The message of count frames of the order from first on. */
static void write_message(const struct tunnel_settings *s, unsigned message, unsigned first,
                          unsigned count)
{
    const struct leaving *l = &out.leaving[out.order[first]];
    const struct leaving *last = &out.leaving[out.order[first + count - 1]];
    struct msghdr *header = &out.messages[message].msg_hdr;
    bool ipv4 = s->family == AF_INET;
    int level = ipv4 ? IPPROTO_IP : IPPROTO_IPV6, tos = l->tos, ttl = l->ttl;
    uint16_t size = (uint16_t)l->size;
    *header = (struct msghdr){.msg_name = &out.to,
                              .msg_namelen = out.to_len,
                              .msg_iov = &out.iov[l->iov_at],
                              .msg_iovlen = last->iov_at + last->iov_count - l->iov_at,
                              .msg_control = out.control[message].bytes};
    if (count > 1)
        add_control(header, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
    if (s->tos_of_frame)
        add_control(header, level, ipv4 ? IP_TOS : IPV6_TCLASS, &tos, sizeof(tos));
    if (s->ttl_of_frame)
        add_control(header, level, ipv4 ? IP_TTL : IPV6_HOPLIMIT, &ttl, sizeof(ttl));
    if (!header->msg_controllen)
        header->msg_control = NULL;
}

/* Frames of one flow as messages; returns how many. */
static unsigned build(struct tunnel_port *tunnel, const struct frame *frames, unsigned flow)
{
    const struct port *port = &tunnel->port;
    unsigned used = 0, ordered = 0, trains = 0;
    for (unsigned i = 0; i < port->pending_count; i++) {
        struct train *train = &out.trains[trains];
        if (out.leaving[i].flow != flow)
            continue;
        add_iov(tunnel, &frames[port->pending[i]], i, &used);
        if (trains && fits_train(&tunnel->settings, train - 1, i))
            train--;
        else
            out.trains[trains++] = (struct train){.first = ordered};
        out.order[ordered++] = (uint8_t)i;
        train->count++;
        train->bytes += out.leaving[i].size;
    }
    for (unsigned i = 0; i < trains; i++)
        write_message(&tunnel->settings, i, out.trains[i].first, out.trains[i].count);
    return trains;
}

static enum port_drop why_not_sent(int code)
{
    switch (code) {
    case EMSGSIZE:
        return DROP_TOO_LONG;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EINVAL: /* of a route that cannot be from the local address */
        return DROP_DOWN;
    default:
        return DROP_NO_BUFFER;
    }
}

static void count_sent(struct port *port, const struct train *train)
{
    port->counters.out_frames += train->count;
    port->counters.out_bytes += train->bytes - (uint64_t)train->count * TUNNEL_HEADER;
}

/* A train that the kernel does not cut, one datagram after the other. */
static void send_apart(struct tunnel_port *tunnel, int fd, const struct train *train)
{
    for (unsigned i = 0; i < train->count; i++) {
        const struct train one = {train->first + i, 1,
                                  out.leaving[out.order[train->first + i]].size};
        struct msghdr kept = out.messages[0].msg_hdr;
        write_message(&tunnel->settings, 0, one.first, 1);
        if (sendmsg(fd, &out.messages[0].msg_hdr, MSG_DONTWAIT) < 0)
            port_drop(&tunnel->port, why_not_sent(errno));
        else
            count_sent(&tunnel->port, &one);
        out.messages[0].msg_hdr = kept;
    }
}

static void send_flow(struct tunnel_port *tunnel, const struct frame *frames, unsigned flow)
{
    int fd = tunnel->fds[flow];
    unsigned count = build(tunnel, frames, flow);
    for (unsigned i = 0; i < count;) {
        int sent = sendmmsg(fd, out.messages + i, count - i, MSG_DONTWAIT);
        for (unsigned end = i + (unsigned)MAX(sent, 0); i < end; i++)
            count_sent(&tunnel->port, &out.trains[i]);
        if (sent > 0)
            continue;
        /* A train whose datagrams are longer than the way's MTU, or on a way that cannot have it:
         * EMSGSIZE, EINVAL, EIO by kernel. */
        if (out.trains[i].count > 1 && (errno == EMSGSIZE || errno == EINVAL || errno == EIO))
            send_apart(tunnel, fd, &out.trains[i]);
        else
            tunnel->port.counters.drops[why_not_sent(errno)] += out.trains[i].count;
        i++;
    }
}

static void tunnel_send(struct port *port, const struct frame *frames)
{
    struct tunnel_port *tunnel = tunnel_of(port);
    const struct tunnel_settings *s = &tunnel->settings;
    unsigned flows = 0;
    out.to_len = tunnel_sockaddr(s->family, &s->remote, s->dst_port, &out.to);
    for (unsigned i = 0; i < port->pending_count; i++)
        flows |= 1U << look_at(tunnel, &frames[port->pending[i]], i);
    for (; flows; flows &= flows - 1)
        send_flow(tunnel, frames, (unsigned)__builtin_ctz(flows));
}

static const struct port_ops tunnel_port_ops = {
    .poll = tunnel_poll,
    .send = tunnel_send,
    .sleep = tunnel_sleep,
    .wake = tunnel_wake,
};
