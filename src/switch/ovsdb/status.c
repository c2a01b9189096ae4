/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Columns that the switch fills in: what interfaces are and count, and what went wrong; see
 * ovsdb.h. */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "switch/control/bonds.h"
#include "switch/control/port_kinds.h"
#include "switch/control/spanning.h"
#include "switch/forward/bridge.h"
#include "switch/openflow/openflow.h"
#include "switch/ovsdb/ovsdb.h"

#define OFPORT_FAILED (-1)

/* --- What the forwarding thread counts -------------------------------------- */

struct view {
    const struct port *port;
    bool up;
    struct port_counters counters;
};

struct views {
    struct vswitch *sw;
    unsigned count;
    unsigned first;    /* of the bridge whose ports are looked at */
    struct view *list; /* by name of the port */
};

static void look_here(void *opaque)
{
    struct views *views = opaque;
    for (unsigned i = views->first; i < views->count; i++) {
        views->list[i].up = views->list[i].port->up;
        views->list[i].counters = views->list[i].port->counters;
    }
}

static int compare_views(const void *a, const void *b)
{
    return strcmp(((const struct view *)a)->port->name, ((const struct view *)b)->port->name);
}

static void look(struct views *views, struct vswitch *sw)
{
    *views = (struct views){.sw = sw};
    views->list = calloc(sw->port_count + 1, sizeof(*views->list));
    if (!views->list)
        abort();
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        views->first = views->count;
        list_for_each (inner, &bridge->ports)
            views->list[views->count++].port = list_entry(inner, struct port, node);
        forward_run(bridge->forward, look_here, views);
    }
    qsort(views->list, views->count, sizeof(*views->list), compare_views);
}

static int compare_name(const void *name, const void *view)
{
    return strcmp(name, ((const struct view *)view)->port->name);
}

static const struct view *find_view(const struct views *views, const char *name)
{
    return bsearch(name, views->list, views->count, sizeof(*views->list), compare_name);
}

/* --- Rows ------------------------------------------------------------------ */

static void set_string(struct database *db, struct row *row, const char *column, const char *text)
{
    struct datum datum;
    datum_init_string(&datum, text);
    row_set(db, row, column, datum);
}

static void set_integer(struct database *db, struct row *row, const char *column, bool known,
                        int64_t value)
{
    struct datum datum;
    datum_init_integer(&datum, value);
    datum.count = known;
    row_set(db, row, column, datum);
}

/* pairs: an object of strings or integers; taken over. */
static void set_map(struct database *db, struct row *row, const char *column, json_t *pairs)
{
    json_t *list = json_array(), *value;
    const char *key;
    struct datum datum;
    json_object_foreach (pairs, key, value)
        json_array_append_new(list, json_pack("[s, O]", key, value));
    json_t *map = json_pack("[s, o]", "map", list);
    const struct column *to = &row->table->columns[ovsdb_find_column(row->table, column)];
    json_t *error = datum_from_json(&datum, &to->type, map, false, NULL);
    if (!error)
        row_set(db, row, column, datum);
    json_decref(error);
    json_decref(map);
    json_decref(pairs);
}

/* --- Interfaces of the kernel ----------------------------------------------- */

static json_t *driver_of(int fd, const char *name)
{
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    struct ifreq ifr = {.ifr_data = (void *)&info};
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    if (ioctl(fd, SIOCETHTOOL, &ifr) < 0)
        return json_object();
    return json_pack("{s:s, s:s, s:s}", "driver_name", info.driver, "driver_version", info.version,
                     "firmware_version", info.fw_version);
}

