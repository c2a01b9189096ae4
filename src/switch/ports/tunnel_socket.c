/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Datagrams that arrive for tunnels; see tunnel_socket.h. udp(7), ip(7), ipv6(7). */
#include "switch/ports/tunnel_socket.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/ports/incoming.h"

#define DATAGRAMS 32            /* or trains of them, that are taken at a time */
#define TRAIN_BYTES (64U << 10) /* IP has no longer packets */
#define INHERITED_KIND "tunnels"
#define NAME_MAX_LEN 32
#define WAITING_BYTES (4 << 20) /* if the host lets us */

static struct list sockets = {&sockets, &sockets};

/* --- Making: the control thread ------------------------------------------------ */

struct socket_option {
    int level, name, value;
    bool needed;
};

static int set_options(int fd, int family)
{
    const struct socket_option ipv4[] = {{IPPROTO_IP, IP_PKTINFO, 1, true}, {0}};
    const struct socket_option ipv6[] = {
        {IPPROTO_IPV6, IPV6_V6ONLY, 1, true},
        {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, true},
        {IPPROTO_UDP, UDP_NO_CHECK6_RX, 1, true}, /* RFC 6935 */
        {0},
    };
    const struct socket_option both[] = {
        {IPPROTO_UDP, UDP_GRO, 1, false},
        {SOL_SOCKET, SO_RCVBUF, WAITING_BYTES, false},
        {0},
    };
    const struct socket_option *const tables[] = {family == AF_INET ? ipv4 : ipv6, both};
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        for (const struct socket_option *o = tables[i]; o->name; o++) {
            if (setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)) < 0 && o->needed)
                return -errno;
        }
    }
    return 0;
}

/* Among inherited descriptors. */
static void name_of(const struct tunnel_settings *settings, char name[NAME_MAX_LEN])
{
    snprintf(name, NAME_MAX_LEN, "%d %d %u", (int)settings->kind, settings->family,
             settings->dst_port);
}

static int open_socket(int family, uint16_t port, struct kv_error *err)
{
    static const struct tunnel_address any = {{0}};
    struct sockaddr_storage address;
    socklen_t len = tunnel_sockaddr(family, &any, port, &address);
    cleanup_fd int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? -errno : set_options(fd, family);
    if (rc == 0 && bind(fd, (struct sockaddr *)&address, len) < 0)
        rc = -errno;
    return rc < 0 ? kv_error_errno(err, KV_ERR_NET, -rc, "socket at UDP port %u", port)
                  : take_fd(&fd);
}

struct tunnel_socket *tunnel_socket_get(const struct tunnel_settings *settings,
                                        struct kv_error *err)
{
    list_for_each (node, &sockets) {
        struct tunnel_socket *found = list_entry(node, struct tunnel_socket, node);
        if (found->kind == settings->kind && found->family == settings->family &&
            found->port == settings->dst_port) {
            found->users++;
            return found;
        }
    }
    struct tunnel_socket *made = calloc(1, sizeof(*made));
    char name[NAME_MAX_LEN];
    name_of(settings, name);
    int fd = made ? inherited_take(INHERITED_KIND, name)
                  : kv_error_errno(err, KV_ERR_NET, ENOMEM, "socket of tunnels");
    if (made && fd < 0)
        fd = open_socket(settings->family, settings->dst_port, err);
    if (fd < 0) {
        free(made);
        return NULL;
    }
    made->kind = settings->kind;
    made->family = settings->family;
    made->port = settings->dst_port;
    made->fd = fd;
    made->users = 1;
    list_init(&made->members);
    list_add_tail(&sockets, &made->node);
    return made;
}

void tunnel_socket_put(struct tunnel_socket *socket)
{
    if (--socket->users)
        return;
    list_del(&socket->node);
    close(socket->fd);
    free(socket);
}

void tunnel_socket_give(const struct tunnel_socket *socket, struct bequest *bequest)
{
    const struct tunnel_settings settings = {
        .kind = socket->kind, .family = socket->family, .dst_port = socket->port};
    char name[NAME_MAX_LEN];
    name_of(&settings, name);
    /* Each of its tunnels does. */
    if (!bequest_has(bequest, INHERITED_KIND, name))
        bequest_add_named(bequest, INHERITED_KIND, name, socket->fd);
}

