/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of storage devices, for the table of devices (machine/device_table.c). */
#ifndef KV_VMM_STORAGE_CLASSES_H
#define KV_VMM_STORAGE_CLASSES_H

#include "vmm/device.h"

extern const struct device_class disk_class, cdrom_class; /* drive_class.c */
extern const struct device_class sata_class;              /* ahci.c */
extern const struct device_class nvme_class;              /* nvme.c */

#endif
