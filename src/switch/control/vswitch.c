/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bridges and ports come, change and go; see vswitch.h. */
#include "switch/control/vswitch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/options.h"
#include "switch/control/bonds.h"
#include "switch/control/config.h"
#include "switch/control/limits.h"
#include "switch/control/port_kinds.h"
#include "switch/control/protocols.h"
#include "switch/control/snooping.h"
#include "switch/control/spanning.h"
#include "switch/forward/bridge.h"
#include "switch/monitor/capture.h"
#include "switch/openflow/openflow.h"
#include "switch/protocols/rstp.h"

#define MAC_ENTRIES 8192

#define CORE_NOT_SAID UINT64_MAX

struct bridge_options {
    char *name;
    uint64_t ageing, mac_entries, core;
    struct snooping_options snooping;
    struct spanning_options rstp;
};
#define BRIDGE_OPTIONS_INIT                                                 \
    {                                                                       \
        .ageing = 300, .mac_entries = MAC_ENTRIES, .core = CORE_NOT_SAID,   \
        .snooping = {.ageing = SNOOPING_AGEING, .groups = SNOOPING_GROUPS}, \
        .rstp = {.priority = RSTP_PRIORITY,                                 \
                 .max_age = RSTP_MAX_AGE,                                   \
                 .forward_delay = RSTP_FORWARD_DELAY},                      \
    }

static const struct option_spec bridge_option_specs[] = {
    OPTION(STRING, struct bridge_options, name, .required = true, .help = "the bridge's name"),
    OPTION(UINT, struct bridge_options, ageing, .min = 1, .max = 1000000,
           .help = "seconds that a silent station is remembered"),
    OPTION_NAMED("mac-entries", UINT, struct bridge_options, mac_entries, .min = 64, .max = 1 << 20,
                 .help = "addresses that the bridge learns at most, about"),
    OPTION_NAMED("snooping", BOOL, struct bridge_options, snooping.on,
                 .help = "multicast groups go to the ports that want them (IGMP, MLD)"),
    OPTION_NAMED("snooping-ageing", UINT, struct bridge_options, snooping.ageing, .min = 1,
                 .max = 3600, .help = "seconds that a wish, or a router, is remembered"),
    OPTION_NAMED("snooping-groups", UINT, struct bridge_options, snooping.groups, .min = 1,
                 .max = 65536, .help = "wishes that are remembered"),
    OPTION_NAMED("drop-unregistered", BOOL, struct bridge_options, snooping.drop_unregistered,
                 .help = "groups that nobody wants go to routers only"),
    OPTION_NAMED("rstp", BOOL, struct bridge_options, rstp.on,
                 .help = "a spanning tree keeps frames from going round"),
    OPTION_NAMED("rstp-priority", UINT, struct bridge_options, rstp.priority, .max = 61440,
                 .help = "the lowest bridge is the root"),
    OPTION_NAMED("rstp-address", MAC, struct bridge_options, rstp.address,
                 .help = "the bridge's address to RSTP"),
    OPTION_NAMED("rstp-max-age", UINT, struct bridge_options, rstp.max_age, .min = 6, .max = 40,
                 .help = "how far from the root a bridge may be"),
    OPTION_NAMED("rstp-forward-delay", UINT, struct bridge_options, rstp.forward_delay, .min = 4,
                 .max = 30, .help = "seconds to wait for neighbours that do not answer"),
    OPTION(UINT, struct bridge_options, core, .max = FORWARD_CORE_MAX,
           .help = "the one of --core whose thread forwards its frames"),
    OPTION_END,
};

int vswitch_init(struct vswitch *sw, const int *cores, unsigned core_count, struct kv_error *err)
{
    static const int anywhere = FORWARD_CORE_ANY;
    unsigned count = core_count ? core_count : 1;
    memset(sw, 0, sizeof(*sw));
    list_init(&sw->bridges);
    list_init(&sw->acls);
    sw->config = json_object();
    int rc = loop_init(&sw->loop, err);
    if (rc < 0)
        return rc;
    sw->forwards = calloc(count, sizeof(*sw->forwards));
    if (!sw->forwards)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "forwarding threads");
    while (rc == 0 && sw->forward_count < count) {
        unsigned i = sw->forward_count++;
        rc = forward_init(&sw->forwards[i], core_count ? cores[i] : anywhere, err);
        sw->forwards[i].index = i;
    }
    return rc;
}

int vswitch_start(struct vswitch *sw, struct kv_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < sw->forward_count; i++)
        rc = forward_start(&sw->forwards[i], err);
    return rc;
}

