/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the rule of the highest priority that a flow key matches. Tuple-space search: rules whose
 * masks are the same lie in one hash table, and the tables are searched in the order of their best
 * rule until none can be better, so that the cost grows with the number of different masks and not
 * of rules. In front of it lies a cache of the answers to exact keys, less the fields that no rule
 * looks at. It is one thread's at a time, as finding changes the cache, too: whoever publishes it
 * adds rules before, and later the thread that finds does.
 */
#ifndef KV_SWITCH_FORWARD_CLASSIFIER_H
#define KV_SWITCH_FORWARD_CLASSIFIER_H

#include "base/error.h"
#include "switch/forward/flow_key.h"

#define CLASSIFIER_MASKS_MAX 512 /* what a key that is not in the cache may cost */

/* Bits of key outside of mask are 0. */
struct flow_match {
    struct flow_key key, mask;
};

struct classifier;

/* NULL with err. */
struct classifier *classifier_new(struct kv_error *err);
void classifier_free(struct classifier *classifier);

/* rule is not NULL, and its owner's. Of two with one priority that match a key either may be found.
 * -ENOMEM, -ENOSPC (CLASSIFIER_MASKS_MAX), -EINVAL (key outside of mask); then it is as before. */
int classifier_add(struct classifier *classifier, const struct flow_match *match, uint32_t priority,
                   void *rule);

/* The rule of exactly that match is this one from now on, whatever its priority; NULL: there is
 * none any more. As classifier_add(). */
int classifier_set(struct classifier *classifier, const struct flow_match *match, uint32_t priority,
                   void *rule);

/* The rule, or NULL. */
void *classifier_find(struct classifier *classifier, const struct flow_key *key);

/* How many masks there are, and matches. */
unsigned classifier_masks(const struct classifier *classifier);
unsigned classifier_matches(const struct classifier *classifier);

#endif
