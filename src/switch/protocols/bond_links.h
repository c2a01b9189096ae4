/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which links of a bond are used: those that have been up for long enough, and which of them is
 * the active one. Functions of structs and of the time (CLOCK_MONOTONIC); called by
 * control/bonds.c.
 */
#ifndef KV_SWITCH_PROTOCOLS_BOND_LINKS_H
#define KV_SWITCH_PROTOCOLS_BOND_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#define BOND_LINK_NONE (-1)

struct bond_link {
    bool may;         /* it works, and LACP agrees where it is used */
    bool used;        /* what was made of that */
    int64_t since_ns; /* that the two differ; 0: they do not */
};

struct bond_delays {
    int64_t up_ns, down_ns;
};

/* While no link is used the first that works is, without delay. True: something changed. */
bool bond_links_update(struct bond_link *links, unsigned count, const struct bond_delays *delays,
                       int64_t now_ns);

/* The active link: primary (or BOND_LINK_NONE) where it is used, else the one that was, else the
 * first that is used. */
int bond_links_choose(const struct bond_link *links, unsigned count, int was, int primary);

#endif
