/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames cut out of a byte stream; see net_stream.h. */
#include "vmm/virtio/net_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/virtio/net_impl.h"

#define LENGTH_SIZE 4U
#define IN_SIZE (2 * NET_FRAME_MAX) /* a whole frame, and of the next ones what comes along */
#define OUT_SIZE (LENGTH_SIZE + NET_FRAME_MAX)

struct net_stream {
    int fd;
    size_t in_start, in_end, out_start, out_end;
    struct iovec parts[NET_TX_SEGMENTS + 1]; /* of the frame that is being written */
    uint8_t in[IN_SIZE], out[OUT_SIZE];
};

struct net_stream *net_stream_new(int fd)
{
    struct net_stream *stream = calloc(1, sizeof(*stream));
    if (stream)
        stream->fd = fd;
    return stream;
}

void net_stream_free(struct net_stream *stream)
{
    free(stream);
}

/* The length of the frame at hand; 0: not all of it is there. -1 with errno: nonsense. */
static ssize_t frame_at_hand(const struct net_stream *stream)
{
    size_t have = stream->in_end - stream->in_start;
    uint32_t length;
    if (have < LENGTH_SIZE)
        return 0;
    memcpy(&length, stream->in + stream->in_start, sizeof(length));
    length = ntohl(length);
    if (length == 0 || length > NET_FRAME_MAX) {
        errno = EPROTO; /* there is no way back into step */
        return -1;
    }
    return have - LENGTH_SIZE >= length ? (ssize_t)length : 0;
}

/* 1: more came. */
static ssize_t receive(struct net_stream *stream)
{
    memmove(stream->in, stream->in + stream->in_start, stream->in_end - stream->in_start);
    stream->in_end -= stream->in_start;
    stream->in_start = 0;
    ssize_t n = read(stream->fd, stream->in + stream->in_end, IN_SIZE - stream->in_end);
    if (n <= 0)
        return n;
    stream->in_end += (size_t)n;
    return 1;
}

ssize_t net_stream_readv(struct net_stream *stream, const struct iovec *vec, unsigned count)
{
    ssize_t length, n;
    while ((length = frame_at_hand(stream)) == 0) {
        n = receive(stream);
        if (n <= 0)
            return n;
    }
    if (length < 0)
        return -1;
    const uint8_t *from = stream->in + stream->in_start + LENGTH_SIZE;
    size_t left = (size_t)length;
    for (unsigned i = 0; i < count && left; i++) {
        size_t part = MIN(left, vec[i].iov_len);
        memcpy(vec[i].iov_base, from, part);
        from += part;
        left -= part;
    }
    stream->in_start += LENGTH_SIZE + (size_t)length;
    return length - (ssize_t)left;
}

int net_stream_flush(struct net_stream *stream)
{
    while (stream->out_start < stream->out_end) {
        ssize_t n = send(stream->fd, stream->out + stream->out_start,
                         stream->out_end - stream->out_start, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        stream->out_start += (size_t)n;
    }
    return 0;
}

/* Everything behind the first sent bytes of length and frame. */
static void keep_rest(struct net_stream *stream, const struct iovec *parts, unsigned count,
                      size_t sent)
{
    stream->out_start = stream->out_end = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t skipped = MIN(sent, parts[i].iov_len), rest = parts[i].iov_len - skipped;
        memcpy(stream->out + stream->out_end, (const uint8_t *)parts[i].iov_base + skipped, rest);
        stream->out_end += rest;
        sent -= skipped;
    }
}

ssize_t net_stream_writev(struct net_stream *stream, const struct iovec *vec, unsigned count)
{
    struct iovec *parts = stream->parts;
    size_t length = 0;
    int rc = net_stream_flush(stream);
    if (rc < 0) {
        errno = -rc;
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        parts[i + 1] = vec[i];
        length += vec[i].iov_len;
    }
    uint32_t prefix = htonl((uint32_t)length);
    parts[0] = (struct iovec){&prefix, sizeof(prefix)};
    /* The kernel takes so many parts at most; what comes behind them waits. */
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = MIN(count + 1, NET_TX_SEGMENTS)};
    ssize_t n = sendmsg(stream->fd, &msg, MSG_NOSIGNAL);
    if (n < 0)
        return -1;
    if ((size_t)n < LENGTH_SIZE + length)
        keep_rest(stream, parts, count + 1, (size_t)n);
    return (ssize_t)length;
}
