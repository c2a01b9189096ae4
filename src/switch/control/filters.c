/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACLs by name, and the filters of ports; see vswitch.h. A new ACL or filter is made as a whole
 * here and takes the place of the old one between two bursts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/util.h"
#include "switch/control/vswitch.h"
#include "switch/filter/filter.h"
#include "switch/forward/bridge.h"

#define CONNECTIONS 8192 /* of a port, unless it is said */

/* --- ACLs --------------------------------------------------------------------- */

/* An ACL of a name. Finding rules fills a cache, and rules count: each forwarding thread has its
 * own copy, by struct forward's index. */
struct acl_set {
    struct list node;
    unsigned count;
    struct acl *of[];
};

static const char *name_of(const struct acl_set *set)
{
    return set->of[0]->name;
}

static struct acl_set *find_acl(struct vswitch *sw, const char *name)
{
    list_for_each (node, &sw->acls) {
        struct acl_set *set = list_entry(node, struct acl_set, node);
        if (strcmp(name_of(set), name) == 0)
            return set;
    }
    return NULL;
}

static void free_set(struct acl_set *set)
{
    for (unsigned i = 0; set && i < set->count; i++)
        acl_free(set->of[i]);
    free(set);
}

static struct acl_set *make_set(const struct vswitch *sw, const json_t *object,
                                struct kv_error *err)
{
    struct acl_set *set = calloc(1, sizeof(*set) + sw->forward_count * sizeof(*set->of));
    if (!set) {
        kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "acl");
        return NULL;
    }
    for (; set->count < sw->forward_count; set->count++) {
        set->of[set->count] = acl_new(object, err);
        if (!set->of[set->count]) {
            free_set(set);
            return NULL;
        }
    }
    return set;
}

struct acl_task {
    struct bridge *bridge;
    struct acl *old, *new;
};

/* Of the bridge's ports, which come and go on the control thread only: it waits. */
static void swap_acl_here(void *opaque)
{
    const struct acl_task *task = opaque;
    list_for_each (node, &task->bridge->ports) {
        const struct port *port = list_entry(node, struct port, node);
        if (port->filter && port->filter->acl == task->old)
            port->filter->acl = task->new;
    }
}

/* A frame crosses one bridge, whose ports change together. */
static void swap_sets(struct vswitch *sw, const struct acl_set *old, const struct acl_set *new)
{
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        unsigned i = bridge->forward->index;
        struct acl_task task = {.bridge = bridge, .old = old->of[i], .new = new->of[i]};
        forward_run(bridge->forward, swap_acl_here, &task);
    }
}

int vswitch_set_acl(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct acl_set *new = make_set(sw, object, err);
    if (!new)
        return -err->code;
    struct acl_set *old = find_acl(sw, name_of(new));
    if (old) {
        swap_sets(sw, old, new);
        list_del(&old->node);
        free_set(old);
    }
    list_add_tail(&sw->acls, &new->node);
    return vswitch_tell(sw, VSWITCH_SET_ACL, object, 0);
}

/* A port that uses it, or NULL. */
static const struct port *user_of(struct vswitch *sw, const struct acl_set *set)
{
    list_for_each (node, &sw->bridges) {
        const struct bridge *bridge = list_entry(node, struct bridge, node);
        list_for_each (inner, &bridge->ports) {
            const struct port *port = list_entry(inner, struct port, node);
            if (port->filter && port->filter->acl == set->of[bridge->forward->index])
                return port;
        }
    }
    return NULL;
}

int vswitch_remove_acl(struct vswitch *sw, const char *name, struct kv_error *err)
{
    struct acl_set *set = find_acl(sw, name);
    if (!set)
        return vswitch_not_there("acl", name, err);
    const struct port *user = user_of(sw, set);
    if (user)
        return kv_error_set(err, KV_ERR_CONFIG, EBUSY, "acl '%s' is used by port '%s'", name,
                            user->name);
    list_del(&set->node);
    vswitch_tell_gone(sw, VSWITCH_REMOVE_ACL, name_of(set));
    free_set(set);
    return 0;
}

void vswitch_free_acls(struct vswitch *sw)
{
    list_for_each_safe (node, &sw->acls)
        free_set(list_entry(node, struct acl_set, node));
}

/* Sums of what the threads' copies counted. */
struct acl_view {
    const struct acl *acl;
    struct acl counted;
};

static void add_counters(struct acl_rule *to, const struct acl_rule *from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        to[i].frames += from[i].frames;
        to[i].bytes += from[i].bytes;
    }
}

static void count_here(void *opaque)
{
    struct acl_view *view = opaque;
    add_counters(view->counted.rules, view->acl->rules, view->acl->rule_count);
    add_counters(view->counted.otherwise, view->acl->otherwise, FILTER_DIRECTIONS);
    add_counters(view->counted.answers, view->acl->answers, FILTER_DIRECTIONS);
}

