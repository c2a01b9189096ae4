/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's vCPUs and I/O threads, and where and how much they may run; see read.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/host_internal.h"
#include "model/read.h"

#define IOTHREADS_MAX 64

static int set_number(struct read *r, const char *name, unsigned value)
{
    char text[24];
    snprintf(text, sizeof(text), "%u", value);
    xmlNode *node = element_child(r->root, name);
    return node && xml_set_text(node, text) ? 0 : read_no_memory(r);
}

static int read_vcpu_counts(struct read *r, xmlNode *node)
{
    struct model_domain *d = r->d;
    uint64_t number = 1;
    if (node && *xml_text(node) && !xml_number(xml_text(node), UINT32_MAX, &number))
        return read_xml_error(r, "maximum vcpus count must be an integer");
    if (number == 0)
        return read_xml_error(r, "vCPU count must be greater than 0");
    if (number > HOST_VCPUS_MAX)
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "Maximum CPUs greater than specified machine type limit %d",
                         HOST_VCPUS_MAX);
    d->vcpus = d->vcpus_max = (unsigned)number;
    const char *current = node ? xml_attr(node, "current") : NULL;
    if (!current)
        return 0;
    if (!xml_number(current, UINT32_MAX, &number) || number == 0)
        return read_xml_error(r, "current vcpus count must be an integer");
    if (number > d->vcpus_max)
        return read_unsupported(r, "maximum vCPU count must not be less than current vCPU count");
    d->vcpus = (unsigned)number;
    return number == d->vcpus_max ? read_set(r, node, "current", NULL) : 0;
}

/* One <vcpu> of <vcpus>; next: its number if they come in order. */
static int read_single_vcpu(struct read *r, const xmlNode *node, unsigned next)
{
    struct model_domain *d = r->d;
    unsigned id = UINT32_MAX, order = 0;
    bool enabled = false, pluggable = false;
    int ret = read_uint(r, node, "id", &id);
    if (ret == 0)
        ret = read_yes_no(r, node, "enabled", &enabled);
    if (ret == 0)
        ret = read_yes_no(r, node, "hotpluggable", &pluggable);
    if (ret == 0)
        ret = read_uint(r, node, "order", &order);
    if (ret < 0)
        return ret;
    if (id == UINT32_MAX || !xml_attr(node, "enabled"))
        return read_xml_error(r, "missing or invalid vcpu id or 'enabled' in <vcpus>");
    if (id >= d->vcpus_max)
        return read_unsupported(r, "vcpu id '%u' is out of range of maximum vcpu count", id);
    if (id != next)
        return read_refuse(r, node, "id", "%u: all vCPUs in order from 0 on are accepted", id);
    if (order && order != id + 1)
        return read_refuse(r, node, "order", "%u of vCPU %u: %u, as they come by their numbers",
                           order, id, id + 1);
    if (enabled != (id < d->vcpus))
        return read_refuse(r, node, "enabled",
                           "vCPU %u: those below %u, the current ones, are 'yes', others 'no'", id,
                           d->vcpus);
    if (!enabled && !pluggable && xml_attr(node, "hotpluggable"))
        return read_refuse(r, node, "hotpluggable", "vCPU %u is 'no' and not enabled either", id);
    if (enabled && !pluggable && d->vcpus_fixed != id)
        return read_refuse(r, node, "hotpluggable",
                           "vCPU %u is 'no'; those that cannot be unplugged are the first", id);
    d->vcpus_fixed += enabled && !pluggable;
    return 0;
}

static int read_single_vcpus(struct read *r)
{
    struct model_domain *d = r->d;
    xmlNode *list = xml_child(r->root, "vcpus");
    unsigned next = 0;
    d->vcpus_fixed = list ? 0 : d->vcpus;
    for (const xmlNode *node = list ? xml_child(list, "vcpu") : NULL; node;
         node = xml_next_same(node)) {
        int ret = read_single_vcpu(r, node, next++);
        if (ret < 0)
            return ret;
    }
    if (list && next != d->vcpus_max)
        return read_unsupported(r, "<vcpus> lists %u vCPUs; <vcpu> has %u", next, d->vcpus_max);
    return d->vcpus_fixed ? 0 : read_unsupported(r, "vCPU 0 cannot be hotpluggable");
}

static int read_vcpu(struct read *r)
{
    static const char *const placements[] = {"static", "auto", NULL};
    struct model_domain *d = r->d;
    xmlNode *node = xml_child(r->root, "vcpu");
    int ret = read_vcpu_counts(r, node);
    if (ret == 0)
        ret = set_number(r, "vcpu", d->vcpus_max);
    if (ret == 0)
        ret = read_single_vcpus(r);
    if (ret < 0)
        return ret;
    node = xml_child(r->root, "vcpu");
    const char *placement = xml_attr(node, "placement");
    if (placement && !read_is_one_of(placement, placements))
        return read_unsupported(r, "Unsupported CPU placement mode '%s'", placement);
    if (placement && *placement == 'a')
        ret = read_refuse(r, node, "placement", "'auto': 'static' is accepted");
    else if (!placement)
        ret = read_set(r, node, "placement", "static");
    return ret < 0 ? ret : read_cpuset(r, node, "cpuset", &d->cpuset);
}

