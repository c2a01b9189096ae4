/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The database in memory: rows by table and by UUID, and the transaction that changes them. There
 * is one transaction at a time, begun by the first change; database_commit() keeps all of it or
 * nothing, after the rules of RFC 7047 (references, garbage, indexes, counts; 3.2 and 4.1.3).
 * Everything is for the control thread.
 */
#ifndef KV_SWITCH_OVSDB_DATABASE_H
#define KV_SWITCH_OVSDB_DATABASE_H

#include "base/list.h"
#include "switch/ovsdb/datum.h"

#define DATABASE_ROWS_MAX 65536
#define DATABASE_BYTES_MAX (64U << 20) /* of what rows hold */

struct row {
    const struct table *table;
    struct uuid uuid;
    struct list node;    /* among the table's */
    struct row *next;    /* of the same bucket */
    struct datum *now;   /* by column; NULL: deleted by the transaction */
    struct datum *old;   /* before the transaction; NULL: it inserted the row, or left it alone */
    struct list touched; /* among the transaction's; empty: left alone */
    bool reachable;      /* while garbage is looked for */
};

struct database;

/* What is told of transactions. May be NULL each. */
struct database_watcher {
    /* May refuse what the transaction changed. */
    json_t *(*check)(void *opaque, const struct database *db);
    /* It is valid: keep it where it outlives the process, or say why not. */
    json_t *(*store)(void *opaque, const struct database *db);
    /* It is done; old and now of the touched rows tell what changed. */
    void (*committed)(void *opaque, const struct database *db);
    void *opaque;
};

#define DATABASE_BUCKETS 8192
#define DATABASE_WATCHERS 4

struct database {
    struct list rows[OVSDB_TABLES]; /* by table, oldest first */
    struct row **buckets;
    unsigned row_count;
    size_t bytes;
    struct list touched;
    struct uuid last_commit; /* a new one each time */
    struct database_watcher watchers[DATABASE_WATCHERS];
    unsigned watcher_count;
};

void database_init(struct database *db);
void database_free(struct database *db);
void database_watch(struct database *db, struct database_watcher watcher);

static inline struct list *database_rows(const struct database *db, const struct table *table)
{
    return (struct list *)&db->rows[table - ovsdb_tables];
}

/* Each live row of the table; body may delete it. */
#define database_each(db, table, each)                                                        \
    list_for_each_safe (each##_node, database_rows(db, table))                                \
        for (struct row *each = list_entry(each##_node, struct row, node); each && each->now; \
             each = NULL)

/* A live row, or NULL. */
struct row *database_find(const struct database *db, const struct table *table,
                          const struct uuid *uuid);

/* With default values. */
struct row *database_insert(struct database *db, const struct table *table,
                            const struct uuid *uuid);
void database_delete(struct database *db, struct row *row);
/* The column's value, to be changed in place or replaced (what was there is the caller's to
 * free). */
struct datum *database_change(struct database *db, struct row *row, unsigned column);
/* Replaces the value and takes the new one over; when they are equal, changes nothing. */
void database_set(struct database *db, struct row *row, unsigned column, struct datum *value);

static inline bool database_is_changed(const struct database *db)
{
    return !list_empty(&db->touched);
}

/* Ends the transaction. An error: nothing is changed. */
json_t *database_commit(struct database *db);
void database_abort(struct database *db);

/* Columns by name; the name has to be one. */
const struct datum *row_get(const struct row *row, const char *column);
const char *row_string(const struct row *row, const char *column);
void row_set(struct database *db, struct row *row, const char *column, struct datum value);
/* An element of a map of strings; value NULL: none of that key. */
void row_set_element(struct database *db, struct row *row, const char *column, const char *key,
                     const char *value);

#endif
