/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitors; see monitor.h. */
#include "switch/ovsdb/monitor.h"

#include <stdlib.h>

#include "base/util.h"

#define REQUESTS_MAX 64 /* for one table */

/* What is told of a column. */
enum selection {
    SELECT_INITIAL = 1,
    SELECT_INSERT = 2,
    SELECT_DELETE = 4,
    SELECT_MODIFY = 8,
    SELECT_ALL = 15,
};

struct monitored {
    uint8_t *select; /* by column; NULL: nothing of the table */
    uint8_t any;     /* of all columns */
    bool conditional;
    struct conditions where;
};

/* --- Requests -------------------------------------------------------------- */

static json_t *bad_request(const struct table *table, const char *what)
{
    return ovsdb_error("syntax error", "monitor of table %s: %s", table->name, what);
}

static json_t *parse_select(const struct table *table, const json_t *select, unsigned *out)
{
    static const char *const names[] = {"initial", "insert", "delete", "modify"};
    *out = SELECT_ALL;
    if (select && !json_is_object(select))
        return bad_request(table, "\"select\" is to be an object");
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        const json_t *value = json_object_get(select, names[i]);
        if (value && !json_is_boolean(value))
            return bad_request(table, "members of \"select\" are to be true or false");
        if (json_is_false(value))
            *out &= ~(1U << i);
    }
    return NULL;
}

static json_t *parse_columns(const struct table *table, const json_t *columns, unsigned select,
                             struct monitored *monitored)
{
    if (columns && !json_is_array(columns))
        return bad_request(table, "\"columns\" is to be a list");
    for (unsigned i = COLUMN_VERSION; !columns && table->columns[i].name; i++)
        monitored->select[i] |= (uint8_t)select;
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const char *name = json_string_value(json_array_get(columns, i));
        int column = name ? ovsdb_find_column(table, name) : -1;
        if (column < 0)
            return bad_request(table, "\"columns\" has what is none of its columns");
        monitored->select[column] |= (uint8_t)select;
    }
    monitored->any |= (uint8_t)select;
    return NULL;
}

static json_t *parse_request(const struct table *table, const json_t *request,
                             struct monitored *monitored, bool conditions)
{
    const json_t *where = json_object_get(request, "where");
    unsigned select;
    if (!json_is_object(request))
        return bad_request(table, "a request is an object");
    json_t *error = parse_select(table, json_object_get(request, "select"), &select);
    if (!error)
        error = parse_columns(table, json_object_get(request, "columns"), select, monitored);
    if (error || !where)
        return error;
    if (!conditions || monitored->conditional)
        return bad_request(table, "\"where\" is possible once, with monitor_cond");
    monitored->conditional = true;
    return conditions_parse(&monitored->where, table, where, NULL);
}

/* requests: one, or a list of them. */
static json_t *parse_table(const struct table *table, const json_t *requests,
                           struct monitored *monitored, bool conditions)
{
    json_t *error = NULL;
    if (json_array_size(requests) > REQUESTS_MAX)
        return bad_request(table, "so many requests are not possible");
    monitored->select = calloc(ovsdb_column_count(table), 1);
    if (!monitored->select)
        abort();
    if (!json_is_array(requests))
        return parse_request(table, requests, monitored, conditions);
    for (size_t i = 0; !error && i < json_array_size(requests); i++)
        error = parse_request(table, json_array_get(requests, i), monitored, conditions);
    return error;
}

static json_t *parse(struct monitor *monitor, const json_t *params)
{
    const char *db = json_string_value(json_array_get(params, 0)), *name;
    json_t *tables = json_array_get(params, 2), *requests, *error = NULL;
    if (!db || strcmp(db, OVSDB_NAME) != 0)
        return ovsdb_error("unknown database", "the database here is " OVSDB_NAME);
    if (!json_is_object(tables))
        return ovsdb_error("syntax error", "a monitor asks for an object of tables");
    json_object_foreach (tables, name, requests) {
        const struct table *table = ovsdb_find_table(name);
        if (!table)
            return ovsdb_error("syntax error", "no table named %.100s", name);
        error = parse_table(table, requests, &monitor->tables[table - ovsdb_tables],
                            monitor->dialect != MONITOR_PLAIN);
        if (error)
            break;
    }
    return error;
}

struct monitor *monitor_new(enum monitor_dialect dialect, const json_t *params, json_t **error)
{
    struct monitor *monitor = calloc(1, sizeof(*monitor));
    if (!monitor)
        abort();
    list_init(&monitor->node);
    monitor->dialect = dialect;
    monitor->tables = calloc(OVSDB_TABLES, sizeof(*monitor->tables));
    if (!monitor->tables)
        abort();
    monitor->id = json_incref(json_array_get(params, 1));
    *error = parse(monitor, params);
    if (!*error)
        return monitor;
    monitor_free(monitor);
    return NULL;
}

void monitor_free(struct monitor *monitor)
{
    list_del(&monitor->node);
    json_decref(monitor->id);
    for (unsigned i = 0; i < OVSDB_TABLES; i++) {
        free(monitor->tables[i].select);
        conditions_free(&monitor->tables[i].where);
    }
    free(monitor->tables);
    free(monitor);
}

/* --- Rows ------------------------------------------------------------------ */

static bool matches(const struct monitored *monitored, const struct datum *datums)
{
    return datums && (!monitored->conditional || conditions_match(&monitored->where, datums));
}

