/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that tell of vCPUs, I/O threads and the host's CPUs that they may use. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "daemon/domain/call.h"
#include "daemon/domain/live.h"

/* CPUs of the host that are configured: maps are that long. */
static unsigned host_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_CONF);
    return n > 0 ? (unsigned)n : 1;
}

#define MAP_WORDS (CPU_SETSIZE / 64)

/* The CPUs of a list such as "0-3,^2"; all of the host's when there is none. */
static void cpu_list_map(const char *list, unsigned char *map, size_t len)
{
    uint64_t set[MAP_WORDS] = {0};
    bool all = !list || !*list || parse_bitmap(list, set, MAP_WORDS);
    unsigned cpus = host_cpus();
    for (unsigned i = 0; i < cpus && i / 8 < len; i++)
        if (all || (i < CPU_SETSIZE && (set[i / 64] >> (i % 64) & 1)))
            map[i / 8] |= (unsigned char)(1 << (i % 8));
}

/* What the thread is really bound to. False: it is gone. */
static bool thread_map(pid_t tid, unsigned char *map, size_t len)
{
    cpu_set_t set;
    if (tid <= 0 || sched_getaffinity(tid, sizeof(set), &set))
        return false;
    unsigned cpus = host_cpus();
    for (unsigned i = 0; i < cpus && i < CPU_SETSIZE && i / 8 < len; i++)
        if (CPU_ISSET(i, &set))
            map[i / 8] |= (unsigned char)(1 << (i % 8));
    return true;
}

static const char *pin_of(const struct model_pin *pins, unsigned count, unsigned id)
{
    for (unsigned i = 0; i < count; i++)
        if (pins[i].id == id)
            return pins[i].cpuset;
    return NULL;
}

/* The number and length of maps that a client has room for. */
static int check_maps(int count, int len, struct kv_error *err)
{
    if (count >= 0 && len >= 0 && (int64_t)count * len <= 8388608)
        return 0;
    return api_error(err, VIR_ERR_RPC,
                     "CPU maps buffer length exceeds maximum: %d maps of %d bytes", count, len);
}

