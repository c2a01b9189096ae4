/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads documents with libxml2, which is loaded on first use (block/library.h). */
#include "cli/xml.h"

#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>

#include "block/library.h"
#include "cli/args.h"
#include "cli/memory.h"
#include "cli/output.h"

static struct {
    __typeof__(xmlReadMemory) *read_memory;
    __typeof__(xmlFreeDoc) *free_doc;
    __typeof__(xmlDocGetRootElement) *root;
    __typeof__(xmlGetProp) *get_prop;
    __typeof__(xmlNodeGetContent) *get_content;
    __typeof__(xmlBufferCreate) *buffer_create;
    __typeof__(xmlBufferFree) *buffer_free;
    __typeof__(xmlNodeDump) *node_dump;
    __typeof__(xmlXPathNewContext) *xpath_new;
    __typeof__(xmlXPathFreeContext) *xpath_free;
    __typeof__(xmlXPathEval) *xpath_eval;
    __typeof__(xmlXPathFreeObject) *object_free;
    __typeof__(xmlXPathCastToString) *to_string;
    __typeof__(xmlSetProp) *set_prop;
    __typeof__(xmlNodeSetContent) *set_content;
    __typeof__(xmlNewChild) *new_child;
    __typeof__(xmlNewDocNode) *new_node;
    __typeof__(xmlNewDocText) *new_text;
    __typeof__(xmlAddPrevSibling) *add_before;
    __typeof__(xmlUnlinkNode) *unlink;
    __typeof__(xmlFreeNode) *free_node;
    xmlFreeFunc *free;
} lib;

static const struct library_symbol symbols[] = {
    {"xmlReadMemory", &lib.read_memory},
    {"xmlFreeDoc", &lib.free_doc},
    {"xmlDocGetRootElement", &lib.root},
    {"xmlGetProp", &lib.get_prop},
    {"xmlNodeGetContent", &lib.get_content},
    {"xmlBufferCreate", &lib.buffer_create},
    {"xmlBufferFree", &lib.buffer_free},
    {"xmlNodeDump", &lib.node_dump},
    {"xmlXPathNewContext", &lib.xpath_new},
    {"xmlXPathFreeContext", &lib.xpath_free},
    {"xmlXPathEval", &lib.xpath_eval},
    {"xmlXPathFreeObject", &lib.object_free},
    {"xmlXPathCastToString", &lib.to_string},
    {"xmlSetProp", &lib.set_prop},
    {"xmlNodeSetContent", &lib.set_content},
    {"xmlNewChild", &lib.new_child},
    {"xmlNewDocNode", &lib.new_node},
    {"xmlNewDocText", &lib.new_text},
    {"xmlAddPrevSibling", &lib.add_before},
    {"xmlUnlinkNode", &lib.unlink},
    {"xmlFreeNode", &lib.free_node},
    {"xmlFree", &lib.free},
    {NULL, NULL},
};
static struct library library =
    LIBRARY("libxml2.so.2", "libxml2", "looking into documents", symbols);

struct xml {
    xmlDoc *doc;
};

/* As xdr_free() wants it: the piece of memory is the struct. */
static bool_t free_xml(XDR *xdrs, struct xml *xml)
{
    if (xml->doc)
        lib.free_doc(xml->doc);
    xml->doc = NULL;
    return TRUE;
}

static struct xml *parse(struct cli *cli, const char *text, int options)
{
    struct kv_error err = {0};
    const struct kvasir_procedure piece = {.ret_code = (xdrproc_t)free_xml,
                                           .ret_size = sizeof(struct xml)};
    if (library_load(&library, &err) < 0) {
        cli_error(cli, "%s", err.message);
        return NULL;
    }
    struct xml *xml = memory_for_results(cli, &piece);
    xml->doc = lib.read_memory(text, (int)strlen(text), "document.xml", NULL,
                               XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | options);
    if (!xml->doc || !lib.root(xml->doc)) {
        cli_fail(cli, VIR_ERR_XML_ERROR, "XML error: the document is not well formed");
        return NULL;
    }
    return xml;
}

struct xml *xml_read(struct cli *cli, const char *text)
{
    return parse(cli, text, XML_PARSE_NOBLANKS);
}

struct xml *xml_read_as_written(struct cli *cli, const char *text)
{
    return parse(cli, text, 0);
}

struct xml_node *xml_root(const struct xml *xml)
{
    return (struct xml_node *)lib.root(xml->doc);
}

static xmlNode *element(struct xml_node *node)
{
    return (xmlNode *)node;
}

static bool named(const xmlNode *node, const char *name, size_t len)
{
    return node->type == XML_ELEMENT_NODE && strlen((const char *)node->name) == len &&
           memcmp(node->name, name, len) == 0;
}

/* The first below at that the rest of the path leads to and that comes behind *after. */
static xmlNode *walk(xmlNode *at, const char *path, xmlNode **after)
{
    size_t len = strcspn(path, "/");
    for (xmlNode *child = at->children; child; child = child->next) {
        if (!named(child, path, len))
            continue;
        if (path[len]) {
            xmlNode *found = walk(child, path + len + 1, after);
            if (found)
                return found;
        } else if (!*after) {
            return child;
        } else if (*after == child) {
            *after = NULL;
        }
    }
    return NULL;
}

