/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows to objects and back; see spec.h. */
#include "switch/ovsdb/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/options.h"
#include "base/parse.h"
#include "base/util.h"
#include "switch/control/port_kinds.h"
#include "switch/forward/bridge.h"

#define PATH_MAX_LENGTH 4096

/* Interface.type and a port's type. The first row of a kind is what it is called in the
 * database. */
static const struct kind {
    const char *type, *kind;
    const char *path; /* the key in Interface.options, or NULL */
} kinds[] = {
    {"", "interface", NULL},
    {"system", "interface", NULL},
    {"tap", "tap", NULL},
    {"internal", "tap", NULL},
    {"dpdkvhostuserclient", "vhost-user-client", "vhost-server-path"},
    {"dpdkvhostuser", "vhost-user-server", "path"},
    {"pcap", "pcap", NULL},
    {"patch", "patch", NULL},
    {"vxlan", "vxlan", NULL},
    {"geneve", "geneve", NULL},
};

const char *const spec_interface_types[] = {
    "system", "tap",    "internal", "dpdkvhostuserclient", "dpdkvhostuser", "pcap", "patch",
    "vxlan",  "geneve", NULL,
};

/* Numbers of a bridge in Bridge.other_config. */
static const struct pair {
    const char *key, *name;
} bridge_numbers[] = {
    {"mac-aging-time", "ageing"},
    {"mac-table-size", "mac-entries"},
    {"mcast-snooping-aging-time", "snooping-ageing"},
    {"mcast-snooping-table-size", "snooping-groups"},
    {"rstp-forward-delay", "rstp-forward-delay"},
    {"rstp-max-age", "rstp-max-age"},
    {"rstp-priority", "rstp-priority"},
};
#define DROP_UNREGISTERED "mcast-snooping-disable-flood-unregistered"

/* Flags of a port in Port.other_config. */
static const struct port_flag {
    const char *key, *name;
    const char *when; /* it has that value */
} port_flags[] = {
    {"mcast-snooping-flood", "multicast-flood", "true"},
    {"mcast-snooping-flood-reports", "multicast-reports", "true"},
    {"rstp-enable", "no-rstp", "false"},
    {"rstp-port-admin-edge", "rstp-edge", "true"},
    {"rstp-port-auto-edge", "rstp-no-auto-edge", "false"},
};

/* Its numbers there. */
static const struct pair port_numbers[] = {
    {"mac-limit", "mac-limit"},
    {"rstp-path-cost", "rstp-cost"},
    {"rstp-port-priority", "rstp-priority"},
};

/* Keys of Interface.options that are called otherwise here. */
static const struct pair option_names[] = {
    {"remote_ip", "remote-ip"},
    {"local_ip", "local-ip"},
    {"dst_port", "dst-port"},
    {"df_default", "df-default"},
};

static const char *name_of_key(const char *key)
{
    for (unsigned i = 0; i < ARRAY_SIZE(option_names); i++) {
        if (strcmp(option_names[i].key, key) == 0)
            return option_names[i].name;
    }
    return key;
}

static const char *key_of_name(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(option_names); i++) {
        if (strcmp(option_names[i].name, name) == 0)
            return option_names[i].key;
    }
    return name;
}

/* What is in other columns than Interface.options. */
static const char *const elsewhere[] = {"bridge",
                                        "name",
                                        "type",
                                        "path",
                                        "tag",
                                        "trunks",
                                        "native",
                                        "native-tagged",
                                        "tunnel",
                                        "customers",
                                        "outer-tag",
                                        "isolated",
                                        "in-average",
                                        "in-burst",
                                        "mac-limit",
                                        "ofport",
                                        "bond",
                                        "mode",
                                        "lacp",
                                        "lacp-time",
                                        "lacp-fallback",
                                        "lacp-system-id",
                                        "lacp-system-priority",
                                        "up-delay",
                                        "down-delay",
                                        "primary",
                                        "multicast-flood",
                                        "multicast-reports",
                                        "no-rstp",
                                        "rstp-cost",
                                        "rstp-priority",
                                        "rstp-edge",
                                        "rstp-no-auto-edge",
                                        NULL};

