/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a client of the database. Half of the inputs are the bytes that it sends; the
 * others are read as a recipe for transactions, most of whose tables, columns, types and
 * references exist. Afterwards each reference leads somewhere, the bytes that rows take are as
 * many as were counted, and who was told of all changes knows what somebody new is told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "input.h"
#include "switch/ovsdb/monitor.h"
#include "switch/ovsdb/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* --- Recipes ---------------------------------------------------------------- */

struct recipe {
    struct input in;
    const struct database *db;
};

static unsigned pick(struct recipe *recipe, unsigned count)
{
    return (unsigned)take(&recipe->in, 1) % count;
}

static json_t *reference(struct recipe *recipe, const char *table_name)
{
    const struct table *table = table_name ? ovsdb_find_table(table_name) : NULL;
    static const char *const names[] = {"a", "b", "c", "d"};
    unsigned choice = pick(recipe, 8), n = 0;
    char text[UUID_TEXT] = "00000000-0000-4000-8000-000000000000";
    if (choice < 4)
        return json_pack("[s, s]", "named-uuid", names[choice]);
    if (table) {
        database_each (recipe->db, table, row) {
            if (n++ == choice - 4)
                uuid_format(&row->uuid, text);
        }
    }
    return json_pack("[s, s]", "uuid", text);
}

static json_t *atom(struct recipe *recipe, const struct base_type *base)
{
    static const char *const texts[] = {"", "br0", "p", "q", "internal", "tap", "x"};
    static const json_int_t numbers[] = {0, 1, -1, 64, 4095, INT64_MAX, INT64_MIN};
    unsigned choice = pick(recipe, 64);
    if (choice == 63)
        return json_null();
    switch (base->type) {
    case ATOM_INTEGER:
        return json_integer(choice < 40 ? choice : numbers[choice % ARRAY_SIZE(numbers)]);
    case ATOM_BOOLEAN:
        return json_boolean(choice & 1);
    case ATOM_STRING:
        return json_string(base->values ? base->values[choice % 2]
                                        : texts[choice % ARRAY_SIZE(texts)]);
    case ATOM_UUID:
        return reference(recipe, base->table);
    }
    return NULL;
}

static json_t *value(struct recipe *recipe, const struct column_type *type)
{
    unsigned count = pick(recipe, 4);
    if (!type->value && count == 1)
        return atom(recipe, type->key);
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        json_t *element = atom(recipe, type->key);
        if (type->value)
            element = json_pack("[o, o]", element, atom(recipe, type->value));
        json_array_append_new(list, element);
    }
    return json_pack("[s, o]", type->value ? "map" : "set", list);
}

static const struct column *column(struct recipe *recipe, const struct table *table)
{
    return &table->columns[pick(recipe, ovsdb_column_count(table))];
}

static json_t *row(struct recipe *recipe, const struct table *table)
{
    json_t *object = json_object();
    for (unsigned i = pick(recipe, 5); i > 0; i--) {
        const struct column *of = column(recipe, table);
        json_object_set_new(object, of->name, value(recipe, &of->type));
    }
    return object;
}

static json_t *triples(struct recipe *recipe, const struct table *table, const char *const *verbs,
                       unsigned verb_count)
{
    json_t *list = json_array();
    for (unsigned i = pick(recipe, 3); i > 0; i--) {
        const struct column *of = column(recipe, table);
        const char *verb = verbs[pick(recipe, verb_count)];
        json_array_append_new(list,
                              json_pack("[s, s, o]", of->name, verb, value(recipe, &of->type)));
    }
    return list;
}

static json_t *where(struct recipe *recipe, const struct table *table)
{
    static const char *const functions[] = {
        "==", "!=", "<", "<=", ">", ">=", "includes", "excludes"};
    return triples(recipe, table, functions, ARRAY_SIZE(functions));
}

static json_t *mutations(struct recipe *recipe, const struct table *table)
{
    static const char *const mutators[] = {"insert", "delete", "+=", "-=", "*=", "/=", "%="};
    return triples(recipe, table, mutators, ARRAY_SIZE(mutators));
}

