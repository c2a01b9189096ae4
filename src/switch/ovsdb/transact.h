/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client's transaction: operations of RFC 7047, 5.2, carried out in order, all or none. */
#ifndef KV_SWITCH_OVSDB_TRANSACT_H
#define KV_SWITCH_OVSDB_TRANSACT_H

#include "switch/ovsdb/database.h"

#define TRANSACT_OPERATIONS_MAX 16384
#define TRANSACT_BYTES_MAX (256 << 20) /* of values that operations read and write */

struct transact {
    struct database *db;
    /* Whether the client owns the lock ("assert"). */
    bool (*owns_lock)(void *opaque, const char *lock);
    void *opaque;
    bool durable;      /* commits outlive the process ("commit" may ask for it) */
    int64_t waited_ms; /* since the transaction was tried first */
    size_t spent;      /* of TRANSACT_BYTES_MAX */
    /* Filled in: an operation "wait" could not be satisfied yet and nothing was changed; it may be
     * tried again when the database has changed, and is to be after that time (-1: none). */
    bool must_wait;
    int64_t wait_ms;
};

/* params: of the request. The result (a new reference; maybe with errors inside), or NULL when
 * must_wait, or with *error when params is nothing that can be carried out. */
json_t *transact_run(struct transact *transact, const json_t *params, json_t **error);

#endif
