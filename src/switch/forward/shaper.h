/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes out at a port no faster than its meter says. What is too much waits in a queue of a
 * fixed size, a copy, as its sender gets its memory back at the end of the burst; what finds the
 * queue full is dropped (queue-full). The forwarding thread sends what waits when its time has
 * come, and does not sleep longer than SHAPER_PAUSE_NS while something waits. Made and freed by the
 * control thread, else the forwarding thread's.
 */
#ifndef KV_SWITCH_FORWARD_SHAPER_H
#define KV_SWITCH_FORWARD_SHAPER_H

#include "base/list.h"
#include "switch/forward/meter.h"
#include "switch/forward/record_ring.h"
#include "switch/ports/port.h"

#define SHAPER_PAUSE_NS INT64_C(1000000)

struct shaper {
    struct meter meter;
    struct port *port;
    struct list node; /* among forward->shaped while frames wait */
    struct record_ring queue;
};

/* NULL: no memory. */
struct shaper *shaper_new(struct port *port, const struct meter_rates *rates);
void shaper_free(struct shaper *shaper);

/* Sends those of the burst that port->pending names, now or later. */
void shaper_send(struct shaper *shaper, const struct frame *frames);
/* Sends what waits and may go now. */
void shaper_release(struct shaper *shaper);
/* What waits is lost; it is on no list afterwards. */
void shaper_stop(struct shaper *shaper);

#endif
