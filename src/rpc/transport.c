/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes from and to a client's socket, with descriptors over unix sockets. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/internal.h"

/* Descriptors beyond what a packet may have end the connection. */
static int keep_fds(struct rpc_client *client, struct msghdr *message)
{
    int r = message->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof(fd), sizeof(fd));
            if (client->n_in_fds < PACKET_FDS_MAX) {
                client->in_fds[client->n_in_fds++] = fd;
            } else {
                close(fd);
                r = -EPROTO;
            }
        }
    }
    return r;
}

static ssize_t read_unix(struct rpc_client *client, void *bytes, size_t len)
{
    struct iovec iov = {bytes, len};
    union {
        char room[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
    ssize_t n = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    int r = message.msg_controllen ? keep_fds(client, &message) : 0;
    return r < 0 ? r : n;
}

static ssize_t plain_read(struct rpc_client *client, void *bytes, size_t len)
{
    ssize_t n = recv(client->fd, bytes, len, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

ssize_t transport_raw_read(struct rpc_client *client, void *bytes, size_t len)
{
    if (client->tls)
        return tls_session_read(client, bytes, len);
    return client->transport == RPC_UNIX ? read_unix(client, bytes, len)
                                         : plain_read(client, bytes, len);
}

ssize_t transport_read(struct rpc_client *client, void *bytes, size_t len)
{
    ssize_t n;
    do {
        n = client->sasl ? sasl_session_read(client, bytes, len)
                         : transport_raw_read(client, bytes, len);
    } while (n == -EINTR);
    return n;
}

ssize_t transport_raw_write(struct rpc_client *client, const void *bytes, size_t len)
{
    if (client->tls)
        return tls_session_write(client, bytes, len);
    ssize_t n;
    do {
        n = send(client->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t transport_write(struct rpc_client *client, const void *bytes, size_t len)
{
    return client->sasl ? sasl_session_write(client, bytes, len)
                        : transport_raw_write(client, bytes, len);
}
