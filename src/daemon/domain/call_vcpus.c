/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Procedures on the number of vCPUs. Those of a running domain come and go one after the other, the
 * last one first, and the document follows each: what is done when one of them fails stays done.
 */
#include <errno.h>

#include "base/parse.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/edit.h"

struct vcpu_change {
    unsigned count;
    bool maximum;
    bool pluggable;           /* new ones of a definition may be unplugged later */
    struct model_domain *now; /* what runs, with the change; the edit's */
};

/* How many of count cannot be unplugged. */
static unsigned fixed_of(const struct model_domain *model, const struct vcpu_change *change,
                         bool live)
{
    bool some_may_go = model->vcpus_fixed < model->vcpus;
    return live || change->pluggable || some_may_go ? MIN(model->vcpus_fixed, change->count)
                                                    : change->count;
}

static int too_many(unsigned count, unsigned max, bool live, struct kv_error *err)
{
    return api_error(err, VIR_ERR_INVALID_ARG,
                     "requested vcpus is greater than max allowable vcpus for the %s domain: "
                     "%u > %u",
                     live ? "live" : "persistent", count, max);
}

static int vcpus_in_document(struct model_domain *model, bool live, void *opaque,
                             struct kv_error *err)
{
    struct vcpu_change *change = opaque;
    if (live)
        change->now = model;
    if (change->maximum) {
        if (model->sockets)
            return api_error(err, VIR_ERR_INVALID_ARG,
                             "CPU topology doesn't match the desired vcpu count");
        return model_domain_set_vcpus(model, change->count, MIN(model->vcpus, change->count),
                                      MIN(model->vcpus_fixed, change->count), err);
    }
    if (change->count > model->vcpus_max)
        return too_many(change->count, model->vcpus_max, live, err);
    return model_domain_set_vcpus(model, model->vcpus_max, change->count,
                                  fixed_of(model, change, live), err);
}

static int plug_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct vcpu_change *change = opaque;
    return machine_plug_vcpus(machine, change->now, change->count - 1, err);
}

static int unplug_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct vcpu_change *change = opaque;
    return machine_unplug_vcpu(machine, change->count, err);
}

struct vcpu_counts {
    unsigned now, max, fixed;
};

static int live_counts(struct domain *domain, struct vcpu_counts *out, struct kv_error *err)
{
    cleanup_live struct domain_live *live = domain_live_get(domain, err);
    if (!live)
        return -EINVAL;
    pthread_mutex_lock(&domain->lock);
    const struct model_domain *d = live->document;
    *out = (struct vcpu_counts){d->vcpus, d->vcpus_max, d->vcpus_fixed};
    pthread_mutex_unlock(&domain->lock);
    return 0;
}

/* With the job, as all below. */
static int set_live(struct rpc_call *call, struct domain *domain, unsigned count,
                    struct kv_error *err)
{
    const struct call_impact impact = {.live = true};
    struct vcpu_counts counts;
    int ret = live_counts(domain, &counts, err);
    if (!ret && count > counts.max)
        ret = too_many(count, counts.max, true, err);
    if (!ret && count < counts.fixed)
        ret = api_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                        "failed to find appropriate hotpluggable vcpus to reach the desired target "
                        "vcpu count");
    while (!ret && counts.now != count) {
        bool more = count > counts.now;
        struct vcpu_change change = {.count = more ? counts.now + 1 : counts.now - 1};
        struct edit edit = {.document = vcpus_in_document,
                            .machine = more ? plug_in_machine : unplug_in_machine,
                            .opaque = &change};
        ret = domain_edit(call, domain, &impact, &edit, err);
        counts.now = change.count;
    }
    return ret;
}

static int set_defined(struct rpc_call *call, struct domain *domain, unsigned count, unsigned flags,
                       struct kv_error *err)
{
    const struct call_impact impact = {.config = true};
    struct vcpu_change change = {.count = count,
                                 .maximum = flags & VIR_DOMAIN_VCPU_MAXIMUM,
                                 .pluggable = flags & VIR_DOMAIN_VCPU_HOTPLUGGABLE};
    struct edit edit = {.document = vcpus_in_document, .opaque = &change};
    return domain_edit(call, domain, &impact, &edit, err);
}

/* First what runs, once it is clear that the definition can follow. */
static int set_both(struct rpc_call *call, struct domain *domain, unsigned count, unsigned flags,
                    struct kv_error *err)
{
    struct call_impact impact;
    int ret = call_impact(domain, flags, &impact, err);
    if (!ret && impact.live && (flags & VIR_DOMAIN_VCPU_MAXIMUM))
        ret = api_error(err, VIR_ERR_OPERATION_INVALID,
                        "maximum vcpu count of a live domain can't be modified");
    if (!ret && impact.live && impact.config && count > domain->summary.max_vcpus)
        ret = too_many(count, domain->summary.max_vcpus, false, err);
    if (!ret && impact.live)
        ret = set_live(call, domain, count, err);
    return ret || !impact.config ? ret : set_defined(call, domain, count, flags, err);
}

static int set_vcpus(struct rpc_call *call, const wire_domain *dom, unsigned count, unsigned flags,
                     struct kv_error *err)
{
    if (call_check_flags(call, flags,
                         VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG |
                             VIR_DOMAIN_VCPU_MAXIMUM | VIR_DOMAIN_VCPU_GUEST |
                             VIR_DOMAIN_VCPU_HOTPLUGGABLE,
                         err))
        return -EINVAL;
    if (count == 0)
        return api_error(err, VIR_ERR_INVALID_ARG, "nvcpus in %s must not be zero",
                         rpc_call_procedure(call)->name);
    if (flags & VIR_DOMAIN_VCPU_GUEST)
        return agent_set_vcpu_count(call, dom, count, err);
    struct domain *domain = call_begin(call, dom, err);
    if (!domain)
        return -ENOENT;
    int ret = set_both(call, domain, count, flags, err);
    call_end(call, domain);
    return ret;
}

