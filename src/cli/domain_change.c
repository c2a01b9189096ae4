/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices found in a machine's description by what people call them (a disk's target or source,
 * an interface's type and address), and taken away or changed: detach-disk, detach-interface,
 * domif-setlink, change-media.
 */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/attach.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

/* The devices as the daemon has written them, so that one can go back unchanged. NULL: told. */
static struct xml_node *devices_of(struct cli *cli, const wire_domain *domain, unsigned flags)
{
    const REMOTE_RET(DOMAIN_GET_XML_DESC) *text =
        CALL(cli, DOMAIN_GET_XML_DESC, .dom = *domain, .flags = flags);
    struct xml *xml = text ? xml_read_as_written(cli, text->xml) : NULL;
    return xml ? xml_child(xml_root(xml), "devices") : NULL;
}

/* Flags of the description that a change of this kind starts from. */
static unsigned description_of(unsigned affect)
{
    return affect == VIR_DOMAIN_AFFECT_CONFIG ? VIR_DOMAIN_XML_INACTIVE : 0;
}

static bool is(const char *value, const char *wanted)
{
    return value && strcmp(value, wanted) == 0;
}

/* ---------------------------------------------------------------------- disks */

static bool is_called(struct cli *cli, struct xml_node *disk, const char *name)
{
    static const char *const attributes[] = {"file", "dev", "dir", "name"};
    struct xml_node *source = xml_child(disk, "source");
    for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
        if (is(xml_attribute(cli, source, attributes[i]), name))
            return true;
    return is(xml_attribute(cli, xml_child(disk, "target"), "dev"), name);
}

/* By its source or target; with drives only those whose medium can change. NULL: told. */
static struct xml_node *find_disk(struct cli *cli, struct xml_node *devices, const char *name,
                                  bool drives)
{
    struct xml_node *disk = NULL;
    bool any = false;
    while ((disk = xml_next(devices, "disk", disk))) {
        const char *kind = xml_attribute(cli, disk, "device");
        any = true;
        if (drives && !is(kind, "cdrom") && !is(kind, "floppy"))
            continue;
        if (is_called(cli, disk, name))
            return disk;
    }
    if (any)
        cli_error(cli, "No disk found whose source path or target is %s", name);
    else
        cli_error(cli, "Failed to get disk information");
    return NULL;
}

int domain_detach_disk(struct cli *cli)
{
    const char *target = NULL;
    unsigned flags = 0;
    if (attach_check_options(cli) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || attach_affect(cli, domain, &flags) < 0 || arg_text(cli, "target", &target) < 0)
        return -1;
    struct xml_node *devices = devices_of(cli, domain, description_of(flags));
    struct xml_node *disk = devices ? find_disk(cli, devices, target, false) : NULL;
    if (!disk)
        return -1;
    const char *xml = xml_format(cli, disk, 0);
    if (arg_on(cli, "print-xml"))
        return out_document(cli, "xml", xml);
    if (!detach_device(cli, domain, xml, flags))
        return cli_error(cli, "Failed to detach disk");
    return out_done(cli, "Disk detached successfully");
}

/* ---------------------------------------------------------------------- media */

enum media_action { EJECT, INSERT, UPDATE };

static const struct {
    const char *name, *done;
} media_actions[] = {
    [EJECT] = {"eject", "Successfully ejected media."},
    [INSERT] = {"insert", "Successfully inserted media."},
    [UPDATE] = {"update", "Successfully updated media."},
};

/* Puts the medium into the drive's description, or takes it out. */
static int change_medium(struct cli *cli, struct xml_node *drive, enum media_action action,
                         const char *medium)
{
    struct xml_node *source = xml_child(drive, "source"), *name = xml_child(drive, "target");
    const char *target = xml_attribute(cli, name, "dev");
    if (action == EJECT && !source)
        return cli_error(cli, "The disk device '%s' doesn't have media", target);
    if (action == INSERT && source)
        return cli_error(cli, "The disk device '%s' already has media", target);
    if (action != EJECT && !medium)
        return cli_error(cli, "New disk media source was not specified");
    if (source)
        xml_remove(source);
    if (action == EJECT)
        return 0;
    bool block = arg_on(cli, "block");
    xml_set_attribute(drive, "type", block ? "block" : "file");
    source = name ? xml_add_before(name, "source") : xml_add(drive, "source");
    xml_set_attribute(source, block ? "dev" : "file", medium);
    return 0;
}

int domain_change_media(struct cli *cli)
{
    const char *path = NULL, *medium = NULL;
    unsigned flags = 0;
    if (arg_exclusive(cli, "eject", "insert") < 0 || arg_exclusive(cli, "eject", "update") < 0 ||
        arg_exclusive(cli, "insert", "update") < 0 || arg_exclusive(cli, "eject", "block") < 0 ||
        attach_check_options(cli) < 0)
        return -1;
    if (arg_text(cli, "source", &medium) < 0)
        return -1;
    enum media_action action = UPDATE;
    if (arg_on(cli, "eject") || (arg_on(cli, "update") && !medium))
        action = EJECT;
    else if (arg_on(cli, "insert"))
        action = INSERT;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || attach_affect(cli, domain, &flags) < 0 || arg_text(cli, "path", &path) < 0)
        return -1;
    struct xml_node *devices = devices_of(cli, domain, description_of(flags));
    struct xml_node *drive = devices ? find_disk(cli, devices, path, true) : NULL;
    if (!drive || change_medium(cli, drive, action, medium) < 0)
        return -1;
    char *xml = cli_text(cli, "%s", xml_format(cli, drive, 0));
    if (arg_on(cli, "print-xml"))
        return out_document(cli, "xml", xml);
    if (arg_on(cli, "force"))
        flags |= VIR_DOMAIN_DEVICE_MODIFY_FORCE;
    if (!CALL(cli, DOMAIN_UPDATE_DEVICE_FLAGS, .dom = *domain, .xml = xml, .flags = flags))
        return cli_error(cli, "Failed to complete action %s on media", media_actions[action].name);
    return out_phrase(cli, "%s", media_actions[action].done);
}

