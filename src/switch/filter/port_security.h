/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port security: who a port's guest may say it is. Source MAC and IP addresses, what it claims by
 * ARP and neighbour discovery, and whether it may be a DHCP server or a router. The control thread
 * makes it, nobody changes it. RFC 5227, 6105, 7113, 7610.
 */
#ifndef KV_SWITCH_FILTER_PORT_SECURITY_H
#define KV_SWITCH_FILTER_PORT_SECURITY_H

#include "base/error.h"
#include "switch/filter/prefix.h"
#include "switch/forward/flow_key.h"
#include "switch/ports/port.h"

#define SECURITY_MACS_MAX 16
#define SECURITY_ADDRESSES_MAX 64

struct port_security {
    unsigned mac_count, address_count; /* 0: any */
    uint8_t macs[SECURITY_MACS_MAX][6];
    struct prefix addresses[SECURITY_ADDRESSES_MAX];
    bool dhcp_guard, router_guard; /* is no server, is no router */
};

/* macs, addresses: lists joined by commas, or NULL. -EINVAL with err. */
int port_security_parse(struct port_security *security, const char *macs, const char *addresses,
                        struct kv_error *err);

/* Whether the port may send a frame; else why not. */
bool port_security_allows(const struct port_security *security, const struct flow_key *key,
                          const struct flow_headers *headers, enum port_drop *why);

#endif
