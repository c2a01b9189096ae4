/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prefixes of addresses and of port numbers; see prefix.h. */
#include "switch/filter/prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "switch/forward/flow_key.h"

int prefix_parse(const char *text, struct prefix *prefix)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    *prefix = (struct prefix){.type = FLOW_TYPE_IPV4};
    if (len >= sizeof(address))
        return -EINVAL;
    memcpy(address, text, len);
    address[len] = '\0';
    if (inet_pton(AF_INET, address, prefix->address) != 1) {
        prefix->type = FLOW_TYPE_IPV6;
        if (inet_pton(AF_INET6, address, prefix->address) != 1)
            return -EINVAL;
    }
    uint64_t all = prefix->type == FLOW_TYPE_IPV4 ? 32 : 128, bits = all;
    if (slash && (parse_u64(slash + 1, &bits) < 0 || bits > all))
        return -EINVAL;
    for (unsigned i = 0; i < bits; i++)
        prefix->mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
    for (unsigned i = 0; i < sizeof(prefix->mask); i++) {
        if (prefix->address[i] & ~prefix->mask[i])
            return -EINVAL;
    }
    return 0;
}

bool prefix_covers(const struct prefix *prefix, uint16_t type, const uint8_t address[16])
{
    if (prefix->type != type)
        return false;
    for (unsigned i = 0; i < sizeof(prefix->mask); i++) {
        if ((address[i] & prefix->mask[i]) != prefix->address[i])
            return false;
    }
    return true;
}

unsigned port_range_masks(uint16_t first, uint16_t last, struct port_mask *masks)
{
    unsigned count = 0;
    for (uint32_t at = first; at <= last;) {
        /* The largest block that begins here and does not go beyond the last. */
        uint32_t size = 1;
        while (at % (2 * size) == 0 && at + 2 * size - 1 <= last)
            size *= 2;
        masks[count++] = (struct port_mask){(uint16_t)at, (uint16_t) ~(size - 1)};
        at += size;
    }
    return count;
}