void vswitch_stop(struct vswitch *sw)
{
    for (unsigned i = 0; i < sw->forward_count; i++)
        forward_stop(&sw->forwards[i]);
}

static void remove_port(struct vswitch *sw, struct port *port);

static void remove_bridge(struct bridge *bridge)
{
    vswitch_end_export(bridge);
    snooping_stop(bridge);
    spanning_stop(bridge);
    protocols_stop(bridge);
    openflow_stop(bridge->openflow);
    list_del(&bridge->node);
    bridge->forward->bridges--;
    bridge_free(bridge);
}

void vswitch_destroy(struct vswitch *sw)
{
    list_for_each_safe (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        list_for_each_safe (inner, &bridge->ports)
            remove_port(sw, list_entry(inner, struct port, node));
        remove_bridge(bridge);
    }
    vswitch_free_acls(sw);
    json_decref(sw->config);
    for (unsigned i = 0; i < sw->forward_count; i++)
        forward_destroy(&sw->forwards[i]);
    free(sw->forwards);
    loop_destroy(&sw->loop);
}

/* --- Names ----------------------------------------------------------------- */

struct bridge *vswitch_find_bridge(struct vswitch *sw, const char *name)
{
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        if (strcmp(bridge->name, name) == 0)
            return bridge;
    }
    return NULL;
}

struct bridge *vswitch_get_bridge(struct vswitch *sw, const char *name, struct kv_error *err)
{
    struct bridge *bridge = vswitch_find_bridge(sw, name);
    if (!bridge)
        vswitch_not_there("bridge", name, err);
    return bridge;
}

struct port *vswitch_find_port(struct vswitch *sw, const char *name)
{
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        list_for_each (inner, &bridge->ports) {
            struct port *port = list_entry(inner, struct port, node);
            if (strcmp(port->name, name) == 0)
                return port;
        }
    }
    return NULL;
}

static int check_name(const char *what, const char *name, bool taken, struct kv_error *err)
{
    if (!*name || strlen(name) >= PORT_NAME_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "%s '%.100s': a name has 1 to %d characters", what, name,
                            PORT_NAME_MAX - 1);
    return taken ? kv_error_set(err, KV_ERR_CONFIG, EEXIST, "%s '%s' exists already", what, name)
                 : 0;
}

int vswitch_tell(struct vswitch *sw, enum vswitch_change change, const json_t *object, int rc)
{
    if (rc == 0)
        config_note(sw->config, change, object);
    if (rc == 0 && sw->config_file && config_save(sw->config, sw->config_file, &sw->unsaved) < 0)
        log_error("what was changed is not kept: %s", sw->unsaved.message);
    if (rc == 0 && sw->changed)
        sw->changed(sw->changed_opaque, change, object);
    return rc;
}

bool vswitch_was_saved(struct vswitch *sw, struct kv_error *err)
{
    if (!sw->unsaved.code)
        return true;
    *err = sw->unsaved;
    sw->unsaved = (struct kv_error){0};
    kv_error_prefix(err, "it is done, but not kept");
    return false;
}

int vswitch_tell_gone(struct vswitch *sw, enum vswitch_change change, const char *name)
{
    json_t *object = json_pack("{s:s}", "name", name);
    vswitch_tell(sw, change, object, 0);
    json_decref(object);
    return 0;
}

int vswitch_not_there(const char *what, const char *name, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_CONFIG, ENOENT, "there is no %s '%.100s'", what, name);
}

/* --- Bridges --------------------------------------------------------------- */

/* The thread of the core that is asked for, else the one with the fewest bridges. NULL with err. */
static struct forward *choose_forward(struct vswitch *sw, const struct bridge_options *options,
                                      struct kv_error *err)
{
    struct forward *best = NULL;
    for (unsigned i = 0; i < sw->forward_count; i++) {
        struct forward *forward = &sw->forwards[i];
        bool possible = options->core == CORE_NOT_SAID || (int)options->core == forward->core;
        if (possible && (!best || forward->bridges < best->bridges))
            best = forward;
    }
    if (!best)
        kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                     "bridge '%s': 'core' %u is none of those that --core names", options->name,
                     (unsigned)options->core);
    return best;
}

/* Without it the bridge is removed. */
static int start_openflow(struct vswitch *sw, struct bridge *bridge, struct kv_error *err)
{
    if (!sw->openflow_directory)
        return 0;
    bridge->openflow = openflow_start(bridge, &sw->loop, sw->openflow_directory, err);
    if (bridge->openflow)
        return 0;
    remove_bridge(bridge);
    return -err->code;
}

