/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port security; see port_security.h. */
#include "switch/filter/port_security.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"

#define DHCP_CLIENT 68
#define DHCP_SERVER 67
#define DHCPV6_SERVER 547

/* ICMPv6 (RFC 2710, 3810, 4861) */
#define MLD_REPORT 131
#define ND_ROUTER_SOLICITATION 133
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_REDIRECT 137
#define MLD2_REPORT 143
#define ND_OPTION_SOURCE 1
#define ND_OPTION_TARGET 2

static const uint8_t unspecified[16];

/* --- Lists -------------------------------------------------------------------- */

static int add_mac(struct port_security *security, const char *text, struct kv_error *err)
{
    if (security->mac_count == SECURITY_MACS_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, E2BIG, "macs: %d are possible", SECURITY_MACS_MAX);
    if (parse_mac(text, security->macs[security->mac_count]) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "macs '%.40s': six hexadecimal bytes joined by ':' are accepted", text);
    security->mac_count++;
    return 0;
}

static int add_address(struct port_security *security, const char *text, struct kv_error *err)
{
    if (security->address_count == SECURITY_ADDRESSES_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, E2BIG, "addresses: %d are possible",
                            SECURITY_ADDRESSES_MAX);
    if (prefix_parse(text, &security->addresses[security->address_count]) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "addresses '%.60s': 192.0.2.1, 2001:db8::/64 and the like are accepted",
                            text);
    security->address_count++;
    return 0;
}

static int parse_list(struct port_security *security, const char *text,
                      int (*add)(struct port_security *security, const char *text,
                                 struct kv_error *err),
                      struct kv_error *err)
{
    cleanup_free char *copy = text ? strdup(text) : NULL;
    char *rest = copy;
    int rc = 0;
    if (text && !copy)
        return kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "list of addresses");
    for (char *one; rc == 0 && (one = strsep(&rest, ","));)
        rc = add(security, one, err);
    return rc;
}

int port_security_parse(struct port_security *security, const char *macs, const char *addresses,
                        struct kv_error *err)
{
    int rc = parse_list(security, macs, add_mac, err);
    return rc < 0 ? rc : parse_list(security, addresses, add_address, err);
}

/* --- Checks ------------------------------------------------------------------- */

static bool has_mac(const struct port_security *security, const uint8_t *mac)
{
    for (unsigned i = 0; i < security->mac_count; i++) {
        if (memcmp(security->macs[i], mac, 6) == 0)
            return true;
    }
    return security->mac_count == 0;
}

