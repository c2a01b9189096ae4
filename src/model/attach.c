/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices by their XML: put into a domain, found, changed and taken out of it. What identifies a
 * device is libvirt's choice: a disk's target, a NIC's address and MAC, a channel's name, ...
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/change.h"
#include "model/read.h"

/* Parses device XML and puts a copy as the last device of the changed document. */
static xmlNode *add_node(struct change *change, const char *xml, size_t len)
{
    xmlDoc *doc;
    if (xml_parse(&doc, xml, len, "(device_definition)", NULL, change->err) < 0)
        return NULL;
    xmlNode *root = xmlDocGetRootElement(doc), *node = NULL;
    const struct element *row = element_find(device_elements, xml_name(root));
    if (!row || xml_is(root, "emulator")) {
        api_error_from(change->err, VIR_FROM_DOMAIN, VIR_ERR_XML_ERROR, "unknown device type '%s'",
                       xml_name(root));
    } else {
        node = xmlDocCopyNode(root, change->doc, 1);
        xmlNode *devices = xml_child(change->root, "devices");
        if (!node || !devices || !xmlAddChild(devices, node)) {
            xmlFreeNode(node);
            node = NULL;
            api_error(change->err, VIR_ERR_NO_MEMORY, NULL);
        }
    }
    xmlFreeDoc(doc);
    return node;
}

/* A memory balloon or vsock of a domain that has one; ports and names are checked by reading. */
static int check_single(struct change *change, const xmlNode *node)
{
    const struct element *row = element_find(device_elements, xml_name(node));
    if (row->many || xml_count(node->parent, xml_name(node)) < 2)
        return 0;
    return api_error_from(change->err, VIR_FROM_QEMU, VIR_ERR_OPERATION_FAILED,
                          "the domain already has a %s device", xml_name(node));
}

static struct model_device *device_of_node(const struct model_domain *domain, const xmlNode *node)
{
    for (unsigned i = 0; i < domain->device_count; i++) {
        if (domain->devices[i]->node == node)
            return domain->devices[i];
    }
    return NULL;
}

static int check_target(const struct model_domain *domain, const xmlNode *node,
                        struct kv_error *err)
{
    const char *target = xml_is(node, "disk") ? xml_child_attr(node, "target", "dev") : NULL;
    if (target && model_domain_find_disk(domain, target))
        return api_error(err, VIR_ERR_OPERATION_FAILED, "target %s already exists", target);
    return 0;
}

int model_domain_attach(struct model_domain *domain, const char *xml, size_t len,
                        struct model_device **out, struct kv_error *err)
{
    *out = NULL;
    struct change change;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    xmlNode *node = add_node(&change, xml, len);
    ret = node ? check_target(domain, node, err) : -EINVAL;
    if (ret == 0)
        ret = check_single(&change, node);
    ret = change_commit(&change, ret);
    if (ret == 0)
        *out = device_of_node(domain, node);
    return ret;
}

int model_domain_detach(struct model_domain *domain, struct model_device *device,
                        struct kv_error *err)
{
    struct change change;
    unsigned index = 0;
    for (const xmlNode *n = xml_first(device->node->parent); n && n != device->node;
         n = xml_next(n))
        index++;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    xmlNode *node = xml_first(xml_child(change.root, "devices"));
    while (node && index--)
        node = xml_next(node);
    xml_remove(node);
    return change_commit(&change, 0);
}

/* ----------------------------------------------------------------- matching */

static bool same(const char *a, const char *b)
{
    return a && b && strcasecmp(a, b) == 0;
}

/* What the XML says and the device says otherwise; what it does not say matches. */
static bool contradicts(const char *wanted, const char *is)
{
    return wanted && !same(wanted, is);
}

static bool same_address(const xmlNode *wanted, const xmlNode *is)
{
    static const char *const names[] = {"domain", "controller", "bus", "slot", "function", "port"};
    const xmlNode *a = xml_child(wanted, "address"), *b = xml_child(is, "address");
    if (!a)
        return true;
    if (!b || contradicts(xml_attr(a, "type"), xml_attr(b, "type")))
        return false;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *x = xml_attr(a, names[i]), *y = xml_attr(b, names[i]);
        if (x && (!y || strtoul(x, NULL, 0) != strtoul(y, NULL, 0)))
            return false;
    }
    return true;
}

/* What a device of each kind is known by: a child's attribute. */
static const struct {
    const char *device, *child, *attribute;
} keys[] = {
    {"disk", "target", "dev"},    {"interface", "mac", "address"},   {"channel", "target", "name"},
    {"serial", "target", "port"}, {"console", "target", "port"},     {"console", "target", "type"},
    {"rng", "backend", "model"},  {"interface", "source", "bridge"}, {"interface", "source", "dev"},
    {"vsock", "cid", "address"},
};
static const struct {
    const char *device, *attribute;
} own_keys[] = {
    {"controller", "type"}, {"controller", "index"}, {"interface", "type"}, {"serial", "type"},
    {"input", "type"},      {"input", "bus"},        {"channel", "type"},
};

