/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flow keys as text; see flow_text.h. */
#include "switch/forward/flow_text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const char *protocol_name(unsigned protocol, char number[8])
{
    switch (protocol) {
    case IPPROTO_TCP:
        return "tcp";
    case IPPROTO_UDP:
        return "udp";
    case IPPROTO_SCTP:
        return "sctp";
    case IPPROTO_ICMP:
        return "icmp";
    case IPPROTO_ICMPV6:
        return "icmpv6";
    default:
        snprintf(number, 8, "%u", protocol);
        return number;
    }
}

static const char *mac_text(const uint8_t *mac, char text[18])
{
    snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
             mac[5]);
    return text;
}

const char *flow_text(const struct flow_key *key, char text[FLOW_TEXT_MAX])
{
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN], from_mac[18], to_mac[18], number[8];
    bool ipv6 = key->type == FLOW_TYPE_IPV6;
    inet_ntop(ipv6 ? AF_INET6 : AF_INET, key->from, from, sizeof(from));
    inet_ntop(ipv6 ? AF_INET6 : AF_INET, key->to, to, sizeof(to));
    const char *later = key->fragment & FLOW_FRAGMENT_LATER ? ", later fragment" : "";
    if (key->type == FLOW_TYPE_ARP)
        snprintf(text, FLOW_TEXT_MAX, "arp %u, %s > %s", key->protocol, from, to);
    else if (key->type != FLOW_TYPE_IPV4 && !ipv6)
        snprintf(text, FLOW_TEXT_MAX, "type %#06x, %s > %s", key->type,
                 mac_text(key->from_mac, from_mac), mac_text(key->to_mac, to_mac));
    else if (key->protocol == IPPROTO_ICMP || key->protocol == IPPROTO_ICMPV6)
        snprintf(text, FLOW_TEXT_MAX, "%s %u/%u, %s > %s%s", protocol_name(key->protocol, number),
                 key->from_port, key->to_port, from, to, later);
    else
        snprintf(text, FLOW_TEXT_MAX, "%s %s:%u > %s:%u%s", protocol_name(key->protocol, number),
                 from, key->from_port, to, key->to_port, later);
    return text;
}
