/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port: where frames come into a bridge and leave it. A kind of port is a file (or few) here
 * with a struct port_ops. What is in struct port belongs to the forwarding thread, except its name
 * and description, which the control thread writes before the port is added and nobody afterwards.
 */
#ifndef KV_SWITCH_PORTS_PORT_H
#define KV_SWITCH_PORTS_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "switch/forward/frame.h"
#include "switch/forward/meter.h"
#include "switch/forward/storm.h"

#define PORT_NAME_MAX 64
#define PORT_INTERFACE_MAX 16 /* IFNAMSIZ */

struct bridge;
struct filter;
struct forward;
struct port;
struct screen;
struct shaper;
struct storm;

/* Why frames were dropped. The names are in port.c, in this order. */
enum port_drop {
    DROP_MALFORMED,   /* shorter than a frame can be, or longer */
    DROP_VLAN,        /* a tag that the port does not take */
    DROP_NOT_MEMBER,  /* the receiver's port does not carry the VLAN */
    DROP_RESERVED,    /* to an address that bridges do not forward (802.1Q 8.6.3) */
    DROP_HAIRPIN,     /* the receiver is on the sender's side */
    DROP_SEGMENTS,    /* its header says segments that it has not */
    DROP_NO_BUFFER,   /* the receiver had no room */
    DROP_TOO_LONG,    /* longer than the receiver's buffers */
    DROP_DOWN,        /* nobody is at the port's other end */
    DROP_MIRROR,      /* from a port that only hears what others say */
    DROP_POLICED,     /* faster than the sender's port may */
    DROP_QUEUE_FULL,  /* faster than the receiver's port may, for longer than its queue holds */
    DROP_ISOLATED,    /* private VLANs keep the receiver's port from the sender's */
    DROP_BLOCKED,     /* spanning tree or a bond has the port take nothing */
    DROP_STORM,       /* more broadcasts, multicasts or unknown receivers than the port may have */
    DROP_FLOW,        /* a flow of OpenFlow has no actions */
    DROP_DISABLED,    /* OpenFlow has the port take or send nothing */
    DROP_NOT_LEARNED, /* not dropped: its sender could not be learned */
    DROP_ACL,         /* a rule of an ACL, or its default */
    DROP_STATE,       /* no packet of any connection (TCP's flags) */
    DROP_CONNECTIONS, /* the port has as many connections as it may */
    DROP_FRAGMENT,    /* its first fragment was not allowed, or did not come before it */
    DROP_SPOOFED_MAC, /* port security: the sender is none of the port's stations, ... */
    DROP_SPOOFED_ADDRESS,
    DROP_SPOOFED_ARP,
    DROP_SPOOFED_ND,
    DROP_DHCP_SERVER, /* ... which are no DHCP servers */
    DROP_ROUTER,      /* ... nor routers */
    DROP_LOOP,        /* it went from bridge to bridge too often */
    DROP_COUNT,
};

extern const char *const port_drop_names[DROP_COUNT];

/* In: from the port into the bridge. Drops of a frame count at the port named in the table:
 * SEGMENTS, NO_BUFFER, TOO_LONG, QUEUE_FULL, DOWN, NOT_MEMBER and LOOP at the receiver's, the
 * others at the sender's. */
struct port_counters {
    uint64_t in_frames, in_bytes, out_frames, out_bytes;
    uint64_t drops[DROP_COUNT];
};

typedef uint64_t vlan_set[VLAN_COUNT / 64];

static inline bool vlan_set_has(const uint64_t *set, unsigned vlan)
{
    return set[vlan / 64] >> (vlan % 64) & 1;
}

/* Which VLANs a port carries. An access port belongs to one and speaks untagged; a trunk carries
 * a set of them tagged, and its native one as it is told. A tunnel (802.1ad) is an access port
 * whose frames may have a customer's tag, which stays. */
struct port_vlans {
    bool access;
    bool service;        /* what comes untagged gets a service tag elsewhere */
    uint16_t native;     /* of untagged frames; with access: the VLAN. 0: frames of no VLAN */
    uint16_t untagged;   /* the VLAN whose frames leave without a tag */
    uint64_t *customers; /* a tunnel: VLANs of the customer that come in; else NULL. Allocated */
    vlan_set carried;
};

static inline bool port_carries(const struct port_vlans *vlans, unsigned vlan)
{
    return vlan_set_has(vlans->carried, vlan);
}

/* port->community. Ports of 0 talk to all. */
#define PORT_ISOLATED 1
#define PORT_COMMUNITIES 4095

enum port_sleep {
    PORT_HAS_WORK,
    PORT_ASLEEP,     /* an event wakes it */
    PORT_NEEDS_LOOK, /* no event tells of its work, so somebody has to look now and then */
};

/* Which of a port's frames another one gets a copy of. */
enum port_mirror {
    MIRROR_IN = 1, /* that the port let in */
    MIRROR_OUT = 2,
};

