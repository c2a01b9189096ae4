/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bridges and ports have become while they ran: numbers, counters, learned addresses,
 * connections, flows; see upgrade.h. Rows of tables go as they lie in memory; where they have
 * another size in the new process, it begins without them.
 */
#include <errno.h>

#include "base/log.h"
#include "base/util.h"
#include "switch/control/port_kinds.h"
#include "switch/filter/filter.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/openflow/openflow.h"
#include "switch/upgrade/upgrade.h"

/* Rows of a table of one bridge. The forwarding thread stands still for its ports. */
static const struct kind {
    const char *name;
    size_t row;
    /* Appends all rows; returns how many. */
    unsigned (*save)(const struct bridge *bridge, struct buffer *rows);
    /* ports: by their indexes in the old process, NULL: not there any more. Returns how many. */
    unsigned (*load)(struct bridge *bridge, const uint8_t *rows, unsigned count,
                     struct port *const *ports);
} kinds[];

/* --- Addresses ------------------------------------------------------------------ */

static unsigned save_macs(const struct bridge *bridge, struct buffer *rows)
{
    const struct mac_table *macs = &bridge->macs;
    unsigned count = 0;
    for (uint64_t b = 0; b <= macs->mask; b++) {
        for (unsigned i = 0; i < MAC_BUCKET_SLOTS; i++) {
            const struct mac_entry *entry = &macs->buckets[b].slots[i];
            if (entry->key && buffer_append(rows, entry, sizeof(*entry)) == 0)
                count++;
        }
    }
    return count;
}

static unsigned load_macs(struct bridge *bridge, const uint8_t *rows, unsigned count,
                          struct port *const *ports)
{
    unsigned done = 0;
    for (unsigned i = 0; i < count; i++) {
        struct mac_entry entry;
        memcpy(&entry, rows + i * sizeof(entry), sizeof(entry));
        const struct port *port = entry.port < BRIDGE_PORTS_MAX ? ports[entry.port] : NULL;
        if (port && entry.fixed)
            done += mac_table_fix(&bridge->macs, entry.key, port->index);
        else if (port && mac_table_learn(&bridge->macs, entry.key, port->index, entry.seen_s,
                                         port->mac_limit) == MAC_NEW)
            done++;
    }
    return done;
}

/* --- Connections ------------------------------------------------------------------ */

static unsigned save_connections(const struct bridge *bridge, struct buffer *rows)
{
    unsigned count = 0;
    if (!bridge->tables)
        return 0;
    const struct conntrack *conntrack = &bridge->tables->conntrack;
    for (uint64_t b = 0; b <= conntrack->mask; b++) {
        for (unsigned i = 0; i < CONNTRACK_BUCKET; i++) {
            const struct connection *connection = &conntrack->buckets[b].slots[i];
            if (connection->state != CONNECTION_FREE &&
                buffer_append(rows, connection, sizeof(*connection)) == 0)
                count++;
        }
    }
    return count;
}

static unsigned load_connections(struct bridge *bridge, const uint8_t *rows, unsigned count,
                                 struct port *const *ports)
{
    unsigned done = 0;
    for (unsigned i = 0; i < count && bridge->tables; i++) {
        struct connection connection;
        memcpy(&connection, rows + i * sizeof(connection), sizeof(connection));
        const struct port *port =
            connection.tuple.port < BRIDGE_PORTS_MAX ? ports[connection.tuple.port] : NULL;
        if (!port)
            continue;
        connection.tuple.port = port->index;
        /* ACLs of this process are others: they are asked about the next packet. */
        connection.checked = 0;
        done += conntrack_put(&bridge->tables->conntrack, &connection);
    }
    return done;
}

static const struct kind kinds[] = {
    {"addresses", sizeof(struct mac_entry), save_macs, load_macs},
    {"connections", sizeof(struct connection), save_connections, load_connections},
};

/* --- Giving ------------------------------------------------------------------------ */

static json_t *describe_counters(const struct port_counters *c)
{
    json_t *drops = json_object();
    for (unsigned i = 0; i < DROP_COUNT; i++) {
        if (c->drops[i])
            json_object_set_new(drops, port_drop_names[i], json_integer((json_int_t)c->drops[i]));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:o}", "in-frames", (json_int_t)c->in_frames, "in-bytes",
                     (json_int_t)c->in_bytes, "out-frames", (json_int_t)c->out_frames, "out-bytes",
                     (json_int_t)c->out_bytes, "drops", drops);
}

static json_t *describe_port(struct port *port, struct bequest *bequest)
{
    return json_pack("{s:i, s:I, s:i, s:i, s:o, s:o}", "index", (int)port->index, "number",
                     (json_int_t)port->number, "of-number", (int)port->of_number, "config",
                     (int)port->config, "counters", describe_counters(&port->counters), "given",
                     port_kind_of(port)->give(port, bequest));
}

static json_t *describe_bridge(struct bridge *bridge, struct bequest *bequest,
                               struct buffer *tables)
{
    json_t *ports = json_object(), *rows = json_array();
    list_for_each (node, &bridge->ports) {
        struct port *port = list_entry(node, struct port, node);
        json_object_set_new(ports, port->name, describe_port(port, bequest));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        unsigned count = kinds[i].save(bridge, tables);
        json_array_append_new(rows,
                              json_pack("{s:s, s:I, s:I}", "name", kinds[i].name, "row",
                                        (json_int_t)kinds[i].row, "count", (json_int_t)count));
    }
    return json_pack("{s:I, s:o, s:o, s:o}", "number", (json_int_t)bridge->number, "ports", ports,
                     "tables", rows, "openflow", openflow_give(bridge->openflow, bequest));
}

