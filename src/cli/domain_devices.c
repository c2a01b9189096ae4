/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks, interfaces and consoles of a machine, as its description names them. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define COLUMNS 15

static struct xml_node *devices_of(struct cli *cli, const wire_domain *domain, unsigned flags)
{
    struct xml *xml = domain ? xml_of_domain(cli, domain, flags) : NULL;
    return xml ? xml_child(xml_root(xml), "devices") : NULL;
}

/* What a disk's or interface's source element says, by its type. */
static const char *disk_source(struct cli *cli, struct xml_node *disk)
{
    static const char *const attributes[] = {"file", "dev", "dir", "name", "volume", "path"};
    struct xml_node *source = xml_child(disk, "source");
    for (size_t i = 0; source && i < ARRAY_SIZE(attributes); i++) {
        const char *value = xml_attribute(cli, source, attributes[i]);
        if (value)
            return value;
    }
    return NULL;
}

int domain_block_list(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    struct xml_node *devices =
        devices_of(cli, domain, arg_on(cli, "inactive") ? VIR_DOMAIN_XML_INACTIVE : 0);
    if (!devices)
        return -1;
    bool details = arg_on(cli, "details");
    struct table *table =
        details ? TABLE(cli, "Type", "Device", "Target", "Source") : TABLE(cli, "Target", "Source");
    for (struct xml_node *disk = NULL; (disk = xml_next(devices, "disk", disk));) {
        const char *target = xml_attribute(cli, xml_child(disk, "target"), "dev");
        const char *source = disk_source(cli, disk);
        if (!source)
            source = "-";
        if (details)
            TABLE_ROW(cli, table, xml_attribute(cli, disk, "type"),
                      xml_attribute(cli, disk, "device"), target, source);
        else
            TABLE_ROW(cli, table, target, source);
    }
    return table_print(cli, table);
}

static const char *size_text(struct cli *cli, uint64_t bytes, bool human)
{
    const char *unit;
    if (!human)
        return cli_text(cli, "%llu", (unsigned long long)bytes);
    double size = size_pretty(bytes, &unit);
    return cli_text(cli, "%-.3lf %s", size, unit);
}

static int all_block_info(struct cli *cli, const wire_domain *domain, bool human)
{
    struct xml_node *devices = devices_of(cli, domain, 0);
    if (!devices)
        return -1;
    struct table *table = TABLE(cli, "Target", "Capacity", "Allocation", "Physical");
    for (struct xml_node *disk = NULL; (disk = xml_next(devices, "disk", disk));) {
        const char *target = xml_attribute(cli, xml_child(disk, "target"), "dev");
        const REMOTE_RET(DOMAIN_GET_BLOCK_INFO) *info =
            xml_child(disk, "source") ? CALL(cli, DOMAIN_GET_BLOCK_INFO, .dom = *domain,
                                             .path = (char *)(uintptr_t)target)
                                      : NULL;
        if (!info && xml_child(disk, "source"))
            return -1;
        TABLE_ROW(cli, table, target, info ? size_text(cli, info->capacity, human) : "-",
                  info ? size_text(cli, info->allocation, human) : "-",
                  info ? size_text(cli, info->physical, human) : "-");
    }
    return table_print(cli, table);
}

int domain_block_info(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *device = NULL;
    bool all = arg_on(cli, "all"), human = arg_on(cli, "human");
    if (!domain)
        return -1;
    if (!all && arg_text(cli, "device", &device) <= 0)
        return cli_error(cli, "command 'domblkinfo' requires <device> option");
    if (all)
        return all_block_info(cli, domain, human);
    const REMOTE_RET(DOMAIN_GET_BLOCK_INFO) *info =
        CALL(cli, DOMAIN_GET_BLOCK_INFO, .dom = *domain, .path = (char *)(uintptr_t)device);
    if (!info)
        return -1;
    out_field(cli, COLUMNS, "Capacity:", "%s", size_text(cli, info->capacity, human));
    out_field(cli, COLUMNS, "Allocation:", "%s", size_text(cli, info->allocation, human));
    out_field(cli, COLUMNS, "Physical:", "%s", size_text(cli, info->physical, human));
    return 0;
}