static bool is_among(const char *const *names, const char *name)
{
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

/* --- Rows to objects ------------------------------------------------------- */

json_t *spec_of_bridge(const struct row *bridge)
{
    json_t *object = json_pack("{s:s}", "name", row_string(bridge, "name"));
    for (unsigned i = 0; i < ARRAY_SIZE(bridge_numbers); i++) {
        uint64_t number;
        const char *text = datum_map_get(row_get(bridge, "other_config"), bridge_numbers[i].key);
        if (text && parse_u64(text, &number) == 0 && number <= INT32_MAX)
            json_object_set_new(object, bridge_numbers[i].name, json_integer((json_int_t)number));
    }
    const char *drop = datum_map_get(row_get(bridge, "other_config"), DROP_UNREGISTERED);
    if (drop && strcmp(drop, "true") == 0)
        json_object_set_new(object, "drop-unregistered", json_true());
    const char *address = datum_map_get(row_get(bridge, "other_config"), "rstp-address");
    if (address)
        json_object_set_new(object, "rstp-address", json_string(address));
    if (row_get(bridge, "mcast_snooping_enable")->keys->boolean)
        json_object_set_new(object, "snooping", json_true());
    if (row_get(bridge, "rstp_enable")->keys->boolean)
        json_object_set_new(object, "rstp", json_true());
    return object;
}

static const struct option_spec *find_option(const char *name)
{
    for (const struct option_spec *spec = port_option_specs; spec->name; spec++) {
        if (strcmp(spec->name, name) == 0)
            return spec;
    }
    return NULL;
}

/* An element of a map of strings as the option's type wants it. */
static int set_option(json_t *object, const char *key, const char *value, struct kv_error *err)
{
    const struct option_spec *spec = find_option(key);
    uint64_t number;
    bool flag;
    if (!spec)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "there is no option '%.100s'", key);
    if (spec->type == OPTION_UINT && parse_u64(value, &number) == 0 && number <= INT64_MAX)
        json_object_set_new(object, key, json_integer((json_int_t)number));
    else if (spec->type == OPTION_BOOL && parse_bool(value, &flag) == 0)
        json_object_set_new(object, key, json_boolean(flag));
    else
        json_object_set_new(object, key, json_string(value));
    return 0;
}

static int add_options(json_t *object, const struct kind *kind, const struct row *interface,
                       struct kv_error *err)
{
    const struct datum *options = row_get(interface, "options");
    for (unsigned i = 0; i < options->count; i++) {
        const char *key = options->keys[i].string, *value = options->values[i].string;
        if (kind->path && strcmp(key, kind->path) == 0)
            json_object_set_new(object, "path", json_string(value));
        else if (is_among(elsewhere, key))
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'%s' is no key of options", key);
        else if (set_option(object, name_of_key(key), value, err) < 0)
            return -EINVAL;
    }
    return 0;
}

static int add_kind(json_t *object, const struct row *interface, const char *run_dir,
                    struct kv_error *err)
{
    const char *type = row_string(interface, "type");
    if (strchr(row_string(interface, "name"), '/'))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "a name has no '/'");
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i].type, type) != 0)
            continue;
        char path[PATH_MAX_LENGTH];
        snprintf(path, sizeof(path), "%s/%s", run_dir, row_string(interface, "name"));
        json_object_set_new(object, "type", json_string(kinds[i].kind));
        if (kinds[i].path && strcmp(kinds[i].path, "path") == 0)
            json_object_set_new(object, "path", json_string(path));
        return add_options(object, &kinds[i], interface, err);
    }
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                        "type '%.100s': system, internal, tap, dpdkvhostuser, "
                        "dpdkvhostuserclient, pcap, patch, vxlan and geneve are possible",
                        type);
}

