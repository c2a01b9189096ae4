/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bridge: ports that frames go between. Learns where stations are, sends to the one port that
 * is known or floods, and keeps VLANs apart (IEEE 802.1Q clause 8). Belongs to the forwarding
 * thread; the name and the list of ports are the control thread's.
 */
#ifndef KV_SWITCH_FORWARD_BRIDGE_H
#define KV_SWITCH_FORWARD_BRIDGE_H

#include "base/error.h"
#include "base/list.h"
#include "switch/forward/mac_table.h"
#include "switch/ports/port.h"

#define BRIDGE_PORTS_MAX MAC_TABLE_PORTS

struct filter_tables;
struct flow_table;
struct openflow;
struct verdict_cache;

struct bridge {
    struct forward *forward;
    struct mac_table macs;
    unsigned slots_used;                         /* slots above it are empty */
    struct port *slots[BRIDGE_PORTS_MAX];        /* by index */
    struct port *local;                          /* the one with the bridge's own name, or NULL */
    struct port *numbered[BRIDGE_PORTS_MAX + 1]; /* by of_number, but the local one */
    struct flow_table *flows;                    /* NULL: frames go the bridge's own way */
    uint16_t touched[BRIDGE_PORTS_MAX];          /* of the burst: who gets something */
    unsigned touched_count;
    uint32_t queue;                   /* of shapers, that a flow says for what it sends; 0 */
    struct list samplers;             /* monitor/sampler.h */
    uint32_t sample_in, sample_every; /* frames until one is taken, and at the last look; 0: none */
    struct filter_tables *tables;     /* filter/filter.h; there once a port had a filter, ... */
    struct verdict_cache *verdicts;   /* ... with this one (verdicts.h) */
    struct ring *protocol_frames;     /* for the control thread (screen.h), or NULL */
    struct group_view *groups;        /* who hears which, or NULL: everybody hears all */
    /* The control thread's. */
    char name[PORT_NAME_MAX];
    struct list ports;
    struct list node;
    struct protocols *protocols;         /* control/protocols.h, or NULL */
    struct spanning *spanning;           /* or NULL */
    struct snooping *snooping;           /* or NULL */
    uint32_t number;                     /* in the switch, for good */
    struct flow_export *flow_exports[2]; /* by enum flow_protocol; or NULL, as the next one */
    struct list captures;                /* monitor/capture.h */
    struct sflow *sflow;                 /* or NULL */
    struct openflow *openflow;           /* or NULL */
};

/* ageing_s: how long a silent station is remembered. */
struct bridge *bridge_new(struct forward *forward, const char *name, unsigned mac_entries,
                          uint32_t ageing_s, struct kv_error *err);
/* Without ports. */
void bridge_free(struct bridge *bridge);

/* On the forwarding thread. port->of_number is the one that it wants, up to BRIDGE_PORTS_MAX, or 0.
 * -ENOSPC: BRIDGE_PORTS_MAX are there. */
int bridge_attach(struct bridge *bridge, struct port *port);
void bridge_detach(struct bridge *bridge, struct port *port);

/* On the forwarding thread: copies of the port's frames (what: of enum port_mirror) go to another
 * port of its bridge from now on; to NULL: no more. */
void bridge_mirror(struct port *port, struct port *to, unsigned what);

/* By the control thread: makes what filters of the bridge's ports need. -errno with err. */
int bridge_prepare_filters(struct bridge *bridge, struct kv_error *err);

/*
 * Forwards a burst that came in at the port. The frames' heads, rests and offloads are filled in;
 * vlan and tagged are found here. Each frame has at least FRAME_BYTES_MIN bytes. When it returns,
 * the bytes were copied to wherever they go.
 */
void bridge_receive(struct port *from, struct frame *frames, unsigned count);

/* For flow_table.c. The bridge's own way. */
void bridge_forward(struct port *from, struct frame *frames, unsigned count);
/* On the forwarding thread: the port has that number (0: keeps its own) from now on, if it is free.
 */
void bridge_renumber(struct port *port, uint16_t wanted);
/* The port of that number (port->of_number), or NULL. */
struct port *bridge_port_numbered(const struct bridge *bridge, uint16_t number);
/* Who mirrors the port or samples frames gets a frame that does not go the bridge's own way; out:
 * as in struct sample. */
void bridge_watch(struct port *from, const struct frame *frame, uint32_t out);
/* Whether filters let the frame come in. Its VLAN need not be known. */
bool bridge_admits(struct port *from, const struct frame *frame);
/* Sends a frame with the tag that it has, if it has one, unless the receiver's filter does not let
 * it. from: NULL, or where it came in. The frame's VLAN is lost. */
void bridge_output(struct bridge *bridge, const struct port *from, struct port *to,
                   struct frame *frame);

#endif
