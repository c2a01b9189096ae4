/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACLs out of JSON; see acl.h. Each rule becomes a match for each of its directions, families,
 * pairs of addresses and pieces of port ranges. */
#include "switch/filter/acl.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/util.h"
#include "switch/filter/prefix.h"
#include "switch/forward/flow_text.h"

#define NOT_SAID UINT64_MAX
#define PRIORITY_MAX 65535
#define LIST_MAX 65536 /* addresses of a set */
#define PORT_LIST_MAX 1024
#define ICMP_MAX 255
#define DSCP_MAX 63

static const char *const action_names[] = {"allow", "deny", NULL};
enum { ACTION_ALLOW, ACTION_DENY };

/* The first two by enum filter_direction. */
static const char *const direction_names[] = {"in", "out", "both", NULL};
enum { DIRECTION_BOTH = FILTER_DIRECTIONS };

struct acl_options {
    char *name;
    int otherwise; /* of action_names */
    bool stateful;
};

static const struct option_spec acl_option_specs[] = {
    OPTION(STRING, struct acl_options, name, .required = true, .help = "by which ports use it"),
    OPTION_NAMED("default", ENUM, struct acl_options, otherwise, .values = action_names,
                 .help = "what becomes of a frame that no rule matches; allow"),
    OPTION(BOOL, struct acl_options, stateful, .help = "answers to what is allowed are allowed"),
    OPTION_END,
};

struct rule_options {
    int action, direction;
    uint64_t priority;
    char *type, *protocol, *from, *to, *from_ports, *to_ports, *from_mac, *to_mac;
    uint64_t vlan, icmp_type, icmp_code, dscp;
    bool log;
};

static const struct option_spec rule_option_specs[] = {
    OPTION(ENUM, struct rule_options, action, .required = true, .values = action_names,
           .help = "what becomes of a frame"),
    OPTION(ENUM, struct rule_options, direction, .values = direction_names,
           .help = "in: from the port, out: to it; both"),
    OPTION(UINT, struct rule_options, priority, .max = PRIORITY_MAX,
           .help = "the highest decides, of equal ones the first rule; 0"),
    OPTION(STRING, struct rule_options, type, .help = "ipv4, ipv6, arp or an Ethernet type"),
    OPTION(STRING, struct rule_options, protocol,
           .help = "tcp, udp, sctp, icmp, icmpv6 or a number"),
    OPTION(STRING, struct rule_options, from,
           .help = "the sender's address: addresses, prefixes and @SETs, joined by commas"),
    OPTION(STRING, struct rule_options, to, .help = "the receiver's"),
    OPTION_NAMED("from-ports", STRING, struct rule_options, from_ports,
                 .help = "the sender's ports: 80,1000-1999"),
    OPTION_NAMED("to-ports", STRING, struct rule_options, to_ports, .help = "the receiver's"),
    OPTION_NAMED("from-mac", STRING, struct rule_options, from_mac, .help = "the sender's"),
    OPTION_NAMED("to-mac", STRING, struct rule_options, to_mac, .help = "the receiver's"),
    OPTION(UINT, struct rule_options, vlan, .max = VLAN_ID_MASK - 1, .help = "0: none"),
    OPTION_NAMED("icmp-type", UINT, struct rule_options, icmp_type, .max = ICMP_MAX,
                 .help = "of icmp and icmpv6"),
    OPTION_NAMED("icmp-code", UINT, struct rule_options, icmp_code, .max = ICMP_MAX,
                 .help = "of an icmp-type"),
    OPTION(UINT, struct rule_options, dscp, .max = DSCP_MAX, .help = "of IPv4 and IPv6"),
    OPTION(BOOL, struct rule_options, log, .help = "a line in the log, 10 in 5 seconds at most"),
    OPTION_END,
};

/* --- Parts of a rule --------------------------------------------------------- */

struct prefixes {
    unsigned count, room;
    struct prefix *list;
};

static int add_prefix(struct prefixes *to, const char *text, struct kv_error *err)
{
    if (to->count == to->room) {
        unsigned room = MAX(2 * to->room, 8);
        struct prefix *list = to->count < LIST_MAX ? realloc(to->list, room * sizeof(*list)) : NULL;
        if (!list)
            return kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "%u addresses are possible", LIST_MAX);
        to->list = list;
        to->room = room;
    }
    if (prefix_parse(text, &to->list[to->count]) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "address '%.60s': 192.0.2.1, 192.0.2.0/24, 2001:db8::/64 and the like, "
                            "without bits behind the prefix, are accepted",
                            text);
    to->count++;
    return 0;
}