/* What a port does not do, and so on: the first are OpenFlow's. */
enum port_config {
    PORT_NO_RECEIVE = 1,
    PORT_NO_FORWARD = 2, /* it sends nothing */
    PORT_NO_FLOOD = 4,
    PORT_DISABLED = 8, /* all of these */
    PORT_NO_PACKET_IN = 16,
    PORT_QUIET = 32,    /* nothing is flooded there: as configured, whatever OpenFlow says */
    PORT_SCREENED = 64, /* protocols look at what comes in (forward/screen.h) */
    PORT_BLOCKED = 128, /* sends nothing, nor is flooded to: a protocol or a bond says so */
};
#define PORT_CONFIG_OPENFLOW 31
#define PORT_NUMBER_LOCAL 0xfffe /* of_number of the port with the bridge's own name */

struct port_ops {
    /* The port is on its bridge: from now on frames come; stop: none any more. NULL: the control
     * thread sees to it. 0 or -errno. */
    int (*start)(struct port *port);
    void (*stop)(struct port *port);
    /* Takes a burst of frames in and hands them to the bridge; false: there was nothing. */
    bool (*poll)(struct port *port);
    /* Sends those of the frames that port->pending names. */
    void (*send)(struct port *port, const struct frame *frames);
    /* From now on an event of forward_watch() is waited for, unless there is work already. */
    enum port_sleep (*sleep)(struct port *port);
    /* The port is polled again. */
    void (*wake)(struct port *port);
    /* Tells the other end of what it got since the last time; after forward_notify_later(). */
    void (*notify)(struct port *port);
};

struct port {
    const struct port_ops *ops;
    struct forward *forward;
    struct bridge *bridge;
    uint16_t index;     /* in the bridge */
    uint32_t number;    /* in the whole switch, for good: interface index to who watches */
    bool up;            /* somebody is at the other end */
    bool polled;        /* on the forwarding thread's list; else an event wakes it */
    bool notify;        /* among forward->notify */
    uint8_t leaves;     /* of enum frame_undone: what the frames that come in may have undone */
    uint8_t takes;      /* likewise: send() gets no frame with anything else undone */
    uint16_t of_number; /* in the bridge, to OpenFlow */
    uint8_t config;     /* of enum port_config */
    uint16_t community; /* talks only to its own and to ports of 0; PORT_ISOLATED: only to those */
    unsigned mac_limit;
    struct port *mirror;    /* gets copies, or NULL; on the same bridge */
    unsigned mirror_what;   /* of enum port_mirror */
    uint64_t *mirror_vlans; /* whose frames it gets; NULL: all. Allocated */
    unsigned mirrors;       /* ports that this one gets copies of: it gets nothing else then */
    struct screen *screen;  /* with PORT_SCREENED */
    struct storm *storm;    /* limits what is flooded for its stations, or NULL */
    struct meter *meter;    /* of what comes in; NULL: as fast as it can */
    struct shaper *shaper;  /* of what goes out, likewise */
    struct list active;     /* while polled (two lists of it), or among those looked at */
    int64_t busy_ns;        /* when it had work last */
    unsigned costly;        /* frames that it sent lately, one of which takes as long as many */
    struct port_vlans vlans;
    struct filter *filter; /* what its frames are checked by, or NULL */
    bool filtered;         /* some port's filter looked at the last frame that came in */
    uint8_t pending_count;
    uint8_t pending[FRAME_BURST]; /* indexes of the burst's frames that go out here */
    struct port_counters counters;
    /* The control thread's. */
    char name[PORT_NAME_MAX];
    struct meter_rates in_rates, out_rates;
    struct json_t *qos; /* what set-qos was told, or NULL */
    struct storm_rates storm_rates;
    uint32_t counter_samples;           /* told of the port by sFlow */
    char interface[PORT_INTERFACE_MAX]; /* whose carrier is the port's link; "": port->up is */
    bool no_rstp, rstp_edge, rstp_no_auto_edge; /* to RSTP (control/spanning.h) */
    uint8_t rstp_priority;
    uint32_t rstp_cost;
    bool fast_leave, all_groups, all_reports; /* to snooping (control/snooping.h) */
    char bond[PORT_NAME_MAX];                 /* whose member it is to be; "": of none */
    unsigned kind;                            /* row of port_kinds (control/port_kinds.h) */
    struct list node;                         /* among the bridge's */
};

/* Frames that came in and went nowhere, frames that did not go out. */
uint64_t port_drops_in(const struct port_counters *counters);
uint64_t port_drops_out(const struct port_counters *counters);

static inline void port_drop(struct port *port, enum port_drop why)
{
    port->counters.drops[why]++;
}

/* Whether the frame leaves the port with its tag. */
static inline bool port_sends_tagged(const struct port *port, const struct frame *frame)
{
    return frame->vlan != port->vlans.untagged;
}

#endif
