/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The unix sockets of virtio-vsock: the listener where host programs ask for a
 * guest's port, and the answers of the broker, which connects to host programs
 * for the guest (vsock.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"
#include "vmm/jail/jail.h"
#include "vmm/virtio/vsock_impl.h"

#define ACCEPT_BATCH 16
#define ACCEPT_AGAIN_NS INT64_C(10000000) /* after a full batch or a failure */
#define LINE_MAX_BYTES 32
#define DESCRIPTORS_WANTED 4096

static void handshake_timed_out(void *opaque)
{
    vsock_conn_free(opaque);
}

static void request_timed_out(void *opaque)
{
    struct vsock_conn *conn = opaque;
    struct vsock *vs = conn->vs;
    vsock_count(&vs->refused, 1);
    vsock_conn_doom(conn);
    vsock_rx_run(vs);
}

/* A port of the host that no connection to this port of the guest uses. */
static uint32_t pick_host_port(struct vsock *vs, uint32_t guest_port)
{
    do {
        if (vs->next_host_port < VSOCK_FIRST_HOST_PORT || vs->next_host_port == UINT32_MAX)
            vs->next_host_port = VSOCK_FIRST_HOST_PORT;
        vs->next_host_port++;
    } while (vsock_conn_find(vs, guest_port, vs->next_host_port));
    return vs->next_host_port;
}

/* "CONNECT <port>" without its newline. */
static int parse_line(char *line, uint32_t *port)
{
    static const char verb[] = "CONNECT ";
    uint64_t number;
    size_t len = strlen(line);
    if (len && line[len - 1] == '\r')
        line[len - 1] = 0;
    if (strncasecmp(line, verb, sizeof(verb) - 1) != 0 ||
        parse_u64(line + sizeof(verb) - 1, &number) < 0 || number >= UINT32_MAX)
        return -EINVAL;
    *port = (uint32_t)number;
    return 0;
}

/* The line must come whole; bytes behind it are left in the socket, they are the guest's. */
void vsock_host_handshake(struct vsock_conn *conn)
{
    struct vsock *vs = conn->vs;
    char line[LINE_MAX_BYTES + 1];
    uint32_t port;
    ssize_t n = recv(conn->fd, line, LINE_MAX_BYTES, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
    if (!end && n > 0 && n < LINE_MAX_BYTES && !conn->hung_up)
        return;
    size_t len = end ? (size_t)(end - line) + 1 : 0;
    if (!end || recv(conn->fd, line, len, 0) != (ssize_t)len) {
        vsock_conn_free(conn);
        return;
    }
    *end = 0;
    if (parse_line(line, &port) < 0 || !vs->rx_running) {
        vsock_count(&vs->refused, 1);
        vsock_conn_free(conn);
        return;
    }
    vsock_conn_enter(conn, port, pick_host_port(vs, port));
    conn->state = VSOCK_REQUESTED;
    conn->pending = VSOCK_SEND_REQUEST;
    loop_timer_arm(vs->loop, &conn->timer, VSOCK_CONNECT_NS, request_timed_out, conn);
    vsock_conn_schedule(conn);
}

static void accept_some(void *opaque)
{
    struct vsock *vs = opaque;
    for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(vs->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0)
            break; /* out of descriptors, most likely: some will be closed */
        struct vsock_conn *conn = vsock_conn_new(vs, VSOCK_HANDSHAKE);
        if (!conn) {
            vsock_count(&vs->refused, 1);
            close(fd);
            continue;
        }
        list_add_tail(&vs->handshakes, &conn->node);
        loop_timer_arm(vs->loop, &conn->timer, VSOCK_HANDSHAKE_NS, handshake_timed_out, conn);
        if (vsock_conn_watch(conn, fd) < 0)
            vsock_conn_free(conn);
    }
    loop_timer_arm(vs->loop, &vs->accept_timer, ACCEPT_AGAIN_NS, accept_some, vs);
}

static void listener_event(void *opaque, uint32_t events)
{
    accept_some(opaque);
}

static void broker_lost(struct vsock *vs)
{
    log_error("vsock: the helper that connects to '%s_*' is gone; guests reach no host port",
              vs->path);
    loop_remove(&vs->answers);
    broker_stop(&vs->broker);
    for (unsigned i = 0; i < VSOCK_BUCKETS; i++) {
        list_for_each (pos, &vs->buckets[i]) {
            struct vsock_conn *conn = list_entry(pos, struct vsock_conn, node);
            if (conn->state == VSOCK_OPENING)
                vsock_conn_doom(conn);
        }
    }
}

static void connected(struct vsock *vs, uint64_t id, uint32_t host_port, int fd)
{
    struct vsock_conn *conn = vsock_conn_find(vs, (uint32_t)(id >> 32), host_port);
    if (!conn || conn->state != VSOCK_OPENING || conn->serial != (uint32_t)id) {
        if (fd >= 0)
            close(fd);
        return;
    }
    if (fd >= 0)
        conn->readable = true;
    if (fd < 0 || vsock_conn_watch(conn, fd) < 0) {
        log_debug("vsock: '%s_%u': %s", vs->path, host_port, fd < 0 ? strerror(-fd) : "epoll");
        vsock_count(&vs->refused, 1);
        vsock_conn_doom(conn);
        return;
    }
    conn->state = VSOCK_OPEN;
    conn->pending |= VSOCK_SEND_RESPONSE;
    vsock_count(&vs->opened, 1);
    vsock_conn_schedule(conn);
}

static void answers_event(void *opaque, uint32_t events)
{
    struct vsock *vs = opaque;
    uint64_t id;
    uint32_t number;
    int fd, rc;
    while ((rc = broker_answer(&vs->broker, &id, &number, &fd)) == 1)
        connected(vs, id, number, fd);
    if (rc < 0)
        broker_lost(vs);
    vsock_rx_run(vs);
}

/* Each connection takes a descriptor; the usual soft limit is less than a guest may open. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS_WANTED) {
        limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)DESCRIPTORS_WANTED);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int vsock_host_open(struct vsock *vs, const struct vsock_config *config, struct kv_error *err)
{
    vs->listen_fd = config->fd;
    vs->path = strdup(config->path ? config->path : "");
    if (!config->path || !*config->path)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "vsock: option 'path' is missing (name of the host's socket)");
    raise_descriptor_limit();
    int rc = broker_start(&vs->broker, vs->path, err);
    if (rc < 0)
        return kv_error_prefix(err, "vsock");
    if (vs->listen_fd < 0) {
        vs->listen_fd = fd_listen_unix(vs->path, err);
        if (vs->listen_fd < 0)
            return kv_error_prefix(err, "vsock");
        vs->bound = true;
        jail_remove_at_exit(vs->path);
    }
    fd_set_nonblocking(vs->listen_fd, true);
    rc = loop_add(vs->loop, &vs->listener, vs->listen_fd, EPOLLIN | EPOLLET, listener_event, vs);
    if (rc == 0)
        rc = loop_add(vs->loop, &vs->answers, vs->broker.fd, EPOLLIN, answers_event, vs);
    return rc < 0 ? kv_error_errno(err, KV_ERR_NET, -rc, "vsock: listening on '%s'", vs->path) : 0;
}

void vsock_host_close(struct vsock *vs)
{
    loop_remove(&vs->listener);
    loop_timer_cancel(&vs->accept_timer);
    loop_remove(&vs->answers);
    broker_stop(&vs->broker);
    if (vs->listen_fd >= 0)
        close(vs->listen_fd);
    if (vs->bound)
        unlink(vs->path);
    free(vs->path);
}
