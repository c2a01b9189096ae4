/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Procedures on typed parameters of a whole domain: scheduler, memory limits, block I/O weight,
 * NUMA. Each kind is a table of parameters: its type, where it lies in the document, and in the
 * view.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/domain/edit.h"
#include "daemon/machine/tune.h"

struct tunable {
    const char *name;
    int type;          /* VIR_TYPED_PARAM_*; what is in the view is 64 bits wide but for UINT */
    const char *path;  /* below <domain>; NULL: cannot be set */
    size_t offset;     /* in struct model_domain */
    uint64_t unset;    /* told instead of 0 */
    uint64_t min, max; /* of what is set */
};

#define FIELD(name_) offsetof(struct model_domain, name_)
#define UNLIMITED VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
#define MEMORY_MAX (UNLIMITED - 1)
#define PERIOD_MIN 1000
#define PERIOD_MAX 1000000
#define SHARES_MIN 2
#define SHARES_MAX 262144

static const struct tunable scheduler[] = {
    {VIR_DOMAIN_SCHEDULER_CPU_SHARES, VIR_TYPED_PARAM_ULLONG, "cputune/shares",
     FIELD(cputune.shares), 1024, SHARES_MIN, SHARES_MAX},
    {VIR_DOMAIN_SCHEDULER_VCPU_PERIOD, VIR_TYPED_PARAM_ULLONG, "cputune/period",
     FIELD(cputune.period), 100000, PERIOD_MIN, PERIOD_MAX},
    {VIR_DOMAIN_SCHEDULER_VCPU_QUOTA, VIR_TYPED_PARAM_LLONG, "cputune/quota", FIELD(cputune.quota),
     (uint64_t)-1, 0, 0},
    {VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD, VIR_TYPED_PARAM_ULLONG, "cputune/emulator_period",
     FIELD(cputune.emulator_period), 100000, PERIOD_MIN, PERIOD_MAX},
    {VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA, VIR_TYPED_PARAM_LLONG, "cputune/emulator_quota",
     FIELD(cputune.emulator_quota), (uint64_t)-1, 0, 0},
    {VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD, VIR_TYPED_PARAM_ULLONG, "cputune/global_period",
     FIELD(cputune.global_period), 100000, PERIOD_MIN, PERIOD_MAX},
    {VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA, VIR_TYPED_PARAM_LLONG, "cputune/global_quota",
     FIELD(cputune.global_quota), (uint64_t)-1, 0, 0},
    {VIR_DOMAIN_SCHEDULER_IOTHREAD_PERIOD, VIR_TYPED_PARAM_ULLONG, "cputune/iothread_period",
     FIELD(cputune.iothread_period), 100000, PERIOD_MIN, PERIOD_MAX},
    {VIR_DOMAIN_SCHEDULER_IOTHREAD_QUOTA, VIR_TYPED_PARAM_LLONG, "cputune/iothread_quota",
     FIELD(cputune.iothread_quota), (uint64_t)-1, 0, 0},
};

static const struct tunable memory[] = {
    {VIR_DOMAIN_MEMORY_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG, "memtune/hard_limit",
     FIELD(hard_limit_kib), UNLIMITED, 0, UNLIMITED},
    {VIR_DOMAIN_MEMORY_SOFT_LIMIT, VIR_TYPED_PARAM_ULLONG, "memtune/soft_limit",
     FIELD(soft_limit_kib), UNLIMITED, 0, UNLIMITED},
    {VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG, "memtune/swap_hard_limit",
     FIELD(swap_hard_limit_kib), UNLIMITED, 0, UNLIMITED},
};

static const struct tunable blkio[] = {
    {VIR_DOMAIN_BLKIO_WEIGHT, VIR_TYPED_PARAM_UINT, "blkiotune/weight", FIELD(blkio_weight), 0, 10,
     1000},
};

struct tunable_set {
    const struct tunable *list;
    size_t count;
};
#define SET(array)               \
    {                            \
        array, ARRAY_SIZE(array) \
    }
static const struct tunable_set scheduler_set = SET(scheduler), memory_set = SET(memory),
                                blkio_set = SET(blkio);

static uint64_t view_value(const struct model_domain *model, const struct tunable *t)
{
    const char *field = (const char *)model + t->offset;
    uint64_t value = 0;
    memcpy(&value, field, t->type == VIR_TYPED_PARAM_UINT ? sizeof(unsigned) : sizeof(value));
    return value ? value : t->unset;
}

