/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames over a stream socket, each behind its length in 4 bytes, big-endian:
 * what passt(1) and QEMU's stream and socket back ends speak. One for a queue
 * pair, on its loop's thread.
 */
#ifndef KV_VMM_VIRTIO_NET_STREAM_H
#define KV_VMM_VIRTIO_NET_STREAM_H

#include <sys/types.h>
#include <sys/uio.h>

struct net_stream;

/* For this socket, which stays the caller's. NULL: out of memory. */
struct net_stream *net_stream_new(int fd);
void net_stream_free(struct net_stream *stream);

/* As readv() and writev() of one frame: bytes of it, or -1 with errno. A frame that the other end
 * takes in parts counts as written; the rest is kept, see net_stream_flush(). */
ssize_t net_stream_readv(struct net_stream *stream, const struct iovec *vec, unsigned count);
ssize_t net_stream_writev(struct net_stream *stream, const struct iovec *vec, unsigned count);

/* 0: nothing waits any more; -EAGAIN: the other end is full; else it is gone. */
int net_stream_flush(struct net_stream *stream);

#endif
