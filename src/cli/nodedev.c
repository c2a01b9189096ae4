/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's devices, as a list or as the tree that they hang in. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

static const struct arg_flag capabilities[] = {
    {"system", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM},
    {"pci", VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV},
    {"usb_device", VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV},
    {"usb", VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_INTERFACE},
    {"net", VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET},
    {"scsi_host", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_HOST},
    {"scsi_target", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_TARGET},
    {"scsi", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI},
    {"storage", VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE},
    {"fc_host", VIR_CONNECT_LIST_NODE_DEVICES_CAP_FC_HOST},
    {"vports", VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPORTS},
    {"scsi_generic", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_GENERIC},
    {"drm", VIR_CONNECT_LIST_NODE_DEVICES_CAP_DRM},
    {"mdev_types", VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV_TYPES},
    {"mdev", VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV},
    {"ccw", VIR_CONNECT_LIST_NODE_DEVICES_CAP_CCW_DEV},
    {"css", VIR_CONNECT_LIST_NODE_DEVICES_CAP_CSS_DEV},
    {"vdpa", VIR_CONNECT_LIST_NODE_DEVICES_CAP_VDPA},
    {"ap_card", VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_CARD},
    {"ap_queue", VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_QUEUE},
    {"ap_matrix", VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_MATRIX},
    {"vpd", VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPD},
    {"ccwgroup", BIT(22)},
};

