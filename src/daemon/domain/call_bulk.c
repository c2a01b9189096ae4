/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virConnectGetAllDomainStats: a group of figures is a row of the table at the bottom. What a
 * domain that is shut off has to tell comes out of its summary, without the database.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/domain/call.h"
#include "daemon/domain/live.h"

struct gather {
    struct params params;
    struct domain *domain;
    struct domain_live *live; /* NULL: shut off */
    bool nowait;              /* nothing that a monitor has to answer */
};

/* A parameter's name with numbers in it; valid until the next one. */
__attribute__((format(printf, 2, 3))) static const char *named(char name[96], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, 96, fmt, ap);
    va_end(ap);
    return name;
}

static void gather_state(struct gather *g)
{
    pthread_mutex_lock(&g->domain->lock);
    int state = g->domain->state, reason = g->domain->reason;
    pthread_mutex_unlock(&g->domain->lock);
    params_add_int(&g->params, "state.state", state);
    params_add_int(&g->params, "state.reason", reason);
}

static void gather_cpu(struct gather *g)
{
    struct machine_cpu_time time;
    if (!g->live || machine_query_cpu_time(g->live->machine, &time, NULL))
        return;
    params_add_ullong(&g->params, "cpu.time", time.total_ns);
    params_add_ullong(&g->params, "cpu.user", time.user_ns);
    params_add_ullong(&g->params, "cpu.system", time.system_ns);
}

static void gather_balloon(struct gather *g)
{
    pthread_mutex_lock(&g->domain->lock);
    const struct model_domain *d = g->live ? g->live->document : NULL;
    uint64_t current = d ? d->current_memory_kib : g->domain->summary.memory_kib;
    uint64_t maximum = d ? d->memory_kib : g->domain->summary.max_memory_kib;
    pthread_mutex_unlock(&g->domain->lock);
    params_add_ullong(&g->params, "balloon.current", current);
    params_add_ullong(&g->params, "balloon.maximum", maximum);
    struct machine_memory memory;
    if (!g->live || g->nowait || machine_query_memory(g->live->machine, &memory, NULL))
        return;
    for (size_t i = 0; i < memory_figure_count; i++) {
        char name[96];
        uint64_t value;
        if (memory_figures[i].tag != VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON &&
            memory_figure_value(&memory, &memory_figures[i], &value))
            params_add_ullong(&g->params, named(name, "balloon.%s", memory_figures[i].name), value);
    }
}

static void gather_vcpu(struct gather *g)
{
    pthread_mutex_lock(&g->domain->lock);
    const struct model_domain *d = g->live ? g->live->document : NULL;
    unsigned now = d ? d->vcpus : g->domain->summary.vcpus;
    unsigned max = d ? d->vcpus_max : g->domain->summary.max_vcpus;
    pthread_mutex_unlock(&g->domain->lock);
    params_add_uint(&g->params, "vcpu.current", now);
    params_add_uint(&g->params, "vcpu.maximum", max);
    cleanup_free struct machine_vcpu *vcpus = NULL;
    unsigned count = 0;
    if (!g->live || g->nowait || machine_query_vcpus(g->live->machine, &vcpus, &count, NULL))
        return;
    for (unsigned i = 0; i < count; i++) {
        char name[96];
        unsigned n = vcpus[i].index;
        params_add_int(&g->params, named(name, "vcpu.%u.state", n), VIR_VCPU_RUNNING);
        params_add_ullong(&g->params, named(name, "vcpu.%u.time", n), vcpus[i].time_ns);
        params_add_ullong(&g->params, named(name, "vcpu.%u.wait", n), vcpus[i].wait_ns);
        params_add_text(&g->params, named(name, "vcpu.%u.halted", n),
                        vcpus[i].halted ? "yes" : "no");
    }
}

