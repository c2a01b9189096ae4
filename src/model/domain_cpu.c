/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's processor, clock and what happens at its end; see read.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/cpu.h"
#include "model/read.h"

static int set_default(struct read *r, xmlNode *node, const char *name, const char *value)
{
    return xml_attr(node, name) ? 0 : read_set(r, node, name, value);
}

static int read_topology(struct read *r, xmlNode *cpu)
{
    struct model_domain *d = r->d;
    xmlNode *node = xml_child(cpu, "topology");
    if (!node)
        return 0;
    static const char *const names[] = {"sockets", "cores", "threads"};
    unsigned *values[] = {&d->sockets, &d->cores, &d->threads};
    d->dies = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        int ret = read_positive(r, node, names[i], values[i]);
        if (ret < 0)
            return ret;
        if (*values[i] == 0)
            return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                                  "Missing required attribute '%s' in element 'topology'",
                                  names[i]);
    }
    int ret = read_positive(r, node, "dies", &d->dies);
    if (ret == 0)
        ret = set_default(r, node, "dies", "1");
    if (ret < 0)
        return ret;
    uint64_t product = (uint64_t)d->sockets * d->dies;
    product = MIN(product, UINT32_MAX) * d->cores;
    product = MIN(product, UINT32_MAX) * d->threads;
    if (product != d->vcpus_max)
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "CPU topology doesn't match maximum vcpu count");
    return 0;
}

static int read_cell(struct read *r, xmlNode *node, struct model_numa_cell *cell, unsigned index)
{
    cell->id = index;
    int ret = read_uint(r, node, "id", &cell->id);
    if (ret == 0)
        ret = read_cpuset(r, node, "cpus", &cell->cpus);
    uint64_t value = 0, bytes = 0;
    const char *unit = xml_attr(node, "unit");
    if (ret == 0 && !xml_attr(node, "memory"))
        ret = api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                             "missing element or attribute './@memory'");
    if (ret == 0)
        ret = read_u64(r, node, "memory", &value);
    if (ret == 0)
        ret = read_scale(r, unit ? unit : "KiB", value, &bytes);
    if (ret < 0)
        return ret;
    if (cell->id != index)
        return read_xml_error(r, "Exactly one 'cell' element per guest NUMA cell allowed, "
                                 "non-contiguous ranges or ranges not starting from 0 are not "
                                 "allowed");
    if (!cell->cpus)
        return read_refuse(r, node, NULL, "a cell without vCPUs is not supported");
    const char *access = xml_attr(node, "memAccess");
    if (access && strcmp(access, "shared") != 0 && strcmp(access, "private") != 0)
        return read_unsupported(r, "Invalid 'memAccess' attribute value '%s'", access);
    cell->memory_kib = ALIGN_UP(bytes, UINT64_C(1024)) / 1024;
    char text[2][24];
    snprintf(text[0], sizeof(text[0]), "%u", cell->id);
    snprintf(text[1], sizeof(text[1]), "%ju", (uintmax_t)cell->memory_kib);
    return xml_set_attr(node, "id", text[0]) && xml_set_attr(node, "memory", text[1]) &&
                   xml_set_attr(node, "unit", "KiB")
               ? 0
               : read_no_memory(r);
}

/* Largest number of a list in its shortest form, and how many it has. */
static unsigned cpuset_last(const char *set)
{
    const char *p = set + strlen(set);
    while (p > set && p[-1] != ',' && p[-1] != '-')
        p--;
    uint64_t last = 0;
    xml_number(p, UINT32_MAX, &last);
    return (unsigned)last;
}

static int read_numa(struct read *r, xmlNode *cpu)
{
    struct model_domain *d = r->d;
    xmlNode *numa = xml_child(cpu, "numa");
    unsigned n = numa ? xml_count(numa, "cell") : 0;
    if (n > 16)
        return read_unsupported(r, "%u NUMA cells are asked for; at most 16 are supported", n);
    struct model_numa_cell *cells = arena_alloc(d->arena, (n + 1) * sizeof(*cells));
    if (!cells)
        return read_no_memory(r);
    d->numa = cells;
    for (xmlNode *c = n ? xml_child(numa, "cell") : NULL; c; c = xml_next_same(c)) {
        int ret = read_cell(r, c, &cells[d->numa_count], d->numa_count);
        if (ret < 0)
            return ret;
        if (cells[d->numa_count].cpus && cpuset_last(cells[d->numa_count].cpus) >= d->vcpus_max)
            return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                                  "Number of CPUs in <numa> exceeds the <vcpu> count");
        d->numa_count++;
    }
    return 0;
}

