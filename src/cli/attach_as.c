/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach-disk and attach-interface: devices described by options. The description is made here,
 * and --print-xml shows it.
 */
#include <ctype.h>
#include <errno.h>
#include <libvirt/virterror.h>
#include <sys/stat.h>

#include "cli/args.h"
#include "cli/attach.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

/* " name='value'", or nothing when there is no value. */
static const char *attribute(struct cli *cli, const char *name, const char *value)
{
    return value ? cli_text(cli, " %s='%s'", name, xml_escape(cli, value)) : "";
}

/* "  <element name='value'/>", or nothing. */
static const char *line(struct cli *cli, const char *element, const char *name, const char *value)
{
    return value ? cli_text(cli, "  <%s%s/>\n", element, attribute(cli, name, value)) : "";
}

/* ------------------------------------------------------------------ addresses */

#define ADDRESS_PARTS_MAX 4

/* As many numbers as wanted, a character between each two; what is behind them is left. */
static int read_numbers(const char *text, int base, unsigned wanted, unsigned long long *out)
{
    for (unsigned i = 0; i < wanted; i++) {
        char *end;
        errno = 0;
        if (!isxdigit((unsigned char)*text))
            return -EINVAL;
        out[i] = strtoull(text, &end, base);
        if (errno || end == text || (i + 1 < wanted && !*end))
            return -EINVAL;
        text = end + 1;
    }
    return 0;
}

static const char *pci_address(struct cli *cli, const char *text, const char *more)
{
    unsigned long long n[ADDRESS_PARTS_MAX];
    if (read_numbers(text, 16, 4, n) < 0)
        return NULL;
    return cli_text(cli,
                    "<address type='pci' domain='0x%.4llx' bus='0x%.2llx' slot='0x%.2llx' "
                    "function='0x%.1llx'%s/>\n",
                    n[0], n[1], n[2], n[3], more);
}

static const char *ccw_address(struct cli *cli, const char *text, const char *more)
{
    unsigned long long n[ADDRESS_PARTS_MAX];
    if (read_numbers(text, 16, 3, n) < 0)
        return NULL;
    return cli_text(cli, "<address type='ccw' cssid='0x%llx' ssid='0x%llx' devno='0x%.4llx'/>\n",
                    n[0], n[1], n[2]);
}

static const char *usb_address(struct cli *cli, const char *text, const char *more)
{
    unsigned long long n[ADDRESS_PARTS_MAX];
    if (read_numbers(text, 10, 2, n) < 0)
        return NULL;
    return cli_text(cli, "<address type='usb' bus='%llu' port='%llu'/>\n", n[0], n[1]);
}

static const char *drive_address(struct cli *cli, const char *text, const char *more)
{
    unsigned long long n[ADDRESS_PARTS_MAX];
    if (read_numbers(text, 10, 3, n) < 0)
        return NULL;
    return cli_text(cli, "<address type='drive' controller='%llu' bus='%llu' unit='%llu'/>\n", n[0],
                    n[1], n[2]);
}

enum address_kind { PCI, CCW, USB, SCSI, IDE, SATA };

static const struct {
    const char *prefix;
    const char *(*format)(struct cli *cli, const char *text, const char *more);
} addresses[] = {
    [PCI] = {"pci:", pci_address},   [CCW] = {"ccw:", ccw_address},
    [USB] = {"usb:", usb_address},   [SCSI] = {"scsi:", drive_address},
    [IDE] = {"ide:", drive_address}, [SATA] = {"sata:", drive_address},
};

/* Where a disk may sit, by its name in the guest; other names are not looked at. */
static const struct {
    const char *prefix;
    unsigned kinds; /* BIT(enum address_kind) */
    const char *expected;
} places[] = {
    {"vd", BIT(PCI) | BIT(CCW), "expecting a pci:0000.00.00.00 or ccw:00.0.0000 address."},
    {"sd", BIT(SCSI) | BIT(USB) | BIT(SATA),
     "expecting a scsi:00.00.00 or usb:00.00 or sata:00.00.00 address."},
    {"hd", BIT(IDE), "expecting an ide:00.00.00 address."},
};

