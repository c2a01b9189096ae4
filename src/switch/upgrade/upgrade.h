/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An upgrade in place: a new process takes over from the running one, with its descriptors, tables
 * and counters, and guests notice nothing. The new one asks at the control socket ("hand-over",
 * with one end of a socket pair), and then:
 *
 *   old: no frames move any more, and the state goes over the pair (channel.h)
 *   new: becomes what the old one was, but moves nothing yet, and says so
 *   old: lets go, and ends; or, when the new one failed or took too long, goes on
 *   new: begins to move frames
 *
 * Frames wait meanwhile where they are: in guests' rings, in taps' and packet sockets' queues.
 * give.c is the old one's side, take.c the new one's; bridges.c has what both know of bridges. On
 * the control thread.
 */
#ifndef KV_SWITCH_UPGRADE_UPGRADE_H
#define KV_SWITCH_UPGRADE_UPGRADE_H

#include "switch/ovsdb/ovsdb.h"
#include "switch/upgrade/channel.h"
#include "vmm/control/qmp.h"

struct upgrade {
    struct vswitch *sw;
    struct ovsdb *ovsdb;        /* of which sw is NULL where it is not served */
    const char *control;        /* the socket's path */
    bool given;                 /* the old one's: everything is another process's now */
    int control_fd, channel_fd; /* the new one's, while it takes */
    int peer_fd;                /* of the channel, until the old one has it */
    json_t *state;              /* likewise */
    struct buffer tables;       /* likewise */
    json_t *report;             /* of what was taken; NULL: nothing was */
};

/* The old one's: the commands "hand-over" and "query-upgrade". */
extern const struct qmp_command upgrade_commands[];

/* The new one's, in this order. Connects and makes the pair, before the jail. */
int upgrade_begin(struct upgrade *upgrade, struct kv_error *err);
/* Has the state handed over: from now on inherited.h has something. */
int upgrade_receive(struct upgrade *upgrade, struct kv_error *err);
/* Bridges and ports without --ovsdb; with it, after the database has made them. */
int upgrade_configure(struct upgrade *upgrade, struct kv_error *err);
/* Fills tables and counters in, and tells the old one; 0: it has ended, and frames may move. */
int upgrade_finish(struct upgrade *upgrade, struct kv_error *err);
void upgrade_end(struct upgrade *upgrade);

/* bridges.c: what there is to tell of bridges and their ports, beside the configuration. */
json_t *upgrade_describe_bridges(struct vswitch *sw, struct bequest *bequest,
                                 struct buffer *tables);
/* The states of all ports, for inherited.h. */
json_t *upgrade_ports(const json_t *bridges);
/* Counts what was restored in the report. */
int upgrade_restore_bridges(struct vswitch *sw, const json_t *bridges, const struct buffer *tables,
                            json_t *report, struct kv_error *err);

#endif
