/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Protocols that a bridge speaks with its neighbours (src/switch/protocols/), on the control
 * thread: what their state machines hear comes by the bridge's ring, from ports that have a screen
 * (forward/screen.h); what they decide is put there by tasks of the forwarding thread.
 */
#ifndef KV_SWITCH_CONTROL_PROTOCOLS_H
#define KV_SWITCH_CONTROL_PROTOCOLS_H

#include "base/error.h"
#include "base/loop.h"
#include "switch/forward/bridge.h"
#include "switch/forward/screen.h"

/* The bridge's ring is there from now on, until protocols_stop(). -errno with err. */
int protocols_start(struct bridge *bridge, struct loop *loop, struct kv_error *err);
/* The bridge has no ports. */
void protocols_stop(struct bridge *bridge);

/* The port has a screen, as long as it is there. -ENOMEM with err. */
int protocols_screen(struct port *port, struct kv_error *err);

/* Adds to and takes from what the port's screen takes out of the frames. */
void protocols_listen(struct port *port, unsigned add, unsigned remove);

/* Whether the interface of the kernel has a carrier, on the control thread. */
bool protocols_has_carrier(const struct port *port);

/* Sends a frame of the switch's own. */
void protocols_send(struct port *port, const uint8_t *bytes, size_t len);

#endif
