/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which rows an operation is about (RFC 7047, 5.1: <condition>), and how it changes them
 * (<mutation>). */
#ifndef KV_SWITCH_OVSDB_CONDITION_H
#define KV_SWITCH_OVSDB_CONDITION_H

#include "switch/ovsdb/database.h"

struct condition {
    bool constant, holds; /* true or false itself, whatever the row */
    unsigned column;
    const struct condition_function *function;
    struct datum value;
};

/* All of them hold. */
struct conditions {
    const struct table *table;
    unsigned count;
    struct condition *list;
};

/* where: a list of conditions; NULL: every row. Freed in any case. */
json_t *conditions_parse(struct conditions *conditions, const struct table *table,
                         const json_t *where, struct uuid_names *names);
void conditions_free(struct conditions *conditions);
/* datums: a row's. */
bool conditions_match(const struct conditions *conditions, const struct datum *datums);
/* The row that they name by its UUID, when they do: *row is it, or NULL. */
bool conditions_name_row(const struct conditions *conditions, const struct database *db,
                         struct row **row);

/* mutation: [column, mutator, value]. */
json_t *mutation_apply(struct database *db, struct row *row, const json_t *mutation,
                       struct uuid_names *names);

#endif
