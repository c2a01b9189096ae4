/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is refused, by table and column; see supported.h. */
#include "switch/ovsdb/supported.h"

#include "base/util.h"
#include "switch/ovsdb/ovsdb.h"

static const struct limit {
    const char *table, *column;
    const char *const *accepted; /* strings; NULL: the default value only */
    const char *why;
} limits[] = {
    {"Open_vSwitch", "manager_options", NULL, "the database is served at the socket of --ovsdb"},
    {"Open_vSwitch", "ssl", NULL, "the database is served at the socket of --ovsdb"},
    {"Bridge", "stp_enable", NULL, "rstp_enable is possible, and understands neighbours with STP"},
    {"Bridge", "flood_vlans", NULL, "addresses are learned in all VLANs"},
    {"Bridge", "flow_tables", NULL, "there is one table, and it is as it is"},
    {"Bridge", "auto_attach", NULL, "there is no LLDP"},
    {"Bridge", "fail_mode", (const char *const[]){"standalone", NULL},
     "a bridge begins with the flow NORMAL; 'standalone' is possible"},
    {"Bridge", "datapath_type", (const char *const[]){"", "system", "netdev", NULL},
     "'system' and 'netdev' are possible, and are the same"},
    {"Port", "bond_fake_iface", NULL, "a bond's members are interfaces of their own"},
    {"Port", "mac", NULL, "a bridge's address is its interface's"},
    {"Interface", "ingress_policing_kpkts_rate", NULL, "only bytes are limited"},
    {"Interface", "mac", NULL, "the interface keeps its address"},
    {"Interface", "mtu_request", NULL, "the interface keeps its MTU"},
    {"Interface", "bfd", NULL, "there is no BFD"},
    {"Interface", "cfm_mpid", NULL, "there is no CFM"},
    {"Interface", "lldp", NULL, "there is no LLDP"},
    {"Mirror", "output_vlan", NULL, "a mirror has an output_port"},
    {"Mirror", "snaplen", NULL, "whole frames are mirrored"},
    {"QoS", "type", (const char *const[]){"", "linux-htb", NULL}, "'linux-htb' is possible"},
    {"Queue", "dscp", NULL, "packets keep their class"},
    {"NetFlow", "engine_id", NULL, "it is a bridge's number"},
    {"NetFlow", "engine_type", NULL, "it is no part of version 9"},
    {"NetFlow", "add_id_to_interface", NULL, "interfaces have numbers of their own"},
    {"IPFIX", "obs_domain_id", NULL, "it is a bridge's number"},
    {"IPFIX", "obs_point_id", NULL, "it is not told"},
    {"Flow_Sample_Collector_Set", "bridge", NULL, "OpenFlow has no action 'sample' here"},
};

static bool is_accepted(const struct limit *limit, const struct row *row)
{
    const struct column_type *type =
        &row->table->columns[ovsdb_find_column(row->table, limit->column)].type;
    const struct datum *datum = row_get(row, limit->column);
    struct datum usual;
    datum_init_default(&usual, type);
    bool accepted = datum_compare(&usual, datum, type) == 0;
    datum_free(&usual, type);
    for (unsigned i = 0; !accepted && limit->accepted && limit->accepted[i]; i++)
        accepted = datum->count && strcmp(datum->keys->string, limit->accepted[i]) == 0;
    return accepted;
}

static bool is_text(const struct row *row, const char *column, const char *text)
{
    const char *value = row_string(row, column);
    return value && strcmp(value, text) == 0;
}

/* Columns that need others. */
static json_t *check_port(const struct row *port)
{
    static const char *const unknown[] = {"bond-detect-mode", "bond-rebalance-interval",
                                          "bond-hash-basis", "all-members-active",
                                          "all-slaves-active"};
    const char *name = row_string(port, "name");
    const struct datum *tag = row_get(port, "tag");
    const bool speaks_lacp = row_string(port, "lacp") && !is_text(port, "lacp", "off");
    if (is_text(port, "vlan_mode", "dot1q-tunnel") && (!tag->count || tag->keys->integer == 0))
        return ovsdb_error("not supported", "port %.100s: vlan_mode dot1q-tunnel needs a tag",
                           name);
    if (is_text(port, "bond_mode", "balance-tcp") && !speaks_lacp)
        return ovsdb_error("not supported",
                           "port %.100s: bond_mode balance-tcp needs lacp: the neighbour has to "
                           "know of it",
                           name);
    if (speaks_lacp && row_get(port, "interfaces")->count < 2)
        return ovsdb_error("not supported",
                           "port %.100s: lacp is for bonds, of two interfaces at least", name);
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        if (datum_map_get(row_get(port, "other_config"), unknown[i]))
            return ovsdb_error("not supported", "port %.100s: there is no other_config:%s", name,
                               unknown[i]);
    }
    return NULL;
}

static json_t *check_row(const struct row *row)
{
    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
        if (strcmp(limits[i].table, row->table->name) == 0 && !is_accepted(&limits[i], row))
            return ovsdb_error("not supported", "%s, column %s: %s", row->table->name,
                               limits[i].column, limits[i].why);
    }
    bool has_rates = strcmp(row->table->name, "QoS") == 0 || strcmp(row->table->name, "Queue") == 0;
    const char *unserved = has_rates ? ovsdb_qos_unserved(row) : NULL;
    if (unserved)
        return ovsdb_error("not supported",
                           "%s, other_config:%.100s: numbers of max-rate, burst and, of Queue, "
                           "min-rate are possible",
                           row->table->name, unserved);
    if (ovsdb_find_column(row->table, "targets") >= 0 && row_get(row, "targets")->count > 1)
        return ovsdb_error("not supported", "%s, column targets: one collector is possible",
                           row->table->name);
    return strcmp(row->table->name, "Port") == 0 ? check_port(row) : NULL;
}

json_t *supported_check(void *opaque, const struct database *db)
{
    json_t *error = NULL;
    list_for_each (node, &db->touched) {
        const struct row *row = list_entry(node, struct row, touched);
        if (!error && row->now)
            error = check_row(row);
    }
    return error;
}
