/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who wants to hear which multicast groups: IGMP 1 to 3 (RFC 1112, 2236, 3376) and MLD 1 and 2
 * (RFC 2710, 3810), read as a bridge that listens reads them (RFC 4541), and what it remembers of
 * them. Groups are known by their MAC address and VLAN. Functions of structs and of the time
 * (seconds); called by control/snooping.c, the parser by the forwarding thread as well.
 */
#ifndef KV_SWITCH_PROTOCOLS_GROUPS_H
#define KV_SWITCH_PROTOCOLS_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GROUPS_CHANGES_MAX 64 /* of one message that are heeded */
#define GROUPS_OF_A_PORT 256  /* so that no port takes all the room */
#define GROUPS_LEAVE_S 2      /* that a group is still heard after it was left (RFC 2236, 8.8) */

enum groups_kind {
    GROUPS_NONE,
    GROUPS_QUERY,  /* a router asks */
    GROUPS_REPORT, /* a station wants groups, or no more */
};

struct groups_message {
    enum groups_kind kind;
    unsigned count;
    struct groups_change {
        uint8_t mac[6];
        bool joins;
    } changes[GROUPS_CHANGES_MAX];
};

/* The kind by the frame's headers alone. len: of bytes, which may be fewer than the frame has. */
enum groups_kind groups_kind_of(const uint8_t *frame, size_t len);
/* Reads a frame. False: it is none of these, or broken. */
bool groups_parse(struct groups_message *message, const uint8_t *frame, size_t len);

/* Groups that everybody hears, whatever was said: those of the link (RFC 4541, 2.1.2). */
bool groups_is_for_all(const uint8_t *mac);

/* A port that wants a group; with group 0: where a router is. */
struct groups_entry {
    uint64_t group; /* mac_key() */
    uint16_t port;
    uint32_t until_s;
};

struct groups {
    struct groups_entry *entries;
    unsigned count, max;
    uint32_t ageing_s;
};

int groups_init(struct groups *groups, unsigned max, uint32_t ageing_s); /* -ENOMEM */
void groups_free(struct groups *groups);

/* A message came in at a port. fast_leave: what is left is not heard any more at once. True: who
 * hears what has changed. */
bool groups_hear(struct groups *groups, const struct groups_message *message, uint16_t port,
                 uint16_t vlan, bool fast_leave, uint32_t now_s);
/* Forgets what is too old; true: something was. */
bool groups_expire(struct groups *groups, uint32_t now_s);
bool groups_forget_port(struct groups *groups, uint16_t port);

#endif
