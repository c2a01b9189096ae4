/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tap port: an interface of the host whose other end is the bridge (the kernel's
 * Documentation/networking/tuntap.rst). */
#ifndef KV_SWITCH_PORTS_TAP_H
#define KV_SWITCH_PORTS_TAP_H

#include "base/error.h"
#include "switch/ports/inherited.h"
#include "switch/ports/port.h"

/* By opener.h: the descriptor of the interface, up, or -errno with err. */
int tap_open(const char *interface, struct kv_error *err);

/* Makes the interface, or attaches to one that is there, and brings it up. NULL with err. */
struct port *tap_port_new(const char *interface, struct kv_error *err);
void tap_port_free(struct port *port);
/* For the next process (inherited.h). */
void tap_port_give(const struct port *port, struct bequest *bequest);

#endif
