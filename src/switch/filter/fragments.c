/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fragments; see fragments.h. */
#include "switch/filter/fragments.h"

#include "base/util.h"

#define REASSEMBLY_S 30 /* that receivers wait for the rest, about */
#define TUPLE_WORDS (sizeof(struct fragment_tuple) / sizeof(uint64_t))
_Static_assert(sizeof(struct fragment_tuple) == 48, "no padding, which would be compared");

void fragment_tuple_make(struct fragment_tuple *tuple, unsigned port,
                         enum filter_direction direction, const struct flow_key *key,
                         const struct flow_headers *headers)
{
    *tuple = (struct fragment_tuple){
        .id = headers->fragment_id,
        .port = (uint16_t)port,
        .vlan = key->vlan,
        .direction = (uint8_t)direction,
        .protocol = key->type == FLOW_TYPE_IPV4 ? key->protocol : 0,
    };
    memcpy(tuple->from, key->from, sizeof(tuple->from));
    memcpy(tuple->to, key->to, sizeof(tuple->to));
}

static uint64_t word_of(const struct fragment_tuple *tuple, unsigned i)
{
    return load_le((const uint8_t *)tuple + i * 8, 8);
}

static unsigned set_of(const struct fragments *fragments, const struct fragment_tuple *tuple)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < TUPLE_WORDS; i++)
        hash = flow_hash_add(hash, word_of(tuple, i), &fragments->secret);
    return hash % FRAGMENTS_SETS;
}

static bool is_tuple(const struct fragment_tuple *a, const struct fragment_tuple *b)
{
    uint64_t differ = 0;
    for (unsigned i = 0; i < TUPLE_WORDS; i++)
        differ |= word_of(a, i) ^ word_of(b, i);
    return differ == 0;
}

static bool is_there(const struct fragmented *packet, uint32_t now_s)
{
    return packet->expires_s && (int32_t)(now_s - packet->expires_s) <= 0;
}

bool fragments_has(const struct fragments *fragments, const struct fragment_tuple *tuple,
                   uint32_t now_s)
{
    const struct fragmented *set = fragments->sets[set_of(fragments, tuple)];
    for (unsigned i = 0; i < FRAGMENTS_WAYS; i++) {
        if (is_there(&set[i], now_s) && is_tuple(&set[i].tuple, tuple))
            return true;
    }
    return false;
}

/* Whether a place is rather to be taken than another one: free, then of the same port, then the
 * older one. */
static bool is_better(const struct fragmented *a, const struct fragmented *b, unsigned port,
                      uint32_t now_s)
{
    bool a_there = is_there(a, now_s), b_there = is_there(b, now_s);
    if (a_there != b_there)
        return !a_there;
    bool a_own = a->tuple.port == port, b_own = b->tuple.port == port;
    if (a_own != b_own)
        return a_own;
    return (int32_t)(a->expires_s - b->expires_s) < 0;
}

void fragments_add(struct fragments *fragments, const struct fragment_tuple *tuple, uint32_t now_s)
{
    struct fragmented *set = fragments->sets[set_of(fragments, tuple)], *place = &set[0];
    for (unsigned i = 0; i < FRAGMENTS_WAYS; i++) {
        if (is_there(&set[i], now_s) && is_tuple(&set[i].tuple, tuple)) {
            place = &set[i];
            break;
        }
        if (is_better(&set[i], place, tuple->port, now_s))
            place = &set[i];
    }
    *place = (struct fragmented){.tuple = *tuple, .expires_s = MAX(now_s + REASSEMBLY_S, 1U)};
}
