/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening the database, its schema, and reading; see state.h. Readers have a
 * connection of their own, so that they do not wait for a sync.
 */
#include "daemon/state/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/state/state_internal.h"

/* A daemon that was killed while it started a machine leaves a child for a moment, which has the
 * lock too and is about to end. */
#define LOCK_TRIES 100
#define LOCK_PAUSE_MS 20

#define APPLICATION_ID 0x4b766173 /* "Kvas" */

/* Row n brings a database of version n to version n + 1; PRAGMA user_version is the version. */
static const char *const schema[] = {
    ("CREATE TABLE object ("
     " id INTEGER PRIMARY KEY,"
     " kind INTEGER NOT NULL,"
     " uuid BLOB NOT NULL CHECK (length(uuid) = 16),"
     " name TEXT NOT NULL,"
     " autostart INTEGER NOT NULL DEFAULT 0,"
     " document TEXT NOT NULL,"
     " extra BLOB);"
     "CREATE UNIQUE INDEX object_uuid ON object (kind, uuid);"
     "CREATE UNIQUE INDEX object_name ON object (kind, name);"),
};

static const char *const statements[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_SAVEPOINT] = "SAVEPOINT change",
    [STATEMENT_ROLLBACK_TO] = "ROLLBACK TO change",
    [STATEMENT_RELEASE] = "RELEASE change",
    [STATEMENT_PUT] = ("INSERT INTO object (kind, uuid, name, autostart, document, extra)"
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                       " ON CONFLICT (kind, uuid) DO UPDATE SET name = ?3, autostart = ?4,"
                       " document = ?5, extra = ?6"),
    [STATEMENT_DELETE] = "DELETE FROM object WHERE kind = ?1 AND uuid = ?2",
    [STATEMENT_SET_AUTOSTART] = "UPDATE object SET autostart = ?4 WHERE kind = ?1 AND uuid = ?2",
    [STATEMENT_SET_EXTRA] = "UPDATE object SET extra = ?6 WHERE kind = ?1 AND uuid = ?2",
    [STATEMENT_READ_DOCUMENT] = "SELECT document FROM object WHERE kind = ?1 AND uuid = ?2",
    [STATEMENT_READ_EXTRA] = "SELECT extra FROM object WHERE kind = ?1 AND uuid = ?2",
    [STATEMENT_EACH] = ("SELECT uuid, name, document, autostart, extra FROM object"
                        " WHERE kind = ?1 ORDER BY name"),
};

int state_error(struct state_connection *c, int result, const char *what, struct kv_error *err)
{
    static const struct {
        int sqlite, code;
    } codes[] = {{SQLITE_FULL, ENOSPC},       {SQLITE_NOMEM, ENOMEM},    {SQLITE_READONLY, EROFS},
                 {SQLITE_CONSTRAINT, EEXIST}, {SQLITE_TOOBIG, E2BIG},    {SQLITE_BUSY, EBUSY},
                 {SQLITE_PERM, EACCES},       {SQLITE_CANTOPEN, EACCES}, {SQLITE_CORRUPT, EUCLEAN},
                 {SQLITE_NOTADB, EUCLEAN}};
    int code = EIO;
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (codes[i].sqlite == (result & 0xff))
            code = codes[i].code;
    return kv_error_set(err, KV_ERR_BASE, code, "state database: %s: %s", what,
                        c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(result));
}

sqlite3_stmt *state_statement(struct state_connection *c, enum state_statement which,
                              struct kv_error *err)
{
    sqlite3_stmt **statement = &c->statements[which];
    if (!*statement) {
        int result = sqlite3_prepare_v3(c->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT,
                                        statement, NULL);
        if (result != SQLITE_OK) {
            state_error(c, result, "prepare", err);
            return NULL;
        }
        return *statement;
    }
    sqlite3_reset(*statement);
    sqlite3_clear_bindings(*statement);
    return *statement;
}

static void connection_close(struct state_connection *c)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(c->statements[i]);
    sqlite3_close(c->db);
    memset(c, 0, sizeof(*c));
}

static int connection_run(struct state_connection *c, const char *sql, struct kv_error *err)
{
    int result = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : state_error(c, result, sql, err);
}

/* The first column of the first row, as a number. */
static int connection_number(struct state_connection *c, const char *sql, int *out,
                             struct kv_error *err)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *out = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return result == SQLITE_ROW ? 0 : state_error(c, result, sql, err);
}

