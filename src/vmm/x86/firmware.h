/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Booting by firmware: its image as read-only memory that ends at 4 GiB, where
 * the CPUs start, and what it is told through fw_cfg. Private to x86/, called
 * by boot.c.
 */
#ifndef KV_VMM_X86_FIRMWARE_H
#define KV_VMM_X86_FIRMWARE_H

#include "base/error.h"

struct fw_cfg;
struct machine;

/* Before the jail: reads the image that the configuration's descriptor holds, gives it to KVM,
 * makes the fw_cfg device. */
int firmware_create(struct machine *machine, struct kv_error *err);
void firmware_free(struct machine *machine);

/* At power-on and every reset: the image's copy below 1 MiB, and fw_cfg's contents. */
int firmware_load(struct machine *machine, struct kv_error *err);

/* ACPI tables and the script that places them (acpi_loader.c). */
int acpi_give_to_firmware(struct machine *machine, struct fw_cfg *fw_cfg, struct kv_error *err);

#endif
