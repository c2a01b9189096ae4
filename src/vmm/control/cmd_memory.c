/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about guest memory, counters, and the generation ID. */
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/parse.h"
#include "vmm/control/commands.h"
#include "vmm/devices/vmgenid.h"
#include "vmm/machine/machine.h"

static json_t *query_memory_size_summary(struct qmp_call *call)
{
    return json_pack("{s:I, s:i}", "base-memory", (json_int_t)call->machine->memory.size,
                     "plugged-memory", 0);
}

static json_t *query_memdev(struct qmp_call *call)
{
    const struct memory_config *memory = &call->machine->config.memory;
    json_t *nodes = json_array();
    uint64_t set[16];
    if (memory->host_nodes && parse_bitmap(memory->host_nodes, set, 16) == 0) {
        for (unsigned i = 0; i < 64 * 16; i++) {
            if (set[i / 64] >> i % 64 & 1)
                json_array_append_new(nodes, json_integer(i));
        }
    }
    return json_pack("[{s:s, s:I, s:b, s:b, s:b, s:b, s:o, s:s}]", "id", "ram0", "size",
                     (json_int_t)memory->size, "merge", 0, "dump", 1, "prealloc", memory->prealloc,
                     "share", 1, "host-nodes", nodes, "policy",
                     memory_policy_names[memory->policy]);
}

static json_t *query_memory_devices(struct qmp_call *call)
{
    return json_array();
}

static json_t *metrics(struct qmp_call *call)
{
    return machine_metrics(call->machine);
}

static json_t *query_vm_generation_id(struct qmp_call *call)
{
    char text[VMGENID_TEXT];
    if (vmgenid_text(call->machine, text) < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "VM Generation ID device not found");
    return json_pack("{s:s}", "guid", text);
}

/* Whoever may talk to this socket may see the memory: it can have the machine do anything. */
static json_t *share_memory(struct qmp_call *call)
{
    const struct machine *machine = call->machine;
    cleanup_fd int socket = qmp_fd_take(call->server, qmp_string(call, "fdname"));
    if (socket < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "File descriptor named '%.100s' not found",
                        qmp_string(call, "fdname"));
    ssize_t n = fd_send(socket, "m", 1, &machine->memory.fd, 1);
    if (n < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "sending the descriptor: %s", strerror((int)-n));
    json_t *regions = json_array();
    for (unsigned i = 0; i < machine->mem.region_count; i++) {
        const struct guest_mem_region *region = &machine->mem.regions[i];
        json_array_append_new(
            regions, json_pack("{s:I, s:I, s:I}", "address", (json_int_t)region->gpa, "size",
                               (json_int_t)region->size, "offset", (json_int_t)region->fd_offset));
    }
    return json_pack("{s:o}", "regions", regions);
}

static const struct qmp_argument share_arguments[] = {
    {"fdname", QMP_STRING},
    {NULL},
};

const struct qmp_command qmp_memory_commands[] = {
    {"query-memory-size-summary", "bytes of guest memory", query_memory_size_summary},
    {"query-memdev", "how guest memory is backed", query_memdev},
    {"query-memory-devices", "plugged memory; there is none", query_memory_devices},
    {"query-vm-generation-id", "the VM generation ID", query_vm_generation_id},
    {"x-kvasir-share-memory", "sends guest memory's file over the named socket", share_memory,
     share_arguments},
    {"x-kvasir-metrics", "all counters, as on the metrics socket", metrics},
    {NULL},
};
