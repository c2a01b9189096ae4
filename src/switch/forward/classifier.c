/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tuple-space search; see classifier.h. */
#include "switch/forward/classifier.h"

#include <errno.h>
#include <stdlib.h>

#include "switch/forward/flow_hash.h"

#define ENTRIES_MIN 8
#define CACHE_SETS 1024 /* of two answers each */
#define CACHE_FROM 3    /* masks, below which the search takes no longer */

/* A mask's words that are not 0. */
struct mask {
    struct flow_key bits;
    unsigned count;
    uint8_t words[FLOW_KEY_WORDS];
};

struct entry {
    struct flow_key key;
    uint32_t priority;
    uint32_t hash; /* so that growing does not look at keys */
    void *rule;    /* NULL: free */
};

/* Rules of one mask: open addressing, at most half full. */
struct table {
    struct mask mask;
    uint32_t best;        /* priority */
    uint32_t best_count;  /* entries that have it */
    uint32_t used, limit; /* entries; a power of two */
    struct entry *entries;
};

struct answer {
    struct flow_key key;
    uint64_t generation; /* 0: free */
    void *rule;
};

struct classifier {
    struct flow_secret secret;
    struct mask all; /* bits that some rule looks at */
    uint64_t generation;
    unsigned matches, count;
    struct table *tables[CLASSIFIER_MASKS_MAX]; /* by best, the highest first */
    struct answer (*cache)[2];                  /* CACHE_SETS */
};

struct classifier *classifier_new(struct kv_error *err)
{
    struct classifier *classifier = calloc(1, sizeof(*classifier));
    int rc = classifier ? flow_secret_make(&classifier->secret) : -ENOMEM;
    if (rc == 0) {
        classifier->generation = 1;
        classifier->cache = calloc(CACHE_SETS, sizeof(*classifier->cache));
        rc = classifier->cache ? 0 : -ENOMEM;
    }
    if (rc < 0) {
        classifier_free(classifier);
        kv_error_errno(err, KV_ERR_NET, -rc, "tables of rules");
        return NULL;
    }
    return classifier;
}

static void table_free(struct table *table)
{
    free(table->entries);
    free(table);
}

void classifier_free(struct classifier *classifier)
{
    if (!classifier)
        return;
    for (unsigned i = 0; i < classifier->count; i++)
        table_free(classifier->tables[i]);
    free(classifier->cache);
    free(classifier);
}

unsigned classifier_masks(const struct classifier *classifier)
{
    return classifier->count;
}

unsigned classifier_matches(const struct classifier *classifier)
{
    return classifier->matches;
}

/* --- Masks ------------------------------------------------------------------ */

static void add_bits(struct mask *mask, const struct flow_key *bits)
{
    uint8_t *to = (uint8_t *)&mask->bits;
    for (size_t i = 0; i < sizeof(*bits); i++)
        to[i] |= ((const uint8_t *)bits)[i];
    mask->count = 0;
    for (unsigned i = 0; i < FLOW_KEY_WORDS; i++) {
        if (flow_key_word(&mask->bits, i))
            mask->words[mask->count++] = (uint8_t)i;
    }
}

static inline uint64_t hash_masked(const struct mask *mask, const struct flow_key *key,
                                   const struct flow_secret *secret)
{
    uint64_t hash = 0;
    for (unsigned n = 0; n < mask->count; n++) {
        unsigned i = mask->words[n];
        hash = flow_hash_add(hash, flow_key_word(key, i) & flow_key_word(&mask->bits, i), secret);
    }
    return hash;
}

/* Whether the key is the masked one as far as the mask goes. */
static inline bool is_masked(const struct mask *mask, const struct flow_key *key,
                             const struct flow_key *masked)
{
    uint64_t differ = 0;
    for (unsigned n = 0; n < mask->count; n++) {
        unsigned i = mask->words[n];
        differ |=
            (flow_key_word(key, i) & flow_key_word(&mask->bits, i)) ^ flow_key_word(masked, i);
    }
    return differ == 0;
}

