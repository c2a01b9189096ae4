/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sFlow, NetFlow and IPFIX of bridges: the tables' columns and the objects of control/vswitch.h,
 * both ways; see ovsdb.h. What a table has no column for is among the row's external_ids.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "switch/ovsdb/ovsdb.h"

#define OWN_PREFIX "kvasir-"

struct field {
    const char *name;
    const char *column; /* NULL: among external_ids, with OWN_PREFIX */
    json_int_t empty;   /* what the column stands for when it is empty or 0 (0: what the switch
                           has as default) */
    json_int_t unsaid;  /* what the column becomes when the object has no such name (0: empty) */
};

static const struct exporter {
    const char *table, *column; /* of Bridge */
    enum vswitch_change change;
    int (*set)(struct vswitch *sw, const json_t *object, struct kv_error *err);
    const char *port; /* of a collector that is named without, as "host" */
    struct field fields[5];
} exporters[] = {
    {"sFlow",
     "sflow",
     VSWITCH_SET_SFLOW,
     vswitch_set_sflow,
     "6343",
     {{"sampling", "sampling"}, {"header", "header"}, {"polling", "polling"}}},
    {"NetFlow",
     "netflow",
     VSWITCH_SET_NETFLOW,
     vswitch_set_netflow,
     "2055",
     {{"active", "active_timeout", .empty = 600, .unsaid = 60},
      {"sampling", NULL},
      {"idle", NULL},
      {"entries", NULL}}},
    {"IPFIX",
     "ipfix",
     VSWITCH_SET_IPFIX,
     vswitch_set_ipfix,
     "4739",
     {{"sampling", "sampling", .empty = 400, .unsaid = 1},
      {"active", "cache_active_timeout"},
      {"entries", "cache_max_flows"},
      {"idle", NULL}}},
};

/* --- Rows to the switch ---------------------------------------------------- */

static json_int_t read_own(const struct row *row, const char *name)
{
    char key[64];
    uint64_t number;
    snprintf(key, sizeof(key), OWN_PREFIX "%s", name);
    const char *text = datum_map_get(row_get(row, "external_ids"), key);
    return text && parse_u64(text, &number) == 0 && number <= INT32_MAX ? (json_int_t)number : 0;
}

static json_int_t read_field(const struct row *row, const struct field *field)
{
    if (!field->column)
        return read_own(row, field->name);
    const struct datum *datum = row_get(row, field->column);
    return datum->count && datum->keys->integer ? datum->keys->integer : field->empty;
}

static json_t *spec_of(const struct exporter *exporter, const struct row *bridge,
                       const struct row *row)
{
    const char *target = row_string(row, "targets");
    json_t *object = json_pack("{s:s}", "bridge", row_string(bridge, "name"));
    if (target && strchr(target, ':'))
        json_object_set_new(object, "collector", json_string(target));
    else if (target)
        json_object_set_new(object, "collector", json_sprintf("%s:%s", target, exporter->port));
    if (exporter->change == VSWITCH_SET_SFLOW && row_string(row, "agent"))
        json_object_set_new(object, "agent", json_string(row_string(row, "agent")));
    for (const struct field *field = exporter->fields; field->name; field++) {
        json_int_t value = read_field(row, field);
        if (value)
            json_object_set_new(object, field->name, json_integer(value));
    }
    return object;
}

static const struct row *row_of(const struct database *db, const struct exporter *exporter,
                                const struct row *bridge)
{
    const struct datum *reference = row_get(bridge, exporter->column);
    return reference->count ? ovsdb_follow(db, exporter->table, reference->keys) : NULL;
}

/* What the bridge's exporters were made to be: {column: object}. */
static json_t *made_of(struct ovsdb *ovsdb, const char *bridge)
{
    json_t *made = json_object_get(ovsdb->exports, bridge);
    if (!made) {
        made = json_object();
        json_object_set_new(ovsdb->exports, bridge, made);
    }
    return made;
}