static void gather_interface(struct gather *g)
{
    cleanup_free struct machine_nic *nics = NULL;
    unsigned count = 0;
    if (!g->live || g->nowait || machine_query_nics(g->live->machine, &nics, &count, NULL))
        return;
    params_add_uint(&g->params, "net.count", count);
    for (unsigned i = 0; i < count; i++) {
        const struct machine_nic *n = &nics[i];
        const struct {
            const char *name;
            uint64_t value;
        } figures[] = {
            {"rx.bytes", n->rx_bytes}, {"rx.pkts", n->rx_packets}, {"rx.errs", n->rx_errors},
            {"rx.drop", n->rx_drops},  {"tx.bytes", n->tx_bytes},  {"tx.pkts", n->tx_packets},
            {"tx.errs", n->tx_errors}, {"tx.drop", n->tx_drops},
        };
        char name[96];
        if (n->target[0])
            params_add_text(&g->params, named(name, "net.%u.name", i), n->target);
        for (size_t k = 0; k < ARRAY_SIZE(figures); k++)
            params_add_ullong(&g->params, named(name, "net.%u.%s", i, figures[k].name),
                              figures[k].value);
    }
}

/* Names and files of a shut-off domain's disks. */
static void gather_block_names(struct gather *g)
{
    pthread_mutex_lock(&g->domain->lock);
    const struct domain_summary *summary = &g->domain->summary;
    const char *text = summary->disks;
    params_add_uint(&g->params, "block.count", summary->disk_count);
    for (unsigned i = 0; i < summary->disk_count; i++) {
        char name[96];
        params_add_text(&g->params, named(name, "block.%u.name", i), text);
        text += strlen(text) + 1;
        if (*text)
            params_add_text(&g->params, named(name, "block.%u.path", i), text);
        text += strlen(text) + 1;
    }
    pthread_mutex_unlock(&g->domain->lock);
}

static void gather_one_disk(struct gather *g, unsigned i, const struct machine_disk *disk)
{
    char name[96], target[64] = "", path[1024] = "";
    pthread_mutex_lock(&g->domain->lock);
    struct model_device *device = model_domain_find_alias(g->live->document, disk->alias);
    if (device && device->kind == MODEL_DISK) {
        const struct model_disk *d = (const struct model_disk *)device;
        snprintf(target, sizeof(target), "%s", d->target);
        snprintf(path, sizeof(path), "%s", d->image.path ? d->image.path : "");
    }
    pthread_mutex_unlock(&g->domain->lock);
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"rd.reqs", disk->rd_ops},        {"rd.bytes", disk->rd_bytes},
        {"rd.times", disk->rd_ns},        {"wr.reqs", disk->wr_ops},
        {"wr.bytes", disk->wr_bytes},     {"wr.times", disk->wr_ns},
        {"fl.reqs", disk->flush_ops},     {"fl.times", disk->flush_ns},
        {"allocation", disk->allocation}, {"capacity", disk->capacity},
        {"physical", disk->physical},
    };
    params_add_text(&g->params, named(name, "block.%u.name", i), target);
    if (path[0])
        params_add_text(&g->params, named(name, "block.%u.path", i), path);
    for (size_t k = 0; k < ARRAY_SIZE(figures); k++)
        params_add_ullong(&g->params, named(name, "block.%u.%s", i, figures[k].name),
                          figures[k].value);
}

static void gather_block(struct gather *g)
{
    if (!g->live) {
        gather_block_names(g);
        return;
    }
    cleanup_free struct machine_disk *disks = NULL;
    unsigned count = 0;
    if (g->nowait || machine_query_disks(g->live->machine, &disks, &count, NULL))
        return;
    params_add_uint(&g->params, "block.count", count);
    for (unsigned i = 0; i < count; i++)
        gather_one_disk(g, i, &disks[i]);
}

static void gather_iothread(struct gather *g)
{
    cleanup_free struct machine_iothread *threads = NULL;
    unsigned count = 0;
    if (!g->live || g->nowait || machine_query_iothreads(g->live->machine, &threads, &count, NULL))
        return;
    params_add_uint(&g->params, "iothread.count", count);
}

/* Libvirt's groups that nothing here can fill are accepted and empty, as libvirt's are on hosts
 * without what they need (perf events, resource monitoring, dirty rate). */
