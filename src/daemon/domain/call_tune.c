/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that change memory, and what happens at the end of a guest. */
#include <errno.h>

#include "daemon/domain/edit.h"

/* ------------------------------------------------------------------- memory */

struct memory_change {
    uint64_t kib;
    bool maximum;
};

static int memory_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    const struct memory_change *change = opaque;
    if (change->maximum) {
        uint64_t current = model->current_memory_kib;
        return model_domain_set_memory(model, change->kib, MIN(current, change->kib), err);
    }
    if (change->kib > model->memory_kib)
        return api_error(err, VIR_ERR_INVALID_ARG, "cannot set memory higher than max memory");
    if (live && (!model->memballoon || model->memballoon->none))
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "Unable to change memory of active domain without the balloon device and "
                         "guest OS balloon driver");
    return model_domain_set_memory(model, model->memory_kib, change->kib, err);
}

static int memory_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct memory_change *change = opaque;
    return machine_set_balloon(machine, change->kib << 10, err);
}

static int set_memory(struct rpc_call *call, const wire_domain *dom, uint64_t kib, unsigned flags,
                      struct kv_error *err)
{
    if (call_check_flags(call, flags,
                         VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_DOMAIN_MEM_MAXIMUM,
                         err))
        return -EINVAL;
    if (kib == 0 || kib > UINT64_MAX >> 10)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "memory in %s must be greater than zero and "
                         "less than 2^54 KiB",
                         rpc_call_procedure(call)->name);
    struct memory_change change = {kib, flags & VIR_DOMAIN_MEM_MAXIMUM};
    struct edit edit = {
        .machine = memory_in_machine, .document = memory_in_document, .opaque = &change};
    struct domain *domain = call_begin(call, dom, err);
    if (!domain)
        return -ENOENT;
    struct call_impact impact;
    int ret = call_impact(domain, flags, &impact, err);
    if (!ret && change.maximum && impact.live)
        ret = api_error(err, VIR_ERR_OPERATION_INVALID,
                        "cannot resize the maximum memory on an active domain");
    if (!ret)
        ret = domain_edit(call, domain, &impact, &edit, err);
    call_end(call, domain);
    return ret;
}

CALL(set_memory_plain)
{
    const REMOTE_ARGS(DOMAIN_SET_MEMORY) *in = args;
    return set_memory(call, &in->dom, in->memory, VIR_DOMAIN_AFFECT_LIVE, err);
}

CALL(set_max_memory)
{
    const REMOTE_ARGS(DOMAIN_SET_MAX_MEMORY) *in = args;
    return set_memory(call, &in->dom, in->memory, VIR_DOMAIN_MEM_MAXIMUM, err);
}

CALL(set_memory_flags)
{
    const REMOTE_ARGS(DOMAIN_SET_MEMORY_FLAGS) *in = args;
    return set_memory(call, &in->dom, in->memory, in->flags, err);
}

static int period_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    if (!model->memballoon || model->memballoon->none)
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "Memory balloon model must be virtio to set the collection period");
    return model_domain_set_balloon_period(model, *(unsigned *)opaque, err);
}

static int period_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    return machine_set_balloon_period(machine, *(unsigned *)opaque, err);
}

CALL(set_memory_stats_period)
{
    const REMOTE_ARGS(DOMAIN_SET_MEMORY_STATS_PERIOD) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    if (in->period < 0)
        return api_error(err, VIR_ERR_INVALID_ARG, "period must not be negative");
    unsigned period = (unsigned)in->period;
    struct edit edit = {
        .machine = period_in_machine, .document = period_in_document, .opaque = &period};
    return call_edit(call, &in->dom, in->flags, &edit, err);
}

/* ---------------------------------------------------------------- lifecycle */

struct action_change {
    unsigned type, action;
};

static int action_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    const struct action_change *change = opaque;
    return model_domain_set_action(model, change->type, (enum model_action)change->action, err);
}

static int action_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct action_change *change = opaque;
    return machine_set_lifecycle_action(machine, change->type, change->action, err);
}

CALL(set_lifecycle_action)
{
    const REMOTE_ARGS(DOMAIN_SET_LIFECYCLE_ACTION) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    if (in->type > VIR_DOMAIN_LIFECYCLE_CRASH)
        return api_error(err, VIR_ERR_INVALID_ARG, "Invalid lifecycle type '%u'", in->type);
    if (in->action > VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_RESTART ||
        (in->type != VIR_DOMAIN_LIFECYCLE_CRASH &&
         in->action >= VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY))
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "lifecycle action '%u' cannot be set for type '%u'", in->action, in->type);
    struct action_change change = {in->type, in->action};
    struct edit edit = {
        .machine = action_in_machine, .document = action_in_document, .opaque = &change};
    return call_edit(call, &in->dom, in->flags, &edit, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_SET_MEMORY, set_memory_plain, 0},
    {REMOTE_PROC_DOMAIN_SET_MAX_MEMORY, set_max_memory, 0},
    {REMOTE_PROC_DOMAIN_SET_MEMORY_FLAGS, set_memory_flags, 0},
    {REMOTE_PROC_DOMAIN_SET_MEMORY_STATS_PERIOD, set_memory_stats_period, 0},
    {REMOTE_PROC_DOMAIN_SET_LIFECYCLE_ACTION, set_lifecycle_action, 0},
};
const struct call_rows call_tune_rows = {rows, ARRAY_SIZE(rows)};