/* NULL: told. */
static const char *disk_address(struct cli *cli, const char *text, const char *target)
{
    const char *more = arg_on(cli, "multifunction") ? " multifunction='on'" : "", *xml = NULL;
    size_t kind = 0;
    while (kind < ARRAY_SIZE(addresses) &&
           strncmp(text, addresses[kind].prefix, strlen(addresses[kind].prefix)) != 0)
        kind++;
    if (kind < ARRAY_SIZE(addresses))
        xml = addresses[kind].format(cli, text + strlen(addresses[kind].prefix), more);
    if (!xml) {
        cli_error(cli, "Invalid address.");
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (strncmp(target, places[i].prefix, 2) == 0 && !(places[i].kinds & BIT(kind))) {
            cli_error(cli, "%s", places[i].expected);
            return NULL;
        }
    return cli_text(cli, "  %s", xml);
}

/* ---------------------------------------------------------------------- disks */

/* The disk's type: as it was asked for, or what lies at the source. NULL: told. */
static const char *disk_type(struct cli *cli, const char *source, const char *protocol)
{
    static const char *const types[] = {"file", "block", "network"};
    const char *asked = arg_raw(cli, "sourcetype");
    struct stat st;
    if (!asked)
        return protocol                                        ? "network"
               : stat(source, &st) == 0 && S_ISBLK(st.st_mode) ? "block"
                                                               : "file";
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(types[i], asked) != 0)
            continue;
        if (!protocol == (strcmp(asked, "network") != 0))
            return types[i];
        cli_error(cli, "--source-protocol option requires --sourcetype network");
        return NULL;
    }
    cli_error(cli, "Unknown source type: '%s'", asked);
    return NULL;
}

static const char *network_source(struct cli *cli, const char *source, const char *protocol)
{
    const char *host = arg_raw(cli, "source-host-name"), *port = NULL;
    const char *transport = arg_raw(cli, "source-host-transport");
    const char *socket = arg_raw(cli, "source-host-socket");
    const char *colon = host ? strchr(host, ':') : NULL;
    if (colon) {
        port = colon + 1;
        host = cli_strndup(cli, host, (size_t)(colon - host));
    }
    const char *open = cli_text(cli, "  <source%s%s", attribute(cli, "protocol", protocol),
                                attribute(cli, "name", source));
    if (!host && !transport && !socket)
        return cli_text(cli, "%s/>\n", open);
    return cli_text(cli, "%s>\n    <host%s%s%s%s/>\n  </source>\n", open,
                    attribute(cli, "transport", transport), attribute(cli, "socket", socket),
                    attribute(cli, "name", host), attribute(cli, "port", port));
}

static int check_wwn(struct cli *cli, const char *wwn)
{
    if (!wwn || (strlen(wwn) == 16 && strspn(wwn, "0123456789abcdefABCDEF") == 16))
        return 0;
    return cli_fail(cli, VIR_ERR_INTERNAL_ERROR, "internal error: Malformed wwn: %s", wwn);
}

/* None may be given empty. */
static int check_texts(struct cli *cli, const char *const *names)
{
    const char *value;
    for (; *names; names++)
        if (arg_text(cli, *names, &value) < 0)
            return -1;
    return 0;
}

