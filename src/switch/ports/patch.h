/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A patch: a port whose other end is a port of the same kind, most often of another bridge. Two
 * belong together when each names the other as its peer. What goes out at one waits in a queue, a
 * copy, until the forwarding thread of the other's bridge polls that, so that bridges never call
 * each other. A frame that has passed PATCH_HOPS_MAX patches in a row is dropped: bridges in a ring
 * do not turn it for ever.
 */
#ifndef KV_SWITCH_PORTS_PATCH_H
#define KV_SWITCH_PORTS_PATCH_H

#include "base/error.h"
#include "switch/ports/port.h"

#define PATCH_HOPS_MAX 32

/* NULL with err. */
struct port *patch_port_new(const char *peer, struct kv_error *err);
void patch_port_free(struct port *port);

/* With the port on its bridge; on the control thread, as the next one. -errno with err. */
int patch_port_start(struct port *port, struct kv_error *err);
void patch_port_stop(struct port *port);
const char *patch_port_peer(struct port *port);

#endif
