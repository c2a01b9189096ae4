/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Figures of machines: domstats, domblkstat, domifstat, dommemstat, cpu-stats. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

static int print_records(struct cli *cli, const REMOTE_RET(CONNECT_GET_ALL_DOMAIN_STATS) * all)
{
    out_array(cli);
    for (unsigned i = 0; i < all->ret_stats.ret_stats_len; i++) {
        const wire_stats_record *record = &all->ret_stats.ret_stats_val[i];
        out_print(cli, "%sDomain: '%s'\n", i ? "\n" : "", record->dom.name);
        out_item(cli);
        out_key(cli, "domain", "%s", record->dom.name);
        for (unsigned k = 0; k < record->params.params_len; k++) {
            const wire_param *param = &record->params.params_val[k];
            const char *text = param_text(cli, param);
            out_print(cli, "  %s=%s\n", param->field, text);
            out_key(cli, param->field, "%s", text);
        }
    }
    return 0;
}

int domain_stats(struct cli *cli)
{
    static const struct arg_flag groups[] = {
        {"state", VIR_DOMAIN_STATS_STATE},
        {"cpu-total", VIR_DOMAIN_STATS_CPU_TOTAL},
        {"balloon", VIR_DOMAIN_STATS_BALLOON},
        {"vcpu", VIR_DOMAIN_STATS_VCPU},
        {"interface", VIR_DOMAIN_STATS_INTERFACE},
        {"block", VIR_DOMAIN_STATS_BLOCK},
        {"perf", VIR_DOMAIN_STATS_PERF},
        {"iothread", VIR_DOMAIN_STATS_IOTHREAD},
        {"memory", VIR_DOMAIN_STATS_MEMORY},
        {"dirtyrate", VIR_DOMAIN_STATS_DIRTYRATE},
        {"vm", VIR_DOMAIN_STATS_VM},
        {NULL},
    };
    static const struct arg_flag which[] = {
        {"list-active", VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE},
        {"list-inactive", VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE},
        {"list-persistent", VIR_CONNECT_GET_ALL_DOMAINS_STATS_PERSISTENT},
        {"list-transient", VIR_CONNECT_GET_ALL_DOMAINS_STATS_TRANSIENT},
        {"list-running", VIR_CONNECT_GET_ALL_DOMAINS_STATS_RUNNING},
        {"list-paused", VIR_CONNECT_GET_ALL_DOMAINS_STATS_PAUSED},
        {"list-shutoff", VIR_CONNECT_GET_ALL_DOMAINS_STATS_SHUTOFF},
        {"list-other", VIR_CONNECT_GET_ALL_DOMAINS_STATS_OTHER},
        {"enforce", VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS},
        {"backing", VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING},
        {"nowait", VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT},
        {NULL},
    };
    unsigned n = 0;
    while (arg_rest(cli, "domain", n))
        n++;
    wire_domain *domains = cli_alloc(cli, (n + 1) * sizeof(*domains));
    for (unsigned i = 0; i < n; i++) {
        const wire_domain *domain = lookup_domain_named(cli, arg_rest(cli, "domain", i));
        if (!domain)
            return -1;
        domains[i] = *domain;
    }
    const REMOTE_RET(CONNECT_GET_ALL_DOMAIN_STATS) *all =
        CALL(cli, CONNECT_GET_ALL_DOMAIN_STATS, .doms = {n, domains},
             .stats = arg_flags(cli, groups), .flags = arg_flags(cli, which));
    return all ? print_records(cli, all) : -1;
}

/* Names of older releases, which virsh prints, and sentences for people. */
static const struct {
    const char *field, *name, *human;
} block_figures[] = {
    {"rd_operations", "rd_req", "number of read operations:"},
    {"rd_bytes", "rd_bytes", "number of bytes read:"},
    {"wr_operations", "wr_req", "number of write operations:"},
    {"wr_bytes", "wr_bytes", "number of bytes written:"},
    {"errs", "errs", "error count:"},
    {"flush_operations", "flush_operations", "number of flush operations:"},
    {"rd_total_times", "rd_total_times", "total duration of reads (ns):"},
    {"wr_total_times", "wr_total_times", "total duration of writes (ns):"},
    {"flush_total_times", "flush_total_times", "total duration of flushes (ns):"},
};

static void print_block_figure(struct cli *cli, const char *device, const char *name,
                               const char *human, const char *value)
{
    if (human && arg_on(cli, "human"))
        out_print(cli, " %-31s %s\n", human, value);
    else
        out_print(cli, "%s %s %s\n", device, name, value);
    out_key(cli, name, "%s", value);
}

