/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of a domain: each is made on a copy of the document, read anew, and takes the old one's
 * place when all of it is right.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "model/change.h"
#include "model/host.h"
#include "model/read.h"

int change_begin(struct change *change, struct model_domain *domain, struct kv_error *err)
{
    *change = (struct change){.domain = domain, .err = err};
    change->doc = xmlCopyDoc(domain->doc, 1);
    if (!change->doc)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    change->root = xmlDocGetRootElement(change->doc);
    return 0;
}

int change_commit(struct change *change, int ret)
{
    struct model_domain *d = change->domain;
    struct model_domain fresh = {.doc = change->doc, .host = d->host};
    /* What a stored document carries stays allowed; what is new was checked by the caller. */
    unsigned flags = d->refusal ? MODEL_PARSE_STORED : change->flags;
    if (ret == 0)
        ret = domain_read(&fresh, flags, change->err);
    if (ret < 0) {
        xmlFreeDoc(change->doc);
        arena_free(fresh.arena);
        return ret;
    }
    xmlFreeDoc(d->doc);
    arena_free(d->arena);
    *d = fresh;
    return 0;
}

static int no_memory(struct change *change)
{
    return api_error(change->err, VIR_ERR_NO_MEMORY, NULL);
}

static int set_text(struct change *change, const char *name, const char *value)
{
    xmlNode *node = xml_child(change->root, name);
    if (!value) {
        xml_remove(node);
        return 0;
    }
    node = element_child(change->root, name);
    return node && xml_set_text(node, value) ? 0 : no_memory(change);
}

static int set_kib(struct change *change, const char *name, uint64_t kib)
{
    char text[24];
    snprintf(text, sizeof(text), "%ju", (uintmax_t)kib);
    int ret = set_text(change, name, text);
    xmlNode *node = xml_child(change->root, name);
    return ret == 0 && !xml_set_attr(node, "unit", "KiB") ? no_memory(change) : ret;
}

int model_domain_set_id(struct model_domain *domain, int id, struct kv_error *err)
{
    struct change change;
    if (id >= 0 && domain->refusal)
        return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "%s", domain->refusal);
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    change.flags = MODEL_PARSE_STORED;
    char text[16];
    snprintf(text, sizeof(text), "%d", id);
    if (id < 0)
        domain_strip_live(change.root);
    else if (!xml_set_attr(change.root, "id", text))
        ret = no_memory(&change);
    return change_commit(&change, ret);
}

/* Variables whose path is that of the old name get that of the new one: whoever has the old name
 * next has others. */
static int rename_nvram(struct change *change, const char *name)
{
    const struct model_domain *d = change->domain;
    xmlNode *os = xml_child(change->root, "os"), *nvram = os ? xml_child(os, "nvram") : NULL;
    char path[PATH_MAX];
    model_host_nvram(d->host, d->name, path);
    if (!nvram || strcmp(xml_text(nvram), path) != 0)
        return 0;
    model_host_nvram(d->host, name, path);
    return xml_set_text(nvram, path) ? 0 : no_memory(change);
}

int model_domain_set_name(struct model_domain *domain, const char *name, struct kv_error *err)
{
    struct change change;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    ret = set_text(&change, "name", name);
    return change_commit(&change, ret < 0 ? ret : rename_nvram(&change, name));
}

int model_domain_set_uuid(struct model_domain *domain, const uint8_t uuid[16], struct kv_error *err)
{
    struct change change;
    char text[UUID_TEXT];
    uuid_format(uuid, text);
    int ret = change_begin(&change, domain, err);
    return ret < 0 ? ret : change_commit(&change, set_text(&change, "uuid", text));
}

int model_domain_set_memory(struct model_domain *domain, uint64_t memory_kib, uint64_t current_kib,
                            struct kv_error *err)
{
    struct change change;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    ret = set_kib(&change, "memory", memory_kib);
    if (ret == 0)
        ret = set_kib(&change, "currentMemory", current_kib);
    return change_commit(&change, ret);
}