/* The address that a station makes of its MAC for the link (RFC 4291, appendix A). */
static bool is_link_local_of(const uint8_t *mac, const uint8_t *address)
{
    const uint8_t made[16] = {
        0xfe,   0x80,   0,    0,    0,      0,      0,     0, (uint8_t)(mac[0] ^ 2),
        mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    return memcmp(made, address, sizeof(made)) == 0;
}

static bool has_address(const struct port_security *security, uint16_t type, const uint8_t *address)
{
    for (unsigned i = 0; i < security->address_count; i++) {
        if (prefix_covers(&security->addresses[i], type, address))
            return true;
    }
    for (unsigned i = 0; type == FLOW_TYPE_IPV6 && i < security->mac_count; i++) {
        if (is_link_local_of(security->macs[i], address))
            return true;
    }
    return security->address_count == 0;
}

static bool is_icmpv6(const struct flow_key *key)
{
    return key->type == FLOW_TYPE_IPV6 && key->protocol == IPPROTO_ICMPV6 &&
           !(key->fragment & FLOW_FRAGMENT_LATER);
}

/* A station that has no address yet asks for one, and whether others have it. */
static bool may_have_no_address(const struct flow_key *key)
{
    if (memcmp(key->from, unspecified, sizeof(unspecified)) != 0)
        return false;
    if (key->type == FLOW_TYPE_IPV4)
        return key->protocol == IPPROTO_UDP && key->from_port == DHCP_CLIENT &&
               key->to_port == DHCP_SERVER;
    return is_icmpv6(key) &&
           (key->from_port == ND_SOLICITATION || key->from_port == ND_ROUTER_SOLICITATION ||
            key->from_port == MLD_REPORT || key->from_port == MLD2_REPORT);
}

static bool may_say_by_ip(const struct port_security *security, const struct flow_key *key)
{
    return security->address_count == 0 || has_address(security, key->type, key->from) ||
           may_have_no_address(key);
}

/* A probe has no sender's address (RFC 5227). */
static bool may_say_by_arp(const struct port_security *security, const struct flow_key *key)
{
    return has_mac(security, key->arp.from) && (memcmp(key->from, unspecified, 4) == 0 ||
                                                has_address(security, FLOW_TYPE_IPV4, key->from));
}

/* Each link-layer address in the options is one of the port's (RFC 4861 4.6). */
static bool nd_options_are_mine(const struct port_security *security, const struct flow_key *key,
                                const struct flow_headers *headers)
{
    unsigned at = headers->l4 + (key->from_port == ND_ROUTER_SOLICITATION ? 8U : 24U);
    unsigned end = headers->end;
    /* What was not kept nobody has looked at. */
    if (end > headers->len)
        return false;
    while (at + 8 <= end) {
        const uint8_t *option = headers->bytes + at;
        unsigned len = option[1] * 8U;
        if (len == 0 || at + len > end)
            return false;
        if ((option[0] == ND_OPTION_SOURCE || option[0] == ND_OPTION_TARGET) &&
            !has_mac(security, option + 2))
            return false;
        at += len;
    }
    return true;
}

static bool may_say_by_nd(const struct port_security *security, const struct flow_key *key,
                          const struct flow_headers *headers)
{
    if (!is_icmpv6(key) || key->from_port < ND_ROUTER_SOLICITATION || key->from_port > ND_REDIRECT)
        return true;
    if (key->from_port == ND_ADVERTISEMENT && !has_address(security, FLOW_TYPE_IPV6, key->target))
        return false;
    /* Routers' messages are the guard's. */
    if (key->from_port == ND_ROUTER_ADVERTISEMENT || key->from_port == ND_REDIRECT)
        return true;
    /* Neighbours are never asked in fragments (RFC 6980), which would hide the options. */
    return !key->fragment && nd_options_are_mine(security, key, headers);
}

static bool is_dhcp_server(const struct flow_key *key)
{
    return key->protocol == IPPROTO_UDP &&
           key->from_port == (key->type == FLOW_TYPE_IPV4 ? DHCP_SERVER : DHCPV6_SERVER);
}

static bool is_router(const struct flow_key *key)
{
    return is_icmpv6(key) &&
           (key->from_port == ND_ROUTER_ADVERTISEMENT || key->from_port == ND_REDIRECT);
}

static bool refuse(enum port_drop *why, enum port_drop reason)
{
    *why = reason;
    return false;
}

bool port_security_allows(const struct port_security *security, const struct flow_key *key,
                          const struct flow_headers *headers, enum port_drop *why)
{
    bool ip = key->type == FLOW_TYPE_IPV4 || key->type == FLOW_TYPE_IPV6;
    if (!has_mac(security, key->from_mac))
        return refuse(why, DROP_SPOOFED_MAC);
    if (key->type == FLOW_TYPE_ARP && !may_say_by_arp(security, key))
        return refuse(why, DROP_SPOOFED_ARP);
    if (ip && !may_say_by_ip(security, key))
        return refuse(why, DROP_SPOOFED_ADDRESS);
    /* In anything else, such as one tag more, an address could hide. */
    if (!ip && key->type != FLOW_TYPE_ARP && security->address_count)
        return refuse(why, DROP_SPOOFED_ADDRESS);
    if (ip && !may_say_by_nd(security, key, headers))
        return refuse(why, DROP_SPOOFED_ND);
    if (ip && security->dhcp_guard && is_dhcp_server(key))
        return refuse(why, DROP_DHCP_SERVER);
    if (security->router_guard && is_router(key))
        return refuse(why, DROP_ROUTER);
    return true;
}
