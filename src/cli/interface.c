/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's network interfaces. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

static int by_name(const void *a, const void *b)
{
    return strcasecmp(((const wire_iface *)a)->name, ((const wire_iface *)b)->name);
}

int iface_list(struct cli *cli)
{
    unsigned flags = VIR_CONNECT_LIST_INTERFACES_ACTIVE;
    if (arg_on(cli, "inactive"))
        flags = VIR_CONNECT_LIST_INTERFACES_INACTIVE;
    if (arg_on(cli, "all"))
        flags = VIR_CONNECT_LIST_INTERFACES_INACTIVE | VIR_CONNECT_LIST_INTERFACES_ACTIVE;
    const REMOTE_RET(CONNECT_LIST_ALL_INTERFACES) *got =
        CALL(cli, CONNECT_LIST_ALL_INTERFACES, .want_list = 1, .flags = flags);
    if (!got)
        return cli_error(cli, "Failed to list interfaces");
    wire_iface *list = got->ifaces.ifaces_val;
    if (got->ifaces.ifaces_len)
        qsort(list, got->ifaces.ifaces_len, sizeof(*list), by_name);
    struct table *table = TABLE(cli, "Name", "State", "MAC Address");
    for (unsigned i = 0; i < got->ifaces.ifaces_len; i++) {
        const REMOTE_RET(INTERFACE_IS_ACTIVE) *active =
            CALL(cli, INTERFACE_IS_ACTIVE, .iface = list[i]);
        TABLE_ROW(cli, table, list[i].name, active && active->active ? "active" : "inactive",
                  list[i].mac);
    }
    return table_print(cli, table);
}

int iface_xml(struct cli *cli)
{
    unsigned flags = arg_on(cli, "inactive") ? VIR_INTERFACE_XML_INACTIVE : 0;
    const wire_iface *iface = lookup_interface(cli);
    const REMOTE_RET(INTERFACE_GET_XML_DESC) *xml =
        iface ? CALL(cli, INTERFACE_GET_XML_DESC, .iface = *iface, .flags = flags) : NULL;
    return xml ? xml_print(cli, xml->xml) : -1;
}

int iface_mac(struct cli *cli)
{
    const wire_iface *iface = lookup_interface_by(cli, "interface", true, false);
    return iface ? out_value(cli, "mac", "%s", iface->mac) : -1;
}

int iface_name(struct cli *cli)
{
    const wire_iface *iface = lookup_interface_by(cli, "interface", false, true);
    return iface ? out_value(cli, "name", "%s", iface->name) : -1;
}
