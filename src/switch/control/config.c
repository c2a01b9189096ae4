/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration as it stands; see config.h. Everything lies by its name: {"acls": {NAME: acl},
 * "bridges": {NAME: {"self": bridge, "ports": {NAME: port}, "mirrors": {PORT: mirror}, "filters":
 * {PORT: filter}, "qos": {PORT: qos}, "macs": {"MAC VLAN": address}, "sflow": ..., "netflow": ...,
 * "ipfix": ...}}}. Objects keep their order.
 */
#include "switch/control/config.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "switch/control/port_kinds.h"

#define MAC_KEY 32 /* "MAC VLAN" */

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

/* The object below that key, made where there is none. */
static json_t *below(json_t *object, const char *key)
{
    json_t *inner = json_object_get(object, key);
    if (inner)
        return inner;
    json_object_set_new(object, key, json_object());
    return json_object_get(object, key);
}

static json_t *bridge_named(json_t *config, const char *name)
{
    return json_object_get(json_object_get(config, "bridges"), name);
}

/* The bridge that has the port; NULL: none. */
static json_t *bridge_with(json_t *config, const char *port)
{
    const char *name;
    json_t *bridge;
    json_object_foreach (json_object_get(config, "bridges"), name, bridge) {
        if (json_object_get(json_object_get(bridge, "ports"), port))
            return bridge;
    }
    return NULL;
}

/* --- Changes ---------------------------------------------------------------- */

static void set_acl(json_t *config, const json_t *object)
{
    json_object_set_new(below(config, "acls"), text(object, "name"), json_deep_copy(object));
}

static void remove_acl(json_t *config, const json_t *object)
{
    json_object_del(below(config, "acls"), text(object, "name"));
}

/* Its core stays, as it cannot be said again. */
static void set_bridge(json_t *config, const json_t *object)
{
    json_t *bridge = below(below(config, "bridges"), text(object, "name"));
    json_t *core = json_incref(json_object_get(json_object_get(bridge, "self"), "core"));
    json_object_set_new(bridge, "self", json_deep_copy(object));
    if (core)
        json_object_set_new(json_object_get(bridge, "self"), "core", core);
}

static void remove_bridge(json_t *config, const json_t *object)
{
    json_object_del(below(config, "bridges"), text(object, "name"));
}

static void add_port(json_t *config, const json_t *object)
{
    json_t *port = json_deep_copy(object);
    json_t *bridge = bridge_named(config, text(object, "bridge"));
    json_object_del(port, "bridge");
    json_object_set_new(below(bridge, "ports"), text(object, "name"), port);
}

/* What a port cannot change stays; all else is as it is said now. */
static void set_port(json_t *config, const json_t *object)
{
    const char *name = text(object, "name");
    json_t *ports = json_object_get(bridge_with(config, name), "ports");
    const json_t *had = json_object_get(ports, name);
    json_t *port = json_deep_copy(object);
    for (const char *const *fixed = port_fixed_options; *fixed; fixed++) {
        if (json_object_get(had, *fixed))
            json_object_set(port, *fixed, json_object_get(had, *fixed));
    }
    json_object_set_new(ports, name, port);
}

/* Objects of the list that say so. */
static void remove_those(json_t *list, const char *key, const char *value)
{
    const char *name;
    json_t *object;
    void *next;
    json_object_foreach_safe (list, next, name, object) {
        if (strcmp(text(object, key), value) == 0)
            json_object_del(list, name);
    }
}

static void remove_port(json_t *config, const json_t *object)
{
    const char *name = text(object, "name");
    json_t *bridge = bridge_with(config, name);
    json_object_del(json_object_get(bridge, "ports"), name);
    json_object_del(json_object_get(bridge, "filters"), name);
    json_object_del(json_object_get(bridge, "qos"), name);
    remove_those(json_object_get(bridge, "mirrors"), "port", name);
    remove_those(json_object_get(bridge, "mirrors"), "to", name);
    remove_those(json_object_get(bridge, "macs"), "port", name);
}

/* Of a port: nothing is kept of what says no more than whose it is. */
static void set_of_port(json_t *config, const char *list, const json_t *object)
{
    const char *port = text(object, "port");
    json_t *all = below(bridge_with(config, port), list);
    if (json_object_size(object) > 1)
        json_object_set_new(all, port, json_deep_copy(object));
    else
        json_object_del(all, port);
}

static void set_mirror(json_t *config, const json_t *object)
{
    if (json_object_get(object, "to")) {
        set_of_port(config, "mirrors", object);
        return;
    }
    json_t *bridge = bridge_with(config, text(object, "port"));
    json_object_del(json_object_get(bridge, "mirrors"), text(object, "port"));
}

static void set_filter(json_t *config, const json_t *object)
{
    set_of_port(config, "filters", object);
}

static void set_qos(json_t *config, const json_t *object)
{
    set_of_port(config, "qos", object);
}

/* They say their VLAN. */
static void address_key(const json_t *object, char key[MAC_KEY])
{
    snprintf(key, MAC_KEY, "%s %lld", text(object, "mac"),
             (long long)json_integer_value(json_object_get(object, "vlan")));
}

