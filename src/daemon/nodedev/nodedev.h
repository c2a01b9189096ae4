/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver of the host's devices: the computer, PCI, USB, network, disks and SCSI hosts, as
 * sysfs has them now, under libvirt's names. To look at only.
 */
#ifndef KV_DAEMON_NODEDEV_NODEDEV_H
#define KV_DAEMON_NODEDEV_NODEDEV_H

#include "daemon/driver.h"

extern const struct daemon_driver nodedev_driver;

/* Kinds of devices; each is a row of node_kinds[]. */
enum node_kind {
    NODE_SYSTEM,
    NODE_PCI,
    NODE_USB,
    NODE_NET,
    NODE_STORAGE,
    NODE_SCSI_HOST,
    NODE_KINDS,
};

struct node_device {
    enum node_kind kind;
    char name[256];
    char path[512];   /* in sysfs, without links; "" of the computer */
    char entry[64];   /* its name there: "0000:00:01.0", "eth0" */
    char parent[256]; /* name of the device above; "" of the computer */
};

struct node_kind_row {
    const char *capability; /* "pci" */
    unsigned flag;          /* VIR_CONNECT_LIST_NODE_DEVICES_CAP_* */
    const char *folder;     /* in which sysfs lists them; NULL: there is one */
};
extern const struct node_kind_row node_kinds[NODE_KINDS];

/* All of them; *out is free()d by the caller. Returns how many, or negative with err filled. */
int node_devices_list(struct node_device **out, struct kv_error *err);

/* The document, to be free()d; NULL: memory. */
char *node_device_describe(const struct node_device *device);

#endif