int vswitch_add_bridge(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct bridge_options options = BRIDGE_OPTIONS_INIT;
    struct forward *forward = NULL;
    struct bridge *bridge = NULL;
    int rc = options_parse_json(bridge_option_specs, "bridge", object, &options, err);
    if (rc == 0)
        rc = check_name("bridge", options.name, vswitch_find_bridge(sw, options.name), err);
    if (rc == 0) {
        forward = choose_forward(sw, &options, err);
        rc = forward ? 0 : -err->code;
    }
    if (rc == 0) {
        bridge = bridge_new(forward, options.name, (unsigned)options.mac_entries,
                            (uint32_t)options.ageing, err);
        rc = bridge ? 0 : -err->code;
    }
    if (rc == 0) {
        bridge->number = ++sw->last_number;
        forward->bridges++;
        list_add_tail(&sw->bridges, &bridge->node);
        rc = start_openflow(sw, bridge, err);
    }
    if (rc == 0) {
        rc = snooping_set(bridge, &sw->loop, &options.snooping, err);
        if (rc == 0)
            rc = spanning_set(bridge, &sw->loop, &options.rstp, err);
        if (rc < 0)
            remove_bridge(bridge);
    }
    options_free(bridge_option_specs, &options);
    return vswitch_tell(sw, VSWITCH_ADD_BRIDGE, object, rc);
}

struct bridge_task {
    struct bridge *bridge;
    struct mac_table macs;
    bool full; /* of added addresses */
};

static void swap_macs_here(void *opaque)
{
    struct bridge_task *task = opaque;
    task->full = !mac_table_copy_fixed(&task->macs, &task->bridge->macs);
    if (task->full)
        return;
    struct mac_table old = task->bridge->macs;
    /* It goes on counting. */
    task->macs.changes += old.changes + 1;
    task->bridge->macs = task->macs;
    task->macs = old;
}

static void set_ageing_here(void *opaque)
{
    struct bridge_task *task = opaque;
    task->bridge->macs.ageing_s = task->macs.ageing_s;
}

static int set_bridge(struct vswitch *sw, const struct bridge_options *options,
                      struct kv_error *err)
{
    struct bridge_task task = {.bridge = vswitch_find_bridge(sw, options->name)};
    if (!task.bridge)
        return vswitch_not_there("bridge", options->name, err);
    int rc =
        mac_table_init(&task.macs, (unsigned)options->mac_entries, (uint32_t)options->ageing, err);
    if (rc < 0)
        return rc;
    bool resized = task.macs.mask != task.bridge->macs.mask;
    forward_run(task.bridge->forward, resized ? swap_macs_here : set_ageing_here, &task);
    mac_table_free(&task.macs);
    if (task.full)
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC,
                            "bridge '%s': the addresses that were added need more 'mac-entries'",
                            options->name);
    rc = snooping_set(task.bridge, &sw->loop, &options->snooping, err);
    return rc < 0 ? rc : spanning_set(task.bridge, &sw->loop, &options->rstp, err);
}

int vswitch_set_bridge(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct bridge_options options = BRIDGE_OPTIONS_INIT;
    int rc = options_parse_json(bridge_option_specs, "bridge", object, &options, err);
    if (rc == 0 && options.core != CORE_NOT_SAID)
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                          "bridge '%s': 'core' stays as it is; ageing and mac-entries can be set",
                          options.name);
    if (rc == 0)
        rc = set_bridge(sw, &options, err);
    options_free(bridge_option_specs, &options);
    return vswitch_tell(sw, VSWITCH_SET_BRIDGE, object, rc);
}

int vswitch_remove_bridge(struct vswitch *sw, const char *name, struct kv_error *err)
{
    struct bridge *bridge = vswitch_find_bridge(sw, name);
    if (!bridge)
        return vswitch_not_there("bridge", name, err);
    if (!list_empty(&bridge->ports))
        return kv_error_set(err, KV_ERR_CONFIG, EBUSY, "bridge '%s' has ports", name);
    remove_bridge(bridge);
    return vswitch_tell_gone(sw, VSWITCH_REMOVE_BRIDGE, name);
}

/* --- Ports ----------------------------------------------------------------- */

struct port_task {
    struct bridge *bridge;
    struct port *port;
    struct port_vlans vlans;
    unsigned mac_limit;
    uint16_t ofport, community;
    bool no_flood;
    struct limits limits;
    int rc;
};

