/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of the database; see store.h. */
#include "switch/ovsdb/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "base/parse.h"
#include "base/util.h"

#define BUSY_MS 1000              /* for another process that ends */
#define APPLICATION_ID 0x4b766f76 /* "Kvov" */

enum statement { STATEMENT_PUT, STATEMENT_DELETE, STATEMENT_COUNT };

struct store {
    sqlite3 *sqlite;
    char *file;
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

/* The oldest row first, also after it was changed. */
static const char setup[] = "PRAGMA locking_mode = EXCLUSIVE;"
                            "PRAGMA journal_mode = WAL;"
                            "PRAGMA synchronous = FULL;"
                            "BEGIN EXCLUSIVE;"
                            "CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY,"
                            " uuid TEXT NOT NULL UNIQUE, tab TEXT NOT NULL,"
                            " columns TEXT NOT NULL);"
                            "COMMIT;";

static const char *const statements[STATEMENT_COUNT] = {
    [STATEMENT_PUT] = "INSERT INTO row (uuid, tab, columns) VALUES (?1, ?2, ?3)"
                      " ON CONFLICT (uuid) DO UPDATE SET columns = ?3",
    [STATEMENT_DELETE] = "DELETE FROM row WHERE uuid = ?1",
};

/* --- Writing --------------------------------------------------------------- */

static bool is_kept(const struct column *column)
{
    return !column->ephemeral && strcmp(column->name, "_uuid") != 0;
}

/* Whether what is kept of the row is another after the transaction. */
static bool is_news(const struct row *row)
{
    if (!row->old || !row->now)
        return true;
    for (unsigned i = 0; row->table->columns[i].name; i++) {
        const struct column *column = &row->table->columns[i];
        if (is_kept(column) && datum_compare(&row->old[i], &row->now[i], &column->type) != 0)
            return true;
    }
    return false;
}

static json_t *row_columns(const struct row *row)
{
    json_t *object = json_object();
    for (unsigned i = 0; row->table->columns[i].name; i++) {
        const struct column *column = &row->table->columns[i];
        struct datum usual;
        if (!is_kept(column))
            continue;
        datum_init_default(&usual, &column->type);
        if (datum_compare(&usual, &row->now[i], &column->type) != 0)
            json_object_set_new(object, column->name, datum_to_json(&row->now[i], &column->type));
        datum_free(&usual, &column->type);
    }
    return object;
}

static char *row_text(const struct row *row)
{
    json_t *object = row_columns(row);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

static int write_row(struct store *store, const struct row *row)
{
    char uuid[UUID_TEXT];
    char *text = row->now ? row_text(row) : NULL;
    sqlite3_stmt *statement = store->statements[row->now ? STATEMENT_PUT : STATEMENT_DELETE];
    uuid_format(&row->uuid, uuid);
    sqlite3_bind_text(statement, 1, uuid, -1, SQLITE_TRANSIENT);
    if (row->now) {
        sqlite3_bind_text(statement, 2, row->table->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 3, text, -1, free);
    }
    int rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static json_t *keep(void *opaque, const struct database *db)
{
    struct store *store = opaque;
    bool begun = false;
    int rc = SQLITE_OK;
    list_for_each (node, &db->touched) {
        const struct row *row = list_entry(node, struct row, touched);
        if (rc != SQLITE_OK || !is_news(row))
            continue;
        if (!begun)
            rc = sqlite3_exec(store->sqlite, "BEGIN", NULL, NULL, NULL);
        begun = true;
        if (rc == SQLITE_OK)
            rc = write_row(store, row);
    }
    if (begun && rc == SQLITE_OK)
        rc = sqlite3_exec(store->sqlite, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return NULL;
    json_t *error =
        ovsdb_error("I/O error", "the database's file: %s", sqlite3_errmsg(store->sqlite));
    sqlite3_exec(store->sqlite, "ROLLBACK", NULL, NULL, NULL);
    return error;
}

/* --- Opening --------------------------------------------------------------- */

static int bad_row(struct kv_error *err, const char *uuid, const char *why)
{
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "row %s: %s", uuid, why);
}

static int bad_value(struct kv_error *err, const char *uuid, const char *column, json_t *error)
{
    int rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL, "row %s, '%.100s': %s", uuid, column,
                          json_string_value(json_object_get(error, "details")));
    json_decref(error);
    return rc;
}

static int read_columns(struct database *db, const struct table *table, const char *uuid_text,
                        const json_t *columns, struct kv_error *err)
{
    struct uuid uuid;
    const char *name;
    json_t *value;
    if (parse_uuid(uuid_text, uuid.bytes) < 0)
        return bad_row(err, uuid_text, "no UUID");
    struct row *row = database_insert(db, table, &uuid);
    json_object_foreach ((json_t *)columns, name, value) {
        struct datum datum;
        int column = ovsdb_find_column(table, name);
        if (column < 0)
            return bad_row(err, uuid_text, "made by a newer version");
        json_t *error = datum_from_json(&datum, &table->columns[column].type, value, false, NULL);
        if (error)
            return bad_value(err, uuid_text, name, error);
        database_set(db, row, (unsigned)column, &datum);
    }
    return 0;
}

static int read_row(struct database *db, sqlite3_stmt *statement, struct kv_error *err)
{
    const char *uuid = (const char *)sqlite3_column_text(statement, 0);
    const char *tab = (const char *)sqlite3_column_text(statement, 1);
    const char *text = (const char *)sqlite3_column_text(statement, 2);
    const struct table *table = tab ? ovsdb_find_table(tab) : NULL;
    json_t *columns = text ? json_loads(text, 0, NULL) : NULL;
    int rc = table && json_is_object(columns) ? read_columns(db, table, uuid, columns, err)
                                              : bad_row(err, uuid, "damaged");
    json_decref(columns);
    return rc;
}

static int sqlite_error(struct store *store, struct kv_error *err)
{
    int code = sqlite3_errcode(store->sqlite);
    return kv_error_set(err, KV_ERR_CONFIG, code == SQLITE_BUSY ? EBUSY : EINVAL, "%s",
                        sqlite3_errmsg(store->sqlite));
}

static int commit_rows(struct database *db, struct kv_error *err)
{
    json_t *error = database_commit(db);
    return error ? bad_value(err, "(any)", "all", error) : 0;
}

static int read_rows(struct store *store, struct database *db, struct kv_error *err)
{
    sqlite3_stmt *statement;
    int rc = 0, step;
    if (sqlite3_prepare_v2(store->sqlite, "SELECT uuid, tab, columns FROM row ORDER BY number", -1,
                           &statement, NULL) != SQLITE_OK)
        return sqlite_error(store, err);
    while ((step = sqlite3_step(statement)) == SQLITE_ROW && rc == 0)
        rc = read_row(db, statement, err);
    sqlite3_finalize(statement);
    if (rc == 0 && step != SQLITE_DONE)
        rc = sqlite_error(store, err);
    return rc == 0 ? commit_rows(db, err) : rc;
}

/* A file of another program is left alone. */
static int check_owner(struct store *store, struct kv_error *err)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(store->sqlite,
                           "SELECT (SELECT count(*) FROM sqlite_master), application_id"
                           " FROM pragma_application_id",
                           -1, &statement, NULL) != SQLITE_OK)
        return sqlite_error(store, err);
    int rc = 0;
    if (sqlite3_step(statement) != SQLITE_ROW)
        rc = sqlite_error(store, err);
    else if (sqlite3_column_int(statement, 0) > 0 &&
             sqlite3_column_int(statement, 1) != APPLICATION_ID)
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL, "it belongs to another program");
    sqlite3_finalize(statement);
    return rc;
}

