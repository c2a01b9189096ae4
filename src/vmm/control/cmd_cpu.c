/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about threads: vCPUs, I/O threads, registers. */
#include "vmm/control/commands.h"
#include "vmm/devices/cpu_hotplug.h"
#include "vmm/jail/jail.h"
#include "vmm/machine/machine.h"

/* Which socket, die, core and thread a vCPU is; threads count first. */
static json_t *props(const struct machine *machine, unsigned index)
{
    const struct cpus_config *cpus = &machine->config.cpus;
    uint64_t threads = cpus->threads ? cpus->threads : 1, cores = cpus->cores ? cpus->cores : 1;
    uint64_t dies = cpus->dies ? cpus->dies : 1, core = index / threads, die = core / cores;
    json_t *out = json_pack("{s:I, s:I, s:I}", "core-id", (json_int_t)(core % cores), "thread-id",
                            (json_int_t)(index % threads), "socket-id", (json_int_t)(die / dies));
    if (dies > 1)
        json_object_set_new(out, "die-id", json_integer((json_int_t)(die % dies)));
    return out;
}

static json_t *qom_path(unsigned index)
{
    return json_sprintf("/machine/unattached/device[%u]", index);
}

static json_t *query_cpus_fast(struct qmp_call *call)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < call->machine->vcpu_count; i++) {
        if (!vcpu_is_present(&call->machine->vcpus[i]))
            continue;
        int tid = jail_outer_tid(thread_number(&call->machine->vcpus[i].tid));
        json_array_append_new(list,
                              json_pack("{s:i, s:o, s:o, s:i, s:s, s:o}", "thread-id", tid, "props",
                                        props(call->machine, i), "qom-path", qom_path(i),
                                        "cpu-index", (int)i, "target", "x86_64", "x-kvasir-stats",
                                        vcpu_stats(&call->machine->vcpus[i])));
    }
    return list;
}

/* An empty place has no path. */
static json_t *query_hotpluggable_cpus(struct qmp_call *call)
{
    json_t *list = json_array();
    for (unsigned i = call->machine->vcpu_count; i-- > 0;) {
        bool present = vcpu_is_present(&call->machine->vcpus[i]);
        json_array_append_new(list,
                              json_pack("{s:o, s:i, s:o*, s:s}", "props", props(call->machine, i),
                                        "vcpus-count", 1, "qom-path", present ? qom_path(i) : NULL,
                                        "type", "host-x86_64-cpu"));
    }
    return list;
}

typedef int plug_fn(struct machine *machine, unsigned index, struct kv_error *err);

static json_t *plug_or_unplug(struct qmp_call *call, plug_fn *act)
{
    int64_t id = 0;
    qmp_integer(call, "id", &id);
    if (id < 0 || id > UINT16_MAX)
        return qmp_fail(call, QMP_GENERIC_ERROR, "id %lld is no vCPU's; accepted: 0 to %u",
                        (long long)id, call->machine->vcpu_count - 1);
    return act(call->machine, (unsigned)id, &call->error) < 0 ? NULL : json_object();
}

static json_t *cpu_add(struct qmp_call *call)
{
    return plug_or_unplug(call, cpu_hotplug_plug);
}

static json_t *cpu_remove(struct qmp_call *call)
{
    return plug_or_unplug(call, cpu_hotplug_unplug);
}

static json_t *query_iothreads(struct qmp_call *call)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < call->machine->iothread_count; i++) {
        struct iothread *thread = &call->machine->iothreads[i];
        json_array_append_new(
            list, json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "id", thread->name, "thread-id",
                            jail_outer_tid(thread_number(&thread->tid)), "poll-max-ns", 0,
                            "poll-grow", 0, "poll-shrink", 0, "aio-max-batch", 0));
    }
    return list;
}

/* Registers are only still while the vCPUs are outside the guest. */
static json_t *registers(struct qmp_call *call)
{
    struct machine *machine = call->machine;
    int64_t only = -1;
    if (qmp_integer(call, "cpu-index", &only) && (only < 0 || only >= (int64_t)machine->vcpu_count))
        return qmp_fail(call, QMP_GENERIC_ERROR, "cpu-index %lld is not there; accepted: 0 to %u",
                        (long long)only, machine->vcpu_count - 1);
    bool running = machine->state == RUN_RUNNING;
    json_t *list = json_array();
    if (running)
        vcpu_pause_all(machine);
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        bool wanted = only < 0 ? vcpu_is_present(&machine->vcpus[i]) : only == i;
        json_t *described = wanted ? vcpu_describe(&machine->vcpus[i]) : NULL;
        if (!described)
            continue;
        json_object_set_new(described, "cpu-index", json_integer(i));
        json_array_append_new(list, described);
    }
    if (running)
        vcpu_resume_all(machine);
    return list;
}

static const struct qmp_argument cpu_arguments[] = {
    {"id", QMP_INTEGER},
    {NULL},
};

static const struct qmp_argument registers_arguments[] = {
    {"cpu-index", QMP_INTEGER, .optional = true},
    {NULL},
};

const struct qmp_command qmp_cpu_commands[] = {
    {"query-cpus-fast", "the vCPUs with their threads and topology", query_cpus_fast},
    {"query-hotpluggable-cpus", "the places for vCPUs; empty ones have no qom-path",
     query_hotpluggable_cpus},
    {"cpu-add", "plugs a vCPU; the guest is told by ACPI", cpu_add, cpu_arguments},
    {"x-kvasir-cpu-remove", "asks the guest to give up a vCPU; DEVICE_DELETED tells when it has",
     cpu_remove, cpu_arguments},
    {"query-iothreads", "the I/O threads", query_iothreads},
    {"x-kvasir-registers", "registers and instruction bytes of one or all vCPUs", registers,
     registers_arguments},
    {NULL},
};