/* NULL: told. */
static const char *disk_xml(struct cli *cli)
{
    static const char *const texts[] = {"driver",
                                        "subdriver",
                                        "iothread",
                                        "cache",
                                        "io",
                                        "serial",
                                        "wwn",
                                        "alias",
                                        "targetbus",
                                        "type",
                                        "mode",
                                        "address",
                                        "sourcetype",
                                        "target",
                                        "source-protocol",
                                        "source-host-name",
                                        "source-host-transport",
                                        "source-host-socket",
                                        NULL};
    const char *mode = NULL, *address = "";
    const char *source = arg_raw(cli, "source"), *protocol = arg_raw(cli, "source-protocol");
    const char *target = arg_raw(cli, "target"), *wwn = arg_raw(cli, "wwn");
    if (check_texts(cli, texts) < 0 || arg_text(cli, "mode", &mode) < 0)
        return NULL;
    const char *type = disk_type(cli, source, protocol);
    if (!type)
        return NULL;
    if (mode && strcmp(mode, "readonly") != 0 && strcmp(mode, "shareable") != 0) {
        cli_error(cli, "No support for %s in command 'attach-disk'", mode);
        return NULL;
    }
    if (check_wwn(cli, wwn) < 0)
        return NULL;
    if (arg_raw(cli, "address"))
        address = disk_address(cli, arg_raw(cli, "address"), target);
    if (!address)
        return NULL;
    const char *driver = cli_text(cli, "%s%s%s%s%s", attribute(cli, "name", arg_raw(cli, "driver")),
                                  attribute(cli, "type", arg_raw(cli, "subdriver")),
                                  attribute(cli, "iothread", arg_raw(cli, "iothread")),
                                  attribute(cli, "cache", arg_raw(cli, "cache")),
                                  attribute(cli, "io", arg_raw(cli, "io")));
    const char *serial = arg_raw(cli, "serial");
    return cli_text(
        cli, "<disk type='%s'%s%s>\n%s%s  <target%s%s/>\n%s%s%s%s%s</disk>\n", type,
        attribute(cli, "device", arg_raw(cli, "type")), arg_on(cli, "rawio") ? " rawio='yes'" : "",
        *driver ? cli_text(cli, "  <driver%s/>\n", driver) : "",
        protocol ? network_source(cli, source, protocol)
                 : line(cli, "source", strcmp(type, "block") == 0 ? "dev" : "file", source),
        attribute(cli, "dev", target), attribute(cli, "bus", arg_raw(cli, "targetbus")),
        mode ? cli_text(cli, "  <%s/>\n", mode) : "",
        serial ? cli_text(cli, "  <serial>%s</serial>\n", xml_escape(cli, serial)) : "",
        line(cli, "alias", "name", arg_raw(cli, "alias")),
        wwn ? cli_text(cli, "  <wwn>%s</wwn>\n", wwn) : "", address);
}

/* Shows the description, or gives the device to the machine. */
static int attach(struct cli *cli, const char *xml, const char *what, const char *done)
{
    unsigned flags = 0;
    if (arg_on(cli, "print-xml"))
        return out_document(cli, "xml", xml);
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || attach_affect(cli, domain, &flags) < 0)
        return -1;
    if (!attach_device(cli, domain, xml, flags))
        return cli_error(cli, "Failed to attach %s", what);
    return out_done(cli, "%s attached successfully", done);
}

int domain_attach_disk(struct cli *cli)
{
    if (attach_check_options(cli) < 0 ||
        arg_exclusive(cli, "source-host-name", "source-host-socket") < 0 ||
        arg_requires(cli, "source-host-name", "source-protocol") < 0 ||
        arg_requires(cli, "source-host-transport", "source-protocol") < 0 ||
        arg_requires(cli, "source-host-socket", "source-protocol") < 0 ||
        arg_requires(cli, "source-host-socket", "source-host-transport") < 0)
        return -1;
    const char *xml = disk_xml(cli);
    return xml ? attach(cli, xml, "disk", "Disk") : -1;
}

/* ----------------------------------------------------------------- interfaces */

static const char *const rate_fields[] = {"average", "peak", "burst", "floor"};
enum rate_field { AVERAGE, PEAK, BURST, FLOOR };

/* "average,peak,burst,floor"; what is left out is 0. */
static int read_rates(struct cli *cli, const char *text, unsigned long long *out)
{
    char *words = cli_text(cli, "%s", text);
    size_t i = 0;
    for (char *word; (word = strsep(&words, ",")); i++) {
        char *end = word;
        if (i == ARRAY_SIZE(rate_fields))
            return cli_error(cli, "Rate string '%s' has too many fields", text);
        errno = 0;
        out[i] = *word ? strtoull(word, &end, 10) : 0;
        if (errno || *end || *word == '-')
            return cli_error(cli, "field '%s' is malformed", rate_fields[i]);
    }
    return 0;
}

