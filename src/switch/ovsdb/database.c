/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows, and transactions but for their rules (integrity.c); see database.h. */
#include "switch/ovsdb/database.h"

#include <assert.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "switch/ovsdb/integrity.h"

void database_init(struct database *db)
{
    memset(db, 0, sizeof(*db));
    db->buckets = calloc(DATABASE_BUCKETS, sizeof(*db->buckets));
    if (!db->buckets)
        abort();
    for (unsigned i = 0; i < OVSDB_TABLES; i++)
        list_init(&db->rows[i]);
    list_init(&db->touched);
    uuid_generate(&db->last_commit);
}

static void free_datums(struct datum *datums, const struct table *table)
{
    for (unsigned i = 0; datums && table->columns[i].name; i++)
        datum_free(&datums[i], &table->columns[i].type);
    free(datums);
}

/* UUIDs are random, and made here. */
static struct row **bucket_of(const struct database *db, const struct uuid *uuid)
{
    return &db->buckets[load_le(uuid->bytes, 4) % DATABASE_BUCKETS];
}

static void free_row(struct database *db, struct row *row)
{
    struct row **link = bucket_of(db, &row->uuid);
    while (*link != row)
        link = &(*link)->next;
    *link = row->next;
    list_del(&row->node);
    list_del(&row->touched);
    free_datums(row->now, row->table);
    free_datums(row->old, row->table);
    free(row);
    db->row_count--;
}

void database_free(struct database *db)
{
    for (unsigned i = 0; i < OVSDB_TABLES; i++) {
        list_for_each_safe (node, &db->rows[i])
            free_row(db, list_entry(node, struct row, node));
    }
    free(db->buckets);
}

void database_watch(struct database *db, struct database_watcher watcher)
{
    assert(db->watcher_count < DATABASE_WATCHERS);
    db->watchers[db->watcher_count++] = watcher;
}

struct row *database_find(const struct database *db, const struct table *table,
                          const struct uuid *uuid)
{
    struct row *row = *bucket_of(db, uuid);
    while (row && !(row->table == table && uuid_equal(&row->uuid, uuid)))
        row = row->next;
    return row && row->now ? row : NULL;
}

static struct datum *new_datums(const struct table *table)
{
    struct datum *datums = calloc(ovsdb_column_count(table), sizeof(*datums));
    if (!datums)
        abort();
    return datums;
}

struct row *database_insert(struct database *db, const struct table *table, const struct uuid *uuid)
{
    struct row *row = calloc(1, sizeof(*row));
    if (!row)
        abort();
    row->table = table;
    row->uuid = *uuid;
    row->now = new_datums(table);
    datum_init_uuid(&row->now[COLUMN_UUID], uuid);
    for (unsigned i = COLUMN_VERSION; table->columns[i].name; i++)
        datum_init_default(&row->now[i], &table->columns[i].type);
    list_add_tail(database_rows(db, table), &row->node);
    list_add_tail(&db->touched, &row->touched);
    struct row **bucket = bucket_of(db, uuid);
    row->next = *bucket;
    *bucket = row;
    db->row_count++;
    return row;
}

/* The transaction may change the row from now on. */
static void touch(struct database *db, struct row *row)
{
    if (!list_empty(&row->touched))
        return;
    row->old = new_datums(row->table);
    for (unsigned i = 0; row->table->columns[i].name; i++)
        datum_clone(&row->old[i], &row->now[i], &row->table->columns[i].type);
    list_add_tail(&db->touched, &row->touched);
}

void database_delete(struct database *db, struct row *row)
{
    touch(db, row);
    free_datums(row->now, row->table);
    row->now = NULL;
}

struct datum *database_change(struct database *db, struct row *row, unsigned column)
{
    touch(db, row);
    return &row->now[column];
}

void database_set(struct database *db, struct row *row, unsigned column, struct datum *value)
{
    const struct column_type *type = &row->table->columns[column].type;
    if (datum_compare(&row->now[column], value, type) == 0) {
        datum_free(value, type);
        return;
    }
    struct datum *place = database_change(db, row, column);
    datum_free(place, type);
    *place = *value;
    memset(value, 0, sizeof(*value));
}

/* --- The transaction's end ------------------------------------------------- */

void database_abort(struct database *db)
{
    list_for_each_safe (node, &db->touched) {
        struct row *row = list_entry(node, struct row, touched);
        if (!row->old) {
            free_row(db, row);
            continue;
        }
        free_datums(row->now, row->table);
        row->now = take_ptr(row->old);
        list_del(&row->touched);
    }
}

