/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Rapid Spanning Tree Protocol of one bridge (IEEE 802.1D-2004, clause 17): which of its ports
 * forward, so that bridges and the links between them are a tree. A struct and functions of it;
 * time passes by rstp_tick(), once a second. Called by control/spanning.c. Names are the
 * standard's.
 */
#ifndef KV_SWITCH_PROTOCOLS_RSTP_H
#define KV_SWITCH_PROTOCOLS_RSTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RSTP_PORTS_MAX 1024
#define RSTP_FRAME_BYTES 60
#define RSTP_PRIORITY 32768    /* of a bridge, unless said otherwise; in steps of 4096 */
#define RSTP_PORT_PRIORITY 128 /* in steps of 16 */
#define RSTP_PATH_COST 20000   /* of a link of 1 Gbit/s (table 17-3) */
#define RSTP_MAX_AGE 20
#define RSTP_FORWARD_DELAY 15
#define RSTP_HELLO 2

enum rstp_role {
    RSTP_DISABLED,
    RSTP_ROOT,
    RSTP_DESIGNATED,
    RSTP_ALTERNATE,
    RSTP_BACKUP,
};
extern const char *const rstp_role_names[];

/* 17.6: the lower is the better, field by field. */
struct rstp_vector {
    uint64_t root; /* priority and address of the root */
    uint32_t cost; /* of the path to it */
    uint64_t bridge;
    uint16_t port; /* of the bridge that sends */
};

struct rstp_times { /* s */
    uint16_t message_age, max_age, hello, forward_delay;
};

/* A BPDU (9.3). */
struct rstp_bpdu {
    uint8_t version; /* 0: of the old spanning tree */
    uint8_t type;    /* 0: configuration, 2: RST, 0x80: topology change notification */
    uint8_t flags;
    struct rstp_vector vector;
    struct rstp_times times;
};

enum rstp_info {
    RSTP_INFO_DISABLED,
    RSTP_INFO_AGED,
    RSTP_INFO_MINE,
    RSTP_INFO_RECEIVED,
};

struct rstp_port {
    /* As it is configured. */
    uint16_t id; /* priority and number */
    uint32_t path_cost;
    bool admin_edge, auto_edge;
    bool enabled; /* the link is up; set by rstp_set_link() */
    /* What the machines know (17.19). */
    enum rstp_info info;
    enum rstp_role role, selected_role;
    struct rstp_vector priority, designated;
    struct rstp_times times, designated_times;
    bool agree, agreed, disputed, proposed, proposing, synced, sync, re_root, reselect, selected;
    bool update_info, oper_edge, send_rstp, new_info, tc_prop, tc_ack, tc_active;
    bool learn, forward;
    unsigned fd_while, rr_while, rb_while, tc_while, info_while, hello_when, edge_delay_while,
        mdelay_while, tx_count;
    /* What is to be done: addresses learned here are old. The caller takes it back. */
    bool flush;
};

struct rstp_bridge {
    uint64_t id; /* priority in the first 16 bits, address */
    struct rstp_times times;
    struct rstp_vector root; /* 17.18.6 */
    struct rstp_times root_times;
    int root_port; /* or -1: we are the root */
    unsigned count, topology_changes;
    struct rstp_port *ports;
};

/* False: it is no BPDU that we know. */
bool rstp_parse(struct rstp_bpdu *bpdu, const uint8_t *frame, size_t len);
/* Writes RSTP_FRAME_BYTES. */
void rstp_write(const struct rstp_bpdu *bpdu, const uint8_t *from_mac, uint8_t *frame);

/* The link is down. id, path_cost, admin_edge and auto_edge are set. */
void rstp_init_port(const struct rstp_bridge *bridge, struct rstp_port *port);
void rstp_set_link(struct rstp_bridge *bridge, struct rstp_port *port, bool up);
void rstp_receive(struct rstp_bridge *bridge, struct rstp_port *port, const struct rstp_bpdu *bpdu);
/* A second has passed. */
void rstp_tick(struct rstp_bridge *bridge);
/* Ports came, went, or have other numbers. */
void rstp_reselect(struct rstp_bridge *bridge);
/* True: the port is to send the BPDU now. */
bool rstp_transmit(const struct rstp_bridge *bridge, struct rstp_port *port,
                   struct rstp_bpdu *bpdu);

#endif
