/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tap port: an interface of the host whose other end is the bridge (the kernel's
 * Documentation/networking/tuntap.rst). */
#ifndef KV_SWITCH_PORTS_TAP_H
#define KV_SWITCH_PORTS_TAP_H

#include "base/error.h"
#include "switch/ports/port.h"

struct tap_port;

/* Makes the interface, or attaches to one that is there, and brings it up. NULL with err. */
struct tap_port *tap_port_new(const char *interface, struct kv_error *err);
struct port *tap_port_of(struct tap_port *tap);
struct tap_port *tap_port_from(struct port *port);
void tap_port_free(struct tap_port *tap);

/* On the forwarding thread: from now on frames come, or none any more. */
int tap_port_start(struct tap_port *tap);
void tap_port_stop(struct tap_port *tap);

#endif
