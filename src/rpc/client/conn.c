/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection's life, its bytes in and out, and the poll loop around it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "rpc/client/internal.h"

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* ------------------------------------------------------------ the socket's layer */

struct socket_layer {
    struct layer layer;
    struct kvasir_conn *conn; /* for its descriptors */
};

static ssize_t socket_read(struct layer *layer, void *bytes, size_t len)
{
    struct kvasir_conn *conn = container_of(layer, struct socket_layer, layer)->conn;
    size_t n_fds = SERVER_FDS_MAX - conn->n_in_fds;
    ssize_t n = fd_receive(conn->fd, bytes, len, conn->in_fds + conn->n_in_fds, &n_fds);
    if (n >= 0)
        conn->n_in_fds += n_fds;
    return n;
}

static ssize_t socket_write(struct layer *layer, const void *bytes, size_t len)
{
    return fd_send(container_of(layer, struct socket_layer, layer)->conn->fd, bytes, len, NULL, 0);
}

static bool socket_pending(struct layer *layer)
{
    return false;
}

static void socket_free(struct layer *layer)
{
    free(container_of(layer, struct socket_layer, layer));
}

static const struct layer_ops socket_ops = {socket_read, socket_write, socket_pending, socket_free};

int conn_use_fd(struct kvasir_conn *conn, int fd, struct kvasir_error *err)
{
    struct socket_layer *layer = calloc(1, sizeof(*layer));
    int r = layer ? fd_set_nonblocking(fd, true) : -ENOMEM;
    if (r < 0) {
        free(layer);
        close(fd);
        return error_errno(err, -r, "connection");
    }
    layer->layer.ops = &socket_ops;
    layer->conn = conn;
    conn->top = &layer->layer;
    conn->fd = fd;
    return 0;
}

/* -------------------------------------------------------------------------- life */

struct kvasir_conn *conn_new(struct kvasir_error *err)
{
    struct kvasir_conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        error_no_memory(err);
        return NULL;
    }
    conn->refs = 1;
    conn->fd = -1;
    conn->in.max = PACKET_MAX + PACKET_FDS_MAX + READ_SIZE;
    list_init(&conn->calls);
    list_init(&conn->streams);
    list_init(&conn->events);
    list_init(&conn->registrations);
    return conn;
}

struct kvasir_conn *conn_ref(struct kvasir_conn *conn)
{
    conn->refs++;
    return conn;
}

static void end_child(struct kvasir_conn *conn)
{
    if (!conn->child)
        return;
    kill(conn->child, SIGTERM);
    while (waitpid(conn->child, NULL, 0) < 0 && errno == EINTR)
        continue;
    conn->child = 0;
}

/* Lets go of the socket and of what only a live connection has. */
static void disconnect(struct kvasir_conn *conn)
{
    while (conn->top) {
        struct layer *layer = conn->top;
        conn->top = layer->below;
        layer->ops->free(layer);
    }
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    end_child(conn);
    for (size_t i = 0; i < conn->n_in_fds; i++)
        close(conn->in_fds[i]);
    for (size_t i = 0; i < conn->n_out_fds; i++)
        close(conn->out_fds[i].fd);
    conn->n_in_fds = conn->n_out_fds = 0;
    buffer_free(&conn->in);
    buffer_free(&conn->out);
}

static void drop_events(struct kvasir_conn *conn)
{
    list_for_each_safe (node, &conn->events) {
        list_del(node);
        free(list_entry(node, struct queued_event, node));
    }
    conn->events_bytes = 0;
}

void conn_unref(struct kvasir_conn *conn)
{
    if (--conn->refs)
        return;
    disconnect(conn);
    drop_events(conn);
    list_for_each_safe (node, &conn->registrations)
        free(list_entry(node, struct registration, node));
    list_for_each_safe (node, &conn->calls) {
        struct call_slot *slot = list_entry(node, struct call_slot, node);
        for (size_t i = 0; i < slot->n_fds; i++)
            close(slot->fds[i]);
        free(slot->payload);
        free(slot);
    }
    free(conn);
}