/* Columns of which that is told; with brief, those that have their default are left out. */
static json_t *view_of(const struct monitored *monitored, const struct table *table,
                       const struct datum *datums, unsigned select, bool brief)
{
    json_t *view = json_object();
    for (unsigned i = 0; table->columns[i].name; i++) {
        const struct column_type *type = &table->columns[i].type;
        struct datum usual;
        if (!(monitored->select[i] & select))
            continue;
        datum_init_default(&usual, type);
        if (!brief || datum_compare(&usual, &datums[i], type) != 0)
            json_object_set_new(view, table->columns[i].name, datum_to_json(&datums[i], type));
        datum_free(&usual, type);
    }
    return view;
}

/* The value of a set or map as "modify" tells it: elements that came or went; of a map's element
 * whose value is another, the new one. */
static json_t *difference(const struct datum *old, const struct datum *now,
                          const struct column_type *type)
{
    struct datum added, removed;
    if (type->max == 1)
        return datum_to_json(now, type);
    datum_clone(&added, now, type);
    datum_subtract(&added, old, type, false);
    datum_clone(&removed, old, type);
    datum_subtract(&removed, now, type, false);
    datum_union(&added, &removed, type);
    json_t *json = datum_to_json(&added, type);
    datum_free(&added, type);
    datum_free(&removed, type);
    return json;
}

/* Columns that changed: as they were, or as differences. Empty: none that it tells of. */
static json_t *changed_columns(const struct monitored *monitored, const struct row *row,
                               bool differences)
{
    json_t *view = json_object();
    for (unsigned i = 0; row->table->columns[i].name; i++) {
        const struct column *column = &row->table->columns[i];
        if (monitored->select[i] & SELECT_MODIFY &&
            datum_compare(&row->old[i], &row->now[i], &column->type) != 0)
            json_object_set_new(view, column->name,
                                differences ? difference(&row->old[i], &row->now[i], &column->type)
                                            : datum_to_json(&row->old[i], &column->type));
    }
    return view;
}

static json_t *describe_modified(const struct monitored *monitored, const struct row *row,
                                 bool plain)
{
    json_t *changed = changed_columns(monitored, row, !plain);
    if (json_object_size(changed) == 0) {
        json_decref(changed);
        return NULL;
    }
    if (!plain)
        return json_pack("{s:o}", "modify", changed);
    return json_pack("{s:o, s:o}", "old", changed, "new",
                     view_of(monitored, row->table, row->now, SELECT_MODIFY, false));
}

/* What is told of a row that the transaction changed, or NULL. */
static json_t *describe_change(const struct monitored *monitored, const struct row *row, bool plain)
{
    bool before = matches(monitored, row->old), after = matches(monitored, row->now);
    if (before && after)
        return describe_modified(monitored, row, plain);
    if (after && monitored->any & SELECT_INSERT)
        return json_pack("{s:o}", plain ? "new" : "insert",
                         view_of(monitored, row->table, row->now, SELECT_INSERT, !plain));
    if (!before || !(monitored->any & SELECT_DELETE))
        return NULL;
    return plain ? json_pack("{s:o}", "old",
                             view_of(monitored, row->table, row->old, SELECT_DELETE, false))
                 : json_pack("{s:n}", "delete");
}

static void add_row(json_t *tables, const struct row *row, json_t *update)
{
    char uuid[UUID_TEXT];
    json_t *rows = json_object_get(tables, row->table->name);
    if (!rows) {
        rows = json_object();
        json_object_set_new(tables, row->table->name, rows);
    }
    uuid_format(&row->uuid, uuid);
    json_object_set_new(rows, uuid, update);
}

/* --- Messages -------------------------------------------------------------- */

static json_t *last_commit(const struct database *db)
{
    char uuid[UUID_TEXT];
    uuid_format(&db->last_commit, uuid);
    return json_string(uuid);
}

json_t *monitor_initial(const struct monitor *monitor, const struct database *db)
{
    json_t *tables = json_object();
    bool plain = monitor->dialect == MONITOR_PLAIN;
    for (const struct table *table = ovsdb_tables; table->name; table++) {
        const struct monitored *monitored = &monitor->tables[table - ovsdb_tables];
        if (!(monitored->any & SELECT_INITIAL))
            continue;
        database_each (db, table, row) {
            if (matches(monitored, row->now))
                add_row(tables, row,
                        json_pack("{s:o}", plain ? "new" : "initial",
                                  view_of(monitored, table, row->now, SELECT_INITIAL, !plain)));
        }
    }
    /* Which transactions were before is not remembered, so everything is told. */
    return monitor->dialect == MONITOR_SINCE ? json_pack("[b, o, o]", 0, last_commit(db), tables)
                                             : tables;
}

json_t *monitor_changes(const struct monitor *monitor, const struct database *db)
{
    static const char *const methods[] = {"update", "update2", "update3"};
    json_t *tables = json_object();
    list_for_each (node, &db->touched) {
        const struct row *row = list_entry(node, struct row, touched);
        const struct monitored *monitored = &monitor->tables[row->table - ovsdb_tables];
        json_t *update = monitored->select
                             ? describe_change(monitored, row, monitor->dialect == MONITOR_PLAIN)
                             : NULL;
        if (update)
            add_row(tables, row, update);
    }
    if (json_object_size(tables) == 0) {
        json_decref(tables);
        return NULL;
    }
    json_t *params = json_pack("[O]", monitor->id);
    if (monitor->dialect == MONITOR_SINCE)
        json_array_append_new(params, last_commit(db));
    json_array_append_new(params, tables);
    return json_pack("{s:s, s:o, s:n}", "method", methods[monitor->dialect], "params", params,
                     "id");
}
