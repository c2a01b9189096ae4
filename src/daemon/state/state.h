/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's durable state: one SQLite database (WAL) in the state directory.
 * It holds definitions (domains, secrets, later networks, pools, ...): what has
 * to come back after the daemon, or the host, was down. What runs is recorded
 * by daemon/machine, below the run directory.
 *
 * A change is a transaction of its own, on disk before the call returns. Changes
 * that arrive from several threads at once share one sync: the first caller
 * becomes the writer for all that wait (group commit).
 *
 * All functions block on the disk and may be called from any thread, several at
 * once, except state_open() and state_close(). Documents are read from the
 * database when they are asked for, so that a definition costs no memory.
 */
#ifndef KV_DAEMON_STATE_STATE_H
#define KV_DAEMON_STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct state;

/* Numbers are stored: never reuse one. */
enum state_kind {
    STATE_DOMAIN = 1,
    STATE_SECRET = 2,
    STATE_NETWORK = 3,
    STATE_POOL = 4,
    STATE_NWFILTER = 5,
    STATE_SNAPSHOT = 6,
    STATE_CHECKPOINT = 7,
};

/* One definition. uuid is its key within its kind; the name is unique within its kind, too. */
struct state_object {
    enum state_kind kind;
    uint8_t uuid[16];
    const char *name;
    const char *document; /* XML */
    bool autostart;
    const void *extra; /* what does not belong into the document (a secret's value); may be NULL */
    size_t extra_len;
};

/*
 * Opens or creates DIR/kvasir.db (and DIR, mode 0700), repairs what a crash left
 * and brings an older schema up to date. Refused: a directory another daemon
 * uses (-EBUSY), a database that is damaged or made by a newer version.
 */
int state_open(struct state **out, const char *dir, struct kv_error *err);
void state_close(struct state *state);

enum state_operation {
    STATE_PUT,           /* inserts or replaces the whole object */
    STATE_DELETE,        /* by kind and uuid; -ENOENT when there is none */
    STATE_SET_AUTOSTART, /* by kind and uuid; -ENOENT */
    STATE_SET_EXTRA,     /* by kind and uuid; -ENOENT */
};

struct state_change {
    enum state_operation operation;
    struct state_object object; /* the fields that the operation needs */
};

/* Carries all of the changes out, or none: 0, -EEXIST when the name belongs to another uuid,
 * -ENOENT as above, or what the disk says. On disk when it returns 0. */
int state_apply(struct state *state, const struct state_change *changes, size_t count,
                struct kv_error *err);

/* state_apply() of one change. */
int state_put(struct state *state, const struct state_object *object, struct kv_error *err);
int state_delete(struct state *state, enum state_kind kind, const uint8_t uuid[16],
                 struct kv_error *err);
int state_set_autostart(struct state *state, enum state_kind kind, const uint8_t uuid[16],
                        bool autostart, struct kv_error *err);

/* *document becomes a copy to free(). -ENOENT when there is none. */
int state_read_document(struct state *state, enum state_kind kind, const uint8_t uuid[16],
                        char **document, struct kv_error *err);

/* *extra becomes a copy to free(); NULL and 0 when it has none. -ENOENT. */
int state_read_extra(struct state *state, enum state_kind kind, const uint8_t uuid[16],
                     void **extra, size_t *len, struct kv_error *err);

/* Calls fn for each object of the kind, by name; the object is valid during the call. Ends early
 * with what fn returns when that is not 0. fn must not call functions of this header. */
int state_each(struct state *state, enum state_kind kind,
               int (*fn)(void *opaque, const struct state_object *object), void *opaque,
               struct kv_error *err);

#endif