/* Whatever the kernel calls so; a port that is no interface has nothing of these. */
static void write_kernel(struct database *db, struct row *row, const char *name, bool present)
{
    struct ifreq ifr = {0};
    cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char mac[18];
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    present = present && strlen(name) < IFNAMSIZ && ioctl(fd, SIOCGIFINDEX, &ifr) == 0;
    set_integer(db, row, "ifindex", present, present ? ifr.ifr_ifindex : 0);
    bool known = present && ioctl(fd, SIOCGIFHWADDR, &ifr) == 0;
    const uint8_t *bytes = (const uint8_t *)ifr.ifr_hwaddr.sa_data;
    snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2],
             bytes[3], bytes[4], bytes[5]);
    set_string(db, row, "mac_in_use", known ? mac : NULL);
    known = present && ioctl(fd, SIOCGIFMTU, &ifr) == 0;
    set_integer(db, row, "mtu", known, known ? ifr.ifr_mtu : 0);
    known = present && ioctl(fd, SIOCGIFFLAGS, &ifr) == 0;
    set_string(db, row, "admin_state", !known ? NULL : ifr.ifr_flags & IFF_UP ? "up" : "down");
    set_map(db, row, "status", present ? driver_of(fd, name) : json_object());
}

/* --- Interfaces ------------------------------------------------------------ */

static json_t *statistics_of(const struct port_counters *c)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_packets", (json_int_t)c->in_frames, "rx_bytes",
        (json_int_t)c->in_bytes, "rx_dropped", (json_int_t)port_drops_in(c), "rx_errors",
        (json_int_t)c->drops[DROP_MALFORMED], "tx_packets", (json_int_t)c->out_frames, "tx_bytes",
        (json_int_t)c->out_bytes, "tx_dropped", (json_int_t)port_drops_out(c));
}

/* What a bond makes of the interface. */
static void write_member(struct ovsdb *ovsdb, struct row *port, struct row *interface)
{
    struct port *bond = vswitch_find_port(ovsdb->sw, row_string(port, "name"));
    const char *name = row_string(interface, "name");
    json_t *told = json_object(), *member, *lacp = NULL;
    size_t i;
    if (bond && port_kind_of(bond)->describe == bonds_describe)
        bonds_describe(bond, told);
    json_array_foreach (json_object_get(told, "members"), i, member) {
        if (strcmp(json_string_value(json_object_get(member, "name")), name) == 0)
            lacp = json_object_get(member, "lacp");
    }
    struct datum current;
    datum_init_boolean(&current, lacp && strcmp(json_string_value(lacp), "current") == 0);
    current.count = lacp != NULL;
    row_set(&ovsdb->db, interface, "lacp_current", current);
    const char *active = json_string_value(json_object_get(told, "active"));
    if (!active || strcmp(active, name) == 0)
        set_string(&ovsdb->db, port, "bond_active_slave",
                   active ? row_string(interface, "mac_in_use") : NULL);
    json_decref(told);
}

/* What RSTP makes of the bridge and of the port, in the words of ovs-vswitchd.conf.db(5). */
static json_t *rstp_of_bridge(const struct bridge *bridge)
{
    json_t *row = json_object(), *map = json_object();
    spanning_describe(bridge, row);
    const json_t *state = json_object_get(row, "rstp-state");
    if (state) {
        json_object_set(map, "rstp_bridge_id", json_object_get(state, "bridge-id"));
        json_object_set(map, "rstp_root_id", json_object_get(state, "root-id"));
        json_object_set_new(map, "rstp_root_path_cost",
                            json_sprintf("%lld", (long long)json_integer_value(
                                                     json_object_get(state, "root-cost"))));
    }
    json_decref(row);
    return map;
}

static json_t *rstp_of_port(const struct port *port)
{
    json_t *row = json_object(), *map = json_object();
    spanning_describe_port(port, row);
    const json_t *state = json_object_get(row, "rstp-state");
    if (state) {
        json_object_set(map, "rstp_port_role", json_object_get(state, "role"));
        json_object_set(map, "rstp_port_state", json_object_get(state, "state"));
        json_object_set_new(map, "rstp_port_id",
                            json_sprintf("%04llx", (unsigned long long)json_integer_value(
                                                       json_object_get(state, "port-id"))));
    }
    json_decref(row);
    return map;
}

