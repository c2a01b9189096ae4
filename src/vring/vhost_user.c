/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vhost-user messages on their socket; see vhost_user.h. */
#include "vring/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"

#define VERSION_MASK 3U

/* 0 when the socket is ready for events, -ETIMEDOUT. */
static int wait_for(int socket, short events, int64_t deadline_ns)
{
    struct pollfd wait = {.fd = socket, .events = events};
    for (;;) {
        int64_t left_ns = deadline_ns - clock_monotonic_ns();
        /* Rounded up, so that a wait does not end before the deadline. */
        int n = poll(&wait, 1, left_ns > 0 ? (int)((left_ns + 999999) / 1000000) : 0);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (left_ns <= 0)
            return -ETIMEDOUT;
    }
}

int vhost_user_send(int socket, const struct vhost_user_message *message, const int *fds,
                    size_t count, int64_t deadline_ns)
{
    const char *p = (const char *)message;
    size_t left = sizeof(message->header) + message->header.size;
    while (left) {
        ssize_t n = fd_send(socket, p, left, fds, count);
        if (n == -EAGAIN) {
            int rc = wait_for(socket, POLLOUT, deadline_ns);
            if (rc < 0)
                return rc;
            continue;
        }
        if (n < 0)
            return (int)n;
        p += n;
        left -= (size_t)n;
        count = 0;
    }
    return 0;
}

/* Descriptors may come with any of the bytes. */
static int receive_all(int socket, void *data, size_t len, int *fds, size_t room, size_t *count,
                       int64_t deadline_ns)
{
    char *p = data;
    while (len) {
        size_t got = room - *count;
        ssize_t n = fd_receive(socket, p, len, fds ? fds + *count : NULL, &got);
        if (n == -EAGAIN) {
            int rc = wait_for(socket, POLLIN, deadline_ns);
            if (rc < 0)
                return rc;
            continue;
        }
        if (n <= 0)
            return n < 0 ? (int)n : -EPIPE;
        *count += got;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Whether the rest of the message that the header announces can be taken. */
static bool header_is_good(const struct vhost_user_message *message)
{
    return (message->header.flags & VERSION_MASK) == VHOST_USER_VERSION &&
           message->header.size <= sizeof(message->payload);
}

int vhost_user_receive(int socket, struct vhost_user_message *message, int *fds, size_t *count,
                       int64_t deadline_ns)
{
    size_t room = *count, size = 0;
    *count = 0;
    int rc = receive_all(socket, message, sizeof(message->header), fds, room, count, deadline_ns);
    if (rc == 0) {
        size = message->header.size;
        if (!header_is_good(message))
            rc = -EPROTO;
    }
    if (rc == 0)
        rc = receive_all(socket, (char *)message + sizeof(message->header), size, fds, room, count,
                         deadline_ns);
    while (rc < 0 && *count)
        close(fds[--*count]);
    return rc;
}

int vhost_user_receive_some(int socket, struct vhost_user_inbox *inbox)
{
    for (;;) {
        size_t whole = sizeof(inbox->message.header);
        if (inbox->got >= whole) {
            if (!header_is_good(&inbox->message))
                return -EPROTO;
            whole += inbox->message.header.size;
            if (inbox->got == whole)
                return 1;
        }
        size_t count = VHOST_USER_REGIONS_MAX - inbox->fd_count;
        ssize_t n = fd_receive(socket, (char *)&inbox->message + inbox->got, whole - inbox->got,
                               inbox->fds + inbox->fd_count, &count);
        if (n <= 0)
            return n == -EAGAIN ? 0 : n < 0 ? (int)n : -EPIPE;
        inbox->fd_count += count;
        inbox->got += (size_t)n;
    }
}

void vhost_user_inbox_clear(struct vhost_user_inbox *inbox)
{
    while (inbox->fd_count) {
        int fd = inbox->fds[--inbox->fd_count];
        if (fd >= 0)
            close(fd);
    }
    inbox->got = 0;
}
