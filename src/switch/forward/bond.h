/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bond: a port of a bridge whose frames go over several others, its members, each frame over one
 * of them. What a member takes in comes in at the bond; members are no ports of the bridge's own
 * any more as far as forwarding goes. Which members are used, and which is the active one, is
 * decided by the control thread (control/bonds.c) and published here. IEEE 802.1AX-2014, 6.2.
 */
#ifndef KV_SWITCH_FORWARD_BOND_H
#define KV_SWITCH_FORWARD_BOND_H

#include "base/list.h"
#include "switch/ports/port.h"

#define BOND_BUCKETS 256
#define BOND_MEMBERS_MAX 16

enum bond_mode {
    BOND_ACTIVE_BACKUP, /* all goes over the active member */
    BOND_BALANCE_SLB,   /* by the sender's address and VLAN; the neighbour knows nothing of it */
    BOND_BALANCE_TCP,   /* by connection; the neighbour speaks LACP */
};

struct bond {
    struct port port;
    enum bond_mode mode;
    bool aggregated;                    /* LACP says that the neighbour knows of the bond */
    struct port *active;                /* NULL: no member is used */
    struct port *buckets[BOND_BUCKETS]; /* by hash, who sends */
    struct bond_control *control;       /* the control thread's */
};

/* NULL: no memory. Freed by free(). */
struct bond *bond_new(enum bond_mode mode);

static inline struct bond *bond_of(struct port *port)
{
    return container_of(port, struct bond, port);
}

/* On the forwarding thread: members that are used, and the active one among them (NULL: none is).
 */
void bond_publish(struct bond *bond, struct port *const *used, unsigned count, struct port *active);

/* Frames that came in at a member that is used. */
void bond_receive(struct bond *bond, struct port *member, struct frame *frames, unsigned count);

/* Tells the neighbour at which link the bridge's stations are now, by a frame from each. */
void bond_announce(struct bond *bond);

#endif