CALL(set_vcpus_plain)
{
    const REMOTE_ARGS(DOMAIN_SET_VCPUS) *in = args;
    return set_vcpus(call, &in->dom, in->nvcpus, VIR_DOMAIN_AFFECT_LIVE, err);
}

CALL(set_vcpus_flags)
{
    const REMOTE_ARGS(DOMAIN_SET_VCPUS_FLAGS) *in = args;
    return set_vcpus(call, &in->dom, in->nvcpus, in->flags, err);
}

static int vcpus_of(struct rpc_call *call, const wire_domain *dom, unsigned flags, int *num,
                    struct kv_error *err)
{
    if (call_check_flags(call, flags,
                         VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG |
                             VIR_DOMAIN_VCPU_MAXIMUM | VIR_DOMAIN_VCPU_GUEST,
                         err))
        return -EINVAL;
    if ((flags & VIR_DOMAIN_VCPU_GUEST) && rpc_call_on_loop(call))
        return RPC_TO_WORKER;
    if (flags & VIR_DOMAIN_VCPU_GUEST)
        return agent_count_vcpus(call, dom, flags & VIR_DOMAIN_VCPU_MAXIMUM, num, err);
    cleanup_domain struct domain *domain = call_domain(call, dom, err);
    struct call_impact impact;
    if (!domain || call_impact(domain, flags, &impact, err))
        return -EINVAL;
    pthread_mutex_lock(&domain->lock);
    const struct model_domain *d = impact.live && domain->live ? domain->live->document : NULL;
    unsigned max = d ? d->vcpus_max : domain->summary.max_vcpus;
    unsigned now = d ? d->vcpus : domain->summary.vcpus;
    pthread_mutex_unlock(&domain->lock);
    *num = (int)(flags & VIR_DOMAIN_VCPU_MAXIMUM ? max : now);
    return 0;
}

CALL(get_vcpus_flags)
{
    const REMOTE_ARGS(DOMAIN_GET_VCPUS_FLAGS) *in = args;
    REMOTE_RET(DOMAIN_GET_VCPUS_FLAGS) *out = ret;
    return vcpus_of(call, &in->dom, in->flags, &out->num, err);
}

CALL(get_max_vcpus)
{
    const REMOTE_ARGS(DOMAIN_GET_MAX_VCPUS) *in = args;
    REMOTE_RET(DOMAIN_GET_MAX_VCPUS) *out = ret;
    return vcpus_of(call, &in->dom, VIR_DOMAIN_VCPU_MAXIMUM, &out->num, err);
}

/* ------------------------------------------------------------------ single ones */

/* How many there are once those of the set are switched. False: they would not be the first. */
static bool count_after(const uint64_t *set, unsigned words, bool on, unsigned now, unsigned *count)
{
    unsigned after = now;
    if (on)
        while (after < words * 64 && (set[after / 64] & BIT(after % 64)))
            after++;
    else
        while (after > 0 && (set[(after - 1) / 64] & BIT((after - 1) % 64)))
            after--;
    *count = after;
    for (unsigned i = 0; i < words * 64; i++) {
        bool asked = set[i / 64] & BIT(i % 64), is_on = i < after;
        if (asked && is_on != on)
            return false;
    }
    return true;
}

static int switch_vcpus(struct rpc_call *call, struct domain *domain, const char *map, bool on,
                        unsigned flags, struct kv_error *err)
{
    uint64_t set[4] = {0};
    struct call_impact impact;
    struct vcpu_counts counts = {.now = domain->summary.vcpus};
    unsigned count;
    int ret = call_impact(domain, flags, &impact, err);
    if (!ret && parse_bitmap(map, set, ARRAY_SIZE(set)) < 0)
        ret = api_error(err, VIR_ERR_INVALID_ARG, "Failed to parse bitmap '%s'", map);
    if (!ret && impact.live)
        ret = live_counts(domain, &counts, err);
    if (!ret && !count_after(set, ARRAY_SIZE(set), on, counts.now, &count))
        ret = api_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                        "vCPUs '%s' cannot be switched %s: there are %u, and one comes behind the "
                        "last and goes from there",
                        map, on ? "on" : "off", counts.now);
    if (!ret && count == 0)
        ret = api_error(err, VIR_ERR_INVALID_ARG, "vCPU 0 can't be offlined");
    return ret ? ret : set_both(call, domain, count, flags, err);
}

CALL(set_vcpu)
{
    const REMOTE_ARGS(DOMAIN_SET_VCPU) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    if (in->state != 0 && in->state != 1)
        return api_error(err, VIR_ERR_INVALID_ARG, "unsupported state value");
    struct domain *domain = call_begin(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    int result = switch_vcpus(call, domain, in->cpu_map, in->state, in->flags, err);
    call_end(call, domain);
    return result;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_SET_VCPUS, set_vcpus_plain, 0},
    {REMOTE_PROC_DOMAIN_SET_VCPUS_FLAGS, set_vcpus_flags, 0},
    {REMOTE_PROC_DOMAIN_GET_VCPUS_FLAGS, get_vcpus_flags, RPC_LOOP_FIRST},
    {REMOTE_PROC_DOMAIN_GET_MAX_VCPUS, get_max_vcpus, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SET_VCPU, set_vcpu, 0},
};
const struct call_rows call_vcpus_rows = {rows, ARRAY_SIZE(rows)};