void kvasir_close(struct kvasir_conn *conn)
{
    if (!conn)
        return;
    if (conn->fd >= 0)
        conn_flush(conn);
    disconnect(conn);
    drop_events(conn);
    list_for_each_safe (node, &conn->registrations) {
        list_del(node);
        free(list_entry(node, struct registration, node));
    }
    conn->on_close = NULL;
    if (!conn->lost) {
        conn->lost = true;
        kvasir_error_fill(&conn->why, VIR_ERR_INVALID_CONN, VIR_FROM_NONE, ENOTCONN,
                          "invalid connection pointer in: the connection was closed");
    }
    conn_unref(conn);
}

void conn_lose(struct kvasir_conn *conn, int reason, int code, const char *fmt, ...)
{
    if (conn->lost)
        return;
    va_list ap;
    va_start(ap, fmt);
    char words[512];
    vsnprintf(words, sizeof(words), fmt, ap);
    va_end(ap);
    kvasir_error_fill(&conn->why, code, VIR_FROM_RPC, EIO, "%s", words);
    conn->lost = true;
    conn->lost_reason = reason;
    disconnect(conn);
}

int conn_tell_lost(const struct kvasir_conn *conn, struct kvasir_error *err)
{
    if (err)
        *err = conn->why;
    return -conn->why.number;
}

int kvasir_conn_is_alive(const struct kvasir_conn *conn)
{
    return conn->fd >= 0;
}

int kvasir_conn_is_secure(const struct kvasir_conn *conn)
{
    return conn->encrypted || conn->transport == TRANSPORT_UNIX || conn->transport == TRANSPORT_SSH;
}

/* ------------------------------------------------------------------------- bytes */

int conn_send(struct kvasir_conn *conn, const struct packet_header *header, const void *payload,
              size_t len, const int *fds, size_t n_fds, struct kvasir_error *err)
{
    uint8_t head[PACKET_HEAD + 4];
    size_t count_len = n_fds ? 4 : 0;
    static const char none[PACKET_FDS_MAX];
    if (conn->fd < 0)
        return conn_tell_lost(conn, err);
    if (len > PACKET_MAX - sizeof(head))
        return kvasir_error_fill(err, VIR_ERR_RPC, VIR_FROM_RPC, EMSGSIZE,
                                 "a message of %zu bytes; at most %zu are possible", len,
                                 (size_t)PACKET_MAX - sizeof(head));
    if (n_fds > PACKET_FDS_MAX - conn->n_out_fds)
        return kvasir_error_fill(err, VIR_ERR_RPC, VIR_FROM_RPC, ENOSPC,
                                 "too many descriptors: %zu; at most %d are possible", n_fds,
                                 PACKET_FDS_MAX);
    packet_put_head(head, header, len + count_len);
    packet_put_u32(head + PACKET_HEAD, (uint32_t)n_fds);
    size_t was = conn->out.len;
    if (buffer_append(&conn->out, head, PACKET_HEAD + count_len) < 0 ||
        (len && buffer_append(&conn->out, payload, len) < 0) ||
        buffer_append(&conn->out, none, n_fds) < 0) {
        conn->out.len = was; /* what was appended last is taken back */
        return error_no_memory(err);
    }
    conn->out_total += PACKET_HEAD + count_len + len;
    for (size_t i = 0; i < n_fds; i++) {
        /* A descriptor travels with a byte of its own. */
        struct out_fd *out = &conn->out_fds[conn->n_out_fds++];
        *out = (struct out_fd){conn->out_total++, fcntl(fds[i], F_DUPFD_CLOEXEC, 0)};
    }
    return 0;
}

/* One write: up to the next descriptor, or the descriptor with its byte. */
static ssize_t write_some(struct kvasir_conn *conn)
{
    uint64_t done = conn->out_total - conn->out.len;
    size_t len = conn->out.len;
    if (conn->n_out_fds && conn->out_fds[0].at > done)
        len = MIN(len, (size_t)(conn->out_fds[0].at - done));
    else if (conn->n_out_fds)
        return fd_send(conn->fd, buffer_bytes(&conn->out), 1, &conn->out_fds[0].fd, 1);
    return conn->top->ops->write(conn->top, buffer_bytes(&conn->out), len);
}

