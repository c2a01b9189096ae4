/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virConnectGetAllDomainStats: a group of figures is a row of the table at the bottom. What a
 * domain that is shut off has to tell comes out of its summary, without the database.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/domain/call.h"
#include "daemon/domain/live.h"
#include "rpc/reply.h"

/* One domain: what is known of it without its monitor, and where its figures go. */
struct gather {
    struct reply_params params;
    struct domain *domain;
    struct domain_live *live; /* NULL: shut off; then the domain's lock is held */
    struct machine_asked *asked;
    bool nowait; /* nothing that a monitor has to answer */
    int state, reason;
    uint64_t memory_kib, max_memory_kib;
    unsigned vcpus, max_vcpus, iothreads;
};

/* A parameter's name with a number in it, "block." 0 ".name". */
struct numbered {
    char text[96];
};

static const char *numbered(struct numbered *out, const char *group, unsigned n, const char *name)
{
    char digits[12], *first = &digits[sizeof(digits) - 1], *end = stpcpy(out->text, group);
    *first = '\0';
    do
        *--first = (char)('0' + n % 10);
    while (n /= 10);
    strcpy(stpcpy(end, first), name);
    return out->text;
}

static void gather_state(struct gather *g)
{
    reply_param_int(&g->params, "state.state", g->state);
    reply_param_int(&g->params, "state.reason", g->reason);
}

static void gather_cpu(struct gather *g)
{
    struct machine_cpu_time time;
    if (!g->live || machine_query_cpu_time(g->live->machine, &time, NULL))
        return;
    reply_param_ullong(&g->params, "cpu.time", time.total_ns);
    reply_param_ullong(&g->params, "cpu.user", time.user_ns);
    reply_param_ullong(&g->params, "cpu.system", time.system_ns);
}

static void gather_balloon(struct gather *g)
{
    reply_param_ullong(&g->params, "balloon.current", g->memory_kib);
    reply_param_ullong(&g->params, "balloon.maximum", g->max_memory_kib);
    struct machine_memory memory;
    if (!g->live || g->nowait || machine_query_memory(g->live->machine, g->asked, &memory, NULL))
        return;
    for (size_t i = 0; i < memory_figure_count; i++) {
        char name[64] = "balloon.";
        uint64_t value;
        if (memory_figures[i].tag != VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON &&
            memory_figure_value(&memory, &memory_figures[i], &value))
            reply_param_ullong(&g->params, strcat(name, memory_figures[i].name), value);
    }
}

/* By the names that libvirt has from QEMU's query-stats: KVM's, and .sum of what only grows. */
static void gather_exits(struct gather *g, const struct machine_vcpu *vcpu)
{
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {".exits.sum", vcpu->exits},           {".halt_exits.sum", vcpu->halt_exits},
        {".io_exits.sum", vcpu->io_exits},     {".irq_exits.sum", vcpu->irq_exits},
        {".mmio_exits.sum", vcpu->mmio_exits}, {".signal_exits.sum", vcpu->signal_exits},
    };
    struct numbered name;
    for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
        if (figures[i].value != UINT64_MAX)
            reply_param_ullong(&g->params, numbered(&name, "vcpu.", vcpu->index, figures[i].name),
                               figures[i].value);
}

static void gather_vcpu(struct gather *g)
{
    reply_param_uint(&g->params, "vcpu.current", g->vcpus);
    reply_param_uint(&g->params, "vcpu.maximum", g->max_vcpus);
    cleanup_free struct machine_vcpu *vcpus = NULL;
    unsigned count = 0;
    if (!g->live || g->nowait ||
        machine_query_vcpus(g->live->machine, g->asked, &vcpus, &count, NULL))
        return;
    for (unsigned i = 0; i < count; i++) {
        struct numbered name;
        unsigned n = vcpus[i].index;
        reply_param_int(&g->params, numbered(&name, "vcpu.", n, ".state"), VIR_VCPU_RUNNING);
        reply_param_ullong(&g->params, numbered(&name, "vcpu.", n, ".time"), vcpus[i].time_ns);
        reply_param_ullong(&g->params, numbered(&name, "vcpu.", n, ".wait"), vcpus[i].wait_ns);
        reply_param_text(&g->params, numbered(&name, "vcpu.", n, ".halted"),
                         vcpus[i].halted ? "yes" : "no");
        gather_exits(g, &vcpus[i]);
    }
}

