/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables; see schema.h. */
#include "switch/ovsdb/schema.h"

#include <string.h>

#include "base/util.h"

/* Of the columns; tools conclude from it what there is. */
#define VERSION "8.3.1"

/* --- What columns are made of ---------------------------------------------- */

static const struct base_type integer = {ATOM_INTEGER, .min = INT64_MIN, .max = INT64_MAX};
static const struct base_type boolean = {ATOM_BOOLEAN};
static const struct base_type string = {ATOM_STRING};
static const struct base_type uuid = {ATOM_UUID};

static const struct base_type vlan = {ATOM_INTEGER, .min = 0, .max = 4095};
static const struct base_type flow_tables = {ATOM_INTEGER, .min = 0, .max = 254};
static const struct base_type percent = {ATOM_INTEGER, .min = 0, .max = 100};
static const struct base_type uint32 = {ATOM_INTEGER, .min = 0, .max = UINT32_MAX};
static const struct base_type natural = {ATOM_INTEGER, .min = 0, .max = INT64_MAX};
static const struct base_type positive = {ATOM_INTEGER, .min = 1, .max = INT64_MAX};
static const struct base_type ofport_request = {ATOM_INTEGER, .min = 1, .max = 65279};
static const struct base_type dscp = {ATOM_INTEGER, .min = 0, .max = 63};
static const struct base_type output_vlan = {ATOM_INTEGER, .min = 1, .max = 4095};
static const struct base_type snaplen = {ATOM_INTEGER, .min = 14, .max = 65535};
static const struct base_type active_timeout = {ATOM_INTEGER, .min = -1, .max = INT64_MAX};
static const struct base_type byte = {ATOM_INTEGER, .min = 0, .max = 255};
static const struct base_type cache_active_timeout = {ATOM_INTEGER, .min = 0, .max = 4200};
static const struct base_type sampling = {ATOM_INTEGER, .min = 1, .max = UINT32_MAX};
static const struct base_type controller_burst_limit = {ATOM_INTEGER, .min = 25, .max = INT64_MAX};
static const struct base_type controller_queue_size = {ATOM_INTEGER, .min = 1, .max = 512};
static const struct base_type controller_rate_limit = {ATOM_INTEGER, .min = 100, .max = INT64_MAX};
static const struct base_type max_backoff = {ATOM_INTEGER, .min = 1000, .max = INT64_MAX};
static const struct base_type zone = {ATOM_INTEGER, .min = 0, .max = 65535};
static const struct base_type mappings = {ATOM_INTEGER, .min = 0, .max = 16777215};

static const struct base_type to_bridge = {ATOM_UUID, .table = "Bridge"};
static const struct base_type to_datapath = {ATOM_UUID, .table = "Datapath"};
static const struct base_type to_manager = {ATOM_UUID, .table = "Manager"};
static const struct base_type to_ssl = {ATOM_UUID, .table = "SSL"};
static const struct base_type to_autoattach = {ATOM_UUID, .table = "AutoAttach"};
static const struct base_type to_controller = {ATOM_UUID, .table = "Controller"};
static const struct base_type to_flow_table = {ATOM_UUID, .table = "Flow_Table"};
static const struct base_type to_ipfix = {ATOM_UUID, .table = "IPFIX"};
static const struct base_type to_mirror = {ATOM_UUID, .table = "Mirror"};
static const struct base_type to_netflow = {ATOM_UUID, .table = "NetFlow"};
static const struct base_type to_port = {ATOM_UUID, .table = "Port"};
static const struct base_type to_sflow = {ATOM_UUID, .table = "sFlow"};
static const struct base_type to_interface = {ATOM_UUID, .table = "Interface"};
static const struct base_type to_qos = {ATOM_UUID, .table = "QoS"};
static const struct base_type to_queue = {ATOM_UUID, .table = "Queue"};
static const struct base_type weak_port = {ATOM_UUID, .table = "Port", .weak = true};
static const struct base_type to_ct_zone = {ATOM_UUID, .table = "CT_Zone"};
static const struct base_type to_ct_timeout_policy = {ATOM_UUID, .table = "CT_Timeout_Policy"};