/* <vcpus>, which says of each whether it is there and may go; needed where some may. */
static int set_single_vcpus(struct change *change, unsigned max, unsigned current, unsigned fixed)
{
    xml_remove(xml_child(change->root, "vcpus"));
    xmlNode *list = fixed < current ? element_child(change->root, "vcpus") : NULL;
    if (!list)
        return fixed < current ? no_memory(change) : 0;
    for (unsigned i = 0; i < max; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%u", i);
        xmlNode *node = xml_add_child(list, "vcpu", NULL);
        if (!node || !xml_set_attr(node, "id", text) ||
            !xml_set_attr(node, "enabled", i < current ? "yes" : "no") ||
            !xml_set_attr(node, "hotpluggable", i < fixed ? "no" : "yes"))
            return no_memory(change);
        snprintf(text, sizeof(text), "%u", i + 1);
        if (i < current && !xml_set_attr(node, "order", text))
            return no_memory(change);
    }
    return 0;
}

int model_domain_set_vcpus(struct model_domain *domain, unsigned max, unsigned current,
                           unsigned fixed, struct kv_error *err)
{
    struct change change;
    char text[2][16];
    snprintf(text[0], sizeof(text[0]), "%u", max);
    snprintf(text[1], sizeof(text[1]), "%u", current);
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    ret = set_text(&change, "vcpu", text[0]);
    xmlNode *node = xml_child(change.root, "vcpu");
    if (ret == 0 && !xml_set_attr(node, "current", current == max ? NULL : text[1]))
        ret = no_memory(&change);
    if (ret == 0)
        ret = set_single_vcpus(&change, max, current, fixed);
    return change_commit(&change, ret);
}

int model_domain_set_balloon_period(struct model_domain *domain, unsigned seconds,
                                    struct kv_error *err)
{
    if (!domain->memballoon || domain->memballoon->none)
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "Memory balloon model must be virtio to gather memory statistics");
    char text[16];
    snprintf(text, sizeof(text), "%u", seconds);
    struct change change;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    xmlNode *balloon = xml_child(xml_child(change.root, "devices"), "memballoon");
    if (seconds == 0)
        xml_remove(xml_child(balloon, "stats"));
    xmlNode *stats = seconds ? element_child(balloon, "stats") : NULL;
    if (seconds && (!stats || !xml_set_attr(stats, "period", text)))
        ret = no_memory(&change);
    return change_commit(&change, ret);
}

int model_domain_set_action(struct model_domain *domain, unsigned type, enum model_action action,
                            struct kv_error *err)
{
    static const char *const events[] = {"on_poweroff", "on_reboot", "on_crash"};
    static const char *const names[] = {"destroy",  "restart",          "rename-restart",
                                        "preserve", "coredump-destroy", "coredump-restart"};
    if (type >= ARRAY_SIZE(events))
        return api_error(err, VIR_ERR_INVALID_ARG, "Unsupported lifecycle event type: %u", type);
    if ((unsigned)action >= ARRAY_SIZE(names))
        return api_error(err, VIR_ERR_INVALID_ARG, "Unsupported lifecycle action: %u",
                         (unsigned)action);
    struct change change;
    int ret = change_begin(&change, domain, err);
    return ret < 0 ? ret : change_commit(&change, set_text(&change, events[type], names[action]));
}

/* Walks "a/b/c" from node, making what is missing; make false: NULL when something is. */
static xmlNode *walk(xmlNode *node, const char *path, bool make)
{
    while (node && *path) {
        char name[64];
        size_t n = strcspn(path, "/");
        if (n >= sizeof(name))
            return NULL;
        snprintf(name, sizeof(name), "%.*s", (int)n, path);
        node = make ? element_child(node, name) : xml_child(node, name);
        path += n;
        path += *path == '/';
    }
    return node;
}

int model_domain_set_value(struct model_domain *domain, const char *path, const char *attribute,
                           const char *value, struct kv_error *err)
{
    struct change change;
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    xmlNode *node = walk(change.root, path, value != NULL);
    bool good = true;
    if (value && !node)
        good = false;
    else if (node && attribute)
        good = xml_set_attr(node, attribute, value);
    else if (node && value)
        good = xml_set_text(node, value);
    else if (node)
        xml_remove(node);
    return change_commit(&change, good ? 0 : no_memory(&change));
}

