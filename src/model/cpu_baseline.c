/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virConnectBaselineCPU: the processor that all of some hosts have, of their capabilities' <cpu>
 * elements. Hosts of ours list every feature beside the model, so what all of them list, on a
 * model that all of them are, is what they have in common.
 */
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/util.h"
#include "model/api_error.h"
#include "model/cpu.h"
#include "model/xml.h"

/* Every processor with 64 bits that KVM runs on has what this model has. */
#define LOWEST_MODEL "kvm64"

struct listed {
    const char *name; /* of the document */
    unsigned cpu;
    bool disabled;
};

struct baseline {
    xmlDoc **documents;
    unsigned document_count;
    const char *model, *vendor; /* NULL: none in common, none said */
    struct listed *list;
    size_t count, capacity;
};

static int add_feature(struct baseline *b, const xmlNode *node, struct kv_error *err)
{
    const char *name = xml_attr(node, "name"), *policy = xml_attr(node, "policy");
    if (!name || !*name)
        return api_error_from(err, VIR_FROM_CPU, VIR_ERR_XML_ERROR, "Invalid CPU feature name");
    if (b->count == b->capacity) {
        size_t capacity = MAX((size_t)256, b->capacity * 2);
        struct listed *list = realloc(b->list, capacity * sizeof(*list));
        if (!list)
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
        b->list = list;
        b->capacity = capacity;
    }
    bool disabled = policy && (strcmp(policy, "disable") == 0 || strcmp(policy, "forbid") == 0);
    b->list[b->count++] = (struct listed){name, b->document_count - 1, disabled};
    return 0;
}

static int add_cpu(struct baseline *b, const char *xml, struct kv_error *err)
{
    xmlDoc *doc;
    int ret = xml_parse(&doc, xml, strlen(xml), "(CPU_definition)", "cpu", err);
    if (ret < 0)
        return ret;
    bool first = b->document_count == 0;
    b->documents[b->document_count++] = doc;
    const xmlNode *cpu = xmlDocGetRootElement(doc);
    const char *arch = xml_child_text(cpu, "arch"), *model = xml_child_text(cpu, "model"),
               *vendor = xml_child_text(cpu, "vendor");
    if (arch && strcmp(arch, "x86_64") != 0 && strcmp(arch, "i686") != 0)
        return api_error_from(err, VIR_FROM_CPU, VIR_ERR_NO_SUPPORT,
                              "cannot compute baseline CPU of %s architecture", arch);
    if (!model || !*model)
        return api_error_from(err, VIR_FROM_CPU, VIR_ERR_XML_ERROR, "Missing CPU model name");
    if (b->vendor && vendor && strcmp(b->vendor, vendor) != 0)
        return api_error_from(err, VIR_FROM_CPU, VIR_ERR_OPERATION_FAILED,
                              "CPU vendors do not match: '%s' and '%s'", b->vendor, vendor);
    b->vendor = b->vendor ? b->vendor : vendor;
    if (first)
        b->model = model;
    else if (b->model && strcmp(b->model, model) != 0)
        b->model = NULL;
    for (const xmlNode *n = xml_child(cpu, "feature"); ret == 0 && n; n = xml_next_same(n))
        ret = add_feature(b, n, err);
    return ret;
}

static int compare_listed(const void *x, const void *y)
{
    const struct listed *a = x, *b = y;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->cpu > b->cpu) - (a->cpu < b->cpu);
}

/* Features of one name from list: a processor that lists it twice counts once. */
static size_t put_feature(const struct baseline *b, size_t from, bool migratable,
                          struct buffer *text)
{
    const struct listed *first = &b->list[from];
    unsigned have = 0;
    bool disabled = false;
    size_t i = from;
    for (; i < b->count && strcmp(b->list[i].name, first->name) == 0; i++) {
        have += i == from || b->list[i].cpu != b->list[i - 1].cpu;
        disabled |= b->list[i].disabled;
    }
    /* A guest with this one cannot be moved. */
    bool wanted = have == b->document_count && !(migratable && strcmp(first->name, "invtsc") == 0);
    if (!disabled && !wanted)
        return i;
    buffer_printf(text, "  <feature policy='%s' name='", disabled ? "disable" : "require");
    xml_escape(text, first->name);
    buffer_printf(text, "'/>\n");
    return i;
}

static char *format(struct baseline *b, bool migratable)
{
    struct buffer text = BUFFER_INIT(0);
    buffer_printf(&text, "<cpu mode='custom' match='exact'>\n  <model fallback='forbid'>");
    xml_escape(&text, b->model ? b->model : LOWEST_MODEL);
    buffer_printf(&text, "</model>\n");
    if (b->vendor) {
        buffer_printf(&text, "  <vendor>");
        xml_escape(&text, b->vendor);
        buffer_printf(&text, "</vendor>\n");
    }
    if (b->count)
        qsort(b->list, b->count, sizeof(*b->list), compare_listed);
    for (size_t i = 0; i < b->count;)
        i = put_feature(b, i, migratable, &text);
    buffer_printf(&text, "</cpu>\n");
    return xml_take(&text);
}

int cpu_baseline(char *const *cpus, unsigned count, unsigned flags, char **out,
                 struct kv_error *err)
{
    struct baseline b = {.documents = calloc(MAX(count, 1u), sizeof(*b.documents))};
    *out = NULL;
    if (!b.documents)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int ret = count ? 0
                    : api_error(err, VIR_ERR_INVALID_ARG, "%s",
                                "ncpus in virConnectBaselineCPU must not be zero");
    for (unsigned i = 0; ret == 0 && i < count; i++)
        ret = add_cpu(&b, cpus[i], err);
    if (ret == 0) {
        *out = format(&b, flags & VIR_CONNECT_BASELINE_CPU_MIGRATABLE);
        ret = *out ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    for (unsigned i = 0; i < b.document_count; i++)
        xmlFreeDoc(b.documents[i]);
    free(b.documents);
    free(b.list);
    return ret;
}