/* --- Whose a packet is: the forwarding thread -------------------------------------- */

static bool is_same_address(const struct tunnel_address *a, const struct tunnel_address *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static bool is_any(const struct tunnel_address *address)
{
    static const struct tunnel_address any = {{0}};
    return is_same_address(address, &any);
}

/* What is in the table is configured by us, so nobody outside can make its rows long. */
static struct tunnel_port **bucket_of(struct tunnel_socket *socket,
                                      const struct tunnel_address *remote, uint32_t vni)
{
    uint64_t hash = vni;
    for (unsigned i = 0; i < sizeof(remote->bytes); i += 8)
        hash = (hash ^ load_le(remote->bytes + i, 8)) * UINT64_C(0x9e3779b97f4a7c15);
    return &socket->buckets[hash >> 56];
}

/* A tunnel with the local address goes before one with any. */
static struct tunnel_port *find(struct tunnel_socket *socket, const struct tunnel_address *remote,
                                const struct tunnel_address *local, uint32_t vni)
{
    struct tunnel_port *found = NULL;
    for (struct tunnel_port *t = *bucket_of(socket, remote, vni); t; t = t->next) {
        if (t->settings.vni != vni || !is_same_address(&t->settings.remote, remote))
            continue;
        if (is_same_address(&t->settings.local, local))
            return t;
        if (is_any(&t->settings.local))
            found = t;
    }
    return found;
}

static bool is_taken(struct tunnel_socket *socket, const struct tunnel_settings *settings)
{
    const struct tunnel_port *t = *bucket_of(socket, &settings->remote, settings->vni);
    while (t && (t->settings.vni != settings->vni ||
                 !is_same_address(&t->settings.remote, &settings->remote) ||
                 !is_same_address(&t->settings.local, &settings->local)))
        t = t->next;
    return t != NULL;
}

static struct tunnel_port *reader_of(const struct tunnel_socket *socket)
{
    return list_empty(&socket->members)
               ? NULL
               : list_entry(socket->members.next, struct tunnel_port, node);
}

/* Whoever reads from now on. */
static int hand_over(struct tunnel_socket *socket)
{
    struct tunnel_port *reader = reader_of(socket);
    if (!reader)
        return 0;
    int rc = forward_watch(reader->port.forward, &reader->port, socket->fd);
    if (rc == 0)
        forward_wake_port(&reader->port);
    return rc;
}

int tunnel_socket_join(struct tunnel_socket *socket, struct tunnel_port *tunnel)
{
    struct tunnel_port **bucket = bucket_of(socket, &tunnel->settings.remote, tunnel->settings.vni);
    if (is_taken(socket, &tunnel->settings))
        return -EEXIST;
    bool first = list_empty(&socket->members);
    list_add_tail(&socket->members, &tunnel->node);
    int rc = first ? hand_over(socket) : 0;
    if (rc < 0) {
        list_del(&tunnel->node);
        return rc;
    }
    tunnel->next = *bucket;
    *bucket = tunnel;
    return 0;
}

void tunnel_socket_leave(struct tunnel_socket *socket, struct tunnel_port *tunnel)
{
    struct tunnel_port **at = bucket_of(socket, &tunnel->settings.remote, tunnel->settings.vni);
    bool reads = reader_of(socket) == tunnel;
    while (*at && *at != tunnel)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = tunnel->next;
    list_del(&tunnel->node);
    if (!reads)
        return;
    forward_unwatch(tunnel->port.forward, socket->fd);
    hand_over(socket);
}

/* --- Taking in ------------------------------------------------------------------------ */

/* The burst that is being gathered: frames of one tunnel. */
struct gathering {
    struct tunnel_port *tunnel; /* NULL: none yet */
};

static void deliver(struct gathering *g)
{
    if (g->tunnel)
        incoming_deliver();
    g->tunnel = NULL;
}

static void gather(struct gathering *g, struct tunnel_port *tunnel, const uint8_t *frame,
                   size_t len)
{
    if (g->tunnel != tunnel || incoming_is_full()) {
        deliver(g);
        incoming_begin(&tunnel->port);
        g->tunnel = tunnel;
    }
    incoming_add_plain(frame, len);
}

static void take_one(struct tunnel_socket *socket, struct gathering *g,
                     const struct tunnel_address *remote, const struct tunnel_address *local,
                     const uint8_t *data, size_t len)
{
    uint32_t vni;
    size_t frame;
    if (!tunnel_header_read(socket->kind, data, len, &vni, &frame)) {
        socket->malformed++;
        return;
    }
    struct tunnel_port *tunnel = find(socket, remote, local, vni);
    if (tunnel)
        gather(g, tunnel, data + frame, len - frame);
    else
        socket->unknown++;
}

static void take_train(struct tunnel_socket *socket, struct gathering *g,
                       const struct tunnel_address *remote, const struct tunnel_address *local,
                       const uint8_t *data, size_t len, size_t size)
{
    for (size_t part; len; data += part, len -= part) {
        part = MIN(size, len);
        take_one(socket, g, remote, local, data, part);
    }
}

void tunnel_socket_take(struct tunnel_socket *socket, const struct tunnel_address *remote,
                        const struct tunnel_address *local, const uint8_t *data, size_t len,
                        size_t size)
{
    struct gathering g = {NULL};
    take_train(socket, &g, remote, local, data, len, size);
    deliver(&g);
}

/* Each forwarding thread has its own; a page that no datagram reaches takes no memory. */
static _Thread_local struct {
    struct mmsghdr messages[DATAGRAMS];
    struct iovec iov[DATAGRAMS];
    struct sockaddr_storage from[DATAGRAMS];
    struct {
        uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))]
            __attribute__((aligned(8)));
    } control[DATAGRAMS];
    uint8_t *bytes; /* DATAGRAMS * TRAIN_BYTES, for good */
} in;

