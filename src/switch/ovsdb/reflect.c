/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Puts into the rows what the switch's own control socket, or its configuration file, changed;
 * see ovsdb.h. */
#include <string.h>

#include "base/log.h"
#include "switch/forward/bridge.h"
#include "switch/ovsdb/ovsdb.h"
#include "switch/ovsdb/spec.h"

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static struct row *find_by_name(struct ovsdb *ovsdb, const char *table, const char *name)
{
    struct row *found = NULL;
    database_each (&ovsdb->db, ovsdb_find_table(table), row) {
        if (strcmp(row_string(row, "name"), name) == 0)
            found = row;
    }
    return found;
}

static struct row *insert(struct ovsdb *ovsdb, const char *table, const char *name)
{
    struct uuid uuid;
    struct datum datum;
    uuid_generate(&uuid);
    struct row *row = database_insert(&ovsdb->db, ovsdb_find_table(table), &uuid);
    datum_init_string(&datum, name);
    row_set(&ovsdb->db, row, "name", datum);
    return row;
}

/* The set of references in the row's column has the other row, or has not. */
static void refer(struct ovsdb *ovsdb, struct row *row, const char *column, const struct row *other,
                  bool on)
{
    int index = ovsdb_find_column(row->table, column);
    const struct column_type *type = &row->table->columns[index].type;
    struct datum set, one;
    datum_clone(&set, &row->now[index], type);
    datum_init_uuid(&one, &other->uuid);
    if (on)
        datum_union(&set, &one, type);
    else
        datum_subtract(&set, &one, type, false);
    datum_free(&one, type);
    database_set(&ovsdb->db, row, (unsigned)index, &set);
}

/* --- What changed ---------------------------------------------------------- */

static void add_bridge(struct ovsdb *ovsdb, const json_t *object)
{
    struct row *bridge = insert(ovsdb, "Bridge", text(object, "name"));
    spec_to_bridge(&ovsdb->db, bridge, object);
    refer(ovsdb, ovsdb_root(ovsdb), "bridges", bridge, true);
    json_object_set_new(ovsdb->bridges, text(object, "name"), spec_of_bridge(bridge));
}

static void set_bridge(struct ovsdb *ovsdb, const json_t *object)
{
    struct row *bridge = find_by_name(ovsdb, "Bridge", text(object, "name"));
    if (!bridge)
        return;
    spec_to_bridge(&ovsdb->db, bridge, object);
    json_object_set_new(ovsdb->bridges, text(object, "name"), spec_of_bridge(bridge));
}

static void remove_bridge(struct ovsdb *ovsdb, const json_t *object)
{
    struct row *bridge = find_by_name(ovsdb, "Bridge", text(object, "name"));
    json_object_del(ovsdb->bridges, text(object, "name"));
    json_object_del(ovsdb->exports, text(object, "name"));
    if (bridge)
        refer(ovsdb, ovsdb_root(ovsdb), "bridges", bridge, false);
}

static void add_port(struct ovsdb *ovsdb, const json_t *object)
{
    struct row *bridge = find_by_name(ovsdb, "Bridge", text(object, "bridge"));
    if (!bridge)
        return;
    struct row *port = insert(ovsdb, "Port", text(object, "name"));
    struct row *interface = insert(ovsdb, "Interface", text(object, "name"));
    struct datum interfaces;
    datum_init_uuid(&interfaces, &interface->uuid);
    row_set(&ovsdb->db, port, "interfaces", interfaces);
    refer(ovsdb, bridge, "ports", port, true);
    spec_to_interface(&ovsdb->db, interface, object);
    spec_to_port(&ovsdb->db, port, interface, object);
    ovsdb_adopt_port(ovsdb, bridge, port, interface);
}

/* The interface's port and the port's bridge. */
struct place {
    const char *name;
    struct row *bridge, *port, *interface;
};

static void is_it(void *opaque, struct row *bridge, struct row *port, struct row *interface)
{
    struct place *place = opaque;
    if (strcmp(row_string(interface, "name"), place->name) != 0)
        return;
    place->bridge = bridge;
    place->port = port;
    place->interface = interface;
}

static struct place find_place(struct ovsdb *ovsdb, const char *name)
{
    struct place place = {.name = name};
    ovsdb_each_interface(ovsdb, is_it, &place);
    return place;
}

static void set_port(struct ovsdb *ovsdb, const json_t *object)
{
    struct place place = find_place(ovsdb, text(object, "name"));
    if (!place.port)
        return;
    spec_to_port(&ovsdb->db, place.port, place.interface, object);
    ovsdb_adopt_port(ovsdb, place.bridge, place.port, place.interface);
}

static void remove_port(struct ovsdb *ovsdb, const json_t *object)
{
    struct place place = find_place(ovsdb, text(object, "name"));
    json_object_del(ovsdb->ports, text(object, "name"));
    if (place.port)
        refer(ovsdb, place.bridge, "ports", place.port, false);
}

