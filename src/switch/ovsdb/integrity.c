/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * References, garbage, indexes and limits; see integrity.h. The whole database is looked at: it has
 * some thousands of rows at most, few of whose columns are references.
 */
#include "switch/ovsdb/integrity.h"

#include <stdlib.h>

#include "base/util.h"

/* --- References ------------------------------------------------------------ */

static struct row *target(const struct database *db, const struct base_type *base,
                          const union atom *atom)
{
    return database_find(db, ovsdb_find_table(base->table), &atom->uuid);
}

static json_t *leads_nowhere(const struct row *row, unsigned column, const struct base_type *base,
                             const union atom *atom)
{
    char from[UUID_TEXT], to[UUID_TEXT];
    uuid_format(&row->uuid, from);
    uuid_format(&atom->uuid, to);
    return ovsdb_error("referential integrity violation",
                       "Table %s column %s row %s references nonexistent row %s in table %s.",
                       row->table->name, row->table->columns[column].name, from, to, base->table);
}

/* Calls fn for each reference of the row; ends early with an error. */
static json_t *each_reference(struct database *db, struct row *row,
                              json_t *(*fn)(struct database *db, struct row *row, unsigned column,
                                            const struct base_type *base, const union atom *atom,
                                            void *opaque),
                              void *opaque)
{
    json_t *error = NULL;
    for (unsigned column = 0; !error && row->table->columns[column].name; column++) {
        const struct column_type *type = &row->table->columns[column].type;
        const struct datum *datum = &row->now[column];
        for (unsigned i = 0; !error && i < datum->count; i++) {
            if (type->key->table)
                error = fn(db, row, column, type->key, &datum->keys[i], opaque);
            if (!error && type->value && type->value->table)
                error = fn(db, row, column, type->value, &datum->values[i], opaque);
        }
    }
    return error;
}

static json_t *check_strong(struct database *db, struct row *row, unsigned column,
                            const struct base_type *base, const union atom *atom, void *opaque)
{
    return base->weak || target(db, base, atom) ? NULL : leads_nowhere(row, column, base, atom);
}

/* --- Garbage --------------------------------------------------------------- */

/* Rows that were found and whose references were not followed yet. */
struct trail {
    struct row **rows;
    unsigned count;
};

static void reach(struct trail *trail, struct row *row)
{
    if (row && !row->reachable) {
        row->reachable = true;
        trail->rows[trail->count++] = row;
    }
}

static json_t *follow_strong(struct database *db, struct row *row, unsigned column,
                             const struct base_type *base, const union atom *atom, void *opaque)
{
    if (!base->weak)
        reach(opaque, target(db, base, atom));
    return NULL;
}

static void collect_garbage(struct database *db)
{
    struct trail trail = {.rows = calloc(db->row_count + 1, sizeof(struct row *))};
    if (!trail.rows)
        abort();
    for (const struct table *table = ovsdb_tables; table->name; table++) {
        database_each (db, table, row) {
            row->reachable = false;
            if (table->root)
                reach(&trail, row);
        }
    }
    while (trail.count)
        each_reference(db, trail.rows[--trail.count], follow_strong, &trail);
    free(trail.rows);
    for (const struct table *table = ovsdb_tables; table->name; table++) {
        database_each (db, table, row) {
            if (!row->reachable)
                database_delete(db, row);
        }
    }
}

/* --- Weak references ------------------------------------------------------- */

static bool is_dangling(struct database *db, const struct column_type *type,
                        const struct datum *datum, unsigned i)
{
    return (type->key->weak && !target(db, type->key, &datum->keys[i])) ||
           (type->value && type->value->weak && !target(db, type->value, &datum->values[i]));
}

static void drop_dangling(struct database *db, struct row *row)
{
    for (unsigned column = 0; row->table->columns[column].name; column++) {
        const struct column_type *type = &row->table->columns[column].type;
        if (!type->key->weak && !(type->value && type->value->weak))
            continue;
        for (unsigned i = row->now[column].count; i-- > 0;) {
            if (is_dangling(db, type, &row->now[column], i))
                datum_remove_at(database_change(db, row, column), type, i);
        }
    }
}

