/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPUs that come and go while the machine runs. A register of a byte for each
 * vCPU, from LAYOUT_CPU_HOTPLUG_BASE on; the DSDT's methods (x86/acpi_dsdt.c)
 * are what uses them, after a general-purpose event. The device is there when
 * config.cpus.max is more than config.cpus.count; only vCPUs beyond count can
 * be unplugged.
 */
#ifndef KV_VMM_DEVICES_CPU_HOTPLUG_H
#define KV_VMM_DEVICES_CPU_HOTPLUG_H

#include "base/error.h"

struct machine;

#define CPU_HOTPLUG_TYPE "cpu-hotplug"

/* Bits of a register. */
#define CPU_HOTPLUG_PRESENT 0x01     /* read-only */
#define CPU_HOTPLUG_INSERTED 0x02    /* it is new; cleared by writing 1 */
#define CPU_HOTPLUG_WANTED_BACK 0x04 /* the guest is asked to give it up; cleared by writing 1 */
#define CPU_HOTPLUG_EJECT 0x08       /* write-only: the guest, asked for it, has given it up */
#define CPU_HOTPLUG_REFUSED 0x10     /* write-only: it keeps it */

int cpu_hotplug_create(struct machine *machine, struct kv_error *err);

/* Control thread. -ENOENT when there is no such vCPU, -EEXIST when it is there already. */
int cpu_hotplug_plug(struct machine *machine, unsigned index, struct kv_error *err);

/* Control thread: asks the guest. DEVICE_DELETED ("vcpuN") tells that it is gone,
 * DEVICE_UNPLUG_GUEST_ERROR that the guest keeps it; a reset of the machine makes it go. */
int cpu_hotplug_unplug(struct machine *machine, unsigned index, struct kv_error *err);

#endif