int domain_block_stat(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *device = "";
    if (!domain || arg_text(cli, "device", &device) < 0)
        return -1;
    const REMOTE_RET(DOMAIN_BLOCK_STATS_FLAGS) *count =
        CALL(cli, DOMAIN_BLOCK_STATS_FLAGS, .dom = *domain, .path = TEXT(device));
    const REMOTE_RET(DOMAIN_BLOCK_STATS_FLAGS) *got =
        count ? CALL(cli, DOMAIN_BLOCK_STATS_FLAGS, .dom = *domain, .path = TEXT(device),
                     .nparams = count->nparams)
              : NULL;
    if (!count)
        return -1;
    if (!got)
        return cli_error(cli, "Failed to get block stats for domain '%s' device '%s'", domain->name,
                         device);
    if (arg_on(cli, "human"))
        out_print(cli, "Device: %s\n", device);
    unsigned n = got->params.params_len;
    bool *shown = cli_alloc(cli, n + 1);
    for (size_t i = 0; i < ARRAY_SIZE(block_figures); i++) {
        const wire_param *param = param_find(got->params.params_val, n, block_figures[i].field);
        if (!param)
            continue;
        shown[param - got->params.params_val] = true;
        print_block_figure(cli, device, block_figures[i].name, block_figures[i].human,
                           param_text(cli, param));
    }
    for (unsigned i = 0; i < n; i++)
        if (!shown[i])
            print_block_figure(cli, device, got->params.params_val[i].field, NULL,
                               param_text(cli, &got->params.params_val[i]));
    return 0;
}

int domain_interface_stat(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *device = NULL;
    if (!domain || arg_text(cli, "interface", &device) < 0)
        return -1;
    const REMOTE_RET(DOMAIN_INTERFACE_STATS) *got =
        CALL(cli, DOMAIN_INTERFACE_STATS, .dom = *domain, .device = TEXT(device));
    if (!got)
        return cli_error(cli, "Failed to get interface stats %s %s", domain->name, device);
    const struct {
        const char *name;
        int64_t value;
    } figures[] = {
        {"rx_bytes", got->rx_bytes}, {"rx_packets", got->rx_packets},
        {"rx_errs", got->rx_errs},   {"rx_drop", got->rx_drop},
        {"tx_bytes", got->tx_bytes}, {"tx_packets", got->tx_packets},
        {"tx_errs", got->tx_errs},   {"tx_drop", got->tx_drop},
    };
    for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
        if (figures[i].value < 0)
            continue;
        out_print(cli, "%s %s %lld\n", device, figures[i].name, (long long)figures[i].value);
        out_key(cli, figures[i].name, "%lld", (long long)figures[i].value);
    }
    return 0;
}

int domain_memory_stat(struct cli *cli)
{
    static const char *const names[] = {
        "swap_in",     "swap_out",        "major_fault",   "minor_fault", "unused",
        "available",   "actual",          "rss",           "usable",      "last_update",
        "disk_caches", "hugetlb_pgalloc", "hugetlb_pgfail"};
    unsigned flags = 0;
    int period = 0;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    int given = domain ? arg_int(cli, "period", &period) : -1;
    if (given < 0)
        return -1;
    if (given > 0) {
        if (period < 0)
            return cli_error(cli, "Invalid collection period value '%d'", period);
        if (!CALL(cli, DOMAIN_SET_MEMORY_STATS_PERIOD, .dom = *domain, .period = period,
                  .flags = flags))
            return cli_error(cli, "Unable to change balloon collection period.");
        return 0;
    }
    const REMOTE_RET(DOMAIN_MEMORY_STATS) *got =
        CALL(cli, DOMAIN_MEMORY_STATS, .dom = *domain, .max_stats = VIR_DOMAIN_MEMORY_STAT_NR);
    if (!got)
        return cli_error(cli, "Failed to get memory statistics for domain %s", domain->name);
    for (unsigned i = 0; i < got->stats.stats_len; i++) {
        const wire_memory_stat *stat = &got->stats.stats_val[i];
        if (stat->tag < 0 || (size_t)stat->tag >= ARRAY_SIZE(names))
            continue;
        out_print(cli, "%s %llu\n", names[stat->tag], (unsigned long long)stat->val);
        out_key(cli, names[stat->tag], "%llu", (unsigned long long)stat->val);
    }
    return 0;
}

