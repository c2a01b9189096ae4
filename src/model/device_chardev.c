/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <serial>, <console> and <channel>; see read.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

#define VDAGENT_NAME "com.redhat.spice.0"

static const char *const type_names[] = {
    [MODEL_CHARDEV_NULL] = "null",
    [MODEL_CHARDEV_PTY] = "pty",
    [MODEL_CHARDEV_FILE] = "file",
    [MODEL_CHARDEV_DEV] = "dev",
    [MODEL_CHARDEV_PIPE] = "pipe",
    [MODEL_CHARDEV_UNIX] = "unix",
    [MODEL_CHARDEV_TCP] = "tcp",
    [MODEL_CHARDEV_UDP] = "udp",
    [MODEL_CHARDEV_VDAGENT] = "qemu-vdagent",
};

static int read_type(struct read *r, xmlNode *node, struct model_chardev *c)
{
    static const char *const others[] = {"vc",   "stdio", "spicevmc", "spiceport",
                                         "nmdm", "dbus",  NULL};
    const char *type = xml_attr(node, "type");
    if (!type) {
        if (read_set(r, node, "type", "pty") < 0)
            return read_no_memory(r);
        type = "pty";
    }
    for (unsigned i = 0; i < ARRAY_SIZE(type_names); i++) {
        if (strcmp(type, type_names[i]) != 0)
            continue;
        c->type = (enum model_chardev_type)i;
        if (c->type == MODEL_CHARDEV_VDAGENT && c->device.kind != MODEL_CHANNEL)
            return read_refuse(r, node, "type", "'%s' is for channels", type);
        return 0;
    }
    if (!read_is_one_of(type, others))
        return read_unsupported(r, "unknown type presented to host for character device: %s", type);
    return read_refuse(
        r, node, "type",
        "'%s': 'pty', 'unix', 'tcp', 'udp', 'file', 'dev', 'pipe', 'null' and, for a channel, "
        "'qemu-vdagent' are accepted",
        type);
}

static int missing(struct read *r, const char *what)
{
    return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                          "Missing source %s attribute for char device", what);
}

static int read_mode(struct read *r, const xmlNode *source, struct model_chardev *c)
{
    static const char *const modes[] = {"bind", "connect", NULL};
    const char *mode = NULL;
    int ret = read_choice(r, source, "mode", modes, &mode);
    c->listen = mode && *mode == 'b';
    return ret;
}

static int read_tcp(struct read *r, xmlNode *node, const xmlNode *source, struct model_chardev *c)
{
    static const char *const protocols[] = {"raw", "telnet", "telnets", "tls", NULL};
    c->host = source ? xml_attr(source, "host") : NULL;
    c->service = source ? xml_attr(source, "service") : NULL;
    if (!c->host)
        return missing(r, "host");
    if (!c->service)
        return missing(r, "service");
    const char *protocol = "raw";
    xmlNode *element = element_child(node, "protocol");
    int ret = element ? read_choice(r, element, "type", protocols, &protocol) : read_no_memory(r);
    if (ret == 0)
        ret = read_set(r, element, "type", protocol);
    c->telnet = strcmp(protocol, "telnet") == 0;
    if (ret == 0 && !c->telnet && strcmp(protocol, "raw") != 0)
        ret = read_refuse(r, element, "type", "'%s': 'raw' and 'telnet' are accepted", protocol);
    return ret;
}

/* Two sources: where the bytes go, and, optionally, where they come from. */
static int read_udp(struct read *r, const xmlNode *node, struct model_chardev *c)
{
    for (const xmlNode *n = xml_child(node, "source"); n; n = xml_next_same(n)) {
        const char *mode = xml_attr(n, "mode");
        bool binds = mode && strcmp(mode, "bind") == 0;
        *(binds ? &c->bind_host : &c->host) = xml_attr(n, "host");
        *(binds ? &c->bind_service : &c->service) = xml_attr(n, "service");
    }
    return c->service ? 0 : missing(r, "service");
}

