/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of kvasir-vmm and of QEMU that a domain's XML can say; see native.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"
#include "model/native_internal.h"
#include "model/xml.h"

/* --------------------------------------------------------------- kvasir-vmm */

static int kvasir_memory(struct native *n, const char *value)
{
    return native_memory(n, value, 1);
}

static int kvasir_cpus(struct native *n, const char *value)
{
    return native_cpus(n, value, "count");
}

static int kvasir_iothreads(struct native *n, const char *value)
{
    return parse_u64(value, &n->iothreads) < 0 ? native_refuse(n, value, "is not a number") : 0;
}

/* "scsi0", "scsi0.0" -> "0" */
static int read_controller(struct native *n, const char *name, struct native_disk *d)
{
    size_t prefix = strcspn(name, "0123456789"), digits = strspn(name + prefix, "0123456789");
    if (*name && !digits)
        return native_refuse(n, name, "has no number, as controllers have in a domain's XML");
    snprintf(d->controller, sizeof(d->controller), "%.*s", (int)digits, name + prefix);
    return 0;
}

static int kvasir_drive(struct native *n, const char *value, bool cdrom)
{
    static const char *const known[] = {"path",   "format", "id",         "readonly", "cache",
                                        "serial", "aio",    "discard",    "bus",      "lun",
                                        "unit",   "fd",     "controller", NULL};
    struct native_disk d = {.cdrom = cdrom};
    char flag[8], controller[32];
    if (native_known(n, value, known) < 0)
        return -EINVAL;
    native_value(value, "bus", d.bus, sizeof(d.bus));
    if (cdrom && !*d.bus)
        strcpy(d.bus, "sata");
    if (strcmp(d.bus, "virtio") == 0 || strcmp(d.bus, "auto") == 0)
        d.bus[0] = '\0';
    bool scsi = strcmp(d.bus, "scsi") == 0;
    native_value(value, "controller", controller, sizeof(controller));
    if (read_controller(n, controller, &d) < 0)
        return -EINVAL;
    native_value(value, "unit", scsi ? d.target : d.unit, sizeof(d.unit));
    if (scsi && !native_value(value, "lun", d.unit, sizeof(d.unit)) && *d.target)
        strcpy(d.unit, "0");
    if (!native_value(value, "path", d.path, sizeof(d.path)))
        native_value(value, NULL, d.path, sizeof(d.path));
    native_value(value, "format", d.format, sizeof(d.format));
    native_value(value, "cache", d.cache, sizeof(d.cache));
    native_value(value, "serial", d.serial, sizeof(d.serial));
    native_value(value, "aio", d.io, sizeof(d.io));
    if (strcmp(d.io, "auto") == 0)
        d.io[0] = '\0';
    native_value(value, "discard", d.discard, sizeof(d.discard));
    if (strcmp(d.discard, "on") == 0)
        strcpy(d.discard, "unmap");
    if (strcmp(d.discard, "off") == 0)
        strcpy(d.discard, "ignore");
    d.readonly = native_value(value, "readonly", flag, sizeof(flag)) && strcmp(flag, "off") != 0;
    return native_add_disk(n, &d);
}

static int kvasir_disk(struct native *n, const char *value)
{
    return kvasir_drive(n, value, false);
}

static int kvasir_cdrom(struct native *n, const char *value)
{
    return kvasir_drive(n, value, true);
}

static int kvasir_net(struct native *n, const char *value)
{
    static const char *const known[] = {"tap", "mac", "id", NULL};
    char tap[64], mac[32];
    if (native_known(n, value, known) < 0)
        return -EINVAL;
    if (!native_value(value, "tap", tap, sizeof(tap)) &&
        !native_value(value, NULL, tap, sizeof(tap)))
        return native_refuse(n, value, "a NIC without tap= has no counterpart");
    buffer_printf(&n->devices, "<interface type='ethernet'>");
    if (native_value(value, "mac", mac, sizeof(mac))) {
        buffer_printf(&n->devices, "<mac");
        native_attribute(n, "address", mac);
        buffer_printf(&n->devices, "/>");
    }
    buffer_printf(&n->devices, "<target");
    native_attribute(n, "dev", tap);
    buffer_printf(&n->devices, " managed='no'/><model type='virtio'/></interface>");
    return 0;
}