static bool matches(const xmlNode *wanted, const xmlNode *is)
{
    if (!xml_is(is, xml_name(wanted)))
        return false;
    const char *alias = xml_child_attr(is, "alias", "name");
    /* A disk is known by its target alone: the XML may be that of what runs, for a definition,
     * where its address is another one and aliases are the user's own. */
    if (!xml_is(is, "disk") &&
        ((alias && contradicts(xml_child_attr(wanted, "alias", "name"), alias)) ||
         !same_address(wanted, is)))
        return false;
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (xml_is(is, keys[i].device) &&
            contradicts(xml_child_attr(wanted, keys[i].child, keys[i].attribute),
                        xml_child_attr(is, keys[i].child, keys[i].attribute)))
            return false;
    }
    for (unsigned i = 0; i < sizeof(own_keys) / sizeof(own_keys[0]); i++) {
        if (xml_is(is, own_keys[i].device) && contradicts(xml_attr(wanted, own_keys[i].attribute),
                                                          xml_attr(is, own_keys[i].attribute)))
            return false;
    }
    return true;
}

static int missing(const xmlNode *wanted, struct kv_error *err)
{
    const char *target = xml_child_attr(wanted, "target", "dev");
    const char *mac = xml_child_attr(wanted, "mac", "address");
    if (xml_is(wanted, "disk"))
        return api_error(err, VIR_ERR_DEVICE_MISSING, "disk %s not found", target ? target : "");
    if (xml_is(wanted, "interface") && mac)
        return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_DEVICE_MISSING,
                              "no device matching MAC address %s found", mac);
    return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_DEVICE_MISSING,
                          "no matching %s device was found", xml_name(wanted));
}

int model_domain_find(const struct model_domain *domain, const char *xml, size_t len,
                      struct model_device **out, struct kv_error *err)
{
    *out = NULL;
    xmlDoc *doc;
    int ret = xml_parse(&doc, xml, len, "(device_definition)", NULL, err);
    if (ret < 0)
        return ret;
    const xmlNode *wanted = xmlDocGetRootElement(doc);
    unsigned found = 0;
    for (unsigned i = 0; i < domain->device_count; i++) {
        if (matches(wanted, domain->devices[i]->node)) {
            *out = *out ? *out : domain->devices[i];
            found++;
        }
    }
    if (found == 0)
        ret = missing(wanted, err);
    else if (found > 1 && xml_is(wanted, "interface"))
        ret = api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_OPERATION_FAILED,
                             "multiple devices matching the XML found; its address or alias says "
                             "which one");
    if (ret < 0)
        *out = NULL;
    xmlFreeDoc(doc);
    return ret;
}

/* ----------------------------------------------------------------- updating */

/* Keeps what identifies the device in its guest when the new XML does not say it. */
static bool keep(xmlNode *node, const xmlNode *old)
{
    static const char *const kept[] = {"alias", "address", "mac"};
    for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        xmlNode *child = xml_child(old, kept[i]);
        if (!child || xml_child(node, kept[i]))
            continue;
        xmlNode *copy = xmlDocCopyNode(child, node->doc, 1);
        if (!copy || !xmlAddChild(node, copy)) {
            xmlFreeNode(copy);
            return false;
        }
    }
    return true;
}

/* The device by what it is known by only, so that the rest of the XML may be new. */
static int find_for_update(const struct model_domain *domain, const xmlNode *wanted,
                           struct model_device **out, struct kv_error *err)
{
    for (unsigned i = 0; i < domain->device_count; i++) {
        struct model_device *device = domain->devices[i];
        const xmlNode *is = device->node;
        if (!xml_is(is, xml_name(wanted)))
            continue;
        bool known = false, other = false;
        for (unsigned k = 0; k < 4; k++) {
            const char *a = xml_child_attr(wanted, keys[k].child, keys[k].attribute);
            if (!xml_is(is, keys[k].device) || !a)
                continue;
            known = true;
            other |= !same(a, xml_child_attr(is, keys[k].child, keys[k].attribute));
        }
        if (!known)
            other = !matches(wanted, is);
        if (!other) {
            *out = device;
            return 0;
        }
    }
    return missing(wanted, err);
}

int model_domain_update(struct model_domain *domain, const char *xml, size_t len,
                        struct model_device **out, struct kv_error *err)
{
    *out = NULL;
    struct change change;
    struct model_device *device = NULL;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    xmlNode *node = add_node(&change, xml, len);
    ret = node ? find_for_update(domain, node, &device, err) : -EINVAL;
    if (ret == 0) {
        unsigned index = 0;
        for (const xmlNode *n = xml_first(device->node->parent); n && n != device->node;
             n = xml_next(n))
            index++;
        xmlNode *old = xml_first(node->parent);
        while (old && index--)
            old = xml_next(old);
        if (!old || old == node || !keep(node, old)) {
            ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
        } else {
            xmlUnlinkNode(node);
            xmlReplaceNode(old, node);
            xmlFreeNode(old);
        }
    }
    ret = change_commit(&change, ret);
    if (ret == 0)
        *out = device_of_node(domain, node);
    return ret;
}
