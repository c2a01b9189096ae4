/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host as a node: processors, memory, their figures. */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cpumap.h"
#include "cli/output.h"
#include "cli/params.h"
#include "cli/verbs.h"

#define COLUMNS 20

int node_info(struct cli *cli)
{
    const REMOTE_RET(NODE_GET_INFO) *info = CALL(cli, NODE_GET_INFO);
    if (!info)
        return cli_error(cli, "failed to get node information");
    out_field(cli, COLUMNS, "CPU model:", "%.*s", (int)sizeof(info->model), info->model);
    out_field(cli, COLUMNS, "CPU(s):", "%d", info->cpus);
    if (info->mhz)
        out_field(cli, COLUMNS, "CPU frequency:", "%d MHz", info->mhz);
    out_field(cli, COLUMNS, "CPU socket(s):", "%d", info->sockets);
    out_field(cli, COLUMNS, "Core(s) per socket:", "%d", info->cores);
    out_field(cli, COLUMNS, "Thread(s) per core:", "%d", info->threads);
    out_field(cli, COLUMNS, "NUMA cell(s):", "%d", info->nodes);
    out_field(cli, COLUMNS, "Memory size:", "%llu KiB", (unsigned long long)info->memory);
    return 0;
}

int node_cpu_map(struct cli *cli)
{
    const REMOTE_RET(NODE_GET_CPU_MAP) *got =
        CALL(cli, NODE_GET_CPU_MAP, .need_map = 1, .need_online = 1);
    if (!got)
        return cli_error(cli, "Unable to get cpu map");
    const char *map = got->cpu_map.cpu_map_val;
    unsigned len = got->cpu_map.cpu_map_len;
    out_field(cli, 15, "CPUs present:", "%d", got->result);
    out_field(cli, 15, "CPUs online:", "%u", got->online);
    out_field(cli, 15, "CPU map:", "%s",
              arg_on(cli, "pretty") || cli->json ? cpumap_ranges(cli, map, len, got->result)
                                                 : cpumap_letters(cli, map, len, got->result));
    return 0;
}

enum cpu_figure {
    USER,
    SYSTEM,
    IDLE,
    IOWAIT,
    INTR,
    USAGE,
    CPU_FIGURES,
};

static const struct {
    const char *field, *label;
} cpu_figures[] = {
    [USER] = {VIR_NODE_CPU_STATS_USER, "user:"},
    [SYSTEM] = {VIR_NODE_CPU_STATS_KERNEL, "system:"},
    [IDLE] = {VIR_NODE_CPU_STATS_IDLE, "idle:"},
    [IOWAIT] = {VIR_NODE_CPU_STATS_IOWAIT, "iowait:"},
    [INTR] = {VIR_NODE_CPU_STATS_INTR, "intr:"},
    [USAGE] = {VIR_NODE_CPU_STATS_UTILIZATION, "usage:"},
};

struct cpu_sample {
    bool has[CPU_FIGURES];
    uint64_t values[CPU_FIGURES];
};

static int sample(struct cli *cli, int cpu, struct cpu_sample *out)
{
    *out = (struct cpu_sample){.has = {false}};
    const REMOTE_RET(NODE_GET_CPU_STATS) *count = CALL(cli, NODE_GET_CPU_STATS, .cpu_num = cpu);
    if (!count)
        return cli_error(cli, "Unable to get number of cpu stats");
    const REMOTE_RET(NODE_GET_CPU_STATS) *got =
        CALL(cli, NODE_GET_CPU_STATS, .cpu_num = cpu, .nparams = count->nparams);
    if (!got)
        return cli_error(cli, "Unable to get node cpu stats");
    for (unsigned i = 0; i < got->params.params_len; i++)
        for (size_t k = 0; k < CPU_FIGURES; k++)
            if (strcmp(got->params.params_val[i].field, cpu_figures[k].field) == 0) {
                out->has[k] = true;
                out->values[k] = got->params.params_val[i].value;
            }
    return 0;
}

static void print_percent(struct cli *cli, enum cpu_figure which, double percent)
{
    out_print(cli, "%-15s %5.1lf%%\n", cpu_figures[which].label, percent);
    out_key(cli, cpu_figures[which].label, "%.1lf", percent);
}

/* Shares of the second between two looks. */
static int print_percents(struct cli *cli, int cpu)
{
    struct cpu_sample first, second;
    if (sample(cli, cpu, &first) < 0)
        return -1;
    if (first.has[USAGE]) {
        print_percent(cli, USAGE, (double)first.values[USAGE]);
        return 0;
    }
    sleep(1);
    if (sample(cli, cpu, &second) < 0)
        return -1;
    double spent[CPU_FIGURES], total = 0;
    for (size_t i = 0; i < USAGE; i++) {
        spent[i] = (double)(second.values[i] - first.values[i]);
        total += spent[i];
    }
    if (total <= 0)
        total = 1;
    print_percent(cli, USAGE, (total - spent[IDLE] - spent[IOWAIT]) / total * 100);
    for (size_t i = 0; i < USAGE; i++)
        if (first.has[i] && i != INTR)
            print_percent(cli, i, spent[i] / total * 100);
    if (first.has[INTR])
        print_percent(cli, INTR, spent[INTR] / total * 100);
    return 0;
}

