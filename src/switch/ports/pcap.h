/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port with files at its other end, for tests and for looking: frames come from one in pcap's
 * format (draft-ietf-opsawg-pcap, of either byte order; not pcapng) as fast as the bridge takes
 * them, and go to another one. It takes nothing undone, so what is written is as it would be on a
 * wire.
 */
#ifndef KV_SWITCH_PORTS_PCAP_H
#define KV_SWITCH_PORTS_PCAP_H

#include "base/error.h"
#include "switch/ports/inherited.h"
#include "switch/ports/port.h"

/* Either file may be NULL. What the second one names is made anew, unless the port was inherited
 * (inherited.h) by its name. NULL with err. */
struct port *pcap_port_new(const char *name, const char *read_from, const char *write_to,
                           struct kv_error *err);
void pcap_port_free(struct port *port);
/* For the next process: what there is to tell; what was told. */
json_t *pcap_port_give(const struct port *port, struct bequest *bequest);
void pcap_port_take(struct port *port, const json_t *state);

#endif
