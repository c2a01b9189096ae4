/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands of the control socket; see commands.h and docs/switch.md. */
#include "switch/control/commands.h"

#include "base/cleanup.h"
#include "base/version.h"
#include "switch/control/snooping.h"

static struct vswitch *switch_of(struct qmp_call *call)
{
    return (struct vswitch *)call->machine;
}

/* A change that is carried out may still not be kept. */
static json_t *done(struct qmp_call *call, int rc)
{
    if (rc == 0 && vswitch_was_saved(switch_of(call), &call->error))
        return qmp_done();
    return NULL;
}

static json_t *qmp_capabilities(struct qmp_call *call)
{
    if (!qmp_negotiate(call->client))
        return qmp_fail(call, QMP_COMMAND_NOT_FOUND,
                        "Capabilities negotiation is already complete");
    return qmp_done();
}

static json_t *query_version(struct qmp_call *call)
{
    return json_pack("{s:s}", "version", KVASIR_VERSION);
}

static json_t *query_commands(struct qmp_call *call)
{
    json_t *list = json_array();
    for (const struct qmp_command *const *table = call->server->commands; *table; table++) {
        for (const struct qmp_command *command = *table; command->name; command++)
            json_array_append_new(list, json_pack("{s:s}", "name", command->name));
    }
    return list;
}

static json_t *quit(struct qmp_call *call)
{
    loop_stop(&switch_of(call)->loop);
    return qmp_done();
}

static json_t *add_bridge(struct qmp_call *call)
{
    return done(call, vswitch_add_bridge(switch_of(call), call->arguments, &call->error));
}

static json_t *set_bridge(struct qmp_call *call)
{
    return done(call, vswitch_set_bridge(switch_of(call), call->arguments, &call->error));
}

static json_t *remove_bridge(struct qmp_call *call)
{
    return done(call,
                vswitch_remove_bridge(switch_of(call), qmp_string(call, "name"), &call->error));
}

static json_t *add_port(struct qmp_call *call)
{
    return done(call, vswitch_add_port(switch_of(call), call->arguments, &call->error));
}

static json_t *set_port(struct qmp_call *call)
{
    return done(call, vswitch_set_port(switch_of(call), call->arguments, &call->error));
}

static json_t *remove_port(struct qmp_call *call)
{
    return done(call, vswitch_remove_port(switch_of(call), qmp_string(call, "name"), &call->error));
}

static json_t *set_mirror(struct qmp_call *call)
{
    return done(call, vswitch_set_mirror(switch_of(call), call->arguments, &call->error));
}

static json_t *set_qos(struct qmp_call *call)
{
    return done(call, vswitch_set_qos(switch_of(call), call->arguments, &call->error));
}

static json_t *capture(struct qmp_call *call)
{
    cleanup_fd int fd = qmp_take_descriptor(call->client);
    return done(call, vswitch_capture(switch_of(call), call->arguments, &fd, &call->error));
}

static json_t *set_sflow(struct qmp_call *call)
{
    return done(call, vswitch_set_sflow(switch_of(call), call->arguments, &call->error));
}

static json_t *set_netflow(struct qmp_call *call)
{
    return done(call, vswitch_set_netflow(switch_of(call), call->arguments, &call->error));
}

static json_t *set_ipfix(struct qmp_call *call)
{
    return done(call, vswitch_set_ipfix(switch_of(call), call->arguments, &call->error));
}

static json_t *set_acl(struct qmp_call *call)
{
    return done(call, vswitch_set_acl(switch_of(call), call->arguments, &call->error));
}

static json_t *remove_acl(struct qmp_call *call)
{
    return done(call, vswitch_remove_acl(switch_of(call), qmp_string(call, "name"), &call->error));
}

static json_t *query_acls(struct qmp_call *call)
{
    return vswitch_acls(switch_of(call), qmp_string(call, "name"), &call->error);
}

static json_t *set_filter(struct qmp_call *call)
{
    return done(call, vswitch_set_filter(switch_of(call), call->arguments, &call->error));
}

static json_t *trace(struct qmp_call *call)
{
    return vswitch_trace(switch_of(call), call->arguments, &call->error);
}

static json_t *query_bridges(struct qmp_call *call)
{
    return vswitch_describe(switch_of(call));
}

static json_t *query_statistics(struct qmp_call *call)
{
    return vswitch_statistics(switch_of(call));
}