int node_cpu_stats(struct cli *cli)
{
    int cpu = VIR_NODE_CPU_STATS_ALL_CPUS;
    struct cpu_sample now;
    if (arg_int(cli, "cpu", &cpu) < 0)
        return -1;
    if (cpu < VIR_NODE_CPU_STATS_ALL_CPUS) {
        cli_fail(cli, VIR_ERR_INVALID_ARG,
                 "cpuNum in virNodeGetCPUStats only accepts %d as a negative value",
                 VIR_NODE_CPU_STATS_ALL_CPUS);
        return cli_error(cli, "Unable to get number of cpu stats");
    }
    if (arg_on(cli, "percent"))
        return print_percents(cli, cpu);
    if (sample(cli, cpu, &now) < 0)
        return -1;
    for (size_t i = 0; i < CPU_FIGURES; i++) {
        if (!now.has[i])
            continue;
        if (i == USAGE) {
            out_print(cli, "%-15s %5llu%%\n", cpu_figures[i].label,
                      (unsigned long long)now.values[i]);
            continue;
        }
        out_print(cli, "%-15s %20llu\n", cpu_figures[i].label, (unsigned long long)now.values[i]);
        out_key(cli, cpu_figures[i].label, "%llu", (unsigned long long)now.values[i]);
    }
    return 0;
}

int node_memory_stats(struct cli *cli)
{
    int cell = VIR_NODE_MEMORY_STATS_ALL_CELLS;
    if (arg_int(cli, "cell", &cell) < 0)
        return -1;
    if (cell < VIR_NODE_MEMORY_STATS_ALL_CELLS) {
        cli_fail(cli, VIR_ERR_INVALID_ARG,
                 "cellNum in virNodeGetMemoryStats only accepts %d as a negative value",
                 VIR_NODE_MEMORY_STATS_ALL_CELLS);
        return cli_error(cli, "Unable to get number of memory stats");
    }
    const REMOTE_RET(NODE_GET_MEMORY_STATS) *count =
        CALL(cli, NODE_GET_MEMORY_STATS, .cell_num = cell);
    if (!count)
        return cli_error(cli, "Unable to get number of memory stats");
    const REMOTE_RET(NODE_GET_MEMORY_STATS) *got =
        CALL(cli, NODE_GET_MEMORY_STATS, .cell_num = cell, .nparams = count->nparams);
    if (!got)
        return cli_error(cli, "Unable to get memory stats");
    for (unsigned i = 0; i < got->params.params_len; i++) {
        const wire_memory_figure *figure = &got->params.params_val[i];
        out_print(cli, "%-7s: %20llu KiB\n", figure->field, (unsigned long long)figure->value);
        out_key(cli, figure->field, "%llu", (unsigned long long)figure->value);
    }
    return 0;
}

static const struct param_option tune_options[] = {
    {"shm-pages-to-scan", VIR_NODE_MEMORY_SHARED_PAGES_TO_SCAN, PARAM_UINT},
    {"shm-sleep-millisecs", VIR_NODE_MEMORY_SHARED_SLEEP_MILLISECS, PARAM_UINT},
    {"shm-merge-across-nodes", VIR_NODE_MEMORY_SHARED_MERGE_ACROSS_NODES, PARAM_UINT},
    {NULL},
};

int node_memory_tune(struct cli *cli)
{
    struct param_list set;
    if (param_list_read(cli, tune_options, &set) < 0)
        return -1;
    if (set.n)
        return CALL(cli, NODE_SET_MEMORY_PARAMETERS, .params = {set.n, set.list})
                   ? 0
                   : cli_error(cli, "Unable to change memory parameters");
    const REMOTE_RET(NODE_GET_MEMORY_PARAMETERS) *got = CALL(cli, NODE_GET_MEMORY_PARAMETERS);
    if (!got)
        return cli_error(cli, "Unable to get number of memory parameters");
    if (!got->nparams)
        return 0;
    got = CALL(cli, NODE_GET_MEMORY_PARAMETERS, .nparams = got->nparams);
    if (!got)
        return cli_error(cli, "Unable to get memory parameters");
    out_print(cli, "Shared memory:\n");
    for (unsigned i = 0; i < got->params.params_len; i++) {
        const wire_param *param = &got->params.params_val[i];
        out_print(cli, "\t%-15s %s\n", param->field, param_text(cli, param));
        out_key(cli, param->field, "%s", param_text(cli, param));
    }
    return 0;
}

