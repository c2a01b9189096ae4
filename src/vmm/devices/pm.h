/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware: power button, sleep control, PM timer, general-purpose events. */
#ifndef KV_VMM_DEVICES_PM_H
#define KV_VMM_DEVICES_PM_H

#include "base/error.h"

struct machine;

/* The PM timer's frequency (ACPI 6.4 4.8.3.3); all of its 32 bits count (FADT: TMR_VAL_EXT). */
#define PM_TIMER_HZ 3579545

int pm_create(struct machine *machine, struct kv_error *err);

/* Sets a status bit of the GPE0 block, which raises the SCI when the guest enabled it. Any thread;
 * a machine without this device (tests) ignores it. */
void pm_gpe_raise(struct machine *machine, unsigned bit);

#endif
