/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading XML within bounds, and looking at it; see xml.h. */
#include "model/xml.h"

#include <errno.h>
#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/xmlerror.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "model/api_error.h"
#include "model/xml_internal.h"

/* What was wrong first; libxml2's own message, line and place. */
struct parse_report {
    const char *what;
    struct kv_error *err;
    bool failed;
    bool dtd;
    unsigned nodes; /* so far; above NODES_MAX the text is given up */
};

/* A node takes some 40 times the memory of the few bytes that make one. */
#define NODES_MAX 65536

static pthread_once_t parser_once = PTHREAD_ONCE_INIT;

/* libvirt shows the line with a mark below the place. */
static void place_of(const xmlParserInput *input, char *line, size_t size, char *mark)
{
    line[0] = mark[0] = '\0';
    if (!input || !input->base || !input->cur)
        return;
    const char *base = (const char *)input->base, *cur = (const char *)input->cur;
    while (cur > base && (*cur == '\n' || *cur == '\r'))
        cur--;
    size_t n = 0;
    while (n++ < 80 && cur > base && *cur != '\n' && *cur != '\r')
        cur--;
    if (*cur == '\n' || *cur == '\r')
        cur++;
    const char *begin = cur;
    for (n = 0; n + 1 < size && begin[n] && begin[n] != '\n' && begin[n] != '\r'; n++)
        line[n] = begin[n];
    line[n] = '\0';

    n = 0;
    cur = (const char *)input->cur;
    while (cur > base && (*cur == '\n' || *cur == '\r'))
        cur--;
    while (n < 80 && cur > base && *cur != '\n' && *cur != '\r') {
        cur--;
        n++;
    }
    /* Stopped at the line before, not at the beginning of the text. */
    n -= n && (*cur == '\n' || *cur == '\r');
    n = MIN(n, size - 2);
    memset(mark, '-', n);
    mark[n] = '^';
    mark[n + 1] = '\0';
}

static void report_error(void *opaque, xmlErrorPtr error)
{
    xmlParserCtxt *ctxt = opaque;
    struct parse_report *report = ctxt->_private;
    if (report->failed || error->level < XML_ERR_ERROR)
        return;
    report->failed = true;
    char line[92], mark[92];
    place_of(ctxt->input, line, sizeof(line), mark);
    if (report->dtd)
        return;
    api_error_from(report->err, VIR_FROM_DOMAIN, VIR_ERR_XML_DETAIL, "%s:%d: %s%s\n%s",
                   report->what, error->line, error->message ? error->message : "", line, mark);
}

/* Nobody's domain needs a DTD, and entities are how small texts become large. */
static void refuse_dtd(void *opaque, const xmlChar *name, const xmlChar *external,
                       const xmlChar *system)
{
    xmlParserCtxt *ctxt = opaque;
    ((struct parse_report *)ctxt->_private)->dtd = true;
    xmlStopParser(ctxt);
}

static bool count_nodes(xmlParserCtxt *ctxt, unsigned more)
{
    struct parse_report *report = ctxt->_private;
    report->nodes += more;
    if (report->nodes <= NODES_MAX)
        return true;
    xmlStopParser(ctxt);
    return false;
}

static void start_element(void *opaque, const xmlChar *name, const xmlChar *prefix,
                          const xmlChar *uri, int namespaces, const xmlChar **bound, int attributes,
                          int defaulted, const xmlChar **values)
{
    if (count_nodes(opaque, 1 + (unsigned)namespaces + (unsigned)attributes))
        xmlSAX2StartElementNs(opaque, name, prefix, uri, namespaces, bound, attributes, defaulted,
                              values);
}

static void comment(void *opaque, const xmlChar *text)
{
    if (count_nodes(opaque, 1))
        xmlSAX2Comment(opaque, text);
}

static int check_root(const xmlDoc *doc, const char *root, struct kv_error *err)
{
    const xmlNode *node = xmlDocGetRootElement(doc);
    if (!node)
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_INTERNAL_ERROR, "missing root element");
    if (root && strcmp(xml_name(node), root) != 0)
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "expecting root element of '%s', not '%s'", root, xml_name(node));
    return 0;
}

int xml_parse(xmlDoc **out, const char *text, size_t len, const char *what, const char *root,
              struct kv_error *err)
{
    *out = NULL;
    if (len > XML_LENGTH_MAX)
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "%s has %zu bytes; at most %u are accepted", what, len,
                              XML_LENGTH_MAX);
    if (memchr(text, '\0', len))
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR, "%s has a zero byte", what);
    if (!xml_encoding_is_like_ascii(text, len))
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "%s: its encoding is not accepted; UTF-8, ASCII, ISO-8859 and "
                              "Windows-125x are",
                              what);
    if (xml_has_many_attributes(text, len))
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "%s has an element with more than %d attributes", what,
                              XML_ATTRIBUTES_MAX);
    pthread_once(&parser_once, xmlInitParser);
    xmlParserCtxt *ctxt = xmlNewParserCtxt();
    if (!ctxt)
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_NO_MEMORY, NULL);
    struct parse_report report = {.what = what, .err = err};
    ctxt->_private = &report;
    ctxt->sax->serror = report_error;
    ctxt->sax->internalSubset = refuse_dtd;
    ctxt->sax->startElementNs = start_element;
    ctxt->sax->comment = comment;
    ctxt->sax->processingInstruction = NULL;
    xmlDoc *doc = xmlCtxtReadMemory(ctxt, text, (int)len, NULL, NULL,
                                    XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_NOBLANKS |
                                        XML_PARSE_NOCDATA | XML_PARSE_NOWARNING);
    bool large = report.nodes > NODES_MAX;
    bool good = doc && ctxt->wellFormed && !report.failed && !report.dtd && !large;
    xmlFreeParserCtxt(ctxt);
    int r = 0;
    if (report.dtd)
        r = api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                           "%s: a document type declaration is not accepted", what);
    else if (large)
        r = api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                           "%s has more than %d elements, attributes and comments", what,
                           NODES_MAX);
    else if (!good)
        r = report.failed ? -EINVAL
                          : api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                                           "failed to parse xml document '%s'", what);
    else
        r = check_root(doc, root, err);
    if (r < 0) {
        xmlFreeDoc(doc);
        return r;
    }
    *out = doc;
    return 0;
}