/* Times are shown in seconds. */
static void print_cpu_figure(struct cli *cli, const wire_param *param)
{
    bool time = param->value.type == KVASIR_PARAM_ULLONG &&
                (strcmp(param->field, VIR_DOMAIN_CPU_STATS_CPUTIME) == 0 ||
                 strcmp(param->field, VIR_DOMAIN_CPU_STATS_USERTIME) == 0 ||
                 strcmp(param->field, VIR_DOMAIN_CPU_STATS_SYSTEMTIME) == 0 ||
                 strcmp(param->field, VIR_DOMAIN_CPU_STATS_VCPUTIME) == 0);
    uint64_t ns = param->value.wire_param_value_u.ul;
    if (time)
        out_print(cli, "\t%-12s %9lld.%09lld seconds\n", param->field, (long long)(ns / 1000000000),
                  (long long)(ns % 1000000000));
    else
        out_print(cli, "\t%-12s %s\n", param->field, param_text(cli, param));
    out_key(cli, param->field, "%s", param_text(cli, param));
}

static int cpu_total(struct cli *cli, const wire_domain *domain)
{
    const REMOTE_RET(DOMAIN_GET_CPU_STATS) *count =
        CALL(cli, DOMAIN_GET_CPU_STATS, .dom = *domain, .start_cpu = -1, .ncpus = 1);
    if (count && count->nparams == 0)
        return cli_error(cli, "No total stats available");
    const REMOTE_RET(DOMAIN_GET_CPU_STATS) *got =
        count ? CALL(cli, DOMAIN_GET_CPU_STATS, .dom = *domain, .nparams = (u_int)count->nparams,
                     .start_cpu = -1, .ncpus = 1)
              : NULL;
    if (!got)
        return cli_error(cli, "Failed to retrieve CPU statistics for domain '%s'", domain->name);
    out_print(cli, "Total:\n");
    for (unsigned i = 0; i < got->params.params_len; i++)
        print_cpu_figure(cli, &got->params.params_val[i]);
    return 0;
}

/* n_params of each of count processors, from the first; what a processor has not is empty. */
static int cpu_each(struct cli *cli, const wire_domain *domain, int first, int count)
{
    const REMOTE_RET(DOMAIN_GET_CPU_STATS) *most = CALL(cli, DOMAIN_GET_CPU_STATS, .dom = *domain);
    if (!most)
        return cli_error(cli, "Failed to retrieve CPU statistics for domain '%s'", domain->name);
    if (first >= most->nparams)
        return cli_error(cli, "Start CPU %d is out of range (min: 0, max: %d)", first,
                         most->nparams - 1);
    if (count < 0 || count > most->nparams - first) {
        if (count > most->nparams)
            out_print(cli, "Only %d CPUs available to show\n", most->nparams - first);
        count = most->nparams - first;
    }
    const REMOTE_RET(DOMAIN_GET_CPU_STATS) *figures =
        CALL(cli, DOMAIN_GET_CPU_STATS, .dom = *domain, .ncpus = 1);
    if (figures && figures->nparams == 0)
        return cli_error(cli, "No per-CPU stats available");
    for (int cpu = first; figures && cpu < first + count; cpu++) {
        const REMOTE_RET(DOMAIN_GET_CPU_STATS) *got =
            CALL(cli, DOMAIN_GET_CPU_STATS, .dom = *domain, .nparams = (u_int)figures->nparams,
                 .start_cpu = cpu, .ncpus = 1);
        if (!got)
            return cli_error(cli, "Failed to retrieve CPU statistics for domain '%s'",
                             domain->name);
        out_print(cli, "CPU%d:\n", cpu);
        out_item(cli);
        out_key(cli, "cpu", "%d", cpu);
        for (unsigned i = 0; i < got->params.params_len; i++)
            print_cpu_figure(cli, &got->params.params_val[i]);
    }
    return figures
               ? 0
               : cli_error(cli, "Failed to retrieve CPU statistics for domain '%s'", domain->name);
}

int domain_cpu_stats(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    int first = 0, count = -1;
    if (!domain)
        return -1;
    bool total = arg_on(cli, "total");
    int has_start = arg_int(cli, "start", &first), has_count = arg_int(cli, "count", &count);
    if (has_start < 0 || has_count < 0)
        return -1;
    if (has_start > 0 && first < 0)
        return cli_error(cli, "Invalid value for start CPU");
    if (has_count > 0 && count < 0)
        return cli_error(cli, "Invalid value for number of CPUs to show");
    bool each = has_start || has_count;
    if (!total || each) {
        int r = cpu_each(cli, domain, first, count);
        if (r < 0)
            return r;
        total = total || !each;
    }
    return total ? cpu_total(cli, domain) : 0;
}
