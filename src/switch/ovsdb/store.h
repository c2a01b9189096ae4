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

#endif
