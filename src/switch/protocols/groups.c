/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multicast groups; see groups.h. */
#include "switch/protocols/groups.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "switch/forward/checksum.h"
#include "switch/forward/mac_table.h"

#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define TYPE_TAG 0x8100
#define TYPE_SERVICE_TAG 0x88a8

/* Types of IGMP and of ICMPv6. */
enum {
    IGMP_QUERY = 0x11,
    IGMP_REPORT_V1 = 0x12,
    IGMP_REPORT_V2 = 0x16,
    IGMP_LEAVE = 0x17,
    IGMP_REPORT_V3 = 0x22,
    MLD_QUERY = 130,
    MLD_REPORT_V1 = 131,
    MLD_DONE = 132,
    MLD_REPORT_V2 = 143,
};

/* Records of IGMP 3 and MLD 2 (RFC 3376, 4.2.12). */
enum {
    IS_INCLUDE = 1,
    IS_EXCLUDE,
    TO_INCLUDE,
    TO_EXCLUDE,
    ALLOW_SOURCES,
    BLOCK_SOURCES,
};

/* --- Messages ------------------------------------------------------------------- */

/* A message within its packet. */
struct found {
    enum groups_kind kind;
    bool ipv6;
    const uint8_t *ip, *bytes;
    size_t len;       /* of the message, as the IP header says */
    size_t there;     /* of it */
    unsigned address; /* bytes of a group's address */
};

static enum groups_kind kind_of(uint8_t type, bool ipv6)
{
    static const uint8_t igmp[] = {IGMP_REPORT_V1, IGMP_REPORT_V2, IGMP_LEAVE, IGMP_REPORT_V3};
    static const uint8_t mld[] = {MLD_REPORT_V1, MLD_DONE, MLD_REPORT_V2};
    if (type == (ipv6 ? MLD_QUERY : IGMP_QUERY))
        return GROUPS_QUERY;
    return memchr(ipv6 ? mld : igmp, type, ipv6 ? sizeof(mld) : sizeof(igmp)) ? GROUPS_REPORT
                                                                              : GROUPS_NONE;
}

static bool find_ipv4(struct found *found, const uint8_t *p, size_t len)
{
    if (len < 20 || p[0] >> 4 != 4 || p[9] != IPPROTO_IGMP || load_be(p + 6, 2) & 0x3fff)
        return false;
    size_t header = (p[0] & 15) * 4U, total = (size_t)load_be(p + 2, 2);
    if (header < 20 || total < header + 8 || len < header + 8)
        return false;
    found->bytes = p + header;
    found->len = total - header;
    found->there = MIN(len - header, found->len);
    found->address = 4;
    return true;
}

/* A hop-by-hop header with the router alert stands before MLD (RFC 2710, 3). */
static bool find_ipv6(struct found *found, const uint8_t *p, size_t len)
{
    if (len < 48 || p[0] >> 4 != 6 || p[6] != IPPROTO_HOPOPTS || p[40] != IPPROTO_ICMPV6)
        return false;
    size_t header = 40 + (p[41] + 1U) * 8, total = 40 + (size_t)load_be(p + 4, 2);
    if (total < header + 8 || len < header + 8)
        return false;
    found->ipv6 = true;
    found->bytes = p + header;
    found->len = total - header;
    found->there = MIN(len - header, found->len);
    found->address = 16;
    return true;
}

static bool find(struct found *found, const uint8_t *frame, size_t len)
{
    size_t at = 12;
    *found = (struct found){0};
    if (len < 18)
        return false;
    unsigned type = (unsigned)load_be(frame + at, 2);
    if (type == TYPE_TAG || type == TYPE_SERVICE_TAG) {
        at += 4;
        type = (unsigned)load_be(frame + at, 2);
    }
    at += 2;
    found->ip = frame + at;
    if (type != TYPE_IPV4 && type != TYPE_IPV6)
        return false;
    if (!(type == TYPE_IPV4 ? find_ipv4 : find_ipv6)(found, frame + at, len - at))
        return false;
    found->kind = kind_of(found->bytes[0], found->ipv6);
    return found->kind != GROUPS_NONE;
}

enum groups_kind groups_kind_of(const uint8_t *frame, size_t len)
{
    struct found found;
    return find(&found, frame, len) ? found.kind : GROUPS_NONE;
}

static bool has_right_checksum(const struct found *found)
{
    uint64_t sum = 0;
    if (found->ipv6) {
        sum = checksum_add(sum, found->ip + 8, 32);
        sum = checksum_add_number(sum, (uint32_t)found->len);
        sum = checksum_add_number(sum, IPPROTO_ICMPV6);
    }
    return checksum_of(checksum_add(sum, found->bytes, found->len)) == 0;
}

/* RFC 1112, 6.4; RFC 2464, 7. What is no group is left out. */
static void add(struct groups_message *message, const struct found *found, const uint8_t *address,
                bool joins)
{
    bool is_group = found->ipv6 ? address[0] == 0xff : address[0] >> 4 == 14;
    if (!is_group || message->count == GROUPS_CHANGES_MAX)
        return;
    struct groups_change *change = &message->changes[message->count];
    *change = (struct groups_change){
        .mac = {0x01, 0x00, 0x5e, address[1] & 0x7f, address[2], address[3]}, .joins = joins};
    if (found->ipv6) {
        memset(change->mac, 0x33, 2);
        memcpy(change->mac + 2, address + 12, 4);
    }
    if (!groups_is_for_all(change->mac))
        message->count++;
}

