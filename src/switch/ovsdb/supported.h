/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tables can say and the switch cannot do: transactions that ask for it are refused. */
#ifndef KV_SWITCH_OVSDB_SUPPORTED_H
#define KV_SWITCH_OVSDB_SUPPORTED_H

#include "switch/ovsdb/database.h"

/* A database_watcher's check. */
json_t *supported_check(void *opaque, const struct database *db);

#endif