static const char *const fail_mode_names[] = {"standalone", "secure", NULL};
static const struct base_type fail_mode = {ATOM_STRING, .values = fail_mode_names};
static const char *const protocols_names[] = {
    "OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15", NULL};
static const struct base_type protocols = {ATOM_STRING, .values = protocols_names};
static const char *const bond_mode_names[] = {"balance-tcp", "balance-slb", "active-backup", NULL};
static const struct base_type bond_mode = {ATOM_STRING, .values = bond_mode_names};
static const char *const lacp_names[] = {"active", "passive", "off", NULL};
static const struct base_type lacp = {ATOM_STRING, .values = lacp_names};
static const char *const vlan_mode_names[] = {"trunk",           "access",       "native-tagged",
                                              "native-untagged", "dot1q-tunnel", NULL};
static const struct base_type vlan_mode = {ATOM_STRING, .values = vlan_mode_names};
static const char *const up_or_down_names[] = {"up", "down", NULL};
static const struct base_type up_or_down = {ATOM_STRING, .values = up_or_down_names};
static const char *const duplex_names[] = {"half", "full", NULL};
static const struct base_type duplex = {ATOM_STRING, .values = duplex_names};
static const char *const overflow_policy_names[] = {"refuse", "evict", NULL};
static const struct base_type overflow_policy = {ATOM_STRING, .values = overflow_policy_names};
static const char *const connection_mode_names[] = {"in-band", "out-of-band", NULL};
static const struct base_type connection_mode = {ATOM_STRING, .values = connection_mode_names};
static const char *const controller_role_names[] = {"other", "master", "slave", NULL};
static const struct base_type controller_role = {ATOM_STRING, .values = controller_role_names};
static const char *const controller_type_names[] = {"primary", "service", NULL};
static const struct base_type controller_type = {ATOM_STRING, .values = controller_type_names};
static const char *const timeout_names[] = {"tcp_syn_sent",
                                            "tcp_syn_recv",
                                            "tcp_established",
                                            "tcp_fin_wait",
                                            "tcp_close_wait",
                                            "tcp_last_ack",
                                            "tcp_time_wait",
                                            "tcp_close",
                                            "tcp_syn_sent2",
                                            "tcp_retransmit",
                                            "tcp_unack",
                                            "udp_first",
                                            "udp_single",
                                            "udp_multiple",
                                            "icmp_first",
                                            "icmp_reply",
                                            NULL};
static const struct base_type timeout = {ATOM_STRING, .values = timeout_names};

#define ONE(base)            \
    {                        \
        &(base), NULL, 1, 1, \
    }
#define OPTIONAL(base)       \
    {                        \
        &(base), NULL, 0, 1, \
    }
#define SET(base, min, max)      \
    {                            \
        &(base), NULL, min, max, \
    }
#define MAP(base, value)                       \
    {                                          \
        &(base), &(value), 0, OVSDB_UNLIMITED, \
    }
#define ROW_IDENTITY                                                \
    {"_uuid", ONE(uuid), .immutable = true},                        \
    {                                                               \
        "_version", ONE(uuid), .ephemeral = true, .immutable = true \
    }

/* --- Tables ---------------------------------------------------------------- */

static const struct column open_vswitch_columns[] = {
    ROW_IDENTITY,
    {"bridges", SET(to_bridge, 0, OVSDB_UNLIMITED)},
    {"cur_cfg", ONE(integer)},
    {"datapath_types", SET(string, 0, OVSDB_UNLIMITED)},
    {"datapaths", MAP(string, to_datapath)},
    {"db_version", OPTIONAL(string)},
    {"dpdk_initialized", ONE(boolean)},
    {"dpdk_version", OPTIONAL(string)},
    {"external_ids", MAP(string, string)},
    {"iface_types", SET(string, 0, OVSDB_UNLIMITED)},
    {"manager_options", SET(to_manager, 0, OVSDB_UNLIMITED)},
    {"next_cfg", ONE(integer)},
    {"other_config", MAP(string, string)},
    {"ovs_version", OPTIONAL(string)},
    {"ssl", OPTIONAL(to_ssl)},
    {"statistics", MAP(string, string), .ephemeral = true},
    {"system_type", OPTIONAL(string)},
    {"system_version", OPTIONAL(string)},
    {NULL},
};

