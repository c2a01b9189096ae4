/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations of a transaction by table; see transact.h. */
#include "switch/ovsdb/transact.h"

#include "base/util.h"
#include "switch/ovsdb/condition.h"

struct operation {
    struct transact *transact;
    struct database *db;
    struct uuid_names *names;
    json_t *inserted;          /* names of rows that were inserted: {"name": true} */
    const json_t *json;        /* what was asked */
    const struct table *table; /* of operations that have one */
    json_t *result;            /* to be filled in */
};

static const json_t *member(const struct operation *op, const char *name)
{
    return json_object_get(op->json, name);
}

static json_t *bad_member(const struct operation *op, const char *name, const char *expected)
{
    return ovsdb_error("syntax error", "Parsing %s operation failed: \"%s\" is to be %s.",
                       json_string_value(member(op, "op")), name, expected);
}

/* Operations of one message may name all rows again and again. */
static json_t *spend(struct operation *op, size_t bytes)
{
    op->transact->spent += bytes;
    if (op->transact->spent <= TRANSACT_BYTES_MAX)
        return NULL;
    return ovsdb_error("resources exhausted",
                       "a transaction reads and writes at most %d MiB of values",
                       TRANSACT_BYTES_MAX >> 20);
}

/* --- Rows ------------------------------------------------------------------ */

/* Calls fn for the rows that "where" names; counts them. */
static json_t *each_match(struct operation *op, json_int_t *count,
                          json_t *(*fn)(struct operation *op, struct row *row))
{
    struct conditions conditions;
    struct row *named;
    *count = 0;
    if (!member(op, "where"))
        return bad_member(op, "where", "a list of conditions");
    json_t *error = conditions_parse(&conditions, op->table, member(op, "where"), op->names);
    if (!error && conditions_name_row(&conditions, op->db, &named)) {
        *count = named != NULL;
        error = named ? fn(op, named) : NULL;
    } else {
        database_each (op->db, op->table, row) {
            if (error || !conditions_match(&conditions, row->now))
                continue;
            ++*count;
            error = fn(op, row);
        }
    }
    conditions_free(&conditions);
    return error;
}

static json_t *count_result(struct operation *op, json_int_t count, json_t *error)
{
    if (!error)
        json_object_set_new(op->result, "count", json_integer(count));
    return error;
}

/* Sets the row's columns to what "row" says. */
static json_t *set_columns(struct operation *op, struct row *row, bool inserted)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)member(op, "row"), name, value) {
        struct datum datum;
        int column = ovsdb_find_column(op->table, name);
        if (column < 0)
            return ovsdb_error("unknown column", "No column %.100s in table %s.", name,
                               op->table->name);
        if (op->table->columns[column].immutable && (!inserted || column < COLUMNS_OF_ALL))
            return ovsdb_error("constraint violation",
                               "Cannot update immutable column %s in table %s.", name,
                               op->table->name);
        json_t *error =
            datum_from_json(&datum, &op->table->columns[column].type, value, false, op->names);
        if (error)
            return error;
        error = spend(op, datum_bytes(&datum, &op->table->columns[column].type));
        database_set(op->db, row, (unsigned)column, &datum);
        if (error)
            return error;
    }
    return NULL;
}

static json_t *check_row(const struct operation *op, bool optional)
{
    const json_t *row = member(op, "row");
    return json_is_object(row) || (!row && optional) ? NULL : bad_member(op, "row", "a row");
}