/* ----------------------------------------------------------------- interfaces */

static const char *mac_of(struct cli *cli, struct xml_node *nic)
{
    return xml_attribute(cli, xml_child(nic, "mac"), "address");
}

/* The one of this type, or of this type and address. NULL: told. */
static struct xml_node *find_nic(struct cli *cli, struct xml_node *devices, const char *type,
                                 const char *mac)
{
    struct xml_node *found = NULL, *nic = NULL;
    unsigned n = 0;
    while ((nic = xml_next(devices, "interface", nic))) {
        if (!is(xml_attribute(cli, nic, "type"), type))
            continue;
        const char *have = mac_of(cli, nic);
        if (mac && have && strcasecmp(have, mac) == 0)
            return nic;
        found = nic;
        n++;
    }
    if (n == 1 && !mac)
        return found;
    if (n == 0)
        cli_error(cli, "No interface found whose type is %s", type);
    else if (mac)
        cli_error(cli, "No interface with MAC address %s was found", mac);
    else
        cli_error(cli, "Domain has %u interfaces. Please specify which one to detach using --mac",
                  n);
    return NULL;
}

/* From the definition or from what runs. 1: its description was shown. */
static int detach_nic(struct cli *cli, const wire_domain *domain, const char *type, const char *mac,
                      unsigned flags)
{
    struct xml_node *devices = devices_of(cli, domain, description_of(flags));
    struct xml_node *nic = devices ? find_nic(cli, devices, type, mac) : NULL;
    if (!nic)
        return -1;
    const char *xml = xml_format(cli, nic, 0);
    if (!arg_on(cli, "print-xml"))
        return detach_device(cli, domain, xml, flags) ? 0 : -1;
    out_document(cli, "xml", xml);
    return 1;
}

int domain_detach_interface(struct cli *cli)
{
    const char *type = NULL, *mac = NULL;
    unsigned flags = 0;
    int r = 0;
    if (attach_check_options(cli) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || attach_affect(cli, domain, &flags) < 0 || arg_text(cli, "type", &type) < 0 ||
        arg_text(cli, "mac", &mac) < 0)
        return -1;
    unsigned others = flags & ~(unsigned)VIR_DOMAIN_AFFECT_CONFIG;
    if (flags & VIR_DOMAIN_AFFECT_CONFIG)
        r = detach_nic(cli, domain, type, mac, VIR_DOMAIN_AFFECT_CONFIG);
    if (r == 0 && (others || !flags))
        r = detach_nic(cli, domain, type, mac, others);
    if (r < 0)
        return arg_on(cli, "print-xml") ? -1 : cli_error(cli, "Failed to detach interface");
    return r > 0 ? 0 : out_done(cli, "Interface detached successfully");
}

/* By its hardware address or the host's name of it. NULL: told. */
static struct xml_node *find_nic_called(struct cli *cli, struct xml_node *devices, const char *name)
{
    struct xml_node *nic = NULL;
    bool any = false;
    while ((nic = xml_next(devices, "interface", nic))) {
        const char *mac = mac_of(cli, nic);
        any = true;
        if ((mac && strcasecmp(mac, name) == 0) ||
            is(xml_attribute(cli, xml_child(nic, "target"), "dev"), name))
            return nic;
    }
    if (any)
        cli_error(cli, "interface '%s' not found", name);
    else
        cli_error(cli, "Failed to extract interface information or no interfaces found");
    return NULL;
}

int domain_set_link(struct cli *cli)
{
    const char *name = NULL, *state = NULL;
    unsigned flags = arg_on(cli, "config") ? VIR_DOMAIN_AFFECT_CONFIG : 0;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_text(cli, "interface", &name) < 0 || arg_text(cli, "state", &state) < 0)
        return -1;
    if (strcmp(state, "up") != 0 && strcmp(state, "down") != 0)
        return cli_error(cli, "invalid link state '%s'", state);
    struct xml_node *devices = devices_of(cli, domain, description_of(flags));
    struct xml_node *nic = devices ? find_nic_called(cli, devices, name) : NULL;
    if (!nic)
        return -1;
    struct xml_node *link = xml_child(nic, "link");
    xml_set_attribute(link ? link : xml_add(nic, "link"), "state", state);
    char *xml = cli_text(cli, "%s", xml_format(cli, nic, 0));
    if (arg_on(cli, "print-xml"))
        return out_document(cli, "xml", xml);
    if (!CALL(cli, DOMAIN_UPDATE_DEVICE_FLAGS, .dom = *domain, .xml = xml, .flags = flags))
        return cli_error(cli, "Failed to update interface link state");
    return out_done(cli, "Device updated successfully");
}