static json_t *describe_acl(struct vswitch *sw, const struct acl_set *set)
{
    const struct acl *acl = set->of[0];
    struct acl_view view = {0};
    view.counted.rules = calloc(MAX(acl->rule_count, 1), sizeof(*acl->rules));
    if (!view.counted.rules)
        return json_null();
    for (unsigned i = 0; i < set->count; i++) {
        view.acl = set->of[i];
        forward_run(&sw->forwards[i], count_here, &view);
    }
    json_t *object = acl_describe(acl, &view.counted);
    free(view.counted.rules);
    return object;
}

json_t *vswitch_acls(struct vswitch *sw, const char *name, struct kv_error *err)
{
    json_t *list = json_array();
    list_for_each (node, &sw->acls) {
        const struct acl_set *set = list_entry(node, struct acl_set, node);
        if (!name || strcmp(name_of(set), name) == 0)
            json_array_append_new(list, describe_acl(sw, set));
    }
    if (name && json_array_size(list) == 0) {
        vswitch_not_there("acl", name, err);
        json_decref(list);
        return NULL;
    }
    return list;
}

/* --- Filters ------------------------------------------------------------------- */

struct filter_options {
    char *port, *acl, *macs, *addresses;
    bool dhcp_guard, router_guard;
    uint64_t connections;
};

static const struct option_spec filter_option_specs[] = {
    OPTION(STRING, struct filter_options, port, .required = true, .help = "whose frames"),
    OPTION(STRING, struct filter_options, acl, .help = "the ACL that they are checked by"),
    OPTION(STRING, struct filter_options, macs, .help = "which its stations have"),
    OPTION(STRING, struct filter_options, addresses, .help = "which its stations have"),
    OPTION_NAMED("dhcp-guard", BOOL, struct filter_options, dhcp_guard,
                 .help = "none of them is a DHCP server"),
    OPTION_NAMED("router-guard", BOOL, struct filter_options, router_guard,
                 .help = "none of them is an IPv6 router"),
    OPTION(UINT, struct filter_options, connections, .min = 1, .max = CONNTRACK_ENTRIES,
           .help = "that it may have, by a stateful ACL"),
    OPTION_END,
};

static void filter_free(struct filter *filter)
{
    if (!filter)
        return;
    free(filter->security);
    json_decref(filter->said);
    free(filter);
}

void vswitch_free_filter(struct port *port)
{
    filter_free(port->filter);
    port->filter = NULL;
}

struct filter_task {
    struct port *port;
    struct filter *filter;
};

static void swap_filter_here(void *opaque)
{
    struct filter_task *task = opaque;
    struct filter *old = task->port->filter;
    task->port->filter = task->filter;
    task->filter = old;
}

static bool wants_security(const struct filter_options *options)
{
    return options->macs || options->addresses || options->dhcp_guard || options->router_guard;
}

static int fill(struct vswitch *sw, const struct port *port, struct filter *filter,
                const struct filter_options *options, struct kv_error *err)
{
    filter->connections = options->connections ? (unsigned)options->connections : CONNECTIONS;
    if (options->acl) {
        const struct acl_set *set = find_acl(sw, options->acl);
        if (!set)
            return vswitch_not_there("acl", options->acl, err);
        filter->acl = set->of[port->forward->index];
    }
    if (!wants_security(options))
        return 0;
    filter->security = calloc(1, sizeof(*filter->security));
    if (!filter->security)
        return kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "filter");
    filter->security->dhcp_guard = options->dhcp_guard;
    filter->security->router_guard = options->router_guard;
    return port_security_parse(filter->security, options->macs, options->addresses, err);
}

static int set_filter(struct vswitch *sw, const struct filter_options *options,
                      const json_t *object, struct kv_error *err)
{
    struct filter_task task = {.port = vswitch_find_port(sw, options->port)};
    int rc = 0;
    if (!task.port)
        return vswitch_not_there("port", options->port, err);
    if (options->connections && !options->acl)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "port '%s': 'connections' are those of an 'acl', and there is none",
                            options->port);
    if (options->acl || wants_security(options)) {
        task.filter = calloc(1, sizeof(*task.filter));
        if (!task.filter)
            return kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "filter");
        task.filter->said = json_copy((json_t *)object);
        json_object_del(task.filter->said, "port");
        rc = fill(sw, task.port, task.filter, options, err);
    }
    if (rc == 0)
        rc = bridge_prepare_filters(task.port->bridge, err);
    if (rc == 0)
        forward_run(task.port->forward, swap_filter_here, &task);
    filter_free(task.filter);
    return rc < 0 ? kv_error_prefix(err, "port '%s'", options->port) : 0;
}

int vswitch_set_filter(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct filter_options options = {0};
    int rc = options_parse_json(filter_option_specs, "filter", object, &options, err);
    if (rc == 0)
        rc = set_filter(sw, &options, object, err);
    options_free(filter_option_specs, &options);
    return vswitch_tell(sw, VSWITCH_SET_FILTER, object, rc);
}

json_t *vswitch_describe_filter(const struct port *port)
{
    return port->filter ? json_incref(port->filter->said) : NULL;
}