static int add_set(struct prefixes *to, const json_t *sets, const char *name, struct kv_error *err)
{
    const json_t *set = json_object_get(sets, name);
    if (!json_is_array(set) || json_array_size(set) == 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "set '@%.40s': 'sets' has no list of addresses of that name", name);
    for (size_t i = 0; i < json_array_size(set); i++) {
        const char *text = json_string_value(json_array_get(set, i));
        int rc = add_prefix(to, text ? text : "", err);
        if (rc < 0)
            return kv_error_prefix(err, "set '@%.40s'", name);
    }
    return 0;
}

/* Any address where nothing is said. */
static int parse_addresses(struct prefixes *to, const char *text, const json_t *sets,
                           struct kv_error *err)
{
    cleanup_free char *copy = strdup(text ? text : "");
    char *rest = copy;
    if (!copy)
        return kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "addresses");
    if (!text) {
        to->list = calloc(1, sizeof(*to->list));
        to->count = to->room = to->list ? 1 : 0;
        return to->list ? 0 : kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "addresses");
    }
    int rc = 0;
    for (char *one; rc == 0 && (one = strsep(&rest, ","));)
        rc = *one == '@' ? add_set(to, sets, one + 1, err) : add_prefix(to, one, err);
    return rc;
}

struct port_masks {
    unsigned count;
    struct port_mask list[PORT_LIST_MAX];
};

static int parse_ports(struct port_masks *to, const char *text, struct kv_error *err)
{
    uint64_t set[(UINT16_MAX + 1) / 64] = {0};
    to->count = 0;
    if (!text) {
        to->list[to->count++] = (struct port_mask){0};
        return 0;
    }
    if (parse_bitmap(text, set, ARRAY_SIZE(set)) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "ports '%.60s': a list such as 80,1000-1999, up to 65535, is accepted",
                            text);
    for (uint32_t first = 0; first <= UINT16_MAX; first++) {
        uint32_t last = first;
        if (set[first / 64] == 0)
            first |= 63;
        if (!(set[first / 64] >> first % 64 & 1))
            continue;
        while (last < UINT16_MAX && set[(last + 1) / 64] >> (last + 1) % 64 & 1)
            last++;
        if (to->count + PORT_MASKS_MAX > PORT_LIST_MAX)
            return kv_error_set(err, KV_ERR_CONFIG, E2BIG, "ports '%.60s...': too many ranges",
                                text);
        to->count += port_range_masks((uint16_t)first, (uint16_t)last, to->list + to->count);
        first = last;
    }
    return to->count ? 0 : kv_error_set(err, KV_ERR_CONFIG, EINVAL, "no ports are named");
}

/* --- A rule ------------------------------------------------------------------- */

/* What all matches of a rule share, and what they are made from. */
struct rule_parts {
    const struct rule_options *options;
    struct flow_match match;
    int protocol;  /* -1: any */
    uint16_t type; /* 0: what the addresses are, or any */
    struct prefixes from, to;
    struct port_masks from_ports, to_ports;
    unsigned added;
};

static int parse_mac_into(const char *what, const char *text, uint8_t key[6], uint8_t mask[6],
                          struct kv_error *err)
{
    if (!text)
        return 0;
    if (parse_mac(text, key) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "%s '%.40s': six hexadecimal bytes joined by ':' are accepted", what,
                            text);
    memset(mask, 0xff, 6);
    return 0;
}

static bool is_ip(unsigned type)
{
    return type == FLOW_TYPE_IPV4 || type == FLOW_TYPE_IPV6;
}

static int parse_protocol(struct rule_parts *parts, struct kv_error *err)
{
    const struct rule_options *o = parts->options;
    parts->protocol = -1;
    if (!o->protocol)
        return 0;
    int rc = flow_protocol_parse(o->protocol, &parts->protocol, err);
    uint16_t type = parts->protocol == IPPROTO_ICMP     ? FLOW_TYPE_IPV4
                    : parts->protocol == IPPROTO_ICMPV6 ? FLOW_TYPE_IPV6
                                                        : parts->type;
    if (rc == 0 && parts->type && (!is_ip(parts->type) || type != parts->type))
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL, "type '%s' has no protocol '%s'", o->type,
                          o->protocol);
    parts->type = type;
    return rc;
}