/* The VLANs of a set as text. */
json_t *spec_vlan_list(const struct datum *vlans)
{
    json_t *json = NULL;
    size_t len = 0, size = (size_t)vlans->count * 5 + 1;
    char *text = calloc(1, size);
    if (!text)
        abort();
    for (unsigned i = 0; i < vlans->count; i++)
        len += (size_t)snprintf(text + len, size - len, "%s%u", i ? "," : "",
                                (unsigned)vlans->keys[i].integer);
    json = json_string(text);
    free(text);
    return json;
}

/* Mode dot1q-tunnel: an access port whose frames keep their tags. */
static void add_tunnel(json_t *object, const struct row *port)
{
    const struct datum *cvlans = row_get(port, "cvlans");
    const char *outer = datum_map_get(row_get(port, "other_config"), "qinq-ethtype");
    json_object_set_new(object, "tag", json_integer(row_get(port, "tag")->keys->integer));
    json_object_set_new(object, "tunnel", json_true());
    if (cvlans->count)
        json_object_set_new(object, "customers", spec_vlan_list(cvlans));
    if (outer)
        json_object_set_new(object, "outer-tag", json_string(outer));
}

/* ovs-vswitchd.conf.db(5), "VLAN Configuration": without a mode, a tag makes an access port. */
static void add_vlans(json_t *object, const struct row *port)
{
    const struct datum *tag = row_get(port, "tag"), *trunks = row_get(port, "trunks");
    const char *mode = row_string(port, "vlan_mode");
    json_int_t vlan = tag->count ? tag->keys->integer : 0;
    if (!mode)
        mode = tag->count ? "access" : "trunk";
    if (strcmp(mode, "dot1q-tunnel") == 0) {
        add_tunnel(object, port);
        return;
    }
    if (strcmp(mode, "access") == 0) {
        if (vlan)
            json_object_set_new(object, "tag", json_integer(vlan));
        else
            json_object_set_new(object, "trunks", json_string("0"));
        return;
    }
    if (trunks->count)
        json_object_set_new(object, "trunks", spec_vlan_list(trunks));
    if (vlan && strcmp(mode, "trunk") != 0)
        json_object_set_new(object, "native", json_integer(vlan));
    if (vlan && strcmp(mode, "native-tagged") == 0)
        json_object_set_new(object, "native-tagged", json_true());
}

/* Thousands of bits to KiB, not to nothing. */
static json_int_t kib_of(json_int_t kilobits)
{
    json_int_t kib = (kilobits * 125 + 512) / 1024;
    return kib ? kib : 1;
}

static void add_policing(json_t *object, const struct row *interface)
{
    json_int_t rate = row_get(interface, "ingress_policing_rate")->keys->integer;
    json_int_t burst = row_get(interface, "ingress_policing_burst")->keys->integer;
    if (!rate)
        return;
    json_object_set_new(object, "in-average", json_integer(kib_of(rate)));
    if (burst)
        json_object_set_new(object, "in-burst", json_integer(kib_of(burst)));
}

/* What a port's row says of it, be it an interface or a bond. */
static void add_port_columns(json_t *object, const struct row *port)
{
    for (unsigned i = 0; i < ARRAY_SIZE(port_numbers); i++) {
        const char *number = datum_map_get(row_get(port, "other_config"), port_numbers[i].key);
        if (number)
            set_option(object, port_numbers[i].name, number, NULL);
    }
    add_vlans(object, port);
    for (unsigned i = 0; i < ARRAY_SIZE(port_flags); i++) {
        const char *flag = datum_map_get(row_get(port, "other_config"), port_flags[i].key);
        if (flag && strcmp(flag, port_flags[i].when) == 0)
            json_object_set_new(object, port_flags[i].name, json_true());
    }
    if (row_get(port, "protected")->keys->boolean)
        json_object_set_new(object, "isolated", json_true());
}