static void gather_interface(struct gather *g)
{
    cleanup_free struct machine_nic *nics = NULL;
    unsigned count = 0;
    if (!g->live || g->nowait ||
        machine_query_nics(g->live->machine, g->asked, &nics, &count, NULL))
        return;
    reply_param_uint(&g->params, "net.count", count);
    for (unsigned i = 0; i < count; i++) {
        const struct machine_nic *n = &nics[i];
        const struct {
            const char *name;
            uint64_t value;
        } figures[] = {
            {".rx.bytes", n->rx_bytes}, {".rx.pkts", n->rx_packets}, {".rx.errs", n->rx_errors},
            {".rx.drop", n->rx_drops},  {".tx.bytes", n->tx_bytes},  {".tx.pkts", n->tx_packets},
            {".tx.errs", n->tx_errors}, {".tx.drop", n->tx_drops},
        };
        struct numbered name;
        if (n->target[0])
            reply_param_text(&g->params, numbered(&name, "net.", i, ".name"), n->target);
        for (size_t k = 0; k < ARRAY_SIZE(figures); k++)
            reply_param_ullong(&g->params, numbered(&name, "net.", i, figures[k].name),
                               figures[k].value);
    }
}

/* Names and files of a shut-off domain's disks. */
static void gather_block_names(struct gather *g)
{
    const struct domain_summary *summary = &g->domain->summary;
    const char *text = summary->disks;
    reply_param_uint(&g->params, "block.count", summary->disk_count);
    for (unsigned i = 0; i < summary->disk_count; i++) {
        struct numbered name;
        reply_param_text(&g->params, numbered(&name, "block.", i, ".name"), text);
        text += strlen(text) + 1;
        if (*text)
            reply_param_text(&g->params, numbered(&name, "block.", i, ".path"), text);
        text += strlen(text) + 1;
    }
}

static void gather_one_disk(struct gather *g, unsigned i, const struct machine_disk *disk)
{
    struct numbered name;
    char target[64] = "", path[1024] = "";
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
        {".rd.reqs", disk->rd_ops},        {".rd.bytes", disk->rd_bytes},
        {".rd.times", disk->rd_ns},        {".wr.reqs", disk->wr_ops},
        {".wr.bytes", disk->wr_bytes},     {".wr.times", disk->wr_ns},
        {".fl.reqs", disk->flush_ops},     {".fl.times", disk->flush_ns},
        {".allocation", disk->allocation}, {".capacity", disk->capacity},
        {".physical", disk->physical},
    };
    reply_param_text(&g->params, numbered(&name, "block.", i, ".name"), target);
    if (path[0])
        reply_param_text(&g->params, numbered(&name, "block.", i, ".path"), path);
    for (size_t k = 0; k < ARRAY_SIZE(figures); k++)
        reply_param_ullong(&g->params, numbered(&name, "block.", i, figures[k].name),
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
    if (g->nowait || machine_query_disks(g->live->machine, g->asked, &disks, &count, NULL))
        return;
    reply_param_uint(&g->params, "block.count", count);
    for (unsigned i = 0; i < count; i++)
        gather_one_disk(g, i, &disks[i]);
}

static void gather_iothread(struct gather *g)
{
    if (g->live)
        reply_param_uint(&g->params, "iothread.count", g->iothreads);
}

/* Libvirt's groups that nothing here can fill are accepted and empty, as libvirt's are on hosts
 * without what they need (perf events, resource monitoring, dirty rate). */
static const struct {
    unsigned group; /* VIR_DOMAIN_STATS_* */
    void (*fn)(struct gather *g);
    unsigned asks; /* MACHINE_ASK_* */
} gatherers[] = {
    {VIR_DOMAIN_STATS_STATE, gather_state},
    {VIR_DOMAIN_STATS_CPU_TOTAL, gather_cpu},
    {VIR_DOMAIN_STATS_BALLOON, gather_balloon, MACHINE_ASK_MEMORY},
    {VIR_DOMAIN_STATS_VCPU, gather_vcpu, MACHINE_ASK_VCPUS},
    {VIR_DOMAIN_STATS_INTERFACE, gather_interface, MACHINE_ASK_NICS},
    {VIR_DOMAIN_STATS_BLOCK, gather_block, MACHINE_ASK_DISKS},
    {VIR_DOMAIN_STATS_PERF, NULL},
    {VIR_DOMAIN_STATS_IOTHREAD, gather_iothread},
    {VIR_DOMAIN_STATS_MEMORY, NULL},
    {VIR_DOMAIN_STATS_DIRTYRATE, NULL},
    {VIR_DOMAIN_STATS_VM, NULL},
};

