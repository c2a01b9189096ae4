/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the switch what the rows say; see ovsdb.h. What is there already is left alone, so a
 * change to one port disturbs no other. What cannot be done is remembered by interface or bridge,
 * and tried again with the next transaction.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "switch/control/port_kinds.h"
#include "switch/forward/bridge.h"
#include "switch/ovsdb/ovsdb.h"
#include "switch/ovsdb/spec.h"

void ovsdb_remember(json_t *list, const char *what, const char *name, const char *why)
{
    log_warning("ovsdb: %s '%s': %s", what, name, why);
    json_t *text = json_string(why);
    json_object_set_new(list, name, text ? text : json_string("(not in UTF-8)"));
}

/* --- What is wanted -------------------------------------------------------- */

struct wanted {
    struct ovsdb *ovsdb;
    json_t *bridges, *ports; /* objects by name */
    json_t *numbers;         /* of ports to OpenFlow, that they had before, by name */
};

static void want_port(void *opaque, struct row *bridge, struct row *port, struct row *interface)
{
    struct wanted *wanted = opaque;
    struct kv_error err;
    const char *name = row_string(interface, "name");
    if (spec_is_bond(port))
        json_object_set_new(wanted->ports, row_string(port, "name"), spec_of_bond(bridge, port));
    json_t *object = spec_of_port(bridge, port, interface, wanted->ovsdb->run_dir, &err);
    const struct datum *number = row_get(interface, "ofport");
    if (number->count && number->keys->integer > 0 && number->keys->integer <= BRIDGE_PORTS_MAX)
        json_object_set_new(wanted->numbers, name, json_integer(number->keys->integer));
    if (object)
        json_object_set_new(wanted->ports, name, object);
    else
        ovsdb_remember(wanted->ovsdb->failures, "interface", name, err.message);
}

static void find_wanted(struct wanted *wanted)
{
    const struct database *db = &wanted->ovsdb->db;
    database_each (db, ovsdb_find_table("Bridge"), bridge)
        json_object_set_new(wanted->bridges, row_string(bridge, "name"), spec_of_bridge(bridge));
    ovsdb_each_interface(wanted->ovsdb, want_port, wanted);
}

/* --- Bridges and ports ----------------------------------------------------- */

static bool is_same_port(const json_t *a, const json_t *b)
{
    for (const char *const *fixed = port_fixed_options; *fixed; fixed++) {
        const json_t *x = json_object_get(a, *fixed), *y = json_object_get(b, *fixed);
        if (x != y && !json_equal((json_t *)x, (json_t *)y))
            return false;
    }
    return true;
}

static void remove_ports(struct ovsdb *ovsdb, const struct wanted *wanted)
{
    struct kv_error err;
    const char *name;
    json_t *had;
    void *next;
    json_object_foreach_safe (ovsdb->ports, next, name, had) {
        const json_t *want = json_object_get(wanted->ports, name);
        if (want && is_same_port(want, had))
            continue;
        vswitch_remove_port(ovsdb->sw, name, &err);
        json_object_del(ovsdb->ports, name);
    }
}

static void remove_bridges(struct ovsdb *ovsdb, const struct wanted *wanted)
{
    struct kv_error err;
    const char *name;
    json_t *had;
    void *next;
    json_object_foreach_safe (ovsdb->bridges, next, name, had) {
        if (json_object_get(wanted->bridges, name))
            continue;
        vswitch_remove_bridge(ovsdb->sw, name, &err);
        json_object_del(ovsdb->exports, name);
        json_object_del(ovsdb->bridges, name);
    }
}

static void make_bridge(struct ovsdb *ovsdb, const char *name, json_t *want)
{
    struct kv_error err;
    json_t *had = json_object_get(ovsdb->bridges, name);
    if (had && json_equal(had, want))
        return;
    int rc =
        had ? vswitch_set_bridge(ovsdb->sw, want, &err) : vswitch_add_bridge(ovsdb->sw, want, &err);
    if (rc < 0) {
        ovsdb_remember(ovsdb->troubles, "bridge", name, err.message);
        return;
    }
    json_object_set(ovsdb->bridges, name, want);
}

static int set_port(struct ovsdb *ovsdb, const json_t *want, struct kv_error *err)
{
    json_t *object = json_copy((json_t *)want);
    for (const char *const *fixed = port_fixed_options; *fixed; fixed++)
        json_object_del(object, *fixed);
    int rc = vswitch_set_port(ovsdb->sw, object, err);
    json_decref(object);
    return rc;
}