static const struct column bridge_columns[] = {
    ROW_IDENTITY,
    {"auto_attach", OPTIONAL(to_autoattach)},
    {"controller", SET(to_controller, 0, OVSDB_UNLIMITED)},
    {"datapath_id", OPTIONAL(string), .ephemeral = true},
    {"datapath_type", ONE(string)},
    {"datapath_version", ONE(string)},
    {"external_ids", MAP(string, string)},
    {"fail_mode", OPTIONAL(fail_mode)},
    {"flood_vlans", SET(vlan, 0, 4096)},
    {"flow_tables", MAP(flow_tables, to_flow_table)},
    {"ipfix", OPTIONAL(to_ipfix)},
    {"mcast_snooping_enable", ONE(boolean)},
    {"mirrors", SET(to_mirror, 0, OVSDB_UNLIMITED)},
    {"name", ONE(string), .immutable = true},
    {"netflow", OPTIONAL(to_netflow)},
    {"other_config", MAP(string, string)},
    {"ports", SET(to_port, 0, OVSDB_UNLIMITED)},
    {"protocols", SET(protocols, 0, OVSDB_UNLIMITED)},
    {"rstp_enable", ONE(boolean)},
    {"rstp_status", MAP(string, string), .ephemeral = true},
    {"sflow", OPTIONAL(to_sflow)},
    {"status", MAP(string, string), .ephemeral = true},
    {"stp_enable", ONE(boolean)},
    {NULL},
};

static const struct column port_columns[] = {
    ROW_IDENTITY,
    {"bond_active_slave", OPTIONAL(string)},
    {"bond_downdelay", ONE(integer)},
    {"bond_fake_iface", ONE(boolean)},
    {"bond_mode", OPTIONAL(bond_mode)},
    {"bond_updelay", ONE(integer)},
    {"cvlans", SET(vlan, 0, 4096)},
    {"external_ids", MAP(string, string)},
    {"fake_bridge", ONE(boolean)},
    {"interfaces", SET(to_interface, 1, OVSDB_UNLIMITED)},
    {"lacp", OPTIONAL(lacp)},
    {"mac", OPTIONAL(string)},
    {"name", ONE(string), .immutable = true},
    {"other_config", MAP(string, string)},
    {"protected", ONE(boolean)},
    {"qos", OPTIONAL(to_qos)},
    {"rstp_statistics", MAP(string, integer), .ephemeral = true},
    {"rstp_status", MAP(string, string), .ephemeral = true},
    {"statistics", MAP(string, integer), .ephemeral = true},
    {"status", MAP(string, string), .ephemeral = true},
    {"tag", OPTIONAL(vlan)},
    {"trunks", SET(vlan, 0, 4096)},
    {"vlan_mode", OPTIONAL(vlan_mode)},
    {NULL},
};

