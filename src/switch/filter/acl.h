/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ACL: rules that allow or deny frames on their way from a port and to it, under a name by which
 * ports use it. The control thread makes it as a whole and never changes it; ports change from one
 * to the next between two bursts. One forwarding thread finds rules in it and counts. What a rule
 * can say is in docs/switch.md.
 */
#ifndef KV_SWITCH_FILTER_ACL_H
#define KV_SWITCH_FILTER_ACL_H

#include <jansson.h>

#include "base/error.h"
#include "base/log.h"
#include "switch/forward/classifier.h"

#define ACL_RULES_MAX 65536
#define ACL_MATCHES_MAX (1 << 18) /* that sets and port ranges make of the rules, a direction */
#define ACL_NAME_MAX 64

/* As counters see it: in from the port, out to it. */
enum filter_direction {
    FILTER_IN,
    FILTER_OUT,
    FILTER_DIRECTIONS,
};

struct acl_rule {
    bool allow, log;
    uint32_t index; /* in the ACL */
    /* The forwarding thread's. */
    uint64_t frames, bytes;
    struct log_limit logged;
};

struct acl {
    char name[ACL_NAME_MAX];
    bool stateful;   /* answers to what a rule allows are allowed */
    uint32_t serial; /* its own, so that connections are known that another one allowed */
    struct classifier *tables[FILTER_DIRECTIONS];
    unsigned rule_count;
    struct acl_rule *rules;                       /* rule_count */
    struct acl_rule otherwise[FILTER_DIRECTIONS]; /* where no rule matches */
    struct acl_rule answers[FILTER_DIRECTIONS];   /* stateful: of connections that are known */
    /* The control thread's. */
    char *text; /* the JSON object that it was made from */
};

/* NULL with err, which names the rule by its index and says what is wrong. */
struct acl *acl_new(const json_t *object, struct kv_error *err);
void acl_free(struct acl *acl);

/* The rule that decides. */
static inline struct acl_rule *acl_find(struct acl *acl, enum filter_direction direction,
                                        const struct flow_key *key)
{
    struct acl_rule *rule = classifier_find(acl->tables[direction], key);
    return rule ? rule : &acl->otherwise[direction];
}

/* Description of an ACL with what its rules counted; a new reference. counted: a copy of rules,
 * otherwise and answers, as struct acl has them. */
json_t *acl_describe(const struct acl *acl, const struct acl *counted);

#endif