static int check_transport(const struct rule_parts *parts, struct kv_error *err)
{
    const struct rule_options *o = parts->options;
    int protocol = parts->protocol;
    if ((o->from_ports || o->to_ports) && protocol != IPPROTO_TCP && protocol != IPPROTO_UDP &&
        protocol != IPPROTO_SCTP)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'from-ports' and 'to-ports' are of protocol tcp, udp or sctp");
    if (o->icmp_type != NOT_SAID && protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'icmp-type' is of protocol icmp or icmpv6");
    if (o->icmp_code != NOT_SAID && o->icmp_type == NOT_SAID)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'icmp-code' is of an 'icmp-type'");
    if (o->dscp != NOT_SAID && parts->type && !is_ip(parts->type))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "type '%s' has no 'dscp'", o->type);
    if ((o->from || o->to) && parts->type && !is_ip(parts->type) && parts->type != FLOW_TYPE_ARP)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "type '%s' has no addresses", o->type);
    return 0;
}

/* Fields that are one value or none. */
static void set_values(struct rule_parts *parts)
{
    const struct rule_options *o = parts->options;
    struct flow_key *key = &parts->match.key, *mask = &parts->match.mask;
    if (o->vlan != NOT_SAID) {
        key->vlan = (uint16_t)o->vlan;
        mask->vlan = UINT16_MAX;
    }
    if (parts->protocol >= 0) {
        key->protocol = (uint8_t)parts->protocol;
        mask->protocol = UINT8_MAX;
    }
    if (o->dscp != NOT_SAID) {
        key->tos = (uint8_t)(o->dscp << 2);
        mask->tos = DSCP_MAX << 2;
    }
    if (o->icmp_type != NOT_SAID) {
        key->from_port = (uint16_t)o->icmp_type;
        mask->from_port = UINT16_MAX;
    }
    if (o->icmp_code != NOT_SAID) {
        key->to_port = (uint16_t)o->icmp_code;
        mask->to_port = UINT16_MAX;
    }
    /* Later fragments have no ports, which is not port 0. */
    if (o->from_ports || o->to_ports || o->icmp_type != NOT_SAID)
        mask->fragment = FLOW_FRAGMENT_LATER;
}

static int add_match(struct acl *acl, struct rule_parts *parts, struct acl_rule *rule,
                     struct kv_error *err)
{
    int only = parts->options->direction;
    /* Of equal priorities the first rule wins. */
    uint32_t priority =
        (uint32_t)(parts->options->priority * ACL_RULES_MAX) + (ACL_RULES_MAX - 1 - rule->index);
    for (int d = 0; d < FILTER_DIRECTIONS; d++) {
        if (only != DIRECTION_BOTH && only != d)
            continue;
        int rc = classifier_add(acl->tables[d], &parts->match, priority, rule);
        if (rc == -ENOSPC)
            return kv_error_set(err, KV_ERR_CONFIG, ENOSPC,
                                "%d different kinds of matches (prefix lengths, parts of port "
                                "ranges) are possible",
                                CLASSIFIER_MASKS_MAX);
        if (rc < 0)
            return kv_error_errno(err, KV_ERR_CONFIG, -rc, "its matches");
        if (classifier_matches(acl->tables[d]) > ACL_MATCHES_MAX)
            return kv_error_set(err, KV_ERR_CONFIG, E2BIG,
                                "sets and port ranges make more than %d matches", ACL_MATCHES_MAX);
    }
    parts->added++;
    return 0;
}

static int add_with_ports(struct acl *acl, struct rule_parts *parts, struct acl_rule *rule,
                          struct kv_error *err)
{
    struct flow_key *key = &parts->match.key, *mask = &parts->match.mask;
    bool has_ports = parts->options->from_ports || parts->options->to_ports;
    if (!has_ports)
        return add_match(acl, parts, rule, err);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < parts->from_ports.count; i++) {
        for (unsigned k = 0; rc == 0 && k < parts->to_ports.count; k++) {
            key->from_port = parts->from_ports.list[i].value;
            mask->from_port = parts->from_ports.list[i].mask;
            key->to_port = parts->to_ports.list[k].value;
            mask->to_port = parts->to_ports.list[k].mask;
            rc = add_match(acl, parts, rule, err);
        }
    }
    return rc;
}

