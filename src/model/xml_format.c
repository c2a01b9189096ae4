/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing XML as libvirt does: two blanks a level, single quotes; see xml.h. */
#include <errno.h>
#include <libxml/xmlsave.h>
#include <string.h>

#include "model/xml.h"

static const char *entity_of(char c)
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&apos;";
    default:
        return NULL;
    }
}

int xml_escape(struct buffer *out, const char *text)
{
    const char *end = text;
    while (*end && !entity_of(*end))
        end++;
    if (!*end) /* nearly all texts */
        return buffer_append(out, text, (size_t)(end - text));
    for (;;) {
        size_t plain = strcspn(text, "<>&\"'");
        if (buffer_append(out, text, plain) < 0)
            return -ENOMEM;
        text += plain;
        if (!*text)
            return 0;
        const char *entity = entity_of(*text++);
        if (buffer_append(out, entity, strlen(entity)) < 0)
            return -ENOMEM;
    }
}

/* Inlined, so that the length of what is given literally is known. */
static inline int put(struct buffer *out, const char *text)
{
    return buffer_append(out, text, strlen(text));
}

static int put_indent(struct buffer *out, unsigned indent)
{
    static const char blanks[] = "                                ";
    while (indent) {
        unsigned n = indent > 16 ? 16 : indent;
        if (buffer_append(out, blanks, (size_t)n * 2) < 0)
            return -ENOMEM;
        indent -= n;
    }
    return 0;
}

/* Users' own elements keep their namespaces and double quotes, as with libvirt. */
static int format_foreign(struct buffer *out, const xmlNode *node, unsigned indent)
{
    xmlBuffer *text = xmlBufferCreate();
    if (!text)
        return -ENOMEM;
    int r = -ENOMEM;
    if (xmlNodeDump(text, node->doc, (xmlNode *)node, (int)indent, 1) >= 0 &&
        put_indent(out, indent) == 0 &&
        buffer_append(out, xmlBufferContent(text), (size_t)xmlBufferLength(text)) == 0)
        r = put(out, "\n");
    xmlBufferFree(text);
    return r;
}

static int format_attributes(struct buffer *out, const xmlNode *node)
{
    for (const xmlAttr *a = node->properties; a; a = a->next) {
        const char *value =
            a->children && a->children->content ? (const char *)a->children->content : "";
        if (put(out, " ") < 0 || put(out, (const char *)a->name) < 0 || put(out, "='") < 0 ||
            xml_escape(out, value) < 0 || put(out, "'") < 0)
            return -ENOMEM;
    }
    return 0;
}

int xml_format(struct buffer *out, const xmlNode *node, unsigned indent)
{
    if (xml_is(node, "metadata"))
        return format_foreign(out, node, indent);
    if (put_indent(out, indent) < 0 || put(out, "<") < 0 || put(out, xml_name(node)) < 0 ||
        format_attributes(out, node) < 0)
        return -ENOMEM;
    const xmlNode *child = xml_first(node);
    if (child) {
        if (put(out, ">\n") < 0)
            return -ENOMEM;
        for (; child; child = xml_next(child)) {
            if (xml_format(out, child, indent + 1) < 0)
                return -ENOMEM;
        }
        if (put_indent(out, indent) < 0)
            return -ENOMEM;
    } else {
        const char *text = xml_text(node);
        if (!*text)
            return put(out, "/>\n");
        if (put(out, ">") < 0 || xml_escape(out, text) < 0)
            return -ENOMEM;
    }
    if (put(out, "</") < 0 || put(out, xml_name(node)) < 0 || put(out, ">\n") < 0)
        return -ENOMEM;
    return 0;
}

char *xml_take(struct buffer *out)
{
    char *text = NULL;
    if (buffer_append(out, "", 1) == 0)
        text = strdup((const char *)buffer_bytes(out));
    buffer_free(out);
    return text;
}
