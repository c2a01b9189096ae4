/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control thread knows of each kind of port: how to make it, start it, end it. */
#ifndef KV_SWITCH_CONTROL_PORT_KINDS_H
#define KV_SWITCH_CONTROL_PORT_KINDS_H

#include "base/error.h"
#include "base/loop.h"
#include "base/options.h"
#include "switch/ports/inherited.h"
#include "switch/ports/port.h"

struct port_options {
    char *bridge, *name;
    int type; /* row of port_kinds */
    char *path, *interface, *read, *write, *peer;
    char *remote_ip, *local_ip, *tos, *ttl; /* of tunnels, as the next ones */
    uint64_t key, dst_port;
    bool df_default, csum;
    uint64_t tag, native;
    char *trunks;
    uint64_t mac_limit;
    uint64_t ofport;
    struct meter_rates in, out; /* KiB a second, KiB */
    struct storm_rates storm;
    bool native_tagged, tunnel, isolated, no_flood;
    char *customers;
    int outer_tag; /* row of port_outer_tags */
    uint64_t community;
    bool fast_leave, all_groups, all_reports;
    bool no_rstp, rstp_edge, rstp_no_auto_edge;
    uint64_t rstp_cost, rstp_priority;
    char *bond; /* whose member the port is */
    /* Of a bond. */
    int mode, lacp, lacp_time; /* rows of the names in bonds.h */
    bool lacp_fallback;
    uint8_t lacp_system[6];
    uint64_t lacp_priority, up_delay, down_delay; /* ms */
    char *primary;
};

#define PORT_RATE_MAX (UINT64_C(1) << 27)  /* KiB a second: 128 GiB/s */
#define PORT_BURST_MAX (UINT64_C(1) << 22) /* KiB: 4 GiB */
#define PORT_MAC_LIMIT 1024
/* What is not said. */
#define PORT_OPTIONS_USUAL                                            \
    {                                                                 \
        .mac_limit = PORT_MAC_LIMIT, .df_default = true, .csum = true \
    }

extern const struct option_spec port_option_specs[];
/* Those that make a port another port, so that they stay as long as it is there; NULL at the end.
 */
extern const char *const port_fixed_options[];

/* Options that only some kinds have. */
enum port_option_group {
    PORT_HAS_PATH = 1,
    PORT_HAS_INTERFACE = 2,
    PORT_HAS_FILES = 4, /* one of them, or both */
    PORT_HAS_PEER = 8,
    PORT_HAS_MEMBERS = 16,
    PORT_HAS_TUNNEL = 32,
};

struct port_kind {
    unsigned has;   /* of enum port_option_group */
    bool carrier;   /* its interface is a link's end; a tap's may be in another namespace */
    bool unlimited; /* what goes out does not wait: it has no rates */
    struct port *(*create)(const struct port_options *options, struct loop *loop,
                           struct kv_error *err);
    /* With the port on its bridge; stop undoes it. */
    int (*start)(struct port *port, struct kv_error *err);
    void (*stop)(struct port *port);
    void (*free)(struct port *port);
    /* A port that goes to the next process (ports/inherited.h). pause: no frames move until
     * resume; give: what is to be told of one that pauses; take: it starts as was told. */
    void (*pause)(struct port *port);
    void (*resume)(struct port *port);
    json_t *(*give)(struct port *port, struct bequest *bequest);
    int (*take)(struct port *port, const json_t *state, struct kv_error *err);
    /* Adds what it was made with and is; may be NULL. */
    void (*describe)(struct port *port, json_t *row);
};

extern const char *const port_kind_names[];
extern const struct port_kind port_kinds[];

/* The kind of that name, which is one. */
const struct port_kind *port_kind_named(const char *name);
/* The kind that the port was made by. */
const struct port_kind *port_kind_of(const struct port *port);

/* Whether the kind has the options of the object, and was given those it needs. -EINVAL with err.
 */
int port_options_check(const struct port_options *options, const json_t *object,
                       struct kv_error *err);

extern const char *const port_outer_tags[];

/* Fills in the VLANs, whose customers are to be freed. -EINVAL with err when they contradict each
 * other, or private ones do. */
int port_options_vlans(const struct port_options *options, struct port_vlans *vlans,
                       struct kv_error *err);

#endif
