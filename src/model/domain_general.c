/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's name, identity, memory and what the memory is made of; see read.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/parse.h"
#include "base/util.h"
#include "model/read.h"
#include "model/uuid.h"

static int read_name(struct read *r)
{
    const char *name = xml_child_text(r->root, "name");
    if (!name || !*name)
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_NO_NAME, NULL);
    if (strchr(name, '\n'))
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_DETAIL, "invalid char in name: \n");
    if (strchr(name, '/'))
        return read_xml_error(r, "name %s cannot contain '/'", name);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return read_xml_error(r, "name %s is not a name for a file", name);
    r->d->name = name;
    return 0;
}

/* As libvirt: what was not given is the one of <sysinfo>, if that has one. */
static const char *uuid_of_sysinfo(const struct read *r)
{
    const xmlNode *sysinfo = xml_child(r->root, "sysinfo");
    const xmlNode *system = sysinfo ? xml_child(sysinfo, "system") : NULL;
    const xmlNode *entry = system ? xml_child(system, "entry") : NULL;
    for (; entry; entry = xml_next_same(entry)) {
        const char *name = xml_attr(entry, "name");
        if (name && strcmp(name, "uuid") == 0)
            return xml_text(entry);
    }
    return NULL;
}

static int read_uuid(struct read *r)
{
    struct model_domain *d = r->d;
    xmlNode *node = xml_child(r->root, "uuid");
    if (!node) {
        const char *given = uuid_of_sysinfo(r);
        if (!given || uuid_parse(given, d->uuid) < 0)
            uuid_generate(d->uuid);
        node = element_child(r->root, "uuid");
        if (!node)
            return read_no_memory(r);
    } else if (uuid_parse(xml_text(node), d->uuid) < 0) {
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                              "malformed uuid element");
    }
    uuid_format(d->uuid, d->uuid_text);
    return xml_set_text(node, d->uuid_text) ? 0 : read_no_memory(r);
}

static int read_genid(struct read *r)
{
    xmlNode *node = xml_child(r->root, "genid");
    if (!node)
        return 0;
    uint8_t bytes[16];
    char text[UUID_TEXT];
    if (!*xml_text(node))
        uuid_generate(bytes);
    else if (uuid_parse(xml_text(node), bytes) < 0)
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                              "malformed genid element");
    uuid_format(bytes, text);
    if (!xml_set_text(node, text))
        return read_no_memory(r);
    r->d->genid = xml_text(node);
    return 0;
}

int read_general(struct read *r)
{
    struct model_domain *d = r->d;
    const char *type = xml_attr(r->root, "type");
    if (!type)
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                              "missing domain type attribute");
    static const char *const known[] = {"qemu",   "xen",    "lxc",   "uml",  "openvz",    "test",
                                        "vmware", "hyperv", "vbox",  "phyp", "parallels", "bhyve",
                                        "vz",     "hvf",    "kqemu", NULL};
    int ret = 0;
    if (strcmp(type, "kvm") != 0) {
        if (!read_is_one_of(type, known))
            return read_unsupported(r, "invalid domain type %s", type);
        ret = read_refuse(r, r->root, "type", "'%s': guests run on KVM only; 'kvm' is accepted",
                          type);
    }
    d->id = -1;
    const char *id = xml_attr(r->root, "id");
    int64_t number;
    if (id && xml_integer(id, &number) && number >= 0 && number <= INT32_MAX)
        d->id = (int)number;
    if (ret == 0)
        ret = read_name(r);
    if (ret == 0)
        ret = read_uuid(r);
    if (ret == 0)
        ret = read_genid(r);
    if (ret < 0)
        return ret;
    d->title = xml_child_text(r->root, "title");
    if (d->title && strchr(d->title, '\n'))
        return read_xml_error(r, "Domain title can't contain newlines");
    d->description = xml_child_text(r->root, "description");
    return 0;
}

/* ------------------------------------------------------------------- memory */

static int read_backing_values(struct read *r, xmlNode *node, struct model_memory_backing *m)
{
    static const char *const sources[] = {"file", "anonymous", "memfd", NULL};
    static const char *const accesses[] = {"shared", "private", NULL};
    static const char *const modes[] = {"immediate", "ondemand", NULL};
    const char *access = xml_child_attr(node, "access", "mode");
    const char *mode = xml_child_attr(node, "allocation", "mode");
    m->source = xml_child_attr(node, "source", "type");
    if (m->source && !read_is_one_of(m->source, sources))
        return read_unsupported(r, "unknown memoryBacking/source/type '%s'", m->source);
    if (access && !read_is_one_of(access, accesses))
        return read_unsupported(r, "unknown memoryBacking/access/mode '%s'", access);
    if (mode && !read_is_one_of(mode, modes))
        return read_unsupported(r, "unknown memoryBacking/allocation/mode '%s'", mode);
    m->shared = access && *access == 's';
    m->prealloc = mode && *mode == 'i';
    if (m->source && strcmp(m->source, "file") == 0)
        return read_refuse(r, xml_child(node, "source"), "type",
                           "'file': guest memory lies in anonymous files; 'memfd' and "
                           "'anonymous' are accepted");
    return read_uint(r, xml_child(node, "allocation"), "threads", &m->prealloc_threads);
}

