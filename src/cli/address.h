/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a machine that runs is in the network: a lease, what the guest's agent says, the daemon's
 * ARP table, else this host's own ARP table by the machine's hardware addresses.
 */
#ifndef KV_CLI_ADDRESS_H
#define KV_CLI_ADDRESS_H

#include "cli/cli.h"

/* The verb's memory. NULL: told. */
const char *address_of(struct cli *cli, const wire_domain *domain);

/* The same, untold. *any: it has a network interface at all. */
const char *address_find(struct cli *cli, const wire_domain *domain, bool *any);

#endif