CALL(get_vcpus)
{
    const REMOTE_ARGS(DOMAIN_GET_VCPUS) *in = args;
    REMOTE_RET(DOMAIN_GET_VCPUS) *out = ret;
    if (check_maps(in->max_info, in->map_len, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    if (!domain_is_active(domain))
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "cannot retrieve vcpu information for inactive domain");
    cleanup_live struct domain_live *live = domain_live_get(domain, err);
    cleanup_free struct machine_vcpu *vcpus = NULL;
    unsigned count = 0;
    if (!live || machine_query_vcpus(live->machine, NULL, &vcpus, &count, err))
        return -EINVAL;
    count = MIN(count, (unsigned)in->max_info);
    size_t len = (size_t)in->map_len;
    out->info.info_val = calloc(count + 1, sizeof(wire_vcpu));
    out->cpumaps.cpumaps_val = calloc(count * len + 1, 1);
    if (!out->info.info_val || !out->cpumaps.cpumaps_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    out->info.info_len = count;
    out->cpumaps.cpumaps_len = (unsigned)(count * len);
    for (unsigned i = 0; i < count; i++) {
        out->info.info_val[i] = (wire_vcpu){
            .number = vcpus[i].index,
            .state = VIR_VCPU_RUNNING,
            .cpu_time = vcpus[i].time_ns,
            .cpu = vcpus[i].host_cpu,
        };
        thread_map(vcpus[i].tid, (unsigned char *)out->cpumaps.cpumaps_val + i * len, len);
    }
    return 0;
}

CALL(get_vcpu_pin_info)
{
    const REMOTE_ARGS(DOMAIN_GET_VCPU_PIN_INFO) *in = args;
    REMOTE_RET(DOMAIN_GET_VCPU_PIN_INFO) *out = ret;
    if (check_maps(in->ncpumaps, in->map_len, err))
        return -EINVAL;
    struct model_domain *model = call_asked_document(call, &in->dom, in->flags, 0, err);
    if (!model)
        return -EINVAL;
    unsigned count = MIN(model->vcpus, (unsigned)in->ncpumaps);
    size_t len = (size_t)in->map_len;
    out->cpumaps.cpumaps_val = calloc(count * len + 1, 1);
    if (out->cpumaps.cpumaps_val) {
        out->cpumaps.cpumaps_len = (unsigned)(count * len);
        out->num = (int)count;
        for (unsigned i = 0; i < count; i++) {
            const char *pin = pin_of(model->cputune.vcpupins, model->cputune.vcpupin_count, i);
            cpu_list_map(pin ? pin : model->cpuset,
                         (unsigned char *)out->cpumaps.cpumaps_val + i * len, len);
        }
    }
    model_domain_free(model);
    return out->cpumaps.cpumaps_val ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

CALL(get_emulator_pin_info)
{
    const REMOTE_ARGS(DOMAIN_GET_EMULATOR_PIN_INFO) *in = args;
    REMOTE_RET(DOMAIN_GET_EMULATOR_PIN_INFO) *out = ret;
    if (check_maps(1, in->map_len, err))
        return -EINVAL;
    struct model_domain *model = call_asked_document(call, &in->dom, in->flags, 0, err);
    if (!model)
        return -EINVAL;
    out->cpumaps.cpumaps_val = calloc((size_t)in->map_len + 1, 1);
    if (out->cpumaps.cpumaps_val) {
        out->cpumaps.cpumaps_len = (unsigned)in->map_len;
        out->result = 1;
        const char *pin = model->cputune.emulatorpin;
        cpu_list_map(pin ? pin : model->cpuset, (unsigned char *)out->cpumaps.cpumaps_val,
                     (size_t)in->map_len);
    }
    model_domain_free(model);
    return out->cpumaps.cpumaps_val ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

/* One thread and its CPUs: as bound now, or as defined. */
static int add_iothread(REMOTE_RET(DOMAIN_GET_IOTHREAD_INFO) * out, unsigned id, pid_t tid,
                        const char *pin)
{
    size_t len = (host_cpus() + 7) / 8;
    wire_iothread *thread = &out->info.info_val[out->info.info_len];
    thread->iothread_id = id;
    thread->cpu_map.cpu_map_val = calloc(len, 1);
    if (!thread->cpu_map.cpu_map_val)
        return -ENOMEM;
    thread->cpu_map.cpu_map_len = (unsigned)len;
    unsigned char *map = (unsigned char *)thread->cpu_map.cpu_map_val;
    if (!tid || !thread_map(tid, map, len))
        cpu_list_map(pin, map, len);
    out->info.info_len++;
    return 0;
}

CALL(get_iothread_info)
{
    const REMOTE_ARGS(DOMAIN_GET_IOTHREAD_INFO) *in = args;
    REMOTE_RET(DOMAIN_GET_IOTHREAD_INFO) *out = ret;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    struct call_impact impact;
    if (!domain || call_impact(domain, in->flags, &impact, err))
        return -EINVAL;
    cleanup_free struct machine_iothread *threads = NULL;
    unsigned count = 0;
    int result = 0;
    struct model_domain *model = call_document(call, domain, impact.live, err);
    if (!model)
        return -EINVAL;
    if (impact.live) {
        cleanup_live struct domain_live *live = domain_live_get(domain, err);
        if (!live || machine_query_iothreads(live->machine, model, &threads, &count, err)) {
            model_domain_free(model);
            return -EINVAL;
        }
    }
    const struct model_cputune *tune = &model->cputune;
    out->info.info_val = calloc(model->iothreads + 1, sizeof(wire_iothread));
    for (unsigned i = 0; out->info.info_val && !result && i < model->iothreads; i++) {
        unsigned id = model->iothread_ids[i];
        if (!impact.live)
            result =
                add_iothread(out, id, 0, pin_of(tune->iothreadpins, tune->iothreadpin_count, id));
        else if (i < count)
            result = add_iothread(out, id, threads[i].tid, NULL);
    }
    model_domain_free(model);
    if (!out->info.info_val || result)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    out->result = out->info.info_len;
    return 0;
}

/* The sum over all CPUs; the host tells no more without a control group of each domain's own. */
CALL(get_cpu_stats)
{
    const REMOTE_ARGS(DOMAIN_GET_CPU_STATS) *in = args;
    REMOTE_RET(DOMAIN_GET_CPU_STATS) *out = ret;
    if (call_check_flags(call, in->flags, VIR_TYPED_PARAM_STRING_OKAY, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    cleanup_live struct domain_live *live = domain ? domain_live_get(domain, err) : NULL;
    struct machine_cpu_time time;
    if (!live || machine_query_cpu_time(live->machine, &time, err))
        return -EINVAL;
    if (in->start_cpu != -1)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                         "figures of single CPUs (from %d) are asked for; only the total (-1) is "
                         "known",
                         in->start_cpu);
    struct params p = {0};
    params_add_ullong(&p, VIR_DOMAIN_CPU_STATS_CPUTIME, time.total_ns);
    params_add_ullong(&p, VIR_DOMAIN_CPU_STATS_USERTIME, time.user_ns);
    params_add_ullong(&p, VIR_DOMAIN_CPU_STATS_SYSTEMTIME, time.system_ns);
    int number = 0;
    int result = params_reply(&p, (int)in->nparams, &out->params.params_len,
                              &out->params.params_val, &number, err);
    out->nparams = in->nparams ? (int)out->params.params_len : number;
    return result;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_GET_VCPUS, get_vcpus, 0},
    {REMOTE_PROC_DOMAIN_GET_VCPU_PIN_INFO, get_vcpu_pin_info, 0},
    {REMOTE_PROC_DOMAIN_GET_EMULATOR_PIN_INFO, get_emulator_pin_info, 0},
    {REMOTE_PROC_DOMAIN_GET_IOTHREAD_INFO, get_iothread_info, 0},
    {REMOTE_PROC_DOMAIN_GET_CPU_STATS, get_cpu_stats, 0},
};
const struct call_rows call_cpu_rows = {rows, ARRAY_SIZE(rows)};