static json_t *insert(struct operation *op)
{
    const json_t *name = member(op, "uuid-name");
    const char *text = json_string_value(name);
    union atom atom;
    struct column_type type = {.key = op->table->columns[COLUMN_UUID].type.key, .min = 1, .max = 1};
    json_t *error = check_row(op, true);
    if (error)
        return error;
    if (op->db->row_count >= DATABASE_ROWS_MAX)
        return ovsdb_error("resources exhausted", "%u rows are possible", DATABASE_ROWS_MAX);
    uuid_generate(&atom.uuid);
    if (name) {
        struct datum datum;
        json_t *named = json_pack("[s, O]", "named-uuid", name);
        if (text && json_object_get(op->inserted, text))
            error = ovsdb_error("duplicate uuid-name", "This \"uuid-name\" was used already.");
        else
            error = datum_from_json(&datum, &type, named, false, op->names);
        json_decref(named);
        if (error)
            return error;
        json_object_set_new(op->inserted, text, json_true());
        atom = *datum.keys;
        datum_free(&datum, &type);
    }
    struct row *row = database_insert(op->db, op->table, &atom.uuid);
    json_object_set_new(op->result, "uuid", datum_to_json(&row->now[COLUMN_UUID], &type));
    return set_columns(op, row, true);
}

static json_t *update_row(struct operation *op, struct row *row)
{
    return set_columns(op, row, false);
}

static json_t *update(struct operation *op)
{
    json_int_t count = 0;
    json_t *error = check_row(op, false);
    if (!error)
        error = each_match(op, &count, update_row);
    return count_result(op, count, error);
}

static size_t row_bytes(const struct row *row)
{
    size_t bytes = 0;
    for (unsigned i = 0; row->table->columns[i].name; i++)
        bytes += datum_bytes(&row->now[i], &row->table->columns[i].type);
    return bytes;
}

static json_t *mutate_row(struct operation *op, struct row *row)
{
    const json_t *mutations = member(op, "mutations");
    json_t *error = NULL;
    for (size_t i = 0; !error && i < json_array_size(mutations); i++) {
        error = mutation_apply(op->db, row, json_array_get(mutations, i), op->names);
        if (!error)
            error = spend(op, row_bytes(row));
    }
    return error;
}

static json_t *mutate(struct operation *op)
{
    json_int_t count = 0;
    if (!json_is_array(member(op, "mutations")))
        return bad_member(op, "mutations", "a list of mutations");
    json_t *error = each_match(op, &count, mutate_row);
    return count_result(op, count, error);
}

static json_t *delete_row(struct operation *op, struct row *row)
{
    database_delete(op->db, row);
    return NULL;
}

static json_t *delete_rows(struct operation *op)
{
    json_int_t count = 0;
    json_t *error = each_match(op, &count, delete_row);
    return count_result(op, count, error);
}

/* --- Reading --------------------------------------------------------------- */

static json_t *check_columns(const struct operation *op)
{
    const json_t *columns = member(op, "columns");
    if (columns && !json_is_array(columns))
        return bad_member(op, "columns", "a list of columns");
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const char *name = json_string_value(json_array_get(columns, i));
        if (!name)
            return bad_member(op, "columns", "a list of columns");
        if (ovsdb_find_column(op->table, name) < 0)
            return ovsdb_error("unknown column", "No column %.100s in table %s.", name,
                               op->table->name);
    }
    return NULL;
}

/* The row as "columns" asks for it. */
static json_t *view_of(const struct operation *op, const struct row *row)
{
    const json_t *columns = member(op, "columns");
    json_t *view = json_object();
    for (unsigned i = 0; !columns && op->table->columns[i].name; i++)
        json_object_set_new(view, op->table->columns[i].name,
                            datum_to_json(&row->now[i], &op->table->columns[i].type));
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const char *name = json_string_value(json_array_get(columns, i));
        int column = ovsdb_find_column(op->table, name);
        json_object_set_new(view, name,
                            datum_to_json(&row->now[column], &op->table->columns[column].type));
    }
    return view;
}

static json_t *select_row(struct operation *op, struct row *row)
{
    json_array_append_new(json_object_get(op->result, "rows"), view_of(op, row));
    return spend(op, row_bytes(row));
}

static json_t *select_rows(struct operation *op)
{
    json_int_t count;
    json_t *error = check_columns(op);
    json_object_set_new(op->result, "rows", json_array());
    return error ? error : each_match(op, &count, select_row);
}

/* --- Waiting --------------------------------------------------------------- */