static int chardev_of(const char *value, char *out, size_t size)
{
    return native_value(value, "chardev", out, size) || native_value(value, NULL, out, size);
}

static int kvasir_serial(struct native *n, const char *value)
{
    char chardev[1100];
    chardev_of(value, chardev, sizeof(chardev));
    return native_add_chardev(n, "serial", chardev, "");
}

static int kvasir_console(struct native *n, const char *value)
{
    char chardev[1100];
    chardev_of(value, chardev, sizeof(chardev));
    return native_add_chardev(n, "console", chardev, "<target type='virtio'/>");
}

static int kvasir_port(struct native *n, const char *value)
{
    char chardev[1100], name[128], target[256];
    chardev_of(value, chardev, sizeof(chardev));
    native_value(value, "name", name, sizeof(name));
    if (!*name || strpbrk(name, "<>&'\""))
        return native_refuse(n, value, "a port needs a name");
    snprintf(target, sizeof(target), "<target type='virtio' name='%s'/>", name);
    return native_add_chardev(n, "channel", chardev, target);
}

static int kvasir_rng(struct native *n, const char *value)
{
    static const char *const known[] = {"id", "source", NULL};
    char source[256];
    if (native_known(n, value, known) < 0)
        return -EINVAL;
    bool path = native_value(value, "source", source, sizeof(source));
    buffer_printf(&n->devices, "<rng model='virtio'><backend model='%s'>",
                  path ? "random" : "builtin");
    xml_escape(&n->devices, source);
    buffer_printf(&n->devices, "</backend></rng>");
    return 0;
}

static int add_vsock(struct native *n, const char *value)
{
    char cid[16];
    uint64_t number;
    if (!native_value(value, "guest-cid", cid, sizeof(cid)) || parse_u64(cid, &number) < 0)
        return native_refuse(n, value, "guest-cid= is missing");
    buffer_printf(&n->devices, "<vsock model='virtio'><cid auto='no' address='%ju'/></vsock>",
                  (uintmax_t)number);
    return 0;
}

const struct native_option native_kvasir_options[] = {
    {"--name", true, native_name},
    {"--uuid", true, native_uuid},
    {"--memory", true, kvasir_memory},
    {"--cpus", true, kvasir_cpus},
    {"--iothreads", true, kvasir_iothreads},
    {"--firmware", true, native_loader},
    {"--nvram", true, native_nvram},
    {"--kernel", true, native_kernel},
    {"--initrd", true, native_initrd},
    {"--cmdline", true, native_cmdline},
    {"--disk", true, kvasir_disk},
    {"--cdrom", true, kvasir_cdrom},
    {"--sata", true, NULL}, /* controllers come with their disks */
    {"--scsi", true, NULL},
    {"--nvme", true, NULL},
    {"--net", true, kvasir_net},
    {"--serial", true, kvasir_serial},
    {"--console", true, kvasir_console},
    {"--port", true, kvasir_port},
    {"--rng", true, kvasir_rng},
    {"--balloon", true, NULL},
    {"--vsock", true, add_vsock},
    /* How the process is run. */
    {"--control", true, NULL},
    {"--metrics", true, NULL},
    {"--log-level", true, NULL},
    {"--log-file", true, NULL},
    {"--pidfile", true, NULL},
    {"--user", true, NULL},
    {"--paused", false, NULL},
    {"-S", false, NULL},
    {"--no-jail", false, NULL},
    {NULL, false, NULL},
};

/* --------------------------------------------------------------------- QEMU */

static int qemu_memory(struct native *n, const char *value)
{
    return native_memory(n, value, MIB(1));
}

static int qemu_smp(struct native *n, const char *value)
{
    return native_cpus(n, value, "cpus");
}

static int qemu_machine(struct native *n, const char *value)
{
    static const char *const known[] = {"accel", "type", "usb", NULL};
    char type[32];
    if (native_known(n, value, known) < 0)
        return -EINVAL;
    if (native_value(value, NULL, type, sizeof(type)) ||
        native_value(value, "type", type, sizeof(type)))
        strcpy(n->machine, type);
    return 0;
}

