/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's metrics for Prometheus: a small HTTP/1.1 server (RFC 9112) on a unix socket or
 * a loopback address, off unless the configuration names one. It has one page, /metrics, in the
 * text format 0.0.4, and a thread of its own, on which the page is made. Clients are hostile: how
 * many there are, how long a request is, and how long one takes, is bounded.
 */
#ifndef KV_DAEMON_METRICS_METRICS_H
#define KV_DAEMON_METRICS_METRICS_H

#include "base/buffer.h"
#include "base/error.h"

struct metrics_server;

/* Appends the page's text. On the server's thread; may block. 0 or -errno. */
typedef int metrics_page_fn(void *opaque, struct buffer *out);

/* address: "unix:/PATH", "127.0.0.1:PORT", "[::1]:PORT" (port 0: any); others are refused. */
int metrics_server_start(struct metrics_server **out, const char *address, metrics_page_fn *page,
                         void *opaque, struct kv_error *err);
void metrics_server_stop(struct metrics_server *server); /* NULL is fine */

#endif
