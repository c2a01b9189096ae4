/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page of metrics (daemon/metrics): what all domains have to tell, in Prometheus' text format,
 * by the names that the libvirt exporters made usual; docs/metrics.md lists them. First the figures
 * of all domains are collected, then each family (a row of the table at the end) goes through them,
 * since a family's samples stand together.
 */
#include "daemon/domain/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "daemon/domain/call.h"
#include "daemon/domain/live.h"

#define ASKED_AHEAD 128 /* machines, before the first one's answers are waited for */

struct figures {
    char *name; /* as a label's value: escaped */
    char uuid[40];
    int state;
    bool runs;
    uint64_t memory_kib, max_memory_kib;
    unsigned vcpu_max;
    struct machine_cpu_time time;
    bool has_memory;
    struct machine_memory memory;
    struct machine_vcpu *vcpus;
    struct machine_disk *disks;
    struct machine_nic *nics;
    unsigned vcpus_n, disks_n, nics_n;
    char (*targets)[32]; /* of disks: "vda" */
};

struct page {
    struct figures *all;
    size_t count;
    struct buffer *out;
    int rc; /* the first failure: a page is whole, or it is not told */
};

/* ---------------------------------------------------------------- collecting */

/* Text format: \, " and line feeds of a label's value are escaped. */
static char *escape(const char *text)
{
    char *out = malloc(2 * strlen(text) + 1), *to = out;
    for (; out && *text; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n')
            *to++ = '\\';
        *to++ = *text == '\n' ? 'n' : *text;
    }
    if (out)
        *to = '\0';
    return out;
}

static void find_targets(struct figures *f, struct domain_live *live)
{
    f->targets = calloc(f->disks_n + 1, sizeof(*f->targets));
    pthread_mutex_lock(&live->domain->lock);
    for (unsigned i = 0; f->targets && i < f->disks_n; i++) {
        struct model_device *device = model_domain_find_alias(live->document, f->disks[i].alias);
        if (device && device->kind == MODEL_DISK)
            snprintf(f->targets[i], sizeof(f->targets[i]), "%s",
                     ((struct model_disk *)device)->target);
    }
    pthread_mutex_unlock(&live->domain->lock);
    if (!f->targets)
        f->disks_n = 0;
}

/* What a machine does not answer is left out; so is one that ends meanwhile. */
static void collect_live(struct figures *f, struct domain_live *live, struct machine_asked *asked)
{
    struct machine *machine = live->machine;
    f->runs = machine_query_cpu_time(machine, &f->time, NULL) == 0;
    f->has_memory = machine_query_memory(machine, asked, &f->memory, NULL) == 0;
    if (machine_query_vcpus(machine, asked, &f->vcpus, &f->vcpus_n, NULL))
        f->vcpus_n = 0;
    if (machine_query_disks(machine, asked, &f->disks, &f->disks_n, NULL))
        f->disks_n = 0;
    if (machine_query_nics(machine, asked, &f->nics, &f->nics_n, NULL))
        f->nics_n = 0;
    find_targets(f, live);
}

/* The reference to what runs, or NULL; its figures come later. */
static struct domain_live *know(struct figures *f, struct domain *domain)
{
    pthread_mutex_lock(&domain->lock);
    struct domain_live *live = domain_live_ref(domain);
    const struct model_domain *d = live ? live->document : NULL;
    f->name = escape(domain->name);
    f->state = domain->state;
    f->memory_kib = d ? d->current_memory_kib : domain->summary.memory_kib;
    f->max_memory_kib = d ? d->memory_kib : domain->summary.max_memory_kib;
    f->vcpu_max = d ? d->vcpus : domain->summary.vcpus;
    pthread_mutex_unlock(&domain->lock);
    uuid_text(domain->uuid, f->uuid);
    return live;
}

