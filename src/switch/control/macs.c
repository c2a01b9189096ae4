/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where stations are: addresses that a bridge has learned, and those that it is told; see
 * vswitch.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/options.h"
#include "switch/control/vswitch.h"
#include "switch/forward/admit.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"

#define MAC_TEXT 18

/* The address of a table's key. */
static const char *mac_text(uint64_t key, char text[MAC_TEXT])
{
    const uint8_t *mac = (const uint8_t *)&key;
    snprintf(text, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    return text;
}

/* --- Told ------------------------------------------------------------------- */

#define NATIVE UINT64_MAX /* the VLAN of the port's untagged frames */

struct mac_options {
    char *port;
    uint8_t mac[6];
    uint64_t vlan;
};

static const struct option_spec mac_option_specs[] = {
    OPTION(STRING, struct mac_options, port, .required = true, .help = "where the station is"),
    OPTION(MAC, struct mac_options, mac, .required = true, .help = "its address"),
    OPTION(UINT, struct mac_options, vlan, .max = VLAN_COUNT - 2,
           .help = "its VLAN; that of the port's untagged frames else"),
    OPTION_END,
};

struct mac_task {
    const struct port *port;
    uint64_t key;
    bool done;
};

static void fix_here(void *opaque)
{
    struct mac_task *task = opaque;
    task->done = mac_table_fix(&task->port->bridge->macs, task->key, task->port->index);
}

static void unfix_here(void *opaque)
{
    struct mac_task *task = opaque;
    struct mac_table *macs = &task->port->bridge->macs;
    const struct mac_entry *entry = mac_table_entry(macs, task->key);
    task->done = entry && entry->port == task->port->index && mac_table_unfix(macs, task->key);
}

/* fn: one of the above. -EINVAL, -ENOENT with err. */
static int change(struct vswitch *sw, const json_t *object, void (*fn)(void *opaque),
                  struct mac_task *task, struct kv_error *err)
{
    struct mac_options options = {.vlan = NATIVE};
    int rc = options_parse_json(mac_option_specs, "address", object, &options, err);
    const struct port *port = task->port = rc == 0 ? vswitch_find_port(sw, options.port) : NULL;
    unsigned vlan = port && options.vlan == NATIVE ? port->vlans.native : (unsigned)options.vlan;
    if (rc == 0 && !port)
        rc = vswitch_not_there("port", options.port, err);
    else if (rc == 0 && mac_is_group(options.mac))
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                          "port '%s': a group's address is that of no station", port->name);
    else if (rc == 0 && fn == fix_here && !port_carries(&port->vlans, vlan))
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port '%s' does not carry VLAN %u",
                          port->name, vlan);
    else if (rc == 0 && port->mirrors)
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                          "port '%s' gets copies of others' frames; no station is there",
                          port->name);
    if (rc == 0) {
        task->key = mac_key(options.mac, vlan);
        forward_run(port->forward, fn, task);
    }
    options_free(mac_option_specs, &options);
    return rc;
}

/* As one that says its VLAN. */
static int tell(struct vswitch *sw, enum vswitch_change change, const struct mac_task *task)
{
    char text[MAC_TEXT];
    json_t *object =
        json_pack("{s:s, s:s, s:i}", "port", task->port->name, "mac", mac_text(task->key, text),
                  "vlan", (int)(task->key >> 48 & VLAN_ID_MASK));
    int rc = vswitch_tell(sw, change, object, 0);
    json_decref(object);
    return rc;
}

int vswitch_add_mac(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct mac_task task = {0};
    int rc = change(sw, object, fix_here, &task, err);
    if (rc == 0 && !task.done)
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC,
                            "bridge '%s': too many addresses were added; 'mac-entries' makes room",
                            task.port->bridge->name);
    return rc < 0 ? rc : tell(sw, VSWITCH_ADD_MAC, &task);
}

int vswitch_remove_mac(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct mac_task task = {0};
    int rc = change(sw, object, unfix_here, &task, err);
    if (rc == 0 && !task.done)
        return kv_error_set(err, KV_ERR_CONFIG, ENOENT,
                            "port '%s': that address was not added there", task.port->name);
    return rc < 0 ? rc : tell(sw, VSWITCH_REMOVE_MAC, &task);
}

/* --- Known ------------------------------------------------------------------ */

struct mac_view {
    struct bridge *bridge;
    struct mac_entry *entries; /* room for all */
    unsigned count;
    uint32_t now_s;
};

static void copy_macs_here(void *opaque)
{
    struct mac_view *view = opaque;
    struct mac_table *table = &view->bridge->macs;
    view->now_s = view->bridge->forward->now_s;
    mac_table_expire(table, view->now_s);
    for (uint64_t b = 0; b <= table->mask; b++) {
        for (unsigned i = 0; i < MAC_BUCKET_SLOTS; i++) {
            if (table->buckets[b].slots[i].key)
                view->entries[view->count++] = table->buckets[b].slots[i];
        }
    }
}

static json_t *describe_mac(const struct bridge *bridge, const struct mac_entry *entry,
                            uint32_t now_s)
{
    char text[MAC_TEXT];
    json_t *row =
        json_pack("{s:s, s:i, s:s}", "mac", mac_text(entry->key, text), "vlan",
                  (int)(entry->key >> 48 & VLAN_ID_MASK), "port", bridge->slots[entry->port]->name);
    if (entry->fixed)
        json_object_set_new(row, "static", json_true());
    else
        json_object_set_new(row, "age", json_integer((json_int_t)(now_s - entry->seen_s)));
    return row;
}

json_t *vswitch_macs(struct vswitch *sw, const char *name, struct kv_error *err)
{
    struct mac_view view = {.bridge = vswitch_get_bridge(sw, name, err)};
    if (!view.bridge)
        return NULL;
    view.entries =
        calloc((view.bridge->macs.mask + 1) * MAC_BUCKET_SLOTS, sizeof(struct mac_entry));
    if (!view.entries) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "list of addresses");
        return NULL;
    }
    forward_run(view.bridge->forward, copy_macs_here, &view);
    json_t *list = json_array();
    for (unsigned i = 0; i < view.count; i++)
        json_array_append_new(list, describe_mac(view.bridge, &view.entries[i], view.now_s));
    free(view.entries);
    return list;
}

static void forget_here(void *opaque)
{
    struct bridge *bridge = opaque;
    mac_table_forget_all(&bridge->macs);
}

int vswitch_forget_macs(struct vswitch *sw, const char *name, struct kv_error *err)
{
    struct bridge *bridge = vswitch_get_bridge(sw, name, err);
    if (!bridge)
        return -err->code;
    forward_run(bridge->forward, forget_here, bridge);
    return 0;
}