/* With the number that it had, unless it is to have another. */
static int add_port(struct ovsdb *ovsdb, const json_t *want, json_t *number, struct kv_error *err)
{
    json_t *object = json_copy((json_t *)want);
    if (number && !json_object_get(object, "ofport"))
        json_object_set(object, "ofport", number);
    int rc = vswitch_add_port(ovsdb->sw, object, err);
    json_decref(object);
    return rc;
}

static void make_port(struct ovsdb *ovsdb, const char *name, json_t *want, json_t *number)
{
    struct kv_error err;
    const json_t *had = json_object_get(ovsdb->ports, name);
    if (had && json_equal((json_t *)had, want))
        return;
    int rc = had ? set_port(ovsdb, want, &err) : add_port(ovsdb, want, number, &err);
    if (rc < 0)
        ovsdb_remember(ovsdb->failures, "interface", name, err.message);
    else
        json_object_set(ovsdb->ports, name, want);
}

static void apply(struct ovsdb *ovsdb, const struct wanted *wanted)
{
    const char *name;
    json_t *want;
    remove_ports(ovsdb, wanted);
    remove_bridges(ovsdb, wanted);
    json_object_foreach (wanted->bridges, name, want)
        make_bridge(ovsdb, name, want);
    json_object_foreach (wanted->ports, name, want)
        make_port(ovsdb, name, want, json_object_get(wanted->numbers, name));
}

void ovsdb_adopt_port(struct ovsdb *ovsdb, struct row *bridge, struct row *port,
                      struct row *interface)
{
    struct kv_error err;
    const char *name = row_string(interface, "name");
    json_t *object = spec_of_port(bridge, port, interface, ovsdb->run_dir, &err);
    if (object)
        json_object_set_new(ovsdb->ports, name, object);
}

/* --- Mirrors --------------------------------------------------------------- */

/* Who is mirrored where: {port: {"port", "to", "direction", "vlans"}}. */
struct mirrors {
    struct ovsdb *ovsdb;
    struct row *bridge;
    json_t *wanted;
    unsigned what; /* of enum port_mirror */
    const char *to;
    const struct datum *vlans; /* that are selected; none: all */
};

static void trouble(struct mirrors *mirrors, const char *why)
{
    ovsdb_remember(mirrors->ovsdb->troubles, "bridge", row_string(mirrors->bridge, "name"), why);
}

static void want_mirror(struct mirrors *mirrors, const char *port)
{
    json_t *had = json_object_get(mirrors->wanted, port);
    unsigned what = mirrors->what;
    if (strcmp(port, mirrors->to) == 0)
        return;
    if (had && strcmp(json_string_value(json_object_get(had, "to")), mirrors->to) != 0) {
        trouble(mirrors, "a port is selected by two mirrors with different output ports");
        return;
    }
    json_t *vlans = mirrors->vlans->count ? spec_vlan_list(mirrors->vlans) : NULL;
    const json_t *had_vlans = json_object_get(had, "vlans");
    if (had && (vlans || had_vlans) && !(vlans && had_vlans && json_equal(vlans, had_vlans))) {
        trouble(mirrors, "a port is selected by two mirrors with different VLANs");
        json_decref(vlans);
        return;
    }
    for (unsigned i = MIRROR_IN; had && i <= (MIRROR_IN | MIRROR_OUT); i++) {
        if (strcmp(json_string_value(json_object_get(had, "direction")), vswitch_mirror_names[i]) ==
            0)
            what |= i;
    }
    json_object_set_new(mirrors->wanted, port,
                        json_pack("{s:s, s:s, s:s, s:o*}", "port", port, "to", mirrors->to,
                                  "direction", vswitch_mirror_names[what], "vlans", vlans));
}

/* The name of a port's interface, or of a bond, which is the switch's port. */
static const char *interface_of(const struct database *db, const union atom *reference)
{
    const struct row *port = ovsdb_follow(db, "Port", reference);
    if (port && spec_is_bond(port))
        return row_string(port, "name");
    const struct datum *interfaces = port ? row_get(port, "interfaces") : NULL;
    const struct row *interface =
        interfaces && interfaces->count ? ovsdb_follow(db, "Interface", interfaces->keys) : NULL;
    return interface ? row_string(interface, "name") : NULL;
}

