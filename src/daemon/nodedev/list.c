/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds the devices in sysfs and gives them names; see nodedev.h. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <libvirt/libvirt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "daemon/host/files.h"
#include "daemon/nodedev/nodedev.h"
#include "model/api_error.h"

#define DEVICES_MAX 65536 /* as many as the protocol's list holds */

const struct node_kind_row node_kinds[NODE_KINDS] = {
    [NODE_SYSTEM] = {"system", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM, NULL},
    [NODE_PCI] = {"pci", VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV, "/sys/bus/pci/devices"},
    [NODE_USB] = {"usb_device", VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV, "/sys/bus/usb/devices"},
    [NODE_NET] = {"net", VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET, "/sys/class/net"},
    [NODE_STORAGE] = {"storage", VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE, "/sys/block"},
    [NODE_SCSI_HOST] = {"scsi_host", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_HOST,
                        "/sys/class/scsi_host"},
};

/* "prefix_text_extra", with everything but letters and digits as '_'. */
static void make_name(char *out, size_t size, const char *prefix, const char *text,
                      const char *extra)
{
    snprintf(out, size, "%s%s%s%s%s", prefix, *prefix ? "_" : "", text, *extra ? "_" : "", extra);
    for (char *at = out; *at; at++) {
        if (!isalnum((unsigned char)*at))
            *at = '_';
    }
}

/* False: not one that is listed. */
static bool name_device(struct node_device *device)
{
    char text[128];
    switch (device->kind) {
    case NODE_PCI:
        make_name(device->name, sizeof(device->name), "pci", device->entry, "");
        return true;
    case NODE_USB:
        /* "1-1:1.0" is an interface of a device. */
        make_name(device->name, sizeof(device->name), "usb", device->entry, "");
        return !strchr(device->entry, ':');
    case NODE_NET:
        file_read_line(text, sizeof(text), "/sys/class/net/%s/address", device->entry);
        make_name(device->name, sizeof(device->name), "net", device->entry, text);
        return *text;
    case NODE_STORAGE:
        /* Loop devices and the like have nothing below them. */
        file_read_line(text, sizeof(text), "%s/serial", device->path);
        make_name(device->name, sizeof(device->name), "block", device->entry, text);
        return !strstr(device->path, "/virtual/");
    default:
        make_name(device->name, sizeof(device->name), "scsi", device->entry, "");
        return true;
    }
}

static bool add(struct node_device *device, enum node_kind kind, const char *folder,
                const char *entry)
{
    char link[PATH_MAX], path[PATH_MAX];
    *device = (struct node_device){.kind = kind};
    snprintf(link, sizeof(link), "%s/%s", folder, entry);
    if (*entry == '.' || strlen(entry) >= sizeof(device->entry) || !realpath(link, path) ||
        strlen(path) >= sizeof(device->path))
        return false;
    memcpy(device->path, path, strlen(path) + 1);
    memcpy(device->entry, entry, strlen(entry) + 1);
    return name_device(device);
}

/* The listed device whose folder is nearest above. */
static void find_parents(struct node_device *all, int n)
{
    for (int i = 1; i < n; i++) {
        size_t longest = 0;
        const char *parent = all[0].name;
        for (int k = 1; k < n; k++) {
            size_t len = strlen(all[k].path);
            if (k != i && len > longest && strncmp(all[i].path, all[k].path, len) == 0 &&
                all[i].path[len] == '/') {
                longest = len;
                parent = all[k].name;
            }
        }
        memcpy(all[i].parent, parent, strlen(parent) + 1);
    }
}

static int add_kind(struct node_device **all, int n, enum node_kind kind)
{
    struct dirent **entries;
    int found = scandir(node_kinds[kind].folder, &entries, NULL, alphasort);
    if (found < 0)
        return n; /* this host has none of the kind */
    struct node_device *larger = realloc(*all, (size_t)(n + found) * sizeof(**all));
    if (larger)
        *all = larger;
    for (int i = 0; i < found; i++) {
        if (larger && n < DEVICES_MAX &&
            add(&larger[n], kind, node_kinds[kind].folder, entries[i]->d_name))
            n++;
        free(entries[i]);
    }
    free(entries);
    return larger ? n : -ENOMEM;
}

int node_devices_list(struct node_device **out, struct kv_error *err)
{
    struct node_device *all = calloc(1, sizeof(*all));
    int n = all ? 1 : -ENOMEM;
    if (all)
        snprintf(all->name, sizeof(all->name), "computer");
    for (int kind = NODE_PCI; kind < NODE_KINDS && n > 0; kind++)
        n = add_kind(&all, n, (enum node_kind)kind);
    if (n < 0) {
        free(all);
        return api_error_from(err, VIR_FROM_NODEDEV, VIR_ERR_NO_MEMORY, NULL);
    }
    find_parents(all, n);
    *out = all;
    return n;
}