static void collect(struct page *page, struct domain **domains)
{
    struct {
        struct domain_live *live;
        struct machine_asked *asked;
    } ahead[ASKED_AHEAD] = {{NULL}};
    for (size_t i = 0; i < page->count + ASKED_AHEAD; i++) {
        size_t slot = i % ASKED_AHEAD;
        if (ahead[slot].live) {
            collect_live(&page->all[i - ASKED_AHEAD], ahead[slot].live, ahead[slot].asked);
            machine_asked_free(ahead[slot].asked);
            domain_live_put(ahead[slot].live);
            ahead[slot].live = NULL;
        }
        if (i >= page->count)
            continue;
        struct domain_live *live = know(&page->all[i], domains[i]);
        ahead[slot].live = live;
        ahead[slot].asked =
            live ? machine_ask(live->machine, MACHINE_ASK_VCPUS | MACHINE_ASK_MEMORY |
                                                  MACHINE_ASK_DISKS | MACHINE_ASK_NICS)
                 : NULL;
    }
}

static void figures_free(struct figures *f)
{
    free(f->name);
    free(f->vcpus);
    free(f->disks);
    free(f->nics);
    free(f->targets);
}

/* ------------------------------------------------------------------- families */

enum unit {
    PLAIN,
    KIBIBYTES,   /* told in bytes */
    NANOSECONDS, /* told in seconds */
};

enum subject { DOMAIN, LIVE, MEMORY, VCPU, DISK, NIC };

struct family {
    const char *name, *type, *help;
    enum subject subject;
    enum unit unit;
    size_t offset, size; /* of the figure in the subject's struct */
};

static void add(struct page *page, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct page *page, const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (page->rc == 0)
        page->rc = n < 0 || (size_t)n >= sizeof(line) ? -ENAMETOOLONG
                                                      : buffer_append(page->out, line, (size_t)n);
}

static uint64_t figure(const struct family *family, const void *subject)
{
    const char *at = (const char *)subject + family->offset;
    if (family->size == sizeof(uint64_t))
        return *(const uint64_t *)at;
    return family->size == sizeof(bool) ? *(const bool *)at : *(const unsigned *)at;
}

/* labels: those beside the domain's name. What is not known is not told. */
static void add_sample(struct page *page, const struct figures *f, const struct family *family,
                       const void *subject, const char *labels)
{
    uint64_t value = figure(family, subject);
    if (value == UINT64_MAX || !f->name)
        return;
    if (family->unit == NANOSECONDS)
        add(page, "%s{domain=\"%s\"%s} %" PRIu64 ".%09" PRIu64 "\n", family->name, f->name, labels,
            value / 1000000000, value % 1000000000);
    else
        add(page, "%s{domain=\"%s\"%s} %" PRIu64 "\n", family->name, f->name, labels,
            family->unit == KIBIBYTES ? value * 1024 : value);
}

static void add_family(struct page *page, const struct figures *f, const struct family *family)
{
    char labels[160];
    switch (family->subject) {
    case DOMAIN:
        add_sample(page, f, family, f, "");
        break;
    case LIVE:
        if (f->runs)
            add_sample(page, f, family, f, "");
        break;
    case MEMORY:
        if (f->has_memory)
            add_sample(page, f, family, &f->memory, "");
        break;
    case VCPU:
        for (unsigned i = 0; i < f->vcpus_n; i++) {
            snprintf(labels, sizeof(labels), ",vcpu=\"%u\"", f->vcpus[i].index);
            add_sample(page, f, family, &f->vcpus[i], labels);
        }
        break;
    case DISK:
        for (unsigned i = 0; i < f->disks_n; i++) {
            snprintf(labels, sizeof(labels), ",target_device=\"%s\"", f->targets[i]);
            add_sample(page, f, family, &f->disks[i], labels);
        }
        break;
    case NIC:
        for (unsigned i = 0; i < f->nics_n; i++) {
            const struct machine_nic *nic = &f->nics[i];
            snprintf(labels, sizeof(labels), ",target_device=\"%s\"",
                     nic->target[0] ? nic->target : nic->alias);
            add_sample(page, f, family, nic, labels);
        }
        break;
    }
}

