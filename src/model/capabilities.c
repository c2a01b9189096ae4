/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capabilities document (libvirt's formatcaps page): the host's processor, its NUMA cells from
 * sysfs, and the guests that can run. Clients choose a domain's type, machine and emulator by it.
 */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/parse.h"
#include "base/util.h"
#include "model/cpu.h"
#include "model/host.h"
#include "model/host_internal.h"
#include "model/uuid.h"
#include "model/xml.h"

#define HOST_CPUS_MAX 4096
#define CELLS_MAX 256

struct out {
    struct buffer text;
    const struct model_host *host;
};

static uint64_t read_number(const struct model_host *host, const char *path, uint64_t fallback)
{
    char line[64];
    uint64_t value;
    if (!host_read_line(host, path, line, sizeof(line)) || parse_u64(line, &value) < 0)
        return fallback;
    return value;
}

/* -------------------------------------------------------------------- pages */

/* Sizes of huge pages in KiB, ascending; at most max of them. */
static unsigned huge_page_sizes(const struct model_host *host, const char *dir, uint64_t *sizes,
                                unsigned max)
{
    char path[PATH_MAX];
    unsigned n = 0;
    snprintf(path, sizeof(path), "%s%s", host->root, dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && n < max && (e = readdir(d));) {
        uint64_t kib;
        if (sscanf(e->d_name, "hugepages-%jukB", (uintmax_t *)&kib) == 1)
            sizes[n++] = kib;
    }
    if (d)
        closedir(d);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned j = i + 1; j < n; j++) {
            uint64_t a = sizes[i];
            sizes[i] = MIN(a, sizes[j]);
            sizes[j] = MAX(a, sizes[j]);
        }
    }
    return n;
}

/* ---------------------------------------------------------------- processor */

static void put_feature(void *opaque, const char *name)
{
    buffer_printf(opaque, "      <feature name='%s'/>\n", name);
}

struct host_topology {
    unsigned cpus, sockets, dies, cores, threads;
};

static uint64_t cpu_number(const struct model_host *host, unsigned cpu, const char *name,
                           uint64_t fallback)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/%s", cpu, name);
    uint64_t value = read_number(host, path, fallback);
    return value > INT32_MAX ? fallback : value; /* -1: not known */
}

static unsigned count_list(const char *list)
{
    uint64_t set[HOST_CPUS_MAX / 64] = {0};
    unsigned n = 0;
    if (parse_bitmap(list, set, ARRAY_SIZE(set)) < 0)
        return 1;
    for (unsigned i = 0; i < ARRAY_SIZE(set); i++)
        n += (unsigned)__builtin_popcountll(set[i]);
    return MAX(n, 1u);
}

static bool online_cpus(const struct model_host *host, uint64_t *set, unsigned words)
{
    char line[4096];
    memset(set, 0, words * sizeof(*set));
    return host_read_line(host, "/sys/devices/system/cpu/online", line, sizeof(line)) &&
           parse_bitmap(line, set, words) == 0;
}

static struct host_topology topology_of(const struct model_host *host)
{
    uint64_t online[HOST_CPUS_MAX / 64];
    struct host_topology t = {.sockets = 1, .dies = 1, .cores = 1, .threads = 1};
    if (!online_cpus(host, online, ARRAY_SIZE(online)))
        online[0] = 1;
    uint64_t packages[4] = {0};
    for (unsigned cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
        if (!(online[cpu / 64] & BIT(cpu % 64)))
            continue;
        t.cpus++;
        uint64_t package = cpu_number(host, cpu, "physical_package_id", 0) % 256;
        packages[package / 64] |= BIT(package % 64);
    }
    t.sockets = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(packages); i++)
        t.sockets += (unsigned)__builtin_popcountll(packages[i]);
    char line[256];
    if (host_read_line(host, "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", line,
                       sizeof(line)))
        t.threads = count_list(line);
    t.cores = t.cpus / (t.sockets * t.threads);
    /* Where sockets differ the product would not be the number of processors. */
    if (t.cores == 0 || t.cores * t.sockets * t.threads != t.cpus)
        t = (struct host_topology){t.cpus, 1, 1, t.cpus, 1};
    return t;
}

