/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a client is told of changes (RFC 7047, 4.1.5 and 4.1.6; monitor_cond and
 * monitor_cond_since as ovsdb-server(7) describes them).
 */
#ifndef KV_SWITCH_OVSDB_MONITOR_H
#define KV_SWITCH_OVSDB_MONITOR_H

#include "switch/ovsdb/condition.h"

enum monitor_dialect {
    MONITOR_PLAIN, /* "update": rows as they were and are */
    MONITOR_COND,  /* "update2": conditions, and differences only */
    MONITOR_SINCE, /* "update3": with the transaction's UUID */
};

struct monitored;

struct monitor {
    struct list node; /* among the client's */
    enum monitor_dialect dialect;
    json_t *id;
    struct monitored *tables; /* by table */
};

/* params: of the request. NULL with *error when it asks for what cannot be. */
struct monitor *monitor_new(enum monitor_dialect dialect, const json_t *params, json_t **error);
void monitor_free(struct monitor *monitor);

/* The request's result. */
json_t *monitor_initial(const struct monitor *monitor, const struct database *db);
/* The notification of what the transaction changed, or NULL; while it is committed. */
json_t *monitor_changes(const struct monitor *monitor, const struct database *db);

#endif