static void apply(const struct mask *mask, const struct flow_key *key, struct flow_key *masked)
{
    for (unsigned i = 0; i < FLOW_KEY_WORDS; i++) {
        uint64_t word = flow_key_word(key, i) & flow_key_word(&mask->bits, i);
        memcpy((uint8_t *)masked + i * sizeof(word), &word, sizeof(word));
    }
}

/* --- Adding ----------------------------------------------------------------- */

static struct table *table_of(struct classifier *classifier, const struct flow_key *mask)
{
    for (unsigned i = 0; i < classifier->count; i++) {
        if (memcmp(&classifier->tables[i]->mask.bits, mask, sizeof(*mask)) == 0)
            return classifier->tables[i];
    }
    return NULL;
}

static struct table *table_new(const struct flow_key *mask)
{
    struct table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    add_bits(&table->mask, mask);
    table->limit = ENTRIES_MIN;
    table->entries = calloc(table->limit, sizeof(*table->entries));
    if (!table->entries) {
        free(table);
        return NULL;
    }
    return table;
}

static struct entry *entry_of(const struct table *table, const struct flow_key *key, uint32_t hash)
{
    uint32_t last = table->limit - 1;
    for (uint32_t at = hash & last;; at = (at + 1) & last) {
        struct entry *entry = &table->entries[at];
        if (!entry->rule || (entry->hash == hash && is_masked(&table->mask, key, &entry->key)))
            return entry;
    }
}

static int grow(struct table *table)
{
    struct table larger = *table;
    larger.limit *= 2;
    larger.entries = calloc(larger.limit, sizeof(*larger.entries));
    if (!larger.entries)
        return -ENOMEM;
    for (uint32_t i = 0; i < table->limit; i++) {
        const struct entry *entry = &table->entries[i];
        if (entry->rule)
            *entry_of(&larger, &entry->key, entry->hash) = *entry;
    }
    free(table->entries);
    *table = larger;
    return 0;
}

/* A table whose best rule is another moves to where it belongs. */
static void sort(struct classifier *classifier, struct table *table)
{
    struct table **tables = classifier->tables;
    unsigned at = 0;
    while (tables[at] != table)
        at++;
    for (; at > 0 && tables[at - 1]->best < table->best; at--)
        tables[at] = tables[at - 1];
    for (; at + 1 < classifier->count && tables[at + 1]->best > table->best; at++)
        tables[at] = tables[at + 1];
    tables[at] = table;
}

static void gain(struct table *table, uint32_t priority)
{
    if (priority > table->best || table->best_count == 0) {
        table->best = priority;
        table->best_count = 1;
    } else if (priority == table->best) {
        table->best_count++;
    }
}

static void lose(struct table *table, uint32_t priority)
{
    if (priority != table->best || --table->best_count)
        return;
    for (uint32_t i = 0; i < table->limit; i++) {
        if (table->entries[i].rule)
            gain(table, table->entries[i].priority);
    }
}

/* Those behind it that could lie where it was move up. */
static void take_out(struct table *table, struct entry *entry)
{
    uint32_t last = table->limit - 1, hole = (uint32_t)(entry - table->entries), at = hole;
    for (;;) {
        at = (at + 1) & last;
        if (!table->entries[at].rule)
            break;
        uint32_t home = table->entries[at].hash & last;
        if (((at - home) & last) < ((at - hole) & last))
            continue;
        table->entries[hole] = table->entries[at];
        hole = at;
    }
    table->entries[hole].rule = NULL;
    table->used--;
}

/* The bits that the table's rules look at may go on being looked at. */
static void remove_entry(struct classifier *classifier, struct table *table, struct entry *entry)
{
    uint32_t priority = entry->priority;
    take_out(table, entry);
    classifier->matches--;
    lose(table, priority);
    sort(classifier, table);
    if (table->used)
        return;
    unsigned at = 0;
    while (classifier->tables[at] != table)
        at++;
    classifier->count--;
    for (; at < classifier->count; at++)
        classifier->tables[at] = classifier->tables[at + 1];
    table_free(table);
}

