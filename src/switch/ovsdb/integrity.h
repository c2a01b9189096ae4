/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What holds between rows when a transaction ends (RFC 7047, 3.2); for database.c. */
#ifndef KV_SWITCH_OVSDB_INTEGRITY_H
#define KV_SWITCH_OVSDB_INTEGRITY_H

#include "switch/ovsdb/database.h"

/* Deletes rows that nothing refers to any more and weak references to what is gone; then an error
 * when a strong reference leads nowhere, or a limit or an index is broken. */
json_t *integrity_enforce(struct database *db);

#endif
