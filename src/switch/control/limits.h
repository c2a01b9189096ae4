/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rates that a port is held to (forward/meter.h, forward/shaper.h), on the control thread. */
#ifndef KV_SWITCH_CONTROL_LIMITS_H
#define KV_SWITCH_CONTROL_LIMITS_H

#include <jansson.h>

#include "base/error.h"
#include "switch/control/port_kinds.h"
#include "switch/ports/port.h"

/* What a port is to be held to: made first, as it may fail, put in place by a task of the
 * forwarding thread; what it holds afterwards is freed. */
struct limits {
    struct meter_rates in_rates, out_rates; /* bytes */
    struct meter *meter;
    struct shaper *shaper;
    struct storm_rates storm_rates;
    struct storm *storm;
};

/* -EINVAL, -ENOMEM with err. For a port that keeps its rates the port's own. */
int limits_make(struct limits *limits, const struct port_options *options, struct port *port,
                struct kv_error *err);
/* On the forwarding thread. The port has the limits now, and limits what it had. */
void limits_swap(struct limits *limits, struct port *port);
/* Of what limits_swap() took out, or of limits that were made for nothing. */
void limits_drop(struct limits *limits, const struct port *port);
/* Of a port that is on no bridge any more. */
void limits_free(struct port *port);

/* Adds what the port is held to, as the options say it. */
void limits_describe(const struct port *port, json_t *row);

#endif