static int connection_open(struct state_connection *c, const char *path, int flags,
                           struct kv_error *err)
{
    int result = sqlite3_open_v2(path, &c->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK)
        return state_error(c, result, path, err);
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, 10000);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* 64 pages of 4 KiB: what the system caches, is not worth caching again. */
    return connection_run(c, "PRAGMA cache_size = 64; PRAGMA trusted_schema = OFF", err);
}

static int check_ok(void *ok, int columns, char **values, char **names)
{
    if (columns < 1 || !values[0] || strcmp(values[0], "ok") != 0)
        *(bool *)ok = false;
    return 0;
}

static int refuse_damaged(const struct state *state, const char *why, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BASE, EUCLEAN,
                        "state database '%s' is damaged (%s): restore it from a backup, or move it "
                        "away to begin with an empty one",
                        state->path, why);
}

static int check_integrity(struct state *state, struct kv_error *err)
{
    bool ok = true;
    int result = sqlite3_exec(state->writer.db, "PRAGMA quick_check(1)", check_ok, &ok, NULL);
    if (result == SQLITE_OK && ok)
        return 0;
    return refuse_damaged(state, result == SQLITE_OK ? "a check fails" : sqlite3_errstr(result),
                          err);
}

/* Brings the schema to the newest version, in one transaction. */
static int upgrade(struct state *state, struct kv_error *err)
{
    struct state_connection *c = &state->writer;
    const int newest = (int)ARRAY_SIZE(schema);
    int version = 0, application = 0;
    int ret = connection_number(c, "PRAGMA user_version", &version, err);
    if (!ret)
        ret = connection_number(c, "PRAGMA application_id", &application, err);
    if (ret)
        return ret;
    if (version > newest || version < 0 || (version > 0 && application != APPLICATION_ID))
        return kv_error_set(err, KV_ERR_BASE, ENOTSUP,
                            "state database '%s' has version %d of application 0x%x; versions up "
                            "to %d of 0x%x are supported",
                            state->path, version, (unsigned)application, newest, APPLICATION_ID);
    if (version == newest)
        return 0;
    ret = connection_run(c, "BEGIN IMMEDIATE", err);
    for (int n = version; !ret && n < newest; n++)
        ret = connection_run(c, schema[n], err);
    if (!ret) {
        char sql[96];
        snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
                 APPLICATION_ID, newest);
        ret = connection_run(c, sql, err);
    }
    return ret;
}

/* Creates the directory and takes it for this process. */
static int take_directory(struct state *state, const char *dir, struct kv_error *err)
{
    cleanup_free char *lock_path = NULL;
    if (asprintf(&lock_path, "%s/state.lock", dir) < 0 ||
        asprintf(&state->path, "%s/kvasir.db", dir) < 0)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "state directory '%s'", dir);
    if (mkdir(dir, 0700) && errno != EEXIST)
        return kv_error_errno(err, KV_ERR_BASE, errno, "state directory '%s'", dir);
    state->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (state->lock_fd < 0)
        return kv_error_errno(err, KV_ERR_BASE, errno, "open '%s'", lock_path);
    int rc = flock(state->lock_fd, LOCK_EX | LOCK_NB);
    for (int i = 0; rc && errno == EWOULDBLOCK && i < LOCK_TRIES; i++) {
        poll(NULL, 0, LOCK_PAUSE_MS);
        rc = flock(state->lock_fd, LOCK_EX | LOCK_NB);
    }
    if (rc)
        return kv_error_set(err, KV_ERR_BASE, EBUSY,
                            "state directory '%s' is used by another kvasird", dir);
    return 0;
}

static int open_database(struct state *state, struct kv_error *err)
{
    int ret = connection_open(&state->writer, state->path,
                              SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (ret)
        return ret;
    /* Secrets are in here. */
    if (chmod(state->path, 0600))
        return kv_error_errno(err, KV_ERR_BASE, errno, "chmod '%s'", state->path);
    ret = check_integrity(state, err);
    if (!ret)
        ret = connection_run(&state->writer,
                             "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                             "PRAGMA secure_delete = FAST; PRAGMA journal_size_limit = 8388608",
                             err);
    if (!ret)
        ret = upgrade(state, err);
    if (!ret)
        ret = connection_open(&state->reader, state->path, SQLITE_OPEN_READWRITE, err);
    return ret;
}

int state_open(struct state **out, const char *dir, struct kv_error *err)
{
    struct state *state = calloc(1, sizeof(*state));
    if (!state)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "state");
    state->lock_fd = -1;
    state->last = &state->first;
    pthread_mutex_init(&state->read_lock, NULL);
    pthread_mutex_init(&state->lock, NULL);
    pthread_cond_init(&state->written, NULL);
    int ret = take_directory(state, dir, err);
    if (!ret) {
        ret = open_database(state, err);
        if (ret == -EUCLEAN && !strstr(err->message, state->path))
            refuse_damaged(state, "SQLite cannot read it", err);
    }
    if (ret) {
        state_close(state);
        return ret;
    }
    *out = state;
    return 0;
}