/* With the domain's lock. */
static void know(struct gather *g)
{
    const struct domain *domain = g->domain;
    const struct model_domain *live = g->live ? g->live->document : NULL;
    g->state = domain->state;
    g->reason = domain->reason;
    g->memory_kib = live ? live->current_memory_kib : domain->summary.memory_kib;
    g->max_memory_kib = live ? live->memory_kib : domain->summary.max_memory_kib;
    g->vcpus = live ? live->vcpus : domain->summary.vcpus;
    g->max_vcpus = live ? live->vcpus_max : domain->summary.max_vcpus;
    g->iothreads = live ? live->iothreads : 0;
}

/* Machines that are asked before it is their turn: they make up their answers at the same time. */
#define ASKED_AHEAD 128

struct asked {
    struct domain_live *live; /* a reference; NULL: nothing was asked */
    struct machine_asked *questions;
};

static void ask(struct asked *asked, struct domain *domain, unsigned groups, unsigned flags)
{
    unsigned questions = 0;
    for (size_t i = 0; i < ARRAY_SIZE(gatherers); i++)
        questions |= groups & gatherers[i].group ? gatherers[i].asks : 0;
    if (!questions || (flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT))
        return;
    pthread_mutex_lock(&domain->lock);
    asked->live = domain_fits_list(domain, flags) ? domain_live_ref(domain) : NULL;
    pthread_mutex_unlock(&domain->lock);
    if (asked->live)
        asked->questions = machine_ask(asked->live->machine, questions);
}

static void forget_asked(struct asked *asked)
{
    machine_asked_free(asked->questions);
    domain_live_put(asked->live);
    *asked = (struct asked){.live = NULL};
}

/* The record of a domain that fits. Returns how many that were: 1 or 0. */
static unsigned gather_domain(struct domain *domain, unsigned groups, unsigned flags,
                              const struct asked *asked, struct rpc_reply *reply)
{
    struct gather g = {.domain = domain,
                       .nowait = flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT};
    pthread_mutex_lock(&domain->lock);
    if (!domain_fits_list(domain, flags)) {
        pthread_mutex_unlock(&domain->lock);
        return 0;
    }
    reply_domain(reply, domain->name, domain->uuid, domain->id);
    g.live = domain_live_ref(domain);
    know(&g);
    if (g.live && g.live == asked->live)
        g.asked = asked->questions;
    if (g.live)
        pthread_mutex_unlock(&domain->lock);
    reply_params_begin(&g.params, reply);
    for (size_t i = 0; i < ARRAY_SIZE(gatherers); i++)
        if ((groups & gatherers[i].group) && gatherers[i].fn)
            gatherers[i].fn(&g);
    reply_params_end(&g.params);
    if (!g.live)
        pthread_mutex_unlock(&domain->lock);
    domain_live_put(g.live);
    return 1;
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
    unsigned groups = in->stats;
    if (call_check_flags(call, in->flags,
                         domain_list_flags() | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT |
                             VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING |
                             VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS,
                         err) ||
        known_groups(&groups, in->flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS, err))
        return -EINVAL;
    size_t count;
    struct domain **all = wanted_domains(call_domains(call), in, &count);
    int result = 0;
    if (!all)
        result = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    else if (count > RECORDS_MAX)
        result = api_error(err, VIR_ERR_RPC,
                           "Number of stats entries is %zu, which exceeds max "
                           "limit: %d",
                           count, RECORDS_MAX);
    if (!result) {
        struct rpc_reply *reply = rpc_call_reply(call);
        size_t place = reply_place(reply);
        struct asked asked[ASKED_AHEAD] = {{.live = NULL}};
        unsigned records = 0;
        for (size_t i = 0; i < count + ASKED_AHEAD; i++) {
            struct asked *slot = &asked[i % ASKED_AHEAD];
            if (i >= ASKED_AHEAD) {
                records += gather_domain(all[i - ASKED_AHEAD], groups, in->flags, slot, reply);
                forget_asked(slot);
            }
            if (i < count)
                ask(slot, all[i], groups, in->flags);
        }
        reply_u32_at(reply, place, records);
    }
    domains_release(all, count);
    return result;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_CONNECT_GET_ALL_DOMAIN_STATS, get_all_stats, 0},
};
const struct call_rows call_bulk_rows = {rows, ARRAY_SIZE(rows)};
