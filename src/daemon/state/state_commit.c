/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing the database; see state.h. Who comes while nobody writes becomes the
 * writer of all changes that wait; who comes meanwhile waits and finds its
 * changes done, or is the next writer. Each caller's changes are a savepoint
 * inside the common transaction, so that one caller's error is its own.
 */
#include <errno.h>
#include <string.h>

#include "daemon/state/state.h"
#include "daemon/state/state_internal.h"

/* Lives on the caller's stack. */
struct state_pending {
    struct state_pending *next;
    const struct state_change *changes;
    size_t count;
    bool done;
    int result;
    struct kv_error err;
};

static int run(struct state_connection *c, enum state_statement which, struct kv_error *err)
{
    sqlite3_stmt *s = state_statement(c, which, err);
    if (!s)
        return -EIO;
    int result = sqlite3_step(s);
    int ret = result == SQLITE_DONE ? 0 : state_error(c, result, "write", err);
    sqlite3_reset(s);
    return ret;
}

static int run_change(struct state_connection *c, const struct state_change *change,
                      struct kv_error *err)
{
    static const enum state_statement of_operation[] = {
        [STATE_PUT] = STATEMENT_PUT,
        [STATE_DELETE] = STATEMENT_DELETE,
        [STATE_SET_AUTOSTART] = STATEMENT_SET_AUTOSTART,
        [STATE_SET_EXTRA] = STATEMENT_SET_EXTRA,
    };
    const struct state_object *object = &change->object;
    sqlite3_stmt *s = state_statement(c, of_operation[change->operation], err);
    if (!s)
        return -EIO;
    /* Numbers that a statement does not have are refused and left out. */
    sqlite3_bind_int(s, 1, (int)object->kind);
    sqlite3_bind_blob(s, 2, object->uuid, sizeof(object->uuid), SQLITE_STATIC);
    sqlite3_bind_text(s, 3, object->name, -1, SQLITE_STATIC);
    sqlite3_bind_int(s, 4, object->autostart);
    sqlite3_bind_text(s, 5, object->document, -1, SQLITE_STATIC);
    if (object->extra)
        sqlite3_bind_blob64(s, 6, object->extra, object->extra_len, SQLITE_STATIC);
    int result = sqlite3_step(s);
    int ret = 0;
    if (result == SQLITE_CONSTRAINT_UNIQUE)
        ret = kv_error_set(err, KV_ERR_BASE, EEXIST, "the name '%s' belongs to another object",
                           object->name);
    else if (result != SQLITE_DONE)
        ret = state_error(c, result, "write", err);
    else if (change->operation != STATE_PUT && sqlite3_changes(c->db) == 0)
        ret = kv_error_set(err, KV_ERR_BASE, ENOENT, "state database: no such object");
    sqlite3_reset(s);
    return ret;
}

static void run_changes(struct state_connection *c, struct state_pending *p)
{
    for (size_t i = 0; i < p->count && !p->result; i++)
        p->result = run_change(c, &p->changes[i], &p->err);
}

static void run_pending(struct state_connection *c, struct state_pending *p)
{
    p->result = run(c, STATEMENT_SAVEPOINT, &p->err);
    if (p->result)
        return;
    run_changes(c, p);
    if (p->result)
        run(c, STATEMENT_ROLLBACK_TO, NULL);
    run(c, STATEMENT_RELEASE, NULL);
}

static void write_group(struct state_connection *c, struct state_pending *group)
{
    struct kv_error err = {0};
    int ret = run(c, STATEMENT_BEGIN, &err);
    if (!ret && !group->next) {
        /* Alone in the transaction, which can be taken back as a whole. */
        run_changes(c, group);
        if (group->result)
            run(c, STATEMENT_ROLLBACK, NULL);
        else
            ret = run(c, STATEMENT_COMMIT, &err);
    } else if (!ret) {
        for (struct state_pending *p = group; p; p = p->next)
            run_pending(c, p);
        ret = run(c, STATEMENT_COMMIT, &err);
    }
    if (ret && !sqlite3_get_autocommit(c->db))
        run(c, STATEMENT_ROLLBACK, NULL);
    for (struct state_pending *p = group; ret && p; p = p->next)
        if (!p->result) {
            p->result = ret;
            p->err = err;
        }
}

int state_apply(struct state *state, const struct state_change *changes, size_t count,
                struct kv_error *err)
{
    struct state_pending mine = {.changes = changes, .count = count};
    pthread_mutex_lock(&state->lock);
    *state->last = &mine;
    state->last = &mine.next;
    while (!mine.done && state->writing)
        pthread_cond_wait(&state->written, &state->lock);
    if (!mine.done) {
        struct state_pending *group = state->first;
        state->first = NULL;
        state->last = &state->first;
        state->writing = true;
        pthread_mutex_unlock(&state->lock);
        write_group(&state->writer, group);
        pthread_mutex_lock(&state->lock);
        /* A waiter's entry is on its stack: gone as soon as it sees done and has the lock. */
        for (struct state_pending *p = group; p; p = p->next)
            p->done = true;
        state->writing = false;
        pthread_cond_broadcast(&state->written);
    }
    pthread_mutex_unlock(&state->lock);
    if (mine.result && err)
        *err = mine.err;
    return mine.result;
}

int state_put(struct state *state, const struct state_object *object, struct kv_error *err)
{
    struct state_change change = {STATE_PUT, *object};
    return state_apply(state, &change, 1, err);
}

int state_delete(struct state *state, enum state_kind kind, const uint8_t uuid[16],
                 struct kv_error *err)
{
    struct state_change change = {STATE_DELETE, {.kind = kind}};
    memcpy(change.object.uuid, uuid, sizeof(change.object.uuid));
    return state_apply(state, &change, 1, err);
}

int state_set_autostart(struct state *state, enum state_kind kind, const uint8_t uuid[16],
                        bool autostart, struct kv_error *err)
{
    struct state_change change = {STATE_SET_AUTOSTART, {.kind = kind, .autostart = autostart}};
    memcpy(change.object.uuid, uuid, sizeof(change.object.uuid));
    return state_apply(state, &change, 1, err);
}
