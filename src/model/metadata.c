/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <title>, <description> and users' own elements below <metadata>, one a namespace. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>

#include "model/change.h"
#include "model/read.h"

static xmlNode *find_element(const xmlNode *root, const char *uri)
{
    const xmlNode *metadata = xml_child(root, "metadata");
    for (xmlNode *n = metadata ? xml_first(metadata) : NULL; n; n = xml_next(n)) {
        if (n->ns && n->ns->href && strcmp((const char *)n->ns->href, uri) == 0)
            return n;
    }
    return NULL;
}

/* The element with its namespace bound to key, as a client gave it without. */
static xmlNode *parse_element(xmlDoc *doc, const char *text, const char *key, const char *uri,
                              struct kv_error *err)
{
    xmlDoc *own;
    if (xml_parse(&own, text, strlen(text), "(metadata_xml)", NULL, err) < 0)
        return NULL;
    xmlNode *node = xmlDocCopyNode(xmlDocGetRootElement(own), doc, 1);
    xmlFreeDoc(own);
    xmlNs *ns = node ? xmlNewNs(node, (const xmlChar *)uri, (const xmlChar *)key) : NULL;
    if (!ns) {
        xmlFreeNode(node);
        api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                       "failed to create a namespace '%s' for the metadata", key);
        return NULL;
    }
    xmlSetNs(node, ns);
    return node;
}

static int set_element(struct change *change, const char *text, const char *key, const char *uri)
{
    xmlNode *node = NULL;
    if (text) {
        if (!key || !*key)
            return api_error_from(change->err, VIR_FROM_DOMAIN, VIR_ERR_INVALID_ARG,
                                  "(metadata_xml): a key is needed");
        node = parse_element(change->doc, text, key, uri, change->err);
        if (!node)
            return -EINVAL;
    }
    xml_remove(find_element(change->root, uri));
    if (!node)
        return 0;
    xmlNode *metadata = element_child(change->root, "metadata");
    if (metadata && xmlAddChild(metadata, node))
        return 0;
    xmlFreeNode(node);
    return api_error(change->err, VIR_ERR_NO_MEMORY, NULL);
}

static int set_simple(struct change *change, const char *name, const char *text)
{
    xmlNode *node = xml_child(change->root, name);
    if (!text || !*text) {
        xml_remove(node);
        return 0;
    }
    node = element_child(change->root, name);
    return node && xml_set_text(node, text) ? 0 : api_error(change->err, VIR_ERR_NO_MEMORY, NULL);
}

static int unknown_type(struct kv_error *err)
{
    return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_INVALID_ARG, "unknown metadata type");
}

int model_domain_set_metadata(struct model_domain *domain, int type, const char *text,
                              const char *key, const char *uri, struct kv_error *err)
{
    struct change change;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    if (type == VIR_DOMAIN_METADATA_DESCRIPTION)
        ret = set_simple(&change, "description", text);
    else if (type == VIR_DOMAIN_METADATA_TITLE)
        ret = set_simple(&change, "title", text);
    else if (type == VIR_DOMAIN_METADATA_ELEMENT && uri)
        ret = set_element(&change, text, key, uri);
    else
        ret = unknown_type(err);
    return change_commit(&change, ret);
}

/* Formatted as libvirt does: by itself, without the indentation it has in the document. */
static char *format_element(const xmlNode *node)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text = NULL;
    if (buffer && xmlNodeDump(buffer, node->doc, (xmlNode *)node, 0, 1) >= 0)
        text = strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

/* The namespace as it was bound by the user's own key is not part of what he set. */
static char *format_unbound(const xmlNode *node)
{
    xmlDoc *doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *copy = doc ? xmlDocCopyNode((xmlNode *)node, doc, 1) : NULL;
    char *text = NULL;
    if (copy) {
        xmlDocSetRootElement(doc, copy);
        xmlSetNs(copy, NULL);
        for (xmlNs **ns = &copy->nsDef; *ns;) {
            if (strcmp((const char *)(*ns)->href, (const char *)node->ns->href) != 0) {
                ns = &(*ns)->next;
                continue;
            }
            xmlNs *gone = *ns;
            *ns = gone->next;
            gone->next = NULL;
            xmlFreeNs(gone);
        }
        text = format_element(copy);
    }
    xmlFreeDoc(doc);
    return text;
}

int model_domain_get_metadata(const struct model_domain *domain, int type, const char *uri,
                              char **out, struct kv_error *err)
{
    static const char none[] = "Requested metadata element is not present";
    *out = NULL;
    const char *text = NULL;
    if (type == VIR_DOMAIN_METADATA_DESCRIPTION)
        text = domain->description;
    else if (type == VIR_DOMAIN_METADATA_TITLE)
        text = domain->title;
    else if (type != VIR_DOMAIN_METADATA_ELEMENT || !uri)
        return unknown_type(err);
    const xmlNode *node = type == VIR_DOMAIN_METADATA_ELEMENT
                              ? find_element(xmlDocGetRootElement(domain->doc), uri)
                              : NULL;
    if (!text && !node)
        return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_NO_DOMAIN_METADATA, none);
    *out = node ? format_unbound(node) : strdup(text);
    return *out ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}