/* A bond's port has its name, another one its interface's. */
static void write_port_rstp(struct ovsdb *ovsdb, struct row *port, const struct row *interface)
{
    const struct port *made = vswitch_find_port(ovsdb->sw, row_string(port, "name"));
    if (!made)
        made = vswitch_find_port(ovsdb->sw, row_string(interface, "name"));
    set_map(&ovsdb->db, port, "rstp_status", made ? rstp_of_port(made) : json_object());
}

struct writing {
    struct ovsdb *ovsdb;
    struct views views;
};

static void write_interface(void *opaque, struct row *bridge, struct row *port,
                            struct row *interface)
{
    struct writing *writing = opaque;
    struct ovsdb *ovsdb = writing->ovsdb;
    struct database *db = &ovsdb->db;
    const char *name = row_string(interface, "name");
    const struct view *view = find_view(&writing->views, name);
    const json_t *made = json_object_get(ovsdb->ports, name);
    const char *kind = json_string_value(json_object_get(made, "type"));
    const char *kernel_name = json_string_value(json_object_get(made, "interface"));
    set_string(db, interface, "error", json_string_value(json_object_get(ovsdb->failures, name)));
    set_integer(db, interface, "ofport", true, view ? view->port->of_number : OFPORT_FAILED);
    set_string(db, interface, "link_state", !view ? NULL : view->up ? "up" : "down");
    write_kernel(db, interface, kernel_name ? kernel_name : name,
                 view && kind && port_kind_named(kind)->has & PORT_HAS_INTERFACE);
    write_member(ovsdb, port, interface);
    write_port_rstp(ovsdb, port, interface);
    set_map(db, interface, "statistics", view ? statistics_of(&view->counters) : json_object());
}

/* --- All ------------------------------------------------------------------- */

static void write_bridge(struct ovsdb *ovsdb, struct row *bridge)
{
    const json_t *why = json_object_get(ovsdb->troubles, row_string(bridge, "name"));
    const struct bridge *made = vswitch_find_bridge(ovsdb->sw, row_string(bridge, "name"));
    char id[17];
    snprintf(id, sizeof(id), "%016llx", made ? (unsigned long long)openflow_datapath_id(made) : 0);
    set_string(&ovsdb->db, bridge, "datapath_id", made ? id : NULL);
    set_map(&ovsdb->db, bridge, "rstp_status", made ? rstp_of_bridge(made) : json_object());
    set_map(&ovsdb->db, bridge, "status", why ? json_pack("{s:O}", "error", why) : json_object());
}

static void write_all(struct ovsdb *ovsdb)
{
    struct writing writing = {.ovsdb = ovsdb};
    struct row *root = ovsdb_root(ovsdb);
    look(&writing.views, ovsdb->sw);
    ovsdb_each_interface(ovsdb, write_interface, &writing);
    free(writing.views.list);
    database_each (&ovsdb->db, ovsdb_find_table("Bridge"), bridge)
        write_bridge(ovsdb, bridge);
    database_each (&ovsdb->db, ovsdb_find_table("Controller"), controller)
        set_map(&ovsdb->db, controller, "status",
                json_pack("{s:s, s:s}", "state", "VOID", "last_error",
                          "controllers are not called; they may come to the bridge's socket"));
    /* Whoever waits for that knows now how it went. */
    if (root && !ovsdb->pending)
        set_integer(&ovsdb->db, root, "cur_cfg", true, row_get(root, "next_cfg")->keys->integer);
}

void ovsdb_write_status(struct ovsdb *ovsdb)
{
    ovsdb->reporting = true;
    write_all(ovsdb);
    json_t *error = database_commit(&ovsdb->db);
    if (error)
        log_error("ovsdb: the switch's state: %s",
                  json_string_value(json_object_get(error, "details")));
    json_decref(error);
    ovsdb->reporting = false;
    ovsdb->refreshed_ns = clock_monotonic_ns();
}