static void lose_at_end(struct kvasir_conn *conn)
{
    conn_lose(conn, KVASIR_CLOSE_EOF, VIR_ERR_SYSTEM_ERROR, "%s: %s",
              conn->child ? "The program in between ended" : "End of file while reading data",
              strerror(EIO));
}

void conn_flush(struct kvasir_conn *conn)
{
    while (conn->fd >= 0 && conn->out.len) {
        bool with_fd = conn->n_out_fds && conn->out_fds[0].at == conn->out_total - conn->out.len;
        ssize_t n = write_some(conn);
        if (n == -EAGAIN)
            return;
        if (n == -EPIPE && conn->child) {
            lose_at_end(conn);
            return;
        }
        if (n < 0) {
            conn_lose(conn, KVASIR_CLOSE_ERROR, VIR_ERR_SYSTEM_ERROR, "Cannot write data: %s",
                      strerror((int)-n));
            return;
        }
        if (with_fd) {
            close(conn->out_fds[0].fd);
            conn->n_out_fds--;
            memmove(conn->out_fds, conn->out_fds + 1, conn->n_out_fds * sizeof(struct out_fd));
        }
        buffer_consume(&conn->out, (size_t)n);
    }
}

/* Reads what is there. True when something was. */
static bool read_some(struct kvasir_conn *conn)
{
    uint8_t bytes[READ_SIZE];
    bool any = false;
    while (conn->fd >= 0) {
        ssize_t n = conn->top->ops->read(conn->top, bytes, sizeof(bytes));
        if (n == -EAGAIN)
            break;
        if (n == 0 || (n == -ECONNRESET && conn->child)) {
            lose_at_end(conn);
            break;
        }
        if (n < 0) {
            conn_lose(conn, KVASIR_CLOSE_ERROR, VIR_ERR_SYSTEM_ERROR, "Cannot read data: %s",
                      strerror((int)-n));
            break;
        }
        any = true;
        if (buffer_append(&conn->in, bytes, (size_t)n) < 0) {
            conn_lose(conn, KVASIR_CLOSE_ERROR, VIR_ERR_NO_MEMORY, "out of memory");
            break;
        }
        receive_packets(conn);
        if (!conn->top || ((size_t)n < sizeof(bytes) && !conn->top->ops->pending(conn->top)))
            break;
    }
    if (any && conn->ping_interval) {
        conn->heard_at = now_ms();
        conn->pings = 0;
    }
    return any;
}

/* ---------------------------------------------------------------------- keepalive */

static int64_t ping_due(const struct kvasir_conn *conn)
{
    return conn->heard_at + (int64_t)conn->ping_interval * 1000 * (conn->pings + 1);
}

static void keep_alive(struct kvasir_conn *conn)
{
    static const struct packet_header ping = {KEEPALIVE_PROGRAM, 1, KEEPALIVE_PING,
                                              PACKET_MESSAGE,    0, PACKET_OK};
    if (!conn->ping_interval || conn->fd < 0 || now_ms() < ping_due(conn))
        return;
    if (conn->pings >= conn->ping_count) {
        conn_lose(conn, KVASIR_CLOSE_KEEPALIVE, VIR_ERR_SYSTEM_ERROR,
                  "connection closed due to keepalive timeout");
        return;
    }
    conn->pings++;
    conn_send(conn, &ping, NULL, 0, NULL, 0, NULL);
    conn_flush(conn);
}

int kvasir_conn_set_keepalive(struct kvasir_conn *conn, unsigned interval, unsigned count,
                              struct kvasir_error *err)
{
    enum { FEATURE_KEEPALIVE = 10 }; /* of the program; VIR_DRV_FEATURE_PROGRAM_KEEPALIVE */
    if (interval > 86400)
        return error_invalid(err, "keepalive every %u seconds; at most 86400 are possible",
                             interval);
    if (interval) {
        const wire_connect_supports_feature_in args = {FEATURE_KEEPALIVE};
        wire_connect_supports_feature_out ret = {0};
        int r = kvasir_call_CONNECT_SUPPORTS_FEATURE(conn, &args, &ret, err);
        if (r < 0)
            return r;
        if (!ret.supported)
            return kvasir_error_fill(err, VIR_ERR_NO_SUPPORT, VIR_FROM_RPC, ENOTSUP,
                                     "the server does not know keepalive");
    }
    conn->ping_interval = interval;
    conn->ping_count = count;
    conn->pings = 0;
    conn->heard_at = now_ms();
    return 0;
}