static void attach_here(void *opaque)
{
    struct port_task *task = opaque;
    task->rc = bridge_attach(task->bridge, task->port);
    if (task->rc == 0)
        forward_add_port(task->bridge->forward, task->port);
}

static void detach_here(void *opaque)
{
    struct port *port = opaque;
    forward_remove_port(port->forward, port);
    bridge_detach(port->bridge, port);
}

static int attach(struct vswitch *sw, struct bridge *bridge, struct port *port,
                  struct kv_error *err)
{
    struct port_task task = {.bridge = bridge, .port = port};
    if (sw->port_count >= VSWITCH_PORTS_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC, "%d ports are possible", VSWITCH_PORTS_MAX);
    forward_run(bridge->forward, attach_here, &task);
    if (task.rc < 0)
        return kv_error_set(err, KV_ERR_CONFIG, -task.rc, "bridge '%s': %d ports are possible",
                            bridge->name, BRIDGE_PORTS_MAX);
    list_add_tail(&bridge->ports, &port->node);
    sw->port_count++;
    openflow_tell_port(bridge->openflow, port, OPENFLOW_PORT_ADDED);
    return 0;
}

static void detach(struct vswitch *sw, struct port *port)
{
    capture_forget_port(port);
    openflow_tell_port(port->bridge->openflow, port, OPENFLOW_PORT_GOES);
    forward_run(port->forward, detach_here, port);
    list_del(&port->node);
    sw->port_count--;
}

static void free_port(struct port *port)
{
    limits_free(port);
    free(port->vlans.customers);
    free(port->screen);
    free(port->mirror_vlans);
    vswitch_free_filter(port);
    port_kind_of(port)->free(port);
}

static void remove_port(struct vswitch *sw, struct port *port)
{
    const struct port_kind *kind = port_kind_of(port);
    bonds_leave(port);
    snooping_forget_port(port->bridge, port);
    spanning_forget_port(port);
    kind->stop(port);
    detach(sw, port);
    free_port(port);
}

/* A port of the database that is a bond has its interfaces in its row, which a bond that is made
 * before its members has not. */
static int check_bond(const struct vswitch *sw, const struct port_options *options,
                      struct kv_error *err)
{
    bool is_bond = port_kinds[options->type].has & PORT_HAS_MEMBERS;
    if ((!is_bond && !options->bond) || !sw->changed || sw->rows_decide)
        return 0;
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                        "port '%s': with --ovsdb bonds are made by ovs-vsctl add-bond",
                        options->name);
}

static int check_port(struct vswitch *sw, const struct port_options *options, const json_t *object,
                      struct port_vlans *vlans, struct kv_error *err)
{
    if (!vswitch_find_bridge(sw, options->bridge))
        return vswitch_not_there("bridge", options->bridge, err);
    int rc = check_name("port", options->name, vswitch_find_port(sw, options->name), err);
    if (rc < 0)
        return rc;
    rc = port_options_check(options, object, err);
    if (rc == 0)
        rc = check_bond(sw, options, err);
    if (rc < 0)
        return rc;
    return port_options_vlans(options, vlans, err);
}

static bool has_carrier(const struct port_options *options)
{
    return port_kinds[options->type].carrier;
}

static uint16_t community_of(const struct port_options *options)
{
    return options->isolated ? PORT_ISOLATED : (uint16_t)options->community;
}

static void set_groups(struct port *port, const struct port_options *options)
{
    port->fast_leave = options->fast_leave;
    port->all_groups = options->all_groups;
    port->all_reports = options->all_reports;
    snooping_port_changed(port->bridge);
}