/* The types that a rule with these addresses is about: at most two. Returns how many. */
static unsigned types_of(const struct rule_parts *parts, const struct prefix *from,
                         const struct prefix *to, uint16_t types[2])
{
    uint16_t addresses = from->type ? from->type : to->type;
    if (from->type && to->type && from->type != to->type)
        return 0;
    types[0] = parts->type ? parts->type : addresses;
    if (addresses && parts->type && parts->type != addresses &&
        !(parts->type == FLOW_TYPE_ARP && addresses == FLOW_TYPE_IPV4))
        return 0;
    if (types[0] || (parts->protocol < 0 && parts->options->dscp == NOT_SAID))
        return 1;
    types[0] = FLOW_TYPE_IPV4;
    types[1] = FLOW_TYPE_IPV6;
    return 2;
}

static int add_pair(struct acl *acl, struct rule_parts *parts, struct acl_rule *rule,
                    const struct prefix *from, const struct prefix *to, struct kv_error *err)
{
    struct flow_key *key = &parts->match.key, *mask = &parts->match.mask;
    uint16_t types[2];
    unsigned count = types_of(parts, from, to, types);
    int rc = 0;
    memcpy(key->from, from->address, sizeof(key->from));
    memcpy(mask->from, from->mask, sizeof(mask->from));
    memcpy(key->to, to->address, sizeof(key->to));
    memcpy(mask->to, to->mask, sizeof(mask->to));
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        key->type = types[i];
        mask->type = types[i] ? UINT16_MAX : 0;
        rc = add_with_ports(acl, parts, rule, err);
    }
    return rc;
}

static int parse_parts(struct rule_parts *parts, const json_t *sets, struct kv_error *err)
{
    const struct rule_options *o = parts->options;
    struct flow_key *key = &parts->match.key, *mask = &parts->match.mask;
    int type = 0, rc = 0;
    if (o->type)
        rc = flow_type_parse(o->type, &type, err);
    parts->type = (uint16_t)type;
    if (rc == 0)
        rc = parse_protocol(parts, err);
    if (rc == 0)
        rc = check_transport(parts, err);
    if (rc == 0)
        rc = parse_mac_into("from-mac", o->from_mac, key->from_mac, mask->from_mac, err);
    if (rc == 0)
        rc = parse_mac_into("to-mac", o->to_mac, key->to_mac, mask->to_mac, err);
    if (rc == 0)
        rc = parse_addresses(&parts->from, o->from, sets, err);
    if (rc == 0)
        rc = parse_addresses(&parts->to, o->to, sets, err);
    if (rc == 0)
        rc = parse_ports(&parts->from_ports, o->from_ports, err);
    if (rc == 0)
        rc = parse_ports(&parts->to_ports, o->to_ports, err);
    return rc;
}

static int add_parts(struct acl *acl, struct rule_parts *parts, struct acl_rule *rule,
                     struct kv_error *err)
{
    int rc = 0;
    set_values(parts);
    for (unsigned i = 0; rc == 0 && i < parts->from.count; i++) {
        for (unsigned k = 0; rc == 0 && k < parts->to.count; k++)
            rc = add_pair(acl, parts, rule, &parts->from.list[i], &parts->to.list[k], err);
    }
    if (rc == 0 && parts->added == 0)
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                          "'type', 'protocol', 'from' and 'to' are of different families, so no "
                          "frame can match");
    return rc;
}

static int add_rule(struct acl *acl, const json_t *object, const json_t *sets, uint32_t index,
                    struct kv_error *err)
{
    struct rule_options options = {.direction = DIRECTION_BOTH,
                                   .vlan = NOT_SAID,
                                   .icmp_type = NOT_SAID,
                                   .icmp_code = NOT_SAID,
                                   .dscp = NOT_SAID};
    struct rule_parts *parts = calloc(1, sizeof(*parts));
    struct acl_rule *rule = &acl->rules[index];
    int rc = parts ? options_parse_json(rule_option_specs, "rule", object, &options, err)
                   : kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "rule");
    *rule = (struct acl_rule){
        .allow = options.action == ACTION_ALLOW, .log = options.log, .index = index};
    if (rc == 0) {
        parts->options = &options;
        rc = parse_parts(parts, sets, err);
    }
    if (rc == 0)
        rc = add_parts(acl, parts, rule, err);
    if (parts) {
        free(parts->from.list);
        free(parts->to.list);
        free(parts);
    }
    options_free(rule_option_specs, &options);
    return rc;
}

