/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of a domain that concern its threads: where they run, and how many I/O threads there are;
 * see change.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/change.h"
#include "model/read.h"

static const struct {
    const char *element, *key;
} pins[] = {
    [MODEL_PIN_VCPU] = {"vcpupin", "vcpu"},
    [MODEL_PIN_EMULATOR] = {"emulatorpin", NULL},
    [MODEL_PIN_IOTHREAD] = {"iothreadpin", "iothread"},
};

static int no_memory(struct change *change)
{
    return api_error(change->err, VIR_ERR_NO_MEMORY, NULL);
}

static bool set_number(xmlNode *node, const char *name, unsigned number)
{
    char text[12];
    snprintf(text, sizeof(text), "%u", number);
    return xml_set_attr(node, name, text);
}

/* The child of that name, and of that number in the attribute key unless that is NULL. */
static xmlNode *find_numbered(xmlNode *parent, const char *name, const char *key, unsigned id)
{
    xmlNode *node = parent ? xml_child(parent, name) : NULL;
    for (; node && key; node = xml_next_same(node)) {
        const char *text = xml_attr(node, key);
        uint64_t number;
        if (text && xml_number(text, UINT32_MAX, &number) && number == id)
            break;
    }
    return node;
}

int model_domain_set_pin(struct model_domain *domain, enum model_pin_kind kind, unsigned id,
                         const char *cpuset, struct kv_error *err)
{
    const char *element = pins[kind].element, *key = pins[kind].key;
    struct change change;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    xmlNode *tune = element_child(change.root, "cputune");
    xmlNode *node = tune ? find_numbered(tune, element, key, id) : NULL;
    if (tune && !node)
        node = xml_add_child(tune, element, NULL);
    if (!node || (key && !set_number(node, key, id)) || !xml_set_attr(node, "cpuset", cpuset))
        ret = no_memory(&change);
    return change_commit(&change, ret);
}

static int set_count(struct change *change, unsigned count)
{
    char text[12];
    snprintf(text, sizeof(text), "%u", count);
    xmlNode *node = element_child(change->root, "iothreads");
    if (count == 0)
        xml_remove(node);
    return count == 0 || (node && xml_set_text(node, text)) ? 0 : no_memory(change);
}

/* All that there are by their numbers, so that one may be missing among them. */
static int list_ids(struct change *change)
{
    const struct model_domain *d = change->domain;
    xmlNode *ids = element_child(change->root, "iothreadids");
    for (unsigned i = 0; ids && i < d->iothreads; i++) {
        if (find_numbered(ids, "iothread", "id", d->iothread_ids[i]))
            continue;
        xmlNode *node = xml_add_child(ids, "iothread", NULL);
        if (!node || !set_number(node, "id", d->iothread_ids[i]))
            return no_memory(change);
    }
    return ids ? 0 : no_memory(change);
}

int model_domain_add_iothread(struct model_domain *domain, unsigned id, struct kv_error *err)
{
    struct change change;
    if (model_domain_find_iothread(domain, id))
        return api_error(err, VIR_ERR_INVALID_ARG, "an IOThread is already using iothread_id '%u'",
                         id);
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    ret = list_ids(&change);
    xmlNode *node =
        ret == 0 ? xml_add_child(xml_child(change.root, "iothreadids"), "iothread", NULL) : NULL;
    if (ret == 0 && (!node || !set_number(node, "id", id)))
        ret = no_memory(&change);
    if (ret == 0)
        ret = set_count(&change, domain->iothreads + 1);
    return change_commit(&change, ret);
}

int model_domain_remove_iothread(struct model_domain *domain, unsigned id, struct kv_error *err)
{
    struct change change;
    if (!model_domain_find_iothread(domain, id))
        return api_error(err, VIR_ERR_INVALID_ARG, "cannot find IOThread '%u' in iothreadids list",
                         id);
    for (unsigned i = 0; i < domain->disk_count; i++) {
        if (domain->disks[i].iothread == id)
            return api_error(err, VIR_ERR_INVALID_ARG,
                             "cannot remove IOThread %u since it is being used by disk '%s'", id,
                             domain->disks[i].target);
    }
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    ret = list_ids(&change);
    if (ret == 0) {
        xmlNode *ids = xml_child(change.root, "iothreadids");
        xml_remove(find_numbered(ids, "iothread", "id", id));
        if (!xml_first(ids))
            xml_remove(ids);
        xml_remove(find_numbered(xml_child(change.root, "cputune"), "iothreadpin", "iothread", id));
        ret = set_count(&change, domain->iothreads - 1);
    }
    return change_commit(&change, ret);
}