static int capability_flags(struct cli *cli, unsigned *flags)
{
    const char *text = NULL;
    int r = arg_text(cli, "cap", &text);
    if (r <= 0)
        return r;
    char *words = cli_text(cli, "%s", text);
    for (char *word; (word = strsep(&words, ","));) {
        size_t i = 0;
        while (i < ARRAY_SIZE(capabilities) && strcmp(capabilities[i].name, word) != 0)
            i++;
        if (i == ARRAY_SIZE(capabilities))
            return cli_error(cli, "Invalid capability type");
        *flags |= capabilities[i].bit;
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcasecmp(((const wire_device *)a)->name, ((const wire_device *)b)->name);
}

struct tree {
    const wire_device *list;
    const char **parents; /* NULL: has none */
    unsigned n;
};

/* prefix stands in front of every line of what hangs below one. */
static void print_below(struct cli *cli, const struct tree *tree, unsigned at, const char *prefix)
{
    unsigned last = tree->n;
    for (unsigned i = 0; i < tree->n; i++)
        if (tree->parents[i] && strcmp(tree->parents[i], tree->list[at].name) == 0)
            last = i;
    if (last < tree->n)
        out_print(cli, "%s  |\n", prefix);
    for (unsigned i = 0; last < tree->n && i <= last; i++) {
        if (!tree->parents[i] || strcmp(tree->parents[i], tree->list[at].name) != 0)
            continue;
        out_print(cli, "%s  +- %s\n", prefix, tree->list[i].name);
        print_below(cli, tree, i, cli_text(cli, i == last ? "%s    " : "%s  | ", prefix));
    }
    if (last < tree->n)
        out_print(cli, "%s    \n", prefix);
}

static bool is_listed(const struct tree *tree, const char *name)
{
    for (unsigned i = 0; i < tree->n; i++)
        if (strcmp(tree->list[i].name, name) == 0)
            return true;
    return false;
}

static int print_tree(struct cli *cli, struct tree *tree)
{
    tree->parents = cli_alloc(cli, (tree->n + 1) * sizeof(*tree->parents));
    for (unsigned i = 0; i < tree->n; i++) {
        const REMOTE_RET(NODE_DEVICE_GET_PARENT) *got =
            CALL(cli, NODE_DEVICE_GET_PARENT, .name = tree->list[i].name);
        const char *parent = got && got->parent_name ? *got->parent_name : NULL;
        tree->parents[i] = parent && is_listed(tree, parent) ? parent : NULL;
        out_item(cli);
        out_key(cli, "name", "%s", tree->list[i].name);
        out_key(cli, "parent", "%s", parent ? parent : "-");
    }
    for (unsigned i = 0; i < tree->n; i++) {
        if (tree->parents[i])
            continue;
        out_print(cli, "%s\n", tree->list[i].name);
        print_below(cli, tree, i, "");
    }
    return 0;
}

int nodedev_list(struct cli *cli)
{
    unsigned flags = 0;
    bool tree = arg_on(cli, "tree"), inactive = arg_on(cli, "inactive"), all = arg_on(cli, "all");
    if (all && inactive)
        return cli_error(cli, "Option --all is incompatible with --inactive");
    if (tree && (arg_raw(cli, "cap") || inactive))
        return cli_error(cli, "Option --tree is incompatible with --cap and --inactive");
    if (capability_flags(cli, &flags) < 0)
        return -1;
    if (inactive || all)
        flags |= VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE;
    if (!inactive)
        flags |= VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE;
    const REMOTE_RET(CONNECT_LIST_ALL_NODE_DEVICES) *got =
        CALL(cli, CONNECT_LIST_ALL_NODE_DEVICES, .want_list = 1, .flags = flags);
    if (!got)
        return cli_error(cli, "Failed to list node devices");
    wire_device *list = got->devices.devices_val;
    unsigned n = got->devices.devices_len;
    if (n)
        qsort(list, n, sizeof(*list), by_name);
    out_array(cli);
    if (tree)
        return print_tree(cli, &(struct tree){.list = list, .n = n});
    for (unsigned i = 0; i < n; i++) {
        out_item(cli);
        out_value(cli, "name", "%s", list[i].name);
    }
    return 0;
}

/* By its name, or "wwnn,wwpn" of a Fibre Channel host. */
static const wire_device *find_device(struct cli *cli)
{
    const char *name = NULL;
    if (arg_text(cli, "device", &name) < 0)
        return NULL;
    const char *comma = strchr(name, ',');
    if (!comma)
        return lookup_node_device(cli);
    const REMOTE_RET(NODE_DEVICE_LOOKUP_SCSI_HOST_BY_WWN) *got =
        CALL(cli, NODE_DEVICE_LOOKUP_SCSI_HOST_BY_WWN,
             .wwnn = cli_strndup(cli, name, (size_t)(comma - name)),
             .wwpn = (char *)(uintptr_t)(comma + 1));
    if (got)
        return &got->dev;
    cli_error(cli, "Could not find matching device '%s'", name);
    return NULL;
}

int nodedev_xml(struct cli *cli)
{
    const wire_device *device = find_device(cli);
    const REMOTE_RET(NODE_DEVICE_GET_XML_DESC) *xml =
        device ? CALL(cli, NODE_DEVICE_GET_XML_DESC, .name = device->name) : NULL;
    return xml ? xml_print(cli, xml->xml) : -1;
}

int nodedev_info(struct cli *cli)
{
    const char *name = NULL;
    if (arg_text(cli, "device", &name) < 0)
        return -1;
    const REMOTE_RET(NODE_DEVICE_LOOKUP_BY_NAME) *device =
        CALL(cli, NODE_DEVICE_LOOKUP_BY_NAME, .name = (char *)(uintptr_t)name);
    if (!device)
        return -1;
    wire_text text = device->dev.name;
    const REMOTE_RET(NODE_DEVICE_GET_PARENT) *parent =
        CALL(cli, NODE_DEVICE_GET_PARENT, .name = text);
    out_field(cli, 15, "Name:", "%s", text);
    out_field(cli, 15, "Parent:", "%s", parent && parent->parent_name ? *parent->parent_name : "");
    const REMOTE_RET(NODE_DEVICE_IS_ACTIVE) *active =
        CALL(cli, NODE_DEVICE_IS_ACTIVE, .name = text);
    out_field(cli, 15, "Active:", "%s", !active || active->active ? "yes" : "no");
    const REMOTE_RET(NODE_DEVICE_IS_PERSISTENT) *kept =
        CALL(cli, NODE_DEVICE_IS_PERSISTENT, .name = text);
    out_field(cli, 15, "Persistent:", "%s", !kept || kept->persistent ? "yes" : "no");
    const REMOTE_RET(NODE_DEVICE_GET_AUTOSTART) *start =
        CALL(cli, NODE_DEVICE_GET_AUTOSTART, .name = text);
    out_field(cli, 15, "Autostart:", "%s",
              !start             ? "no autostart"
              : start->autostart ? "yes"
                                 : "no");
    return 0;
}