static int add_port(struct vswitch *sw, const struct port_options *options, const json_t *object,
                    struct kv_error *err)
{
    const struct port_kind *kind = &port_kinds[options->type];
    struct port_vlans vlans;
    struct limits limits;
    int rc = check_port(sw, options, object, &vlans, err);
    if (rc < 0)
        return rc;
    struct port *port = kind->create(options, &sw->loop, err);
    if (!port) {
        free(vlans.customers);
        return kv_error_prefix(err, "port '%s'", options->name);
    }
    snprintf(port->name, sizeof(port->name), "%s", options->name);
    port->kind = (unsigned)options->type;
    port->number = ++sw->last_number;
    port->vlans = vlans;
    port->mac_limit = (unsigned)options->mac_limit;
    port->of_number = (uint16_t)options->ofport;
    port->community = community_of(options);
    port->config = options->no_flood ? PORT_QUIET : 0;
    if (has_carrier(options))
        snprintf(port->interface, sizeof(port->interface), "%s",
                 options->interface ? options->interface : options->name);
    rc = limits_make(&limits, options, port, err);
    if (rc == 0) {
        limits_swap(&limits, port);
        rc = bonds_prepare_member(port, options, err);
        if (rc == 0)
            rc =
                spanning_prepare_port(vswitch_find_bridge(sw, options->bridge), port, options, err);
    }
    if (rc == 0)
        rc = attach(sw, vswitch_find_bridge(sw, options->bridge), port, err);
    if (rc < 0) {
        free_port(port);
        return rc;
    }
    const json_t *given = inherited_port(options->name);
    rc = given ? kind->take(port, given, err) : kind->start(port, err);
    if (rc == 0)
        rc = bonds_join(port, err);
    if (rc == 0)
        rc = spanning_set_port(port, options, err);
    if (rc == 0)
        set_groups(port, options);
    if (rc < 0) {
        kind->stop(port);
        detach(sw, port);
        free_port(port);
        return kv_error_prefix(err, "port '%s'", options->name);
    }
    return 0;
}

int vswitch_add_port(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct port_options options = PORT_OPTIONS_USUAL;
    int rc = options_parse_json(port_option_specs, "port", object, &options, err);
    if (rc == 0)
        rc = add_port(sw, &options, object, err);
    options_free(port_option_specs, &options);
    return vswitch_tell(sw, VSWITCH_ADD_PORT, object, rc);
}

static void set_here(void *opaque)
{
    struct port_task *task = opaque;
    struct port *port = task->port;
    struct port_vlans old = port->vlans;
    /* A member's are its bond's. */
    if (!*port->bond) {
        port->vlans = task->vlans;
        task->vlans = old;
    }
    if (port_kind_of(port)->create == bonds_create)
        bonds_pass_vlans(port);
    port->mac_limit = task->mac_limit;
    port->community = task->community;
    port->config = (uint8_t)((port->config & ~PORT_QUIET) | (task->no_flood ? PORT_QUIET : 0));
    bridge_renumber(port, task->ofport);
    limits_swap(&task->limits, port);
    mac_table_forget_port(&port->bridge->macs, port->index);
}

int vswitch_set_port(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct port_options options = PORT_OPTIONS_USUAL;
    struct port_task task = {0};
    const char *name = json_string_value(json_object_get(object, "name"));
    struct port *port = name ? vswitch_find_port(sw, name) : NULL;
    if (!port)
        return vswitch_not_there("port", name ? name : "", err);
    for (const char *const *fixed = port_fixed_options; *fixed; fixed++) {
        if (json_object_get(object, *fixed))
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "port '%s': '%s' stays as it is; VLANs, limits and rates can be "
                                "set",
                                name, *fixed);
    }
    json_t *whole = json_copy((json_t *)object);
    json_object_set_new(whole, "bridge", json_string(port->bridge->name));
    json_object_set_new(whole, "type", json_string(port_kind_names[port->kind]));
    int rc = options_parse_json(port_option_specs, "port", whole, &options, err);
    if (rc == 0 && *port->bond)
        rc = bonds_check_member(&options, err);
    if (rc == 0)
        rc = port_options_vlans(&options, &task.vlans, err);
    if (rc == 0)
        rc = limits_make(&task.limits, &options, port, err);
    if (rc == 0) {
        task.port = port;
        task.mac_limit = (unsigned)options.mac_limit;
        task.ofport = (uint16_t)options.ofport;
        task.community = community_of(&options);
        task.no_flood = options.no_flood;
        forward_run(port->forward, set_here, &task);
        set_groups(port, &options);
        rc = spanning_set_port(port, &options, err);
        limits_drop(&task.limits, port);
    }
    free(task.vlans.customers);
    options_free(port_option_specs, &options);
    json_decref(whole);
    return vswitch_tell(sw, VSWITCH_SET_PORT, object, rc);
}

int vswitch_remove_port(struct vswitch *sw, const char *name, struct kv_error *err)
{
    struct port *port = vswitch_find_port(sw, name);
    if (!port)
        return vswitch_not_there("port", name, err);
    remove_port(sw, port);
    return vswitch_tell_gone(sw, VSWITCH_REMOVE_PORT, name);
}

/* --- The configuration file ------------------------------------------------ */

