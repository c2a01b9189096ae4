/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all ports share; see port.h. */
#include "switch/ports/port.h"

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
};