int domain_block_error(struct cli *cli)
{
    static const char *const errors[] = {"no error", "unspecified error", "no space"};
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    const REMOTE_RET(DOMAIN_GET_DISK_ERRORS) *count =
        CALL(cli, DOMAIN_GET_DISK_ERRORS, .dom = *domain);
    const REMOTE_RET(DOMAIN_GET_DISK_ERRORS) *found =
        count
            ? CALL(cli, DOMAIN_GET_DISK_ERRORS, .dom = *domain, .maxerrors = (u_int)count->nerrors)
            : NULL;
    if (!found)
        return -1;
    out_array(cli);
    if (!found->errors.errors_len)
        out_print(cli, "No errors found\n");
    for (unsigned i = 0; i < found->errors.errors_len; i++) {
        const wire_disk_error *error = &found->errors.errors_val[i];
        const char *text = error->error >= 0 && (size_t)error->error < ARRAY_SIZE(errors)
                               ? errors[error->error]
                               : "unknown error";
        out_print(cli, "%s: %s\n", error->disk, text);
        out_item(cli);
        out_key(cli, "disk", "%s", error->disk);
        out_key(cli, "error", "%s", text);
    }
    return 0;
}

int domain_block_resize(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *path = NULL;
    uint64_t size = 0;
    unsigned flags = 0;
    if (!domain || arg_text(cli, "path", &path) < 0)
        return -1;
    bool capacity = arg_on(cli, "capacity");
    if (!capacity && arg_size(cli, "size", &size, 1024, UINT64_MAX) < 0)
        return -1;
    if (capacity)
        flags |= BIT(1); /* VIR_DOMAIN_BLOCK_RESIZE_CAPACITY of libvirt 10 */
    /* The wire counts in KiB unless the size is not a multiple of it. */
    if (size % 1024 == 0)
        size /= 1024;
    else
        flags |= VIR_DOMAIN_BLOCK_RESIZE_BYTES;
    if (!CALL(cli, DOMAIN_BLOCK_RESIZE, .dom = *domain, .disk = (char *)(uintptr_t)path,
              .size = size, .flags = flags))
        return cli_error(cli, "Failed to resize block device '%s'", path);
    return out_phrase(cli, "Block device '%s' is resized", path);
}

/* An interface's source: the bridge, network, device or socket. */
static const char *nic_source(struct cli *cli, struct xml_node *nic, const char *type)
{
    struct xml_node *source = xml_child(nic, "source");
    const char *value = xml_attribute(cli, source, type);
    if (!value && strcmp(type, "direct") == 0)
        value = xml_attribute(cli, source, "dev");
    if (!value && strcmp(type, "vhostuser") == 0)
        value = xml_attribute(cli, source, "path");
    return value;
}

int domain_interface_list(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    struct xml_node *devices =
        devices_of(cli, domain, arg_on(cli, "inactive") ? VIR_DOMAIN_XML_INACTIVE : 0);
    if (!devices)
        return -1;
    struct table *table = TABLE(cli, "Interface", "Type", "Source", "Model", "MAC");
    for (struct xml_node *nic = NULL; (nic = xml_next(devices, "interface", nic));) {
        const char *type = xml_attribute(cli, nic, "type");
        const char *source = nic_source(cli, nic, type ? type : "");
        const char *target = xml_attribute(cli, xml_child(nic, "target"), "dev");
        const char *model = xml_attribute(cli, xml_child(nic, "model"), "type");
        const char *mac = xml_attribute(cli, xml_child(nic, "mac"), "address");
        TABLE_ROW(cli, table, target ? target : "-", type, source ? source : "-",
                  model ? model : "-", mac ? mac : "-");
    }
    return table_print(cli, table);
}