/* The mask's table, with room for one more entry; NULL with *rc. */
static struct table *make_room(struct classifier *classifier, const struct flow_key *mask, int *rc)
{
    struct table *table = table_of(classifier, mask);
    *rc = -ENOMEM;
    if (table)
        return 2 * (table->used + 1) > table->limit && grow(table) < 0 ? NULL : table;
    if (classifier->count == CLASSIFIER_MASKS_MAX) {
        *rc = -ENOSPC;
        return NULL;
    }
    table = table_new(mask);
    if (!table)
        return NULL;
    classifier->tables[classifier->count++] = table;
    add_bits(&classifier->all, mask);
    return table;
}

static bool is_inside(const struct flow_match *match)
{
    uint64_t outside = 0;
    for (unsigned i = 0; i < FLOW_KEY_WORDS; i++)
        outside |= flow_key_word(&match->key, i) & ~flow_key_word(&match->mask, i);
    return outside == 0;
}

static uint32_t hash_match(const struct classifier *classifier, const struct table *table,
                           const struct flow_match *match)
{
    return (uint32_t)hash_masked(&table->mask, &match->key, &classifier->secret);
}

/* replaces: also one of a higher priority. */
static int put(struct classifier *classifier, const struct flow_match *match, uint32_t priority,
               void *rule, bool replaces)
{
    int rc;
    if (!is_inside(match))
        return -EINVAL;
    struct table *table = make_room(classifier, &match->mask, &rc);
    if (!table)
        return rc;
    uint32_t hash = hash_match(classifier, table, match);
    struct entry *entry = entry_of(table, &match->key, hash), was = *entry;
    classifier->generation++;
    if (was.rule && was.priority >= priority && !replaces)
        return 0; /* it is never found */
    table->used += !was.rule;
    classifier->matches += !was.rule;
    *entry = (struct entry){.key = match->key, .priority = priority, .hash = hash, .rule = rule};
    gain(table, priority);
    if (was.rule)
        lose(table, was.priority);
    sort(classifier, table);
    return 0;
}

int classifier_add(struct classifier *classifier, const struct flow_match *match, uint32_t priority,
                   void *rule)
{
    return put(classifier, match, priority, rule, false);
}

int classifier_set(struct classifier *classifier, const struct flow_match *match, uint32_t priority,
                   void *rule)
{
    if (rule)
        return put(classifier, match, priority, rule, true);
    struct table *table = table_of(classifier, &match->mask);
    if (!table)
        return 0;
    struct entry *entry = entry_of(table, &match->key, hash_match(classifier, table, match));
    classifier->generation++;
    if (entry->rule)
        remove_entry(classifier, table, entry);
    return 0;
}

/* --- Finding ---------------------------------------------------------------- */

static void *search(const struct classifier *classifier, const struct flow_key *key)
{
    const struct entry *best = NULL;
    for (unsigned i = 0; i < classifier->count; i++) {
        const struct table *table = classifier->tables[i];
        if (best && best->priority >= table->best)
            break;
        uint32_t hash = (uint32_t)hash_masked(&table->mask, key, &classifier->secret);
        const struct entry *entry = entry_of(table, key, hash);
        if (entry->rule && (!best || entry->priority > best->priority))
            best = entry;
    }
    return best ? best->rule : NULL;
}

void *classifier_find(struct classifier *classifier, const struct flow_key *key)
{
    const struct mask *all = &classifier->all;
    if (classifier->count < CACHE_FROM)
        return search(classifier, key);
    uint64_t hash = hash_masked(all, key, &classifier->secret);
    struct answer *set = classifier->cache[hash % CACHE_SETS];
    for (unsigned i = 0; i < 2; i++) {
        if (set[i].generation == classifier->generation && is_masked(all, key, &set[i].key))
            return set[i].rule;
    }
    set[1] = set[0];
    set[0].generation = classifier->generation;
    set[0].rule = search(classifier, key);
    apply(all, key, &set[0].key);
    return set[0].rule;
}
