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

static struct acl *find_acl(struct vswitch *sw, const char *name)
{
    list_for_each (node, &sw->acls) {
        struct acl *acl = list_entry(node, struct acl, node);
        if (strcmp(acl->name, name) == 0)
            return acl;
    }
    return NULL;
}

/* Calls fn with each port, on whatever thread; ports come and go on the control thread only. */
static void each_port(struct vswitch *sw, void (*fn)(struct port *port, void *opaque), void *opaque)
{
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        list_for_each (inner, &bridge->ports)
            fn(list_entry(inner, struct port, node), opaque);
    }
}

struct acl_task {
    struct vswitch *sw;
    struct acl *old, *new;
};

static void swap_acl(struct port *port, void *opaque)
{
    const struct acl_task *task = opaque;
    if (port->filter && port->filter->acl == task->old)
        port->filter->acl = task->new;
}

static void swap_acl_here(void *opaque)
{
    struct acl_task *task = opaque;
    each_port(task->sw, swap_acl, task);
}

int vswitch_set_acl(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct acl_task task = {.sw = sw, .new = acl_new(object, err)};
    if (!task.new)
        return -err->code;
    task.old = find_acl(sw, task.new->name);
    if (task.old) {
        forward_run(&sw->forward, swap_acl_here, &task);
        list_del(&task.old->node);
        acl_free(task.old);
    }
    list_add_tail(&sw->acls, &task.new->node);
    return 0;
}

struct acl_user {
    const struct acl *acl;
    const struct port *port; /* one that uses it, or NULL */
};

static void look_for_user(struct port *port, void *opaque)
{
    struct acl_user *user = opaque;
    if (port->filter && port->filter->acl == user->acl)
        user->port = port;
}

int vswitch_remove_acl(struct vswitch *sw, const char *name, struct kv_error *err)
{
    struct acl_user user = {.acl = find_acl(sw, name)};
    if (!user.acl)
        return vswitch_not_there("acl", name, err);
    each_port(sw, look_for_user, &user);
    if (user.port)
        return kv_error_set(err, KV_ERR_CONFIG, EBUSY, "acl '%s' is used by port '%s'", name,
                            user.port->name);
    struct acl *acl = find_acl(sw, name);
    list_del(&acl->node);
    acl_free(acl);
    return 0;
}

void vswitch_free_acls(struct vswitch *sw)
{
    list_for_each_safe (node, &sw->acls)
        acl_free(list_entry(node, struct acl, node));
}

struct acl_view {
    const struct acl *acl;
    struct acl counted;
};

static void count_here(void *opaque)
{
    struct acl_view *view = opaque;
    struct acl_rule *rules = view->counted.rules;
    view->counted = *view->acl;
    view->counted.rules = rules;
    memcpy(rules, view->acl->rules, view->acl->rule_count * sizeof(*rules));
}

static json_t *describe_acl(struct vswitch *sw, const struct acl *acl)
{
    struct acl_view view = {.acl = acl};
    view.counted.rules = calloc(MAX(acl->rule_count, 1), sizeof(*acl->rules));
    if (!view.counted.rules)
        return json_null();
    forward_run(&sw->forward, count_here, &view);
    json_t *object = acl_describe(acl, &view.counted);
    free(view.counted.rules);
    return object;
}

json_t *vswitch_acls(struct vswitch *sw, const char *name, struct kv_error *err)
{
    json_t *list = json_array();
    list_for_each (node, &sw->acls) {
        const struct acl *acl = list_entry(node, struct acl, node);
        if (!name || strcmp(acl->name, name) == 0)
            json_array_append_new(list, describe_acl(sw, acl));
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

static int fill(struct vswitch *sw, struct filter *filter, const struct filter_options *options,
                struct kv_error *err)
{
    filter->connections = options->connections ? (unsigned)options->connections : CONNECTIONS;
    if (options->acl) {
        filter->acl = find_acl(sw, options->acl);
        if (!filter->acl)
            return vswitch_not_there("acl", options->acl, err);
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
        rc = fill(sw, task.filter, options, err);
    }
    if (rc == 0)
        rc = bridge_prepare_filters(task.port->bridge, err);
    if (rc == 0)
        forward_run(&sw->forward, swap_filter_here, &task);
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
    return rc;
}

json_t *vswitch_describe_filter(const struct port *port)
{
    return port->filter ? json_incref(port->filter->said) : NULL;
}