/* ---------------------------------------------------------------- iothreads */

unsigned model_domain_find_iothread(const struct model_domain *d, unsigned id)
{
    for (unsigned i = 0; i < d->iothreads; i++) {
        if (d->iothread_ids[i] == id)
            return i + 1;
    }
    return 0;
}

static int read_iothread_ids(struct read *r, xmlNode *list, unsigned *ids)
{
    struct model_domain *d = r->d;
    for (xmlNode *n = xml_child(list, "iothread"); n; n = xml_next_same(n)) {
        unsigned id = 0;
        int ret = read_positive(r, n, "id", &id);
        if (ret < 0)
            return ret;
        if (id == 0)
            return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                                  "Missing required attribute 'id' in element 'iothread'");
        if (model_domain_find_iothread(d, id))
            return read_xml_error(r, "duplicate iothread id '%u' found", id);
        ids[d->iothreads++] = id;
    }
    return 0;
}

static int read_iothreads(struct read *r)
{
    struct model_domain *d = r->d;
    uint64_t wanted = 0;
    xmlNode *list = xml_child(r->root, "iothreadids");
    int ret =
        read_child_number(r, r->root, "iothreads", UINT32_MAX, "invalid iothreads count", &wanted);
    if (ret < 0)
        return ret;
    unsigned listed = list ? xml_count(list, "iothread") : 0;
    unsigned count = MAX((unsigned)wanted, listed);
    if (count > IOTHREADS_MAX)
        return read_unsupported(r, "%u I/O threads are asked for; at most %d are supported", count,
                                IOTHREADS_MAX);
    unsigned *ids = arena_alloc(d->arena, (count + 1) * sizeof(*ids));
    if (!ids)
        return read_no_memory(r);
    d->iothread_ids = ids;
    if (list && (ret = read_iothread_ids(r, list, ids)) < 0)
        return ret;
    for (unsigned id = 1; d->iothreads < count; id++) {
        if (model_domain_find_iothread(d, id))
            continue;
        ids[d->iothreads++] = id;
        char text[24];
        snprintf(text, sizeof(text), "%u", id);
        xmlNode *node = list ? xml_add_child(list, "iothread", NULL) : NULL;
        if (list && (!node || !xml_set_attr(node, "id", text)))
            return read_no_memory(r);
    }
    return count ? set_number(r, "iothreads", count) : 0;
}

int read_vcpus(struct read *r)
{
    int ret = read_vcpu(r);
    return ret < 0 ? ret : read_iothreads(r);
}

/* ------------------------------------------------------------------ cputune */

#define PERIOD_MIN 1000u
#define PERIOD_MAX 1000000u
#define QUOTA_MIN 1000
#define QUOTA_MAX 17592186044415ll

static int read_period(struct read *r, const xmlNode *node, const char *name, uint64_t *out)
{
    char what[80];
    snprintf(what, sizeof(what), "can't parse cputune %s value", name);
    int ret = read_child_number(r, node, name, UINT64_MAX, what, out);
    if (ret == 0 && *out && (*out < PERIOD_MIN || *out > PERIOD_MAX))
        return read_unsupported(r, "Value of cputune '%s' must be in range [%u, %u]", name,
                                PERIOD_MIN, PERIOD_MAX);
    return ret;
}

static int read_quota(struct read *r, const xmlNode *node, const char *name, int64_t *out)
{
    const char *text = xml_child_text(node, name);
    if (!text)
        return 0;
    if (!xml_integer(text, out))
        return read_xml_error(r, "can't parse cputune %s value", name);
    if (*out > 0 && (*out < QUOTA_MIN || *out > QUOTA_MAX))
        return read_unsupported(r, "Value of cputune '%s' must be in range [%d, %lld]", name,
                                QUOTA_MIN, QUOTA_MAX);
    return 0;
}

/* vcpupin and iothreadpin. */
static int read_pins(struct read *r, const xmlNode *node, const char *name, const char *key,
                     const struct model_pin **out, unsigned *count)
{
    unsigned n = xml_count(node, name);
    struct model_pin *pins = arena_alloc(r->d->arena, (n + 1) * sizeof(*pins));
    if (!pins)
        return read_no_memory(r);
    *out = pins;
    for (xmlNode *c = xml_child(node, name); c; c = xml_next_same(c)) {
        struct model_pin *pin = &pins[*count];
        if (!xml_attr(c, key))
            return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_XML_ERROR, "missing %s id in %s",
                                  key, name);
        int ret = read_uint(r, c, key, &pin->id);
        if (ret == 0)
            ret = read_cpuset(r, c, "cpuset", &pin->cpuset);
        if (ret < 0)
            return ret;
        if (!pin->cpuset)
            return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                                  "missing cpuset for %s", name);
        for (unsigned i = 0; i < *count; i++) {
            if (pins[i].id == pin->id)
                return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                                      "duplicate %s for %s '%u'", name, key, pin->id);
        }
        (*count)++;
    }
    return 0;
}

