/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection of virtio-vsock (virtio 1.2, 5.10.6): its states, its credit in
 * both directions, and its unix stream socket on the host. The socket is
 * watched by edge: `readable` remembers what the last edge said.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "vmm/virtio/vsock_impl.h"

static struct list *bucket(struct vsock *vs, uint32_t guest_port, uint32_t host_port)
{
    uint32_t hash = (guest_port * 0x9e3779b1U) ^ (host_port * 0x85ebca6bU);
    return &vs->buckets[(hash >> 16) % VSOCK_BUCKETS];
}

struct vsock_conn *vsock_conn_find(struct vsock *vs, uint32_t guest_port, uint32_t host_port)
{
    struct list *head = bucket(vs, guest_port, host_port);
    list_for_each (pos, head) {
        struct vsock_conn *conn = list_entry(pos, struct vsock_conn, node);
        if (conn->guest_port == guest_port && conn->host_port == host_port)
            return conn;
    }
    return NULL;
}

struct vsock_conn *vsock_conn_new(struct vsock *vs, enum vsock_state state)
{
    struct vsock_conn *conn = vs->conn_count < VSOCK_CONNECTIONS ? calloc(1, sizeof(*conn)) : NULL;
    if (!conn)
        return NULL;
    conn->vs = vs;
    conn->state = state;
    conn->fd = -1;
    conn->source = LOOP_SOURCE_INIT;
    conn->serial = vs->next_serial++;
    conn->out = BUFFER_INIT(VSOCK_BUFFER);
    list_init(&conn->node);
    list_init(&conn->ready);
    atomic_store_explicit(&vs->current, ++vs->conn_count, memory_order_relaxed);
    return conn;
}

void vsock_conn_enter(struct vsock_conn *conn, uint32_t guest_port, uint32_t host_port)
{
    conn->guest_port = guest_port;
    conn->host_port = host_port;
    list_del(&conn->node);
    list_add_tail(bucket(conn->vs, guest_port, host_port), &conn->node);
}

static void close_host(struct vsock_conn *conn)
{
    loop_remove(&conn->source);
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    conn->readable = false;
    buffer_free(&conn->out);
}

void vsock_conn_free(struct vsock_conn *conn)
{
    struct vsock *vs = conn->vs;
    close_host(conn);
    loop_timer_cancel(&conn->timer);
    list_del(&conn->ready);
    list_del(&conn->node);
    atomic_store_explicit(&vs->current, --vs->conn_count, memory_order_relaxed);
    free(conn);
}

void vsock_conn_doom(struct vsock_conn *conn)
{
    bool unknown = conn->state == VSOCK_HANDSHAKE ||
                   (conn->state == VSOCK_REQUESTED && conn->pending & VSOCK_SEND_REQUEST);
    if (unknown) {
        vsock_conn_free(conn);
        return;
    }
    close_host(conn);
    loop_timer_cancel(&conn->timer);
    conn->state = VSOCK_DOOMED;
    conn->pending = VSOCK_SEND_RESET;
    vsock_conn_schedule(conn);
}

static uint32_t credit(const struct vsock_conn *conn)
{
    uint32_t in_flight = conn->sent - conn->peer_fwd_cnt;
    return in_flight < conn->peer_buf_alloc ? conn->peer_buf_alloc - in_flight : 0;
}

