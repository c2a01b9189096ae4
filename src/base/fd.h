/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors: whole reads and writes, non-blocking mode, passing over unix sockets. */
#ifndef KV_BASE_FD_H
#define KV_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define FD_PASS_MAX 32 /* descriptors in one message */

/* Read or write all of len, retrying on EINTR and short transfers. 0 or -errno; an early end of
 * file is -EPIPE. */
int fd_read_all(int fd, void *data, size_t len);
int fd_write_all(int fd, const void *data, size_t len);
int fd_pread_all(int fd, void *data, size_t len, uint64_t offset);

int fd_set_nonblocking(int fd, bool on);

/*
 * Receives up to len bytes and up to *nfds descriptors (close-on-exec); *nfds
 * becomes how many came, and the caller owns them. Returns bytes, 0 at the end
 * of the stream, or -errno.
 */
ssize_t fd_receive(int socket, void *data, size_t len, int *fds, size_t *nfds);

/* Sends the bytes with the descriptors attached to the first one. Returns bytes or -errno. */
ssize_t fd_send(int socket, const void *data, size_t len, const int *fds, size_t nfds);

/* A listening stream socket (non-blocking, close-on-exec) at path, replacing a stale socket that
 * nobody answers on. Returns the descriptor or -errno with err filled. */
int fd_listen_unix(const char *path, struct kv_error *err);

/* Removes a socket that nobody listens on; -ENOTSOCK, -EADDRINUSE for what is something else. */
int fd_unlink_stale_unix(const char *path);

/* A connected non-blocking stream socket, or -errno. */
int fd_connect_unix(const char *path);

#endif