static void tell(struct params *p, const struct tunable_set *set, const struct model_domain *model)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct tunable *t = &set->list[i];
        uint64_t value = view_value(model, t);
        if (t->type == VIR_TYPED_PARAM_UINT)
            params_add_uint(p, t->name, (unsigned)value);
        else if (t->type == VIR_TYPED_PARAM_LLONG)
            params_add_llong(p, t->name, (int64_t)value);
        else
            params_add_ullong(p, t->name, value);
    }
}

/* ------------------------------------------------------------------ setting */

/* One parameter as text. VIR_ERR_INVALID_ARG, as libvirt, for names and types it does not know. */
static int param_text(const struct tunable_set *set, const wire_param *param,
                      const struct tunable **out, char text[32], struct kv_error *err)
{
    const struct tunable *t = NULL;
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->list[i].name, param->field) == 0)
            t = &set->list[i];
    if (!t)
        return api_error(err, VIR_ERR_INVALID_ARG, "parameter '%s' not supported", param->field);
    if (param->value.type != t->type)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "invalid type %d for parameter '%s', expected %d", param->value.type,
                         param->field, t->type);
    uint64_t value = t->type == VIR_TYPED_PARAM_UINT ? param->value.wire_param_value_u.ui
                                                     : param->value.wire_param_value_u.ul;
    if (t->type == VIR_TYPED_PARAM_LLONG) {
        int64_t quota = (int64_t)value;
        if (quota != 0 && quota != -1 && (quota < 1000 || quota > 17592186044415))
            return api_error(err, VIR_ERR_INVALID_ARG,
                             "value of '%s' is out of range [1000, 17592186044415]", t->name);
        snprintf(text, 32, "%" PRId64, quota);
    } else {
        if (value && (value < t->min || value > t->max))
            return api_error(err, VIR_ERR_INVALID_ARG,
                             "value of '%s' is out of range [%" PRIu64 ", %" PRIu64 "]", t->name,
                             t->min, t->max);
        snprintf(text, 32, "%" PRIu64, value);
    }
    *out = t;
    return 0;
}

struct params_change {
    const struct tunable_set *set;
    struct model_domain *old; /* what runs, before the change */
    struct model_domain *now; /* and after; the edit's */
    const wire_param *params;
    unsigned count;
};

static int params_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    struct params_change *change = opaque;
    int ret = 0;
    if (live) {
        change->now = model;
        change->old = model_domain_copy(model);
        if (!change->old)
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    for (unsigned i = 0; !ret && i < change->count; i++) {
        const struct tunable *t = change->set->list;
        char text[32];
        ret = param_text(change->set, &change->params[i], &t, text, err);
        if (ret)
            break;
        bool kib = t->max == UNLIMITED;
        bool remove = strcmp(text, "0") == 0 ||
                      (kib && change->params[i].value.wire_param_value_u.ul >= MEMORY_MAX);
        ret = model_domain_set_value(model, t->path, NULL, remove ? NULL : text, err);
        if (!ret && kib && !remove)
            ret = model_domain_set_value(model, t->path, "unit", "KiB", err);
    }
    return ret;
}

static int params_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct params_change *change = opaque;
    return machine_set_limits(machine, change->old, change->now, err);
}