static void want_all(struct mirrors *mirrors, const struct datum *ports, unsigned what)
{
    mirrors->what = what;
    for (unsigned i = 0; i < ports->count; i++) {
        const char *name = interface_of(&mirrors->ovsdb->db, &ports->keys[i]);
        if (name)
            want_mirror(mirrors, name);
    }
}

static void want_mirrors(struct mirrors *mirrors)
{
    const struct database *db = &mirrors->ovsdb->db;
    const struct datum *list = row_get(mirrors->bridge, "mirrors");
    for (unsigned i = 0; i < list->count; i++) {
        const struct row *mirror = ovsdb_follow(db, "Mirror", &list->keys[i]);
        const struct datum *output = row_get(mirror, "output_port");
        mirrors->vlans = row_get(mirror, "select_vlan");
        mirrors->to = output->count ? interface_of(db, output->keys) : NULL;
        if (!mirrors->to)
            continue;
        if (row_get(mirror, "select_all")->keys->boolean)
            want_all(mirrors, row_get(mirrors->bridge, "ports"), MIRROR_IN | MIRROR_OUT);
        want_all(mirrors, row_get(mirror, "select_src_port"), MIRROR_IN);
        want_all(mirrors, row_get(mirror, "select_dst_port"), MIRROR_OUT);
    }
}

static bool has_vlans(const struct port *port, const char *list)
{
    vlan_set vlans = {0};
    if (!list || !port->mirror_vlans)
        return !list && !port->mirror_vlans;
    return parse_bitmap(list, vlans, ARRAY_SIZE(vlans)) == 0 &&
           memcmp(vlans, port->mirror_vlans, sizeof(vlans)) == 0;
}

/* What the port's mirror is, changed by the control thread only. */
static bool is_mirrored_so(const struct port *port, const json_t *want)
{
    return want && port->mirror &&
           strcmp(json_string_value(json_object_get(want, "to")), port->mirror->name) == 0 &&
           strcmp(json_string_value(json_object_get(want, "direction")),
                  vswitch_mirror_names[port->mirror_what]) == 0 &&
           has_vlans(port, json_string_value(json_object_get(want, "vlans")));
}

/* Those that end before those that begin: a port that got copies may be mirrored then. */
static void apply_mirrors(struct mirrors *mirrors, struct bridge *bridge, bool begin)
{
    struct kv_error err;
    list_for_each (node, &bridge->ports) {
        const struct port *port = list_entry(node, struct port, node);
        json_t *want = json_object_get(mirrors->wanted, port->name);
        if (is_mirrored_so(port, want) || (begin ? !want : !port->mirror))
            continue;
        json_t *object = begin ? json_incref(want) : json_pack("{s:s}", "port", port->name);
        if (vswitch_set_mirror(mirrors->ovsdb->sw, object, &err) < 0)
            trouble(mirrors, err.message);
        json_decref(object);
    }
}

static void reconcile_mirrors(struct ovsdb *ovsdb)
{
    database_each (&ovsdb->db, ovsdb_find_table("Bridge"), row) {
        struct bridge *bridge = vswitch_find_bridge(ovsdb->sw, row_string(row, "name"));
        struct mirrors mirrors = {ovsdb, row, json_object()};
        want_mirrors(&mirrors);
        if (bridge) {
            apply_mirrors(&mirrors, bridge, false);
            apply_mirrors(&mirrors, bridge, true);
        }
        json_decref(mirrors.wanted);
    }
}

/* --- All ------------------------------------------------------------------- */

void ovsdb_reconcile(struct ovsdb *ovsdb)
{
    struct wanted wanted = {ovsdb, json_object(), json_object(), json_object()};
    json_object_clear(ovsdb->failures);
    json_object_clear(ovsdb->troubles);
    ovsdb->applying = ovsdb->sw->rows_decide = true;
    find_wanted(&wanted);
    apply(ovsdb, &wanted);
    reconcile_mirrors(ovsdb);
    ovsdb_reconcile_qos(ovsdb);
    ovsdb_reconcile_exports(ovsdb);
    ovsdb->applying = ovsdb->sw->rows_decide = false;
    json_decref(wanted.bridges);
    json_decref(wanted.ports);
    json_decref(wanted.numbers);
    ovsdb_write_status(ovsdb);
}
