/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's processors: how many, how arranged, what they did. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/util.h"
#include "daemon/host/files.h"
#include "daemon/host/host.h"
#include "model/api_error.h"

#define CPUS_MOST 16384 /* as many as the protocol's map holds */
#define CPU "/sys/devices/system/cpu"
#define NODES_MOST 1024

static bool present(const uint8_t *set, unsigned n)
{
    return n < CPUS_MOST && bit_get(set, n);
}

/* How many processors share a core (or are in a socket's list) with cpu. */
static int siblings(unsigned cpu, const char *list)
{
    uint8_t set[CPUS_MOST / 8];
    int n = file_read_list(set, CPUS_MOST, CPU "/cpu%u/topology/%s", cpu, list);
    return MAX(n, 1);
}

static unsigned mhz(void)
{
    char line[256];
    double value = 0;
    uint64_t khz = file_read_number(0, CPU "/cpu0/cpufreq/base_frequency");
    if (khz)
        return (unsigned)(khz / 1000);
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "cpu MHz", 7) == 0 && colon && sscanf(colon + 1, "%lf", &value) == 1)
            break;
    }
    if (file)
        fclose(file);
    return (unsigned)value;
}

static int count_nodes(void)
{
    uint8_t nodes[NODES_MOST / 8];
    int n = file_read_list(nodes, NODES_MOST, "/sys/devices/system/node/online");
    return MAX(n, 1);
}

int host_node_info(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(NODE_GET_INFO) *out = ret;
    uint8_t online[CPUS_MOST / 8];
    struct utsname names;
    int n = file_read_list(online, CPUS_MOST, CPU "/online");
    if (n <= 0 || uname(&names) < 0)
        return api_error_from(err, VIR_FROM_NONE, VIR_ERR_SYSTEM_ERROR,
                              "the host's processors cannot be read from " CPU);
    snprintf(out->model, sizeof(out->model), "%.31s", names.machine);
    out->cpus = n;
    out->mhz = (int)mhz();
    out->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    unsigned first = 0;
    while (!present(online, first))
        first++;
    out->threads = siblings(first, "thread_siblings_list");
    out->cores = MAX(siblings(first, "core_siblings_list") / out->threads, 1);
    out->nodes = count_nodes();
    out->sockets = n / (out->nodes * out->cores * out->threads);
    /* Where that does not come out even, libvirt says: one node, one socket, all are cores. */
    if (out->sockets * out->nodes * out->cores * out->threads != n) {
        out->nodes = out->sockets = out->threads = 1;
        out->cores = n;
    }
    return 0;
}

int host_cpu_map(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_GET_CPU_MAP) *in = args;
    REMOTE_RET(NODE_GET_CPU_MAP) *out = ret;
    uint8_t all[CPUS_MOST / 8], online[CPUS_MOST / 8];
    if (rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, 0, err) < 0)
        return -EINVAL;
    if (file_read_list(all, CPUS_MOST, CPU "/present") <= 0 ||
        file_read_list(online, CPUS_MOST, CPU "/online") <= 0)
        return api_error_from(err, VIR_FROM_NONE, VIR_ERR_SYSTEM_ERROR,
                              "the host's processors cannot be read from " CPU);
    unsigned last = 0;
    for (unsigned n = 0; n < CPUS_MOST; n++) {
        last = bit_get(all, n) ? n : last;
        out->online += in->need_online && bit_get(online, n);
    }
    out->result = (int)last + 1;
    if (!in->need_map)
        return 0;
    out->cpu_map.cpu_map_len = last / 8 + 1;
    out->cpu_map.cpu_map_val = malloc(out->cpu_map.cpu_map_len);
    if (!out->cpu_map.cpu_map_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    memcpy(out->cpu_map.cpu_map_val, online, out->cpu_map.cpu_map_len);
    return 0;
}

/* ------------------------------------------------------------------- statistics */

/* Columns of /proc/stat, in ticks. */
enum column {
    USER,
    NICE,
    SYSTEM,
    IDLE,
    IOWAIT,
    IRQ,
    SOFTIRQ,
    COLUMNS,
};

static bool find_cpu_line(int cpu, unsigned long long ticks[COLUMNS])
{
    char wanted[32], line[512];
    bool found = false;
    snprintf(wanted, sizeof(wanted), cpu == VIR_NODE_CPU_STATS_ALL_CPUS ? "cpu " : "cpu%d ", cpu);
    FILE *file = fopen("/proc/stat", "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        found = strncmp(line, wanted, strlen(wanted)) == 0 &&
                sscanf(line + strlen(wanted), " %llu %llu %llu %llu %llu %llu %llu", &ticks[USER],
                       &ticks[NICE], &ticks[SYSTEM], &ticks[IDLE], &ticks[IOWAIT], &ticks[IRQ],
                       &ticks[SOFTIRQ]) == COLUMNS;
    }
    if (file)
        fclose(file);
    return found;
}

int host_cpu_stats(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_GET_CPU_STATS) *in = args;
    REMOTE_RET(NODE_GET_CPU_STATS) *out = ret;
    unsigned long long ticks[COLUMNS];
    uint64_t nanoseconds = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    if (rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, 0, err) < 0)
        return -EINVAL;
    if (in->cpu_num < VIR_NODE_CPU_STATS_ALL_CPUS || !find_cpu_line(in->cpu_num, ticks))
        return api_error(err, VIR_ERR_INVALID_ARG, "Invalid cpuNum in %s", "virNodeGetCPUStats");
    const struct {
        const char *name;
        unsigned long long ticks;
    } figures[] = {
        {VIR_NODE_CPU_STATS_KERNEL, ticks[SYSTEM] + ticks[IRQ] + ticks[SOFTIRQ]},
        {VIR_NODE_CPU_STATS_USER, ticks[USER] + ticks[NICE]},
        {VIR_NODE_CPU_STATS_IDLE, ticks[IDLE]},
        {VIR_NODE_CPU_STATS_IOWAIT, ticks[IOWAIT]},
    };
    out->nparams = ARRAY_SIZE(figures);
    if (in->nparams == 0)
        return 0; /* how many there are was asked */
    if (in->nparams != out->nparams)
        return api_error(err, VIR_ERR_INVALID_ARG, "Invalid parameter count: %d instead of %d",
                         in->nparams, out->nparams);
    out->params.params_val = calloc(ARRAY_SIZE(figures), sizeof(wire_cpu_figure));
    for (size_t i = 0; out->params.params_val && i < ARRAY_SIZE(figures); i++) {
        wire_cpu_figure *figure = &out->params.params_val[out->params.params_len++];
        figure->field = strdup(figures[i].name);
        figure->value = figures[i].ticks * nanoseconds;
        if (!figure->field)
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    return out->params.params_val ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}