static bool may_read(const struct vsock_conn *conn)
{
    return conn->state == VSOCK_OPEN && conn->readable && !conn->host_done &&
           !(conn->shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

void vsock_conn_schedule(struct vsock_conn *conn)
{
    if (may_read(conn) && credit(conn) == 0 && !conn->credit_asked) {
        conn->credit_asked = true;
        conn->pending |= VSOCK_ASK_CREDIT;
    }
    bool wanted = conn->pending || (may_read(conn) && credit(conn));
    if (wanted && list_empty(&conn->ready))
        list_add_tail(&conn->vs->ready, &conn->ready);
}

static void timed_out(void *opaque)
{
    struct vsock_conn *conn = opaque;
    struct vsock *vs = conn->vs;
    log_debug("vsock: guest port %u, host port %u: no answer in time", conn->guest_port,
              conn->host_port);
    vsock_conn_doom(conn);
    vsock_rx_run(vs);
}

/* --- The host's end ----------------------------------------------------- */

static void begin_closing(struct vsock_conn *conn)
{
    conn->state = VSOCK_CLOSING;
    conn->host_done = true;
    conn->pending |= VSOCK_SEND_SHUTDOWN;
    close_host(conn);
    loop_timer_arm(conn->vs->loop, &conn->timer, VSOCK_CLOSE_NS, timed_out, conn);
}

/* Half closes take effect once everything before them was handed over. False: conn is doomed. */
static bool finish_shutdown(struct vsock_conn *conn)
{
    if (conn->out.len || conn->fd < 0)
        return true;
    if ((conn->shutdown & VSOCK_SHUTDOWN_BOTH) == VSOCK_SHUTDOWN_BOTH) {
        vsock_conn_doom(conn);
        return false;
    }
    if (conn->shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND && !conn->write_shut) {
        conn->write_shut = true;
        shutdown(conn->fd, SHUT_WR);
    }
    return true;
}

static void forwarded(struct vsock_conn *conn, size_t bytes)
{
    conn->forwarded += (uint32_t)bytes;
    if (conn->forwarded - conn->told_forwarded >= VSOCK_BUFFER / 4)
        conn->pending |= VSOCK_SEND_CREDIT;
}

/* Hands over what waits. False: conn is doomed. */
static bool flush(struct vsock_conn *conn)
{
    while (conn->out.len) {
        ssize_t n = send(conn->fd, buffer_bytes(&conn->out), conn->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0) {
            vsock_conn_doom(conn);
            return false;
        }
        buffer_consume(&conn->out, (size_t)n);
        forwarded(conn, (size_t)n);
    }
    return finish_shutdown(conn);
}

static void host_event(void *opaque, uint32_t events)
{
    struct vsock_conn *conn = opaque;
    struct vsock *vs = conn->vs;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        conn->readable = true;
    if (events & (EPOLLHUP | EPOLLERR))
        conn->hung_up = true;
    if (conn->state == VSOCK_HANDSHAKE) {
        vsock_host_handshake(conn);
    } else if (conn->state == VSOCK_OPEN) {
        if (events & EPOLLOUT && !flush(conn)) {
            vsock_rx_run(vs);
            return;
        }
        if (conn->host_done && conn->hung_up)
            begin_closing(conn);
        vsock_conn_schedule(conn);
    } else if (conn->state == VSOCK_REQUESTED && conn->hung_up) {
        vsock_conn_doom(conn);
    }
    vsock_rx_run(vs);
}

int vsock_conn_watch(struct vsock_conn *conn, int fd)
{
    conn->fd = fd;
    return loop_add(conn->vs->loop, &conn->source, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                    host_event, conn);
}

/* --- From the guest ----------------------------------------------------- */

static void learn_credit(struct vsock_conn *conn, const struct virtio_vsock_hdr *header)
{
    conn->peer_buf_alloc = le32toh(header->buf_alloc);
    conn->peer_fwd_cnt = le32toh(header->fwd_cnt);
    if (credit(conn))
        conn->credit_asked = false;
}

void vsock_conn_request(struct vsock *vs, const struct virtio_vsock_hdr *header)
{
    struct vsock_conn *conn = vsock_conn_new(vs, VSOCK_OPENING);
    if (!conn)
        return; /* no memory: the guest runs into its own timeout */
    vsock_conn_enter(conn, le32toh(header->src_port), le32toh(header->dst_port));
    learn_credit(conn, header);
    uint64_t id = (uint64_t)conn->guest_port << 32 | conn->serial;
    if (broker_ask(&vs->broker, id, conn->host_port) < 0) {
        vsock_count(&vs->refused, 1);
        vsock_conn_doom(conn);
    }
}

/* The host program learns its own port, as its first line. */
static void accepted(struct vsock_conn *conn)
{
    char line[32];
    int len = snprintf(line, sizeof(line), "OK %" PRIu32 "\n", conn->host_port);
    if (send(conn->fd, line, (size_t)len, MSG_NOSIGNAL) != len) {
        vsock_conn_doom(conn);
        return;
    }
    loop_timer_cancel(&conn->timer);
    conn->state = VSOCK_OPEN;
    conn->readable = true;
    vsock_count(&conn->vs->opened, 1);
    vsock_conn_schedule(conn);
}

static void receive_bytes(struct vsock_conn *conn, size_t len, struct iovec *iov, unsigned count)
{
    /* What it may have sent beyond what was handed over is what it was told (5.10.6.3). */
    bool allowed =
        len <= VSOCK_BUFFER - conn->out.len && !(conn->shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND);
    size_t left = len;
    for (unsigned i = 0; i < count; i++) {
        iov[i].iov_len = MIN(iov[i].iov_len, left);
        left -= iov[i].iov_len;
    }
    ssize_t n = 0;
    if (allowed && conn->out.len == 0 && len) {
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
        n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            n = 0;
    }
    if (!allowed || n < 0) {
        vsock_conn_doom(conn);
        return;
    }
    forwarded(conn, (size_t)n);
    size_t skip = (size_t)n;
    for (unsigned i = 0; i < count; i++) {
        size_t cut = MIN(skip, iov[i].iov_len);
        skip -= cut;
        if (buffer_append(&conn->out, (char *)iov[i].iov_base + cut, iov[i].iov_len - cut) < 0) {
            vsock_conn_doom(conn);
            return;
        }
    }
    /* Whatever is left got EAGAIN or came short; the next EPOLLOUT brings it on. A short write
     * without EAGAIN is followed up at once, or there would be no edge. */
    if (conn->out.len && !flush(conn))
        return;
    vsock_conn_schedule(conn);
}

static void guest_shuts_down(struct vsock_conn *conn, uint32_t flags)
{
    conn->shutdown |= flags & VSOCK_SHUTDOWN_BOTH;
    if (conn->state == VSOCK_CLOSING) {
        if ((conn->shutdown & VSOCK_SHUTDOWN_BOTH) == VSOCK_SHUTDOWN_BOTH)
            vsock_conn_doom(conn);
        return;
    }
    if (conn->shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)
        shutdown(conn->fd, SHUT_RD);
    finish_shutdown(conn);
}

/* Which packets make sense in which state; any other one resets the connection. */
#define IN(state) (1U << (state))
static const unsigned allowed_in[] = {
    [VIRTIO_VSOCK_OP_RESPONSE] = IN(VSOCK_REQUESTED),
    [VIRTIO_VSOCK_OP_SHUTDOWN] = IN(VSOCK_OPEN) | IN(VSOCK_CLOSING),
    [VIRTIO_VSOCK_OP_RW] = IN(VSOCK_OPEN) | IN(VSOCK_CLOSING),
    [VIRTIO_VSOCK_OP_CREDIT_UPDATE] = IN(VSOCK_OPEN) | IN(VSOCK_CLOSING),
    [VIRTIO_VSOCK_OP_CREDIT_REQUEST] = IN(VSOCK_OPEN) | IN(VSOCK_CLOSING),
};

void vsock_conn_packet(struct vsock_conn *conn, const struct virtio_vsock_hdr *header,
                       struct iovec *payload, unsigned count)
{
    unsigned op = le16toh(header->op);
    if (op == VIRTIO_VSOCK_OP_RST) {
        vsock_conn_free(conn);
        return;
    }
    if (conn->state == VSOCK_DOOMED)
        return;
    if (op >= ARRAY_SIZE(allowed_in) || !(allowed_in[op] & IN(conn->state))) {
        vsock_conn_doom(conn);
        return;
    }
    learn_credit(conn, header);
    switch (op) {
    case VIRTIO_VSOCK_OP_RESPONSE:
        accepted(conn);
        return;
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        guest_shuts_down(conn, le32toh(header->flags));
        return;
    case VIRTIO_VSOCK_OP_RW:
        if (conn->state == VSOCK_OPEN)
            receive_bytes(conn, le32toh(header->len), payload, count);
        return; /* nobody is left to read what comes while closing */
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        conn->pending |= VSOCK_SEND_CREDIT;
        break;
    default:
        break;
    }
    vsock_conn_schedule(conn);
}

/* --- To the guest ------------------------------------------------------- */

static void head(struct vsock_conn *conn, struct virtio_vsock_hdr *header, unsigned op,
                 uint32_t len, uint32_t flags)
{
    *header = (struct virtio_vsock_hdr){
        .src_port = htole32(conn->host_port),
        .dst_port = htole32(conn->guest_port),
        .len = htole32(len),
        .type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
        .op = htole16((uint16_t)op),
        .flags = htole32(flags),
        .buf_alloc = htole32(VSOCK_BUFFER),
        .fwd_cnt = htole32(conn->forwarded),
    };
    conn->told_forwarded = conn->forwarded;
    conn->pending &= ~(unsigned)VSOCK_SEND_CREDIT;
}

/* Reads from the host program straight into the guest's buffers. */
static bool next_bytes(struct vsock_conn *conn, struct virtio_vsock_hdr *header, struct iovec *iov,
                       unsigned count, uint64_t room)
{
    uint64_t len = MIN(MIN(room, VSOCK_PAYLOAD_MAX), credit(conn)), left = len;
    for (unsigned i = 0; i < count; i++) {
        iov[i].iov_len = MIN(iov[i].iov_len, left);
        left -= iov[i].iov_len;
    }
    ssize_t n;
    do {
        n = readv(conn->fd, iov, (int)count);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        conn->sent += (uint32_t)n;
        head(conn, header, VIRTIO_VSOCK_OP_RW, (uint32_t)n, 0);
        return true;
    }
    if (n < 0 && errno == EAGAIN) {
        conn->readable = false;
        return false;
    }
    if (n < 0 || conn->hung_up) {
        begin_closing(conn);
        return false;
    }
    conn->host_done = true;
    conn->pending |= VSOCK_SEND_SHUTDOWN;
    return false;
}

struct pending_packet {
    unsigned bit, op;
};

static const struct pending_packet pending_packets[] = {
    {VSOCK_SEND_RESET, VIRTIO_VSOCK_OP_RST},
    {VSOCK_SEND_REQUEST, VIRTIO_VSOCK_OP_REQUEST},
    {VSOCK_SEND_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE},
    {VSOCK_SEND_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN},
    {VSOCK_SEND_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE},
    {VSOCK_ASK_CREDIT, VIRTIO_VSOCK_OP_CREDIT_REQUEST},
};

static bool next_pending(struct vsock_conn *conn, struct virtio_vsock_hdr *header)
{
    for (unsigned i = 0; i < ARRAY_SIZE(pending_packets); i++) {
        const struct pending_packet *p = &pending_packets[i];
        if (!(conn->pending & p->bit))
            continue;
        uint32_t flags = 0;
        if (p->bit == VSOCK_SEND_SHUTDOWN)
            flags = conn->state == VSOCK_CLOSING ? VSOCK_SHUTDOWN_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND;
        conn->pending &= ~p->bit;
        head(conn, header, p->op, 0, flags);
        return true;
    }
    return false;
}

bool vsock_conn_next_packet(struct vsock_conn *conn, struct virtio_vsock_hdr *header,
                            struct iovec *iov, unsigned count, uint64_t room)
{
    bool got = next_pending(conn, header);
    if (got && conn->state == VSOCK_DOOMED) {
        vsock_conn_free(conn);
        return true;
    }
    if (!got && room && may_read(conn) && credit(conn)) {
        got = next_bytes(conn, header, iov, count, room);
        if (!got)
            got = next_pending(conn, header);
    }
    if (room || got)
        vsock_conn_schedule(conn);
    return got;
}
