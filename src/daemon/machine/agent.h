/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The conversation with a guest's agent (qemu-guest-agent, QEMU docs/interop/qemu-ga-ref): JSON
 * lines over the channel org.qemu.guest_agent.0. The guest is hostile: it may say anything, at any
 * rate, late or never. What it says is bounded in length and time, and each command begins with
 * guest-sync-delimited, so that an answer to an earlier one is never taken for this one's.
 *
 * The connection is kept while the machine runs, but nobody reads between two commands: what a
 * guest writes then waits in the monitor's bounds and is thrown away by the next command. (A guest
 * whose channel nobody holds would look for a host ten times a second.)
 */
#ifndef KV_DAEMON_MACHINE_AGENT_H
#define KV_DAEMON_MACHINE_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

struct machine;

/* In struct machine. */
struct machine_agent {
    /* Under machine->lock. */
    char *alias, *path; /* of its channel and socket; NULL: the domain has none */
    bool open;          /* the guest has opened the channel */
    bool busy;          /* who sets it has fd, in and last_id */
    bool frozen;        /* the guest's file systems, as far as is known; in the record, too */
    int fd;             /* -1: not connected */
    int gone;           /* eventfd: the guest closed the channel while a command waited */

    struct buffer in;
    uint64_t last_id; /* of guest-sync-delimited */
};

int machine_agent_init(struct machine_agent *agent);
void machine_agent_destroy(struct machine_agent *agent);

/* The record tells where the channel is, and whether its file systems were frozen. */
void machine_agent_restore(struct machine *machine);

/* The guest opened or closed the channel of that alias. Loop thread. */
void machine_agent_opened(struct machine *machine, const char *alias, bool open);

/* The guest began anew: nothing is frozen any more, nothing is answered. (A channel that closes and
 * opens again within a second is not always told.) With machine->lock. */
void machine_agent_forget(struct machine *machine);

#endif
