/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flow keys as text; see flow_text.h. */
#include "switch/forward/flow_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/parse.h"

static const struct word {
    const char *name;
    uint16_t number;
} type_words[] = {{"ipv4", FLOW_TYPE_IPV4},
                  {"ipv6", FLOW_TYPE_IPV6},
                  {"arp", FLOW_TYPE_ARP},
                  {NULL}},
  protocol_words[] = {{"tcp", IPPROTO_TCP},   {"udp", IPPROTO_UDP},       {"sctp", IPPROTO_SCTP},
                      {"icmp", IPPROTO_ICMP}, {"icmpv6", IPPROTO_ICMPV6}, {NULL}};

/* One of the words, or a number from min to max. */
static int parse_word(const struct word *words, const char *what, const char *text, uint64_t min,
                      uint64_t max, int *out, struct kv_error *err)
{
    uint64_t number;
    char known[64] = "";
    for (; words->name; words++) {
        if (strcmp(words->name, text) == 0) {
            *out = words->number;
            return 0;
        }
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s, ", words->name);
    }
    if (parse_u64(text, &number) < 0 || number < min || number > max)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "%s '%.40s': %sand numbers from %#llx to %#llx are accepted", what,
                            text, known, (unsigned long long)min, (unsigned long long)max);
    *out = (int)number;
    return 0;
}

int flow_type_parse(const char *text, int *type, struct kv_error *err)
{
    return parse_word(type_words, "type", text, FLOW_TYPE_MIN, UINT16_MAX, type, err);
}

int flow_protocol_parse(const char *text, int *protocol, struct kv_error *err)
{
    return parse_word(protocol_words, "protocol", text, 0, UINT8_MAX, protocol, err);
}

static const char *protocol_name(unsigned protocol, char number[8])
{
    for (const struct word *word = protocol_words; word->name; word++) {
        if (word->number == protocol)
            return word->name;
    }
    snprintf(number, 8, "%u", protocol);
    return number;
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
