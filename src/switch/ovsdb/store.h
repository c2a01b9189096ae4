/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The database's file: an SQLite database (WAL) with the rows as JSON. A transaction is on disk
 * before its client gets the answer. For the control thread.
 */
#ifndef KV_SWITCH_OVSDB_STORE_H
#define KV_SWITCH_OVSDB_STORE_H

#include "base/error.h"
#include "switch/ovsdb/database.h"

struct store;

/* Opens or creates the file, puts its rows into the empty database, and keeps what is committed
 * from then on. -EBUSY: another process has it; -EINVAL: it is no such file. */
int store_open(struct store **out, const char *file, struct database *db, struct kv_error *err);
/* NULL: nothing. */
void store_close(struct store *store);

/* Another process may open the file until store_resume(), which waits for it to be done. NULL:
 * nothing. */
void store_release(struct store *store);
int store_resume(struct store *store, struct kv_error *err);

/* What is kept of the rows: {UUID: {"table", "columns"}}, oldest first; into an empty database. */
json_t *store_describe(const struct database *db);
int store_restore(struct database *db, const json_t *rows, struct kv_error *err);

#endif
