/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs: how many, where they run, where they may; I/O threads. */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "cli/args.h"
#include "cli/cpumap.h"
#include "cli/line.h"
#include "cli/output.h"
#include "cli/verbs.h"

#define COLUMNS 15

int domain_set_vcpus(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"maximum", VIR_DOMAIN_VCPU_MAXIMUM},
        {"guest", VIR_DOMAIN_VCPU_GUEST},
        {"hotpluggable", VIR_DOMAIN_VCPU_HOTPLUGGABLE},
        {NULL},
    };
    unsigned flags = 0, count = 0;
    if (arg_affect(cli, &flags) < 0 || arg_exclusive(cli, "guest", "config") < 0 ||
        arg_requires(cli, "maximum", "config") < 0)
        return -1;
    flags |= arg_flags(cli, flags_of);
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_uint(cli, "count", &count) < 0)
        return -1;
    if (!count)
        return cli_error(cli, "Can't set 0 processors for a VM");
    bool plain = !flags && !arg_on(cli, "current");
    bool done = plain ? CALL(cli, DOMAIN_SET_VCPUS, .dom = *domain, .nvcpus = count) != NULL
                      : CALL(cli, DOMAIN_SET_VCPUS_FLAGS, .dom = *domain, .nvcpus = count,
                             .flags = flags) != NULL;
    return done ? 0 : -1;
}

/* -1: cannot be told. */
static int vcpus(struct cli *cli, const wire_domain *domain, unsigned flags)
{
    const REMOTE_RET(DOMAIN_GET_VCPUS_FLAGS) *got =
        CALL(cli, DOMAIN_GET_VCPUS_FLAGS, .dom = *domain, .flags = flags);
    return got ? got->num : -1;
}

static int all_vcpu_counts(struct cli *cli, const wire_domain *domain)
{
    static const struct {
        const char *what, *of;
        unsigned flags;
    } rows[] = {
        {"maximum", "config", VIR_DOMAIN_VCPU_MAXIMUM | VIR_DOMAIN_AFFECT_CONFIG},
        {"maximum", "live", VIR_DOMAIN_VCPU_MAXIMUM | VIR_DOMAIN_AFFECT_LIVE},
        {"current", "config", VIR_DOMAIN_AFFECT_CONFIG},
        {"current", "live", VIR_DOMAIN_AFFECT_LIVE},
    };
    const REMOTE_RET(DOMAIN_IS_ACTIVE) *active = CALL(cli, DOMAIN_IS_ACTIVE, .dom = *domain);
    const REMOTE_RET(DOMAIN_IS_PERSISTENT) *kept =
        active ? CALL(cli, DOMAIN_IS_PERSISTENT, .dom = *domain) : NULL;
    if (!kept)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bool live = rows[i].flags & VIR_DOMAIN_AFFECT_LIVE;
        if (live ? !active->active : !kept->persistent)
            continue;
        int count = vcpus(cli, domain, rows[i].flags);
        if (count < 0)
            return -1;
        out_print(cli, "%-12s %-12s %3d\n", rows[i].what, rows[i].of, count);
        out_key(cli, cli_text(cli, "%s_%s", rows[i].what, rows[i].of), "%d", count);
    }
    return 0;
}

int domain_vcpu_count(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"maximum", VIR_DOMAIN_VCPU_MAXIMUM},
        {"guest", VIR_DOMAIN_VCPU_GUEST},
        {NULL},
    };
    unsigned flags = 0;
    if (arg_affect(cli, &flags) < 0 || arg_exclusive(cli, "live", "config") < 0 ||
        arg_exclusive(cli, "active", "maximum") < 0 || arg_exclusive(cli, "guest", "config") < 0)
        return -1;
    flags |= arg_flags(cli, flags_of);
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (!flags && !arg_on(cli, "active") && !arg_on(cli, "current"))
        return all_vcpu_counts(cli, domain);
    int count = vcpus(cli, domain, flags);
    return count < 0 ? -1 : out_value(cli, "vcpus", "%d", count);
}

static int host_cpus(struct cli *cli)
{
    const REMOTE_RET(NODE_GET_CPU_MAP) *map = CALL(cli, NODE_GET_CPU_MAP);
    return map ? map->result : -1;
}

static const char *vcpu_state(int state)
{
    static const char *const states[] = {"offline", "running", "blocked"};
    return state >= 0 && (size_t)state < ARRAY_SIZE(states) ? states[state] : "no state";
}

static void print_affinity(struct cli *cli, const char *map, unsigned len, int cpus)
{
    bool pretty = arg_on(cli, "pretty");
    const char *text =
        pretty ? cpumap_ranges(cli, map, len, cpus) : cpumap_letters(cli, map, len, cpus);
    if (pretty)
        out_print(cli, "%-*s %s (out of %d)\n", COLUMNS, "CPU Affinity:", text, cpus);
    else
        out_print(cli, "%-*s %s\n", COLUMNS, "CPU Affinity:", text);
    out_key(cli, "cpu_affinity", "%s", cpumap_ranges(cli, map, len, cpus));
}

