/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holding a document to the table of elements; see element.h. */
#include "model/element.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model/api_error.h"
#include "model/xml.h"

#define PATH_MAX_SHOWN 200
#define CHILDREN_MAX 1024 /* of one element; sorting them takes the square of it */

const struct element *element_find(const struct element *rows, const char *name)
{
    for (const struct element *row = rows; row && row->name; row++) {
        if (xml_same(row->name, name))
            return row;
    }
    return NULL;
}

/* Place of an attribute in the row's list, -1: not there. */
static int attribute_rank(const struct element *row, const char *name, bool *refused)
{
    size_t len = strlen(name);
    int rank = 0;
    for (const char *p = row->attributes; p && *p; rank++) {
        *refused = *p == '!';
        size_t n = (size_t)(strchrnul(p, ' ') - p);
        if (p[*refused] == *name && n - *refused == len && memcmp(p + *refused, name, len) == 0)
            return rank;
        p += n;
        p += *p == ' ';
    }
    return -1;
}

static int refuse_node(const struct element_check *check, const xmlNode *node, const char *why,
                       struct kv_error *err)
{
    if (check->tolerant) {
        check->refused(check->opaque, node, why);
        return 0;
    }
    char path[PATH_MAX_SHOWN];
    xml_path(path, sizeof(path), node);
    return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "%s: %s", path, why);
}

static int refuse_attribute(const struct element_check *check, const xmlNode *node,
                            const char *name, const char *why, struct kv_error *err)
{
    if (check->tolerant) {
        check->refused(check->opaque, node, why);
        return 0;
    }
    char path[PATH_MAX_SHOWN];
    xml_path(path, sizeof(path), node);
    return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "%s/@%s: %s", path, name, why);
}

static int check_attributes(const struct element *row, const xmlNode *node,
                            const struct element_check *check, struct kv_error *err)
{
    for (const xmlAttr *a = node->properties; a; a = a->next) {
        bool refused = false;
        int rank = a->ns ? -1 : attribute_rank(row, (const char *)a->name, &refused);
        const char *why = rank < 0              ? "no such attribute is known here"
                          : refused && row->why ? row->why
                                                : "this is not supported";
        if (rank >= 0 && !refused)
            continue;
        int r = refuse_attribute(check, node, (const char *)a->name, why, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ------------------------------------------------------------------ sorting */

static void sort_attributes(const struct element *row, xmlNode *node)
{
    bool refused;
    int highest = -1;
    for (xmlAttr *a = node->properties, *next; a; a = next) {
        next = a->next;
        int rank = attribute_rank(row, (const char *)a->name, &refused);
        if (rank >= highest) {
            highest = rank;
            continue;
        }
        xmlAttr *before = a->prev;
        while (before && attribute_rank(row, (const char *)before->name, &refused) > rank)
            before = before->prev;
        a->prev->next = a->next;
        if (a->next)
            a->next->prev = a->prev;
        a->prev = before;
        a->next = before ? before->next : node->properties;
        a->next->prev = a;
        if (before)
            before->next = a;
        else
            node->properties = a;
    }
}

static int child_rank(const struct element *row, const xmlNode *child)
{
    const struct element *found = element_find(row->children, xml_name(child));
    return found ? (int)(found - row->children) : -1;
}

/* The children, and what is below them. */
static void sort_children(const struct element *row, xmlNode *node)
{
    /* Insertion from the end: documents are nearly in order already. */
    int highest = -1;
    for (xmlNode *c = node->children, *next; c; c = next) {
        next = c->next;
        int rank = child_rank(row, c);
        if (rank >= 0 && c->type == XML_ELEMENT_NODE)
            element_sort(&row->children[rank], c);
        if (rank >= highest) {
            highest = rank;
            continue;
        }
        xmlNode *before = c->prev;
        while (before && child_rank(row, before) > rank)
            before = before->prev;
        xmlUnlinkNode(c);
        if (before)
            xmlAddNextSibling(before, c);
        else
            xmlAddPrevSibling(node->children, c);
    }
}

void element_sort(const struct element *row, xmlNode *node)
{
    if (!row || row->anything)
        return;
    sort_attributes(row, node);
    if (row->children)
        sort_children(row, node);
}

/* ----------------------------------------------------------------- checking */

static bool is_blank(const char *text)
{
    return !text[strspn(text, " \t\r\n")];
}

static int check_child(const struct element *row, xmlNode *child, unsigned char *seen,
                       const struct element_check *check, struct kv_error *err)
{
    int rank = child->ns ? -1 : child_rank(row, child);
    const struct element *found = rank < 0 ? NULL : &row->children[rank];
    if (!found)
        return refuse_node(check, child,
                           child->ns ? "elements of other namespaces are not supported here"
                                     : "no such element is known here",
                           err);
    if (!found->many && seen[rank]) {
        char path[PATH_MAX_SHOWN];
        xml_path(path, sizeof(path), child);
        return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_XML_ERROR,
                              "%s: this element may appear only once", path);
    }
    seen[rank] = 1;
    return element_apply(found, child, check, err);
}

/* What an element with known contents holds besides elements. */
static bool is_noise(const struct element *row, const xmlNode *child)
{
    if (child->type == XML_COMMENT_NODE || child->type == XML_PI_NODE)
        return true;
    return child->type == XML_TEXT_NODE && row->children && is_blank((const char *)child->content);
}

static int check_children(const struct element *row, xmlNode *node,
                          const struct element_check *check, struct kv_error *err)
{
    unsigned char seen[128] = {0};
    unsigned count = 0;
    for (xmlNode *c = node->children, *next; c; c = next) {
        next = c->next;
        if (is_noise(row, c)) {
            xml_remove(c);
            continue;
        }
        if (c->type != XML_ELEMENT_NODE)
            continue;
        if (++count > CHILDREN_MAX)
            return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_XML_ERROR,
                                  "<%s> has more than %d elements", xml_name(node), CHILDREN_MAX);
        int r = check_child(row, c, seen, check, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int element_apply(const struct element *row, xmlNode *node, const struct element_check *check,
                  struct kv_error *err)
{
    if (row->policy == ELEMENT_REFUSED)
        return refuse_node(check, node, row->why, err);
    if (row->policy == ELEMENT_LEFT_OUT && check->left_out)
        check->left_out(check->opaque, node, row->why);
    if (row->anything)
        return 0;
    int r = check_attributes(row, node, check, err);
    return r < 0 ? r : check_children(row, node, check, err);
}

xmlNode *element_child(xmlNode *node, const char *name)
{
    xmlNode *child = xml_child(node, name);
    if (child)
        return child;
    return xml_add_child(node, name, NULL);
}

void element_visit(const struct element *row, const char *path, element_visit_fn *fn, void *opaque)
{
    fn(opaque, path, row, NULL, false);
    for (const char *p = row->attributes; p && *p;) {
        char name[64];
        size_t n = strcspn(p, " ");
        bool refused = *p == '!';
        snprintf(name, sizeof(name), "%.*s", (int)(n - refused), p + refused);
        fn(opaque, path, row, name, refused);
        p += n;
        p += *p == ' ';
    }
    for (const struct element *child = row->children; child && child->name; child++) {
        char below[PATH_MAX_SHOWN];
        snprintf(below, sizeof(below), "%s/%s", path, child->name);
        if (child->children != row->children)
            element_visit(child, below, fn, opaque);
    }
}
