/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that bind a domain's threads to CPUs of the host, and that add and remove I/O threads.
 */
#include <errno.h>
#include <sched.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "daemon/domain/edit.h"
#include "daemon/machine/tune.h"

/* --------------------------------------------------------------------- pins */

struct pin_change {
    enum model_pin_kind kind;
    unsigned id;
    char *cpuset;
    struct model_domain *now; /* what runs, after the change; the edit's */
};

/* "0-3,5" of a client's map. Bits beyond the host's CPUs do not count, as with libvirt. */
static char *cpu_list(const void *map, unsigned len, struct kv_error *err)
{
    unsigned cpus = (unsigned)MIN(sysconf(_SC_NPROCESSORS_CONF), CPU_SETSIZE);
    uint64_t set[CPU_SETSIZE / 64] = {0};
    char text[8 * CPU_SETSIZE];
    memcpy(set, map, MIN(len, sizeof(set)));
    for (unsigned cpu = cpus; cpu < CPU_SETSIZE; cpu++)
        set[cpu / 64] &= ~BIT(cpu % 64);
    format_bitmap(set, ARRAY_SIZE(set), text, sizeof(text));
    if (!*text) {
        api_error(err, VIR_ERR_INVALID_ARG, "Empty cpu list for pinning");
        return NULL;
    }
    char *copy = strdup(text);
    if (!copy)
        api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return copy;
}

static int check_thread(const struct model_domain *model, bool live,
                        const struct pin_change *change, struct kv_error *err)
{
    if (change->kind == MODEL_PIN_VCPU && live && change->id >= model->vcpus)
        return api_error(err, VIR_ERR_INVALID_ARG, "vcpu %u is out of range of live cpu count %u",
                         change->id, model->vcpus);
    if (change->kind == MODEL_PIN_VCPU && change->id >= model->vcpus_max)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "vcpu %u is out of range of persistent cpu count %u", change->id,
                         model->vcpus_max);
    bool found =
        change->kind != MODEL_PIN_IOTHREAD || model_domain_find_iothread(model, change->id);
    return found ? 0 : api_error(err, VIR_ERR_INVALID_ARG, "iothread %u not found", change->id);
}

static int pin_in_document(struct model_domain *model, bool live, void *opaque,
                           struct kv_error *err)
{
    struct pin_change *change = opaque;
    int ret = check_thread(model, live, change, err);
    if (live)
        change->now = model;
    return ret ? ret : model_domain_set_pin(model, change->kind, change->id, change->cpuset, err);
}

static int pin_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct pin_change *change = opaque;
    return machine_set_affinity(machine, change->now, err);
}

static int set_pin(struct rpc_call *call, const wire_domain *dom, enum model_pin_kind kind,
                   unsigned id, const void *map, unsigned len, unsigned flags, struct kv_error *err)
{
    if (call_check_flags(call, flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    cleanup_free char *list = cpu_list(map, len, err);
    if (!list)
        return -EINVAL;
    struct pin_change change = {.kind = kind, .id = id, .cpuset = list};
    struct edit edit = {.machine = pin_in_machine, .document = pin_in_document, .opaque = &change};
    return call_edit(call, dom, flags, &edit, err);
}

CALL(pin_vcpu)
{
    const REMOTE_ARGS(DOMAIN_PIN_VCPU) *in = args;
    return set_pin(call, &in->dom, MODEL_PIN_VCPU, in->vcpu, in->cpu_map.cpu_map_val,
                   in->cpu_map.cpu_map_len, VIR_DOMAIN_AFFECT_LIVE, err);
}

CALL(pin_vcpu_flags)
{
    const REMOTE_ARGS(DOMAIN_PIN_VCPU_FLAGS) *in = args;
    return set_pin(call, &in->dom, MODEL_PIN_VCPU, in->vcpu, in->cpu_map.cpu_map_val,
                   in->cpu_map.cpu_map_len, in->flags, err);
}

CALL(pin_emulator)
{
    const REMOTE_ARGS(DOMAIN_PIN_EMULATOR) *in = args;
    return set_pin(call, &in->dom, MODEL_PIN_EMULATOR, 0, in->cpu_map.cpu_map_val,
                   in->cpu_map.cpu_map_len, in->flags, err);
}

CALL(pin_iothread)
{
    const REMOTE_ARGS(DOMAIN_PIN_IOTHREAD) *in = args;
    if (in->iothreads_id == 0)
        return api_error(err, VIR_ERR_INVALID_ARG, "iothread_id in %s must not be zero",
                         rpc_call_procedure(call)->name);
    return set_pin(call, &in->dom, MODEL_PIN_IOTHREAD, in->iothreads_id, in->cpu_map.cpu_map_val,
                   in->cpu_map.cpu_map_len, in->flags, err);
}

/* -------------------------------------------------------------- I/O threads */

static int iothread_added(struct model_domain *model, bool live, void *opaque, struct kv_error *err)
{
    return model_domain_add_iothread(model, *(const unsigned *)opaque, err);
}

static int iothread_removed(struct model_domain *model, bool live, void *opaque,
                            struct kv_error *err)
{
    return model_domain_remove_iothread(model, *(const unsigned *)opaque, err);
}

static int change_iothreads(struct rpc_call *call, const void *args,
                            int (*document)(struct model_domain *model, bool live, void *opaque,
                                            struct kv_error *err),
                            struct kv_error *err)
{
    const REMOTE_ARGS(DOMAIN_ADD_IOTHREAD) *in = args;
    unsigned id = in->iothread_id;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    if (id == 0)
        return api_error(err, VIR_ERR_INVALID_ARG, "invalid value of 0 for iothread_id");
    struct edit edit = {
        .document = document,
        .live_refused = "I/O threads of a running domain cannot be changed; its definition's can "
                        "(VIR_DOMAIN_AFFECT_CONFIG)",
        .opaque = &id,
    };
    return call_edit(call, &in->dom, in->flags, &edit, err);
}

CALL(add_iothread)
{
    return change_iothreads(call, args, iothread_added, err);
}

CALL(del_iothread)
{
    return change_iothreads(call, args, iothread_removed, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_PIN_VCPU, pin_vcpu, 0},
    {REMOTE_PROC_DOMAIN_PIN_VCPU_FLAGS, pin_vcpu_flags, 0},
    {REMOTE_PROC_DOMAIN_PIN_EMULATOR, pin_emulator, 0},
    {REMOTE_PROC_DOMAIN_PIN_IOTHREAD, pin_iothread, 0},
    {REMOTE_PROC_DOMAIN_ADD_IOTHREAD, add_iothread, 0},
    {REMOTE_PROC_DOMAIN_DEL_IOTHREAD, del_iothread, 0},
};
const struct call_rows call_pin_rows = {rows, ARRAY_SIZE(rows)};
