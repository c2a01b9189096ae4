/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Learned addresses; see mac_table.h. */
#include "switch/forward/mac_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int mac_table_init(struct mac_table *table, unsigned entries, uint32_t ageing_s,
                   struct kv_error *err)
{
    uint64_t buckets = 1;
    while (buckets * MAC_BUCKET_SLOTS < entries)
        buckets *= 2;
    *table = (struct mac_table){.mask = buckets - 1, .ageing_s = ageing_s};
    if (getrandom(&table->secret, sizeof(table->secret), 0) != (ssize_t)sizeof(table->secret))
        return kv_error_errno(err, KV_ERR_NET, errno, "a secret for the table of addresses");
    table->buckets = aligned_alloc(64, buckets * sizeof(*table->buckets));
    if (!table->buckets)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "table of %u addresses", entries);
    memset(table->buckets, 0, buckets * sizeof(*table->buckets));
    return 0;
}

void mac_table_free(struct mac_table *table)
{
    free(table->buckets);
    table->buckets = NULL;
}

static void forget(struct mac_table *table, struct mac_entry *entry)
{
    entry->key = 0;
    entry->fixed = false;
    table->changes++;
    table->used--;
    table->used_by[entry->port]--;
}

static struct mac_entry *find_room(struct mac_table *table, uint64_t key, uint32_t now_s)
{
    for (unsigned which = 0; which < 2; which++) {
        struct mac_bucket *bucket = mac_bucket_of(table, key, which);
        for (unsigned i = 0; i < MAC_BUCKET_SLOTS; i++) {
            struct mac_entry *entry = &bucket->slots[i];
            if (entry->key && mac_entry_is_old(table, entry, now_s))
                forget(table, entry);
            if (!entry->key)
                return entry;
        }
    }
    return NULL;
}

enum mac_learned mac_table_learn_slowly(struct mac_table *table, uint64_t key, uint16_t port,
                                        uint32_t now_s, unsigned limit)
{
    struct mac_entry *entry = mac_table_entry(table, key);
    bool moved = entry != NULL;
    if (entry && entry->fixed)
        return MAC_ELSEWHERE;
    if (table->used_by[port] >= limit) {
        mac_table_expire(table, now_s);
        if (table->used_by[port] >= limit)
            return MAC_OVER_LIMIT;
        entry = mac_table_entry(table, key);
    }
    if (entry)
        forget(table, entry);
    else
        entry = find_room(table, key, now_s);
    if (!entry)
        return MAC_NO_ROOM;
    *entry = (struct mac_entry){.key = key, .seen_s = now_s, .port = port};
    table->changes++;
    table->used++;
    table->used_by[port]++;
    return moved ? MAC_MOVED : MAC_NEW;
}

/* A free entry for the key, else a learned one, which may be overwritten, or NULL. */
static struct mac_entry *find_unfixed(const struct mac_table *table, uint64_t key)
{
    struct mac_entry *learned = NULL;
    for (unsigned i = 0; i < 2 * MAC_BUCKET_SLOTS; i++) {
        struct mac_bucket *bucket = mac_bucket_of(table, key, i / MAC_BUCKET_SLOTS);
        struct mac_entry *entry = &bucket->slots[i % MAC_BUCKET_SLOTS];
        if (!entry->key)
            return entry;
        if (!entry->fixed)
            learned = entry;
    }
    return learned;
}

bool mac_table_fix(struct mac_table *table, uint64_t key, uint16_t port)
{
    struct mac_entry *entry = mac_table_entry(table, key);
    if (!entry)
        entry = find_unfixed(table, key);
    if (!entry)
        return false;
    if (entry->key)
        forget(table, entry);
    *entry = (struct mac_entry){.key = key, .port = port, .fixed = true};
    table->changes++;
    table->used++;
    table->used_by[port]++;
    return true;
}

bool mac_table_unfix(struct mac_table *table, uint64_t key)
{
    struct mac_entry *entry = mac_table_entry(table, key);
    bool fixed = entry && entry->fixed;
    if (fixed)
        forget(table, entry);
    return fixed;
}

bool mac_table_copy_fixed(struct mac_table *table, const struct mac_table *from)
{
    bool all = true;
    for (uint64_t b = 0; b <= from->mask; b++) {
        for (unsigned i = 0; i < MAC_BUCKET_SLOTS; i++) {
            const struct mac_entry *entry = &from->buckets[b].slots[i];
            if (entry->key && entry->fixed)
                all &= mac_table_fix(table, entry->key, entry->port);
        }
    }
    return all;
}

/* Forgets all, or the entries of a port, or (-1) those that are too old; not those that are fixed.
 */
static void sweep(struct mac_table *table, uint32_t now_s, int port, bool all)
{
    for (uint64_t b = 0; table->used && b <= table->mask; b++) {
        for (unsigned i = 0; i < MAC_BUCKET_SLOTS; i++) {
            struct mac_entry *entry = &table->buckets[b].slots[i];
            if (entry->key && !entry->fixed &&
                (all || (port < 0 ? mac_entry_is_old(table, entry, now_s) : entry->port == port)))
                forget(table, entry);
        }
    }
}

void mac_table_expire(struct mac_table *table, uint32_t now_s)
{
    /* A port at its limit asks with every frame: once a second is enough. */
    if (table->expired_s == now_s)
        return;
    table->expired_s = now_s;
    sweep(table, now_s, -1, false);
}

void mac_table_forget_port(struct mac_table *table, uint16_t port)
{
    sweep(table, 0, port, false);
}

void mac_table_forget_all(struct mac_table *table)
{
    sweep(table, 0, -1, true);
}

void mac_table_remove_port(struct mac_table *table, uint16_t port)
{
    for (uint64_t b = 0; table->used_by[port] && b <= table->mask; b++) {
        for (unsigned i = 0; i < MAC_BUCKET_SLOTS; i++) {
            struct mac_entry *entry = &table->buckets[b].slots[i];
            if (entry->key && entry->port == port)
                forget(table, entry);
        }
    }
}