/* One direction's limits; NULL: told. */
static const char *rates_xml(struct cli *cli, const char *option)
{
    unsigned long long rates[ARRAY_SIZE(rate_fields)] = {0};
    const char *text = NULL, *xml = "";
    bool inbound = strcmp(option, "inbound") == 0;
    int r = arg_text(cli, option, &text);
    if (r == 0)
        return "";
    if (r < 0 || read_rates(cli, text, rates) < 0)
        return NULL;
    const char *wrong = NULL;
    if (inbound && !rates[AVERAGE] && !rates[FLOOR])
        wrong = "either inbound average or floor is mandatory";
    else if (!inbound && !rates[AVERAGE])
        wrong = "outbound average is mandatory";
    else if (!inbound && rates[FLOOR])
        wrong = "outbound floor is unsupported yet";
    if (wrong) {
        cli_error(cli, "%s", wrong);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(rate_fields); i++)
        if (rates[i])
            xml = cli_text(cli, "%s %s='%llu'", xml, rate_fields[i], rates[i]);
    return cli_text(cli, "    <%s%s/>\n", option, xml);
}

/* NULL: told. */
static const char *vhostuser_source(struct cli *cli, const char *source, const char *mode)
{
    if (mode)
        return cli_text(cli, "  <source type='unix'%s%s/>\n", attribute(cli, "path", source),
                        attribute(cli, "mode", mode));
    cli_error(cli, "source-mode is mandatory");
    return NULL;
}

static const char *nic_source(struct cli *cli, const char *type, const char *source)
{
    static const struct {
        const char *type, *attribute;
    } simple[] = {{"network", "network"}, {"bridge", "bridge"}, {"direct", "dev"}};
    const char *mode = arg_raw(cli, "source-mode");
    if (mode && strcmp(mode, "server") != 0 && strcmp(mode, "client") != 0) {
        cli_error(cli, "Invalid source mode: %s", mode);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(simple); i++)
        if (strcmp(simple[i].type, type) == 0)
            return line(cli, "source", simple[i].attribute, source);
    if (strcmp(type, "vhostuser") == 0)
        return vhostuser_source(cli, source, mode);
    if (strcmp(type, "hostdev") == 0) {
        const char *address = pci_address(cli, source, "");
        if (address)
            return cli_text(cli, "  <source>\n    %s  </source>\n", address);
        cli_error(cli, "cannot parse pci address '%s' for network interface", source);
        return NULL;
    }
    cli_error(cli, "No support for %s in command 'attach-interface'", type);
    return NULL;
}

int domain_attach_interface(struct cli *cli)
{
    static const char *const texts[] = {"type",   "source", "source-mode", "target", "mac",
                                        "script", "model",  "alias",       NULL};
    if (attach_check_options(cli) < 0 || check_texts(cli, texts) < 0)
        return -1;
    const char *type = arg_raw(cli, "type");
    const char *inbound = rates_xml(cli, "inbound");
    const char *outbound = inbound ? rates_xml(cli, "outbound") : NULL;
    const char *source = outbound ? nic_source(cli, type, arg_raw(cli, "source")) : NULL;
    if (!source)
        return -1;
    const char *bandwidth =
        *inbound || *outbound
            ? cli_text(cli, "  <bandwidth>\n%s%s  </bandwidth>\n", inbound, outbound)
            : "";
    const char *xml = cli_text(cli, "<interface type='%s'%s>\n%s%s%s%s%s%s%s</interface>\n", type,
                               arg_on(cli, "managed") ? " managed='yes'" : "", source,
                               line(cli, "target", "dev", arg_raw(cli, "target")),
                               line(cli, "mac", "address", arg_raw(cli, "mac")),
                               line(cli, "script", "path", arg_raw(cli, "script")),
                               line(cli, "model", "type", arg_raw(cli, "model")),
                               line(cli, "alias", "name", arg_raw(cli, "alias")), bandwidth);
    return attach(cli, xml, "interface", "Interface");
}
