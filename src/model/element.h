/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of a domain's elements: for each path what becomes of it, which attributes it may
 * have, and in which order libvirt prints attributes and children. What no row knows is refused,
 * so that nothing is ever silently ignored. A new element is a row.
 */
#ifndef KV_MODEL_ELEMENT_H
#define KV_MODEL_ELEMENT_H

#include <libxml/tree.h>
#include <stdbool.h>

#include "base/error.h"

enum element_policy {
    ELEMENT_ACTED,    /* read into the view */
    ELEMENT_CARRIED,  /* harmless; kept and shown */
    ELEMENT_LEFT_OUT, /* kept and shown; the guest runs without it, which is logged */
    ELEMENT_REFUSED,
};

struct element {
    const char *name;
    const char *attributes;         /* in libvirt's order, a blank between; "!name" is refused */
    const struct element *children; /* in libvirt's order, NULL name at the end; NULL: none */
    enum element_policy policy;
    const char *why; /* REFUSED, LEFT_OUT, and of refused attributes */
    bool many;       /* may appear more than once */
    bool anything;   /* attributes and contents are the user's own */
};

/* Rows of tables. __VA_OPT__, because rows stand inside of rows: what is beside ## is not
 * expanded. */
/* clang-format off */
#define ROW(policy_, name_, ...) \
    {.name = (name_), .policy = ELEMENT_##policy_ __VA_OPT__(,) __VA_ARGS__}
#define ACTED(name_, attributes_, ...) \
    ROW(ACTED, name_, .attributes = (attributes_) __VA_OPT__(,) __VA_ARGS__)
#define CARRIED(name_, attributes_, ...) \
    ROW(CARRIED, name_, .attributes = (attributes_) __VA_OPT__(,) __VA_ARGS__)
#define LEFT_OUT(name_, why_) ROW(LEFT_OUT, name_, .why = (why_), MANY, .anything = true)
#define REFUSED(name_, why_) ROW(REFUSED, name_, .why = (why_), MANY, .anything = true)
#define MANY .many = true
#define WITH(...) .children = (const struct element[]){__VA_ARGS__, {.name = NULL}}
/* clang-format on */

extern const struct element domain_element;    /* <domain> */
extern const struct element device_elements[]; /* <devices>' children */

/* Told about what is kept but left out; node may be renamed by nobody. */
typedef void element_left_out_fn(void *opaque, const xmlNode *node, const char *why);

struct element_check {
    bool tolerant; /* refused things stay; refused() is told instead of an error */
    element_left_out_fn *left_out, *refused;
    void *opaque;
};

/* Drops blanks and comments of node (of the given row) and of what is below, and refuses what the
 * table says: VIR_ERR_CONFIG_UNSUPPORTED with the path. */
int element_apply(const struct element *row, xmlNode *node, const struct element_check *check,
                  struct kv_error *err);

/* Brings attributes and children of node and of all below into libvirt's order. */
void element_sort(const struct element *row, xmlNode *node);

const struct element *element_find(const struct element *rows, const char *name);

/* The child of that name, made at the end where it is missing. NULL: memory. */
xmlNode *element_child(xmlNode *node, const char *name);

/* Calls fn for each path of the table: for documentation and tests. */
typedef void element_visit_fn(void *opaque, const char *path, const struct element *row,
                              const char *attribute, bool attribute_refused);
void element_visit(const struct element *row, const char *path, element_visit_fn *fn, void *opaque);

#endif
