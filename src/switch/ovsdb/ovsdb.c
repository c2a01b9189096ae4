/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The database and the switch brought together; see ovsdb.h. */
#include "switch/ovsdb/ovsdb.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "switch/ovsdb/spec.h"
#include "switch/ovsdb/supported.h"

#define REFRESH_NS 5000000000     /* while somebody is told of counters */
#define REFRESH_LEAST_NS 50000000 /* when somebody comes to look */

struct row *ovsdb_root(const struct ovsdb *ovsdb)
{
    struct row *root = NULL;
    database_each (&ovsdb->db, ovsdb_find_table(OVSDB_NAME), row)
        root = row;
    return root;
}

struct row *ovsdb_follow(const struct database *db, const char *table, const union atom *reference)
{
    return database_find(db, ovsdb_find_table(table), &reference->uuid);
}

void ovsdb_each_interface(const struct ovsdb *ovsdb,
                          void (*fn)(void *opaque, struct row *bridge, struct row *port,
                                     struct row *interface),
                          void *opaque)
{
    const struct database *db = &ovsdb->db;
    database_each (db, ovsdb_find_table("Bridge"), bridge) {
        const struct datum *ports = row_get(bridge, "ports");
        for (unsigned i = 0; i < ports->count; i++) {
            struct row *port = ovsdb_follow(db, "Port", &ports->keys[i]);
            const struct datum *interfaces = port ? row_get(port, "interfaces") : NULL;
            for (unsigned j = 0; interfaces && j < interfaces->count; j++) {
                struct row *interface = ovsdb_follow(db, "Interface", &interfaces->keys[j]);
                if (interface)
                    fn(opaque, bridge, port, interface);
            }
        }
    }
}

/* --- Counters for who looks ------------------------------------------------ */

static void on_timer(void *opaque);

static void refresh(void *opaque)
{
    struct ovsdb *ovsdb = opaque;
    if (clock_monotonic_ns() - ovsdb->refreshed_ns >= REFRESH_LEAST_NS)
        ovsdb_write_status(ovsdb);
    loop_timer_arm(&ovsdb->sw->loop, &ovsdb->refresh, REFRESH_NS, on_timer, ovsdb);
}

static void on_timer(void *opaque)
{
    struct ovsdb *ovsdb = opaque;
    if (!ovsdb_server_is_watched(&ovsdb->server))
        return;
    refresh(ovsdb);
    ovsdb_server_settle(&ovsdb->server);
    ovsdb_server_flush(&ovsdb->server);
}

/* --- Commits --------------------------------------------------------------- */

static void committed(void *opaque, const struct database *db)
{
    struct ovsdb *ovsdb = opaque;
    ovsdb->pending |= !ovsdb->reporting;
}

static void settle(void *opaque)
{
    struct ovsdb *ovsdb = opaque;
    if (!ovsdb->pending)
        return;
    ovsdb->pending = false;
    ovsdb_reconcile(ovsdb);
}

/* --- Start and end --------------------------------------------------------- */

static void set_names(struct ovsdb *ovsdb, struct row *root, const char *column,
                      const char *const *names)
{
    int index = ovsdb_find_column(root->table, column);
    const struct column_type *type = &root->table->columns[index].type;
    struct datum set, one;
    datum_init_string(&set, NULL);
    for (unsigned i = 0; names[i]; i++) {
        datum_init_string(&one, names[i]);
        datum_union(&set, &one, type);
        datum_free(&one, type);
    }
    database_set(&ovsdb->db, root, (unsigned)index, &set);
}

/* The row that everything hangs on, and what it says of the switch. */
static int make_root(struct ovsdb *ovsdb, struct kv_error *err)
{
    static const char *const datapaths[] = {"system", "netdev", NULL};
    struct row *root = ovsdb_root(ovsdb);
    if (!root) {
        struct uuid uuid;
        uuid_generate(&uuid);
        root = database_insert(&ovsdb->db, ovsdb_find_table(OVSDB_NAME), &uuid);
    }
    set_names(ovsdb, root, "datapath_types", datapaths);
    set_names(ovsdb, root, "iface_types", spec_interface_types);
    json_t *error = database_commit(&ovsdb->db);
    if (!error)
        return 0;
    kv_error_set(err, KV_ERR_CONTROL, EIO, "%s",
                 json_string_value(json_object_get(error, "details")));
    json_decref(error);
    return -EIO;
}