static json_t *operation(struct recipe *recipe)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    const struct table *table = &ovsdb_tables[pick(recipe, OVSDB_TABLES)];
    switch (pick(recipe, 8)) {
    case 0:
    case 1:
        return json_pack("{s:s, s:s, s:s, s:o}", "op", "insert", "table", table->name, "uuid-name",
                         names[pick(recipe, 4)], "row", row(recipe, table));
    case 2:
        return json_pack("{s:s, s:s, s:o, s:o}", "op", "update", "table", table->name, "where",
                         where(recipe, table), "row", row(recipe, table));
    case 3:
    case 4:
        return json_pack("{s:s, s:s, s:o, s:o}", "op", "mutate", "table", table->name, "where",
                         where(recipe, table), "mutations", mutations(recipe, table));
    case 5:
        return json_pack("{s:s, s:s, s:o}", "op", "delete", "table", table->name, "where",
                         where(recipe, table));
    case 6:
        return json_pack("{s:s, s:s, s:o}", "op", "select", "table", table->name, "where",
                         where(recipe, table));
    }
    return json_pack("{s:s, s:s, s:o, s:[s], s:s, s:[o]}", "op", "wait", "table", table->name,
                     "where", where(recipe, table), "columns", column(recipe, table)->name, "until",
                     pick(recipe, 2) ? "==" : "!=", "rows", row(recipe, table));
}

static json_t *request(struct recipe *recipe)
{
    static const char *const methods[] = {"monitor",        "monitor_cond", "monitor_cond_since",
                                          "monitor_cancel", "lock",         "steal",
                                          "unlock",         "cancel"};
    unsigned choice = pick(recipe, 32);
    if (choice < 3) {
        const struct table *table = &ovsdb_tables[pick(recipe, OVSDB_TABLES)];
        json_t *wanted = json_pack("{s:o}", "where", where(recipe, table));
        return json_pack("{s:i, s:s, s:[s, i, {s:o}]}", "id", 1, "method", methods[choice],
                         "params", OVSDB_NAME, pick(recipe, 3), table->name, wanted);
    }
    if (choice < ARRAY_SIZE(methods))
        return json_pack("{s:i, s:s, s:[s]}", "id", 1, "method", methods[choice], "params", "1");
    json_t *params = json_pack("[s]", OVSDB_NAME);
    for (unsigned i = pick(recipe, 6); i > 0; i--)
        json_array_append_new(params, operation(recipe));
    return json_pack("{s:i, s:s, s:o}", "id", 1, "method", "transact", "params", params);
}

/* --- What holds afterwards --------------------------------------------------- */

static void check_references(const struct database *db, const struct row *from)
{
    for (unsigned c = 0; from->table->columns[c].name; c++) {
        const struct column_type *type = &from->table->columns[c].type;
        if (datum_check_count(&from->now[c], type))
            abort();
        for (unsigned i = 0; i < from->now[c].count; i++) {
            if (type->key->table &&
                !database_find(db, ovsdb_find_table(type->key->table), &from->now[c].keys[i].uuid))
                abort();
            if (i && type->key->type == ATOM_INTEGER &&
                from->now[c].keys[i - 1].integer >= from->now[c].keys[i].integer)
                abort();
        }
    }
}

static void check_database(const struct database *db)
{
    size_t bytes = 0;
    unsigned count = 0;
    if (database_is_changed(db))
        abort();
    for (const struct table *table = ovsdb_tables; table->name; table++) {
        database_each (db, table, each) {
            check_references(db, each);
            bytes += sizeof(struct row);
            for (unsigned c = 0; table->columns[c].name; c++)
                bytes += sizeof(struct datum) + datum_bytes(&each->now[c], &table->columns[c].type);
            count++;
        }
    }
    if (bytes != db->bytes || count != db->row_count)
        abort();
}

/* Carries an "update" out on what is known: {table: {uuid: row}}. */
static void learn(json_t *known, const json_t *updates)
{
    const char *table, *uuid;
    json_t *rows, *update;
    json_object_foreach ((json_t *)updates, table, rows) {
        json_t *of = json_object_get(known, table);
        if (!of) {
            of = json_object();
            json_object_set_new(known, table, of);
        }
        json_object_foreach (rows, uuid, update) {
            json_t *now = json_object_get(update, "new");
            if (now)
                json_object_set(of, uuid, now);
            else
                json_object_del(of, uuid);
        }
        if (json_object_size(of) == 0)
            json_object_del(known, table);
    }
}