static void add_record(struct groups_message *message, const struct found *found,
                       const uint8_t *record, unsigned sources)
{
    switch (record[0]) {
    case IS_EXCLUDE:
    case TO_EXCLUDE:
        add(message, found, record + 4, true);
        break;
    case IS_INCLUDE:
    case ALLOW_SOURCES:
        if (sources)
            add(message, found, record + 4, true);
        break;
    case TO_INCLUDE:
        add(message, found, record + 4, sources != 0);
        break;
    default: /* BLOCK_SOURCES: it hears others */
        break;
    }
}

/* RFC 3376, 4.2; RFC 3810, 5.2 */
static bool read_records(struct groups_message *message, const struct found *found)
{
    unsigned records = (unsigned)load_be(found->bytes + 6, 2);
    size_t at = 8;
    for (unsigned i = 0; i < records; i++) {
        const uint8_t *record = found->bytes + at;
        if (found->len - at < 4 + found->address)
            return false;
        unsigned sources = (unsigned)load_be(record + 2, 2);
        size_t len = 4 + found->address + sources * (size_t)found->address + record[1] * 4U;
        if (found->len - at < len)
            return false;
        add_record(message, found, record, sources);
        at += len;
    }
    return true;
}

bool groups_parse(struct groups_message *message, const uint8_t *frame, size_t len)
{
    struct found found;
    *message = (struct groups_message){0};
    if (!find(&found, frame, len) || found.there < found.len || !has_right_checksum(&found))
        return false;
    message->kind = found.kind;
    uint8_t type = found.bytes[0];
    if (found.kind == GROUPS_QUERY)
        return true;
    if (type == (found.ipv6 ? MLD_REPORT_V2 : IGMP_REPORT_V3))
        return read_records(message, &found);
    const size_t address_at = found.ipv6 ? 8 : 4;
    if (found.len < address_at + found.address)
        return false;
    add(message, &found, found.bytes + address_at, type != IGMP_LEAVE && type != MLD_DONE);
    return true;
}

bool groups_is_for_all(const uint8_t *mac)
{
    static const uint8_t ipv4_link[5] = {0x01, 0x00, 0x5e, 0x00, 0x00};
    static const uint8_t ipv6_nodes[6] = {0x33, 0x33, 0x00, 0x00, 0x00, 0x01};
    bool is_ip =
        memcmp(mac, ipv4_link, 3) == 0 ? !(mac[3] & 0x80) : mac[0] == 0x33 && mac[1] == 0x33;
    return !is_ip || memcmp(mac, ipv4_link, sizeof(ipv4_link)) == 0 ||
           memcmp(mac, ipv6_nodes, sizeof(ipv6_nodes)) == 0;
}

/* --- What is remembered ----------------------------------------------------------- */

int groups_init(struct groups *groups, unsigned max, uint32_t ageing_s)
{
    *groups = (struct groups){.max = max, .ageing_s = ageing_s};
    groups->entries = calloc(max, sizeof(*groups->entries));
    return groups->entries ? 0 : -ENOMEM;
}

void groups_free(struct groups *groups)
{
    free(groups->entries);
    groups->entries = NULL;
}

static struct groups_entry *find_entry(const struct groups *groups, uint64_t group, uint16_t port)
{
    for (unsigned i = 0; i < groups->count; i++) {
        if (groups->entries[i].group == group && groups->entries[i].port == port)
            return &groups->entries[i];
    }
    return NULL;
}

static unsigned count_of(const struct groups *groups, uint16_t port)
{
    unsigned count = 0;
    for (unsigned i = 0; i < groups->count; i++)
        count += groups->entries[i].port == port;
    return count;
}

static bool remember(struct groups *groups, uint64_t group, uint16_t port, uint32_t now_s)
{
    struct groups_entry *entry = find_entry(groups, group, port);
    bool is_new = !entry;
    if (is_new) {
        if (groups->count == groups->max || count_of(groups, port) >= GROUPS_OF_A_PORT)
            return false;
        entry = &groups->entries[groups->count++];
    }
    *entry = (struct groups_entry){group, port, now_s + groups->ageing_s};
    return is_new;
}

static bool forget(struct groups *groups, struct groups_entry *entry)
{
    *entry = groups->entries[--groups->count];
    return true;
}

static bool leave(struct groups *groups, uint64_t group, uint16_t port, bool at_once,
                  uint32_t now_s)
{
    struct groups_entry *entry = find_entry(groups, group, port);
    if (!entry)
        return false;
    if (at_once)
        return forget(groups, entry);
    /* Others behind the port may want it: the router asks, and they have time to answer. */
    entry->until_s = MIN(entry->until_s, now_s + GROUPS_LEAVE_S);
    return false;
}

bool groups_hear(struct groups *groups, const struct groups_message *message, uint16_t port,
                 uint16_t vlan, bool fast_leave, uint32_t now_s)
{
    bool changed = false;
    if (message->kind == GROUPS_QUERY)
        return remember(groups, 0, port, now_s);
    for (unsigned i = 0; i < message->count; i++) {
        const struct groups_change *change = &message->changes[i];
        uint64_t group = mac_key(change->mac, vlan);
        changed |= change->joins ? remember(groups, group, port, now_s)
                                 : leave(groups, group, port, fast_leave, now_s);
    }
    return changed;
}

bool groups_expire(struct groups *groups, uint32_t now_s)
{
    unsigned before = groups->count;
    for (unsigned i = 0; i < groups->count;) {
        if (groups->entries[i].until_s <= now_s)
            forget(groups, &groups->entries[i]);
        else
            i++;
    }
    return groups->count != before;
}

bool groups_forget_port(struct groups *groups, uint16_t port)
{
    unsigned before = groups->count;
    for (unsigned i = 0; i < groups->count;) {
        if (groups->entries[i].port == port)
            forget(groups, &groups->entries[i]);
        else
            i++;
    }
    return groups->count != before;
}