bool spec_is_bond(const struct row *port)
{
    return row_get(port, "interfaces")->count > 1;
}

json_t *spec_of_bond(const struct row *bridge, const struct row *port)
{
    /* Keys of Port.other_config. */
    static const struct pair others[] = {
        {"bond-primary", "primary"},          {"lacp-fallback-ab", "lacp-fallback"},
        {"lacp-system-id", "lacp-system-id"}, {"lacp-system-priority", "lacp-system-priority"},
        {"lacp-time", "lacp-time"},
    };
    json_t *object = json_pack("{s:s, s:s, s:s}", "bridge", row_string(bridge, "name"), "name",
                               row_string(port, "name"), "type", "bond");
    const char *mode = row_string(port, "bond_mode"), *lacp = row_string(port, "lacp");
    json_int_t up = row_get(port, "bond_updelay")->keys->integer;
    json_int_t down = row_get(port, "bond_downdelay")->keys->integer;
    if (mode)
        json_object_set_new(object, "mode", json_string(mode));
    if (lacp)
        json_object_set_new(object, "lacp", json_string(lacp));
    if (up)
        json_object_set_new(object, "up-delay", json_integer(up));
    if (down)
        json_object_set_new(object, "down-delay", json_integer(down));
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        const char *value = datum_map_get(row_get(port, "other_config"), others[i].key);
        if (value)
            set_option(object, others[i].name, value, NULL);
    }
    add_port_columns(object, port);
    return object;
}

json_t *spec_of_port(const struct row *bridge, const struct row *port, const struct row *interface,
                     const char *run_dir, struct kv_error *err)
{
    json_t *object = json_pack("{s:s, s:s}", "bridge", row_string(bridge, "name"), "name",
                               row_string(interface, "name"));
    if (add_kind(object, interface, run_dir, err) < 0) {
        json_decref(object);
        return NULL;
    }
    if (spec_is_bond(port))
        json_object_set_new(object, "bond", json_string(row_string(port, "name")));
    else
        add_port_columns(object, port);
    add_policing(object, interface);
    const struct datum *number = row_get(interface, "ofport_request");
    if (number->count && number->keys->integer <= BRIDGE_PORTS_MAX)
        json_object_set_new(object, "ofport", json_integer(number->keys->integer));
    return object;
}

/* --- Objects to rows ------------------------------------------------------- */

/* Value as text, or NULL. To be freed. */
static char *text_of(const json_t *value)
{
    char *text = NULL;
    if (json_is_string(value))
        text = strdup(json_string_value(value));
    else if (json_is_integer(value) || json_is_boolean(value))
        text = json_dumps(value, JSON_ENCODE_ANY);
    return text;
}

static void set_element(struct database *db, struct row *row, const char *column, const char *key,
                        const json_t *value)
{
    char *text = text_of(value);
    row_set_element(db, row, column, key, text);
    free(text);
}

void spec_to_bridge(struct database *db, struct row *bridge, const json_t *object)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bridge_numbers); i++)
        set_element(db, bridge, "other_config", bridge_numbers[i].key,
                    json_object_get(object, bridge_numbers[i].name));
    set_element(db, bridge, "other_config", DROP_UNREGISTERED,
                json_object_get(object, "drop-unregistered"));
    struct datum snooping;
    datum_init_boolean(&snooping, json_is_true(json_object_get(object, "snooping")));
    row_set(db, bridge, "mcast_snooping_enable", snooping);
    set_element(db, bridge, "other_config", "rstp-address",
                json_object_get(object, "rstp-address"));
    struct datum rstp;
    datum_init_boolean(&rstp, json_is_true(json_object_get(object, "rstp")));
    row_set(db, bridge, "rstp_enable", rstp);
}

static struct datum integer_or_none(const json_t *value)
{
    struct datum datum;
    datum_init_integer(&datum, json_integer_value(value));
    if (!json_is_integer(value))
        datum.count = 0;
    return datum;
}

