/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of the tables QoS and Queue and the objects of set-qos; see ovsdb.h. Rates are in bits a
 * second there (ovs-vswitchd.conf.db(5)), in KiB here. */
#include <stdio.h>

#include "base/parse.h"
#include "base/util.h"
#include "switch/forward/bridge.h"
#include "switch/ovsdb/ovsdb.h"

static const struct pair {
    const char *key, *name;
} qos_keys[] = {{"max-rate", "average"}, {"burst", "burst"}, {NULL}},
  queue_keys[] = {{"min-rate", "guaranteed"}, {"max-rate", "average"}, {"burst", "burst"}, {NULL}};

static const struct pair *find_key(const struct pair *keys, const char *key)
{
    while (keys->key && strcmp(keys->key, key) != 0)
        keys++;
    return keys->key ? keys : NULL;
}

/* --- Rows to objects ------------------------------------------------------------ */

/* Bits to KiB, not to nothing. */
static json_int_t kib_of(uint64_t bits)
{
    uint64_t kib = (bits / 8 + 512) / 1024;
    return (json_int_t)(kib ? kib : 1);
}

/* False: there is something else among them. */
static bool add_rates(json_t *object, const struct row *row, const struct pair *keys)
{
    const struct datum *config = row_get(row, "other_config");
    for (unsigned i = 0; i < config->count; i++) {
        const struct pair *pair = find_key(keys, config->keys[i].string);
        uint64_t bits;
        if (!pair || parse_u64(config->values[i].string, &bits) < 0)
            return false;
        if (bits)
            json_object_set_new(object, pair->name, json_integer(kib_of(bits)));
    }
    return true;
}

/* What set-qos is told; NULL: there is nothing to tell. */
static json_t *spec_of(const struct database *db, const struct row *port, const char *name)
{
    const struct datum *reference = row_get(port, "qos");
    const struct row *qos = reference->count ? ovsdb_follow(db, "QoS", reference->keys) : NULL;
    if (!qos)
        return NULL;
    const struct datum *queues = row_get(qos, "queues");
    json_t *object = json_pack("{s:s}", "port", name), *list = json_array();
    add_rates(object, qos, qos_keys);
    for (unsigned i = 0; i < queues->count; i++) {
        const struct row *queue = ovsdb_follow(db, "Queue", &queues->values[i]);
        json_t *one = json_pack("{s:I}", "id", (json_int_t)queues->keys[i].integer);
        add_rates(one, queue, queue_keys);
        json_array_append_new(list, one);
    }
    json_object_set_new(object, "queues", list);
    return object;
}

static void reconcile_one(void *opaque, struct row *bridge, struct row *row, struct row *interface)
{
    struct ovsdb *ovsdb = opaque;
    const char *name = row_string(interface, "name");
    const struct port *port = vswitch_find_port(ovsdb->sw, name);
    struct kv_error err;
    json_t *want = port ? spec_of(&ovsdb->db, row, name) : NULL;
    if (port && (want || port->qos) && !(port->qos && want && json_equal(port->qos, want))) {
        json_t *object = want ? json_incref(want) : json_pack("{s:s}", "port", name);
        if (vswitch_set_qos(ovsdb->sw, object, &err) < 0)
            ovsdb_remember(ovsdb->failures, "interface", name, err.message);
        json_decref(object);
    }
    json_decref(want);
}

void ovsdb_reconcile_qos(struct ovsdb *ovsdb)
{
    ovsdb_each_interface(ovsdb, reconcile_one, ovsdb);
}

/* The first pair that is not served, or NULL. */
const char *ovsdb_qos_unserved(const struct row *row)
{
    const struct datum *config = row_get(row, "other_config");
    const struct pair *keys = strcmp(row->table->name, "QoS") == 0 ? qos_keys : queue_keys;
    uint64_t number;
    for (unsigned i = 0; i < config->count; i++) {
        if (!find_key(keys, config->keys[i].string) ||
            parse_u64(config->values[i].string, &number) < 0)
            return config->keys[i].string;
    }
    return NULL;
}

/* --- Objects to rows ------------------------------------------------------------ */

static struct row *insert(struct ovsdb *ovsdb, const char *table, const json_t *object,
                          const struct pair *keys)
{
    struct uuid uuid;
    uuid_generate(&uuid);
    struct row *row = database_insert(&ovsdb->db, ovsdb_find_table(table), &uuid);
    for (; keys->key; keys++) {
        json_int_t kib = json_integer_value(json_object_get(object, keys->name));
        char text[24];
        snprintf(text, sizeof(text), "%lld", (long long)kib * 8192);
        row_set_element(&ovsdb->db, row, "other_config", keys->key, kib ? text : NULL);
    }
    return row;
}

static json_t *insert_queues(struct ovsdb *ovsdb, const json_t *list)
{
    json_t *pairs = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *queue = json_array_get(list, i);
        char uuid[UUID_TEXT];
        uuid_format(&insert(ovsdb, "Queue", queue, queue_keys)->uuid, uuid);
        json_array_append_new(pairs,
                              json_pack("[O, [s, s]]", json_object_get(queue, "id"), "uuid", uuid));
    }
    return json_pack("[s, o]", "map", pairs);
}

void ovsdb_reflect_qos(struct ovsdb *ovsdb, struct row *port, const json_t *object)
{
    struct datum value;
    datum_init_string(&value, NULL);
    if (json_object_size(object) > 1) {
        struct row *qos = insert(ovsdb, "QoS", object, qos_keys);
        json_t *queues = insert_queues(ovsdb, json_object_get(object, "queues"));
        const struct column *column = &qos->table->columns[ovsdb_find_column(qos->table, "queues")];
        struct datum map;
        json_t *error = datum_from_json(&map, &column->type, queues, false, NULL);
        if (!error)
            row_set(&ovsdb->db, qos, "queues", map);
        json_decref(error);
        json_decref(queues);
        datum_init_string(&map, "linux-htb");
        row_set(&ovsdb->db, qos, "type", map);
        datum_init_uuid(&value, &qos->uuid);
    }
    row_set(&ovsdb->db, port, "qos", value);
}