/* What the guest's agent does beside: nothing. */
static int read_vdagent(struct read *r, const xmlNode *source, struct model_chardev *c)
{
    static const char *const modes[] = {"server", "client", NULL};
    const xmlNode *clipboard = source ? xml_child(source, "clipboard") : NULL;
    const xmlNode *mouse = source ? xml_child(source, "mouse") : NULL;
    const char *mode = NULL;
    if (c->type != MODEL_CHARDEV_VDAGENT && (clipboard || mouse))
        return read_refuse(r, clipboard ? clipboard : mouse, NULL, "this is for 'qemu-vdagent'");
    int ret = clipboard ? read_yes_no(r, clipboard, "copypaste", &c->clipboard) : 0;
    if (ret == 0 && mouse)
        ret = read_choice(r, mouse, "mode", modes, &mode);
    if (ret == 0 && mode && strcmp(mode, "client") == 0)
        ret = read_refuse(r, mouse, "mode",
                          "'client': a tablet (<input>) does that; 'server' is "
                          "accepted");
    return ret;
}

static int read_source(struct read *r, xmlNode *node, struct model_chardev *c)
{
    xmlNode *source = xml_child(node, "source");
    enum model_switch append = MODEL_SWITCH_ABSENT;
    c->path = source ? xml_attr(source, "path") : NULL;
    if (c->path && !*c->path)
        c->path = NULL;
    int ret = source ? read_mode(r, source, c) : 0;
    if (ret == 0)
        ret = read_switch(r, source, "append", &append);
    if (ret == 0)
        ret = read_vdagent(r, source, c);
    if (ret < 0)
        return ret;
    c->append = append == MODEL_SWITCH_ON;
    switch (c->type) {
    case MODEL_CHARDEV_FILE:
    case MODEL_CHARDEV_DEV:
    case MODEL_CHARDEV_PIPE:
        return c->path ? 0 : missing(r, "path");
    case MODEL_CHARDEV_UNIX:
        /* A channel's socket is made below the daemon's own folder when none is named. */
        if (!c->path && c->device.kind != MODEL_CHANNEL)
            return missing(r, "path");
        ret = read_reconnect(r, source, &c->reconnect);
        if (!c->path) {
            c->listen = true;
            xml_remove(source);
        }
        return ret;
    case MODEL_CHARDEV_TCP:
        ret = read_tcp(r, node, source, c);
        return ret < 0 ? ret : read_reconnect(r, source, &c->reconnect);
    case MODEL_CHARDEV_UDP:
        return read_udp(r, node, c);
    default:
        return 0;
    }
}

static int read_log(struct read *r, const xmlNode *node, struct model_chardev *c)
{
    const xmlNode *log = xml_child(node, "log");
    if (!log)
        return 0;
    enum model_switch append = MODEL_SWITCH_ABSENT;
    if (c->type == MODEL_CHARDEV_VDAGENT)
        return read_refuse(r, log, NULL, "what is copied is not logged");
    c->log = xml_attr(log, "file");
    if (!c->log)
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Missing required attribute 'file' in element 'log'");
    int ret = read_switch(r, log, "append", &append);
    c->log_append = append == MODEL_SWITCH_ON;
    return ret;
}

/* ------------------------------------------------------------------ targets */

static int read_serial_target(struct read *r, xmlNode *target, struct model_chardev *c)
{
    static const char *const types[] = {
        "isa-serial",    "usb-serial",  "pci-serial", "spapr-vio-serial",
        "system-serial", "sclp-serial", "isa-debug",  NULL};
    const char *type = xml_attr(target, "type");
    if (type && !read_is_one_of(type, types))
        return read_unsupported(r, "unknown target type '%s' specified for character device", type);
    int ret = 0;
    if (!type)
        ret = read_set(r, target, "type", "isa-serial");
    else if (strcmp(type, "isa-serial") != 0)
        ret = read_refuse(r, target, "type", "'%s': 'isa-serial' is accepted", type);
    c->target_type = xml_attr(target, "type");
    xmlNode *model = element_child(target, "model");
    if (ret == 0 && !model)
        ret = read_no_memory(r);
    const char *name = model ? xml_attr(model, "name") : NULL;
    if (ret == 0 && !name)
        ret = read_set(r, model, "name", "isa-serial");
    else if (ret == 0 && strcmp(name, "isa-serial") != 0)
        ret = read_refuse(r, model, "name", "'%s': 'isa-serial' is accepted", name);
    return ret;
}