static int set_params(struct rpc_call *call, const wire_domain *dom, struct params_change *change,
                      unsigned flags, struct kv_error *err)
{
    if (call_check_flags(call, flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    struct edit edit = {
        .machine = params_in_machine,
        .document = params_in_document,
        .opaque = change,
    };
    int ret = call_edit(call, dom, flags, &edit, err);
    model_domain_free(change->old);
    return ret;
}

/* ---------------------------------------------------------------- scheduler */

CALL(get_scheduler_type)
{
    const REMOTE_ARGS(DOMAIN_GET_SCHEDULER_TYPE) *in = args;
    REMOTE_RET(DOMAIN_GET_SCHEDULER_TYPE) *out = ret;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->nparams = (int)scheduler_set.count;
    return call_text(&out->type, "posix", err);
}

static int get_scheduler(struct rpc_call *call, const wire_domain *dom, int nparams, unsigned flags,
                         unsigned *len, wire_param **list, struct kv_error *err)
{
    struct model_domain *model =
        call_asked_document(call, dom, flags, VIR_TYPED_PARAM_STRING_OKAY, err);
    if (!model)
        return -EINVAL;
    struct params p = {0};
    int number;
    tell(&p, &scheduler_set, model);
    model_domain_free(model);
    return params_reply(&p, nparams, len, list, &number, err);
}

CALL(get_scheduler_plain)
{
    const REMOTE_ARGS(DOMAIN_GET_SCHEDULER_PARAMETERS) *in = args;
    REMOTE_RET(DOMAIN_GET_SCHEDULER_PARAMETERS) *out = ret;
    return get_scheduler(call, &in->dom, in->nparams, 0, &out->params.params_len,
                         &out->params.params_val, err);
}

CALL(get_scheduler_flags)
{
    const REMOTE_ARGS(DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS) *in = args;
    REMOTE_RET(DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS) *out = ret;
    return get_scheduler(call, &in->dom, in->nparams, in->flags, &out->params.params_len,
                         &out->params.params_val, err);
}

CALL(set_scheduler_plain)
{
    const REMOTE_ARGS(DOMAIN_SET_SCHEDULER_PARAMETERS) *in = args;
    struct params_change change = {
        .set = &scheduler_set, .params = in->params.params_val, .count = in->params.params_len};
    return set_params(call, &in->dom, &change, 0, err);
}

/* The ones with flags look alike on the wire. */
static int set_params_flags(struct rpc_call *call, const struct tunable_set *set, const void *args,
                            struct kv_error *err)
{
    const wire_dom_params_flags *in = args;
    struct params_change change = {
        .set = set, .params = in->params.params_val, .count = in->params.params_len};
    return set_params(call, &in->dom, &change, in->flags, err);
}

CALL(set_scheduler_flags)
{
    return set_params_flags(call, &scheduler_set, args, err);
}

/* ------------------------------------------------------- memory, blkio, NUMA */

static int get_params(struct rpc_call *call, const void *args, void *ret,
                      void (*more)(struct params *p, const struct model_domain *model),
                      const struct tunable_set *set, struct kv_error *err)
{
    const wire_dom_nparams_flags *in = args;
    wire_params_nparams *out = ret;
    struct model_domain *model =
        call_asked_document(call, &in->dom, in->flags, VIR_TYPED_PARAM_STRING_OKAY, err);
    if (!model)
        return -EINVAL;
    struct params p = {0};
    if (set)
        tell(&p, set, model);
    if (more)
        more(&p, model);
    model_domain_free(model);
    return params_reply(&p, in->nparams, &out->params.params_len, &out->params.params_val,
                        &out->nparams, err);
}

CALL(get_memory)
{
    return get_params(call, args, ret, NULL, &memory_set, err);
}

CALL(set_memory)
{
    return set_params_flags(call, &memory_set, args, err);
}

/* Limits of single host devices are not offered: told as empty. */
static void tell_blkio_devices(struct params *p, const struct model_domain *model)
{
    static const char *const names[] = {
        VIR_DOMAIN_BLKIO_DEVICE_WEIGHT,     VIR_DOMAIN_BLKIO_DEVICE_READ_IOPS,
        VIR_DOMAIN_BLKIO_DEVICE_WRITE_IOPS, VIR_DOMAIN_BLKIO_DEVICE_READ_BPS,
        VIR_DOMAIN_BLKIO_DEVICE_WRITE_BPS,
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        params_add_text(p, names[i], "");
}

CALL(get_blkio)
{
    return get_params(call, args, ret, tell_blkio_devices, &blkio_set, err);
}

CALL(set_blkio)
{
    return set_params_flags(call, &blkio_set, args, err);
}

/* By VIR_DOMAIN_NUMATUNE_MEM_*. */
static const char *const numa_modes[] = {"strict", "preferred", "interleave", "restrictive"};

static void tell_numa(struct params *p, const struct model_domain *model)
{
    int mode = VIR_DOMAIN_NUMATUNE_MEM_STRICT;
    for (size_t i = 0; model->numatune_mode && i < ARRAY_SIZE(numa_modes); i++)
        if (strcmp(numa_modes[i], model->numatune_mode) == 0)
            mode = (int)i;
    params_add_int(p, VIR_DOMAIN_NUMA_MODE, mode);
    params_add_text(p, VIR_DOMAIN_NUMA_NODESET,
                    model->numatune_nodeset ? model->numatune_nodeset : "");
}

CALL(get_numa)
{
    return get_params(call, args, ret, tell_numa, NULL, err);
}

static int numa_in_document(struct model_domain *model, bool live, void *opaque,
                            struct kv_error *err)
{
    const wire_dom_params_flags *in = opaque;
    int ret = 0;
    for (unsigned i = 0; !ret && i < in->params.params_len; i++) {
        const wire_param *p = &in->params.params_val[i];
        bool mode = strcmp(p->field, VIR_DOMAIN_NUMA_MODE) == 0;
        bool nodes = strcmp(p->field, VIR_DOMAIN_NUMA_NODESET) == 0;
        if (mode && p->value.type == VIR_TYPED_PARAM_INT) {
            unsigned n = (unsigned)p->value.wire_param_value_u.i;
            if (n >= ARRAY_SIZE(numa_modes))
                return api_error(err, VIR_ERR_INVALID_ARG, "unsupported numatune mode: '%d'",
                                 (int)n);
            ret = model_domain_set_value(model, "numatune/memory", "mode", numa_modes[n], err);
        } else if (nodes && p->value.type == VIR_TYPED_PARAM_STRING) {
            const char *set = p->value.wire_param_value_u.s;
            ret =
                model_domain_set_value(model, "numatune/memory", "nodeset", *set ? set : NULL, err);
        } else {
            ret = api_error(err, VIR_ERR_INVALID_ARG, "parameter '%s' of type %d not supported",
                            p->field, p->value.type);
        }
    }
    return ret;
}

CALL(set_numa)
{
    const REMOTE_ARGS(DOMAIN_SET_NUMA_PARAMETERS) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    struct edit edit = {
        .document = numa_in_document,
        .live_refused = "NUMA parameters of a running domain cannot be changed",
        .opaque = (void *)(uintptr_t)args,
    };
    return call_edit(call, &in->dom, in->flags, &edit, err);
}

/* Perf events are not measured: all are off. */
CALL(get_perf_events)
{
    const REMOTE_ARGS(DOMAIN_GET_PERF_EVENTS) *in = args;
    REMOTE_RET(DOMAIN_GET_PERF_EVENTS) *out = ret;
    static const char *const names[] = {
        VIR_PERF_PARAM_CMT,
        VIR_PERF_PARAM_MBMT,
        VIR_PERF_PARAM_MBML,
        VIR_PERF_PARAM_CACHE_MISSES,
        VIR_PERF_PARAM_CACHE_REFERENCES,
        VIR_PERF_PARAM_INSTRUCTIONS,
        VIR_PERF_PARAM_CPU_CYCLES,
        VIR_PERF_PARAM_BRANCH_INSTRUCTIONS,
        VIR_PERF_PARAM_BRANCH_MISSES,
        VIR_PERF_PARAM_BUS_CYCLES,
        VIR_PERF_PARAM_STALLED_CYCLES_FRONTEND,
        VIR_PERF_PARAM_STALLED_CYCLES_BACKEND,
        VIR_PERF_PARAM_REF_CPU_CYCLES,
        VIR_PERF_PARAM_CPU_CLOCK,
        VIR_PERF_PARAM_TASK_CLOCK,
        VIR_PERF_PARAM_PAGE_FAULTS,
        VIR_PERF_PARAM_CONTEXT_SWITCHES,
        VIR_PERF_PARAM_CPU_MIGRATIONS,
        VIR_PERF_PARAM_PAGE_FAULTS_MIN,
        VIR_PERF_PARAM_PAGE_FAULTS_MAJ,
        VIR_PERF_PARAM_ALIGNMENT_FAULTS,
        VIR_PERF_PARAM_EMULATION_FAULTS,
    };
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    struct call_impact impact;
    if (!domain || call_impact(domain, in->flags & ~VIR_TYPED_PARAM_STRING_OKAY, &impact, err))
        return -EINVAL;
    struct params p = {0};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        params_add_bool(&p, names[i], false);
    return params_give(&p, &out->params.params_val, &out->params.params_len, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_GET_SCHEDULER_TYPE, get_scheduler_type, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_SCHEDULER_PARAMETERS, get_scheduler_plain, 0},
    {REMOTE_PROC_DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS, get_scheduler_flags, 0},
    {REMOTE_PROC_DOMAIN_SET_SCHEDULER_PARAMETERS, set_scheduler_plain, 0},
    {REMOTE_PROC_DOMAIN_SET_SCHEDULER_PARAMETERS_FLAGS, set_scheduler_flags, 0},
    {REMOTE_PROC_DOMAIN_GET_MEMORY_PARAMETERS, get_memory, 0},
    {REMOTE_PROC_DOMAIN_SET_MEMORY_PARAMETERS, set_memory, 0},
    {REMOTE_PROC_DOMAIN_GET_BLKIO_PARAMETERS, get_blkio, 0},
    {REMOTE_PROC_DOMAIN_SET_BLKIO_PARAMETERS, set_blkio, 0},
    {REMOTE_PROC_DOMAIN_GET_NUMA_PARAMETERS, get_numa, 0},
    {REMOTE_PROC_DOMAIN_SET_NUMA_PARAMETERS, set_numa, 0},
    {REMOTE_PROC_DOMAIN_GET_PERF_EVENTS, get_perf_events, RPC_INLINE},
};
const struct call_rows call_params_rows = {rows, ARRAY_SIZE(rows)};