/* --- The whole ---------------------------------------------------------------- */

static int add_rules(struct acl *acl, const json_t *rules, const json_t *sets, struct kv_error *err)
{
    if ((rules && !json_is_array(rules)) || json_array_size(rules) > ACL_RULES_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'rules' is a list of at most %d",
                            ACL_RULES_MAX);
    if (sets && !json_is_object(sets))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'sets' is an object of lists of addresses by name");
    acl->rule_count = (unsigned)json_array_size(rules);
    acl->rules = calloc(MAX(acl->rule_count, 1), sizeof(*acl->rules));
    if (!acl->rules)
        return kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "%u rules", acl->rule_count);
    for (uint32_t i = 0; i < acl->rule_count; i++) {
        if (add_rule(acl, json_array_get(rules, i), sets, i, err) < 0)
            return kv_error_prefix(err, "rule %u", i);
    }
    return 0;
}

/* The control thread's. */
static uint32_t last_serial;

static int set_options(struct acl *acl, const struct acl_options *options, struct kv_error *err)
{
    if (!*options->name || strlen(options->name) >= sizeof(acl->name))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "acl '%.100s': a name has 1 to %d characters", options->name,
                            ACL_NAME_MAX - 1);
    snprintf(acl->name, sizeof(acl->name), "%s", options->name);
    acl->stateful = options->stateful;
    acl->serial = ++last_serial;
    for (unsigned d = 0; d < FILTER_DIRECTIONS; d++) {
        acl->answers[d].allow = true;
        acl->otherwise[d].allow = options->otherwise == ACTION_ALLOW;
        acl->tables[d] = classifier_new(err);
        if (!acl->tables[d])
            return -err->code;
    }
    return 0;
}

static int fill(struct acl *acl, const json_t *object, struct kv_error *err)
{
    struct acl_options options = {0};
    json_t *rest = json_copy((json_t *)object);
    json_object_del(rest, "rules");
    json_object_del(rest, "sets");
    int rc = options_parse_json(acl_option_specs, "acl", rest, &options, err);
    if (rc == 0)
        rc = set_options(acl, &options, err);
    if (rc == 0 &&
        add_rules(acl, json_object_get(object, "rules"), json_object_get(object, "sets"), err) < 0)
        rc = kv_error_prefix(err, "acl '%s'", acl->name);
    if (rc == 0) {
        acl->text = json_dumps(object, JSON_COMPACT);
        rc = acl->text ? 0 : kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "acl '%s'", acl->name);
    }
    options_free(acl_option_specs, &options);
    json_decref(rest);
    return rc;
}

struct acl *acl_new(const json_t *object, struct kv_error *err)
{
    struct acl *acl = calloc(1, sizeof(*acl));
    if (!acl) {
        kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "acl");
        return NULL;
    }
    if (fill(acl, object, err) < 0) {
        acl_free(acl);
        return NULL;
    }
    return acl;
}

void acl_free(struct acl *acl)
{
    if (!acl)
        return;
    for (unsigned d = 0; d < FILTER_DIRECTIONS; d++)
        classifier_free(acl->tables[d]);
    free(acl->rules);
    free(acl->text);
    free(acl);
}

/* --- Describing --------------------------------------------------------------- */

static void put_counters(json_t *object, const struct acl_rule *rule)
{
    json_object_set_new(object, "frames", json_integer((json_int_t)rule->frames));
    json_object_set_new(object, "bytes", json_integer((json_int_t)rule->bytes));
}

static json_t *describe_both(const struct acl_rule rules[FILTER_DIRECTIONS])
{
    json_t *both = json_object();
    for (unsigned d = 0; d < FILTER_DIRECTIONS; d++) {
        json_t *one = json_object();
        put_counters(one, &rules[d]);
        json_object_set_new(both, direction_names[d], one);
    }
    return both;
}

json_t *acl_describe(const struct acl *acl, const struct acl *counted)
{
    json_t *object = json_loads(acl->text, 0, NULL);
    json_t *rules = json_object_get(object, "rules");
    for (unsigned i = 0; i < acl->rule_count; i++)
        put_counters(json_array_get(rules, i), &counted->rules[i]);
    json_object_set_new(object, "unmatched", describe_both(counted->otherwise));
    if (acl->stateful)
        json_object_set_new(object, "answers", describe_both(counted->answers));
    return object;
}