static const struct column interface_columns[] = {
    ROW_IDENTITY,
    {"admin_state", OPTIONAL(up_or_down), .ephemeral = true},
    {"bfd", MAP(string, string)},
    {"bfd_status", MAP(string, string), .ephemeral = true},
    {"cfm_fault", OPTIONAL(boolean), .ephemeral = true},
    {"cfm_fault_status", SET(string, 0, OVSDB_UNLIMITED), .ephemeral = true},
    {"cfm_flap_count", OPTIONAL(integer)},
    {"cfm_health", OPTIONAL(percent), .ephemeral = true},
    {"cfm_mpid", OPTIONAL(integer)},
    {"cfm_remote_mpids", SET(integer, 0, OVSDB_UNLIMITED), .ephemeral = true},
    {"cfm_remote_opstate", OPTIONAL(up_or_down), .ephemeral = true},
    {"duplex", OPTIONAL(duplex), .ephemeral = true},
    {"error", OPTIONAL(string)},
    {"external_ids", MAP(string, string)},
    {"ifindex", OPTIONAL(uint32), .ephemeral = true},
    {"ingress_policing_burst", ONE(natural)},
    {"ingress_policing_kpkts_burst", ONE(natural)},
    {"ingress_policing_kpkts_rate", ONE(natural)},
    {"ingress_policing_rate", ONE(natural)},
    {"lacp_current", OPTIONAL(boolean), .ephemeral = true},
    {"link_resets", OPTIONAL(integer), .ephemeral = true},
    {"link_speed", OPTIONAL(integer), .ephemeral = true},
    {"link_state", OPTIONAL(up_or_down), .ephemeral = true},
    {"lldp", MAP(string, string)},
    {"mac", OPTIONAL(string)},
    {"mac_in_use", OPTIONAL(string), .ephemeral = true},
    {"mtu", OPTIONAL(integer), .ephemeral = true},
    {"mtu_request", OPTIONAL(positive)},
    {"name", ONE(string), .immutable = true},
    {"ofport", OPTIONAL(integer)},
    {"ofport_request", OPTIONAL(ofport_request)},
    {"options", MAP(string, string)},
    {"other_config", MAP(string, string)},
    {"statistics", MAP(string, integer), .ephemeral = true},
    {"status", MAP(string, string), .ephemeral = true},
    {"type", ONE(string)},
    {NULL},
};

static const struct column flow_table_columns[] = {
    ROW_IDENTITY,
    {"external_ids", MAP(string, string)},
    {"flow_limit", OPTIONAL(natural)},
    {"groups", SET(string, 0, OVSDB_UNLIMITED)},
    {"name", OPTIONAL(string)},
    {"overflow_policy", OPTIONAL(overflow_policy)},
    {"prefixes", SET(string, 0, 3)},
    {NULL},
};

static const struct column qos_columns[] = {
    ROW_IDENTITY,
    {"external_ids", MAP(string, string)},
    {"other_config", MAP(string, string)},
    {"queues", MAP(uint32, to_queue)},
    {"type", ONE(string)},
    {NULL},
};

static const struct column queue_columns[] = {
    ROW_IDENTITY,
    {"dscp", OPTIONAL(dscp)},
    {"external_ids", MAP(string, string)},
    {"other_config", MAP(string, string)},
    {NULL},
};

static const struct column mirror_columns[] = {
    ROW_IDENTITY,
    {"external_ids", MAP(string, string)},
    {"name", ONE(string)},
    {"output_port", OPTIONAL(weak_port)},
    {"output_vlan", OPTIONAL(output_vlan)},
    {"select_all", ONE(boolean)},
    {"select_dst_port", SET(weak_port, 0, OVSDB_UNLIMITED)},
    {"select_src_port", SET(weak_port, 0, OVSDB_UNLIMITED)},
    {"select_vlan", SET(vlan, 0, 4096)},
    {"snaplen", OPTIONAL(snaplen)},
    {"statistics", MAP(string, integer), .ephemeral = true},
    {NULL},
};

static const struct column netflow_columns[] = {
    ROW_IDENTITY,
    {"active_timeout", ONE(active_timeout)},
    {"add_id_to_interface", ONE(boolean)},
    {"engine_id", OPTIONAL(byte)},
    {"engine_type", OPTIONAL(byte)},
    {"external_ids", MAP(string, string)},
    {"targets", SET(string, 1, OVSDB_UNLIMITED)},
    {NULL},
};

static const struct column sflow_columns[] = {
    ROW_IDENTITY,
    {"agent", OPTIONAL(string)},
    {"external_ids", MAP(string, string)},
    {"header", OPTIONAL(integer)},
    {"polling", OPTIONAL(integer)},
    {"sampling", OPTIONAL(integer)},
    {"targets", SET(string, 1, OVSDB_UNLIMITED)},
    {NULL},
};

static const struct column ipfix_columns[] = {
    ROW_IDENTITY,
    {"cache_active_timeout", OPTIONAL(cache_active_timeout)},
    {"cache_max_flows", OPTIONAL(uint32)},
    {"external_ids", MAP(string, string)},
    {"obs_domain_id", OPTIONAL(uint32)},
    {"obs_point_id", OPTIONAL(uint32)},
    {"other_config", MAP(string, string)},
    {"sampling", OPTIONAL(sampling)},
    {"targets", SET(string, 0, OVSDB_UNLIMITED)},
    {NULL},
};