/* A row of the client's in the form that view_of() gives it, with what it left out as default. */
static json_t *normalize(const struct operation *op, const json_t *row, json_t **view)
{
    const char *name;
    json_t *value, *error = NULL;
    *view = json_object();
    const json_t *columns = member(op, "columns");
    for (size_t i = 0; i < json_array_size(columns); i++) {
        struct datum datum;
        name = json_string_value(json_array_get(columns, i));
        const struct column_type *type =
            &op->table->columns[ovsdb_find_column(op->table, name)].type;
        datum_init_default(&datum, type);
        json_object_set_new(*view, name, datum_to_json(&datum, type));
        datum_free(&datum, type);
    }
    json_object_foreach ((json_t *)row, name, value) {
        struct datum datum;
        int column = ovsdb_find_column(op->table, name);
        if (column < 0)
            return ovsdb_error("unknown column", "No column %.100s in table %s.", name,
                               op->table->name);
        const struct column_type *type = &op->table->columns[column].type;
        error = datum_from_json(&datum, type, value, true, op->names);
        if (error)
            return error;
        json_object_set_new(*view, name, datum_to_json(&datum, type));
        datum_free(&datum, type);
    }
    return NULL;
}

/* Two lists of rows as sets. */
static bool contains_all(const json_t *list, const json_t *others)
{
    for (size_t i = 0; i < json_array_size(others); i++) {
        bool found = false;
        for (size_t j = 0; !found && j < json_array_size(list); j++)
            found = json_equal(json_array_get(others, i), json_array_get(list, j));
        if (!found)
            return false;
    }
    return true;
}

static json_t *normalize_rows(const struct operation *op, json_t *list)
{
    const json_t *rows = member(op, "rows");
    json_t *error = NULL;
    for (size_t i = 0; !error && i < json_array_size(rows); i++) {
        json_t *view = NULL;
        if (!json_is_object(json_array_get(rows, i)))
            return bad_member(op, "rows", "a list of rows");
        error = normalize(op, json_array_get(rows, i), &view);
        json_array_append_new(list, view);
    }
    return error;
}

static json_t *not_yet(struct operation *op)
{
    const json_t *timeout = member(op, "timeout");
    int64_t timeout_ms = timeout ? json_integer_value(timeout) : -1;
    if (timeout && op->transact->waited_ms >= timeout_ms)
        return ovsdb_error("timed out", "\"wait\" timed out");
    op->transact->must_wait = true;
    op->transact->wait_ms = timeout ? timeout_ms - op->transact->waited_ms : -1;
    return ovsdb_error("timed out", "\"wait\" goes on");
}

static json_t *wait_for(struct operation *op)
{
    const char *until = json_string_value(member(op, "until"));
    const json_t *timeout = member(op, "timeout");
    if (timeout && (!json_is_integer(timeout) || json_integer_value(timeout) < 0))
        return bad_member(op, "timeout", "a number of milliseconds");
    if (!until || (strcmp(until, "==") != 0 && strcmp(until, "!=") != 0))
        return bad_member(op, "until", "\"==\" or \"!=\"");
    if (!json_is_array(member(op, "rows")))
        return bad_member(op, "rows", "a list of rows");
    json_t *wanted = json_array(), *error = select_rows(op);
    if (!error)
        error = normalize_rows(op, wanted);
    if (!error) {
        const json_t *rows = json_object_get(op->result, "rows");
        bool equal = contains_all(rows, wanted) && contains_all(wanted, rows);
        if (equal != (until[0] == '='))
            error = not_yet(op);
    }
    json_object_del(op->result, "rows");
    json_decref(wanted);
    return error;
}

/* --- The others ------------------------------------------------------------ */

static json_t *commit(struct operation *op)
{
    const json_t *durable = member(op, "durable");
    if (!json_is_boolean(durable))
        return bad_member(op, "durable", "true or false");
    if (json_is_true(durable) && !op->transact->durable)
        return ovsdb_error("not supported", "the database has no file (--database)");
    return NULL;
}

static json_t *abort_all(struct operation *op)
{
    return ovsdb_error("aborted", "aborted by request");
}