json_t *upgrade_describe_bridges(struct vswitch *sw, struct bequest *bequest, struct buffer *tables)
{
    json_t *out = json_object();
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        json_object_set_new(out, bridge->name, describe_bridge(bridge, bequest, tables));
    }
    return out;
}

/* --- Taking ------------------------------------------------------------------------ */

json_t *upgrade_ports(const json_t *bridges)
{
    const char *name, *port_name;
    json_t *bridge, *port, *out = json_object();
    json_object_foreach ((json_t *)bridges, name, bridge) {
        json_object_foreach (json_object_get(bridge, "ports"), port_name, port) {
            json_t *given = json_object_get(port, "given");
            json_object_set(out, port_name, given ? given : json_null());
        }
    }
    return out;
}

static uint64_t number(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void restore_port(struct port *port, const json_t *was)
{
    const json_t *counters = json_object_get(was, "counters");
    struct port_counters *c = &port->counters;
    port->number = (uint32_t)number(was, "number");
    /* The other bits are what options and protocols make of them here. */
    port->config = (uint8_t)((port->config & ~PORT_CONFIG_OPENFLOW) |
                             (number(was, "config") & PORT_CONFIG_OPENFLOW));
    *c = (struct port_counters){.in_frames = number(counters, "in-frames"),
                                .in_bytes = number(counters, "in-bytes"),
                                .out_frames = number(counters, "out-frames"),
                                .out_bytes = number(counters, "out-bytes")};
    for (unsigned i = 0; i < DROP_COUNT; i++)
        c->drops[i] = number(json_object_get(counters, "drops"), port_drop_names[i]);
}

struct restoring {
    const struct buffer *tables;
    size_t at; /* of the next table */
    json_t *report;
};

/* The bytes of the next table; false: there are fewer. */
static bool next_rows(struct restoring *r, uint64_t row, uint64_t count, const uint8_t **rows)
{
    uint64_t size;
    if (__builtin_mul_overflow(row, count, &size) || size > r->tables->len - r->at)
        return false;
    *rows = size ? buffer_bytes(r->tables) + r->at : NULL;
    r->at += size;
    return true;
}

static void count_in(json_t *report, const char *what, unsigned count)
{
    json_object_set_new(
        report, what,
        json_integer(json_integer_value(json_object_get(report, what)) + (json_int_t)count));
}

/* bridge: NULL: it is not there any more. */
static int restore_table(struct restoring *r, struct bridge *bridge, const json_t *said,
                         struct port *const *ports, struct kv_error *err)
{
    const char *name = json_string_value(json_object_get(said, "name"));
    uint64_t row = number(said, "row"), count = number(said, "count");
    const uint8_t *rows;
    if (!name || count > UINT32_MAX || !next_rows(r, row, count, &rows))
        return kv_error_set(err, KV_ERR_CONTROL, EPROTO, "tables that are handed over are cut");
    for (unsigned i = 0; i < ARRAY_SIZE(kinds) && bridge; i++) {
        if (strcmp(kinds[i].name, name) != 0)
            continue;
        if (kinds[i].row == row)
            count_in(r->report, name, kinds[i].load(bridge, rows, (unsigned)count, ports));
        else
            log_warning("bridge '%s': %s of this version have another form: it begins without",
                        bridge->name, name);
    }
    return 0;
}

static int restore_bridge(struct restoring *r, struct vswitch *sw, const char *name,
                          const json_t *was, struct kv_error *err)
{
    struct port *ports[BRIDGE_PORTS_MAX] = {NULL};
    struct bridge *bridge = vswitch_find_bridge(sw, name);
    const char *port_name;
    json_t *said;
    size_t i;
    int rc = 0;
    json_object_foreach (json_object_get(was, "ports"), port_name, said) {
        struct port *port = vswitch_find_port(sw, port_name);
        uint64_t index = number(said, "index");
        if (!port || port->bridge != bridge)
            continue;
        restore_port(port, said);
        bridge_renumber(port, (uint16_t)number(said, "of-number"));
        sw->last_number = MAX(sw->last_number, port->number);
        if (index < BRIDGE_PORTS_MAX)
            ports[index] = port;
        count_in(r->report, "ports", 1);
    }
    if (bridge) {
        bridge->number = (uint32_t)number(was, "number");
        sw->last_number = MAX(sw->last_number, bridge->number);
        rc = openflow_take(bridge->openflow, json_object_get(was, "openflow"), err);
    }
    json_array_foreach (json_object_get(was, "tables"), i, said) {
        if (rc == 0)
            rc = restore_table(r, bridge, said, ports, err);
    }
    return rc;
}

int upgrade_restore_bridges(struct vswitch *sw, const json_t *bridges, const struct buffer *tables,
                            json_t *report, struct kv_error *err)
{
    struct restoring restoring = {tables, 0, report};
    const char *name;
    json_t *was;
    int rc = 0;
    json_object_foreach ((json_t *)bridges, name, was) {
        if (rc == 0)
            rc = restore_bridge(&restoring, sw, name, was, err);
    }
    return rc;
}