static int listen_at(struct ovsdb *ovsdb, const char *socket, struct kv_error *err)
{
    /* Below /var/run nothing is there after a start of the host. */
    if (mkdir(ovsdb->run_dir, 0755) < 0 && errno != EEXIST)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "--ovsdb: folder '%s'", ovsdb->run_dir);
    int fd = inherited_listen_unix(socket, err);
    if (fd < 0)
        return kv_error_prefix(err, "--ovsdb");
    ovsdb->socket = socket;
    int rc = ovsdb_server_init(&ovsdb->server, &ovsdb->sw->loop, &ovsdb->db, fd, err);
    ovsdb->server.durable = ovsdb->store != NULL;
    ovsdb->server.refresh = refresh;
    ovsdb->server.settle = settle;
    ovsdb->server.opaque = ovsdb;
    return rc;
}

int ovsdb_start(struct ovsdb *ovsdb, struct vswitch *sw, const char *socket, const char *file,
                const json_t *rows, struct kv_error *err)
{
    char *copy = strdup(socket);
    *ovsdb = (struct ovsdb){.sw = sw, .server = {.fd = -1}};
    ovsdb->run_dir = copy ? strdup(dirname(copy)) : NULL;
    free(copy);
    ovsdb->bridges = json_object();
    ovsdb->ports = json_object();
    ovsdb->exports = json_object();
    ovsdb->failures = json_object();
    ovsdb->troubles = json_object();
    list_init(&ovsdb->server.clients);
    database_init(&ovsdb->db);
    if (!ovsdb->run_dir)
        return kv_error_errno(err, KV_ERR_CONTROL, ENOMEM, "--ovsdb");
    int rc = file   ? store_open(&ovsdb->store, file, &ovsdb->db, err)
             : rows ? store_restore(&ovsdb->db, rows, err)
                    : 0;
    if (rc == 0)
        rc = make_root(ovsdb, err);
    if (rc == 0)
        rc = listen_at(ovsdb, socket, err);
    if (rc < 0)
        return rc;
    database_watch(&ovsdb->db, (struct database_watcher){.check = supported_check,
                                                         .committed = committed,
                                                         .opaque = ovsdb});
    ovsdb_reconcile(ovsdb);
    sw->changed = ovsdb_reflect;
    sw->changed_opaque = ovsdb;
    return 0;
}

json_t *ovsdb_give(struct ovsdb *ovsdb, struct bequest *bequest)
{
    bequest_add_named(bequest, INHERITED_LISTENER, ovsdb->socket, ovsdb->server.fd);
    store_release(ovsdb->store);
    return store_describe(&ovsdb->db);
}

void ovsdb_resume(struct ovsdb *ovsdb)
{
    struct kv_error err = {0};
    /* Transactions are refused then, as nobody would find them again. */
    if (store_resume(ovsdb->store, &err) < 0)
        log_error("ovsdb: %s", err.message);
}

void ovsdb_stop(struct ovsdb *ovsdb)
{
    if (!ovsdb->sw)
        return;
    ovsdb->sw->changed = NULL;
    loop_timer_cancel(&ovsdb->refresh);
    ovsdb_server_destroy(&ovsdb->server);
    if (ovsdb->socket)
        unlink(ovsdb->socket);
    database_free(&ovsdb->db);
    store_close(ovsdb->store);
    json_decref(ovsdb->bridges);
    json_decref(ovsdb->ports);
    json_decref(ovsdb->exports);
    json_decref(ovsdb->failures);
    json_decref(ovsdb->troubles);
    free(ovsdb->run_dir);
    *ovsdb = (struct ovsdb){0};
}