struct datum spec_vlan_set(const char *text)
{
    uint64_t set[4096 / 64] = {0};
    struct datum datum;
    datum_init_integer(&datum, 0);
    datum.count = 0;
    union atom *keys = calloc(4096, sizeof(*keys));
    if (!keys)
        abort();
    free(datum.keys);
    datum.keys = keys;
    if (text && parse_bitmap(text, set, ARRAY_SIZE(set)) == 0) {
        for (unsigned vlan = 0; vlan < 4096; vlan++) {
            if (set[vlan / 64] >> (vlan % 64) & 1)
                datum.keys[datum.count++].integer = vlan;
        }
    }
    return datum;
}

static void policing_to_row(struct database *db, struct row *interface, const json_t *object)
{
    static const struct pair rates[] = {
        {"ingress_policing_rate", "in-average"},
        {"ingress_policing_burst", "in-burst"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        struct datum datum;
        /* So that kib_of() is what it was. */
        json_int_t kib = json_integer_value(json_object_get(object, rates[i].name));
        datum_init_integer(&datum, (kib * 1024 + 62) / 125);
        row_set(db, interface, rates[i].key, datum);
    }
}

/* Those options that stay as they are, or those that can change. */
static void set_options(struct database *db, struct row *interface, const json_t *object,
                        bool fixed)
{
    for (const struct option_spec *spec = port_option_specs; spec->name; spec++) {
        if (!is_among(elsewhere, spec->name) && is_among(port_fixed_options, spec->name) == fixed)
            set_element(db, interface, "options", key_of_name(spec->name),
                        json_object_get(object, spec->name));
    }
}

void spec_to_port(struct database *db, struct row *port, struct row *interface,
                  const json_t *object)
{
    const json_t *tag = json_object_get(object, "tag"), *native = json_object_get(object, "native");
    const bool tunnel = json_is_true(json_object_get(object, "tunnel"));
    struct datum mode, isolated;
    row_set(db, port, "tag", integer_or_none(tag ? tag : native));
    row_set(db, port, "trunks",
            spec_vlan_set(json_string_value(json_object_get(object, "trunks"))));
    row_set(db, port, "cvlans",
            spec_vlan_set(json_string_value(json_object_get(object, "customers"))));
    set_element(db, port, "other_config", "qinq-ethtype", json_object_get(object, "outer-tag"));
    datum_init_string(&mode, tunnel    ? "dot1q-tunnel"
                             : !native ? NULL
                             : json_is_true(json_object_get(object, "native-tagged"))
                                 ? "native-tagged"
                                 : "native-untagged");
    row_set(db, port, "vlan_mode", mode);
    datum_init_boolean(&isolated, json_is_true(json_object_get(object, "isolated")));
    row_set(db, port, "protected", isolated);
    for (unsigned i = 0; i < ARRAY_SIZE(port_numbers); i++)
        set_element(db, port, "other_config", port_numbers[i].key,
                    json_object_get(object, port_numbers[i].name));
    for (unsigned i = 0; i < ARRAY_SIZE(port_flags); i++) {
        bool on = json_is_true(json_object_get(object, port_flags[i].name));
        row_set_element(db, port, "other_config", port_flags[i].key,
                        on ? port_flags[i].when : NULL);
    }
    policing_to_row(db, interface, object);
    row_set(db, interface, "ofport_request", integer_or_none(json_object_get(object, "ofport")));
    set_options(db, interface, object, false);
}

void spec_to_interface(struct database *db, struct row *interface, const json_t *object)
{
    const char *kind = json_string_value(json_object_get(object, "type"));
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct datum type;
        if (strcmp(kinds[i].kind, kind) != 0)
            continue;
        datum_init_string(&type, kinds[i].type);
        row_set(db, interface, "type", type);
        if (kinds[i].path)
            set_element(db, interface, "options", kinds[i].path, json_object_get(object, "path"));
        break;
    }
    set_options(db, interface, object, true);
}