static void reconcile_one(struct ovsdb *ovsdb, const struct exporter *exporter,
                          const struct row *bridge)
{
    struct kv_error err;
    const struct row *row = row_of(&ovsdb->db, exporter, bridge);
    json_t *made = made_of(ovsdb, row_string(bridge, "name"));
    json_t *had = json_object_get(made, exporter->column);
    json_t *want = row ? spec_of(exporter, bridge, row)
                       : json_pack("{s:s}", "bridge", row_string(bridge, "name"));
    if ((row || had) && !(had && json_equal(had, want))) {
        if (exporter->set(ovsdb->sw, want, &err) < 0)
            ovsdb_remember(ovsdb->troubles, "bridge", row_string(bridge, "name"), err.message);
        else if (row)
            json_object_set(made, exporter->column, want);
        else
            json_object_del(made, exporter->column);
    }
    json_decref(want);
}

void ovsdb_reconcile_exports(struct ovsdb *ovsdb)
{
    database_each (&ovsdb->db, ovsdb_find_table("Bridge"), bridge) {
        if (!vswitch_find_bridge(ovsdb->sw, row_string(bridge, "name")))
            continue;
        for (unsigned i = 0; i < ARRAY_SIZE(exporters); i++)
            reconcile_one(ovsdb, &exporters[i], bridge);
    }
}

/* --- The switch to rows ---------------------------------------------------- */

static void write_own(struct database *db, struct row *row, const char *name, json_int_t value)
{
    char key[64], text[24];
    snprintf(key, sizeof(key), OWN_PREFIX "%s", name);
    snprintf(text, sizeof(text), "%lld", (long long)value);
    row_set_element(db, row, "external_ids", key, value ? text : NULL);
}

static void write_field(struct database *db, struct row *row, const struct field *field,
                        json_int_t value)
{
    struct datum datum;
    if (!field->column) {
        write_own(db, row, field->name, value);
        return;
    }
    value = value ? value : field->unsaid;
    if (!value)
        return;
    datum_init_integer(&datum, value);
    row_set(db, row, field->column, datum);
}

static void write_row(struct ovsdb *ovsdb, const struct exporter *exporter, struct row *bridge,
                      const json_t *object)
{
    struct uuid uuid;
    struct datum target, reference;
    struct database *db = &ovsdb->db;
    uuid_generate(&uuid);
    struct row *row = database_insert(db, ovsdb_find_table(exporter->table), &uuid);
    datum_init_string(&target, json_string_value(json_object_get(object, "collector")));
    row_set(db, row, "targets", target);
    if (exporter->change == VSWITCH_SET_SFLOW) {
        struct datum agent;
        datum_init_string(&agent, json_string_value(json_object_get(object, "agent")));
        row_set(db, row, "agent", agent);
    }
    for (const struct field *field = exporter->fields; field->name; field++)
        write_field(db, row, field, json_integer_value(json_object_get(object, field->name)));
    datum_init_uuid(&reference, &uuid);
    row_set(db, bridge, exporter->column, reference);
    json_object_set_new(made_of(ovsdb, row_string(bridge, "name")), exporter->column,
                        spec_of(exporter, bridge, row));
}

void ovsdb_reflect_export(struct ovsdb *ovsdb, struct row *bridge, enum vswitch_change change,
                          const json_t *object)
{
    for (unsigned i = 0; i < ARRAY_SIZE(exporters); i++) {
        const struct exporter *exporter = &exporters[i];
        struct datum none;
        if (exporter->change != change)
            continue;
        if (json_object_get(object, "collector")) {
            write_row(ovsdb, exporter, bridge, object);
            continue;
        }
        datum_init_string(&none, NULL);
        row_set(&ovsdb->db, bridge, exporter->column, none);
        json_object_del(made_of(ovsdb, row_string(bridge, "name")), exporter->column);
    }
}
