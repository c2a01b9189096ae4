/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains: reading, copying and writing them; see domain.h. */
#include "model/domain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "model/host.h"
#include "model/read.h"
#include "model/schema.h"

static void note_left_out(void *opaque, const xmlNode *node, const char *why)
{
    read_left_out(opaque, node, why);
}

static void note_refused(void *opaque, const xmlNode *node, const char *why)
{
    read_refuse(opaque, node, NULL, "%s", why);
}

static int read_all(struct read *r)
{
    static int (*const parts[])(struct read *) = {
        read_general, read_vcpus,    read_cpu,       read_memory, read_tuning,
        read_os,      read_features, read_seclabels, read_clock,  read_devices,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        int ret = parts[i](r);
        if (ret < 0)
            return ret;
    }
    return 0;
}

int domain_read(struct model_domain *d, unsigned flags, struct kv_error *err)
{
    struct model_arena *arena = arena_new();
    if (!arena)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    struct model_domain fresh = {.doc = d->doc, .host = d->host, .arena = arena};
    struct model_arena *old = d->arena;
    *d = fresh;
    struct read r = {.d = d, .root = xmlDocGetRootElement(d->doc), .flags = flags, .err = err};
    struct element_check check = {
        .tolerant = flags & MODEL_PARSE_STORED,
        .left_out = note_left_out,
        .refused = note_refused,
        .opaque = &r,
    };
    int ret = element_apply(&domain_element, r.root, &check, err);
    if (ret == 0) {
        r.devices = element_child(r.root, "devices");
        ret = r.devices ? read_all(&r) : read_no_memory(&r);
    }
    if (ret == 0 && d->id >= 0)
        ret = assign_aliases(&r);
    if (ret == 0)
        element_sort(&domain_element, r.root);
    arena_free(old);
    return ret;
}

int model_domain_parse(struct model_domain **out, const struct model_host *host, const char *xml,
                       size_t len, unsigned flags, struct kv_error *err)
{
    *out = NULL;
    struct model_domain *d = calloc(1, sizeof(*d));
    if (!d)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    d->host = host;
    int ret = xml_parse(&d->doc, xml, len, "(domain_definition)", "domain", err);
    if (ret == 0 && flags & MODEL_PARSE_VALIDATE)
        ret = schema_validate(d->doc, "domain", err);
    if (ret == 0) {
        if (flags & MODEL_PARSE_INACTIVE)
            domain_strip_live(xmlDocGetRootElement(d->doc));
        ret = domain_read(d, flags, err);
    }
    if (ret < 0) {
        model_domain_free(d);
        return ret;
    }
    *out = d;
    return 0;
}

struct model_domain *model_domain_copy(const struct model_domain *domain)
{
    struct model_domain *copy = calloc(1, sizeof(*copy));
    if (!copy)
        return NULL;
    copy->host = domain->host;
    copy->doc = xmlCopyDoc(domain->doc, 1);
    struct kv_error err;
    if (!copy->doc || domain_read(copy, MODEL_PARSE_STORED, &err) < 0) {
        model_domain_free(copy);
        return NULL;
    }
    return copy;
}

void model_domain_free(struct model_domain *domain)
{
    if (!domain)
        return;
    xmlFreeDoc(domain->doc);
    arena_free(domain->arena);
    free(domain);
}

/* The CPU as the guest sees it instead of "what the host has". */
static int update_cpu(const struct model_domain *domain, xmlNode *root)
{
    xmlNode *cpu = xml_child(root, "cpu");
    const char *mode = cpu ? xml_attr(cpu, "mode") : NULL;
    if (!mode || strcmp(mode, "host-model") != 0)
        return 0;
    xmlNode *model = element_child(cpu, "model");
    if (!model || !xml_set_text(model, model_host_cpu_model(domain->host)) ||
        !xml_set_attr(model, "fallback", "forbid") || !xml_set_attr(cpu, "check", "partial"))
        return -ENOMEM;
    element_sort(element_find(domain_element.children, "cpu"), cpu);
    return 0;
}

char *model_domain_format(const struct model_domain *domain, unsigned flags)
{
    bool strip = flags & (MODEL_FORMAT_INACTIVE | MODEL_FORMAT_MIGRATABLE) && domain->id >= 0;
    bool remove = flags & MODEL_FORMAT_PRESENT && domain->left_out_count && domain->id >= 0;
    bool hide = !(flags & MODEL_FORMAT_SECURE) && domain->graphics && domain->graphics->password;
    bool change = strip || remove || hide || flags & MODEL_FORMAT_UPDATE_CPU;
    xmlDoc *doc = change ? xmlCopyDoc(domain->doc, 1) : domain->doc;
    if (!doc)
        return NULL;
    xmlNode *root = xmlDocGetRootElement(doc);
    int ret = 0;
    if (strip)
        domain_strip_live(root);
    if (remove)
        domain_strip_left_out(root);
    if (hide)
        xml_set_attr(xml_child(xml_child(root, "devices"), "graphics"), "passwd", NULL);
    if (flags & MODEL_FORMAT_UPDATE_CPU)
        ret = update_cpu(domain, root);
    struct buffer text = BUFFER_INIT(0);
    if (ret == 0)
        ret = xml_format(&text, root, 0);
    if (change)
        xmlFreeDoc(doc);
    if (ret < 0) {
        buffer_free(&text);
        return NULL;
    }
    return xml_take(&text);
}
