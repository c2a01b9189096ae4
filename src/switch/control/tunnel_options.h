/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of tunnels as what ports/tunnel.h takes, and back. */
#ifndef KV_SWITCH_CONTROL_TUNNEL_OPTIONS_H
#define KV_SWITCH_CONTROL_TUNNEL_OPTIONS_H

#include <jansson.h>

#include "switch/control/port_kinds.h"
#include "switch/ports/tunnel.h"

/* -EINVAL with err. */
int tunnel_options_read(enum tunnel_kind kind, const struct port_options *options,
                        struct tunnel_settings *settings, struct kv_error *err);

/* Adds what the tunnel is, and what arrived at its socket for nobody. */
void tunnel_options_describe(struct port *port, json_t *row);

#endif
