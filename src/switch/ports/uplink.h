/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port at an interface that the host has already, most often a network card: what arrives there
 * comes into the bridge, and what the bridge sends there goes out (packet(7), the kernel's
 * Documentation/networking/packet_mmap.rst). The host's own stack sees what arrives, too.
 */
#ifndef KV_SWITCH_PORTS_UPLINK_H
#define KV_SWITCH_PORTS_UPLINK_H

#include "base/error.h"
#include "switch/ports/inherited.h"
#include "switch/ports/port.h"

/* By opener.h: a packet socket with its ring, bound to the interface, or -errno with err. */
int uplink_open(const char *interface, struct kv_error *err);

/* Takes part in the interface, which must be an Ethernet one, and brings it up. NULL with err. */
struct port *uplink_port_new(const char *interface, struct kv_error *err);
void uplink_port_free(struct port *port);
/* For the next process (inherited.h): what there is to tell; what was told. */
json_t *uplink_port_give(const struct port *port, struct bequest *bequest);
void uplink_port_take(struct port *port, const json_t *state);

#endif
