/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all ports share; see port.h. */
#include "switch/ports/port.h"

#include "base/util.h"

const char *const port_drop_names[DROP_COUNT] = {
    [DROP_MALFORMED] = "malformed",
    [DROP_VLAN] = "vlan",
    [DROP_NOT_MEMBER] = "not-member",
    [DROP_RESERVED] = "reserved",
    [DROP_HAIRPIN] = "hairpin",
    [DROP_SEGMENTS] = "segments",
    [DROP_NO_BUFFER] = "no-buffer",
    [DROP_TOO_LONG] = "too-long",
    [DROP_DOWN] = "down",
    [DROP_ISOLATED] = "isolated",
    [DROP_BLOCKED] = "blocked",
    [DROP_STORM] = "storm",
    [DROP_FLOW] = "flow",
    [DROP_DISABLED] = "disabled",
    [DROP_POLICED] = "policed",
    [DROP_QUEUE_FULL] = "queue-full",
    [DROP_MIRROR] = "mirror",
    [DROP_NOT_LEARNED] = "not-learned",
    [DROP_ACL] = "acl",
    [DROP_STATE] = "state",
    [DROP_CONNECTIONS] = "connections",
    [DROP_FRAGMENT] = "fragment",
    [DROP_SPOOFED_MAC] = "spoofed-mac",
    [DROP_SPOOFED_ADDRESS] = "spoofed-address",
    [DROP_SPOOFED_ARP] = "spoofed-arp",
    [DROP_SPOOFED_ND] = "spoofed-nd",
    [DROP_DHCP_SERVER] = "dhcp-server",
    [DROP_ROUTER] = "router",
    [DROP_LOOP] = "loop",
};

/* What is counted at a receiver's port; what never was a frame, and what was not dropped. */
#define OUT_REASONS                                                                     \
    (BIT(DROP_NO_BUFFER) | BIT(DROP_TOO_LONG) | BIT(DROP_DOWN) | BIT(DROP_NOT_MEMBER) | \
     BIT(DROP_QUEUE_FULL) | BIT(DROP_LOOP))
#define IN_REASONS (BIT(DROP_COUNT) - 1 - OUT_REASONS - BIT(DROP_MALFORMED) - BIT(DROP_NOT_LEARNED))

static uint64_t sum(const struct port_counters *counters, uint64_t reasons)
{
    uint64_t drops = 0;
    for (unsigned i = 0; i < DROP_COUNT; i++)
        drops += reasons >> i & 1 ? counters->drops[i] : 0;
    return drops;
}

uint64_t port_drops_in(const struct port_counters *counters)
{
    return sum(counters, IN_REASONS);
}

uint64_t port_drops_out(const struct port_counters *counters)
{
    return sum(counters, OUT_REASONS);
}
