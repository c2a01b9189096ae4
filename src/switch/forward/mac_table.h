/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where stations are: MAC address and VLAN to port, learned from what they send. A hash table of
 * a fixed size whose buckets are a cache line; an address may lie in either of two of them, and
 * where both are full it is not learned (its frames are flooded). The hash has a secret, so that
 * nobody can fill two buckets on purpose. Belongs to the forwarding thread.
 */
#ifndef KV_SWITCH_FORWARD_MAC_TABLE_H
#define KV_SWITCH_FORWARD_MAC_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define MAC_TABLE_PORTS 1024
#define MAC_BUCKET_SLOTS 4

struct mac_entry {
    uint64_t key;    /* mac_key(), 0: free */
    uint32_t seen_s; /* when it sent last */
    uint16_t port;
    bool fixed; /* told, not learned: stays where it is */
};

struct mac_bucket {
    struct mac_entry slots[MAC_BUCKET_SLOTS];
} __attribute__((aligned(64)));

struct mac_table {
    struct mac_bucket *buckets;
    uint64_t mask; /* how many, less 1 */
    uint64_t secret;
    uint32_t ageing_s;
    uint32_t expired_s; /* when what is too old was forgotten last */
    uint64_t changes;   /* raised where an address comes, goes or moves */
    unsigned used;
    unsigned used_by[MAC_TABLE_PORTS];
};

enum mac_learned {
    MAC_KNOWN,
    MAC_NEW,
    MAC_MOVED,
    MAC_OVER_LIMIT, /* of the port */
    MAC_NO_ROOM,
    MAC_ELSEWHERE, /* fixed, on another port */
};

/* Address as on the wire; vlan below 4096. Never 0. */
static inline uint64_t mac_key(const uint8_t *mac, unsigned vlan)
{
    uint64_t key = 0;
    __builtin_memcpy(&key, mac, 6);
    return key | (uint64_t)(vlan | 0x8000) << 48;
}

/* entries: room, rounded up to a power of two. -ENOMEM. */
int mac_table_init(struct mac_table *table, unsigned entries, uint32_t ageing_s,
                   struct kv_error *err);
void mac_table_free(struct mac_table *table);

static inline struct mac_bucket *mac_bucket_of(const struct mac_table *table, uint64_t key,
                                               unsigned which)
{
    uint64_t hash = (key ^ table->secret) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 29) * (table->secret | 1);
    return &table->buckets[(which ? hash >> 16 : hash >> 40) & table->mask];
}

/* The entry, also one that is too old, or NULL. */
static inline struct mac_entry *mac_table_entry(const struct mac_table *table, uint64_t key)
{
    for (unsigned which = 0; which < 2; which++) {
        struct mac_bucket *bucket = mac_bucket_of(table, key, which);
        for (unsigned i = 0; i < MAC_BUCKET_SLOTS; i++) {
            if (bucket->slots[i].key == key)
                return &bucket->slots[i];
        }
    }
    return NULL;
}

static inline bool mac_entry_is_old(const struct mac_table *table, const struct mac_entry *entry,
                                    uint32_t now_s)
{
    return now_s - entry->seen_s > table->ageing_s && !entry->fixed;
}

/* The port, or -1 when nothing is known. */
static inline int mac_table_find(const struct mac_table *table, uint64_t key, uint32_t now_s)
{
    const struct mac_entry *entry = mac_table_entry(table, key);
    return entry && !mac_entry_is_old(table, entry, now_s) ? entry->port : -1;
}

/* What is new about an address that was seen on a port; limit: addresses the port may have. */
enum mac_learned mac_table_learn_slowly(struct mac_table *table, uint64_t key, uint16_t port,
                                        uint32_t now_s, unsigned limit);

/* The address sent a frame on the port. */
static inline enum mac_learned mac_table_learn(struct mac_table *table, uint64_t key, uint16_t port,
                                               uint32_t now_s, unsigned limit)
{
    struct mac_entry *entry = mac_table_entry(table, key);
    if (__builtin_expect(entry && entry->port == port, 1)) {
        if (entry->seen_s != now_s)
            entry->seen_s = now_s;
        return MAC_KNOWN;
    }
    return mac_table_learn_slowly(table, key, port, now_s, limit);
}

/* The address is on the port, whatever is seen. False: as many others are, where it has to lie. */
bool mac_table_fix(struct mac_table *table, uint64_t key, uint16_t port);
/* It is not any more. False: it was not. */
bool mac_table_unfix(struct mac_table *table, uint64_t key);
/* The other table's fixed addresses. False: there is no room for one of them. */
bool mac_table_copy_fixed(struct mac_table *table, const struct mac_table *from);

/* Forgets what is too old, what was learned on a port, everything that was learned. */
void mac_table_expire(struct mac_table *table, uint32_t now_s);
void mac_table_forget_port(struct mac_table *table, uint16_t port);
void mac_table_forget_all(struct mac_table *table);
/* What was learned on a port, and what is fixed there. */
void mac_table_remove_port(struct mac_table *table, uint16_t port);

#endif