struct xml_node *xml_next(struct xml_node *at, const char *path, struct xml_node *after)
{
    xmlNode *behind = element(after);
    return (struct xml_node *)walk(element(at), path, &behind);
}

const char *xml_name(const struct xml_node *node)
{
    return (const char *)((const xmlNode *)node)->name;
}

static const char *keep(struct cli *cli, xmlChar *text)
{
    if (!text)
        return NULL;
    const char *kept = cli_text(cli, "%s", (const char *)text);
    (*lib.free)(text);
    return kept;
}

const char *xml_attribute(struct cli *cli, struct xml_node *node, const char *name)
{
    return node ? keep(cli, lib.get_prop(element(node), (const xmlChar *)name)) : NULL;
}

const char *xml_text(struct cli *cli, struct xml_node *node)
{
    return node ? keep(cli, lib.get_content(element(node))) : NULL;
}

const char *xml_format(struct cli *cli, struct xml_node *node, int level)
{
    xmlBuffer *buffer = lib.buffer_create();
    if (!buffer || lib.node_dump(buffer, element(node)->doc, element(node), level, 1) < 0)
        abort();
    const char *text = cli_text(cli, "%s", (const char *)buffer->content);
    lib.buffer_free(buffer);
    return text;
}

void xml_set_attribute(struct xml_node *node, const char *name, const char *value)
{
    if (!lib.set_prop(element(node), (const xmlChar *)name, (const xmlChar *)value))
        abort();
}

void xml_set_text(struct cli *cli, struct xml_node *node, const char *text)
{
    lib.set_content(element(node), (const xmlChar *)xml_escape(cli, text));
}

struct xml_node *xml_add(struct xml_node *node, const char *name)
{
    xmlNode *child = lib.new_child(element(node), NULL, (const xmlChar *)name, NULL);
    if (!child)
        abort();
    return (struct xml_node *)child;
}

struct xml_node *xml_add_before(struct xml_node *node, const char *name)
{
    xmlNode *behind = element(node), *space = behind->prev;
    xmlNode *added = lib.new_node(behind->doc, NULL, (const xmlChar *)name, NULL);
    if (!added || !lib.add_before(behind, added))
        abort();
    if (space && space->type == XML_TEXT_NODE) {
        xmlNode *text = lib.new_text(behind->doc, space->content);
        if (!text || !lib.add_before(behind, text))
            abort();
    }
    return (struct xml_node *)added;
}

void xml_remove(struct xml_node *node)
{
    lib.unlink(element(node));
    lib.free_node(element(node));
}

const char *xml_escape(struct cli *cli, const char *text)
{
    static const struct {
        char c;
        const char *entity;
    } entities[] = {
        {'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'\'', "&apos;"}, {'"', "&quot;"}};
    char *out = cli_alloc(cli, 6 * strlen(text) + 1), *to = out;
    for (; *text; text++) {
        size_t i = 0;
        while (i < ARRAY_SIZE(entities) && entities[i].c != *text)
            i++;
        if (i < ARRAY_SIZE(entities))
            to = stpcpy(to, entities[i].entity);
        else
            *to++ = *text;
    }
    return out;
}

static int print_nodes(struct cli *cli, xmlNodeSet *nodes, bool wrap)
{
    if (!nodes || nodes->nodeNr <= 0)
        return 0;
    if (wrap)
        out_print(cli, "<nodes>\n");
    for (int i = 0; i < nodes->nodeNr; i++) {
        const char *text = xml_format(cli, (struct xml_node *)nodes->nodeTab[i], wrap ? 1 : 0);
        if (cli->json) {
            out_item(cli);
            out_key(cli, "xml", "%s", text);
        }
        out_print(cli, wrap ? "  %s\n" : "%s\n", text);
    }
    if (wrap)
        out_print(cli, "</nodes>\n");
    return 0;
}

static int print_found(struct cli *cli, const char *text, const char *path)
{
    struct xml *xml = xml_read(cli, text);
    if (!xml)
        return -1;
    xmlXPathContext *context = lib.xpath_new(xml->doc);
    xmlXPathObject *found = context ? lib.xpath_eval((const xmlChar *)path, context) : NULL;
    int r;
    if (!found)
        r = cli_error(cli, "invalid xpath '%s'", path);
    else if (found->type == XPATH_NODESET)
        r = print_nodes(cli, found->nodesetval, arg_on(cli, "wrap"));
    else
        r = out_value(cli, "value", "%s", keep(cli, lib.to_string(found)));
    if (found)
        lib.object_free(found);
    if (context)
        lib.xpath_free(context);
    return r;
}

int xml_print(struct cli *cli, const char *text)
{
    const char *path = NULL;
    int r = arg_text(cli, "xpath", &path);
    if (r < 0)
        return -1;
    if (r > 0)
        return print_found(cli, text, path);
    return out_document(cli, "xml", text);
}

struct xml *xml_of_domain(struct cli *cli, const wire_domain *domain, unsigned flags)
{
    const REMOTE_RET(DOMAIN_GET_XML_DESC) *xml =
        CALL(cli, DOMAIN_GET_XML_DESC, .dom = *domain, .flags = flags);
    return xml ? xml_read(cli, xml->xml) : NULL;
}
