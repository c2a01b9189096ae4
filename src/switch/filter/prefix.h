/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses with how many of their bits count: "192.0.2.0/24", "2001:db8::1". */
#ifndef KV_SWITCH_FILTER_PREFIX_H
#define KV_SWITCH_FILTER_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

struct prefix {
    uint16_t type;                 /* FLOW_TYPE_IPV4, FLOW_TYPE_IPV6; 0: any address */
    uint8_t address[16], mask[16]; /* as in struct flow_key */
};

/* 0 or -EINVAL: it is none, or has bits behind its length. */
int prefix_parse(const char *text, struct prefix *prefix);

bool prefix_covers(const struct prefix *prefix, uint16_t type, const uint8_t address[16]);

/* Ranges of ports as masks: of at most PORT_MASKS_MAX value and mask pairs a range. Returns how
 * many. */
#define PORT_MASKS_MAX 30
struct port_mask {
    uint16_t value, mask;
};
unsigned port_range_masks(uint16_t first, uint16_t last, struct port_mask *masks);

#endif
