/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What state.c (opening, reading) and state_commit.c (changing) share. */
#ifndef KV_DAEMON_STATE_STATE_INTERNAL_H
#define KV_DAEMON_STATE_STATE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "daemon/state/state.h"

enum state_statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_SAVEPOINT,
    STATEMENT_ROLLBACK_TO,
    STATEMENT_RELEASE,
    STATEMENT_PUT,
    STATEMENT_DELETE,
    STATEMENT_SET_AUTOSTART,
    STATEMENT_SET_EXTRA,
    STATEMENT_READ_DOCUMENT,
    STATEMENT_READ_EXTRA,
    STATEMENT_EACH,
    STATEMENT_COUNT,
};

/* Used by one thread at a time. Statements are prepared when they are first needed. */
struct state_connection {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

struct state_pending;

struct state {
    int lock_fd; /* flock()ed while the directory is ours */
    char *path;

    pthread_mutex_t read_lock; /* of reader */
    struct state_connection reader;

    pthread_mutex_t lock; /* of what follows; writer belongs to who set writing */
    pthread_cond_t written;
    bool writing;
    struct state_pending *first, **last; /* changes that wait */
    struct state_connection writer;
};

/* The statement, reset and without bindings. NULL with err filled. */
sqlite3_stmt *state_statement(struct state_connection *c, enum state_statement which,
                              struct kv_error *err);

/* Fills err with what SQLite says about result and returns -errno nearest in meaning. */
int state_error(struct state_connection *c, int result, const char *what, struct kv_error *err);

#endif