/* ---------------------------------------------------------------------- poll loop */

bool conn_is_held(const struct kvasir_conn *conn)
{
    list_for_each (node, &conn->streams) {
        if (list_entry(node, struct kvasir_stream, node)->in_bytes >= STREAM_IN_HIGH)
            return true;
    }
    return false;
}

static int until_ping(const struct kvasir_conn *conn)
{
    if (!conn->ping_interval || conn->fd < 0)
        return -1;
    int64_t left = ping_due(conn) - now_ms();
    return (int)MAX(left, 0);
}

static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

int conn_pump(struct kvasir_conn *conn, int timeout_ms, bool listen)
{
    conn_flush(conn);
    if (conn->fd < 0)
        return -conn->why.number;
    bool waiting = listen && conn->top->ops->pending(conn->top);
    struct pollfd pollfd = {conn->fd,
                            (short)((listen ? POLLIN : 0) | (conn->out.len ? POLLOUT : 0)), 0};
    int n = poll(&pollfd, 1, waiting ? 0 : sooner(timeout_ms, until_ping(conn)));
    bool did = false;
    if (waiting || (n > 0 && listen && (pollfd.revents & (POLLIN | POLLHUP | POLLERR))))
        did = read_some(conn);
    else if (n > 0 && (pollfd.revents & (POLLHUP | POLLERR)))
        lose_at_end(conn);
    if (n > 0 && (pollfd.revents & POLLOUT)) {
        conn_flush(conn);
        did = true;
    }
    keep_alive(conn);
    return conn->fd < 0 ? -conn->why.number : did;
}

int kvasir_conn_fd(const struct kvasir_conn *conn)
{
    return conn->fd;
}

short kvasir_conn_events(const struct kvasir_conn *conn)
{
    return (short)((conn_is_held(conn) ? 0 : POLLIN) | (conn->out.len ? POLLOUT : 0));
}

int kvasir_conn_timeout(const struct kvasir_conn *conn)
{
    if (!list_empty(&conn->events) || conn->fd < 0)
        return 0;
    if (conn->fd >= 0 && !conn_is_held(conn) && conn->top->ops->pending(conn->top))
        return 0;
    return until_ping(conn);
}

void kvasir_conn_set_close_callback(struct kvasir_conn *conn, kvasir_close_fn *fn, void *opaque)
{
    /* Some servers are in between themselves and say when their own connection ends; others do not
     * know the question. */
    if (fn && !conn->on_close)
        kvasir_call_CONNECT_REGISTER_CLOSE_CALLBACK(conn, NULL, NULL, NULL);
    conn->on_close = fn;
    conn->on_close_opaque = opaque;
}

/* Calls callbacks for what is queued. 1 when there was any. The caller holds a reference. */
static int deliver(struct kvasir_conn *conn)
{
    int any = 0;
    while (!list_empty(&conn->events)) {
        struct queued_event *event = list_entry(conn->events.next, struct queued_event, node);
        list_del(&event->node);
        conn->events_bytes -= event->len;
        event_deliver(conn, event);
        free(event);
        any = 1;
    }
    if (conn->lost && conn->on_close) {
        kvasir_close_fn *fn = conn->on_close;
        conn->on_close = NULL;
        fn(conn, conn->lost_reason, conn->on_close_opaque);
        any = 1;
    }
    return any;
}

int kvasir_conn_run(struct kvasir_conn *conn, int timeout_ms, struct kvasir_error *err)
{
    conn_ref(conn);
    int did = deliver(conn);
    bool lost = conn->lost;
    if (!did && !lost) {
        did = conn_pump(conn, timeout_ms, !conn_is_held(conn)) > 0;
        deliver(conn);
        lost = conn->lost;
    }
    int r = lost ? conn_tell_lost(conn, err) : did;
    conn_unref(conn);
    return r;
}

int kvasir_conn_process(struct kvasir_conn *conn, struct kvasir_error *err)
{
    int r = kvasir_conn_run(conn, 0, err);
    return MIN(r, 0);
}