/* Of a machine that does not run only its pins are known. */
static int inactive_vcpu_info(struct cli *cli, const wire_domain *domain, int count, int cpus)
{
    unsigned len = cpumap_len(cpus);
    const REMOTE_RET(DOMAIN_GET_VCPU_PIN_INFO) *pins =
        CALL(cli, DOMAIN_GET_VCPU_PIN_INFO, .dom = *domain, .ncpumaps = count, .map_len = (int)len,
             .flags = VIR_DOMAIN_AFFECT_CONFIG);
    if (!pins)
        return -1;
    for (int i = 0; i < pins->num; i++) {
        out_item(cli);
        out_field(cli, COLUMNS, "VCPU:", "%d", i);
        out_field(cli, COLUMNS, "CPU:", "N/A");
        out_field(cli, COLUMNS, "State:", "N/A");
        out_field(cli, COLUMNS, "CPU time", "N/A");
        if (((unsigned)i + 1) * len <= pins->cpumaps.cpumaps_len)
            print_affinity(cli, pins->cpumaps.cpumaps_val + (unsigned)i * len, len, cpus);
        if (i + 1 < pins->num)
            out_print(cli, "\n");
    }
    return 0;
}

int domain_vcpu_info(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    int cpus = domain ? host_cpus(cli) : -1;
    const REMOTE_RET(DOMAIN_GET_INFO) *info =
        cpus > 0 ? CALL(cli, DOMAIN_GET_INFO, .dom = *domain) : NULL;
    if (!info)
        return -1;
    unsigned len = cpumap_len(cpus);
    out_array(cli);
    if (info->state == VIR_DOMAIN_SHUTOFF)
        return inactive_vcpu_info(cli, domain, info->nr_virt_cpu, cpus);
    const REMOTE_RET(DOMAIN_GET_VCPUS) *got = CALL(
        cli, DOMAIN_GET_VCPUS, .dom = *domain, .max_info = info->nr_virt_cpu, .map_len = (int)len);
    if (!got)
        return -1;
    for (unsigned i = 0; i < got->info.info_len; i++) {
        const wire_vcpu *vcpu = &got->info.info_val[i];
        out_item(cli);
        out_field(cli, COLUMNS, "VCPU:", "%d", vcpu->number);
        out_field(cli, COLUMNS, "CPU:", vcpu->cpu < 0 ? "N/A" : "%d", vcpu->cpu);
        out_field(cli, COLUMNS, "State:", "%s", vcpu_state(vcpu->state));
        if (vcpu->cpu_time)
            out_field(cli, COLUMNS, "CPU time:", "%.1lfs", (double)vcpu->cpu_time / 1e9);
        if ((i + 1) * len <= got->cpumaps.cpumaps_len)
            print_affinity(cli, got->cpumaps.cpumaps_val + i * len, len, cpus);
        if (i + 1 < got->info.info_len)
            out_print(cli, "\n");
    }
    return 0;
}

static int bad_cpulist(struct cli *cli, const char *cpulist)
{
    cli_fail(cli, VIR_ERR_INVALID_ARG, "invalid argument: Failed to parse bitmap '%s'", cpulist);
    return cli_error(cli, "Invalid cpulist '%s'", cpulist);
}

/* Sets one vCPU's processors; virsh asks the older procedure when no flag is given. */
static int pin_vcpu(struct cli *cli, const wire_domain *domain, unsigned vcpu, const char *cpulist,
                    unsigned flags, bool plain)
{
    int cpus = host_cpus(cli);
    unsigned len = 0;
    char *map = cpus > 0 ? cpumap_parse(cli, cpulist, cpus, &len) : NULL;
    if (!map)
        return cpus > 0 ? bad_cpulist(cli, cpulist) : -1;
    bool done = plain ? CALL(cli, DOMAIN_PIN_VCPU, .dom = *domain, .vcpu = vcpu,
                             .cpu_map = {len, map}) != NULL
                      : CALL(cli, DOMAIN_PIN_VCPU_FLAGS, .dom = *domain, .vcpu = vcpu,
                             .cpu_map = {len, map}, .flags = flags) != NULL;
    return done ? 0 : -1;
}