static int read_all_pins(struct read *r, xmlNode *node, struct model_cputune *t)
{
    int ret = read_pins(r, node, "vcpupin", "vcpu", &t->vcpupins, &t->vcpupin_count);
    if (ret == 0)
        ret =
            read_pins(r, node, "iothreadpin", "iothread", &t->iothreadpins, &t->iothreadpin_count);
    for (unsigned i = 0; ret == 0 && i < t->iothreadpin_count; i++) {
        if (!model_domain_find_iothread(r->d, t->iothreadpins[i].id))
            ret = read_unsupported(r, "Cannot find 'iothread' : %u", t->iothreadpins[i].id);
    }
    xmlNode *emulator = xml_child(node, "emulatorpin");
    if (ret == 0 && emulator) {
        ret = read_cpuset(r, emulator, "cpuset", &t->emulatorpin);
        if (ret == 0 && !t->emulatorpin)
            ret = api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                                 "missing cpuset for emulatorpin");
    }
    return ret;
}

static int read_cputune(struct read *r)
{
    struct model_cputune *t = &r->d->cputune;
    xmlNode *node = xml_child(r->root, "cputune");
    if (!node)
        return 0;
    const struct {
        const char *period_name, *quota_name;
        uint64_t *period;
        int64_t *quota;
    } rows[] = {
        {"period", "quota", &t->period, &t->quota},
        {"global_period", "global_quota", &t->global_period, &t->global_quota},
        {"emulator_period", "emulator_quota", &t->emulator_period, &t->emulator_quota},
        {"iothread_period", "iothread_quota", &t->iothread_period, &t->iothread_quota},
    };
    int ret = read_child_number(r, node, "shares", UINT64_MAX, "can't parse cputune shares value",
                                &t->shares);
    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(rows); i++) {
        ret = read_period(r, node, rows[i].period_name, rows[i].period);
        if (ret == 0)
            ret = read_quota(r, node, rows[i].quota_name, rows[i].quota);
    }
    return ret < 0 ? ret : read_all_pins(r, node, t);
}

/* ------------------------------------------------------ numatune and others */

static int read_numatune(struct read *r)
{
    static const char *const modes[] = {"strict", "preferred", "interleave", "restrictive", NULL};
    xmlNode *node = xml_child(r->root, "numatune");
    xmlNode *memory = node ? xml_child(node, "memory") : NULL;
    if (!memory)
        return 0;
    const char *mode = xml_attr(memory, "mode"), *placement = xml_attr(memory, "placement");
    if (mode && !read_is_one_of(mode, modes))
        return read_unsupported(r, "Unsupported NUMA memory tuning mode '%s'", mode);
    if (placement && strcmp(placement, "static") != 0)
        return read_refuse(r, memory, "placement", "'%s': 'static' is accepted", placement);
    r->d->numatune_mode = mode ? mode : "strict";
    int ret = mode ? 0 : read_set(r, memory, "mode", "strict");
    if (ret == 0)
        ret = read_set(r, memory, "placement", NULL);
    if (ret == 0)
        ret = read_cpuset(r, memory, "nodeset", &r->d->numatune_nodeset);
    if (ret < 0 || r->d->numatune_nodeset)
        return ret;
    return read_unsupported(r, "nodeset for NUMA memory tuning must be set if 'placement' is "
                               "'static'");
}

static int read_memtune(struct read *r)
{
    struct model_domain *d = r->d;
    xmlNode *node = xml_child(r->root, "memtune");
    const struct {
        const char *name;
        uint64_t *kib;
    } rows[] = {
        {"hard_limit", &d->hard_limit_kib},
        {"soft_limit", &d->soft_limit_kib},
        {"swap_hard_limit", &d->swap_hard_limit_kib},
    };
    for (unsigned i = 0; node && i < ARRAY_SIZE(rows); i++) {
        xmlNode *limit = xml_child(node, rows[i].name);
        int ret = limit ? read_size_kib(r, limit, rows[i].kib) : 0;
        if (ret < 0)
            return ret;
    }
    return 0;
}

int read_tuning(struct read *r)
{
    struct model_domain *d = r->d;
    xmlNode *blkio = xml_child(r->root, "blkiotune"), *resource = xml_child(r->root, "resource");
    uint64_t weight = 0;
    int ret = read_cputune(r);
    if (ret == 0)
        ret = read_numatune(r);
    if (ret == 0)
        ret = read_memtune(r);
    if (ret == 0)
        ret = read_child_number(r, blkio, "weight", UINT32_MAX,
                                "invalid value for <blkiotune> weight", &weight);
    if (ret < 0)
        return ret;
    d->blkio_weight = (unsigned)weight;
    const char *partition = resource ? xml_child_text(resource, "partition") : NULL;
    if (partition && *partition != '/')
        return read_unsupported(r, "Resource partition '%s' must start with '/'", partition);
    if (partition && strcmp(partition, "/machine") != 0)
        return read_refuse(r, xml_child(resource, "partition"), NULL,
                           "'%s': control groups are made below the daemon's; '/machine', which "
                           "is what clients are shown, is accepted",
                           partition);
    return 0;
}