/* Takes a value out of the object: a new reference, or NULL. */
static json_t *take_value(json_t *object, const char *name)
{
    json_t *list = json_incref(json_object_get(object, name));
    json_object_del(object, name);
    return list;
}

/* Further objects of a bridge. */
static const struct {
    const char *name;
    int (*set)(struct vswitch *sw, const json_t *object, struct kv_error *err);
} watchers[] = {
    {"ipfix", vswitch_set_ipfix},
    {"netflow", vswitch_set_netflow},
    {"sflow", vswitch_set_sflow},
};

/* Each item by fn. */
static int configure_list(struct vswitch *sw, const char *name, const json_t *list,
                          int (*fn)(struct vswitch *sw, const json_t *item, struct kv_error *err),
                          struct kv_error *err)
{
    int rc = 0;
    if (list && !json_is_array(list))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'%s' is not a list", name);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = fn(sw, json_array_get(list, i), err);
    return rc;
}

static int configure_bridge(struct vswitch *sw, json_t *bridge, struct kv_error *err)
{
    json_t *ports = take_value(bridge, "ports"), *mirrors = take_value(bridge, "mirrors");
    json_t *qos = take_value(bridge, "qos");
    json_t *filters = take_value(bridge, "filters"), *macs = take_value(bridge, "macs");
    const char *name = json_string_value(json_object_get(bridge, "name"));
    json_t *watching[ARRAY_SIZE(watchers)];
    for (unsigned i = 0; i < ARRAY_SIZE(watchers); i++)
        watching[i] = take_value(bridge, watchers[i].name);
    for (size_t i = 0; i < json_array_size(ports); i++) {
        json_t *port = json_array_get(ports, i);
        if (json_is_object(port))
            json_object_set_new(port, "bridge", json_string(name));
    }
    int rc = vswitch_add_bridge(sw, bridge, err);
    if (rc == 0)
        rc = configure_list(sw, "ports", ports, vswitch_add_port, err);
    if (rc == 0)
        rc = configure_list(sw, "mirrors", mirrors, vswitch_set_mirror, err);
    if (rc == 0)
        rc = configure_list(sw, "filters", filters, vswitch_set_filter, err);
    if (rc == 0)
        rc = configure_list(sw, "qos", qos, vswitch_set_qos, err);
    if (rc == 0)
        rc = configure_list(sw, "macs", macs, vswitch_add_mac, err);
    for (unsigned i = 0; i < ARRAY_SIZE(watchers); i++) {
        if (rc == 0 && watching[i]) {
            json_object_set_new(watching[i], "bridge", json_string(name));
            rc = watchers[i].set(sw, watching[i], err);
        }
        json_decref(watching[i]);
    }
    json_decref(ports);
    json_decref(mirrors);
    json_decref(qos);
    json_decref(filters);
    json_decref(macs);
    return rc;
}

int vswitch_configure_object(struct vswitch *sw, json_t *root, struct kv_error *err)
{
    json_t *bridges = json_object_get(root, "bridges"), *acls = json_object_get(root, "acls");
    if (!json_is_array(bridges) || json_object_size(root) != (acls ? 2 : 1))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "an object with the list 'bridges' and maybe 'acls', and nothing else, "
                            "is accepted");
    int rc = configure_list(sw, "acls", acls, vswitch_set_acl, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(bridges); i++)
        rc = configure_bridge(sw, json_array_get(bridges, i), err);
    return rc;
}

int vswitch_configure(struct vswitch *sw, const char *file, struct kv_error *err)
{
    json_error_t where;
    json_t *root = json_load_file(file, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'%s', line %d: %s", file, where.line,
                            where.text);
    int rc = vswitch_configure_object(sw, root, err);
    json_decref(root);
    return rc < 0 ? kv_error_prefix(err, "'%s'", file) : 0;
}

static int set_filter_if_port(struct vswitch *sw, const json_t *filter, struct kv_error *err)
{
    const char *port = json_string_value(json_object_get(filter, "port"));
    return port && vswitch_find_port(sw, port) ? vswitch_set_filter(sw, filter, err) : 0;
}

int vswitch_configure_filters(struct vswitch *sw, const json_t *root, struct kv_error *err)
{
    size_t i;
    json_t *bridge;
    int rc = configure_list(sw, "acls", json_object_get(root, "acls"), vswitch_set_acl, err);
    json_array_foreach (json_object_get(root, "bridges"), i, bridge) {
        if (rc == 0)
            rc = configure_list(sw, "filters", json_object_get(bridge, "filters"),
                                set_filter_if_port, err);
    }
    return rc;
}
