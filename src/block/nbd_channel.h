/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server's side of a client's socket, plain or under TLS: whole reads
 * and writes with a deadline for the handshake, and what is there at once for
 * the transmission phase. Belongs to the client's thread.
 */
#ifndef KV_BLOCK_NBD_CHANNEL_H
#define KV_BLOCK_NBD_CHANNEL_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/error.h"

struct tls_server;

struct nbd_channel {
    int fd;               /* owned, non-blocking */
    gnutls_session_t tls; /* NULL: plain */
    bool corked;          /* TLS: accepted bytes are waiting for the socket */
    int64_t deadline_ns;  /* of read_all, write_all and start_tls */
};

void nbd_channel_init(struct nbd_channel *channel, int fd, int64_t deadline_ns);
void nbd_channel_close(struct nbd_channel *channel);

/* 0, -EPIPE at the end of the stream, -ETIMEDOUT at the deadline, -errno. */
int nbd_channel_read_all(struct nbd_channel *channel, void *data, size_t len);
int nbd_channel_write_all(struct nbd_channel *channel, const void *data, size_t len);

int nbd_channel_start_tls(struct nbd_channel *channel, const struct tls_server *tls,
                          struct kv_error *err);

/* What can be had at once: bytes, 0 at the end of the stream, -EAGAIN, -errno. */
ssize_t nbd_channel_receive(struct nbd_channel *channel, struct iovec *iov, unsigned count);
/* Bytes taken over, which may still lie in `corked`; -EAGAIN, -errno. */
ssize_t nbd_channel_send(struct nbd_channel *channel, const struct iovec *iov, unsigned count);
/* Sends what is corked: 0, -EAGAIN, -errno. */
int nbd_channel_flush(struct nbd_channel *channel);

#endif