static void add_mac(json_t *config, const json_t *object)
{
    char key[MAC_KEY];
    address_key(object, key);
    json_t *bridge = bridge_with(config, text(object, "port"));
    json_object_set_new(below(bridge, "macs"), key, json_deep_copy(object));
}

static void remove_mac(json_t *config, const json_t *object)
{
    char key[MAC_KEY];
    address_key(object, key);
    json_object_del(json_object_get(bridge_with(config, text(object, "port")), "macs"), key);
}

static void set_collector(json_t *config, const char *kind, const json_t *object)
{
    json_t *bridge = bridge_named(config, text(object, "bridge"));
    json_t *copy = json_deep_copy(object);
    json_object_del(copy, "bridge");
    if (json_object_get(copy, "collector"))
        json_object_set(bridge, kind, copy);
    else
        json_object_del(bridge, kind);
    json_decref(copy);
}

static void set_sflow(json_t *config, const json_t *object)
{
    set_collector(config, "sflow", object);
}

static void set_netflow(json_t *config, const json_t *object)
{
    set_collector(config, "netflow", object);
}

static void set_ipfix(json_t *config, const json_t *object)
{
    set_collector(config, "ipfix", object);
}

static void (*const changes[])(json_t *config, const json_t *object) = {
    [VSWITCH_ADD_BRIDGE] = set_bridge,
    [VSWITCH_SET_BRIDGE] = set_bridge,
    [VSWITCH_REMOVE_BRIDGE] = remove_bridge,
    [VSWITCH_ADD_PORT] = add_port,
    [VSWITCH_SET_PORT] = set_port,
    [VSWITCH_REMOVE_PORT] = remove_port,
    [VSWITCH_SET_MIRROR] = set_mirror,
    [VSWITCH_SET_SFLOW] = set_sflow,
    [VSWITCH_SET_NETFLOW] = set_netflow,
    [VSWITCH_SET_IPFIX] = set_ipfix,
    [VSWITCH_SET_ACL] = set_acl,
    [VSWITCH_REMOVE_ACL] = remove_acl,
    [VSWITCH_SET_FILTER] = set_filter,
    [VSWITCH_SET_QOS] = set_qos,
    [VSWITCH_ADD_MAC] = add_mac,
    [VSWITCH_REMOVE_MAC] = remove_mac,
};

void config_note(json_t *config, enum vswitch_change change, const json_t *object)
{
    if (change < ARRAY_SIZE(changes) && changes[change])
        changes[change](config, object);
}

/* --- The file's form ---------------------------------------------------------- */

static json_t *values_of(const json_t *object)
{
    const char *name;
    json_t *value, *list = json_array();
    json_object_foreach ((json_t *)object, name, value)
        json_array_append(list, value);
    return list;
}

static json_t *describe_bridge(const json_t *bridge)
{
    const char *name;
    json_t *value, *out = json_copy(json_object_get(bridge, "self"));
    json_object_foreach ((json_t *)bridge, name, value) {
        static const char *const lists[] = {"ports", "mirrors", "filters", "qos", "macs"};
        bool is_list = false;
        for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
            is_list |= strcmp(name, lists[i]) == 0;
        if (is_list && json_object_size(value))
            json_object_set_new(out, name, values_of(value));
        else if (!is_list && strcmp(name, "self") != 0)
            json_object_set(out, name, value);
    }
    return out;
}

json_t *config_describe(const json_t *config)
{
    const json_t *acls = json_object_get(config, "acls");
    const char *name;
    json_t *bridge, *bridges = json_array(), *out = json_object();
    if (json_object_size(acls))
        json_object_set_new(out, "acls", values_of(acls));
    json_object_foreach (json_object_get(config, "bridges"), name, bridge)
        json_array_append_new(bridges, describe_bridge(bridge));
    json_object_set_new(out, "bridges", bridges);
    return out;
}

/* --- The file ------------------------------------------------------------------- */

static int write_file(const char *file, const char *text)
{
    cleanup_fd int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int rc = fd_write_all(fd, text, strlen(text));
    return rc == 0 && fsync(fd) < 0 ? -errno : rc;
}

/* That the file has its name outlasts the host's stop. */
static int sync_folder(const char *file)
{
    cleanup_free char *copy = strdup(file);
    cleanup_fd int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int config_save(const json_t *config, const char *file, struct kv_error *err)
{
    json_t *all = config_describe(config);
    cleanup_free char *text = json_dumps(all, JSON_INDENT(2)), *next = NULL;
    json_decref(all);
    if (!text || asprintf(&next, "%s.new", file) < 0)
        return kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "'%s'", file);
    int rc = write_file(next, text);
    if (rc == 0 && rename(next, file) < 0)
        rc = -errno;
    if (rc == 0)
        rc = sync_folder(file);
    return rc < 0 ? kv_error_errno(err, KV_ERR_CONFIG, -rc, "'%s'", file) : 0;
}
