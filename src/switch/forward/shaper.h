/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes out at a port no faster than its meter says. What is too much waits, a copy, as its
 * sender gets its memory back at the end of the burst, in one of several queues, which take turns
 * by bytes (deficit round robin; Shreedhar and Varghese, 1995): one for each port that it came
 * from, so that none of them takes all there is, or those that a QoS of the port has, with rates of
 * their own. Together they hold a fixed number of bytes; where there are more, the longest queue
 * loses its oldest frame (queue-full). The forwarding thread sends what waits when its time has
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
#define SHAPER_QUEUES_MAX 64

/* A queue of a QoS. */
struct shaper_queue_rates {
    uint32_t id;             /* that flows name */
    uint64_t guaranteed;     /* bytes a second that go before others' share; 0: none */
    struct meter_rates most; /* average 0: as fast as the port */
};

struct shaper_queue {
    struct shaper_queue_rates rates;
    struct ratelimit guaranteed;
    struct meter most;
    struct record_ring waiting; /* frames, their bytes behind them */
    size_t bytes;               /* that they have */
    size_t deficit;             /* that it may send in its turn */
};

struct shaper {
    struct meter_rates rates; /* average 0: no limit of all queues together */
    struct meter meter;
    struct port *port;
    struct list node; /* among forward->shaped while frames wait */
    bool by_sender;   /* else by what flows say (bridge->queue) */
    size_t bytes, bytes_max;
    unsigned waiting; /* frames in all */
    unsigned turn;    /* of the queues */
    unsigned queue_count;
    struct shaper_queue queues[];
};

/* Fair to the ports that frames come from. NULL: no memory. */
struct shaper *shaper_new(struct port *port, const struct meter_rates *rates);
/* With these queues, one at least; the first gets what no flow says otherwise of. */
struct shaper *shaper_new_queues(struct port *port, const struct meter_rates *rates,
                                 const struct shaper_queue_rates *queues, unsigned count);
void shaper_free(struct shaper *shaper);

/* Sends those of the burst that port->pending names, now or later. from: where they came in, or
 * NULL. */
void shaper_send(struct shaper *shaper, const struct port *from, const struct frame *frames);
/* Sends what waits and may go now. */
void shaper_release(struct shaper *shaper);
/* What waits is lost; it is on no list afterwards. */
void shaper_stop(struct shaper *shaper);

#endif