/* By the host's name of it or its hardware address. */
static struct xml_node *find_nic(struct cli *cli, struct xml_node *devices, const char *wanted,
                                 bool *is_mac)
{
    *is_mac = strlen(wanted) == 17 && wanted[2] == ':';
    for (struct xml_node *nic = NULL; (nic = xml_next(devices, "interface", nic));) {
        const char *have = *is_mac ? xml_attribute(cli, xml_child(nic, "mac"), "address")
                                   : xml_attribute(cli, xml_child(nic, "target"), "dev");
        if (have && strcasecmp(have, wanted) == 0)
            return nic;
    }
    return NULL;
}

int domain_interface_link(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *wanted = NULL;
    bool is_mac;
    if (!domain || arg_text(cli, "interface", &wanted) < 0)
        return -1;
    struct xml_node *devices =
        devices_of(cli, domain, arg_on(cli, "config") ? VIR_DOMAIN_XML_INACTIVE : 0);
    if (!devices)
        return -1;
    struct xml_node *nic = find_nic(cli, devices, wanted, &is_mac);
    if (!nic)
        return cli_error(
            cli, is_mac ? "Interface (mac: %s) not found." : "Interface (dev: %s) not found.",
            wanted);
    const char *state = xml_attribute(cli, xml_child(nic, "link"), "state");
    out_print(cli, "%s %s", wanted, state ? state : "up");
    out_key(cli, "interface", "%s", wanted);
    out_key(cli, "link", "%s", state ? state : "up");
    return 0;
}

static void print_addresses(struct cli *cli, const wire_interface_addresses *nic)
{
    bool full = arg_on(cli, "full");
    const char *mac = nic->hwaddr ? *nic->hwaddr : "N/A";
    if (!nic->addrs.addrs_len)
        out_print(cli, " %-10s %-17s    %s\n", nic->name, mac, "N/A          N/A");
    for (unsigned i = 0; i < nic->addrs.addrs_len; i++) {
        const wire_ip_address *address = &nic->addrs.addrs_val[i];
        const char *protocol = address->type == VIR_IP_ADDR_TYPE_IPV4 ? "ipv4" : "ipv6";
        bool named = full || i == 0;
        out_print(cli, " %-10s %-17s    %-12s %s/%d\n", named ? nic->name : "-", named ? mac : "-",
                  protocol, address->addr, address->prefix);
        out_item(cli);
        out_key(cli, "name", "%s", nic->name);
        out_key(cli, "mac_address", "%s", mac);
        out_key(cli, "protocol", "%s", protocol);
        out_key(cli, "address", "%s/%d", address->addr, address->prefix);
    }
}

int domain_interface_addresses(struct cli *cli)
{
    static const char *const sources[] = {"lease", "agent", "arp"};
    const wire_domain *domain = lookup_domain(cli);
    const char *wanted = NULL, *source = NULL;
    size_t number = 0;
    if (!domain || arg_text(cli, "interface", &wanted) < 0 || arg_text(cli, "source", &source) < 0)
        return -1;
    while (source && number < ARRAY_SIZE(sources) && strcmp(sources[number], source) != 0)
        number++;
    if (number == ARRAY_SIZE(sources))
        return cli_error(cli, "Unknown data source '%s'", source);
    const REMOTE_RET(DOMAIN_INTERFACE_ADDRESSES) *found =
        CALL(cli, DOMAIN_INTERFACE_ADDRESSES, .dom = *domain, .source = (u_int)number);
    if (!found)
        return cli_error(cli, "Failed to query for interfaces addresses");
    out_array(cli);
    out_print(cli, " %-10s %-20s %-8s     %s\n%s%s\n", "Name", "MAC address", "Protocol", "Address",
              "---------------------------------------------------",
              "----------------------------");
    for (unsigned i = 0; i < found->ifaces.ifaces_len; i++)
        if (!wanted || strcmp(wanted, found->ifaces.ifaces_val[i].name) == 0)
            print_addresses(cli, &found->ifaces.ifaces_val[i]);
    return 0;
}