static json_t *query_macs(struct qmp_call *call)
{
    return vswitch_macs(switch_of(call), qmp_string(call, "bridge"), &call->error);
}

static json_t *query_groups(struct qmp_call *call)
{
    const struct bridge *bridge =
        vswitch_get_bridge(switch_of(call), qmp_string(call, "bridge"), &call->error);
    return bridge ? snooping_list(bridge) : NULL;
}

static json_t *add_mac(struct qmp_call *call)
{
    return done(call, vswitch_add_mac(switch_of(call), call->arguments, &call->error));
}

static json_t *remove_mac(struct qmp_call *call)
{
    return done(call, vswitch_remove_mac(switch_of(call), call->arguments, &call->error));
}

static json_t *forget_macs(struct qmp_call *call)
{
    return done(call,
                vswitch_forget_macs(switch_of(call), qmp_string(call, "bridge"), &call->error));
}

static const struct qmp_argument capabilities_arguments[] = {
    {"enable", QMP_ARRAY, .optional = true},
    {NULL},
};
static const struct qmp_argument name_arguments[] = {
    {"name", QMP_STRING},
    {NULL},
};
static const struct qmp_argument maybe_name_arguments[] = {
    {"name", QMP_STRING, .optional = true},
    {NULL},
};
static const struct qmp_argument port_arguments[] = {
    {"port", QMP_STRING},
    {NULL},
};
static const struct qmp_argument bridge_arguments[] = {
    {"bridge", QMP_STRING},
    {NULL},
};

static const struct qmp_command commands[] = {
    {"qmp_capabilities", "ends the negotiation; needed before anything else", qmp_capabilities,
     capabilities_arguments},
    {"query-version", "the version of this program", query_version},
    {"query-commands", "names of all commands", query_commands},
    {"quit", "ends the switch", quit},
    {"add-bridge", "makes a bridge", add_bridge, name_arguments, .open = true},
    {"set-bridge", "gives a bridge another ageing and number of addresses", set_bridge,
     name_arguments, .open = true},
    {"remove-bridge", "removes a bridge that has no ports", remove_bridge, name_arguments},
    {"add-port", "adds a port to a bridge", add_port, name_arguments, .open = true},
    {"set-port", "gives a port other VLANs, rates, and another limit of addresses", set_port,
     name_arguments, .open = true},
    {"set-mirror", "another port gets copies of a port's frames, or no more", set_mirror,
     port_arguments, .open = true},
    {"set-qos", "a port sends from queues with rates of their own, or no more", set_qos,
     port_arguments, .open = true},
    {"set-netflow", "a collector is told of a bridge's flows by NetFlow, or no more", set_netflow,
     bridge_arguments, .open = true},
    {"set-ipfix", "a collector is told of a bridge's flows by IPFIX, or no more", set_ipfix,
     bridge_arguments, .open = true},
    {"set-sflow", "samples of a bridge's frames go to a collector, or no more", set_sflow,
     bridge_arguments, .open = true},
    {"capture", "frames of a bridge go into a pipe that comes along, as pcapng", capture,
     bridge_arguments, .open = true},
    {"set-acl", "makes an ACL, or puts it in the place of the one of its name", set_acl,
     name_arguments, .open = true},
    {"remove-acl", "removes an ACL that no port uses", remove_acl, name_arguments},
    {"query-acls", "ACLs and how many frames their rules decided", query_acls,
     maybe_name_arguments},
    {"set-filter", "checks a port's frames by an ACL and port security, or no more", set_filter,
     port_arguments, .open = true},
    {"remove-port", "removes a port", remove_port, name_arguments},
    {"trace", "which tables and rules decide on a frame that is described", trace, port_arguments,
     .open = true},
    {"query-bridges", "bridges and their ports", query_bridges},
    {"query-statistics", "counters of all ports", query_statistics},
    {"query-groups", "multicast groups that a bridge's ports want, and routers' ports",
     query_groups, bridge_arguments},
    {"add-mac", "tells a bridge at which port a station is", add_mac, port_arguments, .open = true},
    {"remove-mac", "takes back what add-mac said", remove_mac, port_arguments, .open = true},
    {"query-macs", "addresses that a bridge knows", query_macs, bridge_arguments},
    {"forget-macs", "forgets what a bridge has learned", forget_macs, bridge_arguments},
    {NULL},
};

const struct qmp_command *const switch_command_tables[] = {commands, NULL};
const struct qmp_event switch_events[] = {{NULL}};