static void hear(struct ovsdb_client *client, json_t *known)
{
    while (client->out.len) {
        json_error_t end;
        json_t *message = json_loadb((const char *)buffer_bytes(&client->out), client->out.len,
                                     JSON_DISABLE_EOF_CHECK, &end);
        if (!message)
            abort();
        buffer_consume(&client->out, (size_t)end.position);
        learn(known, json_array_get(json_object_get(message, "params"), 1));
        json_decref(message);
    }
}

/* --- Inputs ------------------------------------------------------------------ */

static json_t *everything(void)
{
    json_t *tables = json_object();
    for (const struct table *table = ovsdb_tables; table->name; table++)
        json_object_set_new(tables, table->name, json_object());
    return json_pack("[s, i, o]", OVSDB_NAME, 1, tables);
}

static void send_bytes(struct ovsdb_client *client, const uint8_t *data, size_t size)
{
    size_t used = 0;
    while (used < size && !client->dead) {
        used += json_stream_feed(&client->in, (const char *)data + used, size - used,
                                 ovsdb_client_request, client);
        buffer_consume(&client->out, client->out.len);
    }
}

static void send_recipe(struct ovsdb_client *client, struct recipe *recipe)
{
    while (recipe->in.left && !client->dead) {
        json_t *message = request(recipe);
        if (message)
            ovsdb_client_request(client, message, NULL);
        json_decref(message);
        buffer_consume(&client->out, client->out.len);
    }
}

/* A database with a bridge, and a client who hears of every change; they go on from input to input,
 * as making them takes a hundred times as long as most inputs. */
static struct database base;
static struct ovsdb_server server;
static struct ovsdb_client *witness;
static struct monitor *monitor;
static json_t *knows; /* the witness, of all rows */

static void begin(void)
{
    static const char start[] =
        "{\"id\":1,\"method\":\"transact\",\"params\":[\"Open_vSwitch\","
        "{\"op\":\"insert\",\"table\":\"Open_vSwitch\",\"row\":{\"bridges\":[\"named-uuid\","
        "\"a\"]}},{\"op\":\"insert\",\"table\":\"Bridge\",\"uuid-name\":\"a\",\"row\":{\"name\":"
        "\"br0\"}}]}";
    struct ovsdb_client *client = ovsdb_client_new(&server);
    send_bytes(client, (const uint8_t *)start, strlen(start));
    ovsdb_client_free(client);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kv_error err;
    json_t *error, *params = everything();
    database_init(&base);
    ovsdb_server_init(&server, NULL, &base, -1, &err);
    witness = ovsdb_client_new(&server);
    monitor = monitor_new(MONITOR_PLAIN, params, &error);
    list_add_tail(&witness->monitors, &monitor->node);
    knows = json_object();
    json_decref(params);
    begin();
    return 0;
}

/* The witness knows what there is. */
static void check_witness(void)
{
    json_t *fresh = monitor_initial(monitor, &base), *all = json_object();
    hear(witness, knows);
    learn(all, fresh);
    if (witness->dead || !json_equal(knows, all))
        abort();
    json_decref(fresh);
    json_decref(all);
}

static void begin_anew(void)
{
    for (const struct table *table = ovsdb_tables; table->name; table++) {
        database_each (&base, table, each)
            database_delete(&base, each);
    }
    json_t *error = database_commit(&base);
    if (error)
        abort();
    begin();
    check_witness();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uuid before = base.last_commit;
    if (size == 0)
        return 0;
    struct ovsdb_client *client = ovsdb_client_new(&server);
    if (data[0] & 1) {
        send_bytes(client, data + 1, size - 1);
    } else {
        struct recipe recipe = {{data + 1, size - 1}, &base};
        send_recipe(client, &recipe);
    }
    ovsdb_client_free(client);
    if (database_is_changed(&base))
        abort();
    if (memcmp(&before, &base.last_commit, sizeof(before)) == 0)
        return 0;
    check_database(&base);
    check_witness();
    begin_anew();
    return 0;
}