static json_t *comment(struct operation *op)
{
    return json_is_string(member(op, "comment")) ? NULL : bad_member(op, "comment", "a string");
}

static json_t *assert_lock(struct operation *op)
{
    const char *lock = json_string_value(member(op, "lock"));
    if (!lock)
        return bad_member(op, "lock", "a lock's name");
    return op->transact->owns_lock(op->transact->opaque, lock)
               ? NULL
               : ovsdb_error("not owner", "Asserted lock %.100s not held.", lock);
}

static const struct operation_kind {
    const char *name;
    json_t *(*run)(struct operation *op);
    const char *members[8]; /* besides "op"; the first is "table" for those that have one */
} kinds[] = {
    {"insert", insert, {"table", "row", "uuid-name"}},
    {"select", select_rows, {"table", "where", "columns"}},
    {"update", update, {"table", "where", "row"}},
    {"mutate", mutate, {"table", "where", "mutations"}},
    {"delete", delete_rows, {"table", "where"}},
    {"wait", wait_for, {"table", "timeout", "where", "columns", "until", "rows"}},
    {"commit", commit, {"durable"}},
    {"abort", abort_all, {NULL}},
    {"comment", comment, {"comment"}},
    {"assert", assert_lock, {"lock"}},
};

static bool has_member(const struct operation_kind *kind, const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kind->members) && kind->members[i]; i++) {
        if (strcmp(kind->members[i], name) == 0)
            return true;
    }
    return strcmp(name, "op") == 0;
}

static json_t *run_one(struct operation *op)
{
    const char *name = json_string_value(member(op, "op")), *key;
    const struct operation_kind *kind = NULL;
    json_t *value;
    for (unsigned i = 0; name && i < ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            kind = &kinds[i];
    }
    if (!kind)
        return ovsdb_error("syntax error", "No operation \"%.100s\"", name ? name : "");
    json_object_foreach ((json_t *)op->json, key, value) {
        if (!has_member(kind, key))
            return ovsdb_error("syntax error",
                               "Parsing %s operation failed: \"%.100s\" is none of "
                               "its members.",
                               name, key);
    }
    if (has_member(kind, "table")) {
        const char *table = json_string_value(member(op, "table"));
        op->table = table ? ovsdb_find_table(table) : NULL;
        if (!table)
            return bad_member(op, "table", "a table's name");
        if (!op->table)
            return ovsdb_error("syntax error", "No table named %.100s.", table);
    }
    return kind->run(op);
}

json_t *transact_run(struct transact *transact, const json_t *params, json_t **error)
{
    const char *name = json_string_value(json_array_get(params, 0));
    *error = NULL;
    transact->must_wait = false;
    if (!name || strcmp(name, OVSDB_NAME) != 0) {
        *error = ovsdb_error("unknown database", "the database here is " OVSDB_NAME);
        return NULL;
    }
    if (json_array_size(params) > TRANSACT_OPERATIONS_MAX) {
        *error = ovsdb_error("resources exhausted", "%d operations are possible",
                             TRANSACT_OPERATIONS_MAX);
        return NULL;
    }
    struct uuid_names names = {json_object()};
    json_t *inserted = json_object(), *results = json_array(), *failed = NULL;
    for (size_t i = 1; i < json_array_size(params); i++) {
        struct operation op = {transact, transact->db, &names, inserted,
                               .json = json_array_get(params, i)};
        if (failed) {
            json_array_append_new(results, json_null());
            continue;
        }
        op.result = json_object();
        failed = json_is_object(op.json) ? run_one(&op)
                                         : ovsdb_error("syntax error", "an operation is an object");
        json_array_append(results, failed ? failed : op.result);
        json_decref(op.result);
    }
    if (failed)
        database_abort(transact->db);
    else if ((failed = database_commit(transact->db)))
        json_array_append(results, failed);
    json_decref(failed);
    json_decref(names.uuids);
    json_decref(inserted);
    if (!transact->must_wait)
        return results;
    json_decref(results);
    return NULL;
}