static int qemu_cpu(struct native *n, const char *value)
{
    return strcmp(value, "host") == 0 || strcmp(value, "max") == 0
               ? 0
               : native_refuse(n, value, "the guest sees the host's processor; -cpu host is known");
}

static int qemu_accel(struct native *n, const char *value)
{
    return strncmp(value, "kvm", 3) == 0 ? 0 : native_refuse(n, value, "guests run on KVM only");
}

static int qemu_backend(struct native *n, const char *value)
{
    if (n->backend_count == NATIVE_BACKENDS_MAX)
        return native_refuse(n, value, "is one too many");
    n->backends[n->backend_count++] = (struct native_backend){.options = value};
    return 0;
}

static const char *find_backend(struct native *n, const char *id)
{
    for (unsigned i = 0; i < n->backend_count; i++) {
        char other[64];
        if (native_value(n->backends[i].options, "id", other, sizeof(other)) &&
            strcmp(other, id) == 0 && !n->backends[i].used) {
            n->backends[i].used = true;
            return n->backends[i].options;
        }
    }
    return NULL;
}

static int qemu_disk(struct native *n, const char *drive, const char *device)
{
    static const char *const known[] = {"file",  "if",       "format", "id",      "cache", "aio",
                                        "index", "readonly", "media",  "discard", NULL};
    struct native_disk d = {0};
    char flag[16], name[32], controller[32];
    if (native_known(n, drive, known) < 0)
        return -EINVAL;
    native_value(device, NULL, name, sizeof(name));
    const char *kind = strchr(name, '-');
    d.cdrom = kind && strcmp(kind, "-cd") == 0;
    if (strncmp(name, "scsi-", 5) == 0 || strncmp(name, "ide-", 4) == 0)
        strcpy(d.bus, *name == 's' ? "scsi" : "sata");
    if (native_value(drive, "media", flag, sizeof(flag)) &&
        strcmp(flag, d.cdrom ? "cdrom" : "disk") != 0)
        return native_refuse(n, drive, "its -device is of another kind");
    native_value(device, "bus", controller, sizeof(controller));
    if (read_controller(n, *d.bus ? controller : "", &d) < 0)
        return -EINVAL;
    if (strcmp(d.bus, "sata") == 0) { /* "ide.2": the chipset's controller, its port */
        strcpy(d.unit, d.controller);
        d.controller[0] = '\0';
    } else {
        native_value(device, "scsi-id", d.target, sizeof(d.target));
        if (!native_value(device, "lun", d.unit, sizeof(d.unit)) && *d.target)
            strcpy(d.unit, "0");
    }
    native_value(drive, "file", d.path, sizeof(d.path));
    native_value(drive, "format", d.format, sizeof(d.format));
    native_value(drive, "cache", d.cache, sizeof(d.cache));
    native_value(drive, "aio", d.io, sizeof(d.io));
    native_value(drive, "discard", d.discard, sizeof(d.discard));
    native_value(device, "serial", d.serial, sizeof(d.serial));
    d.readonly = native_value(drive, "readonly", flag, sizeof(flag)) && strcmp(flag, "off") != 0;
    return native_add_disk(n, &d);
}

static int qemu_nic(struct native *n, const char *device)
{
    static const char *const bridge_keys[] = {"id", "br", "helper", NULL};
    static const char *const tap_keys[] = {"id", "ifname", "script", "downscript", "vhost", NULL};
    char id[64], type[32], name[64], mac[32];
    native_value(device, "netdev", id, sizeof(id));
    const char *backend = find_backend(n, id);
    if (!backend || !native_value(backend, NULL, type, sizeof(type)))
        return native_refuse(n, device, "there is no -netdev with this id");
    bool bridge = strcmp(type, "bridge") == 0, tap = strcmp(type, "tap") == 0;
    if (!bridge && !tap && strcmp(type, "user") != 0)
        return native_refuse(n, backend, "bridge, tap and user are known");
    if ((bridge || tap) && native_known(n, backend, bridge ? bridge_keys : tap_keys) < 0)
        return -EINVAL;
    if (bridge && !native_value(backend, "br", name, sizeof(name)))
        strcpy(name, "br0");
    if (tap && !native_value(backend, "ifname", name, sizeof(name)))
        return native_refuse(n, backend, "ifname= is missing");
    buffer_printf(&n->devices, "<interface type='%s'>",
                  bridge ? "bridge"
                  : tap  ? "ethernet"
                         : "user");
    if (native_value(device, "mac", mac, sizeof(mac))) {
        buffer_printf(&n->devices, "<mac");
        native_attribute(n, "address", mac);
        buffer_printf(&n->devices, "/>");
    }
    if (bridge || tap) {
        buffer_printf(&n->devices, bridge ? "<source" : "<target");
        native_attribute(n, bridge ? "bridge" : "dev", name);
        buffer_printf(&n->devices, "%s/>", tap ? " managed='no'" : "");
    }
    buffer_printf(&n->devices, "<model type='virtio'/></interface>");
    return 0;
}

