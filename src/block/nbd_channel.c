/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client's socket, plain or under TLS; see nbd_channel.h. */
#include "block/nbd_channel.h"
#include "block/tls_library.h"
#include "block/tls_server.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"

#define CORK_MAX KIB(128) /* bytes handed to GnuTLS before the socket must take them */

void nbd_channel_init(struct nbd_channel *channel, int fd, int64_t deadline_ns)
{
    *channel = (struct nbd_channel){.fd = fd, .deadline_ns = deadline_ns};
    fd_set_nonblocking(fd, true);
}

void nbd_channel_close(struct nbd_channel *channel)
{
    if (channel->tls) {
        /* One try: the client may be gone or not be reading. */
        tls_lib.bye(channel->tls, GNUTLS_SHUT_WR);
        tls_lib.deinit(channel->tls);
    }
    close(channel->fd);
}

static int wait_for(const struct nbd_channel *channel, short events)
{
    for (;;) {
        int64_t left_ms = (channel->deadline_ns - clock_monotonic_ns()) / 1000000;
        if (left_ms <= 0)
            return -ETIMEDOUT;
        struct pollfd pfd = {.fd = channel->fd, .events = events};
        int n = poll(&pfd, 1, (int)MIN(left_ms, 60000));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

static ssize_t tls_error(ssize_t n)
{
    return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED ? -EAGAIN : -EPROTO;
}

/* Records come one a call; those that are there already fill the vector. */
static ssize_t tls_receive(struct nbd_channel *channel, const struct iovec *iov, unsigned count)
{
    ssize_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t got = 0;
        while (got < iov[i].iov_len) {
            ssize_t n = tls_lib.record_recv(channel->tls, (char *)iov[i].iov_base + got,
                                            iov[i].iov_len - got);
            if (n == GNUTLS_E_PREMATURE_TERMINATION)
                n = 0;
            if (n <= 0)
                return total ? total : n == 0 ? 0 : tls_error(n);
            got += (size_t)n;
            total += n;
        }
    }
    return total;
}

ssize_t nbd_channel_receive(struct nbd_channel *channel, struct iovec *iov, unsigned count)
{
    if (channel->tls)
        return tls_receive(channel, iov, count);
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n;
    do {
        n = recvmsg(channel->fd, &msg, 0);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int nbd_channel_flush(struct nbd_channel *channel)
{
    while (channel->corked) {
        ssize_t n = tls_lib.record_uncork(channel->tls, 0);
        if (n == GNUTLS_E_INTERRUPTED)
            continue;
        if (n < 0)
            return (int)tls_error(n);
        channel->corked = false;
    }
    return 0;
}

/* Small pieces travel in common records. What GnuTLS took it keeps until the socket takes it. */
static ssize_t tls_send(struct nbd_channel *channel, const struct iovec *iov, unsigned count)
{
    ssize_t total = 0;
    int rc = nbd_channel_flush(channel);
    if (rc < 0)
        return rc;
    tls_lib.record_cork(channel->tls);
    channel->corked = true;
    for (unsigned i = 0; i < count && (size_t)total < CORK_MAX; i++) {
        size_t len = MIN(iov[i].iov_len, CORK_MAX - (size_t)total);
        ssize_t n = len ? tls_lib.record_send(channel->tls, iov[i].iov_base, len) : 0;
        if (n < 0)
            return tls_error(n) == -EAGAIN ? -EIO : tls_error(n);
        total += n;
        if ((size_t)n < iov[i].iov_len)
            break;
    }
    rc = nbd_channel_flush(channel);
    return rc < 0 && rc != -EAGAIN ? rc : total;
}

ssize_t nbd_channel_send(struct nbd_channel *channel, const struct iovec *iov, unsigned count)
{
    if (channel->tls)
        return tls_send(channel, iov, count);
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = count};
    ssize_t n;
    do {
        n = sendmsg(channel->fd, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int nbd_channel_read_all(struct nbd_channel *channel, void *data, size_t len)
{
    while (len) {
        struct iovec iov = {data, len};
        ssize_t n = nbd_channel_receive(channel, &iov, 1);
        if (n == 0)
            return -EPIPE;
        int rc = n == -EAGAIN ? wait_for(channel, POLLIN) : n < 0 ? (int)n : 0;
        if (rc < 0)
            return rc;
        if (n > 0) {
            data = (char *)data + n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int nbd_channel_write_all(struct nbd_channel *channel, const void *data, size_t len)
{
    while (len || channel->corked) {
        struct iovec iov = {(void *)data, len};
        ssize_t n = len ? nbd_channel_send(channel, &iov, 1) : (ssize_t)nbd_channel_flush(channel);
        int rc = n == -EAGAIN ? wait_for(channel, POLLOUT) : n < 0 ? (int)n : 0;
        if (rc < 0)
            return rc;
        if (n > 0) {
            data = (const char *)data + n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int nbd_channel_start_tls(struct nbd_channel *channel, const struct tls_server *tls,
                          struct kv_error *err)
{
    gnutls_session_t session;
    int rc = tls_server_session(tls, &session);
    if (rc < 0)
        return kv_error_set(err, KV_ERR_BLOCK, -rc, "TLS session: out of memory");
    tls_lib.transport_set_int2(session, channel->fd, channel->fd);
    for (;;) {
        int status = tls_lib.handshake(session);
        if (status == GNUTLS_E_SUCCESS)
            break;
        rc = -EPROTO;
        if (status == GNUTLS_E_AGAIN)
            rc = wait_for(channel, tls_lib.record_get_direction(session) ? POLLOUT : POLLIN);
        else if (!tls_lib.error_is_fatal(status))
            rc = 0;
        if (rc < 0) {
            kv_error_set(err, KV_ERR_BLOCK, -rc, "TLS handshake: %s",
                         rc == -ETIMEDOUT ? "timed out" : tls_lib.strerror(status));
            tls_lib.deinit(session);
            return rc;
        }
    }
    channel->tls = session;
    return 0;
}