static int check_cpu_features(struct read *r, const xmlNode *cpu)
{
    static const char *const policies[] = {"force",   "require", "optional",
                                           "disable", "forbid",  NULL};
    for (const xmlNode *n = xml_child(cpu, "feature"); n; n = xml_next_same(n)) {
        const char *policy = xml_attr(n, "policy"), *name = xml_attr(n, "name");
        if (policy && !read_is_one_of(policy, policies))
            return api_error_from(r->err, VIR_FROM_CPU, VIR_ERR_CONFIG_UNSUPPORTED,
                                  "Invalid CPU feature policy");
        if (!name || !*name)
            return api_error_from(r->err, VIR_FROM_CPU, VIR_ERR_XML_ERROR,
                                  "Invalid CPU feature name");
        bool has = cpu_host_has(name);
        bool off = policy && (strcmp(policy, "disable") == 0 || strcmp(policy, "forbid") == 0);
        int ret = 0;
        if (off && has)
            ret = read_refuse(r, n, "policy",
                              "'%s': '%s' is what the host's processor has, and the guest sees "
                              "all of it",
                              policy, name);
        else if (policy && strcmp(policy, "force") == 0 && !has)
            ret = read_refuse(r, n, "policy", "'force': the host's processor has no '%s'", name);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int read_custom(struct read *r, xmlNode *cpu)
{
    static const char *const matches[] = {"minimum", "exact", "strict", NULL};
    const char *match = NULL;
    int ret = read_choice(r, cpu, "match", matches, &match);
    if (ret < 0)
        return ret;
    xmlNode *model = xml_child(cpu, "model");
    ret = set_default(r, cpu, "check", "none");
    if (ret == 0 && model)
        ret = set_default(r, model, "fallback", "allow");
    if (ret < 0 || (match && *match == 'm'))
        return ret;
    return read_refuse(r, cpu, "mode",
                       "'custom' with match='%s': the guest sees the host's processor; modes "
                       "'host-passthrough', 'host-model' and 'maximum' are accepted, and "
                       "match='minimum'",
                       match ? match : "exact");
}

static int read_cpu_mode(struct read *r, xmlNode *cpu)
{
    static const char *const modes[] = {"custom", "host-model", "host-passthrough", "maximum",
                                        NULL};
    struct model_domain *d = r->d;
    const char *mode = xml_attr(cpu, "mode");
    if (mode && !read_is_one_of(mode, modes))
        return api_error_from(r->err, VIR_FROM_CPU, VIR_ERR_CONFIG_UNSUPPORTED,
                              "Invalid mode attribute '%s'", mode);
    d->cpu_model = xml_child_text(cpu, "model");
    if (!mode)
        mode = d->cpu_model && *d->cpu_model ? "custom" : "host-passthrough";
    int ret = read_set(r, cpu, "mode", mode);
    d->cpu_mode = mode = xml_attr(cpu, "mode");
    if (ret < 0)
        return ret;
    if (strcmp(mode, "custom") == 0)
        return read_custom(r, cpu);
    d->cpu_model = NULL;
    xml_set_attr(cpu, "match", NULL);
    xml_remove(xml_child(cpu, "model"));
    if (strcmp(mode, "host-model") == 0) {
        ret = set_default(r, cpu, "check", "partial");
    } else {
        ret = set_default(r, cpu, "check", "none");
        if (ret == 0)
            ret = set_default(r, cpu, "migratable", "on");
    }
    return ret;
}

static int check_cache(struct read *r, const xmlNode *cpu)
{
    const xmlNode *cache = xml_child(cpu, "cache"), *bits = xml_child(cpu, "maxphysaddr");
    const char *mode = cache ? xml_attr(cache, "mode") : NULL;
    if (mode && strcmp(mode, "passthrough") != 0) {
        int ret =
            read_refuse(r, cache, "mode",
                        "'%s': the guest sees the host's caches; 'passthrough' is accepted", mode);
        if (ret < 0)
            return ret;
    }
    mode = bits ? xml_attr(bits, "mode") : NULL;
    if (mode && strcmp(mode, "passthrough") != 0)
        return read_refuse(r, bits, "mode",
                           "'%s': the guest sees the host's address width; 'passthrough' is "
                           "accepted",
                           mode);
    return 0;
}

int read_cpu(struct read *r)
{
    xmlNode *cpu = element_child(r->root, "cpu");
    if (!cpu)
        return read_no_memory(r);
    int ret = read_cpu_mode(r, cpu);
    if (ret == 0)
        ret = check_cache(r, cpu);
    if (ret == 0)
        ret = check_cpu_features(r, cpu);
    if (ret == 0)
        ret = read_topology(r, cpu);
    return ret < 0 ? ret : read_numa(r, cpu);
}

/* -------------------------------------------------------------------- clock */

static int check_timer(struct read *r, const xmlNode *node)
{
    static const char *const known[] = {"platform", "pit",         "rtc",       "hpet", "tsc",
                                        "kvmclock", "hypervclock", "armvtimer", NULL};
    /* What the machine has: present='' may say so; what it has not may be said as well. */
    static const char *const have[] = {"pit", "rtc", "tsc", "kvmclock", NULL};
    const char *name = xml_attr(node, "name");
    if (!name || !read_is_one_of(name, known))
        return read_unsupported(r, "unknown timer name '%s'", name ? name : "");
    bool here = read_is_one_of(name, have), present = true;
    int ret = read_yes_no(r, node, "present", &present);
    if (ret == 0 && strcmp(name, "hypervclock") == 0)
        r->d->hyperv.time = present;
    else if (ret == 0 && present != here)
        ret = read_refuse(r, node, NULL,
                          here ? "the timer '%s' is always there"
                               : "there is no timer '%s'; present='no' is accepted",
                          name);
    static const char *const fixed[] = {"frequency", "mode", NULL};
    for (const char *const *f = fixed; ret == 0 && *f; f++) {
        if (xml_attr(node, *f))
            ret = read_refuse(r, node, *f, "the guest sees the host's time-stamp counter");
    }
    return ret;
}

/* Seconds that offset, basis and adjustment make. A number is kept by 'variable' alone, as
 * libvirt has it: with 'utc' and 'localtime' it says where a variable clock begins. */
static int read_adjustment(struct read *r, xmlNode *clock, const char *offset)
{
    static const char *const bases[] = {"utc", "localtime", NULL};
    struct model_clock *c = &r->d->clock;
    const char *adjustment = xml_attr(clock, "adjustment"), *basis = NULL;
    bool variable = strcmp(offset, "variable") == 0;
    int ret = read_choice(r, clock, "basis", bases, &basis);
    c->localtime =
        strcmp(offset, "localtime") == 0 || (variable && basis && strcmp(basis, "localtime") == 0);
    if (ret < 0 || !adjustment || (!variable && strcmp(adjustment, "reset") == 0))
        return ret;
    if (!xml_integer(adjustment, &c->adjustment))
        return read_xml_error(r, "unable to parse clock adjustment '%s'", adjustment);
    if (!variable && (read_set(r, clock, "offset", "variable") < 0 ||
                      read_set(r, clock, "basis", c->localtime ? "localtime" : "utc") < 0))
        return read_no_memory(r);
    return 0;
}

static int read_clock_offset(struct read *r, xmlNode *clock)
{
    static const char *const offsets[] = {"utc",      "localtime", "variable",
                                          "timezone", "absolute",  NULL};
    struct model_clock *c = &r->d->clock;
    const char *offset = xml_attr(clock, "offset");
    if (!offset) {
        if (read_set(r, clock, "offset", "utc") < 0)
            return read_no_memory(r);
        offset = xml_attr(clock, "offset");
    }
    if (!read_is_one_of(offset, offsets))
        return read_unsupported(r, "unknown clock offset '%s'", offset);
    if (strcmp(offset, "timezone") == 0) {
        c->timezone = xml_attr(clock, "timezone");
        return c->timezone ? 0
                           : read_xml_error(r, "missing 'timezone' attribute for clock with "
                                               "offset='timezone'");
    }
    if (strcmp(offset, "absolute") == 0) {
        const char *start = xml_attr(clock, "start");
        c->absolute = true;
        return start && xml_integer(start, &c->start) && c->start >= 0
                   ? 0
                   : read_xml_error(r,
                                    "missing 'start' attribute for clock with offset='absolute'");
    }
    return read_adjustment(r, clock, offset);
}

static int read_clock_element(struct read *r)
{
    xmlNode *clock = element_child(r->root, "clock");
    int ret = clock ? read_clock_offset(r, clock) : read_no_memory(r);
    for (xmlNode *n = clock ? xml_child(clock, "timer") : NULL; ret == 0 && n; n = xml_next_same(n))
        ret = check_timer(r, n);
    return ret;
}

/* ------------------------------------------------------------------ actions */

static int read_action(struct read *r, const char *name, const char *fallback, bool crash,
                       enum model_action *out)
{
    static const char *const names[] = {
        [MODEL_ACTION_DESTROY] = "destroy",
        [MODEL_ACTION_RESTART] = "restart",
        [MODEL_ACTION_RESTART_RENAME] = "rename-restart",
        [MODEL_ACTION_PRESERVE] = "preserve",
        [MODEL_ACTION_COREDUMP_DESTROY] = "coredump-destroy",
        [MODEL_ACTION_COREDUMP_RESTART] = "coredump-restart",
    };
    xmlNode *node = element_child(r->root, name);
    if (!node || (!*xml_text(node) && !xml_set_text(node, fallback)))
        return read_no_memory(r);
    unsigned i = 0;
    while (i < ARRAY_SIZE(names) && strcmp(names[i], xml_text(node)) != 0)
        i++;
    if (i == ARRAY_SIZE(names))
        return read_unsupported(r, "unknown %s action: %s", name, xml_text(node));
    if (i == MODEL_ACTION_RESTART_RENAME)
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "qemu driver doesn't support the 'rename-restart' action for "
                         "'on_reboot'/'on_poweroff'/'on_crash'");
    if (i >= MODEL_ACTION_COREDUMP_DESTROY && !crash)
        return read_unsupported(r, "Lifecycle event '%s' doesn't support '%s' action", name + 3,
                                names[i]);
    *out = (enum model_action)i;
    return 0;
}

static int check_pm(struct read *r)
{
    static const char *const states[] = {"suspend-to-mem", "suspend-to-disk"};
    xmlNode *pm = xml_child(r->root, "pm");
    for (unsigned i = 0; pm && i < ARRAY_SIZE(states); i++) {
        xmlNode *n = xml_child(pm, states[i]);
        bool enabled = false;
        int ret = n ? read_yes_no(r, n, "enabled", &enabled) : 0;
        if (ret == 0 && enabled)
            ret = read_refuse(r, n, "enabled", "'yes': the guest cannot sleep; 'no' is accepted");
        if (ret < 0)
            return ret;
    }
    return 0;
}

int read_clock(struct read *r)
{
    struct model_domain *d = r->d;
    int ret = read_clock_element(r);
    if (ret == 0)
        ret = read_action(r, "on_poweroff", "destroy", false, &d->on_poweroff);
    if (ret == 0)
        ret = read_action(r, "on_reboot", "restart", false, &d->on_reboot);
    if (ret == 0)
        ret = read_action(r, "on_crash", "destroy", true, &d->on_crash);
    xmlNode *lock = xml_child(r->root, "on_lockfailure");
    if (ret == 0 && lock)
        ret = read_refuse(r, lock, NULL, "there is no lock manager");
    return ret < 0 ? ret : check_pm(r);
}