#define FIGURE(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define OF_DOMAIN(name, type, unit, field, help)                                      \
    {                                                                                 \
        "libvirt_domain_info_" name, type, help, DOMAIN, unit, FIGURE(figures, field) \
    }
#define OF_MEMORY(name, type, field, help)                              \
    {                                                                   \
        "libvirt_domain_memory_stats_" name, type, help, MEMORY, PLAIN, \
            FIGURE(machine_memory, field)                               \
    }
#define OF_VCPU(name, type, unit, field, help)                                           \
    {                                                                                    \
        "libvirt_domain_vcpu_" name, type, help, VCPU, unit, FIGURE(machine_vcpu, field) \
    }
#define OF_DISK(name, type, unit, field, help)                                                  \
    {                                                                                           \
        "libvirt_domain_block_stats_" name, type, help, DISK, unit, FIGURE(machine_disk, field) \
    }
#define OF_NIC(name, type, field, help)                                                            \
    {                                                                                              \
        "libvirt_domain_interface_stats_" name, type, help, NIC, PLAIN, FIGURE(machine_nic, field) \
    }

static const struct family families[] = {
    OF_DOMAIN("vstate", "gauge", PLAIN, state, "State, by libvirt's virDomainState numbers."),
    OF_DOMAIN("maximum_memory_bytes", "gauge", KIBIBYTES, max_memory_kib,
              "Memory that the domain may have."),
    OF_DOMAIN("memory_usage_bytes", "gauge", KIBIBYTES, memory_kib, "Memory that the domain has."),
    OF_DOMAIN("virtual_cpus", "gauge", PLAIN, vcpu_max, "Number of vCPUs."),
    {"libvirt_domain_info_cpu_time_seconds_total", "counter",
     "Processor time of all the domain's processes.", LIVE, NANOSECONDS,
     FIGURE(figures, time.total_ns)},
    {"libvirt_domain_info_cpu_user_seconds_total", "counter",
     "Of it, outside the host's kernel (the guest's own, too).", LIVE, NANOSECONDS,
     FIGURE(figures, time.user_ns)},
    {"libvirt_domain_info_cpu_system_seconds_total", "counter", "Of it, in the host's kernel.",
     LIVE, NANOSECONDS, FIGURE(figures, time.system_ns)},

    OF_VCPU("time_seconds_total", "counter", NANOSECONDS, time_ns, "Time that the vCPU ran."),
    OF_VCPU("wait_seconds_total", "counter", NANOSECONDS, wait_ns,
            "Time that it waited for a processor of the host."),
    OF_VCPU("halted", "gauge", PLAIN, halted, "1 while the guest has nothing to do on it."),
    OF_VCPU("exits_total", "counter", PLAIN, exits, "Exits from the guest, by KVM's count."),

    OF_MEMORY("actual_balloon_bytes", "gauge", actual, "Memory that the balloon leaves."),
    OF_MEMORY("rss_bytes", "gauge", rss, "Resident memory of the domain's processes."),
    OF_MEMORY("unused_bytes", "gauge", unused, "Memory that the guest leaves unused."),
    OF_MEMORY("available_bytes", "gauge", available, "Memory that the guest sees."),
    OF_MEMORY("usable_bytes", "gauge", usable, "Memory that the guest could use without swapping."),
    OF_MEMORY("disk_cache_bytes", "gauge", disk_caches, "Memory that caches files in the guest."),
    OF_MEMORY("major_fault_total", "counter", major_faults, "Page faults of the guest with I/O."),
    OF_MEMORY("minor_fault_total", "counter", minor_faults,
              "Page faults of the guest without I/O."),
    OF_MEMORY("swap_in_bytes_total", "counter", swap_in, "What the guest read from its swap."),
    OF_MEMORY("swap_out_bytes_total", "counter", swap_out, "What the guest wrote to its swap."),

    OF_DISK("read_bytes_total", "counter", PLAIN, rd_bytes, "Bytes that the guest read."),
    OF_DISK("read_requests_total", "counter", PLAIN, rd_ops, "Reads."),
    OF_DISK("read_time_seconds_total", "counter", NANOSECONDS, rd_ns, "Time of all reads."),
    OF_DISK("write_bytes_total", "counter", PLAIN, wr_bytes, "Bytes that the guest wrote."),
    OF_DISK("write_requests_total", "counter", PLAIN, wr_ops, "Writes."),
    OF_DISK("write_time_seconds_total", "counter", NANOSECONDS, wr_ns, "Time of all writes."),
    OF_DISK("flush_requests_total", "counter", PLAIN, flush_ops, "Flushes."),
    OF_DISK("flush_time_seconds_total", "counter", NANOSECONDS, flush_ns, "Time of all flushes."),
    OF_DISK("failed_requests_total", "counter", PLAIN, failed, "Requests that failed."),
    OF_DISK("capacity_bytes", "gauge", PLAIN, capacity, "Size of the disk."),
    OF_DISK("allocation", "gauge", PLAIN, allocation, "Bytes that its image takes."),
    OF_DISK("physicalsize_bytes", "gauge", PLAIN, physical, "Size of its image's file or device."),

    OF_NIC("receive_bytes_total", "counter", rx_bytes, "Bytes that the guest received."),
    OF_NIC("receive_packets_total", "counter", rx_packets, "Frames that the guest received."),
    OF_NIC("receive_errors_total", "counter", rx_errors, "Errors in receiving."),
    OF_NIC("receive_drops_total", "counter", rx_drops, "Frames that it could not take."),
    OF_NIC("transmit_bytes_total", "counter", tx_bytes, "Bytes that the guest sent."),
    OF_NIC("transmit_packets_total", "counter", tx_packets, "Frames that the guest sent."),
    OF_NIC("transmit_errors_total", "counter", tx_errors, "Errors in sending."),
    OF_NIC("transmit_drops_total", "counter", tx_drops, "Frames that were not sent."),
};

