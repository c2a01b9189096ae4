/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine's address, for ssh, cp and wait; see address.h. */
#include "cli/address.h"

#include <libvirt/libvirt.h>

#include "cli/xml.h"

/* An address that others can reach, of one source. NULL: none. */
static const char *asked_address(struct cli *cli, const wire_domain *domain, unsigned source)
{
    const REMOTE_RET(DOMAIN_INTERFACE_ADDRESSES) *found =
        CALL(cli, DOMAIN_INTERFACE_ADDRESSES, .dom = *domain, .source = source);
    cli_forget_error(cli);
    for (unsigned i = 0; found && i < found->ifaces.ifaces_len; i++) {
        const wire_interface_addresses *nic = &found->ifaces.ifaces_val[i];
        for (unsigned k = 0; k < nic->addrs.addrs_len; k++) {
            const char *address = nic->addrs.addrs_val[k].addr;
            if (strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0 &&
                strncmp(address, "fe80:", 5) != 0)
                return address;
        }
    }
    return NULL;
}

/* The host's own table: "address type flags mac mask device", 2 in flags: it has answered. */
static const char *arp_address(struct cli *cli, const char *mac)
{
    char line[256], address[64], have[64];
    unsigned flags;
    const char *found = NULL;
    FILE *table = fopen("/proc/net/arp", "re");
    while (table && !found && fgets(line, sizeof(line), table))
        if (sscanf(line, "%63s %*s %x %63s", address, &flags, have) == 3 && (flags & 2) &&
            strcasecmp(have, mac) == 0)
            found = cli_text(cli, "%s", address);
    if (table)
        fclose(table);
    return found;
}

static const char *own_address(struct cli *cli, const wire_domain *domain, bool *any)
{
    struct xml *xml = xml_of_domain(cli, domain, 0);
    struct xml_node *nic = NULL, *root = xml ? xml_root(xml) : NULL;
    const char *found = NULL;
    cli_forget_error(cli);
    while (root && !found && (nic = xml_next(root, "devices/interface", nic))) {
        const char *mac = xml_attribute(cli, xml_child(nic, "mac"), "address");
        *any = true;
        found = mac ? arp_address(cli, mac) : NULL;
    }
    return found;
}

const char *address_find(struct cli *cli, const wire_domain *domain, bool *any)
{
    static const unsigned sources[] = {VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
                                       VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
                                       VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP};
    const char *address = NULL;
    *any = false;
    for (size_t i = 0; !address && i < ARRAY_SIZE(sources); i++)
        address = asked_address(cli, domain, sources[i]);
    return address ? address : own_address(cli, domain, any);
}

const char *address_of(struct cli *cli, const wire_domain *domain)
{
    bool any = false;
    if (domain->id < 0) {
        cli_error(cli, "machine '%s' does not run", domain->name);
        cli_hint(cli, "kvasir start %s", domain->name);
        return NULL;
    }
    const char *address = address_find(cli, domain, &any);
    if (address)
        return address;
    if (!any) {
        cli_error(cli, "machine '%s' has no network interface", domain->name);
        return NULL;
    }
    cli_error(cli, "machine '%s': no lease, agent or ARP entry tells its address", domain->name);
    cli_hint(cli, "a guest is in the ARP table once it was talked to; ping its network first, or "
                  "use 'kvasir console'");
    return NULL;
}