static int open_file(struct store *store, const char *file, struct kv_error *err)
{
    char mark[64];
    sqlite3_snprintf(sizeof(mark), mark, "PRAGMA application_id = %d", APPLICATION_ID);
    if (sqlite3_open(file, &store->sqlite) != SQLITE_OK)
        return sqlite_error(store, err);
    sqlite3_busy_timeout(store->sqlite, BUSY_MS);
    int rc = check_owner(store, err);
    if (rc < 0)
        return rc;
    if (sqlite3_exec(store->sqlite, setup, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(store->sqlite, mark, NULL, NULL, NULL) != SQLITE_OK)
        return sqlite_error(store, err);
    for (unsigned i = 0; i < STATEMENT_COUNT; i++) {
        if (sqlite3_prepare_v2(store->sqlite, statements[i], -1, &store->statements[i], NULL) !=
            SQLITE_OK)
            return sqlite_error(store, err);
    }
    return 0;
}

static void close_file(struct store *store)
{
    for (unsigned i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    sqlite3_close(store->sqlite);
    store->sqlite = NULL;
}

void store_release(struct store *store)
{
    if (store)
        close_file(store);
}

int store_resume(struct store *store, struct kv_error *err)
{
    if (!store)
        return 0;
    int rc = open_file(store, store->file, err);
    return rc < 0 ? kv_error_prefix(err, "database '%s'", store->file) : 0;
}

json_t *store_describe(const struct database *db)
{
    json_t *out = json_object();
    for (const struct table *table = ovsdb_tables; table->name; table++) {
        database_each (db, table, row) {
            char uuid[UUID_TEXT];
            uuid_format(&row->uuid, uuid);
            json_object_set_new(
                out, uuid,
                json_pack("{s:s, s:o}", "table", table->name, "columns", row_columns(row)));
        }
    }
    return out;
}

int store_restore(struct database *db, const json_t *rows, struct kv_error *err)
{
    const char *uuid;
    json_t *row;
    int rc = 0;
    json_object_foreach ((json_t *)rows, uuid, row) {
        const char *name = json_string_value(json_object_get(row, "table"));
        const struct table *table = name ? ovsdb_find_table(name) : NULL;
        if (rc == 0)
            rc = table ? read_columns(db, table, uuid, json_object_get(row, "columns"), err)
                       : bad_row(err, uuid, "of no table");
    }
    return rc == 0 ? commit_rows(db, err) : rc;
}

int store_open(struct store **out, const char *file, struct database *db, struct kv_error *err)
{
    struct store *store = calloc(1, sizeof(*store));
    if (store)
        store->file = strdup(file);
    if (!store || !store->file) {
        free(store);
        return kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "database '%s'", file);
    }
    int rc = open_file(store, file, err);
    if (rc == 0)
        rc = read_rows(store, db, err);
    if (rc < 0) {
        store_close(store);
        return kv_error_prefix(err, "database '%s'", file);
    }
    database_watch(db, (struct database_watcher){.store = keep, .opaque = store});
    *out = store;
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    close_file(store);
    free(store->file);
    free(store);
}