static const struct {
    unsigned group; /* VIR_DOMAIN_STATS_* */
    void (*fn)(struct gather *g);
} gatherers[] = {
    {VIR_DOMAIN_STATS_STATE, gather_state},
    {VIR_DOMAIN_STATS_CPU_TOTAL, gather_cpu},
    {VIR_DOMAIN_STATS_BALLOON, gather_balloon},
    {VIR_DOMAIN_STATS_VCPU, gather_vcpu},
    {VIR_DOMAIN_STATS_INTERFACE, gather_interface},
    {VIR_DOMAIN_STATS_BLOCK, gather_block},
    {VIR_DOMAIN_STATS_PERF, NULL},
    {VIR_DOMAIN_STATS_IOTHREAD, gather_iothread},
    {VIR_DOMAIN_STATS_MEMORY, NULL},
    {VIR_DOMAIN_STATS_DIRTYRATE, NULL},
    {VIR_DOMAIN_STATS_VM, NULL},
};

static int gather_domain(struct domain *domain, unsigned groups, bool nowait,
                         wire_stats_record *record, struct kv_error *err)
{
    struct gather g = {.domain = domain, .nowait = nowait};
    if (wire_domain_fill(&record->dom, domain))
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (record->dom.id >= 0)
        g.live = domain_live_get(domain, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(gatherers); i++)
        if ((groups & gatherers[i].group) && gatherers[i].fn)
            gatherers[i].fn(&g);
    domain_live_put(g.live);
    return params_give(&g.params, &record->params.params_val, &record->params.params_len, err);
}

static int known_groups(unsigned *groups, bool enforce, struct kv_error *err)
{
    unsigned known = 0;
    for (size_t i = 0; i < ARRAY_SIZE(gatherers); i++)
        known |= gatherers[i].group;
    if (*groups == 0)
        *groups = known;
    if (enforce && (*groups & ~known))
        return api_error(err, VIR_ERR_ARGUMENT_UNSUPPORTED,
                         "Stats types bits 0x%x are not supported by this daemon",
                         *groups & ~known);
    return 0;
}

/* Those that the client names and that are there; or all. */
static struct domain **wanted_domains(struct domains *domains,
                                      const REMOTE_ARGS(CONNECT_GET_ALL_DOMAIN_STATS) * in,
                                      size_t *count)
{
    if (in->doms.doms_len == 0)
        return domains_snapshot(domains, count);
    struct domain **array = calloc(in->doms.doms_len, sizeof(struct domain *));
    *count = 0;
    for (unsigned i = 0; array && i < in->doms.doms_len; i++) {
        struct domain *d = domains_by_uuid(domains, (const uint8_t *)in->doms.doms_val[i].uuid);
        if (d)
            array[(*count)++] = d;
    }
    return array;
}

#define RECORDS_MAX 16384 /* of the protocol */

CALL(get_all_stats)
{
    const REMOTE_ARGS(CONNECT_GET_ALL_DOMAIN_STATS) *in = args;
    REMOTE_RET(CONNECT_GET_ALL_DOMAIN_STATS) *out = ret;
    unsigned groups = in->stats, list = domain_list_flags();
    if (call_check_flags(call, in->flags,
                         list | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT |
                             VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING |
                             VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS,
                         err) ||
        known_groups(&groups, in->flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS, err))
        return -EINVAL;
    size_t count;
    struct domain **all = wanted_domains(call_domains(call), in, &count);
    int result = 0;
    if (all && count <= RECORDS_MAX)
        out->ret_stats.ret_stats_val = calloc(count + 1, sizeof(wire_stats_record));
    if (count > RECORDS_MAX)
        result = api_error(err, VIR_ERR_RPC,
                           "Number of stats entries is %zu, which exceeds max "
                           "limit: %d",
                           count, RECORDS_MAX);
    else if (!out->ret_stats.ret_stats_val)
        result = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    for (size_t i = 0; !result && i < count; i++) {
        pthread_mutex_lock(&all[i]->lock);
        bool fits = domain_fits_list(all[i], in->flags & list);
        pthread_mutex_unlock(&all[i]->lock);
        if (fits)
            result =
                gather_domain(all[i], groups, in->flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
                              &out->ret_stats.ret_stats_val[out->ret_stats.ret_stats_len++], err);
    }
    domains_release(all, count);
    return result;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_CONNECT_GET_ALL_DOMAIN_STATS, get_all_stats, 0},
};
const struct call_rows call_bulk_rows = {rows, ARRAY_SIZE(rows)};