static void begin_family(struct page *page, const char *name, const char *type, const char *help)
{
    add(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_page(struct page *page)
{
    begin_family(page, "libvirt_up", "gauge", "Whether the daemon answers: it does.");
    add(page, "libvirt_up 1\n");
    begin_family(page, "libvirt_versions_info", "gauge", "Who answers.");
    add(page, "libvirt_versions_info{hypervisor_running=\"kvasir " KVASIR_VERSION "\"} 1\n");
    begin_family(page, "libvirt_domains", "gauge", "Number of domains.");
    add(page, "libvirt_domains %zu\n", page->count);
    begin_family(page, "libvirt_domain_info_meta", "gauge", "Who a domain is.");
    for (size_t i = 0; i < page->count; i++)
        if (page->all[i].name)
            add(page, "libvirt_domain_info_meta{domain=\"%s\",uuid=\"%s\"} 1\n", page->all[i].name,
                page->all[i].uuid);
    for (size_t k = 0; k < ARRAY_SIZE(families); k++) {
        begin_family(page, families[k].name, families[k].type, families[k].help);
        for (size_t i = 0; i < page->count; i++)
            add_family(page, &page->all[i], &families[k]);
    }
}

int domain_metrics_page(void *opaque, struct buffer *out)
{
    struct page page = {.out = out};
    struct domain **domains = domains_snapshot(opaque, &page.count);
    page.all = domains ? calloc(page.count + 1, sizeof(*page.all)) : NULL;
    if (page.all) {
        collect(&page, domains);
        write_page(&page);
    } else {
        page.rc = -ENOMEM;
    }
    for (size_t i = 0; page.all && i < page.count; i++)
        figures_free(&page.all[i]);
    free(page.all);
    if (domains)
        domains_release(domains, page.count);
    return page.rc;
}