static int qemu_blk(struct native *n, const char *device)
{
    char id[64];
    native_value(device, "drive", id, sizeof(id));
    const char *drive = find_backend(n, id);
    return drive ? qemu_disk(n, drive, device)
                 : native_refuse(n, device, "there is no -drive with this id before it");
}

static int qemu_rng(struct native *n, const char *device)
{
    buffer_printf(&n->devices, "<rng model='virtio'><backend model='random'>/dev/urandom</backend>"
                               "</rng>");
    return 0;
}

static int qemu_nothing(struct native *n, const char *device)
{
    return 0;
}

static int qemu_device(struct native *n, const char *value)
{
    static const struct {
        const char *name;
        int (*read)(struct native *n, const char *device);
    } rows[] = {
        {"virtio-blk-pci", qemu_blk},
        {"virtio-net-pci", qemu_nic},
        {"scsi-hd", qemu_blk},
        {"scsi-cd", qemu_blk},
        {"ide-hd", qemu_blk},
        {"ide-cd", qemu_blk},
        {"virtio-scsi-pci", qemu_nothing},
        {"virtio-rng-pci", qemu_rng},
        {"virtio-balloon-pci", qemu_nothing},
        {"vhost-vsock-pci", add_vsock},
        {"pvpanic", qemu_nothing},
    };
    char name[64];
    native_value(value, NULL, name, sizeof(name));
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].read(n, value);
    }
    return native_refuse(n, value, "there is no such device here");
}

static int qemu_serial(struct native *n, const char *value)
{
    return native_add_chardev(n, "serial", value, "");
}

static int qemu_display(struct native *n, const char *value)
{
    return strcmp(value, "none") == 0 ? 0 : native_refuse(n, value, "displays are not supported");
}

/* Drives that no -device named: if=virtio makes the device by itself. */
int native_qemu_finish(struct native *n)
{
    for (unsigned i = 0; i < n->backend_count; i++) {
        char text[32];
        const char *options = n->backends[i].options;
        if (n->backends[i].used)
            continue;
        if (!native_value(options, "if", text, sizeof(text)) || strcmp(text, "virtio") != 0)
            return native_refuse(n, options, "no virtio device uses it");
        int ret = qemu_disk(n, options, "");
        if (ret < 0)
            return ret;
    }
    return 0;
}

const struct native_option native_qemu_options[] = {
    {"-name", true, native_name},
    {"-uuid", true, native_uuid},
    {"-m", true, qemu_memory},
    {"-smp", true, qemu_smp},
    {"-machine", true, qemu_machine},
    {"-M", true, qemu_machine},
    {"-cpu", true, qemu_cpu},
    {"-accel", true, qemu_accel},
    {"-enable-kvm", false, NULL},
    {"-bios", true, native_loader},
    {"-kernel", true, native_kernel},
    {"-initrd", true, native_initrd},
    {"-append", true, native_cmdline},
    {"-drive", true, qemu_backend},
    {"-netdev", true, qemu_backend},
    {"-device", true, qemu_device},
    {"-serial", true, qemu_serial},
    {"-display", true, qemu_display},
    {"-nographic", false, NULL},
    /* How the process is run. */
    {"-nodefaults", false, NULL},
    {"-no-user-config", false, NULL},
    {"-monitor", true, NULL},
    {"-qmp", true, NULL},
    {"-pidfile", true, NULL},
    {"-daemonize", false, NULL},
    {"-S", false, NULL},
    {NULL, false, NULL},
};