int domain_vcpu_pin(struct cli *cli)
{
    unsigned flags = 0, vcpu = 0;
    const char *cpulist = NULL;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_text(cli, "cpulist", &cpulist) < 0)
        return -1;
    int one = arg_uint(cli, "vcpu", &vcpu);
    if (one < 0)
        return -1;
    if (cpulist && !one)
        return cli_error(cli, "vcpupin: Missing vCPU number in pin mode.");
    bool plain = !flags && !arg_on(cli, "current");
    if (cpulist)
        return pin_vcpu(cli, domain, vcpu, cpulist, flags, plain);
    const REMOTE_RET(DOMAIN_GET_INFO) *info = CALL(cli, DOMAIN_GET_INFO, .dom = *domain);
    int cpus = info ? host_cpus(cli) : -1;
    if (cpus < 0)
        return -1;
    if (one && vcpu >= info->nr_virt_cpu)
        return cli_error(cli, "vcpu %d is out of range of %s cpu count %d", vcpu,
                         domain->id >= 0 ? "live" : "persistent", info->nr_virt_cpu);
    unsigned len = cpumap_len(cpus);
    const REMOTE_RET(DOMAIN_GET_VCPU_PIN_INFO) *pins =
        CALL(cli, DOMAIN_GET_VCPU_PIN_INFO, .dom = *domain, .ncpumaps = info->nr_virt_cpu,
             .map_len = (int)len, .flags = flags);
    if (!pins)
        return -1;
    struct table *table = TABLE(cli, "VCPU", "CPU Affinity");
    for (unsigned i = 0; i < (unsigned)pins->num && (i + 1) * len <= pins->cpumaps.cpumaps_len; i++)
        if (!one || i == vcpu)
            TABLE_ROW(cli, table, cli_text(cli, "%u", i),
                      cpumap_ranges(cli, pins->cpumaps.cpumaps_val + i * len, len, cpus));
    return table_print(cli, table);
}

int domain_emulator_pin(struct cli *cli)
{
    unsigned flags = 0;
    const char *cpulist = NULL;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_text(cli, "cpulist", &cpulist) < 0)
        return -1;
    int cpus = host_cpus(cli);
    if (cpus < 0)
        return -1;
    unsigned len = cpumap_len(cpus);
    if (cpulist) {
        char *map = cpumap_parse(cli, cpulist, cpus, &len);
        if (!map)
            return bad_cpulist(cli, cpulist);
        return CALL(cli, DOMAIN_PIN_EMULATOR, .dom = *domain, .cpu_map = {len, map}, .flags = flags)
                   ? 0
                   : -1;
    }
    const REMOTE_RET(DOMAIN_GET_EMULATOR_PIN_INFO) *pin = CALL(
        cli, DOMAIN_GET_EMULATOR_PIN_INFO, .dom = *domain, .map_len = (int)len, .flags = flags);
    if (!pin)
        return -1;
    const char *text = cpumap_ranges(cli, pin->cpumaps.cpumaps_val, pin->cpumaps.cpumaps_len, cpus);
    if (!cli->quiet)
        out_print(cli, "%s %s\n%s\n", "emulator:", "CPU Affinity",
                  "----------------------------------");
    out_print(cli, "       *: %s\n", text);
    out_key(cli, "cpu_affinity", "%s", text);
    return 0;
}

int domain_iothread_pin(struct cli *cli)
{
    unsigned flags = 0, thread = 0;
    const char *cpulist = NULL;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_uint(cli, "iothread", &thread) < 0 || arg_text(cli, "cpulist", &cpulist) < 0)
        return -1;
    int cpus = host_cpus(cli);
    if (cpus < 0)
        return -1;
    unsigned len = cpumap_len(cpus);
    char *map = cpumap_parse(cli, cpulist, cpus, &len);
    if (!map)
        return bad_cpulist(cli, cpulist);
    return CALL(cli, DOMAIN_PIN_IOTHREAD, .dom = *domain, .iothreads_id = thread,
                .cpu_map = {len, map}, .flags = flags)
               ? 0
               : -1;
}

int domain_iothread_info(struct cli *cli)
{
    unsigned flags = 0;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_GET_IOTHREAD_INFO) *got =
        domain ? CALL(cli, DOMAIN_GET_IOTHREAD_INFO, .dom = *domain, .flags = flags) : NULL;
    if (domain && !got)
        return cli_error(cli, "Unable to get domain IOThreads information");
    int cpus = got ? host_cpus(cli) : -1;
    if (cpus < 0)
        return -1;
    if (!got->info.info_len) {
        out_array(cli);
        return cli->json ? 0 : out_phrase(cli, "No IOThreads found for the domain");
    }
    struct table *table = TABLE(cli, "IOThread ID", "CPU Affinity");
    for (unsigned i = 0; i < got->info.info_len; i++) {
        const wire_iothread *thread = &got->info.info_val[i];
        TABLE_ROW(
            cli, table, cli_text(cli, "%u", thread->iothread_id),
            cpumap_ranges(cli, thread->cpu_map.cpu_map_val, thread->cpu_map.cpu_map_len, cpus));
    }
    return table_print(cli, table);
}

/* iothreadadd, iothreaddel. */
int domain_iothread_change(struct cli *cli)
{
    bool add = strcmp(cli->command->verb->name, "iothreadadd") == 0;
    unsigned flags = 0;
    int id = 0;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_int(cli, "id", &id) < 0)
        return -1;
    if (id <= 0)
        return cli_error(cli, "Invalid IOThread id value: '%d'", id);
    bool done = add ? CALL(cli, DOMAIN_ADD_IOTHREAD, .dom = *domain, .iothread_id = (u_int)id,
                           .flags = flags) != NULL
                    : CALL(cli, DOMAIN_DEL_IOTHREAD, .dom = *domain, .iothread_id = (u_int)id,
                           .flags = flags) != NULL;
    return done ? 0 : -1;
}