static struct tunnel_address address_of(const struct sockaddr_storage *from)
{
    struct tunnel_address address = {{0}};
    if (from->ss_family == AF_INET)
        memcpy(address.bytes, &((const struct sockaddr_in *)(const void *)from)->sin_addr,
               sizeof(struct in_addr));
    else
        memcpy(address.bytes, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr,
               sizeof(struct in6_addr));
    return address;
}

/* Where the datagram was sent to, and how long each of a train is. */
static void read_control(struct msghdr *header, struct tunnel_address *local, size_t *size)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
            memcpy(local->bytes, CMSG_DATA(c) + offsetof(struct in_pktinfo, ipi_addr),
                   sizeof(struct in_addr));
        else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
            memcpy(local->bytes, CMSG_DATA(c) + offsetof(struct in6_pktinfo, ipi6_addr),
                   sizeof(struct in6_addr));
        else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int train;
            memcpy(&train, CMSG_DATA(c), sizeof(train));
            *size = train > 0 ? (size_t)train : *size;
        }
    }
}

static void take_message(struct tunnel_socket *socket, struct gathering *g, unsigned i)
{
    struct msghdr *header = &in.messages[i].msg_hdr;
    size_t len = in.messages[i].msg_len, size = len;
    struct tunnel_address remote = address_of(&in.from[i]), local = {{0}};
    if (header->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        socket->malformed++;
        return;
    }
    read_control(header, &local, &size);
    take_train(socket, g, &remote, &local, in.iov[i].iov_base, len, size);
}

static bool prepare_messages(void)
{
    if (!in.bytes)
        in.bytes = malloc(DATAGRAMS * (size_t)TRAIN_BYTES);
    if (!in.bytes)
        return false;
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        in.iov[i] = (struct iovec){in.bytes + i * (size_t)TRAIN_BYTES, TRAIN_BYTES};
        in.messages[i].msg_hdr = (struct msghdr){.msg_name = &in.from[i],
                                                 .msg_namelen = sizeof(in.from[i]),
                                                 .msg_iov = &in.iov[i],
                                                 .msg_iovlen = 1,
                                                 .msg_control = in.control[i].bytes,
                                                 .msg_controllen = sizeof(in.control[i].bytes)};
    }
    return true;
}

bool tunnel_socket_poll(struct tunnel_socket *socket, const struct tunnel_port *tunnel)
{
    struct gathering g = {NULL};
    if (reader_of(socket) != tunnel || !prepare_messages())
        return false;
    int count = recvmmsg(socket->fd, in.messages, DATAGRAMS, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++)
        take_message(socket, &g, (unsigned)i);
    deliver(&g);
    return count > 0;
}