static const struct column flow_sample_collector_set_columns[] = {
    ROW_IDENTITY,        {"bridge", ONE(to_bridge)},    {"external_ids", MAP(string, string)},
    {"id", ONE(uint32)}, {"ipfix", OPTIONAL(to_ipfix)}, {NULL},
};

static const struct column controller_columns[] = {
    ROW_IDENTITY,
    {"connection_mode", OPTIONAL(connection_mode)},
    {"controller_burst_limit", OPTIONAL(controller_burst_limit)},
    {"controller_queue_size", OPTIONAL(controller_queue_size)},
    {"controller_rate_limit", OPTIONAL(controller_rate_limit)},
    {"enable_async_messages", OPTIONAL(boolean)},
    {"external_ids", MAP(string, string)},
    {"inactivity_probe", OPTIONAL(integer)},
    {"is_connected", ONE(boolean), .ephemeral = true},
    {"local_gateway", OPTIONAL(string)},
    {"local_ip", OPTIONAL(string)},
    {"local_netmask", OPTIONAL(string)},
    {"max_backoff", OPTIONAL(max_backoff)},
    {"other_config", MAP(string, string)},
    {"role", OPTIONAL(controller_role), .ephemeral = true},
    {"status", MAP(string, string), .ephemeral = true},
    {"target", ONE(string)},
    {"type", OPTIONAL(controller_type)},
    {NULL},
};

static const struct column manager_columns[] = {
    ROW_IDENTITY,
    {"connection_mode", OPTIONAL(connection_mode)},
    {"external_ids", MAP(string, string)},
    {"inactivity_probe", OPTIONAL(integer)},
    {"is_connected", ONE(boolean), .ephemeral = true},
    {"max_backoff", OPTIONAL(max_backoff)},
    {"other_config", MAP(string, string)},
    {"status", MAP(string, string), .ephemeral = true},
    {"target", ONE(string)},
    {NULL},
};

static const struct column datapath_columns[] = {
    ROW_IDENTITY,
    {"capabilities", MAP(string, string)},
    {"ct_zones", MAP(zone, to_ct_zone)},
    {"datapath_version", ONE(string)},
    {"external_ids", MAP(string, string)},
    {NULL},
};

static const struct column ct_zone_columns[] = {
    ROW_IDENTITY,
    {"external_ids", MAP(string, string)},
    {"timeout_policy", OPTIONAL(to_ct_timeout_policy)},
    {NULL},
};

static const struct column ct_timeout_policy_columns[] = {
    ROW_IDENTITY,
    {"external_ids", MAP(string, string)},
    {"timeouts", MAP(timeout, uint32)},
    {NULL},
};

static const struct column ssl_columns[] = {
    ROW_IDENTITY,
    {"bootstrap_ca_cert", ONE(boolean)},
    {"ca_cert", ONE(string)},
    {"certificate", ONE(string)},
    {"external_ids", MAP(string, string)},
    {"private_key", ONE(string)},
    {NULL},
};

static const struct column autoattach_columns[] = {
    ROW_IDENTITY,
    {"mappings", MAP(mappings, vlan)},
    {"system_description", ONE(string)},
    {"system_name", ONE(string)},
    {NULL},
};

const struct table ovsdb_tables[] = {
    {"Open_vSwitch", open_vswitch_columns, .root = true, .max_rows = 1},
    {"Bridge", bridge_columns, .index = {"name"}},
    {"Port", port_columns, .index = {"name"}},
    {"Interface", interface_columns, .index = {"name"}},
    {"Flow_Table", flow_table_columns},
    {"QoS", qos_columns, .root = true},
    {"Queue", queue_columns, .root = true},
    {"Mirror", mirror_columns},
    {"NetFlow", netflow_columns},
    {"sFlow", sflow_columns},
    {"IPFIX", ipfix_columns},
    {"Flow_Sample_Collector_Set", flow_sample_collector_set_columns, .root = true,
     .index = {"id", "bridge"}},
    {"Controller", controller_columns},
    {"Manager", manager_columns, .index = {"target"}},
    {"Datapath", datapath_columns},
    {"CT_Zone", ct_zone_columns},
    {"CT_Timeout_Policy", ct_timeout_policy_columns},
    {"SSL", ssl_columns, .max_rows = 1},
    {"AutoAttach", autoattach_columns},
    {NULL},
};