static void put_cpu(struct out *out)
{
    unsigned family, model, stepping;
    struct host_topology t = topology_of(out->host);
    uint64_t sizes[8];
    unsigned n = huge_page_sizes(out->host, "/sys/kernel/mm/hugepages", sizes, ARRAY_SIZE(sizes));
    cpu_host_signature(&family, &model, &stepping);
    buffer_printf(&out->text,
                  "    <cpu>\n"
                  "      <arch>x86_64</arch>\n"
                  "      <model>%s</model>\n"
                  "      <vendor>%s</vendor>\n"
                  "      <signature family='%u' model='%u' stepping='%u'/>\n"
                  "      <topology sockets='%u' dies='%u' cores='%u' threads='%u'/>\n"
                  "      <maxphysaddr mode='emulate' bits='%u'/>\n",
                  cpu_host_model(), cpu_host_vendor(), family, model, stepping, t.sockets, t.dies,
                  t.cores, t.threads, cpu_host_address_bits());
    cpu_host_features(put_feature, &out->text);
    buffer_printf(&out->text, "      <pages unit='KiB' size='%ld'/>\n",
                  sysconf(_SC_PAGESIZE) / 1024);
    for (unsigned i = 0; i < n; i++)
        buffer_printf(&out->text, "      <pages unit='KiB' size='%ju'/>\n", (uintmax_t)sizes[i]);
    buffer_printf(&out->text, "    </cpu>\n");
}

/* -------------------------------------------------------------------- cells */

static uint64_t cell_memory(const struct model_host *host, unsigned cell)
{
    char path[PATH_MAX], line[128];
    uint64_t kib = 0;
    snprintf(path, sizeof(path), "%s/sys/devices/system/node/node%u/meminfo", host->root, cell);
    FILE *f = fopen(path, "re");
    if (!f) {
        snprintf(path, sizeof(path), "%s/proc/meminfo", host->root);
        f = fopen(path, "re");
    }
    while (f && !kib && fgets(line, sizeof(line), f)) {
        const char *at = strstr(line, "MemTotal:");
        if (at)
            sscanf(at, "MemTotal: %ju", (uintmax_t *)&kib);
    }
    if (f)
        fclose(f);
    return kib;
}

static void put_pages(struct out *out, unsigned cell, uint64_t kib)
{
    uint64_t sizes[8], huge = 0;
    char dir[96];
    snprintf(dir, sizeof(dir), "/sys/devices/system/node/node%u/hugepages", cell);
    unsigned n = huge_page_sizes(out->host, dir, sizes, ARRAY_SIZE(sizes));
    uint64_t counts[8] = {0};
    for (unsigned i = 0; i < n; i++) {
        char path[160];
        snprintf(path, sizeof(path), "%s/hugepages-%jukB/nr_hugepages", dir, (uintmax_t)sizes[i]);
        counts[i] = read_number(out->host, path, 0);
        huge += counts[i] * sizes[i];
    }
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    buffer_printf(&out->text, "          <pages unit='KiB' size='%ju'>%ju</pages>\n",
                  (uintmax_t)page, (uintmax_t)((kib - MIN(huge, kib)) / page));
    for (unsigned i = 0; i < n; i++)
        buffer_printf(&out->text, "          <pages unit='KiB' size='%ju'>%ju</pages>\n",
                      (uintmax_t)sizes[i], (uintmax_t)counts[i]);
}

static void put_distances(struct out *out, unsigned cell, const unsigned *cells, unsigned count)
{
    char path[96], line[2048];
    snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/distance", cell);
    if (!host_read_line(out->host, path, line, sizeof(line)))
        return;
    buffer_printf(&out->text, "          <distances>\n");
    char *save = NULL, *word = strtok_r(line, " ", &save);
    for (unsigned i = 0; word && i < count; i++, word = strtok_r(NULL, " ", &save))
        buffer_printf(&out->text, "            <sibling id='%u' value='%u'/>\n", cells[i],
                      (unsigned)strtoul(word, NULL, 10));
    buffer_printf(&out->text, "          </distances>\n");
}

static void put_cpus(struct out *out, const uint64_t *set)
{
    unsigned n = 0;
    for (unsigned i = 0; i < HOST_CPUS_MAX / 64; i++)
        n += (unsigned)__builtin_popcountll(set[i]);
    buffer_printf(&out->text, "          <cpus num='%u'>\n", n);
    for (unsigned cpu = 0; cpu < HOST_CPUS_MAX; cpu++) {
        char path[128], siblings[256];
        if (!(set[cpu / 64] & BIT(cpu % 64)))
            continue;
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list",
                 cpu);
        if (!host_read_line(out->host, path, siblings, sizeof(siblings)))
            snprintf(siblings, sizeof(siblings), "%u", cpu);
        buffer_printf(&out->text,
                      "            <cpu id='%u' socket_id='%ju' die_id='%ju' core_id='%ju' "
                      "siblings='%s'/>\n",
                      cpu, (uintmax_t)cpu_number(out->host, cpu, "physical_package_id", 0),
                      (uintmax_t)cpu_number(out->host, cpu, "die_id", 0),
                      (uintmax_t)cpu_number(out->host, cpu, "core_id", 0), siblings);
    }
    buffer_printf(&out->text, "          </cpus>\n");
}