/* ---------------------------------------------------- facts of live machines */

int model_nic_set_target(struct model_domain *domain, struct model_nic *nic, const char *name)
{
    xmlNode *target = element_child(nic->device.node, "target");
    if (!target || !xml_set_attr(target, "dev", name))
        return -ENOMEM;
    nic->target = xml_attr(target, "dev");
    element_sort(element_find(device_elements, "interface"), nic->device.node);
    return 0;
}

static int set_source_path(struct model_chardev *c, const char *path)
{
    xmlNode *source = element_child(c->device.node, "source");
    if (!source || !xml_set_attr(source, "path", path))
        return -ENOMEM;
    if (c->type == MODEL_CHARDEV_UNIX && c->listen && !xml_attr(source, "mode") &&
        !xml_set_attr(source, "mode", "bind"))
        return -ENOMEM;
    if (c->type == MODEL_CHARDEV_PTY && c->device.kind == MODEL_CONSOLE &&
        !xml_set_attr(c->device.node, "tty", path))
        return -ENOMEM;
    c->path = xml_attr(source, "path");
    element_sort(element_find(device_elements, xml_name(c->device.node)), c->device.node);
    return 0;
}

int model_chardev_set_path(struct model_domain *domain, struct model_chardev *chardev,
                           const char *path)
{
    int ret = set_source_path(chardev, path);
    for (unsigned i = 0; ret == 0 && i < domain->console_count; i++) {
        if (domain->consoles[i].twin && domain->serial_count && chardev == &domain->serials[0])
            ret = set_source_path(&domain->consoles[i], path);
    }
    return ret;
}

bool model_channel_is_open(const struct model_chardev *channel)
{
    const xmlNode *target = xml_child(channel->device.node, "target");
    const char *state = target ? xml_attr(target, "state") : NULL;
    return state && strcmp(state, "connected") == 0;
}

int model_channel_set_state(struct model_domain *domain, struct model_chardev *channel, bool open)
{
    xmlNode *target = xml_child(channel->device.node, "target");
    return target && xml_set_attr(target, "state", open ? "connected" : "disconnected") ? 0
                                                                                        : -ENOMEM;
}

int model_vsock_set_cid(struct model_domain *domain, unsigned cid)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", cid);
    xmlNode *node = domain->vsock ? xml_child(domain->vsock->device.node, "cid") : NULL;
    if (!node)
        return -ENOENT;
    if (!xml_set_attr(node, "address", text))
        return -ENOMEM;
    domain->vsock->cid = cid;
    return 0;
}

/* <graphics> and its <listen> both have it. */
static int set_listen(struct model_domain *domain, const char *own, const char *theirs,
                      const char *value)
{
    xmlNode *node = domain->graphics->device.node, *listen = xml_child(node, "listen");
    if (!listen || !xml_set_attr(listen, theirs, value) || !xml_set_attr(node, own, value))
        return -ENOMEM;
    element_sort(element_find(device_elements, "graphics"), node);
    return 0;
}

int model_graphics_set_port(struct model_domain *domain, unsigned port, const char *address)
{
    char text[12];
    struct model_graphics *graphics = domain->graphics;
    snprintf(text, sizeof(text), "%u", port);
    if (!xml_set_attr(graphics->device.node, "port", text))
        return -ENOMEM;
    graphics->port = port;
    int ret = address ? set_listen(domain, "listen", "address", address) : 0;
    graphics->address = xml_attr(graphics->device.node, "listen");
    return ret;
}

int model_graphics_set_websocket(struct model_domain *domain, unsigned port)
{
    char text[12];
    snprintf(text, sizeof(text), "%u", port);
    if (!xml_set_attr(domain->graphics->device.node, "websocket", text))
        return -ENOMEM;
    domain->graphics->websocket = port;
    return 0;
}

int model_graphics_set_socket(struct model_domain *domain, const char *path)
{
    int ret = set_listen(domain, "socket", "socket", path);
    domain->graphics->socket = xml_attr(domain->graphics->device.node, "socket");
    return ret;
}