static int read_hugepages(struct read *r, xmlNode *node, struct model_memory_backing *m)
{
    xmlNode *pages = xml_child(node, "hugepages");
    xmlNode *page = pages ? xml_child(pages, "page") : NULL;
    m->hugepages = pages != NULL;
    uint64_t size = 0, bytes;
    int ret = read_u64(r, page, "size", &size);
    if (ret < 0 || !page)
        return ret;
    const char *unit = xml_attr(page, "unit");
    ret = read_scale(r, unit ? unit : "KiB", size, &bytes);
    if (ret < 0)
        return ret;
    m->hugepage_kib = bytes / 1024;
    if (m->hugepage_kib != 2048 && m->hugepage_kib != 1048576)
        return read_refuse(r, page, "size", "%ju KiB: pages of 2048 and 1048576 KiB are accepted",
                           (uintmax_t)m->hugepage_kib);
    char text[24];
    snprintf(text, sizeof(text), "%ju", (uintmax_t)m->hugepage_kib);
    ret = read_set(r, page, "size", text);
    return ret < 0 ? ret : read_set(r, page, "unit", "KiB");
}

static int read_memory_backing(struct read *r)
{
    struct model_memory_backing *m = &r->d->memory_backing;
    xmlNode *node = xml_child(r->root, "memoryBacking");
    if (!node)
        return 0;
    m->locked = xml_child(node, "locked");
    int ret = read_backing_values(r, node, m);
    return ret < 0 ? ret : read_hugepages(r, node, m);
}

/* What the guest's cells add up to is the memory of a domain that says no other. */
static uint64_t cells_kib(const struct read *r)
{
    uint64_t kib = 0;
    for (unsigned i = 0; i < r->d->numa_count; i++)
        kib += r->d->numa[i].memory_kib;
    return kib;
}

int read_memory(struct read *r)
{
    struct model_domain *d = r->d;
    xmlNode *memory = xml_child(r->root, "memory"), *current = xml_child(r->root, "currentMemory");
    uint64_t cells = cells_kib(r);
    int ret = memory ? read_size_kib(r, memory, &d->memory_kib) : 0;
    if (ret < 0)
        return ret;
    if (cells)
        d->memory_kib = cells;
    if (d->memory_kib == 0)
        return read_xml_error(r, "Memory size must be specified via <memory> or in the <numa> "
                                 "configuration");
    if (current && (ret = read_size_kib(r, current, &d->current_memory_kib)) < 0)
        return ret;
    if (d->current_memory_kib == 0 || d->current_memory_kib > d->memory_kib)
        d->current_memory_kib = d->memory_kib;
    char text[2][24];
    snprintf(text[0], sizeof(text[0]), "%ju", (uintmax_t)d->memory_kib);
    snprintf(text[1], sizeof(text[1]), "%ju", (uintmax_t)d->current_memory_kib);
    memory = element_child(r->root, "memory");
    current = element_child(r->root, "currentMemory");
    if (!memory || !current || !xml_set_text(memory, text[0]) ||
        !xml_set_attr(memory, "unit", "KiB") || !xml_set_text(current, text[1]) ||
        !xml_set_attr(current, "unit", "KiB"))
        return read_no_memory(r);
    return read_memory_backing(r);
}

/* ---------------------------------------------------------------- seclabels */

int read_seclabels(struct read *r)
{
    static const char *const types[] = {"dynamic", "static", "none", NULL};
    struct model_domain *d = r->d;
    unsigned n = xml_count(r->root, "seclabel");
    struct model_seclabel *labels = arena_alloc(d->arena, (n + 1) * sizeof(*labels));
    if (!labels)
        return read_no_memory(r);
    d->seclabels = labels;
    for (xmlNode *node = xml_child(r->root, "seclabel"); node; node = xml_next_same(node)) {
        struct model_seclabel *label = &labels[d->seclabel_count++];
        int ret = read_choice(r, node, "type", types, &label->type);
        if (ret < 0)
            return ret;
        if (label->type && *label->type == 'n' && !xml_attr(node, "model") &&
            read_set(r, node, "model", "none") < 0)
            return read_no_memory(r);
        label->model = xml_attr(node, "model");
        label->label = xml_child_text(node, "label");
        bool none = (label->type && *label->type == 'n') ||
                    (label->model && strcmp(label->model, "none") == 0);
        if (!none && label->model && strcmp(label->model, "dac") != 0) {
            ret = read_refuse(r, node, "model", "Security driver model '%s' is not available",
                              label->model);
            if (ret < 0)
                return ret;
        }
    }
    return 0;
}
