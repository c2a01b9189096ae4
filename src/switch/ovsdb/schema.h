/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the database Open_vSwitch consists of: tables, columns and their types, as RFC 7047, 3.2
 * has them and ovs-vswitchd.conf.db(5) lists them, so that Open vSwitch's tools find what they
 * know. Constant.
 */
#ifndef KV_SWITCH_OVSDB_SCHEMA_H
#define KV_SWITCH_OVSDB_SCHEMA_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define OVSDB_NAME "Open_vSwitch"
#define OVSDB_UNLIMITED UINT_MAX

enum atom_type {
    ATOM_INTEGER,
    ATOM_BOOLEAN,
    ATOM_STRING,
    ATOM_UUID,
};

struct base_type {
    enum atom_type type;
    int64_t min, max;          /* INTEGER */
    const char *const *values; /* STRING: the possible ones, NULL at the end; NULL: all are */
    const char *table;         /* UUID: whose row it names, or NULL */
    bool weak;                 /* the reference goes when the row does; else it keeps the row */
};

/* min to max keys, with a value each when the type is a map. */
struct column_type {
    const struct base_type *key, *value; /* value NULL: no map */
    unsigned min, max;
};

struct column {
    const char *name; /* NULL ends a table */
    struct column_type type;
    bool ephemeral; /* not kept over a restart */
    bool immutable; /* given when the row is inserted */
};

/* The first two columns of every table. */
enum {
    COLUMN_UUID,
    COLUMN_VERSION,
    COLUMNS_OF_ALL,
};

struct table {
    const char *name; /* NULL ends the schema */
    const struct column *columns;
    bool root;            /* rows live without being referred to */
    unsigned max_rows;    /* 0: any number */
    const char *index[2]; /* columns whose values together no two rows share */
};

extern const struct table ovsdb_tables[];
#define OVSDB_TABLES 19

/* NULL: there is none. */
const struct table *ovsdb_find_table(const char *name);
/* -1: there is none. */
int ovsdb_find_column(const struct table *table, const char *name);
unsigned ovsdb_column_count(const struct table *table);

/* The <database-schema> of RFC 7047, 3.2; a new reference. */
json_t *ovsdb_schema_to_json(void);

#endif