/* --- Indexes and limits ---------------------------------------------------- */

struct indexed {
    const struct row *row;
    int columns[2]; /* -1: none */
};

static int compare_indexed(const void *a, const void *b)
{
    const struct indexed *one = a, *other = b;
    for (unsigned i = 0; i < ARRAY_SIZE(one->columns) && one->columns[i] >= 0; i++) {
        int column = one->columns[i];
        int order = datum_compare(&one->row->now[column], &other->row->now[column],
                                  &one->row->table->columns[column].type);
        if (order)
            return order;
    }
    return 0;
}

static json_t *twice(const struct indexed *one, const struct indexed *other)
{
    char a[UUID_TEXT], b[UUID_TEXT];
    uuid_format(&one->row->uuid, a);
    uuid_format(&other->row->uuid, b);
    json_t *value = datum_to_json(&one->row->now[one->columns[0]],
                                  &one->row->table->columns[one->columns[0]].type);
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    json_t *error = ovsdb_error(
        "constraint violation",
        "Transaction causes multiple rows in \"%s\" table to have identical values (%.100s) for "
        "index on column \"%s\": %s and %s.",
        one->row->table->name, text, one->row->table->index[0], a, b);
    free(text);
    json_decref(value);
    return error;
}

static bool is_touched(const struct database *db, const struct table *table)
{
    list_for_each (node, &db->touched) {
        if (list_entry(node, struct row, touched)->table == table)
            return true;
    }
    return false;
}

static json_t *check_table(struct database *db, const struct table *table)
{
    json_t *error = NULL;
    unsigned count = 0;
    if (!is_touched(db, table))
        return NULL;
    database_each (db, table, row)
        count++;
    if (table->max_rows && count > table->max_rows)
        return ovsdb_error("constraint violation",
                           "transaction causes \"%s\" table to contain %u rows, greater than the "
                           "schema-defined limit of %u row(s)",
                           table->name, count, table->max_rows);
    if (!table->index[0] || count < 2)
        return NULL;
    struct indexed *rows = calloc(count, sizeof(*rows));
    if (!rows)
        abort();
    count = 0;
    database_each (db, table, row) {
        rows[count] = (struct indexed){row, {ovsdb_find_column(table, table->index[0]), -1}};
        if (table->index[1])
            rows[count].columns[1] = ovsdb_find_column(table, table->index[1]);
        count++;
    }
    qsort(rows, count, sizeof(*rows), compare_indexed);
    for (unsigned i = 1; !error && i < count; i++) {
        if (compare_indexed(&rows[i - 1], &rows[i]) == 0)
            error = twice(&rows[i - 1], &rows[i]);
    }
    free(rows);
    return error;
}

static json_t *check_counts(const struct row *row)
{
    json_t *error = NULL;
    for (unsigned i = 0; !error && row->table->columns[i].name; i++)
        error = datum_check_count(&row->now[i], &row->table->columns[i].type);
    return error;
}

json_t *integrity_enforce(struct database *db)
{
    json_t *error = NULL;
    for (const struct table *table = ovsdb_tables; !error && table->name; table++) {
        database_each (db, table, row) {
            if (!error)
                error = each_reference(db, row, check_strong, NULL);
        }
    }
    if (error)
        return error;
    collect_garbage(db);
    for (const struct table *table = ovsdb_tables; table->name; table++) {
        database_each (db, table, row)
            drop_dangling(db, row);
    }
    for (const struct table *table = ovsdb_tables; !error && table->name; table++)
        error = check_table(db, table);
    list_for_each (node, &db->touched) {
        const struct row *row = list_entry(node, struct row, touched);
        if (!error && row->now)
            error = check_counts(row);
    }
    return error;
}