/* Free memory of every cell, then of all of them. */
static int print_all_cells(struct cli *cli)
{
    const REMOTE_RET(NODE_GET_INFO) *info = CALL(cli, NODE_GET_INFO);
    const REMOTE_RET(NODE_GET_CELLS_FREE_MEMORY) *got =
        info ? CALL(cli, NODE_GET_CELLS_FREE_MEMORY, .maxcells = info->nodes) : NULL;
    if (!got)
        return cli_error(cli, "could not get information about NUMA topology");
    uint64_t total = 0;
    for (unsigned i = 0; i < got->cells.cells_len; i++) {
        uint64_t kib = got->cells.cells_val[i] / 1024;
        out_print(cli, "%5u: %10llu KiB\n", i, (unsigned long long)kib);
        out_key(cli, cli_text(cli, "cell_%u", i), "%llu", (unsigned long long)kib);
        total += kib;
    }
    out_print(cli, "--------------------\n%5s: %10llu KiB\n", "Total", (unsigned long long)total);
    out_key(cli, "total", "%llu", (unsigned long long)total);
    return 0;
}

int node_free_cell(struct cli *cli)
{
    int cell = -1;
    if (arg_exclusive(cli, "all", "cellno") < 0)
        return -1;
    if (arg_on(cli, "all"))
        return print_all_cells(cli);
    int given = arg_int(cli, "cellno", &cell);
    if (given < 0)
        return -1;
    if (given && cell < 0)
        return cli_fail(cli, VIR_ERR_INVALID_ARG,
                        "startCell in virNodeGetCellsFreeMemory must be zero or greater");
    if (given) {
        const REMOTE_RET(NODE_GET_CELLS_FREE_MEMORY) *got =
            CALL(cli, NODE_GET_CELLS_FREE_MEMORY, .start_cell = cell, .maxcells = 1);
        if (!got || !got->cells.cells_len)
            return -1;
        unsigned long long kib = got->cells.cells_val[0] / 1024;
        out_print(cli, "%d: %llu KiB\n", cell, kib);
        out_key(cli, cli_text(cli, "cell_%d", cell), "%llu", kib);
        return 0;
    }
    const REMOTE_RET(NODE_GET_FREE_MEMORY) *got = CALL(cli, NODE_GET_FREE_MEMORY);
    if (!got)
        return -1;
    unsigned long long kib = got->free_mem / 1024;
    out_print(cli, "%s: %llu KiB\n", "Total", kib);
    out_key(cli, "total", "%llu", kib);
    return 0;
}

/* Page sizes that the host's processors have, in KiB. */
static const u_int page_sizes[] = {4, 2048, 1048576};

static int print_pages(struct cli *cli, int cell, const u_int *sizes, u_int n)
{
    u_int *list = cli_alloc(cli, n * sizeof(*list));
    memcpy(list, sizes, n * sizeof(*list));
    const REMOTE_RET(NODE_GET_FREE_PAGES) *got =
        CALL(cli, NODE_GET_FREE_PAGES, .pages = {n, list}, .start_cell = cell, .cell_count = 1);
    if (!got)
        return -1;
    for (u_int i = 0; i < got->counts.counts_len && i < n; i++) {
        out_print(cli, "%uKiB: %lld\n", sizes[i], (long long)got->counts.counts_val[i]);
        out_key(cli, cli_text(cli, "%uKiB", sizes[i]), "%lld",
                (long long)got->counts.counts_val[i]);
    }
    return 0;
}

int node_free_pages(struct cli *cli)
{
    uint64_t size = 0;
    int cell = -1;
    if (arg_exclusive(cli, "all", "cellno") < 0)
        return -1;
    bool all = arg_on(cli, "all");
    int has_size = arg_size(cli, "pagesize", &size, 1024, (uint64_t)UINT32_MAX * 1024);
    if (has_size < 0)
        return -1;
    u_int one = (u_int)(size / 1024);
    if (all) {
        const REMOTE_RET(NODE_GET_INFO) *info = CALL(cli, NODE_GET_INFO);
        if (!info)
            return cli_error(cli, "unable to get node capabilities");
        for (int i = 0; i < info->nodes; i++) {
            out_print(cli, "Node %d:\n", i);
            out_item(cli);
            out_key(cli, "cell", "%d", i);
            if (print_pages(cli, i, has_size ? &one : page_sizes,
                            has_size ? 1 : ARRAY_SIZE(page_sizes)) < 0)
                return -1;
            out_print(cli, "\n");
        }
        return 0;
    }
    int has_cell = arg_int(cli, "cellno", &cell);
    if (has_cell < 0)
        return -1;
    if (!has_cell)
        return cli_error(cli, "missing cellno argument");
    if (cell < -1)
        return cli_error(cli, "cell number must be non-negative integer or -1");
    if (!has_size)
        return cli_error(cli, "missing pagesize argument");
    return print_pages(cli, cell, &one, 1);
}