static int read_console_target(struct read *r, xmlNode *target, struct model_chardev *c)
{
    static const char *const types[] = {"serial", "xen",  "uml",    "virtio", "lxc",
                                        "openvz", "sclp", "sclplm", NULL};
    const char *type = xml_attr(target, "type");
    if (type && !read_is_one_of(type, types))
        return read_unsupported(r, "unknown target type '%s' specified for character device", type);
    int ret = type ? 0 : read_set(r, target, "type", "serial");
    c->target_type = xml_attr(target, "type");
    if (ret == 0 && strcmp(c->target_type, "serial") != 0 && strcmp(c->target_type, "virtio") != 0)
        ret = read_refuse(r, target, "type", "'%s': 'serial' and 'virtio' are accepted",
                          c->target_type);
    return ret;
}

static int read_channel_target(struct read *r, xmlNode *target, struct model_chardev *c)
{
    static const char *const types[] = {"guestfwd", "virtio", "xen", NULL};
    c->target_type = xml_attr(target, "type");
    if (!c->target_type)
        return read_xml_error(r, "target type must be specified for channel device");
    if (!read_is_one_of(c->target_type, types))
        return read_unsupported(r, "unknown target type '%s' specified for character device",
                                c->target_type);
    if (strcmp(c->target_type, "virtio") != 0)
        return read_refuse(r, target, "type", "'%s': 'virtio' is accepted", c->target_type);
    c->name = xml_attr(target, "name");
    if (c->type == MODEL_CHARDEV_VDAGENT && !c->name) {
        c->name = VDAGENT_NAME;
        return read_set(r, target, "name", VDAGENT_NAME);
    }
    if (!c->name || !*c->name)
        return read_refuse(r, target, NULL, "a channel needs a name");
    if (c->type == MODEL_CHARDEV_VDAGENT && strcmp(c->name, VDAGENT_NAME) != 0)
        return read_refuse(r, target, "name", "'%s': an agent's is '%s'", c->name, VDAGENT_NAME);
    return 0;
}

static int read_target(struct read *r, xmlNode *node, struct model_chardev *c)
{
    xmlNode *target = xml_child(node, "target");
    if (c->device.kind == MODEL_CHANNEL) {
        if (!target)
            return read_xml_error(r, "target type must be specified for channel device");
        return read_channel_target(r, target, c);
    }
    target = element_child(node, "target");
    if (!target)
        return read_no_memory(r);
    int ret = c->device.kind == MODEL_SERIAL ? read_serial_target(r, target, c)
                                             : read_console_target(r, target, c);
    return ret < 0 ? ret : read_uint(r, target, "port", &c->port);
}

int read_chardev(struct read *r, xmlNode *node, struct model_chardev *c)
{
    static const struct {
        const char *name;
        enum model_device_kind kind;
    } kinds[] = {{"serial", MODEL_SERIAL}, {"console", MODEL_CONSOLE}, {"channel", MODEL_CHANNEL}};
    enum model_device_kind kind = MODEL_SERIAL;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (xml_is(node, kinds[i].name))
            kind = kinds[i].kind;
    }
    int ret = read_device_common(r, node, kind, &c->device);
    if (ret == 0)
        ret = read_type(r, node, c);
    if (ret == 0)
        ret = read_source(r, node, c);
    if (ret == 0)
        ret = read_log(r, node, c);
    if (ret == 0)
        ret = read_target(r, node, c);
    if (ret == 0 && c->port > 3 && kind == MODEL_SERIAL)
        ret = read_refuse(r, xml_child(node, "target"), "port",
                          "%u: there are four serial ports, 0 to 3", c->port);
    c->twin = kind == MODEL_CONSOLE && c->target_type && strcmp(c->target_type, "serial") == 0;
    return ret;
}
