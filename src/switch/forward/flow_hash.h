/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hashes with a secret, so that nobody outside can find keys that collide. Each pair of words is
 * folded by a multiplication to 128 bits.
 */
#ifndef KV_SWITCH_FORWARD_FLOW_HASH_H
#define KV_SWITCH_FORWARD_FLOW_HASH_H

#include <stdint.h>

struct flow_secret {
    uint64_t words[2];
};

/* 0 or -errno. */
int flow_secret_make(struct flow_secret *secret);

static inline uint64_t flow_hash_add(uint64_t hash, uint64_t word, const struct flow_secret *secret)
{
    unsigned __int128 product =
        (unsigned __int128)(hash ^ secret->words[0]) * (word ^ secret->words[1]);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#endif
