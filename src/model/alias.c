/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only a live domain has: aliases; and taking it out again. See read.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

/* 0 for vda, 26 for vdaa, 16 for nvme1n1. */
unsigned disk_index(const char *target)
{
    unsigned controller, space;
    if (sscanf(target, "nvme%5un%5u", &controller, &space) == 2)
        return controller * drive_buses[MODEL_DISK_NVME].disks + (space ? space - 1 : 0);
    const char *p = target + (target[0] == 'x' ? 3 : 2);
    unsigned index = 0;
    for (; *p >= 'a' && *p <= 'z'; p++)
        index = index * 26 + (unsigned)(*p - 'a') + 1;
    return index ? index - 1 : 0;
}

static int set_alias(struct read *r, struct model_device *device, const char *alias)
{
    if (device->alias)
        return 0;
    xmlNode *node = element_child(device->node, "alias");
    if (!node || !xml_set_attr(node, "name", alias))
        return read_no_memory(r);
    device->alias = xml_attr(node, "name");
    return 0;
}

static void controller_alias(const struct model_controller *c, char *out, size_t size)
{
    if (strcmp(c->type, "pci") == 0)
        snprintf(out, size, "%s.%u",
                 c->model && strcmp(c->model, "pcie-root") == 0 ? "pcie" : "pci", c->index);
    else if (strcmp(c->type, "usb") == 0 && c->index == 0)
        snprintf(out, size, "usb");
    else if (strcmp(c->type, "sata") == 0 && c->index == 0)
        snprintf(out, size, "ide");
    else
        snprintf(out, size, "%s%u", c->type, c->index);
}

static void device_alias(const struct model_device *device, unsigned number, char *out, size_t size)
{
    static const char *const prefixes[MODEL_DEVICE_KINDS] = {
        [MODEL_NIC] = "net",         [MODEL_SERIAL] = "serial",      [MODEL_CONSOLE] = "console",
        [MODEL_CHANNEL] = "channel", [MODEL_MEMBALLOON] = "balloon", [MODEL_RNG] = "rng",
        [MODEL_PANIC] = "panic",     [MODEL_VSOCK] = "vsock",        [MODEL_WATCHDOG] = "watchdog",
        [MODEL_VIDEO] = "video",     [MODEL_INPUT] = "input",        [MODEL_TPM] = "tpm",
    };
    const struct model_disk *disk = (const struct model_disk *)device;
    const struct model_address *a = &device->address;
    if (device->kind == MODEL_DISK && disk->bus == MODEL_DISK_SATA)
        snprintf(out, size, "sata%u-0-%u", a->controller, a->unit);
    else if (device->kind == MODEL_DISK && disk->bus == MODEL_DISK_SCSI)
        snprintf(out, size, "scsi%u-0-%u-%u", a->controller, a->target, a->unit);
    else if (device->kind == MODEL_DISK && disk->bus == MODEL_DISK_NVME)
        snprintf(out, size, "nvme%u-0-%u", a->controller, a->unit);
    else if (device->kind == MODEL_DISK)
        snprintf(out, size, "virtio-disk%u", disk_index(disk->target));
    else if (device->kind == MODEL_CONTROLLER)
        controller_alias((const struct model_controller *)device, out, size);
    else if (prefixes[device->kind])
        snprintf(out, size, "%s%u", prefixes[device->kind], number);
    else
        snprintf(out, size, "%s%u", xml_name(device->node), number + xml_is(device->node, "audio"));
}

/* How many elements of its name stand before a device that has no kind of its own. */
static unsigned count_before(const struct model_domain *d, unsigned device)
{
    unsigned count = 0;
    for (unsigned i = 0; i < device; i++)
        count += d->devices[i]->kind == MODEL_OTHER &&
                 xml_is(d->devices[i]->node, xml_name(d->devices[device]->node));
    return count;
}

/* What the others of its kind have is not free. */
static bool alias_is_taken(const struct model_domain *d, const char *alias)
{
    return model_domain_find_alias(d, alias) != NULL;
}