/* ------------------------------------------------------------------ looking */

const char *xml_attr(const xmlNode *node, const char *name)
{
    for (const xmlAttr *a = node->properties; a; a = a->next) {
        if (xml_same((const char *)a->name, name))
            return a->children && a->children->content ? (const char *)a->children->content : "";
    }
    return NULL;
}

const char *xml_text(const xmlNode *node)
{
    for (const xmlNode *c = node->children; c; c = c->next) {
        if (c->type == XML_TEXT_NODE && c->content)
            return (const char *)c->content;
    }
    return "";
}

static xmlNode *element_from(xmlNode *node)
{
    while (node && node->type != XML_ELEMENT_NODE)
        node = node->next;
    return node;
}

xmlNode *xml_first(const xmlNode *node)
{
    return element_from(node->children);
}

xmlNode *xml_next(const xmlNode *node)
{
    return element_from(node->next);
}

xmlNode *xml_child(const xmlNode *node, const char *name)
{
    for (xmlNode *c = xml_first(node); c; c = xml_next(c)) {
        if (xml_is(c, name))
            return c;
    }
    return NULL;
}

xmlNode *xml_next_same(const xmlNode *node)
{
    for (xmlNode *c = xml_next(node); c; c = xml_next(c)) {
        if (xml_is(c, xml_name(node)))
            return c;
    }
    return NULL;
}

unsigned xml_count(const xmlNode *node, const char *name)
{
    unsigned n = 0;
    for (const xmlNode *c = node ? xml_child(node, name) : NULL; c; c = xml_next_same(c))
        n++;
    return n;
}

const char *xml_child_attr(const xmlNode *node, const char *child, const char *name)
{
    const xmlNode *c = xml_child(node, child);
    return c ? xml_attr(c, name) : NULL;
}

const char *xml_child_text(const xmlNode *node, const char *child)
{
    const xmlNode *c = xml_child(node, child);
    return c ? xml_text(c) : NULL;
}

static unsigned index_among_same(const xmlNode *node, bool *several)
{
    unsigned n = 1;
    *several = false;
    for (const xmlNode *p = node->prev; p; p = p->prev) {
        if (p->type == XML_ELEMENT_NODE && xml_is(p, xml_name(node)))
            n++;
    }
    *several = n > 1 || xml_next_same(node);
    return n;
}

void xml_path(char *out, size_t size, const xmlNode *node)
{
    if (size)
        out[0] = '\0';
    if (!node || node->type != XML_ELEMENT_NODE || !size)
        return;
    xml_path(out, size, node->parent);
    size_t len = strlen(out);
    bool several;
    unsigned n = index_among_same(node, &several);
    if (several)
        snprintf(out + len, size - len, "/%s[%u]", xml_name(node), n);
    else
        snprintf(out + len, size - len, "/%s", xml_name(node));
}

/* ----------------------------------------------------------------- changing */

bool xml_set_attr(xmlNode *node, const char *name, const char *value)
{
    if (!value) {
        xmlAttr *attr = xmlHasProp(node, (const xmlChar *)name);
        if (attr)
            xmlRemoveProp(attr);
        return true;
    }
    const char *old = xml_attr(node, name);
    if (old && strcmp(old, value) == 0)
        return true;
    return xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value) != NULL;
}

bool xml_set_text(xmlNode *node, const char *text)
{
    if (strcmp(xml_text(node), text) == 0)
        return true;
    while (node->children) {
        xmlNode *child = node->children;
        xmlUnlinkNode(child);
        xmlFreeNode(child);
    }
    if (!*text)
        return true;
    xmlNode *child = xmlNewDocText(node->doc, (const xmlChar *)text);
    return child && xmlAddChild(node, child);
}

xmlNode *xml_add_child(xmlNode *node, const char *name, const char *text)
{
    xmlNode *child = xmlNewDocNode(node->doc, NULL, (const xmlChar *)name, NULL);
    if (!child)
        return NULL;
    if ((text && !xml_set_text(child, text)) || !xmlAddChild(node, child)) {
        xmlFreeNode(child);
        return NULL;
    }
    return child;
}

void xml_remove(xmlNode *node)
{
    if (!node)
        return;
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

/* ------------------------------------------------------------------ numbers */

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t\r\n");
}

bool xml_number(const char *text, uint64_t max, uint64_t *out)
{
    const char *p = skip_blanks(text);
    uint64_t value = 0;
    const char *begin = p;
    for (; *p >= '0' && *p <= '9'; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (p == begin || *skip_blanks(p) || value > max)
        return false;
    *out = value;
    return true;
}

bool xml_integer(const char *text, int64_t *out)
{
    const char *p = skip_blanks(text);
    bool negative = *p == '-';
    uint64_t value;
    if (!xml_number(p + (negative || *p == '+'), INT64_MAX, &value))
        return false;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}