const struct table *ovsdb_find_table(const char *name)
{
    for (const struct table *table = ovsdb_tables; table->name; table++) {
        if (strcmp(table->name, name) == 0)
            return table;
    }
    return NULL;
}

int ovsdb_find_column(const struct table *table, const char *name)
{
    for (int i = 0; table->columns[i].name; i++) {
        if (strcmp(table->columns[i].name, name) == 0)
            return i;
    }
    return -1;
}

unsigned ovsdb_column_count(const struct table *table)
{
    unsigned count = 0;
    while (table->columns[count].name)
        count++;
    return count;
}

/* --- The schema as JSON ---------------------------------------------------- */

static const char *const type_names[] = {"integer", "boolean", "string", "uuid"};

static json_t *base_to_json(const struct base_type *base)
{
    json_t *object = json_pack("{s:s}", "type", type_names[base->type]);
    if (base->type == ATOM_INTEGER && base->min != INT64_MIN)
        json_object_set_new(object, "minInteger", json_integer(base->min));
    if (base->type == ATOM_INTEGER && base->max != INT64_MAX)
        json_object_set_new(object, "maxInteger", json_integer(base->max));
    if (base->values) {
        json_t *values = json_array();
        for (unsigned i = 0; base->values[i]; i++)
            json_array_append_new(values, json_string(base->values[i]));
        json_object_set_new(object, "enum", json_pack("[s, o]", "set", values));
    }
    if (base->table)
        json_object_set_new(object, "refTable", json_string(base->table));
    if (base->weak)
        json_object_set_new(object, "refType", json_string("weak"));
    if (json_object_size(object) > 1)
        return object;
    json_decref(object);
    return json_string(type_names[base->type]);
}

static json_t *type_to_json(const struct column_type *type)
{
    json_t *key = base_to_json(type->key);
    if (json_is_string(key) && !type->value && type->min == 1 && type->max == 1)
        return key;
    json_t *object = json_pack("{s:o}", "key", key);
    if (type->value)
        json_object_set_new(object, "value", base_to_json(type->value));
    if (type->min != 1)
        json_object_set_new(object, "min", json_integer(type->min));
    if (type->max != 1)
        json_object_set_new(object, "max",
                            type->max == OVSDB_UNLIMITED ? json_string("unlimited")
                                                         : json_integer(type->max));
    return object;
}

static json_t *table_to_json(const struct table *table)
{
    json_t *columns = json_object();
    for (const struct column *column = table->columns + COLUMNS_OF_ALL; column->name; column++) {
        json_t *object = json_pack("{s:o}", "type", type_to_json(&column->type));
        if (column->ephemeral)
            json_object_set_new(object, "ephemeral", json_true());
        if (column->immutable)
            json_object_set_new(object, "mutable", json_false());
        json_object_set_new(columns, column->name, object);
    }
    json_t *object = json_pack("{s:o}", "columns", columns);
    if (table->root)
        json_object_set_new(object, "isRoot", json_true());
    if (table->max_rows)
        json_object_set_new(object, "maxRows", json_integer(table->max_rows));
    if (table->index[0]) {
        json_t *index = json_array();
        for (unsigned i = 0; i < ARRAY_SIZE(table->index) && table->index[i]; i++)
            json_array_append_new(index, json_string(table->index[i]));
        json_object_set_new(object, "indexes", json_pack("[o]", index));
    }
    return object;
}

json_t *ovsdb_schema_to_json(void)
{
    json_t *tables = json_object();
    for (const struct table *table = ovsdb_tables; table->name; table++)
        json_object_set_new(tables, table->name, table_to_json(table));
    return json_pack("{s:s, s:s, s:o}", "name", OVSDB_NAME, "version", VERSION, "tables", tables);
}