/* A mirror of all ports becomes one of each, so that one of them can be left out. */
static void spell_out(struct ovsdb *ovsdb, struct row *mirror, const struct row *bridge)
{
    static const char *const columns[] = {"select_src_port", "select_dst_port"};
    struct datum off;
    if (!row_get(mirror, "select_all")->keys->boolean)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(columns); i++) {
        int index = ovsdb_find_column(mirror->table, columns[i]);
        struct datum all;
        datum_clone(&all, row_get(bridge, "ports"), &mirror->table->columns[index].type);
        database_set(&ovsdb->db, mirror, (unsigned)index, &all);
    }
    datum_init_boolean(&off, false);
    row_set(&ovsdb->db, mirror, "select_all", off);
}

static void leave_out(struct ovsdb *ovsdb, struct row *bridge, const struct row *port)
{
    struct datum mirrors;
    const struct column_type *type =
        &bridge->table->columns[ovsdb_find_column(bridge->table, "mirrors")].type;
    datum_clone(&mirrors, row_get(bridge, "mirrors"), type);
    for (unsigned i = 0; i < mirrors.count; i++) {
        struct row *mirror = ovsdb_follow(&ovsdb->db, "Mirror", &mirrors.keys[i]);
        spell_out(ovsdb, mirror, bridge);
        refer(ovsdb, mirror, "select_src_port", port, false);
        refer(ovsdb, mirror, "select_dst_port", port, false);
        if (!row_get(mirror, "select_src_port")->count &&
            !row_get(mirror, "select_dst_port")->count)
            refer(ovsdb, bridge, "mirrors", mirror, false);
    }
    datum_free(&mirrors, type);
}

static void set_mirror(struct ovsdb *ovsdb, const json_t *object)
{
    struct place place = find_place(ovsdb, text(object, "port")), to = {0};
    const char *direction = text(object, "direction");
    struct datum output;
    if (!place.port)
        return;
    leave_out(ovsdb, place.bridge, place.port);
    if (text(object, "to"))
        to = find_place(ovsdb, text(object, "to"));
    if (!to.port)
        return;
    struct row *mirror = insert(ovsdb, "Mirror", place.name);
    datum_init_uuid(&output, &to.port->uuid);
    row_set(&ovsdb->db, mirror, "output_port", output);
    if (text(object, "vlans"))
        row_set(&ovsdb->db, mirror, "select_vlan", spec_vlan_set(text(object, "vlans")));
    if (!direction || strcmp(direction, vswitch_mirror_names[MIRROR_OUT]) != 0)
        refer(ovsdb, mirror, "select_src_port", place.port, true);
    if (!direction || strcmp(direction, vswitch_mirror_names[MIRROR_IN]) != 0)
        refer(ovsdb, mirror, "select_dst_port", place.port, true);
    refer(ovsdb, place.bridge, "mirrors", mirror, true);
}

static void set_qos(struct ovsdb *ovsdb, const json_t *object)
{
    struct place place = find_place(ovsdb, text(object, "port"));
    if (place.port)
        ovsdb_reflect_qos(ovsdb, place.port, object);
}

static void set_export(struct ovsdb *ovsdb, enum vswitch_change change, const json_t *object)
{
    struct row *bridge = find_by_name(ovsdb, "Bridge", text(object, "bridge"));
    if (bridge)
        ovsdb_reflect_export(ovsdb, bridge, change, object);
}

/* A NULL: set_export(); behind the end: nothing that a column tells. */
static void (*const changes[])(struct ovsdb *ovsdb, const json_t *object) = {
    [VSWITCH_ADD_BRIDGE] = add_bridge,
    [VSWITCH_SET_BRIDGE] = set_bridge,
    [VSWITCH_REMOVE_BRIDGE] = remove_bridge,
    [VSWITCH_ADD_PORT] = add_port,
    [VSWITCH_SET_PORT] = set_port,
    [VSWITCH_REMOVE_PORT] = remove_port,
    [VSWITCH_SET_MIRROR] = set_mirror,
    [VSWITCH_SET_QOS] = set_qos,
    [VSWITCH_SET_IPFIX] = NULL,
};

void ovsdb_reflect(void *opaque, enum vswitch_change change, const json_t *object)
{
    struct ovsdb *ovsdb = opaque;
    if (ovsdb->applying || !ovsdb_root(ovsdb) || change >= ARRAY_SIZE(changes))
        return;
    if (changes[change])
        changes[change](ovsdb, object);
    else
        set_export(ovsdb, change, object);
    json_t *error = database_commit(&ovsdb->db);
    if (error)
        log_error("ovsdb: what the control socket changed is not in the database: %s",
                  json_string_value(json_object_get(error, "details")));
    json_decref(error);
    ovsdb_server_settle(&ovsdb->server);
    ovsdb_server_flush(&ovsdb->server);
}
