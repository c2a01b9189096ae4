/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the monitor itself: negotiation, version, lists, identity. */
#include "base/version.h"
#include "vmm/control/commands.h"
#include "vmm/control/qmp_client.h"
#include "vmm/machine/machine.h"

static json_t *qmp_capabilities(struct qmp_call *call)
{
    const json_t *enable = json_object_get(call->arguments, "enable");
    if (json_array_size(enable) > 0) {
        const char *name = json_string_value(json_array_get(enable, 0));
        return qmp_fail(call, QMP_GENERIC_ERROR, "Capability '%.100s' is not available",
                        name ? name : "?");
    }
    if (!qmp_negotiate(call->client))
        return qmp_fail(call, QMP_COMMAND_NOT_FOUND,
                        "Capabilities negotiation is already complete, command ignored");
    return qmp_done();
}

static json_t *query_version(struct qmp_call *call)
{
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", QMP_VERSION_MICRO, "minor",
                     QMP_VERSION_MINOR, "major", QMP_VERSION_MAJOR, "package",
                     "kvasir " KVASIR_VERSION);
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

static json_t *query_events(struct qmp_call *call)
{
    json_t *list = json_array();
    for (const struct qmp_event *event = call->server->events; event->name; event++)
        json_array_append_new(list, json_pack("{s:s}", "name", event->name));
    return list;
}

static json_t *describe(struct qmp_call *call)
{
    return qmp_describe();
}

static json_t *query_name(struct qmp_call *call)
{
    const char *name = call->machine->config.name;
    return name ? json_pack("{s:s}", "name", name) : json_object();
}

static json_t *query_uuid(struct qmp_call *call)
{
    const char *uuid = call->machine->config.uuid;
    return json_pack("{s:s}", "UUID", uuid ? uuid : "00000000-0000-0000-0000-000000000000");
}

static json_t *query_kvm(struct qmp_call *call)
{
    return json_pack("{s:b, s:b}", "enabled", 1, "present", 1);
}

static json_t *query_target(struct qmp_call *call)
{
    return json_pack("{s:s}", "arch", "x86_64");
}

/* One machine model under the names by which clients ask for it. */
static json_t *query_machines(struct qmp_call *call)
{
    static const char *const names[] = {"q35", "pc", "microvm"};
    json_t *list = json_array();
    for (unsigned i = 0; i < 3; i++) {
        json_t *row = json_pack("{s:s, s:i, s:b, s:b, s:b, s:s}", "name", names[i], "cpu-max", 254,
                                "hotpluggable-cpus", 0, "numa-mem-supported", 1, "deprecated", 0,
                                "default-cpu-type", "host-x86_64-cpu");
        if (i == 0)
            json_object_set_new(row, "is-default", json_true());
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *human_monitor_command(struct qmp_call *call)
{
    return qmp_fail(call, QMP_GENERIC_ERROR,
                    "there is no human monitor; query-commands lists what can be asked");
}

static const struct qmp_argument capabilities_arguments[] = {
    {"enable", QMP_ARRAY, .optional = true},
    {NULL},
};
static const struct qmp_argument human_arguments[] = {
    {"command-line", QMP_STRING},
    {"cpu-index", QMP_INTEGER, .optional = true},
    {NULL},
};

const struct qmp_command qmp_monitor_commands[] = {
    {"qmp_capabilities", "ends the negotiation; needed before anything else", qmp_capabilities,
     capabilities_arguments},
    {"query-version", "the version of QEMU that this behaves like, and our own", query_version},
    {"query-commands", "names of all commands", query_commands},
    {"query-events", "names of all events", query_events},
    {"x-kvasir-describe", "all commands with their arguments, and all events", describe},
    {"query-name", "the machine's name", query_name},
    {"query-uuid", "the machine's UUID", query_uuid},
    {"query-kvm", "whether KVM is used", query_kvm},
    {"query-target", "the guest's architecture", query_target},
    {"query-machines", "machine types that are accepted", query_machines},
    {"human-monitor-command", "always refused: there is no human monitor", human_monitor_command,
     human_arguments},
    {NULL},
};