/* Where a screen listens: "vnc://host:port". */
static const char *display_uri(struct cli *cli, struct xml_node *graphics)
{
    const char *type = xml_attribute(cli, graphics, "type");
    const char *port = xml_attribute(cli, graphics, "port");
    const char *listen = xml_attribute(cli, graphics, "listen");
    const char *socket = xml_attribute(cli, graphics, "socket");
    const char *password =
        arg_on(cli, "include-password") ? xml_attribute(cli, graphics, "passwd") : NULL;
    if (socket)
        return cli_text(cli, "%s+unix://%s", type, socket);
    if (!port || strcmp(port, "-1") == 0)
        return NULL;
    if (!listen || strcmp(listen, "0.0.0.0") == 0 || strcmp(listen, "::") == 0)
        listen = "localhost";
    long number = strtol(port, NULL, 10);
    if (strcmp(type, "vnc") == 0)
        number -= 5900;
    return cli_text(cli, strchr(listen, ':') ? "%s://%s%s%s[%s]:%ld" : "%s://%s%s%s%s:%ld", type,
                    password ? ":" : "", password ? password : "", password ? "@" : "", listen,
                    number);
}

int domain_display(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *wanted = NULL;
    bool any = false;
    if (!domain || arg_text(cli, "type", &wanted) < 0)
        return -1;
    if (domain->id < 0)
        return cli_error(cli, "Domain is not running");
    unsigned flags = arg_on(cli, "include-password") ? VIR_DOMAIN_XML_SECURE : 0;
    struct xml_node *devices = devices_of(cli, domain, flags);
    if (!devices)
        return -1;
    for (struct xml_node *graphics = NULL; (graphics = xml_next(devices, "graphics", graphics));) {
        const char *type = xml_attribute(cli, graphics, "type");
        if (wanted && strcmp(wanted, type) != 0)
            continue;
        const char *uri = display_uri(cli, graphics);
        if (!uri)
            continue;
        out_print(cli, arg_on(cli, "all") ? "%s\n" : "%s", uri);
        out_key(cli, "uri", "%s", uri);
        any = true;
        if (!arg_on(cli, "all"))
            break;
    }
    if (any)
        return 0;
    return wanted ? cli_error(cli, "No graphical display with type '%s' found", wanted)
                  : cli_error(cli, "No graphical display found");
}

int domain_vnc_display(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (domain->id < 0)
        return cli_error(cli, "Domain is not running");
    struct xml_node *devices = devices_of(cli, domain, 0);
    if (!devices)
        return -1;
    for (struct xml_node *graphics = NULL; (graphics = xml_next(devices, "graphics", graphics));) {
        const char *type = xml_attribute(cli, graphics, "type");
        const char *port = xml_attribute(cli, graphics, "port");
        const char *listen = xml_attribute(cli, graphics, "listen");
        if (!type || strcmp(type, "vnc") != 0 || !port || strtol(port, NULL, 10) < 0)
            continue;
        if (!listen || strcmp(listen, "0.0.0.0") == 0)
            listen = "";
        return out_value(cli, "display", strchr(listen, ':') ? "[%s]:%ld" : "%s:%ld", listen,
                         strtol(port, NULL, 10) - 5900);
    }
    return cli_error(cli, "Failed to get VNC port. Is this domain using VNC?");
}

int domain_tty_console(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    struct xml_node *devices = devices_of(cli, domain, 0);
    const char *tty = xml_attribute(cli, devices ? xml_child(devices, "console") : NULL, "tty");
    return tty ? out_value(cli, "tty", "%s", tty) : -1; /* without a word, as virsh */
}
