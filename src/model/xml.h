/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XML from clients: read within bounds, looked at without copies, written as libvirt writes it.
 * No DTD, so no entities but the five of XML; no network; comments and CDATA marks are dropped.
 */
#ifndef KV_MODEL_XML_H
#define KV_MODEL_XML_H

#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define XML_LENGTH_MAX (4u << 20) /* as long as a string on libvirt's wire can be */

/*
 * *out: freed by xmlFreeDoc(). what names the text in messages ("(domain_definition)"); root is the
 * name its first element must have, or NULL. VIR_ERR_XML_DETAIL with line and column as libvirt
 * shows them; VIR_ERR_XML_ERROR for another root, a DTD or more than XML_LENGTH_MAX bytes.
 */
int xml_parse(xmlDoc **out, const char *text, size_t len, const char *what, const char *root,
              struct kv_error *err);

/* Value of an attribute, text of an element: owned by the tree. xml_attr(): NULL when it is not
 * there; xml_text(): "" when there is none. */
const char *xml_attr(const xmlNode *node, const char *name);
const char *xml_text(const xmlNode *node);

static inline const char *xml_name(const xmlNode *node)
{
    return (const char *)node->name;
}

/* Most names that are compared differ in their first letter already. */
static inline bool xml_same(const char *a, const char *b)
{
    return *a == *b && __builtin_strcmp(a, b) == 0;
}
static inline bool xml_is(const xmlNode *node, const char *name)
{
    return xml_same(xml_name(node), name);
}

/* Child elements: the first, the next, the first (next) of that name. */
xmlNode *xml_first(const xmlNode *node);
xmlNode *xml_next(const xmlNode *node);
xmlNode *xml_child(const xmlNode *node, const char *name);
xmlNode *xml_next_same(const xmlNode *node);
unsigned xml_count(const xmlNode *node, const char *name);
/* A child's attribute or text; NULL when the child is missing. */
const char *xml_child_attr(const xmlNode *node, const char *child, const char *name);
const char *xml_child_text(const xmlNode *node, const char *child);

/* Changes; false: memory. value NULL removes. */
bool xml_set_attr(xmlNode *node, const char *name, const char *value);
bool xml_set_text(xmlNode *node, const char *text);
xmlNode *xml_add_child(xmlNode *node, const char *name, const char *text);
void xml_remove(xmlNode *node); /* and frees it; NULL is fine */

/* "/domain/devices/disk[2]/source" */
void xml_path(char *out, size_t size, const xmlNode *node);

/* A number: decimal, blanks around it allowed. false: it is something else or too large. */
bool xml_number(const char *text, uint64_t max, uint64_t *out);
bool xml_integer(const char *text, int64_t *out);

/* Text with the characters that XML knows escaped as libvirt escapes them. */
int xml_escape(struct buffer *out, const char *text);

/* The element with indent * 2 blanks in front, libvirt's way; contents of <metadata> the way
 * libxml2 does. -ENOMEM. */
int xml_format(struct buffer *out, const xmlNode *node, unsigned indent);

/* Takes what a buffer holds as a string to free(), and leaves the buffer empty; NULL: memory. */
char *xml_take(struct buffer *out);

#endif