int assign_aliases(struct read *r)
{
    struct model_domain *d = r->d;
    unsigned numbers[MODEL_DEVICE_KINDS] = {0};
    for (unsigned i = 0; i < d->device_count; i++) {
        struct model_device *device = d->devices[i];
        bool twin = device->kind == MODEL_CONSOLE && ((struct model_chardev *)device)->twin;
        if (device->alias || twin || device->kind == MODEL_GRAPHICS)
            continue; /* libvirt shows none of graphics */
        char alias[64];
        unsigned number = device->kind == MODEL_OTHER ? count_before(d, i) : numbers[device->kind];
        do
            device_alias(device, number, alias, sizeof(alias));
        while (alias_is_taken(d, alias) && number++ < d->device_count);
        numbers[device->kind] = number + 1;
        int ret = set_alias(r, device, alias);
        if (ret < 0)
            return ret;
    }
    for (unsigned i = 0; i < d->console_count; i++) {
        if (d->consoles[i].twin && d->serial_count &&
            set_alias(r, &d->consoles[i].device, d->serials[0].device.alias) < 0)
            return read_no_memory(r);
    }
    return 0;
}

/* ----------------------------------------------------------------- stripping */

static void strip_alias(xmlNode *device)
{
    xmlNode *alias = xml_child(device, "alias");
    const char *name = alias ? xml_attr(alias, "name") : NULL;
    if (alias && (!name || strncmp(name, "ua-", 3) != 0))
        xml_remove(alias);
}

static void strip_chain(xmlNode *node)
{
    for (; node; node = xml_child(node, "backingStore")) {
        xmlNode *source = xml_child(node, "source");
        xml_set_attr(node, "index", NULL);
        if (source)
            xml_set_attr(source, "index", NULL);
    }
}

/* Sockets that were made below the daemon's own folder. */
#define OWN_SOCKETS "/kvasir/machine/"

static void strip_chardev(xmlNode *node)
{
    xmlNode *source = xml_child(node, "source"), *target = xml_child(node, "target");
    const char *type = xml_attr(node, "type"), *path = source ? xml_attr(source, "path") : NULL;
    xml_set_attr(node, "tty", NULL);
    if (target)
        xml_set_attr(target, "state", NULL);
    if (!type || !source)
        return;
    if (strcmp(type, "pty") == 0 ||
        (strcmp(type, "unix") == 0 && path && strstr(path, OWN_SOCKETS)))
        xml_remove(source);
}

/* "UUID.vnc" of the machine: the daemon chose it (daemon/machine/config_screen.c). */
static bool is_own_socket(const xmlNode *node)
{
    const char *path = xml_attr(node, "socket"),
               *uuid = xml_child_text(xmlDocGetRootElement(node->doc), "uuid");
    const char *name = path ? strrchr(path, '/') : NULL;
    size_t len = uuid ? strlen(uuid) : 0;
    return name && len && strncmp(name + 1, uuid, len) == 0 && strcmp(name + 1 + len, ".vnc") == 0;
}

/* A port or a socket that the daemon chose. */
static void strip_graphics(xmlNode *node)
{
    const char *autoport = xml_attr(node, "autoport");
    xmlNode *listen = xml_child(node, "listen");
    if (autoport && strcmp(autoport, "yes") == 0) {
        xml_set_attr(node, "port", "-1");
        if (xml_attr(node, "websocket"))
            xml_set_attr(node, "websocket", "-1");
    }
    if (listen && is_own_socket(node)) {
        xml_set_attr(node, "socket", NULL);
        xml_set_attr(listen, "socket", NULL);
    }
}

static void strip_device(xmlNode *node)
{
    static const char *const chardevs[] = {"serial", "console", "channel", NULL};
    strip_alias(node);
    if (read_is_one_of(xml_name(node), chardevs))
        strip_chardev(node);
    if (xml_is(node, "disk")) {
        xmlNode *target = xml_child(node, "target");
        if (target)
            xml_set_attr(target, "tray", NULL);
        strip_chain(node);
    }
    if (xml_is(node, "graphics"))
        strip_graphics(node);
    xmlNode *cid = xml_is(node, "vsock") ? xml_child(node, "cid") : NULL;
    const char *automatic = cid ? xml_attr(cid, "auto") : NULL;
    if (automatic && strcmp(automatic, "yes") == 0)
        xml_set_attr(cid, "address", NULL);
}

void domain_strip_live(xmlNode *root)
{
    xml_set_attr(root, "id", NULL);
    xmlNode *devices = xml_child(root, "devices");
    for (xmlNode *n = devices ? xml_first(devices) : NULL; n; n = xml_next(n))
        strip_device(n);
    for (xmlNode *n = xml_child(root, "seclabel"); n; n = xml_next_same(n))
        xml_remove(xml_child(n, "imagelabel"));
}