void state_close(struct state *state)
{
    if (!state)
        return;
    connection_close(&state->reader);
    connection_close(&state->writer);
    if (state->lock_fd >= 0)
        close(state->lock_fd);
    pthread_cond_destroy(&state->written);
    pthread_mutex_destroy(&state->lock);
    pthread_mutex_destroy(&state->read_lock);
    free(state->path);
    free(state);
}

/* The one column of the one row of kind and uuid, copied with a NUL behind it. *data stays NULL for
 * a NULL in the database. */
static int read_column(struct state *state, enum state_statement which, enum state_kind kind,
                       const uint8_t uuid[16], char **data, size_t *len, struct kv_error *err)
{
    *data = NULL;
    *len = 0;
    pthread_mutex_lock(&state->read_lock);
    int ret = -EIO;
    sqlite3_stmt *s = state_statement(&state->reader, which, err);
    if (s) {
        sqlite3_bind_int(s, 1, (int)kind);
        sqlite3_bind_blob(s, 2, uuid, 16, SQLITE_STATIC);
        int result = sqlite3_step(s);
        if (result == SQLITE_DONE) {
            ret = kv_error_set(err, KV_ERR_BASE, ENOENT, "state database: no such object");
        } else if (result != SQLITE_ROW) {
            ret = state_error(&state->reader, result, "read", err);
        } else {
            const void *bytes = sqlite3_column_blob(s, 0);
            size_t size = (size_t)sqlite3_column_bytes(s, 0);
            ret = 0;
            if (bytes || sqlite3_column_type(s, 0) != SQLITE_NULL) {
                *data = malloc(size + 1);
                if (*data) {
                    memcpy(*data, bytes ? bytes : "", size);
                    (*data)[size] = '\0';
                    *len = size;
                } else {
                    ret = kv_error_errno(err, KV_ERR_BASE, ENOMEM, "state database");
                }
            }
        }
        sqlite3_reset(s);
    }
    pthread_mutex_unlock(&state->read_lock);
    return ret;
}

int state_read_document(struct state *state, enum state_kind kind, const uint8_t uuid[16],
                        char **document, struct kv_error *err)
{
    size_t len;
    return read_column(state, STATEMENT_READ_DOCUMENT, kind, uuid, document, &len, err);
}

int state_read_extra(struct state *state, enum state_kind kind, const uint8_t uuid[16],
                     void **extra, size_t *len, struct kv_error *err)
{
    char *data;
    int ret = read_column(state, STATEMENT_READ_EXTRA, kind, uuid, &data, len, err);
    *extra = data;
    return ret;
}

int state_each(struct state *state, enum state_kind kind,
               int (*fn)(void *opaque, const struct state_object *object), void *opaque,
               struct kv_error *err)
{
    pthread_mutex_lock(&state->read_lock);
    int ret = -EIO;
    sqlite3_stmt *s = state_statement(&state->reader, STATEMENT_EACH, err);
    if (s) {
        sqlite3_bind_int(s, 1, (int)kind);
        int result;
        ret = 0;
        while (!ret && (result = sqlite3_step(s)) != SQLITE_DONE) {
            if (result != SQLITE_ROW) {
                ret = state_error(&state->reader, result, "read", err);
                break;
            }
            struct state_object object = {
                .kind = kind,
                .name = (const char *)sqlite3_column_text(s, 1),
                .document = (const char *)sqlite3_column_text(s, 2),
                .autostart = sqlite3_column_int(s, 3) != 0,
                .extra = sqlite3_column_blob(s, 4),
                .extra_len = (size_t)sqlite3_column_bytes(s, 4),
            };
            if (sqlite3_column_bytes(s, 0) != sizeof(object.uuid) || !object.name ||
                !object.document) {
                ret = kv_error_set(err, KV_ERR_BASE, EIO, "state database: malformed object");
                break;
            }
            memcpy(object.uuid, sqlite3_column_blob(s, 0), sizeof(object.uuid));
            ret = fn(opaque, &object);
        }
        sqlite3_reset(s);
    }
    pthread_mutex_unlock(&state->read_lock);
    return ret;
}
