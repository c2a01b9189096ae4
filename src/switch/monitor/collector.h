/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where flow export goes: a collector's UDP address, given as numbers. On the control thread. */
#ifndef KV_SWITCH_MONITOR_COLLECTOR_H
#define KV_SWITCH_MONITOR_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

/* Fits Ethernet and IPv6 without fragments. */
#define COLLECTOR_DATAGRAM_MAX 1400

struct collector {
    int fd;              /* -1: none */
    uint64_t sent, lost; /* datagrams */
};

/* address: "192.0.2.1:6343", "[2001:db8::1]:6343". -EINVAL, -errno with err. */
int collector_open(struct collector *collector, const char *address, struct kv_error *err);
void collector_close(struct collector *collector);
void collector_send(struct collector *collector, const void *data, size_t len);

/* The address that datagrams come from. */
int collector_local(const struct collector *collector, struct sockaddr_storage *address);

#endif