static void put_cell(struct out *out, unsigned cell, const unsigned *cells, unsigned count)
{
    char path[96], line[4096];
    uint64_t set[HOST_CPUS_MAX / 64] = {0}, kib = cell_memory(out->host, cell);
    snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", cell);
    if (!host_read_line(out->host, path, line, sizeof(line)))
        online_cpus(out->host, set, ARRAY_SIZE(set));
    else if (*line && parse_bitmap(line, set, ARRAY_SIZE(set)) < 0)
        memset(set, 0, sizeof(set));
    buffer_printf(&out->text,
                  "        <cell id='%u'>\n"
                  "          <memory unit='KiB'>%ju</memory>\n",
                  cell, (uintmax_t)kib);
    put_pages(out, cell, kib);
    put_distances(out, cell, cells, count);
    put_cpus(out, set);
    buffer_printf(&out->text, "        </cell>\n");
}

static void put_topology(struct out *out)
{
    char line[1024];
    uint64_t set[CELLS_MAX / 64] = {0};
    unsigned cells[CELLS_MAX], count = 0;
    if (!host_read_line(out->host, "/sys/devices/system/node/online", line, sizeof(line)) ||
        parse_bitmap(line, set, ARRAY_SIZE(set)) < 0)
        set[0] = 1;
    for (unsigned i = 0; i < CELLS_MAX; i++) {
        if (set[i / 64] & BIT(i % 64))
            cells[count++] = i;
    }
    buffer_printf(&out->text, "    <topology>\n      <cells num='%u'>\n", count);
    for (unsigned i = 0; i < count; i++)
        put_cell(out, cells[i], cells, count);
    buffer_printf(&out->text, "      </cells>\n    </topology>\n");
}

/* ------------------------------------------------------------------- guests */

static void put_guest(struct out *out)
{
    buffer_printf(&out->text, "  <guest>\n"
                              "    <os_type>hvm</os_type>\n"
                              "    <arch name='x86_64'>\n"
                              "      <wordsize>64</wordsize>\n"
                              "      <emulator>");
    xml_escape(&out->text, model_host_emulator(out->host));
    buffer_printf(&out->text, "</emulator>\n");
    for (const struct machine_family *f = machine_families; f->alias; f++) {
        buffer_printf(&out->text, "      <machine maxCpus='%d'>%s</machine>\n", HOST_VCPUS_MAX,
                      f->canonical);
        if (strcmp(f->alias, f->canonical) != 0)
            buffer_printf(&out->text, "      <machine canonical='%s' maxCpus='%d'>%s</machine>\n",
                          f->canonical, HOST_VCPUS_MAX, f->alias);
    }
    buffer_printf(&out->text, "      <domain type='kvm'/>\n"
                              "    </arch>\n"
                              "    <features>\n"
                              "      <acpi default='on' toggle='no'/>\n"
                              "      <apic default='on' toggle='no'/>\n"
                              "      <cpuselection/>\n"
                              "      <deviceboot/>\n"
                              "    </features>\n"
                              "  </guest>\n\n");
}

char *model_host_capabilities(const struct model_host *host)
{
    struct out out = {.text = BUFFER_INIT(0), .host = host};
    char uuid[UUID_TEXT];
    uuid_format(host->uuid, uuid);
    buffer_printf(&out.text, "<capabilities>\n\n  <host>\n    <uuid>%s</uuid>\n", uuid);
    put_cpu(&out);
    buffer_printf(&out.text, "    <power_management/>\n    <iommu support='no'/>\n");
    put_topology(&out);
    buffer_printf(&out.text, "    <secmodel>\n"
                             "      <model>none</model>\n"
                             "      <doi>0</doi>\n"
                             "    </secmodel>\n"
                             "  </host>\n\n");
    put_guest(&out);
    buffer_printf(&out.text, "</capabilities>\n");
    return xml_take(&out.text);
}
