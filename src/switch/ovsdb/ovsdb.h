/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The switch under Open vSwitch's tools: a database server whose rows and the switch are kept the
 * same. What a client commits is carried out (reconcile.c) before its next request is read, and
 * the outcome is written to the rows (status.c). What the switch's own control socket changes
 * goes into the rows (reflect.c). Everything is for the control thread.
 */
#ifndef KV_SWITCH_OVSDB_OVSDB_H
#define KV_SWITCH_OVSDB_OVSDB_H

#include "switch/control/vswitch.h"
#include "switch/ovsdb/server.h"
#include "switch/ovsdb/store.h"
#include "switch/ports/inherited.h"

struct ovsdb {
    struct vswitch *sw;
    struct database db;
    struct ovsdb_server server;
    struct store *store; /* NULL: rows end with the process */
    char *run_dir;       /* where the socket lies */
    const char *socket;
    bool applying;    /* the switch is being changed by the database */
    bool reporting;   /* the database is being told by the switch */
    bool pending;     /* clients changed the database since the switch was last made so */
    json_t *bridges;  /* what the switch was made to be: {name: object} */
    json_t *ports;    /* likewise */
    json_t *exports;  /* likewise: {bridge: {column: object}} */
    json_t *failures; /* what could not be done: {name of the interface: why} */
    json_t *troubles; /* likewise, of bridges */
    struct loop_timer refresh;
    int64_t refreshed_ns;
};

/* Serves the database at socket; file: where it is kept, or NULL: rows are those that another
 * process gave (ovsdb_give), or NULL. The switch becomes what they say; all must outlive it. */
int ovsdb_start(struct ovsdb *ovsdb, struct vswitch *sw, const char *socket, const char *file,
                const json_t *rows, struct kv_error *err);
void ovsdb_stop(struct ovsdb *ovsdb);

/* For the next process (ports/inherited.h): the rows, and the file is let go; and if that one does
 * not want it, on it goes. */
json_t *ovsdb_give(struct ovsdb *ovsdb, struct bequest *bequest);
void ovsdb_resume(struct ovsdb *ovsdb);

/* The one row of the table Open_vSwitch. */
struct row *ovsdb_root(const struct ovsdb *ovsdb);

/* The row that a reference leads to. */
struct row *ovsdb_follow(const struct database *db, const char *table, const union atom *reference);

/* Calls fn for each interface with its port and bridge. */
void ovsdb_each_interface(const struct ovsdb *ovsdb,
                          void (*fn)(void *opaque, struct row *bridge, struct row *port,
                                     struct row *interface),
                          void *opaque);

/* reconcile.c: makes the switch what the rows say, and then the rows say how that went. */
void ovsdb_reconcile(struct ovsdb *ovsdb);
/* Logs why something could not be done, and keeps it in one of the lists above. */
void ovsdb_remember(json_t *list, const char *what, const char *name, const char *why);
/* The port is as the rows say already. */
void ovsdb_adopt_port(struct ovsdb *ovsdb, struct row *bridge, struct row *port,
                      struct row *interface);

/* export.c: sFlow, NetFlow and IPFIX, in both directions. */
void ovsdb_reconcile_exports(struct ovsdb *ovsdb);
void ovsdb_reflect_export(struct ovsdb *ovsdb, struct row *bridge, enum vswitch_change change,
                          const json_t *object);

/* qos.c: queues of ports, in both directions. */
void ovsdb_reconcile_qos(struct ovsdb *ovsdb);
void ovsdb_reflect_qos(struct ovsdb *ovsdb, struct row *port, const json_t *object);
/* A key of a QoS' or Queue's other_config that is not served, or NULL. */
const char *ovsdb_qos_unserved(const struct row *row);

/* status.c: columns that the switch fills in. */
void ovsdb_write_status(struct ovsdb *ovsdb);

/* reflect.c: the vswitch's changed(). */
void ovsdb_reflect(void *ovsdb, enum vswitch_change change, const json_t *object);

#endif