static void forget_old(struct database *db)
{
    list_for_each_safe (node, &db->touched) {
        struct row *row = list_entry(node, struct row, touched);
        if (!row->now) {
            free_row(db, row);
            continue;
        }
        free_datums(take_ptr(row->old), row->table);
        list_del(&row->touched);
    }
}

static size_t bytes_of(const struct datum *datums, const struct table *table)
{
    size_t bytes = datums ? sizeof(struct row) : 0;
    for (unsigned i = 0; datums && table->columns[i].name; i++)
        bytes += sizeof(*datums) + datum_bytes(&datums[i], &table->columns[i].type);
    return bytes;
}

/* How many bytes there will be. */
static size_t count_bytes(const struct database *db)
{
    size_t bytes = db->bytes;
    list_for_each (node, &db->touched) {
        const struct row *row = list_entry(node, struct row, touched);
        bytes += bytes_of(row->now, row->table) - bytes_of(row->old, row->table);
    }
    return bytes;
}

static bool row_differs(const struct row *row)
{
    for (unsigned i = 0; row->table->columns[i].name; i++) {
        if (datum_compare(&row->old[i], &row->now[i], &row->table->columns[i].type) != 0)
            return true;
    }
    return false;
}

/* Rows that are as before, or came and went, are no part of it. */
static void forget_unchanged(struct database *db)
{
    list_for_each_safe (node, &db->touched) {
        struct row *row = list_entry(node, struct row, touched);
        if (!row->old && !row->now) {
            free_row(db, row);
        } else if (row->old && row->now && !row_differs(row)) {
            free_datums(take_ptr(row->old), row->table);
            list_del(&row->touched);
        }
    }
}

static json_t *ask(struct database *db,
                   json_t *(*question)(const struct database_watcher *, const struct database *))
{
    json_t *error = NULL;
    for (unsigned i = 0; !error && i < db->watcher_count; i++)
        error = question(&db->watchers[i], db);
    return error;
}

static json_t *ask_check(const struct database_watcher *watcher, const struct database *db)
{
    return watcher->check ? watcher->check(watcher->opaque, db) : NULL;
}

static json_t *ask_store(const struct database_watcher *watcher, const struct database *db)
{
    return watcher->store ? watcher->store(watcher->opaque, db) : NULL;
}

json_t *database_commit(struct database *db)
{
    forget_unchanged(db);
    if (!database_is_changed(db))
        return NULL;
    json_t *error = integrity_enforce(db);
    forget_unchanged(db);
    size_t bytes = count_bytes(db);
    if (!error && (bytes > DATABASE_BYTES_MAX || db->row_count > DATABASE_ROWS_MAX))
        error = ovsdb_error("resources exhausted", "%u rows and %u MiB are possible",
                            DATABASE_ROWS_MAX, DATABASE_BYTES_MAX >> 20);
    if (!error)
        error = ask(db, ask_check);
    list_for_each (node, &db->touched) {
        struct row *row = list_entry(node, struct row, touched);
        if (row->now)
            uuid_generate(&row->now[COLUMN_VERSION].keys->uuid);
    }
    if (!error)
        error = ask(db, ask_store);
    if (error) {
        database_abort(db);
        return error;
    }
    db->bytes = bytes;
    uuid_generate(&db->last_commit);
    for (unsigned i = 0; i < db->watcher_count; i++) {
        if (db->watchers[i].committed)
            db->watchers[i].committed(db->watchers[i].opaque, db);
    }
    forget_old(db);
    return NULL;
}

/* --- Columns by name ------------------------------------------------------- */

static unsigned column_of(const struct row *row, const char *name)
{
    int column = ovsdb_find_column(row->table, name);
    assert(column >= 0);
    return (unsigned)column;
}

const struct datum *row_get(const struct row *row, const char *column)
{
    return &row->now[column_of(row, column)];
}

const char *row_string(const struct row *row, const char *column)
{
    const struct datum *datum = row_get(row, column);
    return datum->count ? datum->keys->string : NULL;
}

void row_set(struct database *db, struct row *row, const char *column, struct datum value)
{
    database_set(db, row, column_of(row, column), &value);
}

void row_set_element(struct database *db, struct row *row, const char *column, const char *key,
                     const char *value)
{
    unsigned index = column_of(row, column);
    const struct column_type *type = &row->table->columns[index].type;
    struct datum map, element;
    json_t *pair = json_pack("[s, [[s, s]]]", "map", key, value ? value : "");
    json_t *error = datum_from_json(&element, type, pair, true, NULL);
    assert(!error);
    datum_clone(&map, &row->now[index], type);
    datum_subtract(&map, &element, type, true);
    if (value)
        datum_union(&map, &element, type);
    datum_free(&element, type);
    database_set(db, row, index, &map);
    json_decref(pair);
}
