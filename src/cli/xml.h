/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Documents, where a verb has to look into them. libxml2 is loaded then, so that the others start
 * without it.
 */
#ifndef KV_CLI_XML_H
#define KV_CLI_XML_H

#include "cli/cli.h"

struct xml; /* a document; freed when the verb ends */
struct xml_node;

struct xml *xml_read(struct cli *cli, const char *text); /* NULL: told */
/* The same with the spaces between elements, for a document that goes back. */
struct xml *xml_read_as_written(struct cli *cli, const char *text);
struct xml_node *xml_root(const struct xml *xml);
/* The nodes below at that a path of names leads to ("devices/disk"), one after the other: after
 * is the one before, NULL at first. */
struct xml_node *xml_next(struct xml_node *at, const char *path, struct xml_node *after);
static inline struct xml_node *xml_child(struct xml_node *at, const char *path)
{
    return at ? xml_next(at, path, NULL) : NULL;
}
const char *xml_name(const struct xml_node *node);
/* The verb's memory; NULL: not there, also when node is NULL. */
const char *xml_attribute(struct cli *cli, struct xml_node *node, const char *name);
const char *xml_text(struct cli *cli, struct xml_node *node);
/* The node with what is in it, as XML; level: how far its lines are indented. */
const char *xml_format(struct cli *cli, struct xml_node *node, int level);
/* Changes: they end the program when memory is short. xml_add(): the new last child. */
void xml_set_attribute(struct xml_node *node, const char *name, const char *value);
void xml_set_text(struct cli *cli, struct xml_node *node, const char *text);
struct xml_node *xml_add(struct xml_node *node, const char *name);
/* In front of node, which goes to a line of its own if it was on one. */
struct xml_node *xml_add_before(struct xml_node *node, const char *name);
void xml_remove(struct xml_node *node);
/* A description's text in attribute or content quotes. */
const char *xml_escape(struct cli *cli, const char *text);

/* Prints a document as --xpath and --wrap say. */
int xml_print(struct cli *cli, const char *text);

/* The machine's description; NULL: told. */
struct xml *xml_of_domain(struct cli *cli, const wire_domain *domain, unsigned flags);

#endif
