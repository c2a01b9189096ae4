/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of devices of this folder that a configuration can ask for. */
#ifndef KV_VMM_DEVICES_CLASSES_H
#define KV_VMM_DEVICES_CLASSES_H

#include "vmm/device.h"

extern const struct device_class add_fd_class;
extern const struct device_class debugcon_class;
extern const struct device_class input_class; /* display/input_class.c */
extern const struct device_class secret_class;
extern const struct device_class serial_class;
extern const struct device_class smbios_class; /* x86/smbios.c */
extern const struct device_class tpm_class;
extern const struct device_class vga_class; /* vga_pci.c */
extern const struct device_class vnc_class; /* display/vnc.c */
extern const struct device_class watchdog_class;
extern const struct device_class xhci_class; /* usb/xhci.c */
#ifdef KV_HOSTILE_TEST
extern const struct device_class hostile_class; /* jail/hostile.c */
#endif

#endif
